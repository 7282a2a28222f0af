/* Hot, warm or cold: a function of the requested size alone. Mirrors sim/decide/thermal.ts. */
#include "hak.h"

int hak_thermal_class(const hak_config *config, int64_t size_bytes) {
  if (size_bytes >= config->cold_from_bytes) return HAK_THERMAL_COLD;
  return size_bytes >= config->warm_from_bytes ? HAK_THERMAL_WARM : HAK_THERMAL_HOT;
}
