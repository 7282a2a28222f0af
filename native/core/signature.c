/* Signature of the sizes that a program asks for, and how far two are apart. Mirrors sim/decide/signature.ts. */
#include <math.h>

#include "hak.h"

enum { classes = HAK_SIGNATURE_CLASSES };
static const int64_t first_units = HAK_SIGNATURE_FROM_BYTES / HAK_PAGE_BYTES;
static const int64_t most_units = ((HAK_SIGNATURE_FROM_BYTES / HAK_PAGE_BYTES) << (HAK_SIGNATURE_CLASSES / 4)) - 1;

static int exponent_of(int64_t units) { return 63 - __builtin_clzll((uint64_t)units); }

/* Quarter octaves of whole pages; what is smaller than the first class or larger than the last goes there. */
static int class_of(int64_t size_bytes) {
  int64_t units = size_bytes / HAK_PAGE_BYTES;
  if (units < first_units) return 0;
  if (units > most_units) units = most_units;
  const int exponent = exponent_of(units);
  return (exponent - exponent_of(first_units)) * 4 + (int)((units >> (exponent - 2)) & 3);
}

static double distance(const double *own, double own_total, const double *other, double other_total) {
  double sum = 0;
  for (int at = 0; at < classes; at += 1) sum += fabs(own[at] / own_total - other[at] / other_total);
  return sum;
}

/* Kish's effective sample size: as many samples of one size would tell the shares of bytes as well. */
static double effective_samples(const hak_signature *signature) {
  double squares = 0;
  for (int at = 0; at < classes; at += 1)
    if (signature->counts[at] > 0) squares += (signature->bytes[at] * signature->bytes[at]) / signature->counts[at];
  return squares == 0 ? 0 : (signature->total_bytes * signature->total_bytes) / squares;
}

/* So many for each class that it has itself. */
static double wanted_samples(const hak_signature *signature) {
  int64_t in_use = 0;
  for (int at = 0; at < classes; at += 1) in_use += signature->counts[at] > 0;
  return (double)(HAK_SIGNATURE_SAMPLES_A_CLASS * (in_use > 1 ? in_use : 1));
}

void hak_signature_add(hak_signature *signature, int64_t size_bytes) {
  const int at = class_of(size_bytes);
  signature->counts[at] += 1;
  signature->bytes[at] += (double)size_bytes;
  signature->samples += 1;
  signature->total_bytes += (double)size_bytes;
}

void hak_signature_add_all(hak_signature *signature, const hak_signature *other) {
  for (int at = 0; at < classes; at += 1) {
    signature->counts[at] += other->counts[at];
    signature->bytes[at] += other->bytes[at];
  }
  signature->samples += other->samples;
  signature->total_bytes += other->total_bytes;
}

void hak_signature_clear(hak_signature *signature) { *signature = (hak_signature){0}; }

int64_t hak_signature_drift_permille(const hak_signature *reference, const hak_signature *now) {
  const double own = wanted_samples(reference), other = wanted_samples(now);
  if (reference->samples < own || now->samples < other) return HAK_NO_TEST;
  double most = distance(reference->counts, reference->samples, now->counts, now->samples);
  if (effective_samples(reference) >= own && effective_samples(now) >= other) {
    const double by_bytes = distance(reference->bytes, reference->total_bytes, now->bytes, now->total_bytes);
    if (by_bytes > most) most = by_bytes;
  }
  /* 2^-20 permille more, so that the rounding of shares takes no whole permille off. */
  return (int64_t)(1000 * most + 0x1p-20);
}
