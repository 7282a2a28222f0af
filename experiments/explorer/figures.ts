/** The figures of a replay that the page shows, a line each, and how they are written. */
import type { Outcome } from '../../sim/index.ts';
import { formatBytes } from '../sizes.ts';

export type FigureUnit = 'ns' | 'bytes' | 'count' | 'share';

export interface Figure {
  /** A field of the result document. */
  readonly name: string;
  readonly label: string;
  readonly unit: FigureUnit;
  /** False where more is neither better nor worse. */
  readonly less_is_better: boolean;
  of(outcome: Outcome): number | null;
}

export interface FigureGroup {
  readonly title: string;
  readonly figures: readonly Figure[];
}

const sum = (values: object): number => Object.values(values).reduce((total: number, each: number) => total + each, 0);

export const figure_groups: readonly FigureGroup[] = [
  {
    title: 'Cost',
    figures: [
      cost('time_ns.total', 'time, nominal prices', 'ns', ({ time_ns }) => time_ns.total),
      cost('time_ns.allocate', 'allocating', 'ns', ({ time_ns }) => time_ns.allocate),
      cost('time_ns.free', 'freeing', 'ns', ({ time_ns }) => time_ns.free),
      cost('time_ns.fault', 'page faults', 'ns', ({ time_ns }) => time_ns.fault),
      cost('latency_ns.p50', 'an event, median', 'ns', ({ latency_ns }) => latency_ns.p50),
      cost('latency_ns.p99', 'an event, 99th percentile', 'ns', ({ latency_ns }) => latency_ns.p99),
      cost('latency_ns.max', 'an event, longest', 'ns', ({ latency_ns }) => latency_ns.max),
      cost('score.total', 'score', 'share', ({ score }) => score.total),
      cost('score.cpu', 'score: time', 'share', ({ score }) => score.cpu),
      cost('score.faults', 'score: faults', 'share', ({ score }) => score.faults),
      cost('score.memory', 'score: memory', 'share', ({ score }) => score.memory),
    ],
  },
  {
    title: 'Page faults',
    figures: [
      cost('faults', 'mapped blocks', 'count', ({ faults }) => faults),
      does('huge_faults', 'of them huge', ({ huge_faults }) => huge_faults),
      cost('heap.faults', 'heap path, by its ledger', 'count', ({ heap }) => heap.faults),
    ],
  },
  {
    title: 'System calls',
    figures: [
      cost('syscalls', 'all', 'count', ({ syscalls }) => sum(syscalls)),
      does('syscalls.mmap', 'mmap', ({ syscalls }) => syscalls.mmap),
      does('syscalls.munmap', 'munmap', ({ syscalls }) => syscalls.munmap),
      does('syscalls.madvise_dontneed', 'MADV_DONTNEED', ({ syscalls }) => syscalls.madvise_dontneed),
      does('syscalls.madvise_free', 'MADV_FREE', ({ syscalls }) => syscalls.madvise_free),
      does('syscalls.madvise_hugepage', 'MADV_HUGEPAGE', ({ syscalls }) => syscalls.madvise_hugepage),
      does('syscalls.madvise_nohugepage', 'MADV_NOHUGEPAGE', ({ syscalls }) => syscalls.madvise_nohugepage),
      does('syscalls.process_madvise', 'process_madvise', ({ syscalls }) => syscalls.process_madvise),
    ],
  },
  {
    title: 'Memory',
    figures: [
      cost('resident_bytes.mean', 'resident, mean', 'bytes', ({ resident_bytes }) => resident_bytes.mean),
      cost('resident_bytes.peak', 'resident, peak', 'bytes', ({ resident_bytes }) => resident_bytes.peak),
      cost('resident_bytes.end', 'resident, end', 'bytes', ({ resident_bytes }) => resident_bytes.end),
      cost('mapped_bytes.peak', 'mapped, peak', 'bytes', ({ mapped_bytes }) => mapped_bytes.peak),
      cost('mapped_bytes.end', 'mapped, end', 'bytes', ({ mapped_bytes }) => mapped_bytes.end),
      cost('heap.resident_peak_bytes', 'heap path, peak', 'bytes', ({ heap }) => heap.resident_peak_bytes),
      cost('areas.peak', 'areas (VMAs), peak', 'count', ({ areas }) => areas.peak),
    ],
  },
  {
    title: 'What the policy did',
    figures: [
      does('bigcache.hits', 'BigCache hits', ({ bigcache }) => bigcache.hits),
      does('bigcache.misses', 'BigCache misses', ({ bigcache }) => bigcache.misses),
      does('bigcache.evictions', 'BigCache evictions', ({ bigcache }) => bigcache.evictions),
      does('batch.added', 'batched frees', ({ batch }) => batch.added),
      does('batch.withdrawn', 'taken back from the batch', ({ batch }) => batch.withdrawn),
      does('batch.flushes', 'batch flushes', ({ batch }) => batch.flushes),
      does('thermal.hot', 'hot frees', ({ thermal }) => thermal.hot),
      does('thermal.warm', 'warm frees', ({ thermal }) => thermal.warm),
      does('thermal.cold', 'cold frees', ({ thermal }) => thermal.cold),
      does('kept.reused', 'kept blocks used again', ({ kept }) => kept.reused),
    ],
  },
];

const figures = new Map(figure_groups.flatMap((group) => group.figures.map((each) => [each.name, each] as const)));

export function figureNamed(name: string): Figure {
  return figures.get(name)!;
}

export function write(value: number | null, unit: FigureUnit): string {
  if (value === null) return 'unknown';
  if (unit === 'bytes') return formatBytes(Math.round(value));
  if (unit === 'ns') return writeNs(value);
  return unit === 'share' ? value.toFixed(3) : writeCount(value);
}

export function writeCount(value: number): string {
  return value.toLocaleString('en-US');
}

/** With its sign: "+1.2 MiB", "−3", "0". */
export function writeChange(change: number, unit: FigureUnit): string {
  if (change === 0) return '0';
  return `${change > 0 ? '+' : '\u2212'}${write(Math.abs(change), unit)}`;
}

export function writePercent(a: number, b: number): string {
  if (a === b) return '0\u00a0%';
  if (a === 0) return 'new';
  const percent = (100 * (b - a)) / a;
  const size = Math.abs(percent);
  return `${percent > 0 ? '+' : '\u2212'}${size >= 99.5 ? writeCount(Math.round(size)) : size.toFixed(1)}\u00a0%`;
}

function writeNs(ns: number): string {
  const units = [
    { scale: 1e9, name: 's' },
    { scale: 1e6, name: 'ms' },
    { scale: 1e3, name: '\u00b5s' },
  ];
  const unit = units.find(({ scale }) => Math.abs(ns) >= scale);
  if (unit === undefined) return `${Math.round(ns)} ns`;
  const value = ns / unit.scale;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit.name}`;
}

function cost(name: string, label: string, unit: FigureUnit, of: Figure['of']): Figure {
  return { name, label, unit, less_is_better: true, of };
}

function does(name: string, label: string, of: Figure['of']): Figure {
  return { name, label, unit: 'count', less_is_better: false, of };
}
