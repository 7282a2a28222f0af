/** `hakmem query "SQL"`: DuckDB over result and trace files. */
import type { Command } from 'commander';
import { print, printJson, UsageError, wholeNumber } from './command.ts';
import type { Table, Value } from './sweep/duckdb.ts';

export function addQuery(program: Command): void {
  program
    .command('query')
    .description("SQL over result files: SELECT ... FROM read_parquet('FILE')")
    .argument('<sql>', 'one or more statements; the result of the last is shown')
    .option('--seed <n>', 'accepted as everywhere; nothing here is random', wholeNumber(0))
    .option('--json', 'print one JSON document: { "rows": [{column: value}...] }')
    .action(query);
}

async function query(sql: string, options: { readonly json?: boolean }): Promise<void> {
  const { install_duckdb, openDuckdb } = await import('./sweep/duckdb.ts');
  const database = await openDuckdb();
  if (database === null) throw new UsageError(`query needs DuckDB, which is not installed: ${install_duckdb}`);
  try {
    const table = await database.query(sql);
    if (options.json) printJson({ rows: table.rows });
    else print(...textOf(table));
  } finally {
    database.close();
  }
}

/** Columns side by side: numbers to the right, words to the left. */
function textOf({ columns, rows }: Table): string[] {
  const lines = [[...columns], ...rows.map((row) => columns.map((name) => spelled(row[name])))];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => line[at].length)));
  const right = columns.map((name) => rows.every((row) => row[name] === null || typeof row[name] === 'number'));
  return lines.map((line) =>
    line
      .map((text, at) => (right[at] ? text.padStart(widths[at]) : text.padEnd(widths[at])))
      .join('  ')
      .trimEnd(),
  );
}

function spelled(value: Value): string {
  if (value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
