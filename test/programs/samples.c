// What a sampled recording is tested on: known numbers of blocks of known sizes.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 20000, LARGE = 70000, HANDED = 2000 };

static void *volatile sink;

static void *kept(void *block) {
  sink = block;
  return block;
}

/** ROUNDS blocks of each size; of the middle one every second is never freed, and all of the last grow there by realloc. */
static void known(void) {
  for (int round = 0; round < ROUNDS; round += 1) {
    free(kept(malloc(101)));
    void *block = kept(calloc(1, 1003));
    if (round % 2 == 0) free(block);
    block = kept(malloc(2005));
    free(kept(realloc(block, 5007)));
    if (round % 100 == 0) free(kept(malloc(LARGE)));
  }
}

static void *handed[HANDED];

static void *frees_all(void *unused) {
  for (int at = 0; at < HANDED; at += 1) free(handed[at]);
  return unused;
}

/** Allocated in one thread, freed in another. */
static void across(void) {
  pthread_t other;
  for (int at = 0; at < HANDED; at += 1) handed[at] = malloc(at % 10 == 0 ? LARGE : 901);
  pthread_create(&other, NULL, frees_all, NULL);
  pthread_join(other, NULL);
}

/** Blocks grow beyond the whole ones and shrink back below them. */
static void resizes(void) {
  for (int round = 0; round < 500; round += 1) {
    void *block = kept(malloc(57));
    block = kept(realloc(block, LARGE));
    block = kept(realloc(block, LARGE + 1));
    block = kept(realloc(block, 59));
    if (kept(realloc(block, (size_t)-100)) != NULL) _exit(1);
    free(block);
  }
}

/** One address after another is given out again: large, then small, and so on. */
static void reuses(void) {
  for (int round = 0; round < 20000; round += 1) free(kept(malloc(round % 2 == 0 ? LARGE : 61)));
}

/** The child frees what it inherited. */
static void forks(void) {
  for (int at = 0; at < HANDED; at += 1) handed[at] = malloc(LARGE);
  if (fork() != 0) return;
  frees_all(NULL);
  free(kept(malloc(LARGE + 7)));
  _exit(0);
}

int main(int count, char **words) {
  if (count != 2) return 2;
  if (strcmp(words[1], "known") == 0) known();
  else if (strcmp(words[1], "killed") == 0) known();
  else if (strcmp(words[1], "across") == 0) across();
  else if (strcmp(words[1], "resizes") == 0) resizes();
  else if (strcmp(words[1], "reuses") == 0) reuses();
  else if (strcmp(words[1], "forks") == 0) forks();
  else return 2;
  if (strcmp(words[1], "killed") == 0) kill(getpid(), SIGKILL);
  return 0;
}
