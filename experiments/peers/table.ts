/** A comparison in words, for 120 columns. */
import type { Interval } from '../statistics.ts';
import { textOf } from '../studies/record.ts';
import type { Cell, Ratio, SideBySide } from './side-by-side.ts';
import type { Subject } from './subjects.ts';

const head = [
  'allocator',
  'phase',
  'ns/event',
  '95 % interval',
  'times',
  '95 % interval',
  'faults',
  'calls',
  'peak MiB',
  'mean MiB',
] as const;

/** One table a subject, then who served and what to read with care. */
export function linesOf(
  { cells, ratios }: SideBySide,
  subjects: readonly Subject[],
  { threads, rounds }: { threads: string; rounds: number },
): string[] {
  const tables = subjects.flatMap((subject) => {
    const own = cells.filter((cell) => cell.subject === subject.name);
    const against = ratios.find((ratio) => ratio.subject === subject.name)?.against ?? '';
    const title =
      `${subject.name}: ${subject.events} events on ${threadsOf(subject)} (${threads}), ` +
      `touch ${subject.touch}, ${rounds} rounds; times: against ${against}`;
    return [...textOf({ title, head, rows: own.map((cell) => rowOf(cell, ratios)) }), ''];
  });
  return [...tables, ...servedBy(cells), ...notes(cells)];
}

function threadsOf({ trace }: Subject): string {
  const { threads } = trace.statistics;
  return threads === 1 ? 'one thread' : `${threads} threads`;
}

function rowOf(cell: Cell, ratios: readonly Ratio[]): string[] {
  const ratio = ratios.find(
    ({ subject, phase, allocator }) => subject === cell.subject && phase === cell.phase && allocator === cell.allocator,
  );
  const { syscalls } = cell;
  return [
    `${cell.allocator}${cell.includes_bookkeeping ? ' *' : ''}`,
    cell.phase,
    figure(cell.ns_per_event.median),
    between(cell.ns_per_event, figure),
    ratio === undefined ? '-' : times(ratio.time.median),
    ratio === undefined ? '-' : between(ratio.time, times),
    String(cell.faults),
    syscalls === null ? '-' : String(Object.values(syscalls).reduce((sum, each) => sum + each, 0)),
    mebibytes(cell.resident_peak_bytes),
    mebibytes(cell.resident_mean_bytes),
  ];
}

function servedBy(cells: readonly Cell[]): string[] {
  const names = [...new Set(cells.map(({ allocator }) => allocator))];
  return names.map((name) => {
    const own = cells.filter(({ allocator, phase }) => allocator === name && phase === 'cold');
    const [served, events] = [own.map((cell) => cell.served_events), own.map((cell) => cell.events)].map((all) =>
      all.reduce((sum, each) => sum + each, 0),
    );
    const { library, version } = own[0];
    return `${name}: ${served} of ${events} events served and checked, by ${library}${version === null ? '' : ` (${version})`}`;
  });
}

function notes(cells: readonly Cell[]): string[] {
  const slow = cells.reduce((sum, cell) => sum + cell.slow_huge_faults_discarded, 0);
  return [
    'times: how many times as long; peak and mean: MiB resident above the process before its first event',
    ...(cells.some(({ includes_bookkeeping }) => includes_bookkeeping)
      ? ['*: one thread, one pass, and its time holds the measuring of every touch: an upper bound, not a peer']
      : []),
    ...(slow > 0 ? [`left out: rounds with ${slow} huge faults that waited for the host`] : []),
    ...(cells.some(({ syscalls }) => syscalls === null)
      ? ['calls: -, for this kernel lets nobody count them here (perf_event_open on tracepoints needs root)']
      : []),
  ];
}

/** Three digits, with k, M or G where there were more. */
function figure(ns: number): string {
  const power = ns < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(ns) / 3));
  const value = ns / 1000 ** power;
  return `${value >= 100 ? Math.round(value) : value.toPrecision(3)}${['', 'k', 'M', 'G'][power]}`;
}

function times(ratio: number): string {
  if (ratio < 0.1) return ratio.toPrecision(2);
  return ratio < 100 ? ratio.toFixed(2) : figure(ratio);
}

function between({ low, high }: Interval, word: (value: number) => string): string {
  return `${word(low)}-${word(high)}`;
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
