/**
 * What a policy module of your own implements: its default export is a `Policy`. docs/OWN-POLICY.md explains it, and
 * `hakmem policy new` prints one to start from.
 */

export interface Policy {
  /** Shown beside results: letters, digits, and `. _ -`. */
  readonly name: string;
  /** 1 to 12 rising thresholds in whole pages, in bytes; without it, those of the configuration's `strategy_set`. */
  readonly arms_bytes?: readonly number[];
  /** Called once a run. Everything that is learned lives in what it returns. */
  create(given: PolicyGiven): PolicyLearner;
}

export interface PolicyGiven {
  readonly seed: number;
  /** The thresholds to choose among: blocks of `arms_bytes[choice]` and more are mapped. */
  readonly arms_bytes: readonly number[];
  /** In [0, 1). The only source of chance: the same seed gives the same numbers. */
  random(): number;
}

export interface PolicyLearner {
  /** Index of the arm for the window that begins. */
  choose(): number;
  /** Once for every window that closed while learning, in order. */
  learn(window: PolicyWindow): void;
  /** The arm it holds best, asked after each `learn`; without it, the one of least mean cost. lifecycle=auto freezes on it. */
  best?(): number;
  /** Forget what was learned; without it, `create` is called again, and chance goes on. */
  reset?(): void;
}

/** A copy of its own for each call: it may be kept, and must not be written to. */
export interface PolicyWindow {
  /** From 0. */
  readonly index: number;
  /** The event that closed it: the first of the next window. */
  readonly event: number;
  /** The arm that acted. */
  readonly acted: number;
  /**
   * By arm: what the window cost or would have cost, in nanoseconds at the rates of the score. With rating=classic only that
   * of `acted` is known, as 2^16 times its share of the window's baseline; the others are -1.
   */
  readonly costs: readonly number[];
}
