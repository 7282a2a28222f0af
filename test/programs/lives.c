/* Waits for a line, allocates in every way in some threads, and says how often: a process to be watched from outside. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 200 };

/* Sizes of their own, by which a reader finds them among what the C library allocates. */
static void *work(void *unused) {
  for (int round = 0; round < ROUNDS; round += 1) {
    void *aligned, *grown = malloc(5001);
    grown = realloc(grown, 9001);
    void *zeroed = calloc(3, 2001);
    if (posix_memalign(&aligned, 256, 7001) != 0) abort();
    void *more = aligned_alloc(128, 7168);
    void *array = reallocarray(NULL, 7, 1003);
    free(realloc(NULL, 8001));
    if (malloc(~(size_t)0 >> 1) != NULL || realloc(grown, ~(size_t)0 >> 1) != NULL) abort();
    free(zeroed);
    free(aligned);
    free(more);
    free(array);
    realloc(grown, 0);
  }
  return unused;
}

int main(int count, char **arguments) {
  char line[16];
  void *before = malloc(4001);
  setvbuf(stdout, NULL, _IONBF, 0);
  puts("ready");
  while (read(STDIN_FILENO, line, 1) == 1 && line[0] != 'x') {
    pthread_t threads[THREADS];
    for (int at = 0; at < THREADS; at += 1) pthread_create(&threads[at], NULL, work, NULL);
    for (int at = 0; at < THREADS; at += 1) pthread_join(threads[at], NULL);
    free(before);
    before = NULL;
    puts("done");
  }
  if (count > 1 && line[0] == 'x') execvp(arguments[1], arguments + 1);
  return 0;
}
