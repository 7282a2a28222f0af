/** A learner between the simulator and another one: what is asked of it is written down. */
import type { LearnedWindow, Learner, LearnerFigures } from '../../sim/index.ts';

export type Call =
  | { readonly name: 'choose' | 'reset'; readonly event: number }
  | { readonly name: 'learn'; readonly event: number; readonly index: number; readonly acted: number };

export class Spy implements Learner {
  readonly figures: LearnerFigures;
  private readonly learner: Learner;
  private readonly calls: Call[];

  constructor(learner: Learner, calls: Call[]) {
    this.learner = learner;
    this.calls = calls;
    this.figures = learner.figures;
  }

  learn(window: LearnedWindow): void {
    const { event, index, acted } = window;
    this.calls.push({ name: 'learn', event, index, acted });
    this.learner.learn(window);
  }

  choose(event = -1): number {
    this.calls.push({ name: 'choose', event });
    return this.learner.choose(event);
  }

  best(): number {
    return this.learner.best();
  }

  reset(event = -1): void {
    this.calls.push({ name: 'reset', event });
    this.learner.reset(event);
  }
}
