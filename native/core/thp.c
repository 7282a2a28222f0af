/* Which huge-page advice a new mapping gets. Mirrors sim/decide/thp.ts. */
#include "hak.h"

enum { thp_off, thp_on };

bool hak_thp_wants_huge(const hak_config *config, int64_t mapped_bytes) {
  if (config->thp_policy == thp_off) return false;
  return config->thp_policy == thp_on || mapped_bytes >= config->thp_from_bytes;
}

bool hak_thp_forbids_huge(const hak_config *config) { return config->thp_policy == thp_off && config->thp_advice; }
