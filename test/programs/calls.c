/** Each way to allocate once or more, for tools that record calls. */
#include <stdlib.h>

int main(void) {
  void *block = malloc(100);
  void *zeroed = calloc(3, 40);
  block = realloc(block, 5000);
  void *aligned = NULL;
  if (posix_memalign(&aligned, 64, 1000) != 0) return 1;
  void *nothing = malloc(0);
  void *paged = aligned_alloc(4096, 8192);
  void *fresh = realloc(NULL, 33);
  void *large = malloc((size_t)3 << 20);
  for (size_t round = 0; round < 10; round += 1) free(malloc(round * 1000));
  free(zeroed);
  free(aligned);
  free(nothing);
  free(paged);
  free(fresh);
  free(large);
  free(NULL);
  free(block);
  return 0;
}
