/** What the model of an allocator that people run offers to whoever replays a trace over it. */
import type { Meter } from './meter.ts';

export interface Peer {
  /** What the last event took. */
  readonly meter: Meter;
  /** Whole, of all its heaps and mappings; what the process had before the trace is left out. */
  readonly resident_pages: number;
  readonly mapped_pages: number;
  /** Of the last block allocated: a number that is equal wherever the allocator placed it alike, for the digest. */
  readonly placed: number;
  /** Serves one event, `kind` and columns as traces have them; times never decrease. Throws ModelLimit. */
  run(
    kind: number,
    thread: number,
    object: number,
    size_bytes: number,
    align: number,
    touched_pages: number,
    time_ns: number,
  ): void;
}

/**
 * Time as a replay has it that does not wait where the program did, for models that are held to such a replay. Without
 * one a model goes by the trace's own time.
 */
export interface Clock {
  /** From the start of the process to the first event. */
  readonly start_ns: number;
  /** What an event takes, and beyond that each of its faults and system calls. */
  readonly event_ns: number;
  readonly fault_ns: number;
  readonly call_ns: number;
}

/** A trace goes beyond what the model holds, so that it says nothing rather than something wrong. */
export class ModelLimit extends Error {
  override name = 'ModelLimit';
}

/** Goes by a clock, event for event. */
export class Stopwatch {
  private readonly clock: Clock;
  private now_ns: number;

  constructor(clock: Clock) {
    this.clock = clock;
    this.now_ns = clock.start_ns;
  }

  /** When the next event begins; `meter` says what the last one took. */
  next(meter: Meter): number {
    const { event_ns, fault_ns, call_ns } = this.clock;
    this.now_ns += event_ns + (meter.faults + meter.zero_faults) * fault_ns + meter.calls * call_ns;
    return this.now_ns;
  }
}
