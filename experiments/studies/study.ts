/** What every study is: a question, a claim to hold against figures, and a verdict that the figures decide. */
import type { Setup } from '../../sim/index.ts';
import type { Trace } from '../../traces/index.ts';

export const verdicts = ['holds', 'does not hold', 'cannot be told'] as const;
export type StudyVerdict = (typeof verdicts)[number];

export interface Study {
  readonly name: string;
  readonly question: string;
  readonly claim: string;
  /** Whose claim it is. */
  readonly claimed_by: string;
  readonly method: string;
  readonly limits: readonly string[];
  run(bench: Bench): Promise<Finding>;
}

/** What a study works with. */
export interface Bench {
  /** Recorded programs. */
  readonly samples: readonly Trace[];
  readonly setupOf: (trace: Trace) => Setup;
  /** Fewer and smaller runs, to see that it works: no record to be believed. */
  readonly quick: boolean;
  readonly seed: number;
  /** Why nothing can be checked here; null where it can. */
  readonly trouble: string | null;
  readonly progress: (doing: string, done: number, total: number) => void;
}

export interface Finding {
  readonly verdict: StudyVerdict;
  /** The figures that decide it, in a sentence or two. */
  readonly because: string;
  readonly tables: readonly Table[];
  readonly checked: Checks;
}

export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface Checks {
  /** Rows of simulated figures, and how many of them the C core found equal. */
  readonly rows: number;
  readonly equal_in_core: number;
  /** Runs on the real kernel, and how many of them counted what the simulator counts. */
  readonly real_runs: number;
  readonly equal_for_real: number;
}
