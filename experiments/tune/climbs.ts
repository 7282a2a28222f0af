/**
 * Climbs along the axes from the settings that people use, the target's `starts`: for allocators whose heap a sample of a
 * trace does not show, so that every try is on the whole of it.
 */
import { climb } from './climb.ts';
import type { Evaluated } from './evaluator.ts';
import type { Method, Problem } from './method.ts';
import type { Point } from './space.ts';

export const climbs: Method = {
  name: 'climbs',
  says: 'climbs on whole traces from the settings that people use',
  async search(problem) {
    const within = bounded(problem);
    const seen: Evaluated[] = [];
    let climbed = 0;
    for (const start of problem.starts) {
      if ((await within.evaluate([start])).length === 0) continue;
      seen.push(...(await climb(within, start)));
      climbed += 1;
    }
    return { finalists: seen, notes: [`${climbed} climbs`] };
  },
};

/** Within the budget: points of further kinds are passed over. */
function bounded(problem: Problem): Problem {
  const kinds = new Set<string>();
  const allowed = (point: Point): boolean => {
    const kind = problem.kind(point);
    if (kinds.size < problem.budget) kinds.add(kind);
    return kinds.has(kind);
  };
  return { ...problem, evaluate: (points, on) => problem.evaluate(points.filter(allowed), on) };
}
