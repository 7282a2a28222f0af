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

/** Time that passes with events alone, for models that are held to such a replay. Without one they go by the trace's own. */
export interface Clock {
  readonly start_ns: number;
  readonly event_ns: number;
}

/** A trace goes beyond what the model holds, so that it says nothing rather than something wrong. */
export class ModelLimit extends Error {
  override name = 'ModelLimit';
}
