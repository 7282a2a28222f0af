/**
 * Holds the models of allocators to the real libraries: the same trace through both, and what they differ in. General in
 * the allocator: whoever has a model names its settings and makes it.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AllocatorName, allocators, libraryOf } from '../../native/allocators.ts';
import { native_root } from '../../native/index.ts';
import { counted_syscalls, type ReplayerRun, runReplayer } from '../../native/replayer.ts';
import type { Clock } from '../../sim/peers/peer.ts';
import { type PeerResult, replayPeer } from '../../sim/peers/replay.ts';
import { prices } from '../../sim/spec.ts';
import type { TimedPeer } from '../../sim/time/work.ts';
import type { Trace } from '../../traces/trace.ts';

export interface PeerSetting {
  readonly allocator: AllocatorName;
  /** As the table names it. */
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  /** The model of it, by that clock; the replayer starts all threads of the trace before it begins. */
  model(clock: Clock, threads: number, seed: number): TimedPeer;
  /** How many seeds to ask: more than one where the library itself draws. */
  readonly chances: number;
}

export const compared = ['faults', 'calls', 'resident_peak_bytes'] as const;
export type Compared = Readonly<Record<(typeof compared)[number], number>>;

export interface PeerFigures extends Compared {
  readonly madvise: number;
  readonly mmap: number;
  readonly munmap: number;
  readonly other: number;
}

export interface PeerComparison {
  readonly allocator: AllocatorName;
  readonly version: string | null;
  readonly setting: string;
  readonly subject: string;
  readonly events: number;
  /** Of the seed in the middle, and of all of them. */
  readonly modelled: PeerFigures;
  readonly range: readonly PeerFigures[];
  readonly measured: PeerFigures;
}

/** Time that passes with each event of a comparison, unless another is asked for: ten seconds are ten thousand events. */
export const event_ns = 1e6;

/** Makes the library's time pass with the events of a replay; native/event_clock.c. */
const clock_library = join(native_root, 'build', 'libhakmem-clock.so');

/** What both come to, and the result of the model that was in the middle. */
export interface PeerRun extends PeerComparison {
  readonly model: PeerResult;
  readonly real: ReplayerRun;
}

/** Rejects as runReplayer does; throws ModelLimit where the model does not reach. */
export async function comparePeer(
  setting: PeerSetting,
  subject: string,
  trace: Trace,
  step_ns: number = event_ns,
): Promise<PeerRun> {
  // The clock goes on at every event of a replay that keeps a log.
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-clock-'));
  try {
    return await compareIn(folder, setting, subject, trace, step_ns);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function compareIn(
  folder: string,
  setting: PeerSetting,
  subject: string,
  trace: Trace,
  step_ns: number,
): Promise<PeerRun> {
  const library = libraryOf(allocators[setting.allocator]) ?? '';
  const run = await runReplayer(trace.path, {
    allocator: setting.allocator,
    env: { ...setting.env, LD_PRELOAD: `${library} ${clock_library}`, HAKMEM_EVENT_NS: String(step_ns) },
    log: join(folder, 'log'),
  });
  const modelled = Array.from({ length: setting.chances }, (_, seed) => {
    const model = setting.model({ start_ns: 0, event_ns: step_ns }, run.trace.threads, seed + 1);
    return replayPeer(trace.chunks(), model, { prices, checkpoint_events: 1000 });
  }).sort((a, b) => a.faults - b.faults);
  const range = modelled.map(modelledFigures);
  const middle = modelled.length >> 1;
  return {
    allocator: setting.allocator,
    version: run.allocator.version,
    setting: setting.name,
    subject,
    events: run.trace.events,
    modelled: range[middle],
    range,
    measured: measuredFigures(run),
    model: modelled[middle],
    real: run,
  };
}

/** By how much the model is off, of what was measured; differences of a few are none: both begin somewhere. */
export function difference({ modelled, measured }: PeerComparison, what: keyof Compared): number {
  const off = Math.abs(modelled[what] - measured[what]);
  if (off <= slack[what]) return 0;
  return measured[what] === 0 ? Number.POSITIVE_INFINITY : off / measured[what];
}

/** Whether what was measured lies among what chance gives in the model, give or take the same few. */
export function withinChance({ range, measured }: PeerComparison, what: keyof Compared): boolean {
  const values = range.map((figures) => figures[what]);
  return measured[what] >= Math.min(...values) - slack[what] && measured[what] <= Math.max(...values) + slack[what];
}

/** Metadata, and the pages that a library writes as it begins. */
const slack: Compared = { faults: 40, calls: 8, resident_peak_bytes: 40 * 4096 };

function modelledFigures({ faults, syscalls, resident_bytes }: PeerResult): PeerFigures {
  const { mmap, munmap, madvise_dontneed, madvise_free, mremap, brk, mprotect } = syscalls;
  const madvise = madvise_dontneed + madvise_free;
  const other = mremap + brk + mprotect;
  return {
    faults,
    calls: mmap + munmap + madvise + other,
    resident_peak_bytes: resident_bytes.peak,
    mmap,
    munmap,
    madvise,
    other,
  };
}

function measuredFigures(run: ReplayerRun): PeerFigures {
  const [{ faults, syscalls, resident_peak_bytes }] = run.rounds;
  if (syscalls === null)
    throw new Error('this kernel does not let system calls be counted: run it where tracefs can be read');
  const { mmap, munmap, madvise } = syscalls;
  const calls = counted_syscalls.reduce((sum, name) => sum + syscalls[name], 0);
  return { faults, calls, resident_peak_bytes, mmap, munmap, madvise, other: calls - mmap - munmap - madvise };
}
