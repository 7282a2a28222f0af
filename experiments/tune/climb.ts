/**
 * From a point to one that no change of one axis improves, nor of two where those two have few combinations: boundaries
 * that belong together are only better when both move. On the whole traces.
 */
import type { Evaluated } from './evaluator.ts';
import type { Problem } from './method.ts';
import { ranked } from './order.ts';
import { moved, type Point, samePoint } from './space.ts';

/** Two axes with more combinations than this are not moved together. */
const pair_combinations_max = 16;

/** Everything that was tried on the way; the best of it is where the climb ended. */
export async function climb(problem: Problem, from: Point): Promise<readonly Evaluated[]> {
  const seen: Evaluated[] = [...(await problem.evaluate([from]))];
  const singles = problem.space.map((_, axis) => [axis]);
  let here = from;
  for (;;) {
    here = await descend(problem, here, singles, seen);
    const after = await descend(problem, here, pairs(problem), seen);
    if (samePoint(after, here)) return seen;
    here = after;
  }
}

/** Along each group of axes in turn, all its combinations at a time, until none of the groups helps. */
async function descend(
  problem: Problem,
  from: Point,
  groups: readonly (readonly number[])[],
  seen: Evaluated[],
): Promise<Point> {
  let here = from;
  for (let still = 0, at = 0; still < groups.length; at = (at + 1) % groups.length) {
    const others = around(problem, here, groups[at]).filter((point) => !samePoint(point, here));
    seen.push(...(await problem.evaluate(others)));
    const best = ranked(problem, seen)[0].evaluated.point;
    still = samePoint(best, here) ? still + 1 : 0;
    here = best;
  }
  return here;
}

/** Every value on each of the axes, and the baseline's. */
function around(problem: Problem, here: Point, axes: readonly number[]): Point[] {
  const values = (axis: number): number[] => [...new Set([...problem.space[axis].values, problem.baseline[axis]])];
  return axes
    .reduce<Point[]>(
      (points, axis) => points.flatMap((point) => values(axis).map((value) => moved(point, axis, value))),
      [here],
    )
    .filter((point) => problem.legal(point));
}

function pairs({ space }: Problem): number[][] {
  const few = (a: number, b: number): boolean =>
    space[a].values.length * space[b].values.length <= pair_combinations_max;
  return space.flatMap((_, b) => space.slice(0, b).flatMap((_, a) => (few(a, b) ? [[a, b]] : [])));
}
