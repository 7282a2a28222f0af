/**
 * Which blocks a sampled recording keeps: all of SAMPLE_WHOLE_BYTES and more, and of the smaller ones those that a Poisson
 * process over the allocated bytes hits. A block of s bytes is hit with probability 1 - exp(-s / mean). HAKMEM_RECORD_SAMPLE,
 * HAKMEM_RECORD_SEED. All blocks are counted.
 */
#ifndef HAKMEM_RECORDER_SAMPLE_H
#define HAKMEM_RECORDER_SAMPLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SAMPLE_WHOLE_BYTES = 64 * 1024, SAMPLE_CLASSES = 48 };

/**
 * Exact, of one stream. Class k holds the sizes from 2^k up to 2^(k+1), class 0 that of 0 too. The size of an end is what the
 * block had room for: what was asked for nobody knows any more. A realloc is an end and an allocation. Mirror:
 * traces/recording-counts.ts.
 */
struct sample_counts {
  uint64_t reallocs;
  uint64_t allocated_blocks[SAMPLE_CLASSES], allocated_bytes[SAMPLE_CLASSES];
  uint64_t ended_blocks[SAMPLE_CLASSES], ended_bytes[SAMPLE_CLASSES];
};

enum { SAMPLE_FILTER_SLOTS = 1 << 17, SAMPLE_REGION_SHIFT = 10, SAMPLE_FOLD_SHIFT = 17 };
/* How many kept blocks begin in the regions of a slot: nearly always none, which one load tells. */
extern __attribute__((visibility("hidden"))) uint32_t *sample_filter;

/** True where the environment asks for a sample, whose mean is stored. Call once. */
bool sample_begin(uint64_t mean_bytes, uint64_t seed);
/** What a thread's chance begins with. */
uint64_t sample_seed(uint32_t thread);
/** Bytes up to and with the next one that is hit, from 1. */
size_t sample_gap(uint64_t *chance);
/** Remembers a block that is kept; false where that cannot be. */
bool sample_add(const void *block);
/** Whether the block is kept; not from now on. */
bool sample_remove(const void *block);
/** In a forked child, whose inherited blocks are not its own. */
void sample_forget(void);

static inline unsigned sample_class(size_t size) { return 63 - (unsigned)__builtin_clzl(size | 1); }

static inline size_t sample_filter_slot(const void *block) {
  const uintptr_t region = (uintptr_t)block >> SAMPLE_REGION_SHIFT;
  return (region ^ region >> SAMPLE_FOLD_SHIFT) % SAMPLE_FILTER_SLOTS;
}

static inline bool sample_may_have(const void *block) {
  return __atomic_load_n(&sample_filter[sample_filter_slot(block)], __ATOMIC_RELAXED) != 0;
}

static inline void sample_count_allocation(struct sample_counts *counts, size_t size) {
  const unsigned class = sample_class(size);
  counts->allocated_blocks[class] += 1;
  counts->allocated_bytes[class] += size;
}

static inline void sample_count_end(struct sample_counts *counts, size_t room_bytes) {
  const unsigned class = sample_class(room_bytes);
  counts->ended_blocks[class] += 1;
  counts->ended_bytes[class] += room_bytes;
}
#endif
