/* What several learners share: means of costs by strategy. Mirrors sim/decide/arms.ts. */
#include "hak.h"

int hak_means_add(hak_paired *means, int arms, const int64_t *costs) {
  int written = 0;
  for (int arm = 0; arm < arms; arm += 1) {
    if (costs[arm] < 0) continue;
    hak_paired_add(&means[arm], (double)costs[arm]);
    written += 1;
  }
  return written;
}

int hak_means_best(const hak_paired *means, int arms) {
  int best = 0;
  for (int arm = 0; arm < arms; arm += 1) {
    if (means[arm].count == 0) return arm;
    if (means[arm].mean < means[best].mean) best = arm;
  }
  return best;
}
