#define _GNU_SOURCE
#include "block_set.h"

#include <sys/mman.h>

#include "lock.h"

enum { FIRST_SLOTS = 4096 };

/* A signal handler must not wait for the thread that it interrupted. */
static __thread bool is_inside;

/** Where `block` is, or the empty slot where it would be. */
static size_t slot_of(const struct block_set *set, uintptr_t block) {
  size_t slot = (block >> 4) * 0x9e3779b97f4a7c15u % set->slots;
  while (set->blocks[slot] != 0 && set->blocks[slot] != block) slot = (slot + 1) % set->slots;
  return slot;
}

static bool grow(struct block_set *set) {
  const size_t slots = set->slots == 0 ? FIRST_SLOTS : set->slots * 2;
  uintptr_t *blocks = mmap(NULL, slots * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (blocks == MAP_FAILED) return false;
  uintptr_t *old_blocks = set->blocks;
  const size_t old_slots = set->slots;
  set->blocks = blocks;
  set->slots = slots;
  for (size_t slot = 0; slot < old_slots; slot += 1)
    if (old_blocks[slot] != 0) set->blocks[slot_of(set, old_blocks[slot])] = old_blocks[slot];
  if (old_blocks != NULL) munmap(old_blocks, old_slots * sizeof *old_blocks);
  return true;
}

static bool enter(struct block_set *set) {
  if (is_inside) return false;
  is_inside = true;
  lock(&set->lock);
  return true;
}

static void leave(struct block_set *set) {
  unlock(&set->lock);
  is_inside = false;
}

bool block_set_add(struct block_set *set, const void *block) {
  if (!enter(set)) return false;
  const bool has_room = set->used * 2 < set->slots || grow(set);
  if (has_room) {
    const size_t slot = slot_of(set, (uintptr_t)block);
    set->used += set->blocks[slot] == 0;
    set->blocks[slot] = (uintptr_t)block;
  }
  leave(set);
  return has_room;
}

bool block_set_remove(struct block_set *set, const void *block) {
  if (set->slots == 0 || !enter(set)) return false;
  const size_t hole = slot_of(set, (uintptr_t)block);
  const bool found = set->blocks[hole] != 0;
  if (found) {
    set->used -= 1;
    set->blocks[hole] = 0;
    /* Those behind the hole that belong before it move up, so that searches need no markers. */
    for (size_t at = (hole + 1) % set->slots; set->blocks[at] != 0; at = (at + 1) % set->slots) {
      const uintptr_t moved = set->blocks[at];
      set->blocks[at] = 0;
      set->blocks[slot_of(set, moved)] = moved;
    }
  }
  leave(set);
  return found;
}

void block_set_forget(struct block_set *set) {
  if (set->blocks != NULL) munmap(set->blocks, set->slots * sizeof *set->blocks);
  *set = (struct block_set){0};
}
