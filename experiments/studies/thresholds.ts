/** The cost over the mmap threshold: where it has a real optimum, where only an end is best, and where it is flat. */
import { configOf, type Outcome, shape } from '../../sim/index.ts';
import { type Chunk, op, type Trace } from '../../traces/index.ts';
import { formatBytes } from '../command.ts';
import { nameOf } from './batching.ts';
import { CheckedRows } from './checked.ts';
import type { Bench, Finding, Study, StudyVerdict } from './study.ts';

/** Less than this is flat. */
export const flat_within = 0.01;
const finer_steps = 4;

export const thresholds: Study = {
  name: 'thresholds',
  question: 'Which programs have a best mmap threshold between "map all large blocks" and "map none"?',
  claim: 'There is a best threshold among the twelve for a program, and it is worth finding.',
  claimed_by: "the original's learning of strategies, which supposes it",
  method:
    'BALANCED on every recorded sample with the threshold fixed to each of the twelve of the geometric set and three between ' +
    'any two; score and time of each. Flat: no threshold costs 1 % more than another. Optimum: the best one between the ends ' +
    'costs at least 1 % less than either end. Else an end is best. Thresholds with no request between them are one. The claim ' +
    'holds if more than half of the samples have an optimum.',
  limits: [
    'The heap path is a ledger that reuses perfectly and never shrinks: mapping nothing looks cheaper than it is.',
    'Prices are nominal: they rank, they do not predict.',
    'Everything but the threshold stays as BALANCED has it.',
  ],
  run,
};

export interface Curve {
  readonly name: string;
  readonly thresholds_bytes: readonly number[];
  readonly costs: readonly number[];
}

export type Shape = 'flat' | 'optimum' | 'lowest is best' | 'highest is best';

async function run(bench: Bench): Promise<Finding> {
  const checked = new CheckedRows(bench);
  const swept = finer(shape.strategy_geometric_bytes, bench.quick ? 1 : finer_steps);
  const rows: { score: Curve; time: Curve; outcomes: readonly Outcome[]; distinct: number }[] = [];
  for (const [at, trace] of bench.samples.entries()) {
    const configs = swept.map((mmap_threshold_bytes) => configOf('BALANCED', { mmap_threshold_bytes }));
    const outcomes = await checked.outcomes(trace, configs);
    const curve = (costs: number[]): Curve => ({ name: nameOf(trace), thresholds_bytes: swept, costs });
    rows.push({
      score: curve(outcomes.map(({ score }) => score.total)),
      time: curve(outcomes.map(({ time_ns }) => time_ns.total)),
      outcomes,
      distinct: distinctThresholds(trace, shape.strategy_geometric_bytes),
    });
    bench.progress('samples', at + 1, bench.samples.length);
  }
  const twelve = shape.strategy_geometric_bytes.map((bytes) => swept.indexOf(bytes));
  return {
    ...judge(rows.map(({ score }) => score)),
    tables: [
      {
        title: 'What each sample has',
        head: [
          'sample',
          'of 12 distinct',
          'score',
          'best at',
          'best',
          'lowest',
          'highest',
          'time',
          'best at',
          'costliest / best',
        ],
        rows: rows.map(({ score, time, distinct }) => [
          score.name,
          String(distinct),
          shapeOf(score),
          formatBytes(score.thresholds_bytes[bestOf(score)]),
          score.costs[bestOf(score)].toFixed(3),
          score.costs[0].toFixed(3),
          score.costs.at(-1)!.toFixed(3),
          shapeOf(time),
          formatBytes(time.thresholds_bytes[bestOf(time)]),
          worstOver(time).toFixed(2),
        ]),
      },
      {
        title: 'Score at each of the twelve',
        head: ['sample', ...twelve.map((at) => (swept[at] / 2 ** 20).toFixed(2)), '(MiB)'],
        rows: rows.map(({ score }) => [score.name, ...twelve.map((at) => score.costs[at].toFixed(3)), '']),
      },
    ],
    checked: checked.counts(),
  };
}

/** The claim is that programs have an optimum: most of those that are not flat, if any. */
export function judge(curves: readonly Curve[]): { verdict: StudyVerdict; because: string } {
  const shapes = curves.map(shapeOf);
  const count = (wanted: Shape): number => shapes.filter((each) => each === wanted).length;
  const sloped = shapes.length - count('flat');
  const because =
    `of ${shapes.length} samples ${count('optimum')} have an optimum between the ends, on ${count('lowest is best')} the lowest and on ` +
    `${count('highest is best')} the highest threshold is best, ${count('flat')} are flat within 1 %.`;
  if (sloped === 0) return { verdict: 'cannot be told', because };
  return { verdict: count('optimum') > shapes.length / 2 ? 'holds' : 'does not hold', because };
}

export function shapeOf(curve: Curve): Shape {
  const { costs } = curve;
  const best = costs[bestOf(curve)];
  const more = (cost: number): boolean => cost > best * (1 + flat_within);
  if (!costs.some(more)) return 'flat';
  const low = more(costs[0]);
  const high = more(costs.at(-1)!);
  if (low && high) return 'optimum';
  return low ? 'highest is best' : 'lowest is best';
}

/** Index of the least cost, the lowest threshold of several. */
export function bestOf({ costs }: Curve): number {
  return costs.reduce((best, cost, at) => (cost < costs[best] ? at : best), 0);
}

function worstOver(curve: Curve): number {
  const best = curve.costs[bestOf(curve)];
  return best > 0 ? Math.max(...curve.costs) / best : 1;
}

/** How many of the thresholds some request of the trace tells from the next lower one. */
export function distinctThresholds(trace: Trace, values_bytes: readonly number[]): number {
  const between = new Set<number>();
  const add = ({ op: kinds, size_bytes, length }: Chunk): void => {
    for (let row = 0; row < length; row += 1)
      if (kinds[row] !== op.free) between.add(values_bytes.filter((value) => value <= size_bytes[row]).length);
  };
  for (const chunk of trace.chunks()) add(chunk);
  // A request with n thresholds at or below it tells the n-th from the one above.
  return 1 + [...between].filter((at) => at >= 1 && at < values_bytes.length).length;
}

/** The values, and steps of one ratio between any two of them. */
function finer(values_bytes: readonly number[], steps: number): number[] {
  const between = values_bytes.slice(1).flatMap((above, at) => {
    const below = values_bytes[at];
    return Array.from({ length: steps }, (_, step) =>
      step === 0 ? below : Math.round((below * (above / below) ** (step / steps)) / 4096) * 4096,
    );
  });
  return [...between, values_bytes.at(-1)!];
}
