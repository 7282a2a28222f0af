/** The real learners on made windows: what each finds where noise and differences are known, and costs nothing to make. */
import seedrandom from 'seedrandom';
import { newLearner } from '../../sim/decide/learners.ts';
import { Ucb1 } from '../../sim/decide/ucb1.ts';
import { type Config, configOf, type Learner, params, shape } from '../../sim/index.ts';

/** As in the prototypes: the fifth of twelve is best, each further one 5 % dearer; noise of 15 %. */
const best_arm = 4;
const step_of_cost = 0.05;
const noise = 0.15;
/** Of paired noise, what all strategies of a window share; the squares sum to 1. */
const shared = 0.95;
const own = Math.sqrt(1 - shared ** 2);
const mean_ns = 1e7;
const classic = params.rating.words!.indexOf('classic');

/** What a window tells: of all strategies under one noise, of all with noise of their own, or of the one that acted. */
export const tellings = ['paired', 'independent', 'one'] as const;
export type Telling = (typeof tellings)[number];

export interface Made {
  readonly settings: Partial<Config>;
  readonly telling: Telling;
  /** Costs that are seen: a window in which all strategies are priced has one for each of them. */
  readonly evaluations: number;
}

/** Of `times` attempts, the share in which the learner holds the best strategy best after that many evaluations. */
export function findsBest({ settings, telling, evaluations }: Made, times: number, seed: number): number {
  const config = configOf('LEARNING', { ...settings, rating: telling === 'one' ? classic : 0 });
  let found = 0;
  for (let at = 0; at < times; at += 1) {
    const normal = normals(`made/${seed}/${at}`);
    const arms = newLearner(config, shape.strategies, at) instanceof Ucb1 ? shape.ucb1_steps : shape.strategies;
    const learner = newLearner(config, arms, seed * times + at);
    const windows = Math.floor(evaluations / (telling === 'one' ? 1 : arms));
    if (learner instanceof Ucb1) teachSite(learner, windows, telling, normal);
    else teach(learner, windows, telling, normal);
    if (learner.best() === best_arm) found += 1;
  }
  return found / times;
}

function teach(learner: Learner, windows: number, telling: Telling, normal: () => number): void {
  const costs = new Float64Array(shape.strategies);
  for (let index = 0; index < windows; index += 1) {
    const acted = learner.choose();
    const window = normal();
    for (let arm = 0; arm < costs.length; arm += 1)
      costs[arm] = telling === 'one' && arm !== acted ? -1 : costOf(arm, window, telling, normal);
    learner.learn({ index, event: index, acted, costs });
  }
}

/** ucb1 learns by site: one site has all the events. */
function teachSite(learner: Ucb1, windows: number, telling: Telling, normal: () => number): void {
  const { ucb1_sites: sites, ucb1_steps: steps } = shape;
  const site_ns = new Float64Array(sites * steps);
  const baseline_ns = new Float64Array(sites);
  learner.watch(site_ns, baseline_ns);
  for (let index = 0; index < windows; index += 1) {
    const window = normal();
    baseline_ns[0] = mean_ns;
    for (let step = 0; step < steps; step += 1) site_ns[step] = costOf(step, window, telling, normal);
    learner.learn({ index, event: index, acted: learner.choose(), costs: site_ns.subarray(0, steps) });
  }
}

function costOf(arm: number, window: number, telling: Telling, normal: () => number): number {
  const mean = 1 + step_of_cost * Math.abs(arm - best_arm);
  const drawn = telling === 'paired' ? shared * window + own * normal() : normal();
  return Math.max(0, Math.round(mean_ns * mean * (1 + noise * drawn)));
}

/** Normal numbers by Box and Muller. */
function normals(seed: string): () => number {
  const random = seedrandom.alea(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Windows of a round of halving that spend the evaluations to the end: 12, 6, 3 and 2 strategies in turn. */
export function halvingWindows(telling: Telling, evaluations: number): number {
  const rounds = [12, 6, 3, 2];
  const windows = evaluations / (telling === 'one' ? 1 : shape.strategies);
  const tellers = telling === 'one' ? rounds.reduce((sum, left) => sum + left, 0) : rounds.length;
  return Math.max(1, Math.floor(windows / tellers));
}
