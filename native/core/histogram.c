/* Log-linear histogram of nanoseconds: 32 buckets an octave. Mirrors sim/kernel/histogram.ts. */
#include "hak.h"

enum { sub_bits = HAK_HISTOGRAM_SUB_BITS, sub_buckets = 1 << sub_bits };

int64_t hak_histogram_bucket(int64_t value) {
  if (value < sub_buckets) return value;
  const int exponent = 63 - __builtin_clzll((uint64_t)value) - sub_bits;
  return exponent * sub_buckets + (value >> exponent);
}

static int64_t middle_of(int64_t bucket) {
  if (bucket < 2 * sub_buckets) return bucket;
  const int64_t exponent = bucket / sub_buckets - 1;
  const int64_t low = (bucket - exponent * sub_buckets) << exponent;
  return low + ((INT64_C(1) << exponent) / 2);
}

void hak_histogram_add(hak_histogram *histogram, int64_t value) {
  histogram->counts[hak_histogram_bucket(value)] += 1;
  histogram->total += 1;
  if (value > histogram->max) histogram->max = value;
}

void hak_histogram_add_many(hak_histogram *histogram, int64_t value, int64_t times) {
  if (times == 0) return;
  histogram->counts[hak_histogram_bucket(value)] += times;
  histogram->total += times;
  if (value > histogram->max) histogram->max = value;
}

void hak_histogram_merge(hak_histogram *histogram, const hak_histogram *other) {
  for (int bucket = 0; bucket < HAK_HISTOGRAM_BUCKETS; bucket += 1) histogram->counts[bucket] += other->counts[bucket];
  histogram->total += other->total;
  if (other->max > histogram->max) histogram->max = other->max;
}

void hak_histogram_clear(hak_histogram *histogram) { *histogram = (hak_histogram){0}; }

int64_t hak_histogram_above(const hak_histogram *histogram, int64_t value) {
  int64_t above = 0;
  for (int64_t bucket = hak_histogram_bucket(value) + 1; bucket < HAK_HISTOGRAM_BUCKETS; bucket += 1)
    above += histogram->counts[bucket];
  return above;
}

int64_t hak_histogram_quantile(const hak_histogram *histogram, int64_t permyriad) {
  if (histogram->total == 0) return 0;
  int64_t rank = (histogram->total * permyriad + 9999) / 10000;
  if (rank < 1) rank = 1;
  int64_t seen = 0;
  for (int64_t bucket = 0; bucket < HAK_HISTOGRAM_BUCKETS; bucket += 1) {
    seen += histogram->counts[bucket];
    if (seen < rank) continue;
    const int64_t middle = middle_of(bucket);
    return middle < histogram->max ? middle : histogram->max;
  }
  return histogram->max;
}
