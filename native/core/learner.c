/* The built-in learners behind one interface. Mirrors sim/decide/learner.ts. Mirrors sim/decide/learners.ts. */
#include <string.h>

#include "hak.h"

bool hak_learner_all_active(const hak_learner *learner, int arm) { return arm < learner->arms; }

void hak_learner_init(hak_learner *learner, const hak_config *config, const hak_ledger *ledger, int64_t seed) {
  static const hak_method *const methods[] = {&hak_tournament, &hak_ucb1, &hak_epsilon, &hak_halving};
  memset(learner, 0, sizeof *learner);
  learner->method = methods[config->learner];
  learner->config = config;
  learner->ledger = ledger;
  learner->arms = ledger->arms;
  char text[48];
  snprintf(text, sizeof text, "%lld/explore", (long long)seed);
  hak_prng_init(&learner->explore, text);
  snprintf(text, sizeof text, "%lld/opponent", (long long)seed);
  hak_prng_init(&learner->opponent, text);
  learner->method->reset(learner);
}
