/* LEARN, FROZEN, CANARY: when learning ends, what wakes it, and whether a change is kept. Mirrors sim/decide/lifecycle.ts. */
#include <string.h>

#include "hak.h"

enum { lifecycle_off, lifecycle_learn, lifecycle_frozen, lifecycle_auto };
enum { rules_paired, rules_classic };
enum { rating_paired, rating_classic };
enum { quantile_histogram, quantile_p2 };

/* rating=classic tells of one strategy a window: there are no pairs to go by. */
static bool by_classic_rules(const hak_config *config) {
  return config->rules == rules_classic || config->rating == rating_classic;
}

static void add_price(hak_quantiles *prices, int64_t price_ns) {
  prices->count += 1;
  if (prices->by_p2)
    hak_p2_add(&prices->p2, (double)price_ns);
  else
    hak_histogram_add(&prices->histogram, price_ns);
}

static void clear_prices(hak_quantiles *prices) {
  prices->count = 0;
  if (prices->by_p2)
    hak_p2_clear(&prices->p2);
  else
    hak_histogram_clear(&prices->histogram);
}

static int64_t p99(const hak_quantiles *prices) {
  if (prices->count == 0) return 0;
  return prices->by_p2 ? (int64_t)hak_p2_estimate(&prices->p2) : hak_histogram_quantile(&prices->histogram, 9900);
}

static void clear_trial(hak_lifecycle *cycle) {
  clear_prices(&cycle->canary_prices);
  cycle->canary_slow = 0;
  cycle->canary_samples = 0;
  cycle->control_slow = 0;
  cycle->control_samples = 0;
}

/* As documented: elapsed, and the p99 has moved little in each of the last windows. */
static bool is_calm(hak_lifecycle *cycle) {
  const hak_config *config = cycle->config;
  const int64_t apart =
      cycle->p99_ns < cycle->p99_before ? cycle->p99_before - cycle->p99_ns : cycle->p99_ns - cycle->p99_before;
  const bool moved = apart * 1000 > config->freeze_p99_permille * cycle->p99_before;
  cycle->streak = moved || cycle->windows < 2 ? 0 : cycle->streak + 1;
  return cycle->streak >= config->freeze_stable_windows && cycle->windows >= config->freeze_after_windows;
}

/* The leader has led, and every other that is left is surely worse, or surely as good. */
static bool is_settled(const hak_lifecycle *cycle, const hak_learner *learner) {
  const hak_config *config = cycle->config;
  if (cycle->stable < config->freeze_stable_windows) return false;
  const double band = ((cycle->leader_cost / (double)cycle->stable) * (double)config->equivalence_permille) / 1000;
  for (int arm = 0; arm < cycle->arms; arm += 1) {
    if (arm == cycle->leader || !learner->method->is_active(learner, arm)) continue;
    const hak_paired *other = &cycle->others[arm];
    if (!hak_paired_is_positive(other) && !hak_paired_is_within(other, band)) return false;
  }
  return true;
}

static void know_slow(hak_lifecycle *cycle) {
  const int64_t slow_from_ns = hak_histogram_quantile(&cycle->calm, HAK_SLOW_PERMYRIAD);
  cycle->slow_bucket = hak_histogram_bucket(slow_from_ns);
  cycle->slow_reference = hak_histogram_above(&cycle->calm, slow_from_ns);
  cycle->calm_samples = cycle->calm.total;
  hak_histogram_clear(&cycle->calm);
}

/* Samples that were slow, where it is known what slow is. */
static bool has_slowed(hak_lifecycle *cycle) {
  if (cycle->calming == 0)
    return hak_is_more(cycle->slow, cycle->samples, cycle->slow_reference, cycle->calm_samples, HAK_Z999_SQUARED);
  cycle->calming -= 1;
  if (cycle->calming == 0) know_slow(cycle);
  return false;
}

static void freeze(hak_lifecycle *cycle, int arm) {
  cycle->state = HAK_LIFECYCLE_STATE_FROZEN;
  cycle->confirmed = arm;
  cycle->candidate = -1;
  cycle->windows = 0;
  cycle->streak = 0;
  cycle->p99_frozen = cycle->p99_ns;
  cycle->reference = cycle->now;
  hak_signature_clear(&cycle->now);
  cycle->calming = cycle->calm.total > 0 ? 0 : cycle->config->freeze_stable_windows;
  if (cycle->calming == 0) know_slow(cycle);
}

static int while_learning(hak_lifecycle *cycle, const int64_t *costs, const hak_learner *learner) {
  const hak_config *config = cycle->config;
  const int leader = learner->method->best(learner);
  if (leader != cycle->leader) {
    cycle->leader = leader;
    cycle->stable = 0;
    cycle->leader_cost = 0;
    memset(cycle->others, 0, sizeof cycle->others);
    hak_histogram_clear(&cycle->calm);
    hak_signature_clear(&cycle->now);
  }
  hak_signature_add_all(&cycle->now, &cycle->window);
  cycle->stable += 1;
  cycle->leader_cost += (double)costs[leader];
  for (int arm = 0; arm < cycle->arms; arm += 1) hak_paired_add(&cycle->others[arm], (double)(costs[arm] - costs[leader]));
  if (config->lifecycle != lifecycle_auto) return HAK_CHANGE_NONE;
  const bool ready = by_classic_rules(config) ? is_calm(cycle) : is_settled(cycle, learner);
  if (!ready) return HAK_CHANGE_NONE;
  freeze(cycle, leader);
  cycle->freezes += 1;
  return HAK_CHANGE_FREEZE;
}

/* Until the reference has samples enough to be compared, windows join it. */
static bool has_drifted(hak_lifecycle *cycle) {
  hak_signature_add_all(&cycle->now, &cycle->window);
  const int64_t moved = hak_signature_drift_permille(&cycle->reference, &cycle->now);
  if (moved >= cycle->config->drift_permille) return true;
  if (moved != HAK_NO_TEST) {
    hak_signature_clear(&cycle->now);
  } else if (cycle->state == HAK_LIFECYCLE_STATE_FROZEN &&
             hak_signature_drift_permille(&cycle->reference, &cycle->reference) == HAK_NO_TEST) {
    hak_signature_add_all(&cycle->reference, &cycle->now);
    hak_signature_clear(&cycle->now);
  }
  return false;
}

/* The best of the others. */
static int runner_up(const hak_learner *learner, int confirmed, int arms) {
  const int best = learner->method->best(learner);
  if (best != confirmed) return best;
  for (int step = 1; step < arms; step += 1) {
    const int arm = (confirmed + step) % arms;
    if (learner->method->is_active(learner, arm)) return arm;
  }
  return confirmed;
}

static int while_frozen(hak_lifecycle *cycle, const hak_learner *learner) {
  const hak_config *config = cycle->config;
  const bool worse = by_classic_rules(config)
                         ? cycle->p99_ns * 1000 > cycle->p99_frozen * (1000 + config->relearn_p99_permille)
                         : has_slowed(cycle);
  cycle->streak = worse ? cycle->streak + 1 : 0;
  if (!has_drifted(cycle) && cycle->streak < config->relearn_windows) return HAK_CHANGE_NONE;
  cycle->state = HAK_LIFECYCLE_STATE_CANARY;
  cycle->canaries += 1;
  cycle->windows = 0;
  cycle->streak = 0;
  cycle->calming = 0;
  hak_histogram_clear(&cycle->calm);
  memset(cycle->observed, 0, sizeof cycle->observed);
  cycle->observed_cost = 0;
  cycle->candidate = config->rating == rating_classic ? runner_up(learner, cycle->confirmed, cycle->arms) : -1;
  cycle->trial = (hak_paired){0};
  clear_trial(cycle);
  if (cycle->now.samples > 0) cycle->reference = cycle->now;
  hak_signature_clear(&cycle->now);
  return HAK_CHANGE_CANARY;
}

/* Frozen again, on the sizes of today. */
static void settle(hak_lifecycle *cycle, int arm) {
  cycle->now = cycle->reference;
  freeze(cycle, arm);
}

static void relearn(hak_lifecycle *cycle) {
  cycle->relearns += 1;
  cycle->state = HAK_LIFECYCLE_STATE_LEARN;
  cycle->candidate = -1;
  cycle->leader = -1;
  cycle->windows = 0;
  cycle->streak = 0;
  hak_signature_clear(&cycle->now);
  hak_histogram_clear(&cycle->calm);
}

static int roll_back(hak_lifecycle *cycle) {
  cycle->rollbacks += 1;
  settle(cycle, cycle->confirmed);
  return HAK_CHANGE_ROLLBACK;
}

/* The candidate is what would have been cheapest over the first windows; where that is what acts, nothing is tried. */
static int nominate(hak_lifecycle *cycle, const int64_t *costs, int64_t cost) {
  int cheapest = 0;
  cycle->observed_cost += (double)cost;
  for (int arm = 0; arm < cycle->arms; arm += 1) {
    cycle->observed[arm] += (double)costs[arm];
    if (cycle->observed[arm] < cycle->observed[cheapest]) cheapest = arm;
  }
  if (cycle->windows < cycle->config->relearn_windows) return HAK_CHANGE_NONE;
  if (cycle->observed[cheapest] >= cycle->observed_cost) return roll_back(cycle);
  cycle->candidate = cheapest;
  clear_trial(cycle);
  return HAK_CHANGE_NONE;
}

static int classic_verdict(const hak_lifecycle *cycle) {
  if (cycle->canary_samples < cycle->config->canary_samples) return HAK_CHANGE_NONE;
  return p99(&cycle->canary_prices) <= cycle->p99_ns ? HAK_CHANGE_PROMOTE : HAK_CHANGE_ROLLBACK;
}

static int paired_verdict(const hak_lifecycle *cycle, int64_t cost) {
  const hak_config *config = cycle->config;
  if (cycle->canary_samples < config->canary_samples) return HAK_CHANGE_NONE;
  if (hak_is_more(cycle->canary_slow, cycle->canary_samples, cycle->control_slow, cycle->control_samples, HAK_Z99_SQUARED))
    return HAK_CHANGE_ROLLBACK;
  if (hak_paired_is_positive(&cycle->trial)) return HAK_CHANGE_PROMOTE;
  const double band = (double)(cost * config->equivalence_permille) / 1000;
  return hak_paired_is_within(&cycle->trial, band) ? HAK_CHANGE_ROLLBACK : HAK_CHANGE_NONE;
}

static int on_trial(hak_lifecycle *cycle, const int64_t *costs, int64_t cost) {
  if (has_drifted(cycle)) {
    relearn(cycle);
    return HAK_CHANGE_RELEARN;
  }
  hak_signature_add_all(&cycle->reference, &cycle->window);
  if (cycle->candidate < 0) return nominate(cycle, costs, cost);
  hak_paired_add(&cycle->trial, (double)(cost - costs[cycle->candidate]));
  const int verdict = by_classic_rules(cycle->config) ? classic_verdict(cycle) : paired_verdict(cycle, cost);
  if (verdict == HAK_CHANGE_PROMOTE) {
    cycle->promotions += 1;
    settle(cycle, cycle->candidate);
    return HAK_CHANGE_PROMOTE;
  }
  if (verdict == HAK_CHANGE_NONE && cycle->windows < cycle->config->canary_windows_max) return HAK_CHANGE_NONE;
  return roll_back(cycle);
}

void hak_lifecycle_init(hak_lifecycle *cycle, const hak_config *config, int arms) {
  memset(cycle, 0, sizeof *cycle);
  cycle->config = config;
  cycle->arms = arms;
  cycle->state = HAK_LIFECYCLE_STATE_LEARN;
  cycle->candidate = -1;
  cycle->leader = -1;
  cycle->slow_bucket = HAK_HISTOGRAM_BUCKETS;
  cycle->prices.by_p2 = cycle->canary_prices.by_p2 = config->quantile == quantile_p2;
  hak_p2_init(&cycle->prices.p2, 0.99);
  hak_p2_init(&cycle->canary_prices.p2, 0.99);
}

void hak_lifecycle_add(hak_lifecycle *cycle, int64_t size_bytes, int64_t price_ns, bool by_candidate) {
  const int slow = hak_histogram_bucket(price_ns) > cycle->slow_bucket;
  hak_signature_add(&cycle->window, size_bytes);
  cycle->samples += 1;
  cycle->slow += slow;
  if (cycle->state == HAK_LIFECYCLE_STATE_LEARN || cycle->calming > 0) hak_histogram_add(&cycle->calm, price_ns);
  if (!by_candidate) {
    add_price(&cycle->prices, price_ns);
    cycle->control_samples += 1;
    cycle->control_slow += slow;
    return;
  }
  add_price(&cycle->canary_prices, price_ns);
  cycle->canary_samples += 1;
  cycle->canary_slow += slow;
}

int hak_lifecycle_close(hak_lifecycle *cycle, const int64_t *costs, const hak_learner *learner, int64_t cost) {
  cycle->p99_before = cycle->p99_ns;
  if (cycle->prices.count > 0) cycle->p99_ns = p99(&cycle->prices);
  clear_prices(&cycle->prices);
  cycle->windows += 1;
  int change = 0;
  if (cycle->state == HAK_LIFECYCLE_STATE_LEARN)
    change = while_learning(cycle, costs, learner);
  else if (cycle->state == HAK_LIFECYCLE_STATE_FROZEN)
    change = while_frozen(cycle, learner);
  else
    change = on_trial(cycle, costs, cost);
  hak_signature_clear(&cycle->window);
  cycle->samples = 0;
  cycle->slow = 0;
  return change;
}
