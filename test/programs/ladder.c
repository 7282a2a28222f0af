// Blocks whose sizes count upwards, so that a test sees from any part of a recording which calls it has.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 8, STEPS = 10000, FIRST_BYTES = 1000 };

/** For each thread, in a file that outlives the program: blocks that it asked for, and those that it got and freed. */
struct progress {
  uint64_t begun, done;
};
static struct progress own_progress[THREADS_MAX];
static struct progress *progress = own_progress;
static uint64_t rounds;
static void block_of(size_t bytes) {
  void *volatile block = malloc(bytes);
  free(block);
}

static void blocks_of(int count, size_t bytes) {
  for (int at = 0; at < count; at += 1) block_of(bytes);
}

static void say(const char *line) {
  if (write(STDOUT_FILENO, line, strlen(line)) < 0) abort();
}

static void *climb(void *argument) {
  const uint64_t thread = (uintptr_t)argument;
  for (uint64_t at = 0; at < rounds; at += 1) {
    __atomic_store_n(&progress[thread].begun, at + 1, __ATOMIC_RELEASE);
    block_of(FIRST_BYTES + at % STEPS * THREADS_MAX + thread);
    __atomic_store_n(&progress[thread].done, at + 1, __ATOMIC_RELEASE);
    if (thread == 0 && at == 30000) say("going\n");
    /* A disk has an end. */
    if (at >= 30000 && at % 64 == 0) usleep(500);
  }
  return NULL;
}

static void climb_together(uintptr_t threads) {
  pthread_t ids[THREADS_MAX];
  for (uintptr_t at = 1; at < threads; at += 1) pthread_create(&ids[at], NULL, climb, (void *)at);
  climb((void *)0);
  for (uintptr_t at = 1; at < threads; at += 1) pthread_join(ids[at], NULL);
}

static void climb_until_killed(uintptr_t threads, const char *path) {
  const int file = open(path, O_RDWR | O_CREAT, 0600);
  if (ftruncate(file, sizeof own_progress) != 0) abort();
  progress = mmap(NULL, sizeof own_progress, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  rounds = UINT64_MAX;
  climb_together(threads);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** Blocks of 1100 bytes before a moment and of 1200 bytes after it, well apart; says how many of the first were in time. */
static void around(uint64_t moment_ns) {
  const uint64_t apart_ns = 100 * 1000 * 1000;
  int in_time = 0;
  for (int at = 0; at < 1000 && now_ns() < moment_ns - apart_ns; at += 1) {
    block_of(1100);
    in_time += now_ns() < moment_ns - apart_ns;
  }
  while (now_ns() < moment_ns + apart_ns) usleep(1000);
  blocks_of(100, 1200);
  char line[16];
  snprintf(line, sizeof line, "%d\n", in_time);
  say(line);
}

static void ignored(int number) { (void)number; }

int main(int count, char **arguments) {
  const char *mode = count > 1 ? arguments[1] : "";
  const uint64_t number = count > 2 ? strtoull(arguments[2], NULL, 10) : 0;
  if (strcmp(mode, "climb") == 0) {
    rounds = strtoull(arguments[3], NULL, 10);
    climb_together(number);
  } else if (strcmp(mode, "until-killed") == 0) {
    climb_until_killed(number, arguments[3]);
  } else if (strcmp(mode, "signals") == 0) {
    for (int at = 1; at <= 5; at += 1) {
      blocks_of(at * 100, 1000 + at * 100);
      raise(SIGUSR1);
    }
  } else if (strcmp(mode, "own-signal") == 0) {
    signal(SIGUSR1, ignored);
    blocks_of(100, 1100);
    raise(SIGUSR1);
    blocks_of(100, 1200);
  } else if (strcmp(mode, "around") == 0) {
    around(strtoull(getenv("HAKMEM_RECORD_BEGAN_NS"), NULL, 10) + number);
  } else {
    return 2;
  }
  return 0;
}
