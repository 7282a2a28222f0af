/** A learned run with everything that is worth knowing of it: its windows, and what its strategies cost held fixed. */
import { learner_names, newLearner } from '../sim/decide/learners.ts';
import {
  type Config,
  type Folded,
  foldTrace,
  type Hindsight,
  hindsight,
  type Learner,
  learnsSites,
  lowestFloor,
  type Outcome,
  params,
  type Regret,
  regretOf,
  type Setup,
  shape,
  simulate,
  thresholds,
  type WindowRecord,
} from '../sim/index.ts';
import type { Trace } from '../traces/index.ts';

export interface LearnedRun {
  readonly setup: Setup;
  /** What the learner chooses among: strategies, or of ucb1 the steps of a site. */
  readonly arms_bytes: readonly number[];
  readonly outcome: Outcome;
  readonly windows: readonly WindowRecord[];
  readonly hindsight: Hindsight;
  readonly regret: Regret;
  /** The strategy it held best at the end; null of ucb1, which has a step for each site. */
  readonly last_best: number | null;
}

/** What the figures of learning are made of: the run that was asked for, and how long other learners and rules take to freeze. */
export interface LearningData {
  readonly trace: string;
  readonly events: number;
  readonly run: LearnedRun;
  readonly timeline: readonly TimelineRow[];
}

export interface TimelineRow {
  readonly name: string;
  readonly run: LearnedRun;
}

/** `setup` must learn. Of the same setup, every learner under both sets of rules with lifecycle=auto. */
export function learningData(trace: Trace, setup: Setup): LearningData {
  const { policy, ...built_in } = setup;
  const auto = params.lifecycle.words!.indexOf('auto');
  const others = learner_names.flatMap((word, learner) =>
    params.rules.words!.map((rule, rules) => {
      const changes: Partial<Config> = { learner, rules, lifecycle: auto };
      return { name: `${word}, ${rule} rules`, setup: { ...built_in, config: { ...setup.config, ...changes } } };
    }),
  );
  const own =
    policy === undefined
      ? []
      : [{ name: policy.name, setup: { ...setup, config: { ...setup.config, lifecycle: auto } } }];
  const rows: readonly { name: string; setup: Setup }[] = [...own, ...others];
  const folded = foldForLearning(trace, [setup, ...rows.map((row) => row.setup)]);
  const known = hindsight(folded, setup);
  return {
    trace: trace.path,
    events: folded.events,
    run: learnedOver(folded, known, setup),
    timeline: rows.map((row) => ({ name: row.name, run: learnedOver(folded, known, row.setup) })),
  };
}

/** `setup` must learn: modes LEARNING and RESEARCH do. */
export function learnedRun(trace: Trace, setup: Setup): LearnedRun {
  const folded = foldForLearning(trace, [setup]);
  return learnedOver(folded, hindsight(folded, setup), setup);
}

/** Folded so far that every setup and all its strategies can run over it. */
export function foldForLearning(trace: Trace, setups: readonly Setup[]): Folded {
  const strategies = setups.map(({ config, policy }) => policy?.arms_bytes?.[0] ?? thresholds(config)[0]);
  return foldTrace(trace.chunks(), Math.min(lowestFloor(setups), ...strategies));
}

/** The same over a trace that is folded, and looked back on, already. */
export function learnedOver(folded: Folded, known: Hindsight, setup: Setup): LearnedRun {
  const windows: WindowRecord[] = [];
  const { watched, last_best } = watch(setup);
  const outcome = simulate(folded, watched, { window: (record) => windows.push(record) });
  const by_site = setup.policy === undefined && learnsSites(setup.config);
  return {
    setup,
    arms_bytes: by_site ? shape.ucb1_step_bytes : known.thresholds_bytes,
    outcome,
    windows,
    hindsight: known,
    regret: regretOf(known, outcome),
    last_best: last_best(),
  };
}

/** The setup with its own learner handed in from outside, where it can be asked at the end what it holds best. */
function watch(setup: Setup): { watched: Setup; last_best: () => number | null } {
  const { config, policy } = setup;
  if (policy === undefined && learnsSites(config)) return { watched: setup, last_best: () => null };
  let learner: Learner | null = null;
  const make = (arms_bytes: readonly number[], seed: number): Learner => {
    learner = policy === undefined ? newLearner(config, arms_bytes.length, seed) : policy.make(arms_bytes, seed);
    return learner;
  };
  const watched = {
    ...setup,
    policy: { name: policy?.name ?? 'built in', arms_bytes: policy?.arms_bytes ?? null, make },
  };
  return { watched, last_best: () => (learner as Learner | null)?.best() ?? null };
}
