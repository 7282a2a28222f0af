/** Predicted time beside measured time: when the two agree, as results have it and in words. */

import { type PriceList, pricesInWords } from '../calibrate/price-file.ts';
import { paint } from '../color.ts';
import { UsageError } from '../command.ts';
import { type Interval, intervalOf } from '../statistics.ts';

/** How often what is measured runs, each time in a fresh process. */
export const timed_runs = 7;
const runs_max = 2 * timed_runs;

/**
 * What predictions are off by in the mean at prices of the same minutes: `hakmem study accuracy`, 328 points held out, 7.3 % to
 * 10.2 % in four runs (docs/METHOD.md). The intervals that they come with are of prices alone.
 */
export const model_error = 0.1;

export interface TimeCheck {
  /** What both sides are the CPU time of. */
  readonly compares: string;
  readonly predicted_ns: number;
  /** With all prices at the low ends of their intervals, and all at the high ends. */
  readonly predicted_interval_ns: { readonly low: number; readonly high: number };
  readonly model_error: number;
  /** Median of the runs, and its 95 % interval. */
  readonly measured_ns: Interval;
  readonly runs: number;
  /** predicted / measured - 1; null where the median of what was measured is not above 0. */
  readonly error: number | null;
  readonly within: boolean;
}

/** Of a check whose counts agree: what it comes to with the time. */
export interface TimeOutcome {
  readonly time: TimeCheck | null;
  readonly verdict: 'agree' | 'differ' | 'unchecked';
  /** Why no time was checked. */
  readonly reason: string | null;
}

interface Prediction {
  readonly cpu_ns: number;
  readonly cpu_interval_ns: { readonly low: number; readonly high: number };
}

export function outcomeOf(
  compares: string,
  { cpu_ns, cpu_interval_ns }: Prediction,
  samples_ns: readonly number[],
  seed: number,
): TimeOutcome {
  const measured_ns = intervalOf(samples_ns, seed);
  const within = overlap(widened(cpu_interval_ns), measured_ns);
  const time: TimeCheck = {
    compares,
    predicted_ns: cpu_ns,
    predicted_interval_ns: cpu_interval_ns,
    model_error,
    measured_ns,
    runs: samples_ns.length,
    error: measured_ns.median > 0 ? cpu_ns / measured_ns.median - 1 : null,
    within,
  };
  return { time, verdict: within ? 'agree' : 'differ', reason: null };
}

interface Range {
  readonly low: number;
  readonly high: number;
}

/** What could be measured where a prediction in the range is off by as much as the model is: by predicted / measured - 1. */
export function widened({ low, high }: Range): Range {
  return { low: low / (1 + model_error), high: high / (1 - model_error) };
}

/** Touching ends are enough. */
export function overlap(one: Range, other: Range): boolean {
  return one.low <= other.high && other.low <= one.high;
}

/** A fault or two belong to the process, or depend on where the break begins. */
export function faultsAlike(predicted: number, measured: number, tolerance = 0): boolean {
  return Math.abs(predicted - measured) <= Math.max(2, Math.max(0.001, tolerance) * measured);
}

export function slowTouches(count: number): string {
  return `${count} first touches waited until the host found memory`;
}

/** Samples of `timed_runs` runs that nothing disturbed, of twice as many at most; else the outcome of a check without them. */
export async function undisturbed<Run>(
  runOnce: (turn: number) => Promise<Run>,
  troubleOf: (run: Run) => string | null,
): Promise<{ readonly runs: readonly Run[]; readonly outcome: TimeOutcome | null }> {
  const runs: Run[] = [];
  let found = '';
  for (let turn = 0; turn < runs_max && runs.length < timed_runs; turn += 1) {
    const run = await runOnce(turn);
    const trouble = troubleOf(run);
    if (trouble === null) runs.push(run);
    else found = trouble;
  }
  if (runs.length === timed_runs) return { runs, outcome: null };
  const reason = `${runs_max - runs.length} of ${runs_max} timed runs were disturbed: ${found}`;
  return { runs, outcome: { time: null, verdict: 'unchecked', reason } };
}

/** Throws UsageError where prices are not this machine's: what they predict is another machine's time. */
export function wantOwnPrices(list: PriceList): void {
  if (list.machine === 'this') return;
  throw new UsageError(
    `--check time: found ${pricesInWords(list)}, wanted those of this machine: run hakmem calibrate, then give --prices measured`,
  );
}

/** Without colours, in one line. */
export function timeInWords(check: TimeCheck): string {
  const { within, compares } = check;
  return `time of ${compares}: ${predictedInWords(check)}; ${measuredInWords(check)}: ${withinInWords(within)}`;
}

export function timeCheckLines(check: TimeCheck | null): string[] {
  if (check === null) return [];
  const tone = check.within ? paint.green : paint.red;
  return [
    `  CPU time of ${check.compares}`,
    `    ${predictedInWords(check)}`,
    `    ${measuredInWords(check)}: ${tone(withinInWords(check.within))}`,
  ];
}

function predictedInWords({ predicted_ns, predicted_interval_ns, model_error }: TimeCheck): string {
  return (
    `predicted ${milliseconds(predicted_ns)}, ${range(predicted_interval_ns)} by prices, ` +
    `${range(widened(predicted_interval_ns))} with ${100 * model_error} % for the model`
  );
}

function measuredInWords({ measured_ns, runs, error }: TimeCheck): string {
  const off = error === null ? '' : `, predicted ${error < 0 ? '' : '+'}${(100 * error).toFixed(1)} % off`;
  return `measured ${milliseconds(measured_ns.median)} ${range(measured_ns)} over ${runs} runs${off}`;
}

const withinInWords = (within: boolean): string => (within ? 'within' : 'outside');

function range({ low, high }: Range): string {
  return `[${(low / 1e6).toFixed(2)}, ${(high / 1e6).toFixed(2)}]`;
}

function milliseconds(ns: number): string {
  return `${(ns / 1e6).toFixed(2)} ms`;
}
