/** Whether the winner is worth setting: by how much it is better in what was asked for, as far as that was measured. */
import type { Interval } from '../statistics.ts';
import type { Figures, Objective } from './objective.ts';
import { meanRatio, mostOf } from './objective.ts';
import { margin, type Verified } from './verify.ts';

/** The kernel counts resident pages in batches for each processor: two runs differ by about this. */
export const resident_noise_bytes = 1 << 19;

export interface Worth {
  /** How many times better in what was asked for; measured where the winner was run for real. */
  readonly gain: Interval;
  readonly wins: boolean;
}

export interface Conditions {
  readonly rss_max_bytes: number | undefined;
  readonly slowdown_max_percent: number | undefined;
  /** At most so much more resident at its peak than the baseline. */
  readonly memory_more_percent?: number | undefined;
}

/** Figures trace by trace; `verified` null where nothing was run for real. */
export function worthOf(
  objective: Objective,
  winner: readonly Figures[],
  baseline: readonly Figures[],
  verified: Verified | null,
  { rss_max_bytes, slowdown_max_percent, memory_more_percent }: Conditions,
): Worth {
  const predicted = 1 / meanRatio(winner, baseline, 'time_ns');
  const speedup = verified?.speedup ?? { median: predicted, low: predicted, high: predicted };
  const memory = 1 / meanRatio(winner, baseline, 'memory_bytes');
  if (objective.name === 'score') {
    const gain = mapped(speedup, (each) => 1 / scoreAt(each, winner, baseline));
    return { gain, wins: gain.low > 1 + margin };
  }
  if (objective.name === 'time') {
    const cap = rss_max_bytes ?? Number.POSITIVE_INFINITY;
    const resident = verified?.resident_peak_bytes ?? mostOf(winner);
    const before = verified?.baseline.resident_peak_bytes ?? mostOf(baseline);
    const more = memory_more_percent ?? Number.POSITIVE_INFINITY;
    const small = resident <= before * (1 + more / 100) + resident_noise_bytes;
    return { gain: speedup, wins: small && resident <= cap && (before > cap || speedup.low > 1 + margin) };
  }
  const gain = { median: memory, low: memory, high: memory };
  const slow_enough = 1 / (1 + (slowdown_max_percent ?? 0) / 100);
  return { gain, wins: memory > 1 + margin && speedup.high >= slow_enough };
}

/** Of the score the time was predicted; with the ratio measured instead, what it is against the baseline's. */
function scoreAt(speedup: number, winner: readonly Figures[], baseline: readonly Figures[]): number {
  const shares = winner.map((each, trace) => {
    const before = baseline[trace];
    if (before.score === 0) return 1;
    return (each.score - each.score_of_time + before.score_of_time / speedup) / before.score;
  });
  return shares.reduce((sum, each) => sum + each, 0) / shares.length;
}

/** A function that grows over an interval. */
function mapped({ median, low, high }: Interval, of: (value: number) => number): Interval {
  return { median: of(median), low: of(low), high: of(high) };
}
