/** Phase 6.6 of the original: the old policy decided first, and the strategy was asked too late. What that cost, and what the fix did. */
import { type Config, configOf, enums, type Outcome, Replay, type Setup, shape } from '../../sim/index.ts';
import { op, type Trace } from '../../traces/index.ts';
import { CheckFailed } from '../command.ts';
import { type Interval, ratioOf } from '../statistics.ts';
import { CheckedRows } from './checked.ts';
import { type Family, sampleFamilies, scenarioFamily } from './learned.ts';
import type { Bench, Finding, Study, StudyVerdict } from './study.ts';

/** What the original's own controls moved between its two runs: nothing smaller was told apart there. */
export const claimed_change = 0.026;
const controls = { least: -0.044, most: 0.126 } as const;
const two_mib = 2 * 2 ** 20;

export const phase_6_6: Study = {
  name: 'phase-6.6',
  question: 'What did it cost that the old policy decided before the strategy was asked, and what did the fix change?',
  claim:
    'The fix makes the strategy count, which had no effect before, and performance stays as it was (+2.6 %, "within variance").',
  claimed_by: "the original's summary of its phase 6.6",
  method:
    'BALANCED with legacy_order on (before) and off (after) on vm, mixed, churn and every recorded sample. Effect: the twelve ' +
    'strategies held fixed, before and after, and how far the dearest lies above the cheapest; and mode LEARNING before and after, ' +
    'with windows of 1,000 events. Cost: score, time and faults (heap included), how many of the requests of 2 MiB and more were ' +
    'mapped, and what was added to the batch. Where it can be measured, CPU time of interleaved runs on the real kernel, ratio ' +
    'after / before with a 95 % interval. The first half of the claim holds where before every strategy costs the same on all ' +
    'traces, and after they differ wherever requests lie between thresholds. The second holds where no score is more than ' +
    '2.6 % higher after.',
  limits: [
    'In the model the old policy sends everything to a heap that reuses perfectly: "before" is as good as malloc can be.',
    `The original measured once: its control allocators moved by ${percent(controls.least)} to ${percent(controls.most)} between the two runs, ` +
      'so that +2.6 % is neither a change nor the absence of one.',
    'Measured ratios are of one run on a busy machine and did not repeat: churn was 0.61 [0.38, 1.71] in one full run and 1.87 [1.68, 2.29] ' +
      'in the next (2026-11-24). The verdict does not rest on them.',
    'Measured times are of the replayed events, every page touched, without the program.',
  ],
  run,
};

export interface OrderRow {
  readonly name: string;
  /** Whether a request lies between the lowest and the highest threshold. */
  readonly choice: boolean;
  /** Dearest over cheapest of the twelve strategies, in score, time or faults; 1 where they cost the same. */
  readonly spread_before: number;
  readonly spread_after: number;
  /** Score after over before; null where both are nothing. */
  readonly score_ratio: number | null;
}

interface Found extends OrderRow {
  readonly spread_score: number;
  readonly spread_time: number;
  readonly before: Outcome;
  readonly after: Outcome;
  readonly learned: readonly [Outcome, Outcome];
  readonly mapped_after: Mapped;
  readonly mapped_learned: Mapped;
  readonly measured: Interval | null;
}

async function run(bench: Bench): Promise<Finding> {
  const checked = new CheckedRows(bench);
  const families: Family[] = [
    scenarioFamily('vm', bench.quick ? 1000 : null),
    ...(bench.quick ? [] : [scenarioFamily('mixed'), scenarioFamily('churn')]),
    ...sampleFamilies(bench),
  ];
  const rows: Found[] = [];
  for (const [at, family] of families.entries()) {
    rows.push(await compare(bench, checked, family));
    bench.progress('traces', at + 1, families.length);
  }
  return {
    ...judge(rows),
    tables: [
      {
        title: 'Whether the strategy counts: dearest over cheapest of the twelve, and what LEARNING comes to',
        head: [
          'trace',
          'choice',
          'before',
          'score after',
          'time after',
          'LEARNING before',
          'after',
          'windows',
          '2 MiB and more mapped',
        ],
        rows: rows.map((row) => [
          row.name,
          row.choice ? 'yes' : 'no',
          row.spread_before.toFixed(2),
          row.spread_score.toFixed(2),
          row.spread_time.toFixed(2),
          row.learned[0].score.total.toFixed(3),
          row.learned[1].score.total.toFixed(3),
          String(row.learned[1].learning.windows),
          mappedText(row.mapped_learned),
        ]),
      },
      {
        title: 'What it costs, BALANCED: before the fix, and after',
        head: [
          'trace',
          'score',
          'after',
          'ratio',
          'time ms',
          'after',
          'faults',
          'after',
          'resident MiB',
          'after',
          '2 MiB and more mapped',
          'after',
          'batch',
          'after',
          'measured after / before',
        ],
        rows: rows.map(({ name, before, after, score_ratio, mapped_after, measured }) => [
          name,
          before.score.total.toFixed(3),
          after.score.total.toFixed(3),
          score_ratio?.toFixed(3) ?? '-',
          milliseconds(before),
          milliseconds(after),
          String(faults(before)),
          String(faults(after)),
          resident(before),
          resident(after),
          mapped_after.of === 0 ? '-' : '0 %',
          mappedText(mapped_after),
          String(before.batch.added),
          String(after.batch.added),
          measured === null
            ? '-'
            : `${measured.median.toFixed(3)} [${measured.low.toFixed(3)}, ${measured.high.toFixed(3)}]`,
        ]),
      },
    ],
    checked: checked.counts(),
  };
}

/** Both halves of the claim, each plainly. */
export function judge(rows: readonly OrderRow[]): { verdict: StudyVerdict; because: string } {
  const choosing = rows.filter(({ choice }) => choice);
  if (choosing.length === 0)
    return { verdict: 'cannot be told', because: 'no trace has a request between two thresholds.' };
  const moot = rows.filter(({ spread_before }) => spread_before > 1);
  const counts = choosing.filter(({ spread_after }) => spread_after > 1);
  const priced = rows.filter(({ score_ratio }) => score_ratio !== null);
  const dearer = priced.filter(({ score_ratio }) => score_ratio! > 1 + claimed_change);
  const cheaper = priced.filter(({ score_ratio }) => score_ratio! < 1 - claimed_change);
  const effect = moot.length === 0 && counts.length === choosing.length;
  const ratios = priced.map(({ score_ratio }) => score_ratio!);
  const because =
    `before the fix no strategy made a difference on ${rows.length - moot.length} of ${rows.length} traces; after it they ` +
    `differ on ${counts.length} of the ${choosing.length} with requests between thresholds: that half ${effect ? 'holds' : 'does not hold'}. ` +
    `After it the score is more than 2.6 % higher on ${dearer.length} of ${priced.length} traces and lower on ${cheaper.length} ` +
    `(${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)} times): performance ${dearer.length === 0 ? 'stays' : 'does not stay'} as it was.`;
  return { verdict: effect && dearer.length === 0 ? 'holds' : 'does not hold', because };
}

async function compare(bench: Bench, checked: CheckedRows, family: Family): Promise<Found> {
  const trace = family.of(bench.seed);
  const strategies = shape.strategy_geometric_bytes.map((_, strategy) => strategy);
  const learning = { window_events: 1000 };
  const configs = [1, 0].flatMap((legacy_order): Config[] => [
    ...strategies.map((strategy) => configOf('BALANCED', { strategy, legacy_order })),
    configOf('LEARNING', { ...learning, legacy_order }),
  ]);
  const outcomes = await checked.outcomes(trace, configs);
  const before = outcomes.slice(0, strategies.length);
  const after = outcomes.slice(strategies.length + 1, -1);
  const setup = bench.setupOf(trace);
  const [balanced, learned] = [configOf('BALANCED'), configOf('LEARNING', learning)];
  return {
    name: family.name,
    choice: hasChoice(trace),
    spread_before: spreadOf(before, all_figures),
    spread_after: spreadOf(after, all_figures),
    score_ratio: before[0].score.total > 0 ? after[0].score.total / before[0].score.total : null,
    before: before[0],
    after: after[0],
    learned: [outcomes[strategies.length], outcomes[outcomes.length - 1]],
    mapped_after: mappedOf(trace, { ...setup, config: balanced }, after[0]),
    mapped_learned: mappedOf(trace, { ...setup, config: learned }, outcomes[outcomes.length - 1]),
    spread_score: spreadOf(after, [({ score }) => score.total]),
    spread_time: spreadOf(after, [({ time_ns }) => time_ns.total]),
    measured: bench.quick && !family.varies ? null : await measure(bench, checked, shortOf(family, bench)),
  };
}

async function measure(bench: Bench, checked: CheckedRows, trace: Trace): Promise<Interval | null> {
  if (bench.trouble !== null) return null;
  const rounds = bench.quick ? 1 : 7;
  const times = { before: [] as number[], after: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    const order = round % 2 === 0 ? (['before', 'after'] as const) : (['after', 'before'] as const);
    for (const which of order)
      times[which].push(
        await checked.measure(trace, configOf('BALANCED', { legacy_order: which === 'before' ? 1 : 0 })),
      );
  }
  return ratioOf(times.after, times.before, bench.seed);
}

/** A scenario is run for real at a length that seven rounds can have. */
function shortOf(family: Family, { quick, seed }: Bench): Trace {
  return family.varies ? scenarioFamily(family.name, quick ? 40 : 600).of(seed) : family.of(seed);
}

type Figure = (outcome: Outcome) => number;
const all_figures: readonly Figure[] = [({ score }) => score.total, ({ time_ns }) => time_ns.total, faults];

/** Dearest over cheapest, in the figure in which they differ most; 1 where they differ in none. */
function spreadOf(outcomes: readonly Outcome[], figures: readonly Figure[]): number {
  const spreads = figures.map((figure) => {
    const values = outcomes.map(figure);
    return Math.min(...values) > 0 ? Math.max(...values) / Math.min(...values) : 1;
  });
  return Math.max(...spreads);
}

function hasChoice(trace: Trace): boolean {
  const { strategy_geometric_bytes: values } = shape;
  for (const { op: kinds, size_bytes, length } of trace.chunks())
    for (let row = 0; row < length; row += 1)
      if (kinds[row] !== op.free && size_bytes[row] >= values[0] && size_bytes[row] < values[values.length - 1])
        return true;
  return false;
}

interface Mapped {
  readonly mapped: number;
  readonly of: number;
}

/** Requests of 2 MiB and more that did not go to the heap, looked at one by one. */
function mappedOf(trace: Trace, setup: Setup, outcome: Outcome): Mapped {
  let [mapped, of] = [0, 0];
  const run = new Replay(setup, {
    event: ({ op: kinds, size_bytes }, row, _, allocator) => {
      if (kinds[row] === op.free || size_bytes[row] < two_mib) return;
      of += 1;
      if (enums.route[allocator.route] !== 'heap') mapped += 1;
    },
  });
  for (const chunk of trace.chunks()) run.feed(chunk);
  if (run.finish().decision_digest !== outcome.decision_digest)
    throw new CheckFailed(`${trace.path}: the full replay decides otherwise than the folded one`);
  return { mapped, of };
}

function mappedText({ mapped, of }: Mapped): string {
  return of === 0 ? '-' : percent(mapped / of);
}

function faults({ faults: mapped, heap }: Outcome): number {
  return mapped + heap.faults;
}

function resident({ resident_bytes, heap }: Outcome): string {
  return ((resident_bytes.mean + heap.resident_peak_bytes) / 2 ** 20).toFixed(1);
}

function milliseconds({ time_ns }: Outcome): string {
  return (time_ns.total / 1e6).toFixed(2);
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(1))} %`;
}
