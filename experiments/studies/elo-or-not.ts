/** Which learner is worth it, if any: on recorded and generated traces, on made windows, and how well the ledger ranks. */
import { params, shape } from '../../sim/index.ts';
import type { LearnedRun } from '../learned-run.ts';
import { kendallTauB, type MeanInterval } from '../statistics.ts';
import { CheckedRows } from './checked.ts';
import {
  at_random,
  everywhere,
  type Family,
  intervalText,
  learners,
  type Method,
  meanBy,
  method,
  type Runs,
  ratings,
  runFamily,
  sampleFamilies,
  scenarioFamily,
  timesBest,
} from './learned.ts';
import { type LearningRow, learningRow, table_methods, tableFamilies, tablesOf } from './learning-table.ts';
import { findsBest, halvingWindows, type Telling, tellings } from './made-windows.ts';
import type { Bench, Finding, Study, StudyVerdict, Table } from './study.ts';

const short_window = 1000;
const usual_window = params.window_events.value;
const thirty = 30;
/** As the original: what a strategy kept stays when another takes over. */
const leaves_behind: Method = (({ settings, draws }) => ({
  name: 'elo, no release',
  settings: { ...settings, switch_releases: 0 },
  draws,
}))(method('elo', 'paired'));

const methods: readonly Method[] = [
  ...learners.flatMap((learner) => ratings.map((rating) => method(learner, rating))),
  at_random,
  leaves_behind,
];
const evaluation_budgets = [120, 600, 2400] as const;
/** Costs this close to the best are as good. */
export const as_good_within = 0.01;
/** "With certainty", and "half the time" with the room that 30 seeds leave. */
const certainly = 0.95;
const half_the_time = 0.7;

export const elo_or_not: Study = {
  name: 'elo-or-not',
  question: 'Which learner finds the best strategy, what does learning cost on the way, and is any of them worth it?',
  claim:
    'Sequential halving finds the best strategy with certainty where Elo finds it half the time, so learning pays.',
  claimed_by: "this project's prototypes, on made windows; the original claims it of Elo",
  method:
    'Mode LEARNING, every learner with paired and with classic rating, on every recorded sample and on generated traces, with ' +
    'windows of 1,000 events and of 10,000 (the default), default kernel profile. Thirty seeds, five of the two long traces; a generated trace is made anew for each, and a learner ' +
    'that draws nothing runs once on a recorded one. Cost is the score over that of the best of the twelve strategies held ' +
    'fixed, known in hindsight; mean and 95 % bootstrap interval of it. Controls: a strategy drawn at random for every window ' +
    '(epsilon exploring always), the default strategy held fixed, and Elo with switch_releases=false, as the original had it. "Ends on" is the strategy that the learner holds best at ' +
    'the end: as good where it is of the same equivalence class as the best, or costs within 1 % of it held fixed. Offline ' +
    'optimum: the best strategy of each stretch, changing for nothing. Then the same learner classes on made windows, as in the ' +
    "prototypes. Then the ledger: Kendall's tau-b between its sums over all windows and the scores held fixed. A trace decides " +
    'where it has a window and strategies that differ by more than 1 %. The claim holds where, at 1,000 events, halving ' +
    'ends on as good a strategy in 95 % of the runs and Elo in at most 70 %, on most of those traces, and halving costs surely ' +
    'less than the default on most of them.',
  limits: [
    'A run is charged for what it leaves behind: a window that sends blocks to the heap grows a heap that never shrinks. Much of ' +
      'what learning costs here is memory, and a real heap may be kinder.',
    'The offline optimum pays nothing to change and inherits heaps that nobody grew: no policy reaches it.',
    'Recorded samples are short: the longest has 10 windows of 1,000 events. Learning is meant for hours.',
    'The count of the verdict has mixed and churn twice, short and long. Apart (2026-11-24): the best learner, picked as the best of ' +
      'eight, costs surely less than the default on 2 of 7 recorded samples and 3 of 4 generated traces. Drawing at random does so on 2 ' +
      'of those 7 too: there it cannot be told that anything learned is what helps.',
    'Every learner begins with the smallest threshold and the random control with any: on traces of a few windows the first one ' +
      'may be most of the difference. That was not tried apart.',
    'The own learner that draws at random is epsilon with explore_permille=1000: it is checked in the C core like the others.',
    'ucb1 chooses among six steps for each site, not among the twelve: "ends on" says nothing of it.',
    'Made windows are normal noise around fixed costs, 12 strategies, the best by 5 %, noise 15 %; ucb1 has 6.',
  ],
  run,
};

export interface FamilyRow {
  readonly family: string;
  readonly window_events: number;
  readonly windows: number;
  /** The dearest strategy over the cheapest; null where nothing is mapped. */
  readonly spread: number | null;
  /** The default held fixed, over the best. */
  readonly fixed_default: MeanInterval | null;
  readonly by_method: readonly MethodCell[];
}

export interface MethodCell {
  readonly method: string;
  readonly times_best: MeanInterval | null;
  readonly times_optimum: MeanInterval | null;
  readonly regret: MeanInterval | null;
  /** Shares of the runs; null of ucb1. */
  readonly ends_on_class: number | null;
  readonly ends_as_good: number | null;
}

async function run(bench: Bench): Promise<Finding> {
  const same = everywhere(bench);
  const checked = new CheckedRows(same);
  const seeds = Array.from({ length: bench.quick ? 2 : thirty }, (_, at) => bench.seed + at);
  const rows: FamilyRow[] = [];
  const ledgers: LedgerRow[] = [];
  const table: LearningRow[] = [];
  const short = shortWindows(bench);
  const usual = bench.quick ? sampleFamilies(bench).slice(0, 1) : tableFamilies(bench);
  for (const [at, { family, some }] of short.entries()) {
    const runs = await runFamily(same, checked, family, methods, { window_events: short_window }, seeds.slice(0, some));
    rows.push(familyRow(family.name, short_window, runs, bench.seed));
    ledgers.push(ledgerRow(family.name, runs, bench.seed));
    bench.progress('traces', at + 1, short.length + usual.length);
  }
  for (const [at, family] of usual.entries()) {
    const runs = await runFamily(
      same,
      checked,
      family,
      [...methods, ...table_methods.slice(learners.length)],
      {},
      seeds,
    );
    rows.push(familyRow(family.name, usual_window, runs.slice(0, methods.length), bench.seed));
    table.push(learningRow(family.name, runs, bench.seed));
    bench.progress('traces', short.length + at + 1, short.length + usual.length);
  }
  return {
    ...judge(rows.filter(({ window_events }) => window_events === short_window)),
    tables: [
      ...ofWindows(rows, short_window),
      ...ofWindows(rows, usual_window),
      ledgerTable(ledgers),
      madeTable(bench),
      ...tablesOf(table),
    ],
    checked: checked.counts(),
  };
}

/** Recorded samples and generated traces; two of them long, with fewer seeds. */
function shortWindows(bench: Bench): { readonly family: Family; readonly some: number }[] {
  const samples = sampleFamilies(bench).map((family) => ({ family, some: thirty }));
  if (bench.quick) return [...samples.slice(0, 2), { family: scenarioFamily('churn', 4000), some: thirty }];
  const named = (['mixed', 'churn', 'drift', 'edges'] as const).map((name) => ({
    family: scenarioFamily(name),
    some: thirty,
  }));
  const long = Object.entries({ mixed: 800_000, churn: 400_000 }).map(([name, events]) => ({
    family: { ...scenarioFamily(name, events), name: `${name}, ${events / 1000}k` },
    some: 5,
  }));
  return [...samples, ...named, ...long];
}

/** From the rows of one window length. */
export function judge(rows: readonly FamilyRow[]): { verdict: StudyVerdict; because: string } {
  const deciding = rows.filter(({ windows, spread }) => windows >= 1 && spread !== null && spread > 1 + as_good_within);
  if (deciding.length === 0)
    return { verdict: 'cannot be told', because: 'no trace has both a window and strategies that differ.' };
  const of = (row: FamilyRow, name: string): MethodCell => row.by_method.find((cell) => cell.method === name)!;
  const share = (row: FamilyRow, name: string): number => of(row, name).ends_as_good ?? 0;
  const count = (holds: (row: FamilyRow) => boolean): number => deciding.filter(holds).length;
  const halving = count((row) => share(row, 'halving paired') >= certainly);
  const elo = count((row) => share(row, 'elo paired') <= half_the_time);
  const both = count((row) => share(row, 'halving paired') >= certainly && share(row, 'elo paired') <= half_the_time);
  const below = (name: string): number =>
    count((row) => {
      const cell = of(row, name).times_best;
      return cell !== null && row.fixed_default !== null && cell.high < row.fixed_default.low;
    });
  const pays = below('halving paired');
  const learned = deciding[0].by_method.filter(
    ({ method: name }) => name !== at_random.name && name !== leaves_behind.name,
  );
  const best = learned
    .map(({ method: name }) => ({ name, wins: below(name) }))
    .reduce((most, each) => (each.wins > most.wins ? each : most));
  const enough = deciding.length / 2;
  const because =
    `of ${deciding.length} traces with windows and a choice that matters, halving (paired) ends on as good a strategy as the best ` +
    `in at least ${percent(certainly)} of the runs on ${halving}, Elo (paired) in at most ${percent(half_the_time)} on ${elo}, ` +
    `both on ${both}. With halving the whole run costs surely less than the default strategy held fixed on ${pays}; of all ` +
    `learners ${best.name} does so most often, on ${best.wins}.`;
  return { verdict: both > enough && pays > enough ? 'holds' : 'does not hold', because };
}

export function familyRow(family: string, window_events: number, all: readonly Runs[], seed: number): FamilyRow {
  const [{ runs: first }] = all;
  const spreadOf = ({ regret: { fixed_scores, best_score } }: LearnedRun): number | null =>
    best_score > 0 ? Math.max(...fixed_scores) / best_score : null;
  const spreads = first.map(spreadOf).filter((each): each is number => each !== null);
  return {
    family,
    window_events,
    windows: first.reduce((sum, { outcome }) => sum + outcome.learning.windows, 0) / first.length,
    spread: spreads.length > 0 ? Math.min(...spreads) : null,
    fixed_default: meanBy(
      first,
      ({ regret: { fixed_scores, best_score } }) => (best_score > 0 ? fixed_scores[0] / best_score : null),
      seed,
    ),
    by_method: all.map(({ method: { name }, runs }) => ({
      method: name,
      times_best: meanBy(runs, timesBest, seed),
      times_optimum: meanBy(
        runs,
        ({ regret: { score, optimum_score } }) => (optimum_score > 0 ? score / optimum_score : null),
        seed,
      ),
      regret: meanBy(runs, ({ regret }) => regret.regret, seed),
      ends_on_class: shareOf(runs, onBestClass),
      ends_as_good: shareOf(runs, (run) => onBestClass(run) || isAsGood(run)),
    })),
  };
}

function onBestClass({ last_best, regret: { classes, best_arm } }: LearnedRun): boolean {
  return last_best !== null && classes[last_best] === classes[best_arm];
}

function isAsGood({ last_best, regret: { fixed_scores, best_score } }: LearnedRun): boolean {
  return last_best !== null && fixed_scores[last_best] <= best_score * (1 + as_good_within);
}

/** Null where the learner has no one strategy, or no window closed. */
function shareOf(runs: readonly LearnedRun[], holds: (run: LearnedRun) => boolean): number | null {
  const told = runs.filter(({ last_best, windows }) => last_best !== null && windows.length > 0);
  return told.length > 0 ? told.filter(holds).length / told.length : null;
}

function ofWindows(all: readonly FamilyRow[], window_events: number): Table[] {
  const rows = all.filter((row) => row.window_events === window_events);
  const names = methods.map(({ name }) => name);
  const events = window_events.toLocaleString('en-US');
  const found = names.filter((name) => !name.startsWith('ucb1'));
  return [
    {
      title: `Cost over the best strategy held fixed, windows of ${events} events`,
      head: ['trace', 'windows', 'dearest', 'default fixed', ...names],
      rows: rows.map(({ family, windows, spread, fixed_default, by_method }) => [
        family,
        count(windows),
        spread?.toFixed(2) ?? '-',
        intervalText(fixed_default, 2),
        ...by_method.map(({ times_best }) => intervalText(times_best, 2)),
      ]),
    },
    {
      title: `Runs that end on the best strategy or one of its class; and on one within 1 %; windows of ${events} events`,
      head: ['trace', ...found],
      rows: rows.map(({ family, by_method }) => [
        family,
        ...by_method
          .filter(({ method: name }) => found.includes(name))
          .map(({ ends_on_class, ends_as_good }) =>
            ends_on_class === null ? '-' : `${percent(ends_on_class)}; ${percent(ends_as_good!)}`,
          ),
      ]),
    },
    {
      title: `Cost over the offline optimum, windows of ${events} events`,
      head: ['trace', ...names],
      rows: rows.map(({ family, by_method }) => [
        family,
        ...by_method.map(({ times_optimum }) => intervalText(times_optimum, 2)),
      ]),
    },
  ];
}

/** What the prototypes found on windows made in the same way, of their versions of these learners. */
const prototypes: Readonly<Record<string, string>> = {
  'paired/elo': '.55 .89 .99',
  'paired/halving, budget spent': '1 1 1',
  'paired/means of all, drawn at random': '.98 1 1',
  'one/elo': '.45 .72 .70',
  'one/halving, budget spent': '.69 .96 1',
  'one/ucb1': '.73 1 1',
};

function madeTable(bench: Bench): Table {
  const times = bench.quick ? 20 : 1000;
  const settingsOf = (name: string) => method(name as (typeof learners)[number], 'paired').settings;
  const tried = (telling: Telling, evaluations: number) => [
    { name: 'elo', settings: settingsOf('elo') },
    { name: 'epsilon', settings: settingsOf('epsilon') },
    { name: 'halving', settings: settingsOf('halving') },
    {
      name: 'halving, budget spent',
      settings: { ...settingsOf('halving'), halving_windows: halvingWindows(telling, evaluations) },
    },
    { name: 'ucb1', settings: settingsOf('ucb1') },
    { name: 'means of all, drawn at random', settings: at_random.settings },
  ];
  const names = tried('paired', 120).map(({ name }) => name);
  return {
    title: `Made windows: share of ${times} attempts that hold the best strategy best after so many evaluations`,
    head: ['a window tells of', 'learner', ...evaluation_budgets.map(String), 'prototype'],
    rows: tellings.flatMap((telling) =>
      names.map((name, index) => [
        { paired: 'all, same noise', independent: 'all, own noise', one: 'the one that acted' }[telling],
        name,
        ...evaluation_budgets.map((evaluations) =>
          findsBest(
            { settings: tried(telling, evaluations)[index].settings, telling, evaluations },
            times,
            bench.seed,
          ).toFixed(2),
        ),
        prototypes[`${telling}/${name}`] ?? '',
      ]),
    ),
  };
}

interface LedgerRow {
  readonly family: string;
  readonly windows: number;
  readonly tau: MeanInterval | null;
  /** What the ledger's cheapest costs held fixed, over the best. */
  readonly loss: MeanInterval | null;
  /** Learned run over its own last strategy held fixed: what was lost on the way to it. */
  readonly on_the_way: MeanInterval | null;
  /** Of that excess, what memory makes of it. */
  readonly memory: MeanInterval | null;
}

/** Of Elo's runs with paired costs: the ledger's sums by strategy, against the scores held fixed. */
function ledgerRow(family: string, all: readonly Runs[], seed: number): LedgerRow {
  const { runs } = all.find(({ method: { name } }) => name === 'elo paired')!;
  const told = runs.filter(({ windows, regret: { best_score } }) => windows.length > 0 && best_score > 0);
  const sums = (each: LearnedRun): number[] =>
    each.arms_bytes.map((_, arm) => each.windows.reduce((sum, { costs }) => sum + costs[arm], 0));
  const cheapest = (costs: readonly number[]): number => costs.indexOf(Math.min(...costs));
  return {
    family,
    windows: told.length > 0 ? told.reduce((sum, { windows }) => sum + windows.length, 0) / told.length : 0,
    tau: meanBy(told, (each) => finite(kendallTauB(sums(each), each.regret.fixed_scores)), seed),
    loss: meanBy(told, (each) => each.regret.fixed_scores[cheapest(sums(each))] / each.regret.best_score, seed),
    on_the_way: meanBy(
      told,
      ({ last_best, regret: { score, fixed_scores } }) => score / fixed_scores[last_best ?? 0],
      seed,
    ),
    memory: meanBy(told, memoryOfExcess, seed),
  };
}

/** Null where the run costs no more than its last strategy held fixed. */
function memoryOfExcess({ last_best, outcome, hindsight: { fixed } }: LearnedRun): number | null {
  const held = fixed[last_best ?? 0].score;
  const excess = outcome.score.total - held.total;
  if (excess <= as_good_within * held.total) return null;
  return (shape.score_memory * (outcome.score.memory - held.memory)) / excess;
}

function ledgerTable(rows: readonly LedgerRow[]): Table {
  return {
    title: `How the ledger ranks strategies, windows of 1,000 events, Elo (paired) acting`,
    head: [
      'trace',
      'windows',
      'tau-b',
      "ledger's cheapest, held fixed, over the best",
      'run over its last strategy held fixed',
      'memory, of that excess',
    ],
    rows: rows.map(({ family, windows, tau, loss, on_the_way, memory }) => [
      family,
      count(windows),
      intervalText(tau, 2),
      intervalText(loss, 2),
      intervalText(on_the_way, 2),
      memory === null ? '-' : percent(memory.mean),
    ]),
  };
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

function count(windows: number): string {
  return Number.isInteger(windows) ? String(windows) : windows.toFixed(1);
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
