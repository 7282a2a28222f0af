/** Does to malloc, or to itself, what may keep a setting from being live: one mode each. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, PAGE_BYTES = 4096 };

static volatile int ended_children;

static void on_child(int number) {
  (void)number;
  ended_children += 1;
}

static void *leave(void *unused) {
  (void)unused;
  free(malloc(100));
  exit(0);
}

static void payload(int rounds) {
  for (int round = 0; round < rounds; round += 1) {
    char *block = malloc(MIB);
    for (int at = 0; at < MIB; at += PAGE_BYTES) block[at] = 1;
    free(block);
  }
}

int main(int count, char **arguments) {
  const char *mode = arguments[1];
  if (strcmp(mode, "nothing") == 0) return 0;
  if (strcmp(mode, "payload") == 0) payload(count > 2 ? atoi(arguments[2]) : 1);
  if (strcmp(mode, "mallopt") == 0) mallopt(M_MMAP_THRESHOLD, 4 * MIB);
  if (strcmp(mode, "mallopt-same") == 0) mallopt(M_MMAP_THRESHOLD, MIB);
  if (strcmp(mode, "close-all") == 0)
    for (int descriptor = 0; descriptor < 256; descriptor += 1) close(descriptor);
  if (strcmp(mode, "_exit") == 0) _exit(0);
  if (strcmp(mode, "die") == 0) raise(SIGKILL);
  if (strcmp(mode, "status") == 0) return getenv("GLIBC_TUNABLES") == NULL ? 3 : 4;
  if (strcmp(mode, "environment") == 0) puts(getenv("GLIBC_TUNABLES") == NULL ? "unset" : "set");
  if (strcmp(mode, "fork") == 0) {
    if (fork() == 0) {
      mallopt(M_TOP_PAD, 7 * MIB);
      exit(0);
    }
    wait(NULL);
  }
  if (strcmp(mode, "thread") == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, leave, NULL);
    pthread_join(thread, NULL);
  }
  if (strcmp(mode, "heap") == 0) {
    /* A heap with holes of many sizes, and children that count. */
    signal(SIGCHLD, on_child);
    static void *blocks[4000];
    for (int at = 0; at < 4000; at += 1) blocks[at] = malloc((size_t)(at * 37 % 5000));
    for (int at = 0; at < 4000; at += 2) free(blocks[at]);
    printf("%d %d\n", ended_children, (int)mallinfo2().hblks);
  }
  if (strcmp(mode, "become") == 0) {
    execvp(arguments[2], arguments + 2);
    return 127;
  }
  if (strcmp(mode, "leave-behind") == 0) {
    if (fork() == 0) {
      setsid();
      for (;;) pause();
    }
    if (count > 2)
      for (;;) pause();
  }
  return 0;
}
