#define _GNU_SOURCE
#include "sample.h"

#include <sys/mman.h>

#include "block_set.h"

uint32_t *sample_filter;
static struct block_set kept;
static double mean;
static uint64_t first_seed;

bool sample_begin(uint64_t mean_bytes, uint64_t seed) {
  const size_t bytes = SAMPLE_FILTER_SLOTS * sizeof *sample_filter;
  sample_filter = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (sample_filter == MAP_FAILED) return false;
  madvise(sample_filter, bytes, MADV_WIPEONFORK);
  mean = (double)mean_bytes;
  first_seed = seed;
  return true;
}

/** SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t next(uint64_t *chance) {
  uint64_t bits = *chance += 0x9e3779b97f4a7c15u;
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
  return bits ^ bits >> 31;
}

uint64_t sample_seed(uint32_t thread) {
  uint64_t chance = first_seed;
  chance = next(&chance) + thread;
  return next(&chance);
}

/** The natural logarithm of a number in (0, 1], to 1e-12: libm is not to be loaded into every program. */
static double logarithm(double number) {
  static const double of_two = 0.69314718055994530942;
  int halvings = 0;
  for (; number < 0.70710678118654752440; number *= 2) halvings += 1;
  /* ln x = 2 artanh((x - 1) / (x + 1)) */
  const double ratio = (number - 1) / (number + 1), square = ratio * ratio;
  double sum = 0;
  for (int power = 17; power >= 1; power -= 2) sum = sum * square + 1.0 / power;
  return 2 * ratio * sum - halvings * of_two;
}

size_t sample_gap(uint64_t *chance) {
  const double uniform = (double)((next(chance) >> 11) + 1) * 0x1p-53;
  /* Rounded up: then the whole bytes have no memory either, and a gap is at most s with probability 1 - exp(-s / mean). */
  const double gap = -mean * logarithm(uniform);
  const size_t whole = (size_t)gap;
  return whole + ((double)whole < gap || whole == 0);
}

bool sample_add(const void *block) {
  if (!block_set_add(&kept, block)) return false;
  __atomic_add_fetch(&sample_filter[sample_filter_slot(block)], 1, __ATOMIC_RELAXED);
  return true;
}

bool sample_remove(const void *block) {
  if (!sample_may_have(block) || !block_set_remove(&kept, block)) return false;
  __atomic_sub_fetch(&sample_filter[sample_filter_slot(block)], 1, __ATOMIC_RELAXED);
  return true;
}

void sample_forget(void) { block_set_forget(&kept); }
