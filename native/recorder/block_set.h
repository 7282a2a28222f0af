/** A set of blocks by their addresses: open addressing, 0 is empty. A signal handler finds it full and empty. */
#ifndef HAKMEM_RECORDER_BLOCK_SET_H
#define HAKMEM_RECORDER_BLOCK_SET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block_set {
  uint32_t lock;
  size_t slots, used;
  uintptr_t *blocks;
};

/** False where there is no memory for it, or a signal handler asks that interrupted this thread in here. */
bool block_set_add(struct block_set *set, const void *block);
/** False where the block was not there. */
bool block_set_remove(struct block_set *set, const void *block);
/** All are forgotten; no other thread may be using the set. */
void block_set_forget(struct block_set *set);
#endif
