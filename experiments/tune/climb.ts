/** From a point to one that no change of a single axis improves, on the whole traces: every value of an axis at a time. */
import type { Evaluated } from './evaluator.ts';
import type { Problem } from './method.ts';
import { ranked } from './order.ts';
import { moved, type Point, samePoint } from './space.ts';

/** Everything that was tried on the way; the best of it is where the climb ended. */
export async function climb(problem: Problem, from: Point): Promise<readonly Evaluated[]> {
  const seen: Evaluated[] = [...(await problem.evaluate([from]))];
  let here = from;
  for (let still = 0; still < problem.space.length; ) {
    still = 0;
    for (let axis = 0; axis < problem.space.length; axis += 1) {
      const others = problem.space[axis].values
        .map((value) => moved(here, axis, value))
        .concat([moved(here, axis, problem.baseline[axis])])
        .filter((point) => problem.legal(point) && !samePoint(point, here));
      seen.push(...(await problem.evaluate(others)));
      const best = ranked(problem, seen)[0].evaluated.point;
      if (samePoint(best, here)) still += 1;
      here = best;
    }
  }
  return seen;
}
