/** What was swept: the parameters whose value varies, their values in order, and how much they matter. */
import { type Param, type ParamName, param_names, params } from '../../sim/index.ts';
import type { Cell, Row } from '../sweep/row.ts';
import type { Subject } from './subjects.ts';
import { formatValue } from './words.ts';

export interface Axis {
  readonly name: string;
  /** In order, smallest first; where there are many, they stand together in bins. */
  readonly values: readonly { readonly words: string; readonly low: Cell; readonly high: Cell }[];
  /** Index into `values`. */
  of(row: Row): number;
  /** Share of the rows' variation in score that their value explains, on average over the subjects: 0 to 1. */
  readonly influence: number;
}

/** More values than this are put together, so that a figure stays readable and a bin has rows enough. */
export const values_max = 16;

/** The most influential first. */
export function axesOf(subjects: readonly Subject[]): Axis[] {
  const rows = subjects.flatMap((subject) => subject.rows);
  const modes = new Set(rows.map(({ mode }) => mode)).size > 1;
  const names = [...(modes ? ['mode'] : []), ...param_names.filter((name) => varies(rows, name, modes))];
  return names.map((name) => axisOf(name, rows, subjects)).sort((a, b) => b.influence - a.influence);
}

/** Modes set parameters too: what the mode alone decides is no parameter that was swept. */
function varies(rows: readonly Row[], name: ParamName, modes: boolean): boolean {
  const by_mode = new Map<Cell, Cell>();
  for (const row of rows) {
    const key = modes ? row.mode : null;
    if (by_mode.has(key) && by_mode.get(key) !== row[name]) return true;
    by_mode.set(key, row[name]);
  }
  return false;
}

function axisOf(name: string, rows: readonly Row[], subjects: readonly Subject[]): Axis {
  const values = [...new Set(rows.map((row) => row[name]))].sort(order(name));
  const bins = values.length <= values_max ? values.map((value) => [value]) : binned(values);
  const index = new Map(bins.flatMap((bin, at) => bin.map((value) => [value, at] as const)));
  const of = (row: Row): number => index.get(row[name])!;
  return {
    name,
    of,
    values: bins.map((bin) => {
      const [low, high] = [bin[0], bin[bin.length - 1]];
      const words = low === high ? formatValue(name, low) : `${formatValue(name, low)} to ${formatValue(name, high)}`;
      return { words, low, high };
    }),
    influence: subjects.reduce((sum, each) => sum + explained(each.rows, of), 0) / subjects.length,
  };
}

/** Numbers by size, words as the spec has them. */
function order(name: string): (a: Cell, b: Cell) => number {
  const { words }: Partial<Param> = name in params ? params[name as ParamName] : {};
  const rank = (value: Cell): number => (words === undefined ? Number(value) : words.indexOf(String(value)));
  return name === 'mode' ? (a, b) => (String(a) < String(b) ? -1 : 1) : (a, b) => rank(a) - rank(b);
}

function binned(values: readonly Cell[]): Cell[][] {
  return Array.from({ length: values_max }, (_, at) =>
    values.slice(Math.floor((at * values.length) / values_max), Math.floor(((at + 1) * values.length) / values_max)),
  );
}

/** Variance between the groups over the variance of all. */
function explained(rows: readonly Row[], of: (row: Row) => number): number {
  const mean = (list: readonly number[]): number => list.reduce((sum, each) => sum + each, 0) / list.length;
  const scores = rows.map((row) => Number(row.score_total));
  const centre = mean(scores);
  const all = mean(scores.map((each) => (each - centre) ** 2));
  if (!(all > 0)) return 0;
  const groups = new Map<number, number[]>();
  rows.forEach((row, at) => {
    const group = groups.get(of(row));
    if (group === undefined) groups.set(of(row), [scores[at]]);
    else group.push(scores[at]);
  });
  const between = [...groups.values()].reduce((sum, group) => sum + group.length * (mean(group) - centre) ** 2, 0);
  return between / rows.length / all;
}
