/** Traces: open any file we can read, write `.hak`, generate. What `import ... from 'hakmem/traces'` gives. */
import { FileSource } from './file.ts';
import { HakTrace } from './hak.ts';
import { type Trace, TraceError } from './trace.ts';

export { TraceBuilder } from './builder.ts';
export { discardUnfinished, FileSource, writeAtomically, writeHak } from './file.ts';
export { type ByteSink, type ByteSource, HakTrace, HakWriter } from './hak.ts';
export { Tally } from './tally.ts';
export * from './trace.ts';

/** Opens a trace of any known format, recognised by its content. Throws TraceError. */
export function open(path: string): Trace {
  const source = new FileSource(path);
  if (source.length === 0) throw new TraceError(path, '', 'an empty file; wanted a trace');
  return new HakTrace(source);
}
