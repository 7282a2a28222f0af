/* The threshold in force, and the arm it comes from. Mirrors sim/decide/strategy.ts. */
#include "hak.h"

enum { strategy_set_geometric, strategy_set_public };
static const int64_t geometric_bytes[HAK_STRATEGIES] = HAK_STRATEGY_GEOMETRIC_BYTES;
static const int64_t public_bytes[HAK_STRATEGIES] = HAK_STRATEGY_PUBLIC_BYTES;

int hak_strategy_select(const hak_config *config) {
  return config->mmap_threshold_bytes > 0 ? HAK_FIXED_ARM : (int)config->strategy;
}

int64_t hak_strategy_threshold(const hak_config *config, int arm) {
  if (arm == HAK_FIXED_ARM) return config->mmap_threshold_bytes;
  return config->strategy_set == strategy_set_public ? public_bytes[arm] : geometric_bytes[arm];
}
