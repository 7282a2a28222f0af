/** What the model of an allocator came to beside the library itself: equal, near enough for what it promises, or not. */
import type { ReplayerRound } from '../../native/replayer.ts';
import type { PeerResult } from '../../sim/peers/replay.ts';
import type { CheckLevel } from '../crosscheck.ts';
import type { TimeCheck } from '../time-check/agreement.ts';
import type { Held } from './policies.ts';

export interface PeerCheck {
  readonly level: CheckLevel;
  readonly verdict: 'agree' | 'differ' | 'unchecked';
  readonly held: Held | null;
  readonly reason: string | null;
  /** Null where no time was compared. */
  readonly time: TimeCheck | null;
  readonly syscalls_equal: boolean | null;
  readonly faults_equal: boolean | null;
  readonly resident_equal: boolean | null;
}

/** The kernel counts resident pages in batches for each processor. */
const resident_noise = 0.03;
const resident_noise_bytes = 1 << 20;

export function compared(level: CheckLevel, held: Held): PeerCheck {
  const { model, real, tolerance, first_difference } = held;
  // Metadata, and what a library writes as it begins.
  const few = tolerance > 0 ? { faults: 40, calls: 8 } : { faults: 0, calls: 0 };
  const near = (a: number, b: number, slack: number): boolean => Math.abs(a - b) <= Math.max(slack, tolerance * b);
  const syscalls_equal =
    real.syscalls === null
      ? null
      : callPairs(model, real.syscalls).every(([, ours, theirs]) => near(ours, theirs, few.calls));
  const faults_equal = near(model.faults, real.faults, few.faults);
  const off_bytes = Math.abs(model.resident_bytes.peak - real.resident_peak_bytes);
  const resident_equal = off_bytes <= Math.max(resident_noise_bytes, resident_noise * real.resident_peak_bytes);
  const agrees =
    faults_equal && syscalls_equal !== false && resident_equal && (tolerance > 0 || first_difference === null);
  const { unpromised } = held;
  return {
    level,
    verdict: agrees ? 'agree' : unpromised === null ? 'differ' : 'unchecked',
    held,
    reason: agrees || unpromised === null ? null : `counts differ, and the model promises nothing here: ${unpromised}`,
    time: null,
    syscalls_equal,
    faults_equal,
    resident_equal,
  };
}

type Counted = NonNullable<ReplayerRound['syscalls']>;

/** Kinds that both sides count: name, model's, library's. */
export function callPairs({ syscalls }: PeerResult, real: Counted): (readonly [string, number, number])[] {
  const { madvise_dontneed, madvise_free, ...others } = syscalls;
  const model = { ...others, madvise: madvise_dontneed + madvise_free };
  return (Object.keys(real) as (keyof Counted)[]).map((name) => [name, model[name], real[name]] as const);
}
