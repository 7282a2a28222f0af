/** Measured prices to read: by pages, with their intervals, and against the nominal ones. */
import {
  type CurveName,
  curves as curve_infos,
  curve_names,
  prices as nominal_prices,
  type PriceName,
  referenceOf,
} from '../../sim/index.ts';
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
      ['pages', ...shown_pages.map(String), 'to nominal'],
      ...curve_names.flatMap((name) => {
        const points = document.curves[name];
        return points === undefined || curve_infos[name].by === 'ranges of the call' ? [] : [curveLine(name, points)];
      }),
    ]),
    '',
    'a call or a page each, by the pages of the call or, of touches, in use; median of runs [95 %]; docs/PRICES.md',
    ...contentionLines(document),
    ...libraryLines(document),
    `  clock: ${Object.entries(clock)
      .map(([name, { ns }]) => `${name.replace(/_ns$/, '')} ${short(ns)}`)
      .join(', ')}; subtracted`,
    `  ${runs} runs; left out: ${cold_huge_faults} huge faults in cold guest memory, ${fallen_back_huge_faults} that got no huge page`,
    ...busyLines(document),
    ...Object.entries(not_measured).map(([name, why]) => `  not measured: ${name}: ${why}`),
  ];
}

function machineLine(machine: Machine): string {
  const virtual = machine.virtualised === true ? ', virtual' : '';
  const chosen = /\[(\w+)\]/.exec(machine.thp.enabled)?.[1] ?? machine.thp.enabled;
  return `${paint.bold(nameOf(machine))}, ${formatBytes(machine.memory_bytes)}${virtual}, THP ${chosen}, ${machine.glibc}, id ${machine.id}`;
}

function curveLine(name: CurveName, points: readonly PointRow[]): string[] {
  const at = (pages: number): PointRow | undefined => points.find(([x]) => x === pages);
  const reference = at(referenceOf(name));
  // What is not a price of its own has no nominal one, only another that stands for it.
  const ratio =
    curve_infos[name].flat !== name || reference === undefined
      ? '-'
      : `x ${Number((reference[1] / nominal_prices[name as PriceName]).toPrecision(2))}`;
  const cell = (point: PointRow | undefined): string =>
    point === undefined ? '-' : range({ ns: point[1], low: point[2], high: point[3] });
  return [name.replace(/_ns$/, ''), ...shown_pages.map((pages) => cell(at(pages))), ratio];
}

/** From so much on, page-wise TLB flushes and intervals are not those of a quiet machine. */
const busy_from = 0.1;

function busyLines({ others_busy }: PriceDocument): string[] {
  if (others_busy === null || others_busy < busy_from) return [];
  return [
    paint.yellow(
      `  other work kept the other CPUs busy ${Math.round(100 * others_busy)} % of the time: a quiet machine is cheaper`,
    ),
  ];
}

function contentionLines({ contention }: PriceDocument): string[] {
  if (contention === null) return [];
  return Object.entries(contention).map(([call, points]) => {
    const words = points.map(({ pages, beside_adds }) => `${pages} p ${range(beside_adds)}`);
    return `  while another thread runs, ${call.replace(/_ns$/, '')} takes more by: ${words.join(', ')}`;
  });
}

function libraryLines({ library }: PriceDocument): string[] {
  const words = Object.entries(library).map(([call, points]) => {
    const sizes = points.map(([bytes, ns]) => `${formatBytes(bytes)} ${short(ns)}`);
    return `${call.replace(/_ns$/, '').replaceAll('_', ' ')}: ${sizes.join(', ')}`;
  });
  return words.map((line) => `  C library, ${line}`);
}

/** "2.08 us [2.07, 2.14]": all in the unit of the middle. */
function range({ ns, low, high }: Priced): string {
  const [divisor] = unitOf(ns);
  return `${short(ns)} [${[low, high].map((end) => Number((end / divisor).toPrecision(3))).join(', ')}]`;
}

function short(ns: number): string {
  const [divisor, unit] = unitOf(ns);
  return `${Number((ns / divisor).toPrecision(3))} ${unit}`;
}

function unitOf(ns: number): readonly [number, string] {
  return Math.abs(ns) < 1e3 ? [1, 'ns'] : Math.abs(ns) < 1e6 ? [1e3, 'us'] : [1e6, 'ms'];
}

function aligned(lines: readonly (readonly string[])[]): string[] {
  const widths = lines[0].map((_, at) => Math.max(...lines.map((line) => line[at].length)));
  return lines.map(
    ([name, ...cells]) =>
      `  ${name.padEnd(widths[0])}  ${cells.map((cell, at) => cell.padStart(widths[at + 1])).join('  ')}`,
  );
}
