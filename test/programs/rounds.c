/* Ten times a block of so many bytes, every page of it written, and given back: the faults of each round, one a line. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { PAGE_BYTES = 4096, ROUNDS = 10 };

static long faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

static void round_of(volatile char *block, size_t size_bytes) {
  for (size_t at = 0; at < size_bytes; at += PAGE_BYTES) block[at] = 1;
  block[size_bytes - 1] = 1;
}

int main(int count, char **arguments) {
  static long found[ROUNDS];
  const size_t size_bytes = strtoull(arguments[count - 1], NULL, 10);
  /* Whatever the first calls need of the library's own pages is there before anything is counted. */
  char *small = malloc(24);
  round_of(small, 24);
  free(small);
  void *mapped = malloc((size_t)64 << 20);
  void *larger = realloc(mapped, (size_t)65 << 20);
  free(larger);
  for (int at = 0; at < ROUNDS; at += 1) found[at] = faults();
  for (int at = 0; at < ROUNDS; at += 1) {
    const long before = faults();
    char *block = malloc(size_bytes);
    round_of(block, size_bytes);
    free(block);
    found[at] = faults() - before;
  }
  for (int at = 0; at < ROUNDS; at += 1) printf("%ld\n", found[at]);
  return 0;
}
