/**
 * The winner against the baseline for real: both run on every trace, interleaved and in alternating order, several times.
 * Counts are compared with the simulator's in every run; CPU times become a ratio with an interval.
 */
import { median } from 'd3-array';
import { type Interval, ratioOf, type Verdict, verdictOf } from '../statistics.ts';
import type { Point } from './space.ts';
import type { Measured, Subject } from './target.ts';

/** Figures of all traces together: faults and time in sum, memory the most of one of them. */
export interface RealFigures {
  readonly faults: number;
  readonly resident_peak_bytes: number;
  readonly ns: number;
}

export interface Verified extends RealFigures {
  readonly rounds: number;
  /** CPU time of the baseline over that of the winner. */
  readonly speedup: Interval;
  readonly verdict: Verdict;
  /** Whether simulator and real kernel counted the same. */
  readonly check: 'agree' | 'differ' | 'unchecked';
  readonly reason: string | null;
  readonly baseline: RealFigures;
}

/** Less than this is no difference worth a setting, whatever an interval of a few rounds says. */
export const margin = 0.01;

/** A short run is noisy: rounds that together run the baseline for half a second, within bounds. */
const enough_ns = 5e8;
const rounds_least = 5;

export function roundsFor(baseline_ns: number, most: number): number {
  return Math.min(most, Math.max(rounds_least, Math.ceil(enough_ns / baseline_ns)));
}

/** What `roundsFor` comes to at most where nobody says how many. */
const rounds_most = 15;

interface VerifyOptions {
  /** Undefined: by how long the baseline runs. */
  readonly rounds: number | undefined;
  readonly seed: number;
  readonly progress?: (done: number, total: number) => void;
}

export async function verify(
  subjects: readonly Subject[],
  winner: Point,
  baseline: Point,
  { rounds: wanted, seed, progress }: VerifyOptions,
): Promise<Verified> {
  const runs = subjects.map(() => ({ winner: [] as Measured[], baseline: [] as Measured[] }));
  let rounds = wanted ?? rounds_least;
  let done = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, subject] of subjects.entries()) {
      const order = round % 2 === 0 ? (['baseline', 'winner'] as const) : (['winner', 'baseline'] as const);
      for (const who of order) {
        runs[at][who].push(await subject.measure(who === 'winner' ? winner : baseline));
        done += 1;
        progress?.(done, rounds * subjects.length * 2);
      }
    }
    if (round === 0) rounds = wanted ?? roundsFor(together(runs.map((run) => run.baseline)).ns, rounds_most);
  }
  const all = runs.flatMap((run) => [...run.winner, ...run.baseline]);
  const odd = all.find(({ verdict }) => verdict === 'differ') ?? all.find(({ verdict }) => verdict === 'unchecked');
  const speedup = ratioOf(relative(runs, 'baseline', rounds), relative(runs, 'winner', rounds), seed);
  return {
    ...together(runs.map((run) => run.winner)),
    rounds,
    speedup,
    verdict: verdictOf(speedup, margin),
    check: odd?.verdict ?? 'agree',
    reason: odd?.reason ?? null,
    baseline: together(runs.map((run) => run.baseline)),
  };
}

/** Of each round, the mean over the traces of the time against the baseline's median on that trace. */
function relative(
  runs: readonly { winner: readonly Measured[]; baseline: readonly Measured[] }[],
  who: 'winner' | 'baseline',
  rounds: number,
): number[] {
  return Array.from({ length: rounds }, (_, round) => {
    const shares = runs.map((run) => run[who][round].time_ns / median(run.baseline, ({ time_ns }) => time_ns)!);
    return shares.reduce((sum, each) => sum + each, 0) / shares.length;
  });
}

function together(runs: readonly (readonly Measured[])[]): RealFigures {
  return {
    faults: runs.reduce((sum, run) => sum + median(run, ({ faults }) => faults)!, 0),
    resident_peak_bytes: Math.max(...runs.map((run) => median(run, ({ memory_bytes }) => memory_bytes)!)),
    ns: runs.reduce((sum, run) => sum + median(run, ({ time_ns }) => time_ns)!, 0),
  };
}
