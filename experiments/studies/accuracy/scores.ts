/** How far predictions are from measurements: errors, ranks, regret, coverage, and how far measurements are from themselves. */
import { mean, median } from 'd3-array';

export interface Errors {
  /** Mean, middle and greatest of |predicted / measured - 1|. */
  readonly mape: number;
  readonly median: number;
  readonly max: number;
  /** Mean of predicted / measured - 1. */
  readonly bias: number;
}

/** Of as many predictions as measurements, at least one. */
export function errorsOf(predicted: readonly number[], measured: readonly number[]): Errors {
  const signed = predicted.map((value, at) => value / measured[at] - 1);
  const absolute = signed.map(Math.abs);
  return { mape: mean(absolute)!, median: median(absolute)!, max: Math.max(...absolute), bias: mean(signed)! };
}

export interface Ranked {
  /** Pairs whose measurements differ by more than the margin, and how many of them are predicted to tie. */
  readonly pairs: number;
  readonly tied: number;
  /** Pairs in the right order less pairs in the wrong one. */
  readonly score: number;
}

/** A pair counts where it differs by more than `margin`, the same way, in each of the measurements. */
export function rankedPairs(
  predicted: readonly number[],
  measurements: readonly (readonly number[])[],
  margin: number,
): Ranked {
  let [pairs, tied, score] = [0, 0, 0];
  for (let one = 1; one < predicted.length; one += 1)
    for (let other = 0; other < one; other += 1) {
      const signs = measurements.map((measured) => {
        const ratio = measured[one] / measured[other];
        return Math.max(ratio, 1 / ratio) > 1 + margin ? Math.sign(ratio - 1) : 0;
      });
      const [sign] = signs;
      if (sign === 0 || signs.some((each) => each !== sign)) continue;
      const order = Math.sign(predicted[one] - predicted[other]);
      pairs += 1;
      if (order === 0) tied += 1;
      score += order * sign;
    }
  return { pairs, tied, score };
}

/** Kendall's tau-b over such pairs of several groups; null of none. */
export function tauOf(groups: readonly Ranked[]): number | null {
  const sum = (of: (group: Ranked) => number): number => groups.reduce((total, group) => total + of(group), 0);
  const pairs = sum((group) => group.pairs);
  const told = pairs - sum((group) => group.tied);
  return told === 0 ? null : sum((group) => group.score) / Math.sqrt(pairs * told);
}

export interface Regret {
  /** Of both halves, and of the half that shows less. */
  readonly mean: number;
  readonly least: number;
  /** Candidates predicted within a hundredth of the least: a tie, any of which may be taken. */
  readonly tied: number;
}

const tie_margin = 0.01;

/**
 * What is lost, in the mean, with a candidate of the least prediction. The best is chosen on one half of the rounds and compared
 * on the other, then the halves change places: the least of many noisy medians is too good to be true on its own rounds.
 */
export function regretOf(predicted: readonly number[], rounds: readonly (readonly number[])[]): Regret {
  const least = Math.min(...predicted);
  const isTied = (_: unknown, at: number): boolean => predicted[at] <= least * (1 + tie_margin);
  const [even, odd] = halves(rounds);
  const lost = (choose: readonly number[], compare: readonly number[]): number => {
    const best = choose.indexOf(Math.min(...choose));
    return mean(compare.filter(isTied))! / compare[best] - 1;
  };
  const both = [lost(even, odd), lost(odd, even)];
  return { mean: mean(both)!, least: Math.min(...both), tied: predicted.filter(isTied).length };
}

/** How far medians of every other round are from those of the rest, in the mean: no prediction can be shown to be nearer. */
export function noiseOf(rounds: readonly (readonly number[])[]): number {
  const [even, odd] = halves(rounds);
  return mean(even, (value, at) => Math.abs(value - odd[at]) / ((value + odd[at]) / 2))!;
}

/** Medians of every other round, and of the rest. */
export function halves(rounds: readonly (readonly number[])[]): readonly [number[], number[]] {
  const half = (rest: number): number[] =>
    rounds.map((samples) => median(samples.filter((_, round) => round % 2 === rest))!);
  return [half(0), half(1)];
}

/** The share of measurements within their predicted interval. */
export function coverageOf(
  intervals: readonly { readonly low: number; readonly high: number }[],
  measured: readonly number[],
): number {
  return (
    measured.filter((value, at) => intervals[at].low <= value && value <= intervals[at].high).length / measured.length
  );
}
