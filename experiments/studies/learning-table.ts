/** The tables of docs/LEARNING.md: what each learner costs on every sample and scenario, and when it freezes. */
import { params } from '../../sim/index.ts';
import { scenario_names } from '../../traces/index.ts';
import type { LearnedRun } from '../learned-run.ts';
import {
  type Family,
  freezing,
  intervalText,
  learners,
  type Method,
  meanBy,
  method,
  type Runs,
  sampleFamilies,
  scenarioFamily,
  timesBest,
} from './learned.ts';
import type { Bench, Table } from './study.ts';

const shown: readonly Method[] = learners.map((learner) => method(learner, 'paired'));
/** What the tables are made of: every learner as it is, and with the lifecycle that freezes by itself. */
export const table_methods: readonly Method[] = [...shown, ...shown.map(freezing)];

export function tableFamilies(bench: Pick<Bench, 'samples'>): Family[] {
  return [...sampleFamilies(bench), ...scenario_names.map((name) => scenarioFamily(name))];
}

export interface LearningRow {
  readonly family: string;
  readonly cells: readonly {
    readonly times_best: string;
    readonly regret: string;
    readonly windows: string;
    readonly freezes: string;
  }[];
  readonly fixed_default: string;
}

/** From runs of at least `table_methods` with the default windows. */
export function learningRow(family: string, all: readonly Runs[], seed: number): LearningRow {
  const of = (wanted: Method): readonly LearnedRun[] => all.find(({ method: { name } }) => name === wanted.name)!.runs;
  return {
    family,
    cells: shown.map((each) => ({
      times_best: intervalText(meanBy(of(each), timesBest, seed), 2),
      regret: intervalText(
        meanBy(of(each), ({ regret }) => regret.regret, seed),
        3,
      ),
      windows: rangeText(of(each).map(({ windows }) => windows.length)),
      freezes: freezeText(of(freezing(each))),
    })),
    fixed_default: intervalText(
      meanBy(
        of(shown[0]),
        ({ regret: { fixed_scores, best_score } }) => (best_score > 0 ? fixed_scores[0] / best_score : null),
        seed,
      ),
      2,
    ),
  };
}

export function tablesOf(rows: readonly LearningRow[]): Table[] {
  const events = params.window_events.value.toLocaleString('en-US');
  const per = (name: string): string[] => learners.map((learner) => `${learner} ${name}`);
  return [
    {
      title: `Cost over the best strategy held fixed, and regret in score (windows of ${events} events)`,
      head: ['trace', 'default fixed', ...learners.flatMap((learner) => [learner, 'regret'])],
      rows: rows.map(({ family, cells, fixed_default }) => [
        family,
        fixed_default,
        ...cells.flatMap(({ times_best, regret }) => [times_best, regret]),
      ]),
    },
    {
      title: 'Windows, and windows until learning freezes (lifecycle=auto)',
      head: ['trace', ...per('windows'), ...per('freezes')],
      rows: rows.map(({ family, cells }) => [
        family,
        ...cells.map(({ windows }) => windows),
        ...cells.map(({ freezes }) => freezes),
      ]),
    },
  ];
}

/** The window at whose end LEARN ends for the first time: from 1. */
export function freezeWindow({ windows }: Pick<LearnedRun, 'windows'>): number | null {
  const at = windows.findIndex(({ change }) => change === 'freeze');
  return at < 0 ? null : at + 1;
}

/** "never", "12", "3 to 12", "3 to 12, 20 of 30". */
export function freezeText(runs: readonly Pick<LearnedRun, 'windows'>[]): string {
  const frozen = runs.map(freezeWindow).filter((each): each is number => each !== null);
  if (frozen.length === 0) return 'never';
  return frozen.length === runs.length ? rangeText(frozen) : `${rangeText(frozen)}, ${frozen.length} of ${runs.length}`;
}

function rangeText(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? String(least) : `${least} to ${most}`;
}
