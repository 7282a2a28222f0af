/** Two settings by what their runs spent: medians, the ratio with its interval, and what that decides. */
import { median } from 'd3-array';
import { shape } from '../../sim/spec.ts';
import { type Interval, intervalOf, ratioOf, type Verdict, verdictOf } from '../statistics.ts';

/** What one run spent; the names are those of the result. */
export interface Run {
  readonly cpu_ns: number;
  readonly wall_ns: number;
  readonly faults: number;
  readonly resident_peak_bytes: number;
}

/** What is measured, and the score that weighs it: the verdict of the whole is the score's. */
export const metric_names = ['cpu', 'wall', 'faults', 'resident_peak', 'score'] as const;
export type MetricName = (typeof metric_names)[number];

const fields: Readonly<Record<Exclude<MetricName, 'score'>, keyof Run>> = {
  cpu: 'cpu_ns',
  wall: 'wall_ns',
  faults: 'faults',
  resident_peak: 'resident_peak_bytes',
};

export interface Compared {
  readonly a: Interval;
  readonly b: Interval;
  /** How many times more A takes than B: above 1 B is better. */
  readonly ratio: Interval;
  /** Of B, against A. */
  readonly verdict: Verdict;
  /** Whether the whole interval is that near to 1: no difference worth a setting. */
  readonly within_margin: boolean;
}

export type Metrics = Readonly<Record<MetricName, Compared>>;

/** Where something was not spent at all, a ratio is taken of one fault, byte or nanosecond more of each. */
const one_more = 1;

/** Runs at the same place ran beside each other. */
export function compareRuns(a: readonly Run[], b: readonly Run[], margin: number, seed: number): Metrics {
  const entries = metric_names.map((name) => {
    const of = name === 'score' ? weighed(a) : (run: Run): number => run[fields[name]];
    const [of_a, of_b] = [a.map(of), b.map(of)];
    const more = Math.min(...of_a, ...of_b) === 0 ? one_more : 0;
    const ratio = ratioOf(
      of_a.map((value) => value + more),
      of_b.map((value) => value + more),
      seed,
    );
    const within_margin = ratio.low >= 1 / (1 + margin) && ratio.high <= 1 + margin;
    const verdict = verdictOf(ratio, margin);
    return [name, { a: intervalOf(of_a, seed), b: intervalOf(of_b, seed), ratio, verdict, within_margin }] as const;
  });
  return Object.fromEntries(entries) as Metrics;
}

/** CPU, faults and memory of a run with the weights of every score, in shares of what A takes; wall time is noise and CPU. */
function weighed(a: readonly Run[]): (run: Run) => number {
  const parts = [
    { field: 'cpu_ns', weight: shape.score_cpu },
    { field: 'faults', weight: shape.score_faults },
    { field: 'resident_peak_bytes', weight: shape.score_memory },
  ] as const;
  const known = parts
    .map(({ field, weight }) => ({ field, weight, usual: median(a, (run) => run[field])! }))
    .filter(({ usual }) => usual > 0);
  return (run) => known.reduce((sum, { field, weight, usual }) => sum + (weight * run[field]) / usual, 0);
}

/** Of several subjects: better where one is and none is worse, worse the other way round; a trade decides nothing. */
export function together(verdicts: readonly Verdict[]): Verdict {
  const better = verdicts.includes('better');
  const worse = verdicts.includes('worse');
  if (better === worse) return 'undecidable';
  return better ? 'better' : 'worse';
}
