/*
 * Two million steps of each of the pieces that learning is made of, driven by the generator: prints a hash of what each
 * came to, as test/programs/numerics.ts does in TypeScript. Exits with 1 and words where a rule of a piece is broken.
 */
#include <stdlib.h>
#include <string.h>

#include "hak.h"

enum { steps = 2000000, arms = 12 };

/* FNV-1a over the bytes of IEEE doubles, little end first. */
static uint32_t hash;

static void take(double value) {
  unsigned char bytes[sizeof value];
  memcpy(bytes, &value, sizeof value);
  for (size_t at = 0; at < sizeof value; at += 1) hash = (hash ^ bytes[at]) * 16777619u;
}

static void begin(hak_prng *prng, const char *name) {
  hash = 2166136261u;
  hak_prng_init(prng, name);
}

static void demand(bool holds, const char *rule) {
  if (holds) return;
  fprintf(stderr, "numerics: broken: %s\n", rule);
  exit(1);
}

static void generator(void) {
  hak_prng prng;
  begin(&prng, "generator");
  for (int seed = 0; seed < 1000; seed += 1) {
    char text[40];
    snprintf(text, sizeof text, "%s%d", seed % 2 == 0 ? "" : "a seed of more than ten letters ", seed);
    hak_prng other;
    hak_prng_init(&other, text);
    for (int draw = 0; draw < 3; draw += 1) take(hak_prng_next(&other));
  }
  for (int step = 0; step < steps; step += 1) {
    const double value = hak_prng_next(&prng);
    demand(value >= 0 && value < 1, "a draw lies in [0, 1)");
    take(value);
  }
  demand(prng.draws == steps, "draws are counted");
  printf("generator %08x\n", hash);
}

static void expected_score(void) {
  hak_prng prng;
  begin(&prng, "expected");
  for (int step = 0; step < steps; step += 1) {
    const int32_t own = (int32_t)hak_prng_below(&prng, 2000 * HAK_ELO_UNIT);
    const int32_t other = (int32_t)hak_prng_below(&prng, 2000 * HAK_ELO_UNIT);
    const int32_t score = hak_elo_expected16(own, other);
    demand(score + hak_elo_expected16(other, own) == 65536, "I20: expected scores of both sides add up to one");
    take(score);
  }
  printf("expected %08x\n", hash);
}

/* The lower arm mostly wins, so that some are further apart than ratings reach. */
static void elo(void) {
  hak_prng prng;
  begin(&prng, "elo");
  int32_t ratings[arms];
  for (int arm = 0; arm < arms; arm += 1) ratings[arm] = HAK_ELO_START * HAK_ELO_UNIT;
  const int64_t reach = (arms - 1) * (HAK_ELO_REACH + 2 * 256) * HAK_ELO_UNIT / 2;
  for (int step = 0; step < steps; step += 1) {
    const int a = (int)hak_prng_below(&prng, arms);
    const int b = (a + 1 + (int)hak_prng_below(&prng, arms - 1)) % arms;
    const int64_t chance = hak_prng_below(&prng, 1000);
    const int32_t score = chance == 0 ? 32768 : (chance < 998) == (a < b) ? 65536 : 0;
    take(hak_elo_match(ratings, a, b, score, 1 + (int32_t)hak_prng_below(&prng, 256)));
    int64_t sum = 0;
    for (int arm = 0; arm < arms; arm += 1) {
      const int64_t from_mean = ratings[arm] - HAK_ELO_START * HAK_ELO_UNIT;
      demand(from_mean <= reach && from_mean >= -reach, "no rating is further from the mean than ratings can come");
      sum += ratings[arm];
    }
    demand(sum == arms * HAK_ELO_START * HAK_ELO_UNIT, "I17: the sum of ratings stays what it was");
  }
  for (int arm = 0; arm < arms; arm += 1) take(ratings[arm]);
  printf("elo %08x\n", hash);
}

static void p_square(void) {
  hak_prng prng;
  begin(&prng, "p2");
  hak_p2 high, middle;
  hak_p2_init(&high, 0.99);
  hak_p2_init(&middle, 0.5);
  for (int step = 0; step < steps; step += 1) {
    if (step % 700000 == 0) hak_p2_clear(&high);
    const double share = hak_prng_next(&prng);
    const double value = share * share * share * 1e5 / (1.0001 - share);
    hak_p2_add(&high, step % 1009 == 0 ? -1 : value);
    /* Whole numbers, many of them equal. */
    hak_p2_add(&middle, (double)(int64_t)(value / 1000));
    for (int at = 1; at < 5 && high.count >= 5; at += 1) {
      demand(high.heights[at - 1] <= high.heights[at], "I27: heights ascend");
      demand(high.positions[at - 1] < high.positions[at], "I27: positions ascend");
    }
    demand(high.count < 5 || high.positions[4] == (double)high.count, "I27: the last position is the count");
    if (step % 700000 < 20 && high.count > 0) take(hak_p2_estimate(&high));
    if (step % 1000 != 0) continue;
    for (int at = 0; at < 5; at += 1) {
      take(high.heights[at]);
      take(high.positions[at]);
      take(middle.heights[at]);
      take(middle.positions[at]);
    }
  }
  take((double)high.rejected);
  take(hak_p2_estimate(&high));
  take(hak_p2_estimate(&middle));
  printf("p2 %08x\n", hash);
}

static void histogram(void) {
  static hak_histogram all, part;
  hak_prng prng;
  begin(&prng, "histogram");
  for (int step = 1; step <= steps; step += 1) {
    const int64_t value = hak_prng_below(&prng, INT64_C(1) << hak_prng_below(&prng, 48));
    if (step % 3 == 0)
      hak_histogram_add_many(&part, value, step % 7);
    else
      hak_histogram_add(&part, value);
    if (step % 10000 != 0) continue;
    hak_histogram_merge(&all, &part);
    for (int64_t permyriad = 0; permyriad <= 10000; permyriad += 2500) {
      take((double)hak_histogram_quantile(&part, permyriad));
      take((double)hak_histogram_quantile(&all, permyriad));
    }
    take((double)all.total);
    hak_histogram_clear(&part);
    demand(part.total == 0 && hak_histogram_quantile(&part, 5000) == 0, "what was cleared is empty");
  }
  int64_t total = 0;
  for (int bucket = 0; bucket < HAK_HISTOGRAM_BUCKETS; bucket += 1) {
    total += all.counts[bucket];
    take((double)all.counts[bucket]);
  }
  demand(total == all.total, "I28: the buckets add up to the total");
  printf("histogram %08x\n", hash);
}

/* Two windows of many classes whose range moves, two of a few in which the bytes of the first move and not its count. */
static int64_t size_of(hak_prng *prng, int step, int kind) {
  if (kind < 2) return hak_prng_below(prng, INT64_C(8192) << hak_prng_below(prng, 12 + step / 100000));
  if (hak_prng_below(prng, 2) == 0) return hak_prng_below(prng, kind == 2 ? 8192 : 65536);
  return 81920 + hak_prng_below(prng, 16384);
}

static void signature(void) {
  enum { window = 5000 };
  hak_signature all, reference, now;
  hak_signature_clear(&all);
  hak_signature_clear(&reference);
  hak_signature_clear(&now);
  hak_prng prng;
  begin(&prng, "signature");
  for (int step = 1; step <= steps; step += 1) {
    hak_signature_add(&now, size_of(&prng, step, step / window % 4));
    if (step % window != 0) continue;
    take((double)hak_signature_drift_permille(&reference, &now));
    take((double)hak_signature_drift_permille(&all, &now));
    hak_signature_add_all(&all, &now);
    reference = now;
    hak_signature_clear(&now);
  }
  double samples = 0;
  for (int at = 0; at < HAK_SIGNATURE_CLASSES; at += 1) {
    samples += all.counts[at];
    take(all.counts[at]);
    take(all.bytes[at]);
  }
  demand(samples == steps && all.samples == steps, "the classes add up to the samples");
  take(all.total_bytes);
  printf("signature %08x\n", hash);
}

int main(void) {
  generator();
  expected_score();
  elo();
  p_square();
  histogram();
  signature();
  return 0;
}
