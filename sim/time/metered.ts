/**
 * The page model with a meter on it: the same answers, and what it was asked to do is noted. It remembers besides which
 * ranges are lazily free, oldest first, so that a machine short of memory can take them.
 */
import { PageModel } from '../kernel/pages.ts';
import { call, type Meter } from '../peers/meter.ts';
import { type KernelProfile, type Prices, prices as priced, shape } from '../spec.ts';

/**
 * A model's price is linear in its prices, so that at these it tells how many: small pages in the lower digits, huge pages in
 * the upper ones. A region has fewer pages than the one stands for.
 */
const huge_digit = 2 ** 30;
const counting: Prices = {
  ...(Object.fromEntries(Object.keys(priced).map((name) => [name, 0])) as unknown as Prices),
  release_page_ns: 1,
  lazy_free_page_ns: 1,
  release_huge_ns: huge_digit,
};

/** Lazily free as a whole; the first write to any of it ends that. */
interface LazyRange {
  readonly start: number;
  readonly end: number;
  readonly pages: number;
}

export class MeteredPages extends PageModel {
  /** Of ranges that nobody has written to since: what the kernel can take. */
  lazy_pages = 0;
  /** What the kernel took of the time that was priced since this was set to 0. */
  kernel_ns = 0;
  /** Pages that were written, and that were read, since these were set to 0: whether or not they were there before. */
  touched_pages = 0;
  read_pages = 0;
  /** The most pages that were visited from one visit of a window to the next, since this was set to 0. */
  cycled_pages = 0;
  /** Pages visited so far; and by window of 2 MiB how many those were when its last visit began. */
  private visited_pages = 0;
  private visited_at = new Float64Array(64);
  private lazy: LazyRange[] = [];
  private readonly real: Prices;
  private readonly meter: Meter;

  constructor(profile: KernelProfile, prices: Prices, meter: Meter) {
    super(profile, counting);
    this.real = prices;
    this.meter = meter;
  }

  override map(start: number, pages: number): number {
    super.map(start, pages);
    this.meter.note(call.mmap, pages);
    return this.took(this.real.mmap_ns);
  }

  override unmap(start: number, pages: number): number {
    this.endLaziness(start, start + pages);
    return this.released(call.munmap, super.unmap(start, pages), this.real.munmap_ns, this.real.release_page_ns);
  }

  override adviseHuge(start: number, pages: number): number {
    super.adviseHuge(start, pages);
    this.meter.note(call.advise_huge, pages);
    return this.took(this.real.advise_huge_ns);
  }

  override adviseNoHuge(start: number, pages: number): number {
    super.adviseNoHuge(start, pages);
    this.meter.note(call.advise_small, pages);
    return this.took(this.real.advise_huge_ns);
  }

  override dontneed(start: number, pages: number): number {
    this.endLaziness(start, start + pages);
    return this.released(call.dontneed, super.dontneed(start, pages), this.real.madvise_ns, this.real.release_page_ns);
  }

  override dontneedVector(ranges: readonly (readonly [number, number])[]): number {
    for (const [start, pages] of ranges) this.endLaziness(start, start + pages);
    const { process_madvise_ns, release_page_ns } = this.real;
    const counted = super.dontneedVector(ranges);
    return this.released(call.dontneed_vector, counted, process_madvise_ns, release_page_ns, ranges.length);
  }

  override free(start: number, pages: number): number {
    const counted = super.free(start, pages);
    const lazy_pages = (counted % huge_digit) + Math.floor(counted / huge_digit) * shape.window_pages;
    if (lazy_pages > 0) {
      this.endLaziness(start, start + pages);
      this.lazy.push({ start, end: start + pages, pages: lazy_pages });
      this.lazy_pages += lazy_pages;
    }
    return this.released(call.free, counted, this.real.madvise_ns, this.real.lazy_free_page_ns);
  }

  override touch(start: number, pages: number, zeroes = false): number {
    const { faults, huge_faults } = this;
    this.endLaziness(start, start + pages);
    super.touch(start, pages, zeroes);
    this.touched_pages += pages;
    this.visit(start, pages);
    if (zeroes) this.meter.cleared_bytes += pages * shape.page_bytes;
    return this.faulted(this.faults - faults, this.huge_faults - huge_faults);
  }

  /** Reads leave lazily free pages as they are. */
  override read(start: number, pages: number): number {
    const { faults, huge_faults, resident_pages } = this;
    super.read(start, pages);
    this.read_pages += pages;
    this.visit(start, pages);
    if (this.resident_pages > resident_pages) return this.faulted(this.faults - faults, this.huge_faults - huge_faults);
    this.meter.zero_faults += this.faults - faults;
    return this.took((this.faults - faults) * this.real.zero_fault_ns);
  }

  /** The kernel takes the oldest lazily free ranges until so many pages are gone, or all are; returns how many. */
  reclaim(pages: number): number {
    let taken = 0;
    while (taken < pages && this.lazy.length > 0) {
      const { start, end } = this.lazy[0];
      const before = this.resident_pages;
      this.endLaziness(start, end);
      super.dontneed(start, end - start);
      this.syscalls.madvise_dontneed -= 1;
      taken += before - this.resident_pages;
    }
    this.meter.reclaimed_pages += taken;
    return taken;
  }

  /** Of a stretch of several windows the first stands for all: they are visited together. */
  private visit(start: number, pages: number): void {
    const first = Math.floor(start / shape.window_pages);
    const last = Math.floor((start + pages - 1) / shape.window_pages);
    if (last >= this.visited_at.length) this.widenWindows(last + 1);
    this.cycled_pages = Math.max(this.cycled_pages, this.visited_pages - this.visited_at[first]);
    this.visited_at.fill(this.visited_pages, first, last + 1);
    this.visited_pages += pages;
  }

  private widenWindows(windows: number): void {
    const wider = new Float64Array(Math.max(windows, 2 * this.visited_at.length));
    wider.set(this.visited_at);
    this.visited_at = wider;
  }

  private released(kind: number, counted: number, call_ns: number, page_ns: number, ranges = 1): number {
    const pages = counted % huge_digit;
    const huge_pages = Math.floor(counted / huge_digit);
    this.meter.note(kind, pages, huge_pages, ranges);
    return this.took(call_ns + pages * page_ns + huge_pages * this.real.release_huge_ns);
  }

  private faulted(faults: number, huge_faults: number): number {
    this.meter.faults += faults - huge_faults;
    this.meter.huge_faults += huge_faults;
    return this.took((faults - huge_faults) * this.real.fault_ns + huge_faults * this.real.huge_fault_ns);
  }

  private took(ns: number): number {
    this.kernel_ns += ns;
    return ns;
  }

  private endLaziness(start: number, end: number): void {
    if (this.lazy.length === 0) return;
    this.lazy = this.lazy.filter((range) => {
      if (range.end <= start || range.start >= end) return true;
      this.lazy_pages -= range.pages;
      return false;
    });
  }
}
