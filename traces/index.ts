/** Traces: open any file we can read, write `.hak`, generate. What `import ... from 'hakmem/traces'` gives. */
import { FileSource } from './file.ts';
import { HakTrace } from './hak.ts';
import { ImportedTrace } from './imported.ts';
import { type Trace, TraceError } from './trace.ts';

export { TraceBuilder } from './builder.ts';
export type { Spool, TraceExporter } from './exporters/exporter.ts';
export { exporters } from './exporters/index.ts';
export {
  discardUnfinished,
  FileSource,
  Spooled,
  sha256OfFile,
  writeAtomically,
  writeHak,
  writeLong,
  writeLongHak,
} from './file.ts';
export { type ByteSink, type ByteSource, HakTrace, HakWriter } from './hak.ts';
export type { Columns, Importer, Importing } from './importer.ts';
export { importers, importing } from './importers.ts';
export { interruptible } from './interruptible.ts';
export { Profile, type SiteUse } from './profile.ts';
export type { GenerateOptions } from './stage.ts';
export { SyntheticTrace, scenario_names } from './synthetic.ts';
export { Tally } from './tally.ts';
export * from './trace.ts';

/** Opens a trace of any known format, recognised by its content unless `format` says. Throws TraceError. */
export function open(path: string, format?: string): Trace {
  const source = new FileSource(path);
  try {
    if (source.length === 0) throw new TraceError(path, '', 'an empty file; wanted a trace');
    const start = source.read(0, Math.min(8, source.length));
    if (format === 'hak' || (format === undefined && HakTrace.recognises(start))) return new HakTrace(source);
    return new ImportedTrace(source, format);
  } catch (error) {
    source.close();
    throw error;
  }
}
