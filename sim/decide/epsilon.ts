/** Epsilon-greedy over means: the lowest mean cost, or now and then any strategy. Mirrors native/core/epsilon.c. */
import type { Config } from '../spec.ts';
import { Means } from './arms.ts';
import { type LearnedWindow, type Learner, newFigures } from './learner.ts';
import { Prng } from './prng.ts';

export class Epsilon implements Learner {
  readonly figures = newFigures();
  private readonly config: Config;
  private readonly arms: number;
  private readonly means: Means;
  private readonly explore: Prng;

  constructor(config: Config, arms: number, seed: number) {
    this.config = config;
    this.arms = arms;
    this.means = new Means(arms);
    this.explore = new Prng(`${seed}/explore`);
  }

  learn({ costs }: LearnedWindow): void {
    this.figures.rating_writes += this.means.add(costs);
  }

  choose(): number {
    const explores = this.explore.next() * 1000 < this.config.explore_permille;
    const arm = explores ? this.explore.below(this.arms) : this.best();
    if (explores) this.figures.explorations += 1;
    this.figures.draws = this.explore.draws;
    return arm;
  }

  best(): number {
    return this.means.best();
  }

  reset(): void {
    this.means.clear();
  }
}
