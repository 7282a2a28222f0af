/** What an exporter of a trace's events is: it streams them, in order, to a sink, and lets signals be heard. */
import type { ByteSink } from '../hak.ts';
import type { Trace } from '../trace.ts';

export interface TraceExporter {
  readonly says: string;
  /** `spool` keeps what must wait: `.wl` has a thread's events together. */
  write(trace: Trace, sink: ByteSink, spool: Spool): Promise<void>;
}

/** Bytes put aside, on a disk where there is one. */
export interface Spool {
  append(bytes: Uint8Array): void;
  /** Valid until the next call. */
  read(offset: number, length: number): Uint8Array;
}
