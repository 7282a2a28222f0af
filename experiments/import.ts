/** `hakmem import FILE -o FILE.hak`: another tool's trace as ours. */
import type { Command } from 'commander';
import {
  type Chunk,
  type Columns,
  FileSource,
  HakTrace,
  importers,
  importing,
  type Trace,
  TraceError,
  writeLongHak,
} from '../traces/index.ts';
import { Progress, print, printJson, UsageError, wholeNumber } from './command.ts';

const formats = ['hak', ...importers.map(({ name }) => name)];

export function addImport(program: Command): void {
  program
    .command('import')
    .description("convert another tool's trace, packed or not, to .hak")
    .argument('<file>', 'the trace; its format is recognised by content')
    .requiredOption('-o, --output <file>', 'where to write the .hak file')
    .option('--from <format>', `read it as one of: ${formats.join(' ')}`)
    .option('--seed <n>', 'accepted as everywhere; nothing here is random', wholeNumber(0))
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(importTrace);
}

interface Options {
  readonly output: string;
  readonly from?: string;
  readonly progress?: boolean;
  readonly json?: boolean;
}

async function importTrace(path: string, options: Options): Promise<void> {
  const { from, output } = options;
  if (from !== undefined && !formats.includes(from))
    throw new UsageError(`no format "${from}"; there are ${formats.join(', ')}`);
  const source = new FileSource(path);
  try {
    if (source.length === 0) throw new TraceError(path, '', 'an empty file; wanted a trace');
    const progress = new Progress(`importing ${path}`, options.progress === true);
    const { columns, chunks, origin } = begin(source, from);
    const statistics = await writeLongHak(output, reported(someOf(path, chunks()), progress, 0), columns, origin);
    progress.finish();
    const { format, dropped, notes } = origin();
    if (options.json) printJson({ path, output, format: format ?? 'hak', dropped, notes, ...statistics });
    else
      print(
        `${output}: ${statistics.events} events from ${path} (${format ?? 'hak'}), ${dropped} frees of unknown blocks dropped`,
        ...notes,
      );
  } finally {
    source.close();
  }
}

function begin(source: FileSource, from: string | undefined): ReturnType<typeof importing> {
  const is_hak =
    from === 'hak' || (from === undefined && HakTrace.recognises(source.read(0, Math.min(8, source.length))));
  if (!is_hak) return importing(source, from);
  const trace = new HakTrace(source);
  return { columns: trace.columns, chunks: () => trace.chunks(), origin: () => trace.origin };
}

/** The chunks, of which there must be one. */
export function* someOf(
  path: string,
  chunks: Iterable<Chunk>,
  otherwise = 'no allocation and no free in it; wanted a trace',
): Generator<Chunk> {
  let events = 0;
  for (const chunk of chunks) {
    events += chunk.length;
    yield chunk;
  }
  if (events === 0) throw new TraceError(path, '', otherwise);
}

/** The optional columns that a trace has. */
export function columnsOf(trace: Trace): Columns {
  if (trace instanceof HakTrace) return trace.columns;
  const { origin, statistics } = trace;
  return { time: origin.has_time, sites: origin.has_sites, touch: statistics.large_blocks_touched > 0 };
}

/** The trace, counted by `progress` each time it is read. */
export function watched(trace: Trace, progress: Progress): Trace {
  const { path, origin, statistics } = trace;
  return { path, origin, statistics, chunks: () => reported(trace.chunks(), progress, statistics.events) };
}

/** The chunks, counted by `progress` as they go by. `total` 0 where it is not known. */
export function* reported(chunks: Iterable<Chunk>, progress: Progress, total: number): Generator<Chunk> {
  for (const chunk of chunks) {
    yield chunk;
    progress.update(chunk.first_event + chunk.length, total);
  }
}
