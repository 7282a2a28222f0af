/* Paired differences, window by window: mean and interval by Welford's sums. Mirrors sim/decide/paired.ts. */
#include <math.h>

#include "hak.h"

static const double t99[] = HAK_T99;
enum { t99_count = sizeof t99 / sizeof t99[0] };

void hak_paired_add(hak_paired *paired, double value) {
  paired->count += 1;
  const double before = value - paired->mean;
  paired->mean += before / (double)paired->count;
  paired->squares += before * (value - paired->mean);
}

double hak_paired_half(const hak_paired *paired) {
  if (paired->count < 2) return INFINITY;
  const double t = paired->count - 2 < t99_count ? t99[paired->count - 2] : HAK_T99_NORMAL;
  return t * sqrt(paired->squares / (double)(paired->count - 1) / (double)paired->count);
}

bool hak_paired_is_positive(const hak_paired *paired) { return paired->mean - hak_paired_half(paired) > 0; }

bool hak_paired_is_within(const hak_paired *paired, double band) {
  return fabs(paired->mean) + hak_paired_half(paired) <= band;
}

bool hak_is_more(int64_t hits, int64_t of, int64_t reference_hits, int64_t reference_of, double z_squared) {
  if (of == 0 || reference_of == 0) return false;
  const double difference = (double)hits / (double)of - (double)reference_hits / (double)reference_of;
  if (difference <= 0) return false;
  const double pooled = (double)(hits + reference_hits) / (double)(of + reference_of);
  const double variance = pooled * (1 - pooled) * (1 / (double)of + 1 / (double)reference_of);
  return difference * difference > z_squared * variance;
}
