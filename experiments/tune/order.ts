/** Who is ahead: by standing; of equals the one that changes fewest settings, so that ties leave things as they are. */
import type { Evaluated } from './evaluator.ts';
import type { Problem } from './method.ts';
import { compareStandings, type Standing } from './objective.ts';
import { distance } from './space.ts';

export interface Ranked {
  readonly evaluated: Evaluated;
  readonly standing: Standing;
}

/** Best first. */
export function ranked(problem: Problem, evaluated: readonly Evaluated[]): Ranked[] {
  const standings = problem.rank(evaluated);
  return evaluated
    .map((each, at) => ({ evaluated: each, standing: standings[at] }))
    .sort(
      (a, b) =>
        compareStandings(a.standing, b.standing) ||
        distance(a.evaluated.point, problem.baseline) - distance(b.evaluated.point, problem.baseline),
    );
}
