/** Time against memory: every row a dot, and the rows that no other beats in both. */

import { formatBytes } from '../sizes.ts';
import type { Row } from '../sweep/row.ts';
import type { Html } from './html.ts';
import { figure, font, ink, Plot } from './plot.ts';
import { memoryOf } from './subjects.ts';
import { formatNs } from './words.ts';

const MiB = 2 ** 20;
const time_ms = (row: Row): number => Number(row.time_total_ns) / 1e6;
const memory_mib = (row: Row): number => memoryOf(row) / MiB;

/** Fastest first. Of rows alike in both, the one with the better score stands for all: rows come best first. */
export function frontOf(rows: readonly Row[]): Row[] {
  const sorted = rows
    .filter(({ violation }) => violation === null)
    .sort((a, b) => Number(a.time_total_ns) - Number(b.time_total_ns) || memoryOf(a) - memoryOf(b));
  const front: Row[] = [];
  for (const row of sorted)
    if (front.length === 0 || memoryOf(row) < memoryOf(front[front.length - 1])) front.push(row);
  return front;
}

/** A, B, ... Z, AA: how the figure and its list name a point of the front. */
export function letterOf(at: number): string {
  return at < 26 ? String.fromCharCode(65 + at) : letterOf(Math.floor(at / 26) - 1) + letterOf(at % 26);
}

/** Beyond so many, letters would lie on each other. */
const letters_max = 12;

export function paretoFigure(
  id: string,
  rows: readonly Row[],
  front: readonly Row[],
  best: Row,
  base: Row | null,
): Html {
  const behind = distinct(rows.filter((row) => !front.includes(row)));
  const step = Math.max(1, Math.ceil(front.length / letters_max));
  const lettered = front.map((row, at) => ({ row, letter: letterOf(at) })).filter((_, at) => at % step === 0);
  return figure({
    id,
    title: 'time against memory',
    says:
      `${rows.length} rows; ${front.length} are not beaten in both. From fastest to smallest: ` +
      `${lettered.map(({ row, letter }) => `${letter} ${formatNs(Number(row.time_total_ns))} and ${formatBytes(memoryOf(row))}`).join('; ')}.`,
    plot: {
      width: 500,
      height: 360,
      marginLeft: 62,
      marginRight: 30,
      marginTop: 28,
      marginBottom: 44,
      style: font,
      x: { label: 'resident at the most, heap included, MiB', nice: true, labelAnchor: 'center', labelArrow: 'none' },
      y: { label: 'time, ms', nice: true },
      marks: [
        Plot.gridY({ stroke: ink.grid, strokeOpacity: 1 }),
        Plot.gridX({ stroke: ink.grid, strokeOpacity: 1 }),
        Plot.dot(behind, { x: memory_mib, y: time_ms, r: 2.5, fill: ink.rest, fillOpacity: 0.5 }),
        Plot.line(front, { x: memory_mib, y: time_ms, stroke: ink.best, curve: 'step-before', strokeWidth: 1.5 }),
        Plot.dot(front, { x: memory_mib, y: time_ms, r: 4, fill: ink.best, title: tip }),
        Plot.dot([best], { x: memory_mib, y: time_ms, r: 8, stroke: ink.best, strokeWidth: 1.5 }),
        Plot.text(lettered, {
          x: ({ row }: { row: Row }) => memory_mib(row),
          y: ({ row }: { row: Row }) => time_ms(row),
          text: 'letter',
          dx: 9,
          dy: -10,
          fontWeight: 600,
          fill: 'currentColor',
          stroke: ink.ground,
          strokeWidth: 3,
        }),
        ...(base === null
          ? []
          : [
              Plot.dot([base], { x: memory_mib, y: time_ms, r: 5, symbol: 'diamond', fill: ink.bound, title: tip }),
              Plot.text([base], {
                x: memory_mib,
                y: time_ms,
                text: () => 'default',
                dy: 14,
                fill: 'currentColor',
                stroke: ink.ground,
                strokeWidth: 3,
              }),
            ]),
      ],
    },
  });
}

const tip = (row: Row): string => `${formatNs(Number(row.time_total_ns))}, ${formatBytes(memoryOf(row))}`;

/** One dot a place: thousands of rows decide alike. */
function distinct(rows: readonly Row[]): Row[] {
  return [...new Map(rows.map((row) => [`${row.time_total_ns} ${memoryOf(row)}`, row])).values()];
}
