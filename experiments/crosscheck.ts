/**
 * The cross-check: the same trace and configuration through both halves, compared level by level. On a difference it
 * replays the stretch around it with a log in both halves, and names the first event and field that differ.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  nativeTrouble,
  type Precondition,
  type RealRun,
  replay as replayCounted,
  replayReal,
} from '../native/index.ts';
import {
  type ComparedLevel,
  type Difference,
  firstDifference,
  type Liveness,
  type LogEntry,
  Replay,
  type Result,
  type Setup,
  silentFeatures,
} from '../sim/index.ts';
import { HakTrace, interruptible, type Trace, writeHak } from '../traces/index.ts';
import { uncheckable } from './policy/module.ts';
import type { TimeCheck } from './time-check/agreement.ts';

export const check_levels = ['none', 'decisions', 'kernel', 'time'] as const;
export type CheckLevel = (typeof check_levels)[number];

export interface Check {
  readonly level: CheckLevel;
  readonly verdict: 'agree' | 'differ' | 'unchecked';
  readonly first_difference: Difference | null;
  /** The entries of both logs at the first difference, where a log reached it. */
  readonly states: { readonly sim: LogEntry; readonly native: LogEntry } | null;
  readonly decisions_equal: boolean | null;
  readonly syscalls_equal: boolean | null;
  readonly faults_equal: boolean | null;
  readonly resident_equal: boolean | null;
  readonly preconditions: Readonly<Record<string, Precondition>>;
  /** Null where no time was compared. */
  readonly time: TimeCheck | null;
  /** Why the check was not made, in one line. */
  readonly reason: string | null;
  /** Features that were on, had work to do, and did none: the run fails by their names. */
  readonly silent: readonly Liveness[];
}

export interface Checked {
  readonly sim: Result;
  readonly native: Result | null;
  readonly check: Check;
}

/** A real kernel is asked again this often when a precondition did not hold and the counts differ. */
const tries_max = 3;
/** Events logged in both halves to find a difference. */
const log_events_max = 8192;

export interface Notice {
  readonly progress?: (events: number) => void;
  readonly signal?: AbortSignal;
}

/** Of the level `time` it compares the counts; who has prices goes on from there (time-check/). */
export async function crossCheck(trace: Trace, setup: Setup, level: CheckLevel, notice: Notice = {}): Promise<Checked> {
  const sim = await simulate(trace, setup, notice.progress);
  const silent = silentFeatures(sim.liveness);
  if (setup.policy !== undefined) {
    const reason = uncheckable(setup.policy, level === 'none' ? undefined : '--check none');
    return { sim, native: null, check: unchecked(level, silent, reason) };
  }
  if (level === 'none') return { sim, native: null, check: unchecked(level, silent, 'no check was asked for') };
  const trouble = nativeTrouble();
  if (trouble !== null) return { sim, native: null, check: unchecked(level, silent, trouble) };
  if (level === 'decisions') {
    const native = await replayCounted(trace.chunks(), setup, undefined, notice.signal);
    const difference = await locate(trace, setup, sim, native, 'decisions', (narrow) =>
      replayCounted(trace.chunks(), narrow, undefined, notice.signal),
    );
    return { sim, native, check: compared(level, sim, native, difference, {}, silent) };
  }
  return withHakFile(trace, async (path) => {
    let run = await replayReal(path, trace.chunks(), setup, notice);
    for (let tries = 1; tries < tries_max && disturbed(sim, run); tries += 1)
      run = await replayReal(path, trace.chunks(), setup, notice);
    const native = run.result;
    const difference = await locate(
      trace,
      setup,
      sim,
      native,
      'kernel',
      async (narrow) => (await replayReal(path, trace.chunks(), narrow, notice)).result,
    );
    const check = compared(level, sim, native, difference, run.preconditions, silent);
    if (check.verdict === 'differ' && check.decisions_equal === true && disturbed(sim, run)) {
      const names = failing(run.preconditions).join(', ');
      return {
        sim,
        native,
        check: {
          ...check,
          verdict: 'unchecked',
          reason: `preconditions do not hold: ${names}${names.includes('khugepaged') ? '; --hold-khugepaged keeps it away' : ''}`,
        },
      };
    }
    return { sim, native, check };
  });
}

async function simulate(trace: Trace, setup: Setup, progress?: Notice['progress']): Promise<Result> {
  const run = new Replay(setup);
  for await (const chunk of interruptible(trace.chunks())) {
    run.feed(chunk);
    progress?.(run.events);
  }
  return run.finish();
}

/** Names of the preconditions that do not hold. */
export function failing(preconditions: Readonly<Record<string, Precondition>>): string[] {
  return Object.entries(preconditions)
    .filter(([, { holds }]) => !holds)
    .map(([name, { found }]) => `${name} (${found})`);
}

function disturbed(sim: Result, run: RealRun): boolean {
  return failing(run.preconditions).length > 0 && firstDifference(sim, run.result, 'kernel') !== null;
}

interface Located {
  readonly difference: Difference;
  readonly states: Check['states'];
}

/** The first difference as exactly as a second, logged run of both halves can tell; null where there is none. */
async function locate(
  trace: Trace,
  setup: Setup,
  sim: Result,
  native: Result,
  level: ComparedLevel,
  again: (setup: Setup) => Promise<Result>,
): Promise<Located | null> {
  const coarse = firstDifference(sim, native, level);
  if (coarse === null) return null;
  const at = sim.checkpoints.findIndex((each) => each.events > coarse.event);
  const from = Math.max(0, sim.checkpoints[at - 1]?.events ?? 0, coarse.event + 1 - log_events_max);
  const narrow: Setup = { ...setup, log: { from, to: Math.min(from + log_events_max, coarse.event + 1) } };
  const sim_again = await simulate(trace, narrow);
  const native_again = await again(narrow);
  const difference = firstDifference(sim_again, native_again, level) ?? coarse;
  const sim_entry = sim_again.log.find((entry) => entry.event === difference.event);
  const native_entry = native_again.log.find((entry) => entry.event === difference.event);
  return {
    difference,
    states: sim_entry !== undefined && native_entry !== undefined ? { sim: sim_entry, native: native_entry } : null,
  };
}

function compared(
  level: CheckLevel,
  sim: Result,
  native: Result,
  located: Located | null,
  preconditions: Check['preconditions'],
  silent: readonly Liveness[],
): Check {
  const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
  const kernel = level !== 'decisions';
  return {
    level,
    verdict: located === null ? 'agree' : 'differ',
    first_difference: located?.difference ?? null,
    states: located?.states ?? null,
    decisions_equal: firstDifference(sim, native, 'decisions') === null,
    syscalls_equal: kernel ? same(sim.syscalls, native.syscalls) : null,
    faults_equal: kernel ? sim.faults === native.faults && firstDifferenceOfHuge(sim, native) : null,
    resident_equal: kernel
      ? same(sim.resident_bytes, native.resident_bytes) &&
        same(
          sim.checkpoints.map((each) => each.resident_bytes),
          native.checkpoints.map((each) => each.resident_bytes),
        )
      : null,
    preconditions,
    time: null,
    reason: null,
    silent,
  };
}

/** Huge faults are null where the kernel cannot tell them apart. */
function firstDifferenceOfHuge(sim: Result, native: Result): boolean {
  return native.huge_faults === null || sim.huge_faults === native.huge_faults;
}

function unchecked(level: CheckLevel, silent: readonly Liveness[], reason: string): Check {
  return {
    level,
    verdict: 'unchecked',
    first_difference: null,
    states: null,
    decisions_equal: null,
    syscalls_equal: null,
    faults_equal: null,
    resident_equal: null,
    preconditions: {},
    time: null,
    reason,
    silent,
  };
}

/** Runs `use` with a `.hak` file of the trace: its own, or one written for the purpose and removed after. */
export async function withHakFile<T>(trace: Trace, use: (path: string) => Promise<T>): Promise<T> {
  const { path, discard } = asHakFile(trace);
  try {
    return await use(path);
  } finally {
    discard();
  }
}

/** The trace's own `.hak` file, or one written for as long as it is not discarded; the end of the process discards it. */
export function asHakFile(trace: Trace): { readonly path: string; readonly discard: () => void } {
  if (trace instanceof HakTrace) return { path: trace.path, discard: () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-'));
  const discard = (): void => {
    process.off('exit', discard);
    rmSync(folder, { recursive: true, force: true });
  };
  // Ctrl-C ends the process from a signal handler: no finally is reached.
  process.once('exit', discard);
  const path = join(folder, 'trace.hak');
  const { origin, statistics } = trace;
  const columns = { time: origin.has_time, sites: origin.has_sites, touch: statistics.large_blocks_touched > 0 };
  try {
    writeHak(path, trace.chunks(), columns, () => origin);
  } catch (error) {
    discard();
    throw error;
  }
  return { path, discard };
}
