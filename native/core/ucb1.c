/* UCB1 for each call site: six steps, hysteresis and a long rest. Mirrors sim/decide/ucb1.ts. */
#include <math.h>
#include <string.h>

#include "hak.h"

enum { sites = HAK_UCB1_SITES, steps = HAK_UCB1_STEPS };
enum { rating_paired, rating_classic };

double hak_natural_log(double count) {
  int exponent = 0;
  double mantissa = count;
  while (mantissa >= 2) {
    mantissa /= 2;
    exponent += 1;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  const double q = s * s;
  const double series =
      1 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11 + q * (1.0 / 13 + q * (1.0 / 15)))))));
  return exponent * 0.6931471805599453 + 2 * s * series;
}

static int first_step(void) {
  static const int64_t geometric_bytes[HAK_STRATEGIES] = HAK_STRATEGY_GEOMETRIC_BYTES;
  int step = 0;
  while (hak_strategy_steps()[step] != geometric_bytes[0]) step += 1;
  return step;
}

/* Upper confidence bound of the reward; of a step never played, above all others. */
static double bound(const hak_learner *learner, int site, int step) {
  const double *plays = learner->plays[site];
  if (plays[step] == 0) return 1000;
  double total = 0;
  for (int each = 0; each < steps; each += 1) total += plays[each];
  return learner->rewards[site][step] / plays[step] + sqrt((2 * hak_natural_log(total)) / plays[step]);
}

static void reward(hak_learner *learner, int site) {
  const double baseline = (double)learner->ledger->site_baseline_ns[site];
  for (int step = 0; step < steps; step += 1) {
    if (learner->config->rating == rating_classic && step != learner->step[site]) continue;
    learner->plays[site][step] += 1;
    learner->rewards[site][step] += baseline / (baseline + (double)learner->ledger->site_ns[site][step]);
    learner->figures.rating_writes += 1;
  }
}

static void move(hak_learner *learner, int site) {
  const hak_config *config = learner->config;
  const int now = learner->step[site];
  int wanted = 0;
  for (int step = 1; step < steps; step += 1)
    if (bound(learner, site, step) > bound(learner, site, wanted)) wanted = step;
  const double own = bound(learner, site, now);
  const bool better = bound(learner, site, wanted) > own + (own * (double)config->ucb1_hysteresis_permille) / 1000;
  if (wanted == now || !better) {
    learner->streak[site] = 0;
    return;
  }
  learner->streak[site] = wanted == learner->wanted[site] ? learner->streak[site] + 1 : 1;
  learner->wanted[site] = wanted;
  if (learner->streak[site] < config->ucb1_hysteresis_windows || learner->rest[site] > 0) return;
  learner->step[site] = wanted;
  learner->streak[site] = 0;
  learner->rest[site] = config->ucb1_cooldown_windows;
  learner->figures.explorations += 1;
}

static void learn(hak_learner *learner, int acted, const int64_t *costs) {
  (void)acted;
  (void)costs;
  for (int site = 0; site < sites; site += 1) {
    if (learner->rest[site] > 0) learner->rest[site] -= 1;
    if (learner->ledger->site_baseline_ns[site] == 0) continue;
    reward(learner, site);
    move(learner, site);
  }
}

static int best(const hak_learner *learner) { return learner->step[0]; }
static int choose(hak_learner *learner) { return learner->step[0]; }

static void reset(hak_learner *learner) {
  for (int site = 0; site < sites; site += 1) learner->step[site] = learner->wanted[site] = first_step();
  memset(learner->plays, 0, sizeof learner->plays);
  memset(learner->rewards, 0, sizeof learner->rewards);
  memset(learner->streak, 0, sizeof learner->streak);
  memset(learner->rest, 0, sizeof learner->rest);
}

const hak_method hak_ucb1 = {learn, choose, best, reset, hak_learner_all_active};
