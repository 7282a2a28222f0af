/** What repeated measurements say: medians, seeded bootstrap intervals, paired tests, rank correlation. */
import { median, quantile } from 'd3-array';
import seedrandom from 'seedrandom';

export interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

const resamples = 2000;
/** Two-sided, 95 %. */
const tail = 0.025;

/** The median of `samples` and a 95 % percentile-bootstrap interval of it. */
export function intervalOf(samples: readonly number[], seed: number): Interval {
  const random = seedrandom.alea(`bootstrap/${seed}`);
  return resampled(samples.length, random, (rows) => median(rows, (row) => samples[row])!);
}

/**
 * How many times more `before` takes than `after`: the ratio of their medians, resampled by rounds, for the two of one
 * round ran beside each other and share its disturbance.
 */
export function ratioOf(before: readonly number[], after: readonly number[], seed: number): Interval {
  if (before.length !== after.length || before.length === 0)
    throw new RangeError(`found ${before.length} and ${after.length} rounds, wanted as many of both`);
  const random = seedrandom.alea(`bootstrap/${seed}`);
  const middle = (of: readonly number[], rows: readonly number[]): number => median(rows, (row) => of[row])!;
  return resampled(before.length, random, (rows) => middle(before, rows) / middle(after, rows));
}

export interface MeanInterval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** The mean of `samples` and a 95 % percentile-bootstrap interval of it. */
export function meanOf(samples: readonly number[], seed: number): MeanInterval {
  const random = seedrandom.alea(`bootstrap/${seed}`);
  const {
    median: mean,
    low,
    high,
  } = resampled(samples.length, random, (rows) => rows.reduce((sum, row) => sum + samples[row], 0) / rows.length);
  return { mean, low, high };
}

export interface ShareInterval {
  readonly share: number;
  readonly low: number;
  readonly high: number;
}

/** `count` of `of`, with its 95 % interval of Wilson: it says something of nothing found, too. */
export function shareOf(count: number, of: number): ShareInterval {
  if (of === 0) return { share: 0, low: 0, high: 1 };
  const z = 1.959964;
  const share = count / of;
  const middle = (share + z ** 2 / (2 * of)) / (1 + z ** 2 / of);
  const half = (z * Math.sqrt((share * (1 - share)) / of + z ** 2 / (4 * of ** 2))) / (1 + z ** 2 / of);
  return { share, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

/** Kendall's tau-b: 1 where both order alike, -1 where one is the other reversed; ties of either count for neither. NaN of constants. */
export function kendallTauB(a: readonly number[], b: readonly number[]): number {
  let [sum, differ_a, differ_b] = [0, 0, 0];
  for (let one = 1; one < a.length; one += 1)
    for (let other = 0; other < one; other += 1) {
      const order_a = Math.sign(a[one] - a[other]);
      const order_b = Math.sign(b[one] - b[other]);
      sum += order_a * order_b;
      differ_a += Math.abs(order_a);
      differ_b += Math.abs(order_b);
    }
  return sum / Math.sqrt(differ_a * differ_b);
}

export type Verdict = 'better' | 'worse' | 'undecidable';

/** Of a ratio before / after: decided only where the whole interval lies beyond 1 by more than `margin`. */
export function verdictOf({ low, high }: Interval, margin: number): Verdict {
  if (low > 1 + margin) return 'better';
  return high < 1 / (1 + margin) ? 'worse' : 'undecidable';
}

/**
 * The chance that differences as large as these, in favour of the first, come from signs alone: one-sided sign-flip
 * permutation test of the mean. Every pattern of signs where there are few, else a seeded choice of them.
 */
export function signFlipTest(differences: readonly number[], seed: number): number {
  const many = differences.length;
  const sum = (signs: (at: number) => boolean): number =>
    differences.reduce((total, each, at) => total + (signs(at) ? each : -each), 0);
  const seen = sum(() => true);
  // Sums in another order of signs differ by rounding: as large as seen counts as seen.
  const as_large = (total: number): boolean => total >= seen - 1e-12 * Math.max(1, Math.abs(seen));
  const patterns_max = 4096;
  let large = 0;
  if (2 ** many <= patterns_max) {
    for (let pattern = 0; pattern < 2 ** many; pattern += 1)
      if (as_large(sum((at) => ((pattern >> at) & 1) === 1))) large += 1;
    return large / 2 ** many;
  }
  const random = seedrandom.alea(`sign-flip/${seed}`);
  for (let draw = 0; draw < patterns_max; draw += 1) if (as_large(sum(() => random() < 0.5))) large += 1;
  return (large + 1) / (patterns_max + 1);
}

function resampled(count: number, random: () => number, statistic: (rows: readonly number[]) => number): Interval {
  const all = Array.from({ length: count }, (_, row) => row);
  const draws = Array.from({ length: resamples }, () => statistic(all.map(() => Math.floor(random() * count))));
  return { median: statistic(all), low: quantile(draws, tail)!, high: quantile(draws, 1 - tail)! };
}
