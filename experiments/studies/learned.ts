/** Learned runs for studies: which learners, on which traces, how many seeds, and what became of them. */
import {
  boundaries_bytes,
  type Config,
  configOf,
  default_profile,
  type Folded,
  type Hindsight,
  hindsight,
  lowestFloor,
  params,
  refold,
  type Setup,
  thresholds,
} from '../../sim/index.ts';
import { SyntheticTrace, type Trace } from '../../traces/index.ts';
import { foldForLearning, type LearnedRun, learnedOver } from '../learned-run.ts';
import { type MeanInterval, meanOf } from '../statistics.ts';
import { nameOf } from './batching.ts';
import type { CheckedRows } from './checked.ts';
import type { Bench } from './study.ts';

/** A trace, or one that each seed makes anew. */
export interface Family {
  readonly name: string;
  readonly of: (seed: number) => Trace;
  readonly varies: boolean;
}

export function sampleFamilies(bench: Pick<Bench, 'samples'>): Family[] {
  return bench.samples.map((trace) => ({ name: nameOf(trace), of: () => trace, varies: false }));
}

/** `events` null: as many as the scenario has. */
export function scenarioFamily(name: string, events: number | null = null): Family {
  return {
    name,
    of: (seed) => new SyntheticTrace(name, { seed, boundaries_bytes, ...(events === null ? {} : { events }) }),
    varies: true,
  };
}

const words = (name: 'learner' | 'rating' | 'rules' | 'lifecycle', word: string): number =>
  params[name].words!.indexOf(word as never);

export interface Method {
  readonly name: string;
  readonly settings: Partial<Config>;
  /** Draws at random: other seeds learn otherwise on the same trace. */
  readonly draws: boolean;
}

export const learners = ['elo', 'epsilon', 'halving', 'ucb1'] as const;
export const ratings = ['paired', 'classic'] as const;

export function method(learner: (typeof learners)[number], rating: (typeof ratings)[number]): Method {
  return {
    name: `${learner} ${rating}`,
    settings: { learner: words('learner', learner), rating: words('rating', rating) },
    draws: learner === 'elo' || learner === 'epsilon',
  };
}

/** Draws a strategy for every window, and learns nothing from it. */
export const at_random: Method = {
  name: 'at random',
  settings: { learner: words('learner', 'epsilon'), explore_permille: 1000 },
  draws: true,
};

export const learning_config = (settings: Partial<Config>): Config => configOf('LEARNING', settings);

/** The same, with the lifecycle that freezes by itself. */
export function freezing({ name, settings, draws }: Method): Method {
  return { name: `${name}, auto`, settings: { ...settings, ...automatic }, draws };
}

export const always = { lifecycle: words('lifecycle', 'learn') } as const;
export const automatic = { lifecycle: words('lifecycle', 'auto') } as const;
export const rules = {
  paired: { rules: words('rules', 'paired') },
  classic: { rules: words('rules', 'classic') },
} as const;

/** The study's setup, on the default kernel profile: what is learned is the same on every machine. */
export function everywhere(bench: Pick<Bench, 'setupOf' | 'trouble'>): Pick<Bench, 'setupOf' | 'trouble'> {
  return { trouble: bench.trouble, setupOf: (trace) => ({ ...bench.setupOf(trace), profile: default_profile }) };
}

/** Of one method on one family, a run a seed. */
export interface Runs {
  readonly method: Method;
  readonly runs: readonly LearnedRun[];
}

/**
 * Every method over every seed of a family; strategies held fixed are run and checked with them. Setups are the bench's,
 * with the method's settings over mode LEARNING and the given ones.
 */
export async function runFamily(
  bench: Pick<Bench, 'setupOf'>,
  checked: CheckedRows,
  family: Family,
  methods: readonly Method[],
  settings: Partial<Config>,
  seeds: readonly number[],
): Promise<Runs[]> {
  const runs = new Map<Method, LearnedRun[]>(methods.map((each) => [each, []]));
  let kept = null as Looked | null;
  for (const [at, seed] of seeds.entries()) {
    const trace: Trace = kept === null || family.varies ? family.of(seed) : kept.trace;
    const due = methods.filter(({ draws }) => at === 0 || draws || family.varies);
    const setups = due.map((each) => setupOf(bench, trace, { ...each.settings, ...settings }, seed));
    if (setups.length === 0) continue;
    const looked = kept === null || family.varies ? null : kept;
    let made: LearnedRun[] = [];
    await checked.beside(trace, [...(looked === null ? heldFixed(setups[0]) : []), ...setups], () => {
      const known = looked ?? lookAt(trace, setups);
      kept = known;
      made = setups.map((setup) => learnedOver(known.folded.get(lowestFloor([setup]))!, known.known, setup));
      return [...(looked === null ? known.known.fixed : []), ...made.map(({ outcome }) => outcome)];
    });
    for (const [index, each] of due.entries()) runs.get(each)!.push(made[index]);
  }
  return methods.map((each) => ({ method: each, runs: runs.get(each)! }));
}

/** A trace folded to every floor of the setups, and what is known of it in hindsight. */
interface Looked {
  readonly trace: Trace;
  readonly folded: ReadonlyMap<number, Folded>;
  readonly known: Hindsight;
}

function lookAt(trace: Trace, setups: readonly Setup[]): Looked {
  const all = foldForLearning(trace, setups);
  const strategies = refold(all, thresholds(setups[0].config)[0]);
  const floors = [...new Set(setups.map((setup) => lowestFloor([setup])))];
  const folded = new Map(
    floors.map((floor) => [
      floor,
      floor === all.floor_bytes ? all : floor === strategies.floor_bytes ? strategies : refold(all, floor),
    ]),
  );
  return { trace, folded, known: hindsight(strategies, setups[0]) };
}

function setupOf(bench: Pick<Bench, 'setupOf'>, trace: Trace, settings: Partial<Config>, seed: number): Setup {
  return { ...bench.setupOf(trace), config: learning_config(settings), seed };
}

/** What `hindsight` runs, in its order. */
function heldFixed(setup: Setup): Setup[] {
  const off = words('lifecycle', 'off');
  return Array.from({ length: params.strategy.max + 1 }, (_, strategy) => ({
    ...setup,
    config: { ...setup.config, lifecycle: off, strategy },
  }));
}

/** How many times the cost of the best strategy held fixed; null where that costs nothing. */
export function timesBest({ regret: { score, best_score } }: Pick<LearnedRun, 'regret'>): number | null {
  return best_score > 0 ? score / best_score : null;
}

export function meanBy<T>(runs: readonly T[], of: (run: T) => number | null, seed: number): MeanInterval | null {
  const known = runs.map(of).filter((each): each is number => each !== null);
  return known.length > 0 ? meanOf(known, seed) : null;
}

/** "1.234", and its interval where it has one: "1.234 [1.1, 1.4]". */
export function intervalText(interval: MeanInterval | null, digits: number): string {
  if (interval === null) return '-';
  const { mean, low, high } = interval;
  const text = mean.toFixed(digits);
  return low.toFixed(digits) === text && high.toFixed(digits) === text
    ? text
    : `${text} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
}
