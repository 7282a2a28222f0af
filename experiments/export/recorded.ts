/** `hakmem export TRACE --of trace`: a recording's events in the formats of other tools. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TraceExporter } from '../../traces/exporters/exporter.ts';
import { exporters } from '../../traces/exporters/index.ts';
import { FileSource, Spooled, type Trace, writeAtomically, writeLong } from '../../traces/index.ts';
import { streamOf } from '../../traces/stream.ts';
import { UsageError } from '../command.ts';
import { recordedChrome } from './recorded-chrome.ts';

/** Parquet is written by DuckDB, from the table that `csv` writes. */
const parquet = { says: 'the events as a table, by DuckDB' };

export const recorded_formats: { readonly [format: string]: { readonly says: string } } = {
  ...exporters,
  parquet,
  chrome: recordedChrome,
};

/** Throws UsageError where there is no DuckDB for Parquet, TraceError where the file cannot be written. */
export async function exportRecorded(trace: Trace, format: string, output: string): Promise<number> {
  if (format === 'parquet') await writeParquet(trace, output);
  else await writeWith(format === 'chrome' ? recordedChrome : exporters[format], trace, output);
  return statSync(output).size;
}

function writeWith(exporter: TraceExporter, trace: Trace, output: string): Promise<void> {
  return writeLong(output, async (sink) => {
    const spool = new Spooled(output);
    try {
      await exporter.write(trace, sink, spool);
    } finally {
      spool.discard();
    }
  });
}

const types = {
  event: 'BIGINT',
  time_ns: 'DOUBLE',
  thread: 'BIGINT',
  op: 'VARCHAR',
  block: 'BIGINT',
  size_bytes: 'BIGINT',
  align: 'BIGINT',
  site: 'VARCHAR',
  touched_pages: 'BIGINT',
};

async function writeParquet(trace: Trace, output: string): Promise<void> {
  const { install_duckdb, openDuckdb } = await import('../sweep/duckdb.ts');
  const database = await openDuckdb();
  if (database === null) throw new UsageError(`Parquet needs DuckDB, which is not installed: ${install_duckdb}`);
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-events-'));
  const discard = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', discard);
  try {
    const table = join(folder, 'events.csv');
    const made = join(folder, 'events.parquet');
    await writeWith(exporters.csv, trace, table);
    const columns = Object.entries(types).map(([name, type]) => `'${name}': '${type}'`);
    // One thread, and the order of the rows: the same trace gives the same bytes.
    await database.query('SET threads = 1');
    await database.query(
      `COPY (SELECT * REPLACE (time_ns::BIGINT AS time_ns) FROM read_csv(${quoted(table)}, header = true, columns = {${columns.join(', ')}})) TO ${quoted(made)} (FORMAT parquet)`,
    );
    const source = new FileSource(made);
    writeAtomically(output, (sink) => {
      for (const piece of streamOf(source).pieces()) sink.append(piece);
    });
    source.close();
  } finally {
    database.close();
    discard();
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
