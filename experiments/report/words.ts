/** Numbers as the page says them: with their unit, short, and the same everywhere. */
import { type Param, params } from '../../sim/index.ts';
import { formatBytes } from '../sizes.ts';
import type { Cell } from '../sweep/row.ts';

/** "12.3 ms", "640 ns", "1.93 s". */
export function formatNs(ns: number): string {
  if (ns < 1000) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${short(ns / 1e3)} µs`;
  if (ns < 1e9) return `${short(ns / 1e6)} ms`;
  return `${short(ns / 1e9)} s`;
}

/** "1,234,567". */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** Three significant digits, in full: "0.587", "12.3", "1234". */
export function short(value: number): string {
  if (Math.abs(value) >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

/** What became of `before`: "-12.3 %", "+4 %", "the same". */
export function formatChange(before: number, after: number): string {
  if (before === after) return 'the same';
  if (before === 0) return 'from nothing';
  const percent = (100 * (after - before)) / before;
  const size = Math.abs(percent);
  const words = size >= 10 ? size.toFixed(0) : size >= 0.1 ? size.toFixed(1) : 'under 0.1';
  return `${percent < 0 ? '\u2212' : '+'}${words} %`;
}

/** A parameter's value for people: bytes with their unit. */
export function formatValue(name: string, value: Cell): string {
  const unit = name in params ? (params as Record<string, Param>)[name].unit : 'word';
  return unit === 'bytes' && typeof value === 'number' ? formatBytes(value) : String(value);
}

/** A parameter's value for the command line: exact, and short where it can be. */
export function spellValue(name: string, value: Cell): string {
  const words = formatValue(name, value).replace(' ', '');
  return /^\d+(?:[KMGT]iB|B)?$/.test(words) ? words.replace(/(?<=\d)B$/, '') : String(value);
}
