/* The threshold in force, and the arm it comes from. Mirrors sim/decide/strategy.ts. */
#include "hak.h"

enum { strategy_set_geometric, strategy_set_public };
enum { lifecycle_off, lifecycle_learn, lifecycle_frozen, lifecycle_auto };
enum { learner_elo, learner_ucb1 };
static const int64_t geometric_bytes[HAK_STRATEGIES] = HAK_STRATEGY_GEOMETRIC_BYTES;
static const int64_t public_bytes[HAK_STRATEGIES] = HAK_STRATEGY_PUBLIC_BYTES;
static const int64_t step_bytes[HAK_UCB1_STEPS] = HAK_UCB1_STEP_BYTES;

const int64_t *hak_strategy_thresholds(const hak_config *config) {
  return config->strategy_set == strategy_set_public ? public_bytes : geometric_bytes;
}

const int64_t *hak_strategy_steps(void) { return step_bytes; }

int hak_strategy_select(const hak_config *config) {
  return config->mmap_threshold_bytes > 0 ? HAK_FIXED_ARM : (int)config->strategy;
}

int64_t hak_strategy_threshold(const hak_config *config, int arm) {
  if (arm == HAK_FIXED_ARM) return config->mmap_threshold_bytes;
  return hak_strategy_thresholds(config)[arm];
}

bool hak_strategy_learns(const hak_config *config) {
  return config->mmap_threshold_bytes == 0 &&
         (config->lifecycle == lifecycle_learn || config->lifecycle == lifecycle_auto);
}

bool hak_strategy_learns_sites(const hak_config *config) {
  return hak_strategy_learns(config) && config->learner == learner_ucb1;
}

int64_t hak_strategy_floor(const hak_config *config) {
  if (!hak_strategy_learns(config)) return hak_strategy_threshold(config, hak_strategy_select(config));
  return hak_strategy_learns_sites(config) ? step_bytes[0] : hak_strategy_thresholds(config)[0];
}
