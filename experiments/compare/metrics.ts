/** Two settings by what their runs spent: medians, the ratio with its interval, and what that decides. */
import { type Interval, intervalOf, ratioOf, type Verdict, verdictOf } from '../statistics.ts';

/** What one run spent; the names are those of the result. */
export interface Run {
  readonly cpu_ns: number;
  readonly wall_ns: number;
  readonly faults: number;
  readonly resident_peak_bytes: number;
}

export const metric_names = ['cpu', 'wall', 'faults', 'resident_peak'] as const;
export type MetricName = (typeof metric_names)[number];

const fields: Readonly<Record<MetricName, keyof Run>> = {
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

/** Runs at the same place ran beside each other. */
export function compareRuns(a: readonly Run[], b: readonly Run[], margin: number, seed: number): Metrics {
  const entries = metric_names.map((name) => {
    const of = (runs: readonly Run[]): number[] => runs.map((run) => run[fields[name]]);
    const ratio = orEqual(ratioOf(of(a), of(b), seed));
    const within_margin = ratio.low >= 1 / (1 + margin) && ratio.high <= 1 + margin;
    const verdict = verdictOf(ratio, margin);
    return [name, { a: intervalOf(of(a), seed), b: intervalOf(of(b), seed), ratio, verdict, within_margin }] as const;
  });
  return Object.fromEntries(entries) as Metrics;
}

/** Of both nothing: equal. */
function orEqual({ median, low, high }: Interval): Interval {
  const settled = (value: number): number => (Number.isNaN(value) ? 1 : value);
  return { median: settled(median), low: settled(low), high: settled(high) };
}

/** Better where something is and nothing is worse, worse the other way round; a trade decides nothing. */
export function together(verdicts: readonly Verdict[]): Verdict {
  const better = verdicts.includes('better');
  const worse = verdicts.includes('worse');
  if (better === worse) return 'undecidable';
  return better ? 'better' : 'worse';
}
