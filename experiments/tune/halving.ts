/**
 * Sequential halving: every point on small samples of the traces, the best third of them on larger ones, and so on; what
 * is left runs on the whole traces, and climbs from the best of it repair what a sample misjudged.
 *
 * A sample misjudges: kept beside the best third are what comes within `slack` of it, the best with each value of each axis,
 * and the cheapest that break a condition by little. A sample of too few rows is no judge at all and is left out. The
 * numbers below are those that lost nothing against the grid on the recorded samples; `hakmem study tuning` shows it.
 */
import { climb } from './climb.ts';
import type { Method } from './method.ts';
import { compareStandings } from './objective.ts';
import { ranked } from './order.ts';
import { distance, type Point } from './space.ts';

const shares = [1 / 27, 1 / 9, 1 / 3] as const;
/** One of so many goes on. */
const keeps = 3;
const slack = 0.01;
/** What breaks a condition on a sample by at most this much may keep it on the whole trace. */
const lenience = 0.5;
const rows_min = 200;
const climbs = 3;
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
      const lenient = new Set(
        order
          .filter(({ standing }) => standing.excess <= lenience)
          .sort((a, b) => a.standing.cost - b.standing.cost)
          .slice(0, Math.ceil(order.length / (2 * keeps))),
      );
      const firstOfItsValue = firsts();
      const kept = order.filter((each) => {
        const { evaluated, standing } = each;
        const first = firstOfItsValue(evaluated.point);
        const close = standing.excess <= last.excess && standing.cost <= last.cost * (1 + slack);
        return first || close || lenient.has(each) || compareStandings(standing, last) <= 0;
      });
      notes.push(`samples of ${percent(share)}: ${kept.length} of ${alive.length} points kept`);
      alive = kept.map(({ evaluated }) => evaluated.point);
    }
    const finalists = [...(await problem.evaluate([problem.baseline, ...alive]))];
    const order = ranked(problem, finalists).map(({ evaluated }) => evaluated.point);
    for (const start of unlike(order, climbs)) finalists.push(...(await climb(problem, start)));
    return { finalists, notes };
  },
};

/** The first points of which no two are one or two steps apart: a climb finds those by itself. */
function unlike(points: readonly Point[], most: number): Point[] {
  const chosen: Point[] = [];
  for (const point of points) {
    if (chosen.length === most) break;
    if (chosen.every((other) => distance(point, other) > 2)) chosen.push(point);
  }
  return chosen;
}

/** Asked of points in turn: whether one is the first to have its value on some axis. */
function firsts(): (point: Point) => boolean {
  const seen = new Set<string>();
  return (point) => {
    const before = seen.size;
    point.forEach((value, axis) => {
      seen.add(`${axis} ${value}`);
    });
    return seen.size > before;
  };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
