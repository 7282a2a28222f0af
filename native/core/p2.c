/* P-square: one quantile of a stream from five markers (Jain and Chlamtac 1985). Mirrors sim/decide/p2.ts. */
#include <float.h>
#include <math.h>

#include "hak.h"

_Static_assert(FLT_EVAL_METHOD == 0, "a double is computed as a double");

static void insert(hak_p2 *p2, double value) {
  int64_t at = p2->count - 1;
  for (; at > 0 && p2->heights[at - 1] > value; at -= 1) p2->heights[at] = p2->heights[at - 1];
  p2->heights[at] = value;
}

/* The first marker above the value's cell; the outer markers give way to a new extreme. */
static int place(hak_p2 *p2, double value) {
  if (value < p2->heights[0])
    p2->heights[0] = value;
  else if (value > p2->heights[4])
    p2->heights[4] = value;
  int above = 1;
  while (above < 4 && value >= p2->heights[above]) above += 1;
  return above;
}

/* One step up or down: along a parabola through three markers, or a line where that would pass a neighbour. */
static void move(hak_p2 *p2, int at, int step) {
  double *q = p2->heights, *n = p2->positions;
  const double up = ((n[at] - n[at - 1] + step) * (q[at + 1] - q[at])) / (n[at + 1] - n[at]);
  const double down = ((n[at + 1] - n[at] - step) * (q[at] - q[at - 1])) / (n[at] - n[at - 1]);
  const double curved = q[at] + (step / (n[at + 1] - n[at - 1])) * (up + down);
  if (q[at - 1] < curved && curved < q[at + 1])
    q[at] = curved;
  else
    q[at] += (step * (q[at + step] - q[at])) / (n[at + step] - n[at]);
  n[at] += step;
}

void hak_p2_init(hak_p2 *p2, double p) {
  *p2 = (hak_p2){.p = p};
  hak_p2_clear(p2);
}

void hak_p2_add(hak_p2 *p2, double value) {
  if (!(value >= 0 && value < INFINITY)) {
    p2->rejected += 1;
    return;
  }
  p2->count += 1;
  if (p2->count <= 5) {
    insert(p2, value);
    return;
  }
  double *n = p2->positions;
  for (int above = place(p2, value); above < 5; above += 1) n[above] += 1;
  const double shares[5] = {0, p2->p / 2, p2->p, (1 + p2->p) / 2, 1};
  for (int at = 1; at < 4; at += 1) {
    const double off = 1 + (double)(p2->count - 1) * shares[at] - n[at];
    if (off >= 1 && n[at + 1] - n[at] > 1)
      move(p2, at, 1);
    else if (off <= -1 && n[at - 1] - n[at] < -1)
      move(p2, at, -1);
  }
}

void hak_p2_clear(hak_p2 *p2) {
  for (int at = 0; at < 5; at += 1) {
    p2->heights[at] = 0;
    p2->positions[at] = at + 1;
  }
  p2->count = 0;
}

double hak_p2_estimate(const hak_p2 *p2) {
  if (p2->count == 0) return NAN;
  if (p2->count >= 5) return p2->heights[2];
  int at = 0;
  while (at + 1 < p2->p * (double)p2->count) at += 1;
  return p2->heights[at];
}
