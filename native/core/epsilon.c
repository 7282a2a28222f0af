/* Epsilon-greedy over means: the lowest mean cost, or now and then any strategy. Mirrors sim/decide/epsilon.ts. */
#include <string.h>

#include "hak.h"

static int best(const hak_learner *learner) { return hak_means_best(learner->means, learner->arms); }

static void learn(hak_learner *learner, int acted, const int64_t *costs) {
  (void)acted;
  learner->figures.rating_writes += hak_means_add(learner->means, learner->arms, costs);
}

static int choose(hak_learner *learner) {
  const bool explores = hak_prng_next(&learner->explore) * 1000 < (double)learner->config->explore_permille;
  const int arm = explores ? (int)hak_prng_below(&learner->explore, learner->arms) : best(learner);
  if (explores) learner->figures.explorations += 1;
  learner->figures.draws = learner->explore.draws;
  return arm;
}

static void reset(hak_learner *learner) { memset(learner->means, 0, sizeof learner->means); }

const hak_method hak_epsilon = {learn, choose, best, reset, hak_learner_all_active};
