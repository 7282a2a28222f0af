/**
 * Sequential halving: every point on small samples of the traces, the best third of them on larger ones, and so on; what
 * is left runs on the whole traces, and a climb from the best of it repairs what a sample misjudged.
 *
 * What ties with the last one kept is kept too, and so is what comes within `slack` of it: a sample cannot tell such points
 * apart. A sample of too few rows is no judge at all and is left out; docs/studies has what that costs and saves.
 */
import { climb } from './climb.ts';
import type { Method } from './method.ts';
import { compareStandings } from './objective.ts';
import { ranked } from './order.ts';
import type { Point } from './space.ts';

const shares = [1 / 27, 1 / 9, 1 / 3] as const;
/** One of so many goes on. */
const keeps = 3;
const slack = 0.01;
const rows_min = 60;
/** A sample that is nearly the whole trace saves nothing. */
const rows_share_max = 0.8;

export const halving: Method = {
  name: 'halving',
  says: 'sequential halving over samples of the traces, then the whole traces and a climb from the best',
  async search(problem) {
    const notes: string[] = [];
    let alive: readonly Point[] = problem.points;
    for (const share of shares) {
      const rows = problem.rowsAt(share);
      if (rows < rows_min || rows > rows_share_max * problem.rowsAt(1)) {
        notes.push(`samples of ${percent(share)} have ${rows} rows: left out`);
        continue;
      }
      const order = ranked(problem, await problem.evaluate(alive, { share }));
      const last = order[Math.ceil(order.length / keeps) - 1].standing;
      const kept = order.filter(
        ({ standing }) =>
          compareStandings(standing, last) <= 0 ||
          (standing.excess <= last.excess && standing.cost <= last.cost * (1 + slack)),
      );
      notes.push(`samples of ${percent(share)}: ${kept.length} of ${alive.length} points kept`);
      alive = kept.map(({ evaluated }) => evaluated.point);
    }
    const finalists = await problem.evaluate([problem.baseline, ...alive]);
    const climbed = await climb(problem, ranked(problem, finalists)[0].evaluated.point);
    return { finalists: [...finalists, ...climbed], notes };
  },
};

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
