/**
 * An editor's two buffers, taken and given back with every keystroke: with nothing set the end of the heap is given back
 * each time. And what a setting that helps there does harm to: holes between small blocks that stay resident.
 */
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 536640, SMALL_BLOCKS = 64, HOLES = 30 };

static char *touched(size_t bytes) {
  char *block = malloc(bytes);
  memset(block, 1, bytes);
  return block;
}

static void edit(int rounds) {
  static char *small[SMALL_BLOCKS];
  for (int round = 0; round < rounds; round += 1) {
    const int at = round % SMALL_BLOCKS;
    free(small[at]);
    small[at] = touched((size_t)(24 + at));
    char *text = touched(BUFFER_BYTES);
    char *undo = touched(BUFFER_BYTES);
    free(undo);
    free(text);
  }
}

/* Mapped blocks go back as they are freed; in a heap, the small ones between keep them. */
static void leave_holes(void) {
  static char *large[HOLES];
  for (int at = 0; at < HOLES; at += 1) {
    large[at] = touched(BUFFER_BYTES);
    touched(2048);
  }
  for (int at = 0; at < HOLES; at += 1) free(large[at]);
  free(touched((size_t)HOLES * BUFFER_BYTES));
}

int main(int count, char **arguments) {
  if (count > 2 && strcmp(arguments[1], "edit") == 0) edit(atoi(arguments[2]));
  if (strcmp(arguments[1], "holes") == 0) leave_holes();
  return 0;
}
