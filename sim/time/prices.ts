/**
 * Prices that depend on how much memory a call is about, or is cycled: a curve each, piecewise linear between measured
 * points. Where nothing was measured, a flat price is a curve of one point.
 */
import type { PriceName, Prices } from '../spec.ts';

interface CurveInfo {
  /** What `x` counts: pages or ranges that one call is about, pages of memory used over and over, or resident by then. */
  readonly by: 'pages of the call' | 'ranges of the call' | 'pages cycled' | 'pages resident';
  readonly of: 'call' | 'page' | 'huge page';
  /** The flat price that stands for it; null where flat prices have it cost nothing. */
  readonly flat: PriceName | null;
  readonly says: string;
}

const call = (flat: PriceName, says: string): CurveInfo => ({ by: 'pages of the call', of: 'call', flat, says });
const released = (flat: PriceName, says: string): CurveInfo => ({ by: 'pages of the call', of: 'page', flat, says });
const cycled = (flat: PriceName | null, says: string): CurveInfo => ({ by: 'pages cycled', of: 'page', flat, says });
const huge = (says: string): CurveInfo => ({
  by: 'pages of the call',
  of: 'huge page',
  flat: 'release_huge_ns',
  says,
});

const table = {
  mmap_ns: call('mmap_ns', 'mmap of anonymous memory'),
  munmap_ns: call('munmap_ns', 'munmap of what was never touched'),
  madvise_ns: call('madvise_ns', 'MADV_DONTNEED of what was never touched'),
  process_madvise_ns: {
    by: 'ranges of the call',
    of: 'call',
    flat: 'process_madvise_ns',
    says: 'process_madvise of ranges never touched',
  },
  advise_huge_ns: call('advise_huge_ns', 'MADV_HUGEPAGE'),
  advise_small_ns: call('advise_huge_ns', 'MADV_NOHUGEPAGE'),
  mremap_move_ns: call('mmap_ns', 'mremap that moves touched pages'),
  mremap_grow_ns: call('mmap_ns', 'mremap that grows in place'),
  brk_grow_ns: call('mmap_ns', 'brk that grows the heap'),
  brk_shrink_ns: call('munmap_ns', 'brk that gives back what was never touched'),
  mprotect_grow_ns: call('mmap_ns', 'mprotect that opens reserved memory'),
  release_page_ns: released('release_page_ns', 'a touched page in MADV_DONTNEED'),
  munmap_page_ns: released('release_page_ns', 'a touched page in munmap'),
  brk_page_ns: released('release_page_ns', 'a touched page in a brk that shrinks'),
  lazy_free_page_ns: released('lazy_free_page_ns', 'a touched page in MADV_FREE'),
  fault_ns: cycled('fault_ns', 'first write to a page'),
  fresh_fault_ns: { by: 'pages resident', of: 'page', flat: 'fault_ns', says: 'the same where nothing was given back' },
  refault_ns: cycled('fault_ns', 'first write after MADV_DONTNEED'),
  zero_fault_ns: cycled('zero_fault_ns', 'first read of a page'),
  zero_write_ns: cycled('fault_ns', 'first write after that'),
  lazy_touch_ns: cycled(null, 'first write after MADV_FREE'),
  resident_touch_ns: cycled(null, 'write to a resident page'),
  fill_page_ns: cycled('fill_page_ns', 'memset of a resident page'),
  copy_page_ns: cycled('fill_page_ns', 'memcpy of a resident page'),
  huge_fault_ns: { by: 'pages cycled', of: 'huge page', flat: 'huge_fault_ns', says: 'first write to a huge page' },
  release_huge_ns: huge('a huge page in MADV_DONTNEED'),
  munmap_huge_ns: huge('a huge page in munmap'),
  lazy_free_huge_ns: huge('a huge page in MADV_FREE'),
} as const satisfies Record<string, CurveInfo>;

export type CurveName = keyof typeof table;
export const curves: { readonly [name in CurveName]: CurveInfo } = table;
export const curve_names = Object.keys(table) as readonly CurveName[];

/** Where a flat price is read off its curve: 2 MiB, of a vectored call so many ranges. */
const reference_pages = 512;
const reference_ranges = 16;

export function referenceOf(name: CurveName): number {
  return curves[name].by === 'ranges of the call' ? reference_ranges : reference_pages;
}

/** `x` ascending; integer nanoseconds, `low` and `high` the ends of a 95 % interval. Products stay below 2^53. */
export interface PricePoint {
  readonly x: number;
  readonly ns: number;
  readonly low: number;
  readonly high: number;
}
export type PriceCurve = readonly PricePoint[];
export type PriceCurves = { readonly [name in CurveName]: PriceCurve };

/** What one call of the C library takes by itself: from the thread's own cache, from a list of equals, or with a search. */
export interface LibraryPrices {
  readonly cached_ns: number;
  readonly listed_ns: number;
  /** Searching, splitting, merging: of a call that allocates, and of a free. */
  readonly searched_allocate_ns: number;
  readonly searched_free_ns: number;
}

/** No larger than this, that interpolation is exact: products of the two stay below 2^53. */
export const point_limits = { x: 2 ** 22, ns: 10 ** 9 } as const;

/** Flat curves: what is known where only flat prices are. */
export function curveFrom(prices: Prices): PriceCurves {
  const point = (name: CurveName): PriceCurve => {
    const { flat } = curves[name];
    const ns = flat === null ? 0 : prices[flat];
    return [{ x: referenceOf(name), ns, low: ns, high: ns }];
  };
  return Object.fromEntries(curve_names.map((name) => [name, point(name)])) as unknown as PriceCurves;
}

/** What is known of the library where only flat prices are: a call costs the same on every way, and a search a lookup more. */
export function libraryFrom({ heap_call_ns, lookup_ns }: Prices): LibraryPrices {
  const searched_ns = heap_call_ns + lookup_ns;
  return {
    cached_ns: heap_call_ns,
    listed_ns: heap_call_ns,
    searched_allocate_ns: searched_ns,
    searched_free_ns: searched_ns,
  };
}

/**
 * The price at `x`, rounded half up; of the nearest point outside. Linear in x, not in its logarithm: integers suffice, so
 * that every machine and language comes to the same, and a cost of a fixed part and a part for each page is linear in x.
 */
export function priceAt(curve: PriceCurve, x: number): number {
  let above = 0;
  while (above < curve.length && curve[above].x < x) above += 1;
  if (above === 0) return curve[0].ns;
  if (above === curve.length) return curve[above - 1].ns;
  const [left, right] = [curve[above - 1], curve[above]];
  const width = right.x - left.x;
  const doubled = 2 * (left.ns * (right.x - x) + right.ns * (x - left.x)) + width;
  return (doubled - (doubled % (2 * width))) / (2 * width);
}

/** Every point moved within its interval: 0.025 is its low end, 0.5 the median, 0.975 its high end; no further. */
export function scaled(all: PriceCurves, quantile: number): PriceCurves {
  const share = Math.min(1, Math.max(-1, (quantile - 0.5) / 0.475));
  const moved = ({ x, ns, low, high }: PricePoint): PricePoint => {
    const at = ns + Math.round(share < 0 ? (ns - low) * share : (high - ns) * share);
    return { x, ns: at, low: at, high: at };
  };
  return Object.fromEntries(curve_names.map((name) => [name, all[name].map(moved)])) as unknown as PriceCurves;
}
