/** What a meter's notes cost, in integer nanoseconds, at prices that depend on how much a call is about and on the footprint. */
import { call, type Meter, path } from '../peers/meter.ts';
import { type Prices, shape } from '../spec.ts';
import {
  type CurveName,
  type LibraryPrices,
  libraryFrom,
  type PriceCurve,
  type PriceCurves,
  priceAt,
} from './prices.ts';

/** Curves for what the kernel does. */
export interface TimePrices {
  readonly flat: Prices;
  readonly curves: PriceCurves;
  /** Of the C library's own work, where it was measured; without it flat prices stand in. */
  readonly library?: LibraryPrices;
}

/** Of a call: its fixed part, by `x` of its curve, and what each page or huge page adds. */
interface CallPrice {
  readonly call: PriceCurve;
  readonly page: PriceCurve | null;
  readonly huge_page: PriceCurve | null;
}

export class Costs {
  /** Of the last call: under its lock as a whole, and page by page. */
  call_ns = 0;
  pages_ns = 0;
  /** By the way through the library: of a call that allocates, and of a free. */
  readonly allocate_ns: readonly number[];
  readonly free_ns: readonly number[];
  private readonly curves: PriceCurves;
  private readonly calls: readonly CallPrice[];

  constructor({ flat, curves, library = libraryFrom(flat) }: TimePrices) {
    this.curves = curves;
    const by_path = (searched_ns: number): readonly number[] => {
      const prices: number[] = [];
      prices[path.cached] = library.cached_ns;
      prices[path.listed] = library.listed_ns;
      prices[path.searched] = searched_ns;
      prices[path.mapped] = searched_ns;
      return prices;
    };
    this.allocate_ns = by_path(library.searched_allocate_ns);
    this.free_ns = by_path(library.searched_free_ns);
    const of = (name: CurveName, page?: CurveName, huge_page?: CurveName): CallPrice => ({
      call: curves[name],
      page: page === undefined ? null : curves[page],
      huge_page: huge_page === undefined ? null : curves[huge_page],
    });
    const prices: Record<keyof typeof call, CallPrice> = {
      mmap: of('mmap_ns'),
      munmap: of('munmap_ns', 'munmap_page_ns', 'munmap_huge_ns'),
      mremap: of('mremap_move_ns'),
      brk_grow: of('brk_grow_ns'),
      brk_shrink: of('brk_shrink_ns', 'brk_page_ns'),
      mprotect: of('mprotect_grow_ns'),
      dontneed: of('madvise_ns', 'release_page_ns', 'release_huge_ns'),
      free: of('madvise_ns', 'lazy_free_page_ns', 'lazy_free_huge_ns'),
      advise_huge: of('advise_huge_ns'),
      advise_small: of('advise_small_ns'),
      dontneed_vector: of('process_madvise_ns', 'release_page_ns', 'release_huge_ns'),
      mremap_grow: of('mremap_grow_ns'),
      mremap_shrink: of('munmap_ns', 'munmap_page_ns', 'munmap_huge_ns'),
    };
    this.calls = Object.values(prices);
  }

  /** Prices the call that `meter` notes at `at`, into `call_ns` and `pages_ns`. */
  priceCall(meter: Meter, at: number): void {
    const kind = meter.call[at];
    const pages = meter.pages[at];
    const huge_pages = meter.huge_pages[at];
    const { call: fixed, page, huge_page } = this.calls[kind];
    const about_pages = pages + huge_pages * shape.window_pages;
    this.call_ns = priceAt(fixed, kind === call.dontneed_vector ? meter.ranges[at] : about_pages);
    this.pages_ns = 0;
    if (page !== null && pages > 0) this.pages_ns += pages * priceAt(page, about_pages);
    if (huge_page !== null && huge_pages > 0) this.pages_ns += huge_pages * priceAt(huge_page, about_pages);
  }

  /** First touches while so many pages are resident, `again` of them of pages that were given back before. */
  faults(count: number, again: number, resident_pages: number): number {
    const fresh = count - again;
    const again_ns = again === 0 ? 0 : again * priceAt(this.curves.fault_ns, resident_pages);
    return fresh === 0 ? again_ns : again_ns + fresh * priceAt(this.curves.fresh_fault_ns, resident_pages);
  }

  zeroFaults(count: number, resident_pages: number): number {
    return count === 0 ? 0 : count * priceAt(this.curves.zero_fault_ns, resident_pages);
  }

  hugeFaults(count: number, resident_pages: number): number {
    return count === 0 ? 0 : count * priceAt(this.curves.huge_fault_ns, resident_pages);
  }

  copy(bytes: number): number {
    return bytes === 0 ? 0 : byBytes(this.curves.copy_page_ns, bytes);
  }

  clear(bytes: number): number {
    return bytes === 0 ? 0 : byBytes(this.curves.fill_page_ns, bytes);
  }
}

function byBytes(curve: PriceCurve, bytes: number): number {
  const pages = Math.ceil(bytes / shape.page_bytes);
  return Math.ceil((bytes * priceAt(curve, pages)) / shape.page_bytes);
}
