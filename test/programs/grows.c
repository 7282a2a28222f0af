// What a gate is tested on: call sites of different kinds, some of which depend on addresses, as hash tables do. With an
// argument one of them, `pages`, asks for so many percent more.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

enum { SLOTS = 512, ROUNDS = 2000 };
static void *table[SLOTS];

/** Random in every run, for the addresses of blocks and stack are. */
static unsigned mixed(const void *pointer) {
  const uintptr_t bits = (uintptr_t)pointer;
  return (unsigned)((bits >> 4) * 2654435761u) >> 16;
}

__attribute__((noinline)) static void *node(size_t bytes) {
  void *block = malloc(bytes);
  memset(block, 1, bytes);
  return block;
}

__attribute__((noinline)) static void *pages(size_t bytes) {
  void *block = malloc(bytes);
  memset(block, 2, bytes);
  return block;
}

__attribute__((noinline)) static void *text(void *before, size_t bytes) {
  void *block = realloc(before, bytes);
  memset(block, 3, bytes);
  return block;
}

int main(int arguments, char **argument) {
  const size_t percent = arguments > 1 ? (size_t)atoi(argument[1]) : 0;
  void *line = NULL;
  void *large[8];
  const unsigned start = mixed(&line);
  for (int at = 0; at < 8; at += 1) large[at] = pages((size_t)(200 + 40 * at) * 1024 * (100 + percent) / 100);
  for (int round = 0; round < ROUNDS; round += 1) {
    void *block = node(40 + (size_t)(round % 7) * 24);
    const unsigned slot = mixed(block) % SLOTS;
    free(table[slot]);
    table[slot] = block;
    if (round % 50 == 0) line = text(line, 100 + (size_t)round + (start + (unsigned)round) % 16);
  }
  for (int at = 0; at < SLOTS; at += 1) free(table[at]);
  for (int at = 0; at < 8; at += 1) free(large[at]);
  free(line);
  return 0;
}
