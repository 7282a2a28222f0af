/* Sequential halving: rounds of equal length, after each the better half stays. Mirrors sim/decide/halving.ts. */
#include <string.h>

#include "hak.h"

enum { rating_paired, rating_classic };

static int left(const hak_learner *learner) {
  int count = 0;
  for (int arm = 0; arm < learner->arms; arm += 1) count += learner->active[arm];
  return count;
}

/* How many of those that are left are better, or as good with a lower number. */
static int rank_of(const hak_learner *learner, int arm) {
  int better = 0;
  for (int other = 0; other < learner->arms; other += 1) {
    if (!learner->active[other] || other == arm) continue;
    const double theirs = learner->means[other].mean, own = learner->means[arm].mean;
    if (theirs < own || (theirs == own && other < arm)) better += 1;
  }
  return better;
}

static void halve(hak_learner *learner) {
  const int staying = (left(learner) + 1) / 2;
  bool stays[HAK_ARMS_MAX] = {false};
  for (int arm = 0; arm < learner->arms; arm += 1) stays[arm] = learner->active[arm] && rank_of(learner, arm) < staying;
  memcpy(learner->active, stays, sizeof stays);
  learner->windows = 0;
  if (staying > 1) memset(learner->means, 0, sizeof learner->means);
}

static void learn(hak_learner *learner, int acted, const int64_t *costs) {
  (void)acted;
  const int tellers_left = left(learner);
  if (tellers_left == 1) return;
  learner->figures.rating_writes += hak_means_add(learner->means, learner->arms, costs);
  learner->windows += 1;
  const int64_t tellers = learner->config->rating == rating_classic ? tellers_left : 1;
  if (learner->windows == learner->config->halving_windows * tellers) halve(learner);
}

static int best(const hak_learner *learner) {
  int found = -1;
  for (int arm = 0; arm < learner->arms; arm += 1) {
    if (!learner->active[arm]) continue;
    if (found < 0)
      found = arm;
    else if (learner->means[arm].count > 0 &&
             (learner->means[found].count == 0 || learner->means[arm].mean < learner->means[found].mean))
      found = arm;
  }
  return found;
}

static int choose(hak_learner *learner) {
  if (learner->config->rating != rating_classic) return best(learner);
  int64_t nth = learner->windows % left(learner);
  int arm = 0;
  for (; !learner->active[arm] || nth > 0; arm += 1) nth -= learner->active[arm];
  return arm;
}

static void reset(hak_learner *learner) {
  for (int arm = 0; arm < learner->arms; arm += 1) learner->active[arm] = true;
  learner->windows = 0;
  memset(learner->means, 0, sizeof learner->means);
}

static bool is_active(const hak_learner *learner, int arm) { return learner->active[arm]; }

const hak_method hak_halving = {learn, choose, best, reset, is_active};
