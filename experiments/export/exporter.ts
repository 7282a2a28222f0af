/** What an export is made from, and what each format must be able to do. */
import type { ByteSink, Trace } from '../../traces/index.ts';
import type { CheckLevel } from '../crosscheck.ts';
import type { Chosen } from '../setup.ts';

/** How far the run was checked before it was written. */
export interface RunCheck {
  readonly level: CheckLevel;
  readonly verdict: 'agree' | 'unchecked';
}

export interface ExportRun {
  readonly trace: Trace;
  readonly chosen: Chosen;
  /** That this is a simulated run, of which trace, under which configuration, checked how far: goes into every file. */
  readonly about: { readonly [name: string]: string | number | boolean };
  readonly progress: (events: number) => void;
}

/** One format. It streams to `sink`, so that a trace may be larger than memory, and lets signals be heard. */
export interface Exporter {
  readonly says: string;
  write(run: ExportRun, sink: ByteSink): Promise<void>;
}
