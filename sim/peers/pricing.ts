/** Nanoseconds of what a meter noted, at one price a page: the time layer knows prices by footprint. */
import { type Prices, shape } from '../spec.ts';
import { call, type Meter } from './meter.ts';

/** Parts of an event's price. */
export interface Priced {
  library_ns: number;
  calls_ns: number;
  fault_ns: number;
}

export function price(meter: Meter, prices: Prices, into: Priced): number {
  const { fill_page_ns, heap_call_ns, lookup_ns } = prices;
  const filled_pages = Math.ceil((meter.copied_bytes + meter.cleared_bytes) / shape.page_bytes);
  const steps_ns = meter.path > 1 ? lookup_ns : 0;
  const library_ns = heap_call_ns + steps_ns + filled_pages * fill_page_ns;
  let calls_ns = 0;
  for (let at = 0; at < meter.calls; at += 1) {
    calls_ns += callPrice(meter.call[at], meter.pages[at], prices);
    calls_ns += meter.huge_pages[at] * prices.release_huge_ns;
  }
  const { faults, zero_faults, huge_faults } = meter;
  const small_ns = faults * prices.fault_ns + zero_faults * prices.zero_fault_ns;
  const fault_ns = small_ns + huge_faults * prices.huge_fault_ns;
  into.library_ns += library_ns;
  into.calls_ns += calls_ns;
  into.fault_ns += fault_ns;
  return library_ns + calls_ns + fault_ns;
}

/** brk, mremap and mprotect change areas as mmap does, and cost like it; what they release is priced by the page. */
function callPrice(kind: number, pages: number, prices: Prices): number {
  const { mmap_ns, munmap_ns, madvise_ns, process_madvise_ns, release_page_ns, lazy_free_page_ns } = prices;
  if (kind === call.munmap) return munmap_ns + pages * release_page_ns;
  if (kind === call.brk_shrink || kind === call.mremap_shrink) return munmap_ns + pages * release_page_ns;
  if (kind === call.dontneed) return madvise_ns + pages * release_page_ns;
  if (kind === call.dontneed_vector) return process_madvise_ns + pages * release_page_ns;
  if (kind === call.advise_huge || kind === call.advise_small) return prices.advise_huge_ns;
  if (kind === call.free) return madvise_ns + pages * lazy_free_page_ns;
  return mmap_ns;
}
