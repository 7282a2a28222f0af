/**
 * The page model: what the kernel does to pages when it is asked to map, unmap, advise, or when they are touched.
 * Mirrors native/core/pages.c, whose answers the real kernel is held to.
 *
 * A page is absent, zero (mapped to the shared zero page by a read, where the kernel does that), resident, or lazy
 * (resident, MADV_FREEd). A window (2 MiB of aligned address) is empty (no page table), a table, huge, huge-zero or
 * huge-lazy. Of a window that is not a table, the window speaks for its pages.
 *
 * A huge page that loses its mapping (part of it is unmapped or discarded) still is one folio, now mapped page by page.
 * MADV_FREE of a part of it splits the folio, and those of its pages that hold nothing but zeroes go to the zero page
 * (Linux 6.12, try_to_map_unused_to_zeropage): so the model knows which pages of a huge page were written.
 */
import { assert } from '../assert.ts';
import { enums, type KernelProfile, type Prices, shape } from '../spec.ts';
import { Areas, area_flag } from './vma.ts';

const absent = 0;
const zero = 1;
const resident = 2;
const lazy = 3;
const state_mask = 3;
/** The page is part of a huge page that is mapped page by page. */
const of_folio = 4;
/** Of a page of a huge page, mapped whole or page by page: it holds something but zeroes. */
const written = 8;

const empty = 0;
const table = 1;
const huge = 2;
const huge_lazy = 3;
const huge_zero = 4;

const { window_pages } = shape;
const window_shift = 9;

/** System calls by kind; `mremap` and `brk` are made by other policies only. */
export interface Syscalls {
  mmap: number;
  munmap: number;
  mremap: number;
  brk: number;
  madvise_dontneed: number;
  madvise_free: number;
  madvise_hugepage: number;
  madvise_nohugepage: number;
  process_madvise: number;
}

export class PageModel {
  readonly areas = new Areas();
  readonly syscalls: Syscalls = {
    mmap: 0,
    munmap: 0,
    mremap: 0,
    brk: 0,
    madvise_dontneed: 0,
    madvise_free: 0,
    madvise_hugepage: 0,
    madvise_nohugepage: 0,
    process_madvise: 0,
  };
  faults = 0;
  huge_faults = 0;
  resident_pages = 0;
  /** Of the resident pages, those in huge or huge-lazy windows. */
  huge_pages = 0;
  mapped_pages = 0;
  mapped_pages_peak = 0;
  private readonly profile: KernelProfile;
  private readonly prices: Prices;
  /** States, as far as anything was ever touched; beyond, pages are absent and windows empty. */
  private page = new Uint8Array(0);
  private window = new Uint8Array(0);
  /** Resident and lazy pages of a table window, and how many of its pages are zero or lazy. */
  private present = new Uint16Array(0);
  private special = new Uint16Array(0);
  /** Pages of a table window that are still part of a huge page. */
  private folio_pages = new Uint16Array(0);
  /** Of a huge window, how many of its first pages are known to hold more than zeroes: they need no second note. */
  private written_pages = new Uint16Array(0);

  constructor(profile: KernelProfile, prices: Prices) {
    this.profile = profile;
    this.prices = prices;
  }

  /** All return the price of what they did, in ns. Ranges are in pages of the region. */
  map(start: number, pages: number): number {
    this.areas.map(start, start + pages);
    this.syscalls.mmap += 1;
    this.mapped_pages += pages;
    if (this.mapped_pages > this.mapped_pages_peak) this.mapped_pages_peak = this.mapped_pages;
    return this.prices.mmap_ns;
  }

  unmap(start: number, pages: number): number {
    const { prices } = this;
    const end = start + pages;
    this.splitAt(start);
    this.splitAt(end);
    this.areas.unmap(start, end);
    this.syscalls.munmap += 1;
    this.mapped_pages -= pages;
    let price = prices.munmap_ns;
    const last = Math.min(end, this.page.length);
    for (let from = start; from < last; ) {
      const at = from >>> window_shift;
      const window_start = at << window_shift;
      const to = Math.min(end, window_start + window_pages);
      price += this.release(at, from, to);
      if (this.window[at] === table && !this.areas.overlaps(window_start, window_start + window_pages))
        this.window[at] = empty;
      from = to;
    }
    return price;
  }

  adviseHuge(start: number, pages: number): number {
    this.areas.advise(start, start + pages, area_flag.huge);
    this.syscalls.madvise_hugepage += 1;
    return this.prices.advise_huge_ns;
  }

  adviseNoHuge(start: number, pages: number): number {
    this.areas.advise(start, start + pages, area_flag.no_huge);
    this.syscalls.madvise_nohugepage += 1;
    return this.prices.advise_huge_ns;
  }

  /** One call of MADV_DONTNEED. */
  dontneed(start: number, pages: number): number {
    this.syscalls.madvise_dontneed += 1;
    return this.prices.madvise_ns + this.discard(start, pages);
  }

  /** One call of process_madvise(MADV_DONTNEED) on several ranges, given as pairs. */
  dontneedVector(ranges: readonly (readonly [number, number])[]): number {
    this.syscalls.process_madvise += 1;
    let price = this.prices.process_madvise_ns;
    for (const [start, pages] of ranges) price += this.discard(start, pages);
    return price;
  }

  /** One call of MADV_FREE. */
  free(start: number, pages: number): number {
    this.syscalls.madvise_free += 1;
    let price = this.prices.madvise_ns;
    const last = Math.min(start + pages, this.page.length);
    for (let from = start; from < last; ) {
      const at = from >>> window_shift;
      const to = Math.min(start + pages, (at << window_shift) + window_pages);
      const whole = to - from === window_pages;
      if (whole && this.window[at] === huge) {
        this.window[at] = huge_lazy;
        price += this.prices.release_huge_ns;
      } else if (!whole && (this.window[at] === huge || this.window[at] === huge_lazy)) {
        this.split(at);
      }
      if (this.window[at] === table) {
        if (this.folio_pages[at] > 0 && this.freesPartOfFolio(at, from, to)) this.splitFolio(at);
        price += this.makeLazy(at, from, to) * this.prices.lazy_free_page_ns;
      }
      from = to;
    }
    return price;
  }

  /** Writes to each page once, in ascending order, inside one area; `zeroes` says that it leaves nothing but zeroes. */
  touch(start: number, pages: number, zeroes = false): number {
    if (pages === 0) return 0;
    const end = start + pages;
    if (end > this.page.length) this.grow(end);
    const area = this.areas.find(start);
    assert(area >= 0 && end <= this.areas.end[area], 'a touch stays inside one area');
    const faults_before = this.faults;
    const huge_before = this.huge_faults;
    for (let from = start; from < end; ) {
      const at = from >>> window_shift;
      const to = Math.min(end, (at << window_shift) + window_pages);
      if (this.window[at] === table) this.touchTable(at, from, to, zeroes);
      else if (this.window[at] === empty) this.touchEmpty(at, from, to, area);
      else if (this.window[at] === huge_lazy) this.window[at] = huge;
      else if (this.window[at] === huge_zero) this.touchHugeZero(at, from, to);
      if (this.window[at] === huge) this.write(at, from, to, zeroes);
      from = to;
    }
    return this.gaveMemory(area, faults_before, huge_before);
  }

  /** Reads each page once, in ascending order, inside one area. */
  read(start: number, pages: number): number {
    if (pages === 0) return 0;
    const end = start + pages;
    if (end > this.page.length) this.grow(end);
    const area = this.areas.find(start);
    assert(area >= 0 && end <= this.areas.end[area], 'a read stays inside one area');
    const faults_before = this.faults;
    const huge_before = this.huge_faults;
    const { read_maps_zero } = this.profile;
    for (let from = start; from < end; ) {
      const at = from >>> window_shift;
      const to = Math.min(end, (at << window_shift) + window_pages);
      if (this.window[at] === empty) {
        if (!this.suitable(at, area)) {
          this.window[at] = table;
        } else if (read_maps_zero) {
          this.window[at] = huge_zero;
          this.faults += 1;
          this.huge_faults += 1;
          this.areas.prepareAnon(area);
        } else {
          this.makeHuge(at);
        }
      }
      if (this.window[at] === table) this.readTable(at, from, to, read_maps_zero ? zero : resident);
      from = to;
    }
    if (read_maps_zero) return (this.faults - faults_before) * this.prices.zero_fault_ns;
    return this.gaveMemory(area, faults_before, huge_before);
  }

  /** The price of faults that gave memory to an area: the first of them gives it its anon_vma too. */
  private gaveMemory(area: number, faults_before: number, huge_before: number): number {
    const faults = this.faults - faults_before;
    const huge_faults = this.huge_faults - huge_before;
    if (faults > 0) this.areas.prepareAnon(area);
    return huge_faults * this.prices.huge_fault_ns + (faults - huge_faults) * this.prices.fault_ns;
  }

  private discard(start: number, pages: number): number {
    const end = start + pages;
    const last = Math.min(end, this.page.length);
    let price = 0;
    let area = this.areas.after(start) - 1;
    for (let from = start; from < last; ) {
      while (this.areas.end[area] <= from) area += 1;
      const at = from >>> window_shift;
      const to = Math.min(end, (at << window_shift) + window_pages, this.areas.end[area]);
      price += this.release(at, from, to);
      // The page table goes with its pages only where one walk, inside one area, covers the whole window.
      if (to - from === window_pages && this.profile.pt_reclaim) this.window[at] = empty;
      from = to;
    }
    return price;
  }

  /** Pages [from, to) of window `at` become absent. */
  private release(at: number, from: number, to: number): number {
    const state = this.window[at];
    if (state === empty) return 0;
    if (state !== table) {
      if (to - from === window_pages) {
        if (state !== huge_zero) {
          this.resident_pages -= window_pages;
          this.huge_pages -= window_pages;
        }
        this.window[at] = empty;
        this.page.fill(absent, from, to);
        return this.prices.release_huge_ns;
      }
      this.split(at);
    }
    let gone: number;
    if (to - from === window_pages) {
      gone = this.present[at];
      this.present[at] = 0;
      this.special[at] = 0;
      this.folio_pages[at] = 0;
    } else {
      gone = 0;
      let special = 0;
      let folio_pages = 0;
      for (let page = from; page < to; page += 1) {
        const was = this.page[page] & state_mask;
        if (was >= resident) gone += 1;
        if (was === zero || was === lazy) special += 1;
        if ((this.page[page] & of_folio) !== 0) folio_pages += 1;
      }
      this.present[at] -= gone;
      this.special[at] -= special;
      this.folio_pages[at] -= folio_pages;
    }
    this.page.fill(absent, from, to);
    this.resident_pages -= gone;
    return gone * this.prices.release_page_ns;
  }

  private makeLazy(at: number, from: number, to: number): number {
    let made = 0;
    for (let page = from; page < to; page += 1) {
      if ((this.page[page] & state_mask) !== resident) continue;
      // Resident becomes lazy, whatever else is known of the page.
      this.page[page] += lazy - resident;
      made += 1;
    }
    this.special[at] += made;
    return made;
  }

  private touchEmpty(at: number, from: number, to: number, area: number): void {
    if (this.suitable(at, area)) {
      this.makeHuge(at);
    } else {
      this.window[at] = table;
      this.touchTable(at, from, to, false);
    }
  }

  private touchTable(at: number, from: number, to: number, zeroes: boolean): void {
    if (this.present[at] === 0 && this.special[at] === 0) {
      this.page.fill(resident, from, to);
      this.makePresent(at, to - from);
      return;
    }
    if (this.present[at] === window_pages && this.special[at] === 0 && this.folio_pages[at] === 0) return;
    let made = 0;
    for (let page = from; page < to; page += 1) {
      const was = this.page[page] & state_mask;
      const folio = this.page[page] & of_folio;
      if (was === zero || was === lazy) this.special[at] -= 1;
      if (was < resident) made += 1;
      this.page[page] = folio === 0 ? resident : zeroes ? resident | of_folio : resident | of_folio | written;
    }
    this.makePresent(at, made);
  }

  /** Absent pages become zero or resident, as the kernel's reads have it. */
  private readTable(at: number, from: number, to: number, becomes: typeof zero | typeof resident): void {
    let made = 0;
    for (let page = from; page < to; page += 1) {
      if (this.page[page] !== absent) continue;
      this.page[page] = becomes;
      made += 1;
    }
    if (becomes === resident) {
      this.makePresent(at, made);
    } else {
      this.special[at] += made;
      this.faults += made;
    }
  }

  private touchHugeZero(at: number, from: number, to: number): void {
    if (this.profile.huge_zero_write === 'huge') {
      this.makeHuge(at);
    } else {
      this.split(at);
      this.touchTable(at, from, to, false);
    }
  }

  /** Notes which pages of a huge window hold more than zeroes: mostly the same as at the touch before. */
  private write(at: number, from: number, to: number, zeroes: boolean): void {
    const base = at << window_shift;
    const known = base + this.written_pages[at];
    if (zeroes) {
      this.page.fill(absent, from, to);
      if (from < known) this.written_pages[at] = from - base;
    } else if (from > known) {
      this.page.fill(written, from, to);
    } else if (to > known) {
      this.page.fill(written, known, to);
      this.written_pages[at] = to - base;
    }
  }

  private makeHuge(at: number): void {
    this.window[at] = huge;
    this.written_pages[at] = 0;
    this.faults += 1;
    this.huge_faults += 1;
    this.resident_pages += window_pages;
    this.huge_pages += window_pages;
  }

  private makePresent(at: number, pages: number): void {
    this.present[at] += pages;
    this.faults += pages;
    this.resident_pages += pages;
  }

  /** A boundary at `page` cuts the window it lies in: a huge page there becomes small ones. */
  private splitAt(page: number): void {
    const at = page >>> window_shift;
    if (page % window_pages !== 0 && at < this.window.length && this.window[at] >= huge) this.split(at);
  }

  /** A huge page is mapped page by page from now on; it stays one folio. */
  private split(at: number): void {
    const state = this.window[at];
    const start = at << window_shift;
    const end = start + window_pages;
    this.window[at] = table;
    this.present[at] = state === huge_zero ? 0 : window_pages;
    this.special[at] = state === huge ? 0 : window_pages;
    if (state === huge_zero) {
      this.page.fill(zero, start, end);
      return;
    }
    this.huge_pages -= window_pages;
    this.folio_pages[at] = window_pages;
    for (let page = start; page < end; page += 1) this.page[page] |= (state === huge ? resident : lazy) | of_folio;
  }

  /** True where MADV_FREE of [from, to) meets some of the folio's pages, but not all 512 of them. */
  private freesPartOfFolio(at: number, from: number, to: number): boolean {
    if (to - from === window_pages && this.folio_pages[at] === window_pages) return false;
    for (let page = from; page < to; page += 1) if ((this.page[page] & of_folio) !== 0) return true;
    return false;
  }

  /** The folio falls into pages; those that hold only zeroes are mapped to the zero page. */
  private splitFolio(at: number): void {
    const start = at << window_shift;
    for (let page = start; page < start + window_pages; page += 1) {
      const was = this.page[page];
      if ((was & of_folio) === 0) continue;
      if ((was & written) !== 0 || !this.profile.split_maps_zero) {
        this.page[page] = was & state_mask;
        continue;
      }
      if ((was & state_mask) === resident) this.special[at] += 1;
      this.page[page] = zero;
      this.present[at] -= 1;
      this.resident_pages -= 1;
    }
    this.folio_pages[at] = 0;
  }

  private suitable(at: number, area: number): boolean {
    const { areas, profile } = this;
    const start = at << window_shift;
    if (areas.start[area] > start || areas.end[area] < start + window_pages) return false;
    if (areas.flag[area] === area_flag.no_huge || profile.thp_kernel === enums.thp_kernel[0]) return false;
    return areas.flag[area] === area_flag.huge || profile.thp_kernel === enums.thp_kernel[2];
  }

  private grow(pages: number): void {
    const windows = Math.max(64, 2 ** Math.ceil(Math.log2(Math.ceil(pages / window_pages))));
    this.page = widen(this.page, new Uint8Array(windows * window_pages));
    this.window = widen(this.window, new Uint8Array(windows));
    this.present = widen(this.present, new Uint16Array(windows));
    this.special = widen(this.special, new Uint16Array(windows));
    this.folio_pages = widen(this.folio_pages, new Uint16Array(windows));
    this.written_pages = widen(this.written_pages, new Uint16Array(windows));
  }
}

function widen<T extends Uint8Array | Uint16Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
