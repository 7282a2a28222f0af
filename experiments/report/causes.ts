/** What the time goes into: counts times prices, and what is left of each sum. */
import type { Prices } from '../../sim/index.ts';
import type { Row } from '../sweep/row.ts';
import type { Bounds } from './bounds.ts';
import type { Html } from './html.ts';
import { figure, font, ink, Plot } from './plot.ts';
import { formatNs } from './words.ts';

export const causes = [
  { name: 'events', why: 'the call itself, each event', fill: 'var(--cause-1)' },
  { name: 'system calls', why: 'mmap, munmap, madvise', fill: 'var(--cause-2)' },
  { name: 'work', why: 'lookups, zeroing and copying, pages given back', fill: 'var(--cause-3)' },
  { name: 'huge faults', why: '2 MiB at a time', fill: 'var(--cause-4)' },
  { name: 'small faults', why: 'a page at a time, mapped blocks', fill: 'var(--cause-5)' },
  { name: 'heap growth', why: 'first touches below the threshold', fill: 'var(--cause-6)' },
] as const;

/** In the order of `causes`; their sum is the row's time. */
export function causesOf(row: Row): number[] {
  const prices = JSON.parse(String(row.prices)) as Prices;
  const count = (name: string): number => Number(row[name]);
  const events_ns = count('trace_events') * prices.heap_call_ns;
  const calls_ns =
    count('syscalls_mmap') * prices.mmap_ns +
    count('syscalls_munmap') * prices.munmap_ns +
    (count('syscalls_madvise_dontneed') + count('syscalls_madvise_free')) * prices.madvise_ns +
    count('syscalls_process_madvise') * prices.process_madvise_ns +
    (count('syscalls_madvise_hugepage') + count('syscalls_madvise_nohugepage')) * prices.advise_huge_ns;
  const heap_ns = count('heap_faults') * prices.fault_ns;
  const mapped_ns = count('time_fault_ns') - heap_ns;
  // A huge fault that only reads has the price of a small one: never more than there is.
  const huge_ns = Math.min(mapped_ns, count('huge_faults') * prices.huge_fault_ns);
  const work_ns = count('time_allocate_ns') + count('time_free_ns') - events_ns - calls_ns;
  return [events_ns, calls_ns, work_ns, huge_ns, mapped_ns - huge_ns, heap_ns];
}

/** A bar longer than so many times the longest of best and default is cut, and says so. */
const cut_at = 3;

interface Part {
  readonly of: string;
  readonly cause: string;
  readonly fill: string;
  readonly from: number;
  readonly to: number;
}

interface Total {
  readonly of: string;
  readonly total: number;
}

export function causesFigure(id: string, best: Row, base: Row | null, bounds: Bounds | null): Html {
  const bars: (readonly [string, readonly number[]])[] = [
    ['best', causesOf(best)],
    ...(base === null ? [] : ([['default', causesOf(base)]] as const)),
    ...(bounds === null
      ? []
      : ([
          ['unbounded cache', causesOf(bounds.unbounded)],
          ['no cache', causesOf(bounds.no_cache)],
          ['offline bound', [bounds.offline.calls_ns, 0, 0, 0, bounds.offline.touches_ns, 0]],
        ] as const)),
  ];
  const sum = (values: readonly number[]): number => values.reduce((total, each) => total + each, 0);
  const parts = bars.flatMap(([of, values]) =>
    values.map((value, at): Part => {
      const from = sum(values.slice(0, at)) / 1e6;
      return { of, cause: causes[at].name, fill: causes[at].fill, from, to: from + value / 1e6 };
    }),
  );
  const totals = bars.map(([of, values]) => ({ of, total: sum(values) / 1e6 }));
  const longest = Math.max(...totals.filter(({ of }) => of === 'best' || of === 'default').map(({ total }) => total));
  const end = Math.min(cut_at * longest, Math.max(...totals.map(({ total }) => total)));
  return figure({
    id,
    title: 'time by cause',
    says: bars
      .map(([of, values]) => `${of}: ${values.map((value, at) => `${causes[at].name} ${formatNs(value)}`).join(', ')}`)
      .join('. '),
    plot: {
      width: 640,
      height: 64 + 34 * bars.length,
      marginLeft: 118,
      marginRight: 78,
      marginTop: 8,
      marginBottom: 44,
      style: font,
      x: { domain: [0, end], label: 'time, ms', labelAnchor: 'center', labelArrow: 'none' },
      y: { type: 'band', domain: bars.map(([of]) => of), label: null, tickSize: 0, padding: 0.3 },
      color: { type: 'identity' },
      marks: [
        Plot.gridX({ stroke: ink.grid, strokeOpacity: 1 }),
        Plot.barX(
          parts.filter(({ from, to }) => to > from && from < end),
          {
            y: 'of',
            x1: 'from',
            x2: ({ to }: Part) => Math.min(to, end),
            fill: 'fill',
            title: (each: Part) => `${each.of}, ${each.cause}: ${formatNs((each.to - each.from) * 1e6)}`,
          },
        ),
        Plot.text(totals, {
          y: 'of',
          x: ({ total }: Total) => Math.min(total, end),
          dx: 6,
          textAnchor: 'start',
          text: ({ total }: Total) => `${total > end ? '→ ' : ''}${formatNs(total * 1e6)}`,
          fill: 'currentColor',
        }),
      ],
    },
  });
}
