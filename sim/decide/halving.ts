/**
 * Sequential halving (Karnin, Koren and Somekh, ICML 2013): rounds of equal length, after each the better half stays.
 * Mirrors native/core/halving.c.
 */
import { type Config, params } from '../spec.ts';
import { Means } from './arms.ts';
import { type LearnedWindow, type Learner, newFigures } from './learner.ts';

const classic = params.rating.words!.indexOf('classic');

export class Halving implements Learner {
  readonly figures = newFigures();
  private readonly config: Config;
  private readonly means: Means;
  /** Strategies that are left, in order. */
  private left: number[];
  private windows = 0;

  constructor(config: Config, arms: number) {
    this.config = config;
    this.means = new Means(arms);
    this.left = Array.from({ length: arms }, (_, arm) => arm);
  }

  learn({ costs }: LearnedWindow): void {
    if (this.left.length === 1) return;
    this.figures.rating_writes += this.means.add(costs);
    this.windows += 1;
    const tellers = this.config.rating === classic ? this.left.length : 1;
    if (this.windows === this.config.halving_windows * tellers) this.halve();
  }

  /** Paired: the best of the round so far. Classic: one after the other, for only the one that acts is known. */
  choose(): number {
    return this.config.rating === classic ? this.left[this.windows % this.left.length] : this.best();
  }

  best(): number {
    const { of } = this.means;
    let best = this.left[0];
    for (const arm of this.left) {
      if (of[arm].count === 0) continue;
      if (of[best].count === 0 || of[arm].mean < of[best].mean) best = arm;
    }
    return best;
  }

  reset(): void {
    this.left = this.means.of.map((_, arm) => arm);
    this.windows = 0;
    this.means.clear();
  }

  isActive(arm: number): boolean {
    return this.left.includes(arm);
  }

  private halve(): void {
    const { of } = this.means;
    const ranked = [...this.left].sort((a, b) => of[a].mean - of[b].mean || a - b);
    this.left = ranked.slice(0, Math.ceil(ranked.length / 2)).sort((a, b) => a - b);
    this.windows = 0;
    if (this.left.length > 1) this.means.clear();
  }
}
