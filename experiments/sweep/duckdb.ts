/** DuckDB in memory, where it is installed: it is optional, 70 MB, and nothing but Parquet and SQL needs it. */
import { UsageError } from '../command.ts';

export type Value = number | string | boolean | null | readonly Value[] | { readonly [name: string]: Value };

export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly { readonly [column: string]: Value }[];
}

/** A connection of its own to an empty database. */
export interface Database {
  /** Runs SQL to its end; the last statement's result. Throws UsageError with DuckDB's words. */
  query(sql: string): Promise<Table>;
  close(): void;
}

/** The command that installs it, for messages. */
export const install_duckdb = 'npm install --no-save @duckdb/node-api@1.5.5-r.5';

/** Null where DuckDB is not installed, or not for this machine. */
export async function openDuckdb(): Promise<Database | null> {
  const duckdb = await load();
  if (duckdb === null) return null;
  const instance = await duckdb.DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  return {
    query: async (sql) => {
      let result: Reader;
      try {
        result = await connection.runAndReadAll(sql);
      } catch (error) {
        throw new UsageError(`DuckDB: ${(error as Error).message.trim()}`);
      }
      const columns = result.deduplicatedColumnNames();
      const rows = result
        .getRowsJS()
        .map((row) => Object.fromEntries(columns.map((name, at) => [name, plain(row[at])])));
      return { columns, rows };
    },
    close: () => {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

/** A path as an SQL text. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** What JSON can say: whole numbers as numbers where they are exact, else as text; times as ISO 8601. */
function plain(value: unknown): Value {
  if (value === undefined || value === null) return null;
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
  return String(value);
}

/** The little of @duckdb/node-api that is used: its own types are not there where it is not installed. */
interface Reader {
  deduplicatedColumnNames(): string[];
  getRowsJS(): unknown[][];
}
interface Duckdb {
  readonly DuckDBInstance: {
    create(path: string): Promise<{
      connect(): Promise<{ runAndReadAll(sql: string): Promise<Reader>; closeSync(): void }>;
      closeSync(): void;
    }>;
  };
}

async function load(): Promise<Duckdb | null> {
  // A name that the compiler does not follow: it must compile where the package is missing.
  const name: string = '@duckdb/node-api';
  try {
    return (await import(name)) as Duckdb;
  } catch {
    return null;
  }
}
