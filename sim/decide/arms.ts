/** What several learners share: means of costs by strategy, and exploring. Mirrors native/core/arms.c. */
import { Paired } from './paired.ts';

/** Means of costs by strategy, as far as they are known. */
export class Means {
  readonly of: readonly Paired[];

  constructor(arms: number) {
    this.of = Array.from({ length: arms }, () => new Paired());
  }

  clear(): void {
    for (const each of this.of) each.clear();
  }

  /** Writes what a window told; returns how many were written. */
  add(costs: Float64Array): number {
    let written = 0;
    for (const [arm, each] of this.of.entries()) {
      if (costs[arm] < 0) continue;
      each.add(costs[arm]);
      written += 1;
    }
    return written;
  }

  /** The lowest mean, of the lowest strategy where equal; one that was never tried comes first. */
  best(): number {
    let best = 0;
    for (let arm = 0; arm < this.of.length; arm += 1) {
      if (this.of[arm].count === 0) return arm;
      if (this.of[arm].mean < this.of[best].mean) best = arm;
    }
    return best;
  }
}
