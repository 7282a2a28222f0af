/** A recording in counts that come out the same each time: its own, and those of its replay under a policy. */
import { type KernelProfile, type Observer, Replay, type Setup, type TouchModel } from '../../sim/index.ts';
import { PeerReplay } from '../../sim/peers/replay.ts';
import { interruptible, type Trace } from '../../traces/index.ts';
import type { ConfiguredPeer } from '../peers/policies.ts';
import type { Groups } from './groups.ts';
import { type Use, Uses } from './uses.ts';

export type FigureUnit = 'count' | 'bytes';

/** Unit, what it is, and the column of a group's use that says whose it is; null where none does. */
export interface Figure {
  readonly unit: FigureUnit;
  readonly says: string;
  readonly of: keyof Use;
}

const call_figure = { unit: 'count', of: 'syscalls' } as const;

/** In the order in which they are shown. */
export const figures: Readonly<Record<string, Figure>> = {
  faults: { unit: 'count', says: 'page faults', of: 'faults' },
  peak: { unit: 'bytes', says: 'resident bytes, at most', of: 'live' },
  mapped: { unit: 'bytes', says: 'mapped bytes, at most', of: 'live' },
  syscalls: { ...call_figure, says: 'system calls of all kinds' },
  mmap: { ...call_figure, says: 'of these' },
  munmap: { ...call_figure, says: 'of these' },
  mremap: { ...call_figure, says: 'of these' },
  brk: { ...call_figure, says: 'of these' },
  mprotect: { ...call_figure, says: 'of these' },
  madvise: { ...call_figure, says: 'of these, whatever the advice' },
  allocations: { unit: 'count', says: 'malloc and its kin', of: 'allocations' },
  reallocs: { unit: 'count', says: 'reallocs of live blocks', of: 'reallocs' },
  frees: { unit: 'count', says: 'frees', of: 'frees' },
  bytes: { unit: 'bytes', says: 'bytes asked for, reallocs too', of: 'bytes' },
  live: { unit: 'bytes', says: 'requested bytes live, at most', of: 'live' },
  unfreed: { unit: 'count', says: 'blocks never freed', of: 'unfreed' },
  unfreed_bytes: { unit: 'bytes', says: 'bytes never freed', of: 'unfreed_bytes' },
};

export type Figures = Readonly<Record<string, number>>;

/** What a replay is made under. */
export type Under =
  | {
      readonly peer: ConfiguredPeer;
      readonly touch: TouchModel;
      readonly profile: KernelProfile;
      readonly setup: Setup;
    }
  | { readonly peer: null; readonly setup: Setup };

export interface Measured {
  readonly figures: Figures;
  readonly uses: readonly Use[];
  /** Freed blocks by lifetime: [upper bound in events (exclusive), blocks]. */
  readonly lifetimes: readonly (readonly [number, number])[];
}

/** Throws ModelLimit where the trace goes beyond a peer's model. */
export async function measure(trace: Trace, groups: Groups, under: Under): Promise<Measured> {
  const uses = new Uses(groups);
  const replayed = await (under.peer === null ? replayOwn(trace, uses, under.setup) : replayPeer(trace, uses, under));
  const { allocations, reallocs, frees, total_bytes, unfreed } = trace.statistics;
  return {
    figures: {
      ...replayed,
      allocations,
      reallocs,
      frees,
      bytes: total_bytes,
      live: uses.peak_live_bytes,
      unfreed,
      unfreed_bytes: uses.unfreed_bytes,
    },
    uses: await uses.uses(trace),
    lifetimes: uses.lifetimeHistogram(),
  };
}

async function replayPeer(
  trace: Trace,
  uses: Uses,
  { peer, setup, touch, profile }: Extract<Under, { peer: ConfiguredPeer }>,
): Promise<Figures> {
  const model = peer.model({ profile, touch, threads: trace.statistics.threads });
  const run = new PeerReplay(model, { prices: setup.prices, checkpoint_events: setup.config.checkpoint_events });
  const { meter } = model;
  run.watch = (_, row) => {
    const group = uses.row_groups[row];
    uses.faults[group] += meter.faults + meter.zero_faults + meter.huge_faults;
    uses.syscalls[group] += meter.calls;
  };
  for await (const chunk of interruptible(trace.chunks())) {
    uses.add(chunk);
    run.feed(chunk);
  }
  const { faults, resident_bytes, mapped_bytes, syscalls } = run.finish();
  return { faults, peak: resident_bytes.peak, mapped: mapped_bytes.peak, ...callsOf({ ...syscalls }) };
}

/** Of hakmem an event tells its price alone, which is that of its calls and faults: groups are charged with it for both. */
async function replayOwn(trace: Trace, uses: Uses, setup: Setup): Promise<Figures> {
  const observer: Observer = {
    event: (_, row, price_ns) => {
      const group = uses.row_groups[row];
      uses.faults[group] += price_ns;
      uses.syscalls[group] += price_ns;
    },
  };
  const run = new Replay(setup, observer);
  for await (const chunk of interruptible(trace.chunks())) {
    uses.add(chunk);
    run.feed(chunk);
  }
  const { faults, heap, resident_bytes, mapped_bytes, syscalls } = run.finish();
  return {
    faults: faults + heap.faults,
    // The heap's ledger never shrinks: a bound from above, and the same one for both recordings.
    peak: resident_bytes.peak + heap.resident_peak_bytes,
    mapped: mapped_bytes.peak + heap.resident_peak_bytes,
    ...callsOf({ ...syscalls }),
  };
}

function callsOf(syscalls: Readonly<Record<string, number>>): Figures {
  const sum = (wanted: (name: string) => boolean): number =>
    Object.entries(syscalls).reduce((all, [name, calls]) => all + (wanted(name) ? calls : 0), 0);
  const kinds = ['mmap', 'munmap', 'mremap', 'brk', 'mprotect'] as const;
  return {
    syscalls: sum(() => true),
    ...Object.fromEntries(kinds.map((kind) => [kind, syscalls[kind] ?? 0])),
    madvise: sum((name) => name.includes('madvise')),
  };
}
