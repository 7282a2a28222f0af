/**
 * The shadow ledger: what every strategy would have cost on the events that one of them acted on. Mirrors
 * native/core/ledger.c.
 *
 * It is a sketch of the policy that an allocator could afford beside its work: per strategy it counts free blocks by bin
 * (BigCache's classes, else page counts by hash) instead of placing them, and prices hits, mappings, faults, advice and the
 * heap's growth. Docs/POLICY.md, "What a strategy is thought to cost", says where it is coarser than the policy; how far
 * off that leaves it is measured by `hakmem study elo-or-not`.
 */
import { pagesOf } from '../kernel/touch.ts';
import { type Config, type Prices, shape } from '../spec.ts';
import type { BigCache } from './bigcache.ts';
import { no_class } from './blocks.ts';
import { mix32 } from './digest.ts';
import { chunkBytes, type Heap } from './heap.ts';
import { thermalClass } from './thermal.ts';
import { wantsHuge } from './thp.ts';

const { bigcache_classes: classes, ledger_bins: bins, page_bytes, window_pages } = shape;
const warm = 1;
const cold = 2;

/** A block as the ledger sees it, whichever strategy maps it. */
export class Mould {
  size_bytes = 0;
  pages = 0;
  touched_pages = 0;
  /** Strategies below this one map it. */
  mapping_arms = 0;
  ring = 0;
  cached = false;
  bin = 0;
  heat = 0;
  faults = 0;
  fault_ns = 0;
  resident_pages = 0;
  /** Its windows take huge pages. */
  huge = 0;
  lazy_ns = 0;
  map_ns = 0;
}

export class Ledger {
  readonly thresholds_bytes: readonly number[];
  /** Of the window, by strategy: nanoseconds, faults, and resident pages times events. */
  readonly cpu_ns: Float64Array;
  readonly faults: Float64Array;
  readonly page_events: Float64Array;
  /** Of the window, by site slot and strategy, where sites are told apart: nanoseconds; and what the baseline would be. */
  readonly site_ns: Float64Array;
  readonly site_baseline_ns: Float64Array;
  /** The baseline of the score over the events seen so far: every block of 512 KiB and more mapped, touched, unmapped. */
  baseline_ns = 0;
  baseline_pages = 0;
  baseline_events = 0;
  private live_bytes = 0;
  private peak_bytes = 0;
  private readonly config: Config;
  private readonly prices: Prices;
  private readonly cache: BigCache;
  private readonly heap: Heap;
  private readonly huge_works: boolean;
  /** Strategies that are followed: all, or the one in force. */
  private from = 0;
  private to = 0;
  private last_event = 0;
  private last_site = 0;
  /** Bytes of large blocks that are on the heap: truly, and under each strategy. */
  private heap_acted_bytes = 0;
  private readonly heap_bytes: Float64Array;
  private readonly heap_peak_pages: Float64Array;
  private readonly resident_pages: Float64Array;
  /** Free blocks by strategy and ring or bin, and their resident pages together: cached, waiting, kept; dry ones have none. */
  private readonly cached: Float64Array;
  private readonly cached_pages: Float64Array;
  private readonly waiting: Float64Array;
  private readonly waiting_resident: Float64Array;
  private readonly kept: Float64Array;
  private readonly kept_resident: Float64Array;
  private readonly dry: Float64Array;
  /** Of the block that came into a bin last. */
  private readonly bin_pages = new Float64Array(bins);
  private readonly bin_huge = new Uint8Array(bins);
  private readonly waiting_blocks: Float64Array;
  private readonly waiting_pages: Float64Array;
  private readonly kept_pages: Float64Array;
  private readonly hand: Int32Array;
  private readonly rings: number;

  constructor(
    config: Config,
    prices: Prices,
    cache: BigCache,
    heap: Heap,
    thresholds_bytes: readonly number[],
    huge_works: boolean,
    sites: number,
  ) {
    const arms = thresholds_bytes.length;
    this.config = config;
    this.prices = prices;
    this.cache = cache;
    this.heap = heap;
    this.thresholds_bytes = thresholds_bytes;
    this.huge_works = huge_works;
    this.rings = config.bigcache_slots * classes;
    this.cpu_ns = new Float64Array(arms);
    this.faults = new Float64Array(arms);
    this.page_events = new Float64Array(arms);
    this.site_ns = new Float64Array(sites * arms);
    this.site_baseline_ns = new Float64Array(sites);
    this.heap_bytes = new Float64Array(arms);
    this.heap_peak_pages = new Float64Array(arms);
    this.resident_pages = new Float64Array(arms);
    this.cached = new Float64Array(this.rings * arms);
    this.cached_pages = new Float64Array(this.rings * arms);
    this.waiting = new Float64Array(bins * arms);
    this.waiting_resident = new Float64Array(bins * arms);
    this.kept = new Float64Array(bins * arms);
    this.kept_resident = new Float64Array(bins * arms);
    this.dry = new Float64Array(bins * arms);
    this.waiting_blocks = new Float64Array(arms);
    this.waiting_pages = new Float64Array(arms);
    this.kept_pages = new Float64Array(arms);
    this.hand = new Int32Array(arms);
  }

  /** From `event` on, strategies [from, to) are followed, as if nothing had been freed yet. `add` follows for each large block. */
  begin(event: number, from: number, to: number): void {
    this.from = from;
    this.to = to;
    this.last_event = event;
    this.heap_acted_bytes = 0;
    this.heap_bytes.fill(0);
    this.heap_peak_pages.fill(Math.ceil(this.heap.settle() / page_bytes));
    this.resident_pages.fill(0);
    this.cached.fill(0);
    this.cached_pages.fill(0);
    this.waiting.fill(0);
    this.waiting_resident.fill(0);
    this.kept.fill(0);
    this.kept_resident.fill(0);
    this.dry.fill(0);
    this.waiting_blocks.fill(0);
    this.waiting_pages.fill(0);
    this.kept_pages.fill(0);
    this.hand.fill(0);
    this.clearWindow();
  }

  /** A block that was live when the ledger began, and whether it is on the heap. */
  add(mould: Mould, on_heap: boolean): void {
    if (on_heap) this.heap_acted_bytes += chunkBytes(mould.size_bytes);
    for (let arm = this.from; arm < this.to; arm += 1) {
      if (arm < mould.mapping_arms) this.resident_pages[arm] += mould.resident_pages;
      else this.heap_bytes[arm] += chunkBytes(mould.size_bytes);
    }
  }

  /** What came before this large event: small blocks alone, of which the heap knows. */
  advance(event: number): void {
    const passed = event - this.last_event;
    this.last_event = event;
    this.baseline_events += passed;
    const highest_bytes = this.heap.settle() - this.heap_acted_bytes;
    const { heap_bytes, heap_peak_pages, page_events, resident_pages, to } = this;
    for (let arm = this.from; arm < to; arm += 1) {
      if (highest_bytes + heap_bytes[arm] > heap_peak_pages[arm] * page_bytes)
        this.growHeap(arm, highest_bytes + heap_bytes[arm]);
      page_events[arm] += (resident_pages[arm] + heap_peak_pages[arm]) * passed;
    }
  }

  private growHeap(arm: number, bytes: number): void {
    const pages = Math.ceil(bytes / page_bytes);
    const grown = pages - this.heap_peak_pages[arm];
    this.heap_peak_pages[arm] = pages;
    this.faults[arm] += grown;
    this.spend(arm, this.last_site, grown * this.prices.fault_ns);
  }

  /** Where the block truly went, and where it came back from. */
  heapTook(size_bytes: number): void {
    this.heap_acted_bytes += chunkBytes(size_bytes);
  }

  heapGave(size_bytes: number): void {
    this.heap_acted_bytes -= chunkBytes(size_bytes);
  }

  allocate(mould: Mould, site: number): void {
    this.last_site = site;
    this.countBaseline(mould, site);
    const mapping = Math.min(mould.mapping_arms, this.to);
    for (let arm = this.from; arm < mapping; arm += 1) this.mapUnder(arm, mould, site);
    this.heapUnder(Math.max(this.from, mapping), chunkBytes(mould.size_bytes), site);
  }

  free(mould: Mould, site: number): void {
    this.last_site = site;
    if (mould.size_bytes >= shape.strategy_geometric_bytes[0]) this.live_bytes -= mould.size_bytes;
    const mapping = Math.min(mould.mapping_arms, this.to);
    for (let arm = this.from; arm < mapping; arm += 1) this.unmapUnder(arm, mould, site);
    this.heapUnder(Math.max(this.from, mapping), -chunkBytes(mould.size_bytes), site);
  }

  reallocate(before: Mould, after: Mould, site: number): void {
    this.last_site = site;
    if (before.size_bytes >= shape.strategy_geometric_bytes[0]) this.live_bytes -= before.size_bytes;
    this.countBaseline(after, site);
    const fits =
      after.pages <= before.pages && after.size_bytes * shape.realloc_fill_divisor >= before.pages * page_bytes;
    const copied_ns = pagesOf(Math.min(before.size_bytes, after.size_bytes)) * this.prices.fill_page_ns;
    for (let arm = this.from; arm < this.to; arm += 1) {
      if (fits && arm < before.mapping_arms && arm < after.mapping_arms) {
        const grown = after.resident_pages - before.resident_pages;
        this.resident_pages[arm] += grown;
        if (grown <= 0) continue;
        this.faults[arm] += grown;
        this.spend(arm, site, grown * this.prices.fault_ns);
        continue;
      }
      this.allocateUnder(arm, after, site);
      if (arm < after.mapping_arms) this.spend(arm, site, copied_ns);
      this.freeUnder(arm, before, site);
    }
  }

  /** Of the window so far: nanoseconds, with faults and memory in nanoseconds at the rates of the score. A whole number. */
  cost(arm: number): number {
    if (this.baseline_pages === 0) return Math.floor(this.cpu_ns[arm]);
    const per_fault = ((shape.score_faults / shape.score_cpu) * this.baseline_ns) / this.baseline_pages;
    const peak_pages = pagesOf(this.peak_bytes);
    const per_page =
      this.baseline_events === 0
        ? 0
        : ((shape.score_memory / shape.score_cpu) * this.baseline_ns) / (this.baseline_events * peak_pages);
    return Math.floor(this.cpu_ns[arm] + this.faults[arm] * per_fault + this.page_events[arm] * per_page);
  }

  clearWindow(): void {
    this.cpu_ns.fill(0);
    this.faults.fill(0);
    this.page_events.fill(0);
    this.site_ns.fill(0);
    this.site_baseline_ns.fill(0);
  }

  /** Fills in a mould for a block of `size_bytes`, of which `touched` pages are used. */
  cast(mould: Mould, size_bytes: number, align: number, ring_slot: number, touched: number): void {
    const { config, prices, cache } = this;
    const cached = align <= page_bytes && cache.serves(size_bytes);
    const pages = pagesOf(cached ? cache.roundUp(size_bytes) : size_bytes);
    const size_class = cached ? cache.classOf(pages) : no_class;
    const huge = this.huge_works && pages >= window_pages && wantsHuge(config, pages * page_bytes);
    const windows = huge ? Math.min(Math.floor(pages / window_pages), Math.ceil(touched / window_pages)) : 0;
    const small = Math.max(0, touched - windows * window_pages);
    mould.size_bytes = size_bytes;
    mould.pages = pages;
    mould.touched_pages = touched;
    mould.mapping_arms = this.mappingArms(size_bytes);
    mould.cached = size_class !== no_class;
    mould.ring = mould.cached ? ring_slot * classes + size_class : 0;
    mould.bin = mould.cached ? size_class : classes + (mix32(pages) % (bins - classes));
    mould.heat = thermalClass(config, size_bytes);
    mould.faults = windows + small;
    mould.fault_ns = windows * prices.huge_fault_ns + small * prices.fault_ns;
    mould.resident_pages = windows * window_pages + small;
    mould.huge = huge ? 1 : 0;
    mould.lazy_ns = windows * prices.release_huge_ns + small * prices.lazy_free_page_ns;
    mould.map_ns = prices.mmap_ns + (wantsHuge(config, pages * page_bytes) ? prices.advise_huge_ns : 0);
  }

  private mappingArms(size_bytes: number): number {
    const { thresholds_bytes } = this;
    let arms = 0;
    while (arms < thresholds_bytes.length && size_bytes >= thresholds_bytes[arms]) arms += 1;
    return arms;
  }

  private countBaseline(mould: Mould, site: number): void {
    const { prices } = this;
    const pages = pagesOf(mould.size_bytes);
    const price = prices.mmap_ns + prices.munmap_ns + pages * (prices.fault_ns + prices.release_page_ns);
    if (this.site_baseline_ns.length > 0) this.site_baseline_ns[site] += price;
    if (mould.size_bytes < shape.strategy_geometric_bytes[0]) return;
    this.baseline_ns += price;
    this.baseline_pages += pages;
    this.live_bytes += mould.size_bytes;
    if (this.live_bytes > this.peak_bytes) this.peak_bytes = this.live_bytes;
  }

  /** Strategies from this one on have the block on the heap: a call, and its bytes come or go. */
  private heapUnder(from: number, bytes: number, site: number): void {
    const { heap_bytes, cpu_ns, to } = this;
    const { heap_call_ns } = this.prices;
    for (let arm = from; arm < to; arm += 1) {
      heap_bytes[arm] += bytes;
      cpu_ns[arm] += heap_call_ns;
    }
    if (this.site_baseline_ns.length === 0) return;
    const arms = this.thresholds_bytes.length;
    for (let arm = from; arm < to; arm += 1) this.site_ns[site * arms + arm] += heap_call_ns;
  }

  private allocateUnder(arm: number, mould: Mould, site: number): void {
    if (arm < mould.mapping_arms) {
      this.mapUnder(arm, mould, site);
      return;
    }
    this.heap_bytes[arm] += chunkBytes(mould.size_bytes);
    this.spend(arm, site, this.prices.heap_call_ns);
  }

  private freeUnder(arm: number, mould: Mould, site: number): void {
    if (arm < mould.mapping_arms) {
      this.unmapUnder(arm, mould, site);
      return;
    }
    this.heap_bytes[arm] -= chunkBytes(mould.size_bytes);
    this.spend(arm, site, this.prices.heap_call_ns);
  }

  private mapUnder(arm: number, mould: Mould, site: number): void {
    const { prices } = this;
    const ring = arm * this.rings + mould.ring;
    const bin = arm * bins + mould.bin;
    let price = prices.heap_call_ns + prices.lookup_ns;
    if (mould.cached && this.cached[ring] > 0) {
      price += this.reuse(arm, mould, this.cached, this.cached_pages, ring);
    } else if (this.waiting[bin] > 0) {
      price += this.reuse(arm, mould, this.waiting, this.waiting_resident, bin);
      this.waiting_blocks[arm] -= 1;
      this.waiting_pages[arm] -= mould.pages;
    } else if (this.kept[bin] > 0) {
      price += this.reuse(arm, mould, this.kept, this.kept_resident, bin);
      this.kept_pages[arm] -= mould.pages;
    } else {
      if (this.dry[bin] > 0) {
        this.dry[bin] -= 1;
        this.kept_pages[arm] -= mould.pages;
      } else {
        price += mould.map_ns;
      }
      price += mould.fault_ns;
      this.faults[arm] += mould.faults;
      this.resident_pages[arm] += mould.resident_pages;
    }
    this.spend(arm, site, price);
  }

  /** Takes one of the blocks at `at`, with an even share of their resident pages; what it lacks of them faults. */
  private reuse(arm: number, mould: Mould, blocks: Float64Array, resident: Float64Array, at: number): number {
    const share = Math.floor(resident[at] / blocks[at]);
    blocks[at] -= 1;
    resident[at] -= share;
    const lacking = mould.resident_pages - share;
    this.resident_pages[arm] += lacking;
    if (lacking <= 0) return 0;
    this.faults[arm] += lacking;
    return lacking * this.prices.fault_ns;
  }

  private unmapUnder(arm: number, mould: Mould, site: number): void {
    const { config, prices } = this;
    const ring = arm * this.rings + mould.ring;
    let price = prices.heap_call_ns + prices.lookup_ns;
    if (mould.cached && this.cached[ring] < config.bigcache_ways) {
      this.cached[ring] += 1;
      this.cached_pages[ring] += mould.resident_pages;
    } else {
      price += this.releaseUnder(arm, mould);
    }
    this.spend(arm, site, price);
  }

  /** By thermal class; what BigCache evicts is thought to be like what came in. */
  private releaseUnder(arm: number, mould: Mould): number {
    const { config, prices } = this;
    if (config.thermal === 0) {
      this.resident_pages[arm] -= mould.resident_pages;
      return prices.munmap_ns + this.releaseNs(mould.resident_pages, mould.huge);
    }
    const bin = arm * bins + mould.bin;
    this.bin_pages[mould.bin] = mould.pages;
    this.bin_huge[mould.bin] = mould.huge;
    if (mould.heat === cold && config.batch === 1) {
      this.waiting[bin] += 1;
      this.waiting_resident[bin] += mould.resident_pages;
      this.waiting_blocks[arm] += 1;
      this.waiting_pages[arm] += mould.pages;
      const full =
        this.waiting_blocks[arm] >= config.batch_blocks_max ||
        this.waiting_pages[arm] * page_bytes >= config.batch_flush_bytes;
      return full ? this.flush(arm) : 0;
    }
    let price = 0;
    if (mould.heat === cold) {
      price = prices.madvise_ns + this.releaseNs(mould.resident_pages, mould.huge);
      this.resident_pages[arm] -= mould.resident_pages;
      this.dry[bin] += 1;
    } else {
      if (mould.heat === warm) price = prices.madvise_ns + mould.lazy_ns;
      this.kept[bin] += 1;
      this.kept_resident[bin] += mould.resident_pages;
    }
    this.kept_pages[arm] += mould.pages;
    return price + this.trim(arm);
  }

  private flush(arm: number): number {
    const { config, prices } = this;
    let price = config.batch_vectored === 1 ? prices.process_madvise_ns : prices.madvise_ns * this.waiting_blocks[arm];
    for (let bin = 0; bin < bins; bin += 1) {
      const at = arm * bins + bin;
      if (this.waiting[at] === 0) continue;
      price += this.releaseNs(this.waiting_resident[at], this.bin_huge[bin]);
      this.resident_pages[arm] -= this.waiting_resident[at];
      this.dry[at] += this.waiting[at];
      this.waiting[at] = 0;
      this.waiting_resident[at] = 0;
    }
    this.kept_pages[arm] += this.waiting_pages[arm];
    this.waiting_blocks[arm] = 0;
    this.waiting_pages[arm] = 0;
    return price + this.trim(arm);
  }

  /** What is kept beyond its bound is unmapped, by a hand that goes round the bins. */
  private trim(arm: number): number {
    const { prices } = this;
    let price = 0;
    let looked = 0;
    while (looked < bins && this.kept_pages[arm] * page_bytes > this.config.kept_bytes_max) {
      const bin = this.hand[arm];
      const at = arm * bins + bin;
      if (this.dry[at] > 0) {
        this.dry[at] -= 1;
        price += prices.munmap_ns;
      } else if (this.kept[at] > 0) {
        const share = Math.floor(this.kept_resident[at] / this.kept[at]);
        this.kept[at] -= 1;
        this.kept_resident[at] -= share;
        this.resident_pages[arm] -= share;
        price += prices.munmap_ns + this.releaseNs(share, this.bin_huge[bin]);
      } else {
        this.hand[arm] = (bin + 1) % bins;
        looked += 1;
        continue;
      }
      this.kept_pages[arm] -= this.bin_pages[bin];
      looked = 0;
    }
    // Bins are shared by page counts: what the sum says may be a block of another size that is long gone.
    if (looked === bins) this.kept_pages[arm] = 0;
    return price;
  }

  private releaseNs(pages: number, huge: number): number {
    const { release_huge_ns, release_page_ns } = this.prices;
    if (huge === 0) return pages * release_page_ns;
    const windows = Math.floor(pages / window_pages);
    return windows * release_huge_ns + (pages - windows * window_pages) * release_page_ns;
  }

  private spend(arm: number, site: number, ns: number): void {
    this.cpu_ns[arm] += ns;
    if (this.site_baseline_ns.length > 0) this.site_ns[site * this.thresholds_bytes.length + arm] += ns;
  }
}
