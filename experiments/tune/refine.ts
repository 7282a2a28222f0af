/**
 * Local refinement: climbs on the grid from the baseline and from a few points drawn at random, then, from the best, goes
 * between the grid's values on logarithmic axes, in steps that halve.
 */
import { climb } from './climb.ts';
import type { Evaluated } from './evaluator.ts';
import type { Method, Problem } from './method.ts';
import { ranked } from './order.ts';
import { type Axis, chooseSome, moved, samePoint } from './space.ts';

const other_starts = 2;
/** Finer differences than this factor are not searched. */
const finest_factor = 2 ** (1 / 8);
/** Sizes are whole pages: a finer value only looks more exact. */
const grain_bytes = 4096;

export const refine: Method = {
  name: 'refine',
  says: 'climbs along the axes from several starts, then smaller steps between the values of the grid',
  async search(problem) {
    const starts = [problem.baseline, ...chooseSome(problem.points, other_starts, problem.seed)];
    const seen: Evaluated[] = [];
    for (const start of starts) seen.push(...(await climb(problem, start)));
    const before = ranked(problem, seen)[0].evaluated.point;
    seen.push(...(await between(problem, seen)));
    const after = ranked(problem, seen)[0].evaluated.point;
    const note = samePoint(before, after)
      ? 'nothing between the values of the grid is better'
      : 'better values lie between those of the grid';
    return { finalists: seen, notes: [`${starts.length} climbs`, note] };
  },
};

/** Steps of half the distance to the neighbours, down to the finest, on one axis after the other. */
async function between(problem: Problem, climbed: readonly Evaluated[]): Promise<readonly Evaluated[]> {
  const seen = [...climbed];
  for (let part = 2; part <= 64; part *= 2) {
    for (let axis = 0; axis < problem.space.length; axis += 1) {
      const here = ranked(problem, seen)[0].evaluated.point;
      const points = steps(problem.space[axis], here[axis], part)
        .map((value) => moved(here, axis, value))
        .filter((point) => problem.legal(point));
      seen.push(...(await problem.evaluate(points)));
    }
  }
  return seen.slice(climbed.length);
}

/** Values at one part of the way to the next values of the grid, on either side. */
function steps({ kind, values }: Axis, here: number, part: number): number[] {
  if (kind !== 'log' || here <= 0) return [];
  const below = values.filter((value) => value < here && value > 0).at(-1);
  const above = values.find((value) => value > here);
  return [below, above].flatMap((neighbour) => {
    if (neighbour === undefined) return [];
    const factor = (neighbour / here) ** (1 / part);
    const value = Math.round((here * factor) / grain_bytes) * grain_bytes;
    const fine = Math.max(factor, 1 / factor) < finest_factor;
    return fine || value === here || value <= 0 ? [] : [value];
  });
}
