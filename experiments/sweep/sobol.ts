/**
 * Sobol points: a net that fills a box evenly however many of its dimensions matter. Direction numbers are those of
 * S. Joe and F. Y. Kuo (SIAM J. Sci. Comput. 30, 2008, file new-joe-kuo-6.21201); a digital shift drawn from the seed
 * moves the net and keeps its evenness.
 */
import seedrandom from 'seedrandom';

const bits = 32;

/** Dimensions 2 and up: degree of the polynomial, its inner coefficients, first direction numbers. */
const directions: readonly (readonly [degree: number, inner: number, ...first: number[]])[] = [
  [1, 0, 1],
  [2, 1, 1, 3],
  [3, 1, 1, 3, 1],
  [3, 2, 1, 1, 1],
  [4, 1, 1, 1, 3, 3],
  [4, 4, 1, 3, 5, 13],
  [5, 2, 1, 1, 5, 5, 17],
  [5, 4, 1, 1, 5, 5, 5],
  [5, 7, 1, 1, 7, 11, 19],
  [5, 11, 1, 1, 5, 1, 1],
  [5, 13, 1, 1, 1, 3, 11],
  [5, 14, 1, 3, 5, 5, 31],
  [6, 1, 1, 3, 3, 9, 7, 49],
  [6, 13, 1, 1, 1, 15, 21, 21],
  [6, 16, 1, 3, 1, 13, 27, 49],
  [6, 19, 1, 1, 1, 15, 7, 5],
  [6, 22, 1, 3, 1, 15, 13, 25],
  [6, 25, 1, 1, 5, 5, 19, 61],
  [7, 1, 1, 3, 7, 11, 23, 15, 103],
  [7, 4, 1, 3, 7, 13, 13, 15, 69],
];

export const sobol_dimensions_max = directions.length + 1;

/** The first `count` points of [0, 1)^dimensions: any 2^k of them fall one into each 2^-k of every dimension. */
export function sobolPoints(count: number, dimensions: number, seed: number): number[][] {
  if (dimensions > sobol_dimensions_max)
    throw new RangeError(`${dimensions} dimensions; there are direction numbers for ${sobol_dimensions_max}`);
  const columns = Array.from({ length: dimensions }, (_, at) => directionNumbers(at));
  const state = columns.map((_, at) => seedrandom.alea(`sobol/${seed}/${at}`).int32());
  return Array.from({ length: count }, (_, index) => {
    const point = state.map((word) => (word >>> 0) / 2 ** bits);
    // Gray code order: from one point to the next one direction number changes.
    const changed = 31 - Math.clz32(~index & (index + 1));
    for (let at = 0; at < dimensions; at += 1) state[at] ^= columns[at][changed];
    return point;
  });
}

function directionNumbers(dimension: number): Int32Array {
  const numbers = new Int32Array(bits);
  if (dimension === 0) {
    for (let at = 0; at < bits; at += 1) numbers[at] = 1 << (bits - 1 - at);
    return numbers;
  }
  const [degree, inner, ...first] = directions[dimension - 1];
  for (let at = 0; at < bits; at += 1) {
    if (at < degree) {
      numbers[at] = first[at] << (bits - 1 - at);
      continue;
    }
    let next = numbers[at - degree] ^ (numbers[at - degree] >>> degree);
    for (let back = 1; back < degree; back += 1) if ((inner >>> (degree - 1 - back)) & 1) next ^= numbers[at - back];
    numbers[at] = next;
  }
  return numbers;
}
