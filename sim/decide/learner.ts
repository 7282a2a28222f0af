/**
 * What chooses the strategy of the next window, given what a window cost. One interface for every method, built in or
 * your own. Mirrors native/core/learner.c.
 */
/** A window that closed. */
export interface LearnedWindow {
  readonly index: number;
  /** The event that closed it: the first of the next window. */
  readonly event: number;
  /** The strategy that acted; of ucb1, the step of the site that was asked last. */
  readonly acted: number;
  /**
   * By strategy: what the window cost or would have cost, in nanoseconds at the rates of the score. With rating=classic only
   * the one that acted is known, as 2^16 times its share of the window's baseline; the others are -1.
   */
  readonly costs: Float64Array;
}

export interface Learner {
  /** Exactly one call a window that closed, in order. */
  learn(window: LearnedWindow): void;
  /** The strategy for the window that begins, with `event`. */
  choose(event?: number): number;
  /** The strategy it holds best. */
  best(): number;
  /** Forgets everything but its draws. */
  reset(event?: number): void;
  /** Strategies it still compares; all, where it does not say. */
  isActive?(arm: number): boolean;
  readonly figures: LearnerFigures;
}

/** Counted for the result; a learner of one's own may leave them at what they are. */
export interface LearnerFigures {
  matches: number;
  explorations: number;
  /** Times that a rating, a mean or a last cost was written. */
  rating_writes: number;
  draws: number;
}

export const newFigures = (): LearnerFigures => ({ matches: 0, explorations: 0, rating_writes: 0, draws: 0 });
