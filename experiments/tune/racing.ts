/**
 * Paired racing across traces: all points on one trace, then on the next, and so on; after each, what a paired test over
 * the traces seen shows to be worse than the leader is dropped. Fewer than five traces can show nothing at this level: then
 * every point runs on every trace.
 */
import seedrandom from 'seedrandom';
import { signFlipTest } from '../statistics.ts';
import type { Method, Problem } from './method.ts';
import { compareStandings, type Standing } from './objective.ts';
import type { Point } from './space.ts';

/** One-sided level of the paired test. */
const level = 0.05;

interface Racer {
  readonly point: Point;
  /** On each trace alone, in the order of the race. */
  readonly standings: readonly Standing[];
}

export const racing: Method = {
  name: 'racing',
  says: 'trace by trace, dropping what a paired test shows to be worse than the leader',
  async search(problem) {
    const notes: string[] = [];
    const order = shuffled(problem);
    let racers: readonly Racer[] = problem.points.map((point) => ({ point, standings: [] }));
    for (const [at, trace] of order.entries()) {
      racers = await step(problem, racers, trace);
      const kept = await survivors(problem, racers, order.slice(0, at + 1));
      if (kept.length < racers.length)
        notes.push(`after trace ${at + 1} of ${problem.traces}: ${kept.length} points left`);
      racers = kept;
    }
    const finalists = await problem.evaluate([problem.baseline, ...racers.map(({ point }) => point)]);
    return { finalists, notes };
  },
};

async function step(problem: Problem, racers: readonly Racer[], trace: number): Promise<readonly Racer[]> {
  const points = racers.map(({ point }) => point);
  const standings = problem.rank(await problem.evaluate(points, { traces: [trace] }));
  return racers.map(({ point, standings: before }, at) => ({ point, standings: [...before, standings[at]] }));
}

/** The leader is who stands best on all traces seen together. */
async function survivors(
  problem: Problem,
  racers: readonly Racer[],
  traces: readonly number[],
): Promise<readonly Racer[]> {
  const points = racers.map(({ point }) => point);
  const together = problem.rank(await problem.evaluate(points, { traces }));
  const lead = together.reduce((best, each, at) => (compareStandings(each, together[best]) < 0 ? at : best), 0);
  return racers.filter((racer, at) => {
    const of = together[at].excess > together[lead].excess ? 'excess' : 'cost';
    const differences = racer.standings.map((each, trace) => each[of] - racers[lead].standings[trace][of]);
    return differences.every((each) => each === 0) || signFlipTest(differences, problem.seed) >= level;
  });
}

/** The traces in an order of the seed's. */
function shuffled(problem: Problem): number[] {
  const random = seedrandom.alea(`racing/${problem.seed}`);
  return Array.from({ length: problem.traces }, (_, trace) => ({ trace, draw: random() }))
    .sort((a, b) => a.draw - b.draw)
    .map(({ trace }) => trace);
}
