/** Regret of the learned rows of a shard: strategies are held fixed once for all configurations that differ in learning alone. */
import {
  type Folded,
  type Hindsight,
  hindsight,
  learns,
  type Outcome,
  param_names,
  type Regret,
  regretOf,
  type Setup,
} from '../../sim/index.ts';

/** What says how strategies are learned, and nothing of what one that is held fixed costs. */
const of_learning =
  /^(lifecycle|learner|rating|rules|explore|switch|elo|halving|ucb1|quantile|freeze|equivalence|drift|relearn|canary)/;
const of_fixed = param_names.filter((name) => !of_learning.test(name));

export class Regrets {
  private readonly folded: Folded;
  private readonly known = new Map<string, Hindsight>();

  constructor(folded: Folded) {
    this.folded = folded;
  }

  /** Null where nothing is learned. */
  of(setup: Setup, outcome: Outcome): Regret | null {
    if (!learns(setup.config)) return null;
    const key = of_fixed.map((name) => setup.config[name]).join();
    const behind = this.known.get(key) ?? hindsight(this.folded, setup);
    this.known.set(key, behind);
    return regretOf(behind, outcome);
  }
}
