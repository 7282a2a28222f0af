/* Elo ratings as whole numbers of 2^-16 points, their sum conserved to the last bit. Mirrors sim/decide/elo.ts. */
#include "hak.h"

enum { reach = HAK_ELO_REACH * HAK_ELO_UNIT };
static const int32_t table[HAK_ELO_REACH + 1] = HAK_ELO_EXPECTED16;
/* Ratings stay in an int32: the bound that sim/decide/elo.ts derives. */
_Static_assert(HAK_ELO_START + (HAK_STRATEGIES - 1) * (HAK_ELO_REACH + 2 * 256) / 2 < INT32_MAX / HAK_ELO_UNIT,
               "no rating leaves an int32");

/* The table by whole points, straight lines between. */
static int32_t expected_behind(int64_t behind) {
  if (behind >= reach) return table[HAK_ELO_REACH];
  const int64_t points = behind / HAK_ELO_UNIT;
  const int64_t fall = table[points] - table[points + 1];
  return table[points] - (int32_t)(fall * (behind - points * HAK_ELO_UNIT) / HAK_ELO_UNIT);
}

int32_t hak_elo_expected16(int32_t own, int32_t other) {
  const int64_t behind = (int64_t)other - own;
  return behind < 0 ? 65536 - expected_behind(-behind) : expected_behind(behind);
}

/* A win that was certain moves nothing: else ratings would grow for ever. */
int32_t hak_elo_match(int32_t *ratings, int a, int b, int32_t score16, int32_t k) {
  const int64_t ahead = (int64_t)ratings[a] - ratings[b];
  if ((score16 == 65536 && ahead >= reach) || (score16 == 0 && ahead <= -reach)) return 0;
  const int32_t delta = k * (score16 - hak_elo_expected16(ratings[a], ratings[b]));
  ratings[a] += delta;
  ratings[b] -= delta;
  return delta;
}
