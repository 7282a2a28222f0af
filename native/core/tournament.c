/* Elo: strategies play each other, a window a round, and the highest rating acts. Mirrors sim/decide/tournament.ts. */
#include <string.h>

#include "hak.h"

enum { rating_paired, rating_classic };
enum { lost = 0, drawn = 32768, won = 65536 };

static int best(const hak_learner *learner) {
  int found = -1;
  for (int arm = 0; arm < learner->arms; arm += 1) {
    if (!learner->active[arm]) continue;
    if (found < 0 || learner->ratings[arm] > learner->ratings[found] ||
        (learner->ratings[arm] == learner->ratings[found] && learner->acted[arm] < learner->acted[found]))
      found = arm;
  }
  return found;
}

static void play(hak_learner *learner, int a, int b, int64_t cost_a, int64_t cost_b) {
  const int64_t apart = cost_a < cost_b ? cost_b - cost_a : cost_a - cost_b;
  const int64_t larger = cost_a < cost_b ? cost_b : cost_a;
  const int32_t score16 = apart * HAK_ELO_DRAW_DIVISOR <= larger ? drawn : cost_a < cost_b ? won : lost;
  hak_elo_match(learner->ratings, a, b, score16, (int32_t)learner->config->elo_k);
  learner->games[a] += 1;
  learner->games[b] += 1;
  learner->figures.matches += 1;
  learner->figures.rating_writes += 2;
}

/* Every pair of those that are left, in an order drawn anew. */
static void play_all(hak_learner *learner, const int64_t *costs) {
  int order[HAK_ARMS_MAX];
  int count = 0;
  int64_t least = costs[0];
  int64_t over[HAK_ARMS_MAX] = {0};
  for (int arm = 0; arm < learner->arms; arm += 1) {
    if (learner->active[arm]) order[count++] = arm;
    if (costs[arm] < least) least = costs[arm];
  }
  for (int arm = 0; arm < learner->arms; arm += 1) over[arm] = costs[arm] - least;
  hak_means_add(learner->means, learner->arms, over);
  for (int at = count - 1; at > 0; at -= 1) {
    const int other = (int)hak_prng_below(&learner->opponent, at + 1);
    const int swapped = order[at];
    order[at] = order[other];
    order[other] = swapped;
  }
  for (int a = 0; a < count; a += 1)
    for (int b = a + 1; b < count; b += 1) play(learner, order[a], order[b], costs[order[a]], costs[order[b]]);
}

/* As the original: the one that acted against what another cost when it acted last. */
static void play_last(hak_learner *learner, int acted, int64_t cost) {
  int others[HAK_ARMS_MAX];
  int count = 0;
  for (int arm = 0; arm < learner->arms; arm += 1)
    if (arm != acted && learner->active[arm] && learner->last[arm] >= 0) others[count++] = arm;
  learner->last[acted] = cost;
  learner->figures.rating_writes += 1;
  if (count == 0) return;
  const int other = others[hak_prng_below(&learner->opponent, count)];
  play(learner, acted, other, cost, learner->last[other]);
}

/* How many of those that are left are rated above, or as high with a lower number. */
static int rank_of(const hak_learner *learner, int arm) {
  int above = 0;
  for (int other = 0; other < learner->arms; other += 1) {
    if (!learner->active[other] || other == arm) continue;
    const int32_t theirs = learner->ratings[other], own = learner->ratings[arm];
    if (theirs > own || (theirs == own && other < arm)) above += 1;
  }
  return above;
}

/* Keeps the top few, and paired also whoever may still be as good as the leader. */
static void survive(hak_learner *learner) {
  int left = 0;
  for (int arm = 0; arm < learner->arms; arm += 1) {
    if (!learner->active[arm]) continue;
    left += 1;
    if (learner->games[arm] < learner->config->elo_survive_games) return;
  }
  if (left <= learner->config->elo_survivors) return;
  const int leader = best(learner);
  const double reach = learner->means[leader].mean + hak_paired_half(&learner->means[leader]);
  bool stays[HAK_ARMS_MAX] = {false};
  for (int arm = 0; arm < learner->arms; arm += 1) {
    const bool close = learner->config->rating != rating_classic &&
                       learner->means[arm].mean - hak_paired_half(&learner->means[arm]) <= reach;
    stays[arm] = learner->active[arm] && (rank_of(learner, arm) < learner->config->elo_survivors || close ||
                                          learner->ratings[arm] == learner->ratings[leader]);
  }
  memcpy(learner->active, stays, sizeof stays);
}

static void count_draws(hak_learner *learner) { learner->figures.draws = learner->explore.draws + learner->opponent.draws; }

static void learn(hak_learner *learner, int acted, const int64_t *costs) {
  learner->acted[acted] += 1;
  if (learner->config->rating == rating_classic)
    play_last(learner, acted, costs[acted]);
  else
    play_all(learner, costs);
  survive(learner);
  count_draws(learner);
}

static int choose(hak_learner *learner) {
  if (hak_prng_next(&learner->explore) * 1000 >= (double)learner->config->explore_permille) {
    count_draws(learner);
    return best(learner);
  }
  learner->figures.explorations += 1;
  int count = 0;
  for (int arm = 0; arm < learner->arms; arm += 1) count += learner->active[arm];
  int64_t nth = hak_prng_below(&learner->explore, count);
  count_draws(learner);
  int arm = 0;
  for (; !learner->active[arm] || nth > 0; arm += 1) nth -= learner->active[arm];
  return arm;
}

static void reset(hak_learner *learner) {
  for (int arm = 0; arm < learner->arms; arm += 1) {
    learner->ratings[arm] = (int32_t)(HAK_ELO_START * HAK_ELO_UNIT);
    learner->acted[arm] = 0;
    learner->games[arm] = 0;
    learner->active[arm] = true;
    learner->last[arm] = -1;
  }
  memset(learner->means, 0, sizeof learner->means);
}

static bool is_active(const hak_learner *learner, int arm) { return learner->active[arm]; }

const hak_method hak_tournament = {learn, choose, best, reset, is_active};
