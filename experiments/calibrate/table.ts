/** Measured prices to read: by pages, with their intervals, and against the nominal ones. */
import { curves as curve_infos, curve_names, prices as nominal_prices, referenceOf } from '../../sim/index.ts';
import { paint } from '../color.ts';
import { formatBytes } from '../sizes.ts';
import { type Machine, nameOf } from './machine.ts';
import type { PointRow, PriceDocument, Priced } from './price-file.ts';

const shown_pages = [1, 16, 33, 512, 8192];

export function tableOf(document: PriceDocument): string[] {
  const { machine, runs, left_out, clock, not_measured } = document;
  const { cold_huge_faults, fallen_back_huge_faults } = left_out;
  return [
    machineLine(machine),
    '',
    ...aligned([
      ['price of', ...shown_pages.map((pages) => `${pages} p`), 'to nominal'],
      ...curve_names.flatMap((name) => {
        const points = document.curves[name];
        return points === undefined || curve_infos[name].by === 'ranges of the call' ? [] : [curveLine(name, points)];
      }),
    ]),
    '',
    'a call or a page each, at so many pages in the call or, of touches, in use; median [95 %] over runs',
    ...contentionLines(document),
    ...libraryLines(document),
    `  clock: ${Object.entries(clock)
      .map(([name, { ns }]) => `${name.replace(/_ns$/, '')} ${short(ns)}`)
      .join(', ')}; subtracted`,
    `  ${runs} runs; left out: ${cold_huge_faults} huge faults in cold guest memory, ${fallen_back_huge_faults} that got no huge page`,
    ...Object.entries(not_measured).map(([name, why]) => `  not measured: ${name}: ${why}`),
  ];
}

function machineLine(machine: Machine): string {
  const virtual = machine.virtualised === true ? ', virtual' : '';
  const chosen = /\[(\w+)\]/.exec(machine.thp.enabled)?.[1] ?? machine.thp.enabled;
  return `${paint.bold(nameOf(machine))}, ${formatBytes(machine.memory_bytes)}${virtual}, THP ${chosen}, ${machine.glibc}, id ${machine.id}`;
}

function curveLine(name: (typeof curve_names)[number], points: readonly PointRow[]): string[] {
  const { flat, says } = curve_infos[name];
  const at = (pages: number): PointRow | undefined => points.find(([x]) => x === pages);
  const reference = at(referenceOf(name));
  const ratio =
    flat === null || reference === undefined ? '-' : `x ${(reference[1] / nominal_prices[flat]).toPrecision(2)}`;
  const cell = (point: PointRow | undefined): string =>
    point === undefined ? '-' : `${short(point[1])} [${short(point[2])}, ${short(point[3])}]`;
  return [says, ...shown_pages.map((pages) => cell(at(pages))), ratio];
}

function contentionLines({ contention }: PriceDocument): string[] {
  if (contention === null) return [];
  const range = ({ ns, low, high }: Priced): string => `${short(ns)} [${short(low)}, ${short(high)}]`;
  return Object.entries(contention).map(([call, points]) => {
    const words = points.map(({ pages, beside_adds }) => `${pages} p ${range(beside_adds)}`);
    return `  beside a running thread ${call.replace(/_ns$/, '')} takes more by: ${words.join(', ')}`;
  });
}

function libraryLines({ library }: PriceDocument): string[] {
  const words = Object.entries(library).map(([call, points]) => {
    const sizes = points.map(([bytes, ns]) => `${formatBytes(bytes)} ${short(ns)}`);
    return `${call.replace(/_ns$/, '').replaceAll('_', ' ')}: ${sizes.join(', ')}`;
  });
  return words.map((line) => `  C library, ${line}`);
}

function short(ns: number): string {
  const [value, unit] = Math.abs(ns) < 1000 ? [ns, 'ns'] : Math.abs(ns) < 1e6 ? [ns / 1e3, 'us'] : [ns / 1e6, 'ms'];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

function aligned(lines: readonly (readonly string[])[]): string[] {
  const widths = lines[0].map((_, at) => Math.max(...lines.map((line) => line[at].length)));
  return lines.map(
    ([name, ...cells]) =>
      `  ${name.padEnd(widths[0])}  ${cells.map((cell, at) => cell.padStart(widths[at + 1])).join('  ')}`,
  );
}
