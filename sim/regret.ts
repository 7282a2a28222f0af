/**
 * What a learned run paid for not knowing: its score against the best strategy held fixed from start to end, known in
 * hindsight, and against the offline optimum, which holds the best one in each stretch of about a window and changes for
 * nothing.
 */
import { thresholds } from './decide/strategy.ts';
import { equivalenceClasses } from './equivalence.ts';
import type { Folded } from './fold.ts';
import { simulate } from './planned.ts';
import type { Setup } from './replay.ts';
import type { Outcome } from './result.ts';
import { type Config, params, shape } from './spec.ts';

const off = params.lifecycle.words!.indexOf('off');

export interface Regret {
  readonly thresholds_bytes: readonly number[];
  /** By strategy: its equivalence class, and its score where it is held fixed. */
  readonly classes: readonly number[];
  readonly fixed_scores: readonly number[];
  /** The lowest of the best ones. */
  readonly best_arm: number;
  readonly best_score: number;
  readonly optimum_score: number;
  /** Of the learned run. */
  readonly score: number;
  /** `score` less `best_score`: negative where changing pays. */
  readonly regret: number;
}

/** Of one trace, whatever is learned over it. */
export interface Hindsight {
  readonly thresholds_bytes: readonly number[];
  readonly classes: readonly number[];
  readonly fixed: readonly Outcome[];
  /** By strategy: the score of each stretch. They sum to the score of the whole. */
  readonly stretches: readonly (readonly number[])[];
}

/**
 * Every strategy that `setup` could choose, held fixed over the whole trace. `folded` must not be folded beyond the lowest
 * of them.
 */
export function hindsight(folded: Folded, setup: Setup): Hindsight {
  const own = setup.policy?.arms_bytes ?? null;
  const thresholds_bytes = own ?? thresholds(setup.config);
  const { policy: _, ...rest } = setup;
  const runs = thresholds_bytes.map((bytes, arm) => {
    const held: Partial<Config> = own === null ? { strategy: arm } : { mmap_threshold_bytes: bytes };
    return heldFixed(folded, { ...rest, config: { ...setup.config, lifecycle: off, ...held } });
  });
  return {
    thresholds_bytes,
    classes: equivalenceClasses(folded, thresholds_bytes),
    fixed: runs.map(({ outcome }) => outcome),
    stretches: runs.map(({ stretches }) => stretches),
  };
}

export function regretOf({ thresholds_bytes, classes, fixed, stretches }: Hindsight, learned: Outcome): Regret {
  const fixed_scores = fixed.map(({ score }) => score.total);
  const best_score = Math.min(...fixed_scores);
  const optimum_score = (stretches[0] ?? []).reduce(
    (sum, _, at) => sum + Math.min(...stretches.map((each) => each[at])),
    0,
  );
  return {
    thresholds_bytes,
    classes,
    fixed_scores,
    best_arm: fixed_scores.indexOf(best_score),
    best_score,
    optimum_score,
    score: learned.score.total,
    regret: learned.score.total - best_score,
  };
}

/**
 * The score is a sum of shares, so a stretch has a score of its own: by what was spent and faulted in it, its part of the
 * mean of resident bytes, and what the heap grew by.
 */
function heldFixed(folded: Folded, setup: Setup): { outcome: Outcome; stretches: readonly number[] } {
  const { config, prices } = setup;
  const each = Math.max(1, Math.round(config.window_events / config.checkpoint_events));
  const seen: { time_ns: number; faults: number; resident_bytes: number; heap_bytes: number; heap_faults: number }[] =
    [];
  const outcome = simulate(folded, setup, {
    moment: ({ time_ns, faults, resident_bytes, heap_bytes }) => {
      seen.push({ time_ns, faults, resident_bytes, heap_bytes, heap_faults: heap_bytes / shape.page_bytes });
    },
  });
  const stretches: number[] = [];
  let before = { time_ns: 0, faults: 0, heap_bytes: 0, heap_faults: 0 };
  for (let from = 0; from < seen.length; from += each) {
    const part = seen.slice(from, from + each);
    const last = part[part.length - 1];
    const resident = part.reduce((sum, { resident_bytes }) => sum + resident_bytes, 0) / seen.length;
    const faults = last.faults + last.heap_faults - before.faults - before.heap_faults;
    const memory = resident + last.heap_bytes - before.heap_bytes;
    stretches.push(folded.baseline.score(prices, last.time_ns - before.time_ns, faults, memory).total);
    before = last;
  }
  return { outcome, stretches };
}
