/** All rows as columns, for the page's table: what is the same in every row is said once. */
import type { Cell, Row } from '../sweep/row.ts';
import type { Axis } from './swept.ts';

/** A column of few different values is a list of them and an index a row. */
export type Column =
  | { readonly name: string; readonly shown: boolean; readonly cells: readonly Cell[] }
  | { readonly name: string; readonly shown: boolean; readonly words: readonly Cell[]; readonly at: readonly number[] };

export interface Columns {
  readonly rows: number;
  readonly columns: readonly Column[];
  readonly constant: { readonly [name: string]: Cell };
  /** Rows that are a trace's best. */
  readonly best: readonly number[];
}

const first_shown = [
  'score_total',
  'time_total_ns',
  'faults',
  'huge_faults',
  'resident_peak_bytes',
  'heap_resident_peak_bytes',
  'checked',
  'verdict',
  'violation',
];

export function columnsOf(rows: readonly Row[], best: readonly Row[], axes: readonly Axis[]): Columns {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const shown = ['trace', ...axes.map(({ name }) => name), ...first_shown];
  const ordered = [...shown.filter((name) => names.includes(name)), ...names.filter((name) => !shown.includes(name))];
  const constant: Record<string, Cell> = {};
  const columns: Column[] = [];
  for (const name of ordered) {
    const cells = rows.map((row) => row[name] ?? null);
    const words = [...new Set(cells)];
    if (words.length === 1 && !(rows.length === 1 && shown.includes(name))) constant[name] = words[0];
    else columns.push({ name, shown: shown.includes(name), ...packed(cells, words) });
  }
  return { rows: rows.length, columns, constant, best: best.map((row) => rows.indexOf(row)) };
}

function packed(cells: readonly Cell[], words: readonly Cell[]) {
  if (words.length > cells.length / 3) return { cells };
  const index = new Map(words.map((word, at) => [word, at]));
  return { words, at: cells.map((cell) => index.get(cell)!) };
}
