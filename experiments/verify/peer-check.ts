/**
 * Holds the models of allocators to the real libraries: the same trace through both, and what they differ in. General in
 * the allocator: whoever has a model names its settings and makes it.
 */

import type { AllocatorName } from '../../native/allocators.ts';
import { counted_syscalls, type ReplayerRun, runReplayer } from '../../native/replayer.ts';
import type { Clock, Peer } from '../../sim/peers/peer.ts';
import { type PeerResult, replayPeer } from '../../sim/peers/replay.ts';
import { prices } from '../../sim/spec.ts';
import type { Trace } from '../../traces/trace.ts';

export interface PeerSetting {
  readonly allocator: AllocatorName;
  /** As the table names it. */
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  /** The model of it, by the time that the replay took; the replayer starts all threads of the trace before it begins. */
  model(clock: Clock, threads: number): Peer;
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
  readonly modelled: PeerFigures;
  readonly measured: PeerFigures;
}

/** Rejects as runReplayer does; throws ModelLimit where the model does not reach. */
export async function comparePeer(setting: PeerSetting, subject: string, trace: Trace): Promise<PeerComparison> {
  const begin_ns = performance.now() * 1e6;
  // A thread that ends gives back what it has: with a second round to come, none ends before the first is counted.
  const rounds = trace.statistics.threads > 1 ? 2 : 1;
  const run = await runReplayer(trace.path, { allocator: setting.allocator, env: setting.env, rounds });
  const took_ns = performance.now() * 1e6 - begin_ns;
  const measured = measuredFigures(run);
  const model = setting.model(
    clockOf(Math.max(0, took_ns - start_ns) / rounds, run.trace.events, measured),
    run.trace.threads,
  );
  const result = replayPeer(trace.chunks(), model, { prices, checkpoint_events: 1000 });
  return {
    allocator: setting.allocator,
    version: run.allocator.version,
    setting: setting.name,
    subject,
    events: run.trace.events,
    modelled: modelledFigures(result),
    measured,
  };
}

/** A fault costs as much as so many events do, a system call, too. */
const fault_events = 5;
const call_events = 20;

/** The rounds leave out what lies between events, such as handing over to another thread, during which time passes, too. */
function clockOf(took_ns: number, events: number, { faults, calls }: PeerFigures): Clock {
  const event_ns = took_ns / (events + fault_events * faults + call_events * calls);
  return { start_ns, event_ns, fault_ns: fault_events * event_ns, call_ns: call_events * event_ns };
}

/** Roughly what it takes to start a replay and to read its trace. */
const start_ns = 40e6;

/** By how much the model is off, of what was measured; differences of a few are none: both begin somewhere. */
export function difference({ modelled, measured }: PeerComparison, what: keyof Compared): number {
  const off = Math.abs(modelled[what] - measured[what]);
  if (off <= slack[what]) return 0;
  return measured[what] === 0 ? Number.POSITIVE_INFINITY : off / measured[what];
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
