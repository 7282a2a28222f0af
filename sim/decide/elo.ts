/**
 * Elo ratings as whole numbers of 2^-16 points: what one side of a match gains the other loses, to the last bit. Mirrors
 * native/core/elo.c.
 */
import { shape } from '../spec.ts';

const { elo_expected16: table, elo_unit } = shape;
const reach = shape.elo_reach * elo_unit;

/** Score that `own` can expect against `other`, in 2^-16; that of both is 65536, exactly. */
export function expected16(own: number, other: number): number {
  const behind = other - own;
  return behind < 0 ? 65536 - expectedBehind(-behind) : expectedBehind(behind);
}

/**
 * Moves both ratings by one delta: `score16` is what `a` made of the match, `k` whole points. Returns what `a` gained.
 *
 * A win that was certain moves nothing. The table never says less than 1 in 101, so that a strategy that always won would
 * gain 650/65536 of k each time, for ever: 100,000 wins at k = 32 would leave an int32. As it is, the sum of the best j of
 * n ratings grows only in a match across a gap of less than `elo_reach`, by k at most, which bounds it as a chain of n - 1
 * such gaps does: no rating is further than (n - 1) / 2 * (elo_reach + 2 k) from the mean, that is 7,216 points for 12
 * strategies and k = 256, where an int32 holds 32,767.
 */
export function matchElo(ratings: Int32Array, a: number, b: number, score16: 0 | 32768 | 65536, k: number): number {
  const ahead = ratings[a] - ratings[b];
  if ((score16 === 65536 && ahead >= reach) || (score16 === 0 && ahead <= -reach)) return 0;
  const delta = k * (score16 - expected16(ratings[a], ratings[b]));
  ratings[a] += delta;
  ratings[b] -= delta;
  return delta;
}

/** Expected score of one who is `behind` by so much: the table by whole points, straight lines between. */
function expectedBehind(behind: number): number {
  if (behind >= reach) return table[shape.elo_reach];
  const points = Math.floor(behind / elo_unit);
  const fall = table[points] - table[points + 1];
  return table[points] - Math.floor((fall * (behind - points * elo_unit)) / elo_unit);
}
