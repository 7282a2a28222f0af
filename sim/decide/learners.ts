/** The built-in learners, a line each. Mirrors native/core/learner.c. */
import { type Config, params } from '../spec.ts';
import { Epsilon } from './epsilon.ts';
import { Halving } from './halving.ts';
import type { Learner } from './learner.ts';
import { Tournament } from './tournament.ts';
import { Ucb1 } from './ucb1.ts';

export const learner_names = params.learner.words!;

/** Of `arms` strategies; ucb1 has steps of its own, for each site. */
export function newLearner(config: Config, arms: number, seed: number): Learner {
  switch (learner_names[config.learner]) {
    case 'elo':
      return new Tournament(config, arms, seed);
    case 'epsilon':
      return new Epsilon(config, arms, seed);
    case 'halving':
      return new Halving(config, arms);
    default:
      return new Ucb1(config);
  }
}
