/** The one shape of every search method, and what a search may ask for. */
import type { Evaluated } from './evaluator.ts';
import type { Standing } from './objective.ts';
import type { Point, Space } from './space.ts';

export interface Method {
  readonly name: string;
  readonly says: string;
  search(problem: Problem): Promise<Found>;
}

export interface Problem {
  readonly space: Space;
  /** The candidates: legal points of the grid, one of each kind that some trace can tell from the others. */
  readonly points: readonly Point[];
  readonly baseline: Point;
  /** Settings that people use, the baseline among them. */
  readonly starts: readonly Point[];
  readonly traces: number;
  readonly seed: number;
  /** Kinds of points to try at most, for a method that does not keep to `points`. */
  readonly budget: number;
  /** Equal for points that no trace can tell apart. */
  kind(point: Point): string;
  legal(point: Point): boolean;
  /** Tries points on the whole traces, or on samples of them, or on some of them; its work is counted. */
  evaluate(
    points: readonly Point[],
    on?: { readonly share?: number; readonly traces?: readonly number[] },
  ): Promise<readonly Evaluated[]>;
  /** How they stand, on what they were evaluated on: all on the same. */
  rank(evaluated: readonly Evaluated[]): readonly Standing[];
  /** Rows that one point takes, at most, on all traces or on samples of them of this share. */
  rowsAt(share: number): number;
}

export interface Found {
  /** Tried on every whole trace: the winner is among them. */
  readonly finalists: readonly Evaluated[];
  /** What happened, a sentence each. */
  readonly notes: readonly string[];
}
