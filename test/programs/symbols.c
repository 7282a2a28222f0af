/* Two functions that allocate; SIZE makes another build of it. */
#include <stdlib.h>

__attribute__((noinline)) void *makes_small(void) { return malloc(SIZE); }

__attribute__((noinline)) void *makes_large(void) {
  return malloc(100 * SIZE);
}

int main(void) {
  for (int round = 0; round < 10; round += 1) {
    free(makes_small());
    free(makes_large());
  }
  return 0;
}
