/** Result files: rows as Parquet, NDJSON or CSV, whole or not at all, and the measured figures beside them. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TraceError, writeAtomically } from '../../traces/index.ts';
import { UsageError } from '../command.ts';
import { type Database, install_duckdb, openDuckdb, quoted } from './duckdb.ts';
import type { Cell, Measured, Row } from './row.ts';

export const result_formats = ['parquet', 'ndjson', 'csv'] as const;
export type ResultFormat = (typeof result_formats)[number];

/** By the file's name. Throws UsageError. */
export function formatOf(path: string): ResultFormat {
  const found = result_formats.find((format) => path.endsWith(`.${format}`));
  if (found === undefined)
    throw new UsageError(`${path}: not a result file; wanted a name that ends with .parquet, .ndjson or .csv`);
  return found;
}

/** The rows of a .ndjson or .parquet file. Throws UsageError. */
export async function readRows(path: string): Promise<Row[]> {
  if (!existsSync(path)) throw new UsageError(`${path}: no such file`);
  switch (formatOf(path)) {
    case 'parquet':
      return withDuckdb(
        path,
        async (database) => (await database.query(`FROM read_parquet(${quoted(path)})`)).rows as Row[],
      );
    case 'ndjson':
      return readLines<Row>(path);
    case 'csv':
      throw new UsageError(`${path}: CSV has lost its types; wanted .parquet or .ndjson`);
  }
}

/** The figures that real kernels showed for the rows of `path`: none where none were measured. */
export function readMeasured(path: string): Measured[] {
  const side = measuredPath(path);
  return existsSync(side) ? readLines<Measured>(side) : [];
}

/**
 * Writes the rows as `path` names it, and says where they are: beside, as NDJSON, where Parquet was wanted and there is no
 * DuckDB. Throws TraceError where the file cannot be written.
 */
export async function writeRows(path: string, rows: readonly Row[]): Promise<string> {
  switch (formatOf(path)) {
    case 'ndjson':
      return writeText(path, linesOf(rows));
    case 'csv':
      return writeText(path, csvOf(rows));
    case 'parquet': {
      const database = await openDuckdb();
      if (database === null) return writeText(path.replace(/parquet$/, 'ndjson'), linesOf(rows));
      try {
        await writeParquet(database, path, rows);
      } finally {
        database.close();
      }
      return path;
    }
  }
}

/** The side file; there is none where nothing was measured. */
export function writeMeasured(path: string, measured: readonly Measured[]): void {
  if (measured.length > 0) writeText(measuredPath(path), linesOf(measured));
  else rmSync(measuredPath(path), { force: true });
}

export const measuredPath = (path: string): string => `${path}.measured.ndjson`;

/** Columns and their DuckDB types, from the rows: those that are shares or means stay DOUBLE whatever they hold. */
export function columnTypes(rows: readonly Row[]): Map<string, string> {
  const types = new Map<string, string>();
  for (const row of rows)
    for (const [name, value] of Object.entries(row)) types.set(name, widest(types.get(name), typeOf(name, value)));
  for (const [name, type] of types) if (type === 'NULL') types.set(name, 'VARCHAR');
  return types;
}

const ranks = ['NULL', 'BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR'];

function typeOf(name: string, value: Cell): string {
  if (value === null) return 'NULL';
  if (typeof value === 'boolean') return 'BOOLEAN';
  if (typeof value === 'string') return 'VARCHAR';
  return Number.isSafeInteger(value) && !/^score_|_mean_/.test(name) ? 'BIGINT' : 'DOUBLE';
}

function widest(a: string | undefined, b: string): string {
  return a === undefined || ranks.indexOf(b) > ranks.indexOf(a) ? b : a;
}

async function writeParquet(database: Database, path: string, rows: readonly Row[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-rows-'));
  const discard = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', discard);
  try {
    const lines = join(folder, 'rows.ndjson');
    const parquet = join(folder, 'rows.parquet');
    const types = columnTypes(rows);
    const columns = [...types].map(([name, type]) => `${quoted(name)}: ${quoted(type)}`).join(', ');
    writeFileSync(lines, linesOf(rows));
    // One thread: the same rows give the same bytes.
    await database.query('SET threads = 1');
    await database.query(
      rows.length === 0
        ? `COPY (SELECT NULL::VARCHAR AS trace WHERE false) TO ${quoted(parquet)} (FORMAT parquet)`
        : `COPY (FROM read_json(${quoted(lines)}, format = 'newline_delimited', columns = {${columns}})) TO ${quoted(parquet)} (FORMAT parquet, COMPRESSION zstd)`,
    );
    const bytes = readFileSync(parquet);
    writeAtomically(path, (sink) => sink.append(bytes));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === undefined ? error : new TraceError(folder, '', `cannot be written: ${message}`);
  } finally {
    discard();
    process.off('exit', discard);
  }
}

async function withDuckdb<T>(path: string, use: (database: Database) => Promise<T>): Promise<T> {
  const database = await openDuckdb();
  if (database === null)
    throw new UsageError(`${path}: reading Parquet needs DuckDB, which is not installed: ${install_duckdb}`);
  try {
    return await use(database);
  } finally {
    database.close();
  }
}

function writeText(path: string, text: string): string {
  writeAtomically(path, (sink) => sink.append(Buffer.from(text)));
  return path;
}

const linesOf = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

function readLines<T>(path: string): T[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line, at) => {
      if (line === '') return [];
      try {
        return [JSON.parse(line) as T];
      } catch {
        throw new UsageError(`${path}: line ${at + 1}: not JSON; wanted one row a line`);
      }
    });
}

function csvOf(rows: readonly Row[]): string {
  const columns = [...columnTypes(rows).keys()];
  const cell = (value: Cell | undefined): string => {
    const text = value === null || value === undefined ? '' : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows.map((row) => columns.map((name) => row[name] ?? null))]
    .map((line) => `${line.map(cell).join(',')}\n`)
    .join('');
}
