/* Alea, the generator of Johannes Baagoe (MIT; baagoe.com, 2010), as npm's seedrandom.alea. Mirrors sim/decide/prng.ts. */
#include "hak.h"

static const double two_to_minus_32 = 2.3283064365386963e-10;

static double low32(double value) { return (double)(uint32_t)(int64_t)value; }

/* Baagoe's hash of a text to [0, 1); each call goes on from the last. */
static double mash(double *state, const char *text) {
  double now = *state;
  for (const unsigned char *at = (const unsigned char *)text; *at != 0; at += 1) {
    now += *at;
    double mixed = 0.02519603282416938 * now;
    now = low32(mixed);
    mixed -= now;
    mixed *= now;
    now = low32(mixed);
    mixed -= now;
    now += mixed * 4294967296.0;
  }
  *state = now;
  return low32(now) * two_to_minus_32;
}

static double wrapped(double value) { return value < 0 ? value + 1 : value; }

void hak_prng_init(hak_prng *prng, const char *seed) {
  double state = 0xefc8249du;
  *prng = (hak_prng){.c = 1};
  prng->s0 = mash(&state, " ");
  prng->s1 = mash(&state, " ");
  prng->s2 = mash(&state, " ");
  prng->s0 = wrapped(prng->s0 - mash(&state, seed));
  prng->s1 = wrapped(prng->s1 - mash(&state, seed));
  prng->s2 = wrapped(prng->s2 - mash(&state, seed));
}

double hak_prng_next(hak_prng *prng) {
  const double product = 2091639.0 * prng->s0 + prng->c * two_to_minus_32;
  prng->c = (double)(int64_t)product;
  prng->s0 = prng->s1;
  prng->s1 = prng->s2;
  prng->s2 = product - prng->c;
  prng->draws += 1;
  return prng->s2;
}

int64_t hak_prng_below(hak_prng *prng, int64_t count) { return (int64_t)(hak_prng_next(prng) * (double)count); }
