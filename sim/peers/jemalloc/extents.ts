/**
 * Extents of jemalloc: stretches of pages, each with its state, as rows of columns, and the caches that inactive ones wait
 * in. Follows src/extent.c, src/eset.c and src/edata_cache.c of jemalloc 5.3.0.
 */
import type { Space } from '../space.ts';
import { large_min_pages, pageClassOf, pageClassPages } from './classes.ts';

export const none = -1;

/** Where an extent is; inactive ones merge only with neighbours of their own state. */
export const state = { active: 0, dirty: 1, muzzy: 2, retained: 3, gone: 4 } as const;

/** sizeof(edata_t) is 128 bytes: so many to a page of metadata. */
const records_a_page = 32;
/** A leaf of the tree that finds extents has 8 bytes for each page of addresses. */
const tree_page_covers = 512;
/** And is mapped whole for each GiB. */
const tree_leaf_covers = 2 ** 18;
export const base_pages = 512;
/** Large blocks have a page more than they need, so that they may begin anywhere in their first one. */
export const pad_pages = 1;

export class Extents {
  /** First page, pages, the order in which its mapping was made. */
  readonly base: number[] = [];
  readonly pages: number[] = [];
  readonly serial: number[] = [];
  readonly state: number[] = [];
  readonly arena: number[] = [];
  /** Whether it is the first of a mapping: it never merges with what lies below. */
  readonly head: boolean[] = [];
  /** Nothing was ever written, or it was given back since. */
  readonly clear: boolean[] = [];
  /** Links of the list from least to most recently freed. */
  readonly older: number[] = [];
  readonly newer: number[] = [];
  /** Pages of metadata written so far. */
  metadata_pages = 0;
  readonly space: Space;
  private readonly starting = new Map<number, number>();
  private readonly ending = new Map<number, number>();
  private readonly unused: number[] = [];
  private readonly tree_pages = new Set<number>();
  private readonly tree_leaves = new Set<number>();
  private records = 0;

  constructor(space: Space) {
    this.space = space;
  }

  make(base: number, pages: number, serial: number, arena: number, head: boolean): number {
    const extent = this.row();
    this.base[extent] = base;
    this.pages[extent] = pages;
    this.serial[extent] = serial;
    this.state[extent] = state.active;
    this.arena[extent] = arena;
    this.head[extent] = head;
    this.clear[extent] = true;
    this.register(extent);
    return extent;
  }

  /** Keeps the first `pages`; returns the rest, active like it. */
  split(extent: number, pages: number): number {
    const rest = this.row();
    const { base } = this;
    base[rest] = base[extent] + pages;
    this.pages[rest] = this.pages[extent] - pages;
    this.serial[rest] = this.serial[extent];
    this.state[rest] = this.state[extent];
    this.arena[rest] = this.arena[extent];
    this.head[rest] = false;
    this.clear[rest] = this.clear[extent];
    this.pages[extent] = pages;
    this.register(extent);
    this.register(rest);
    return rest;
  }

  /** The lower one grows by the higher one, which is gone. */
  merge(lower: number, higher: number): void {
    this.starting.delete(this.base[higher]);
    this.ending.delete(this.base[higher]);
    this.pages[lower] += this.pages[higher];
    if (this.serial[higher] < this.serial[lower]) this.serial[lower] = this.serial[higher];
    this.clear[lower] = this.clear[lower] && this.clear[higher];
    this.register(lower);
    this.drop(higher);
  }

  /** Its addresses are no longer known. */
  forget(extent: number): void {
    this.starting.delete(this.base[extent]);
    this.ending.delete(this.base[extent] + this.pages[extent]);
    this.drop(extent);
  }

  /** The neighbour above, if it is in state `wanted` and may merge. */
  above(extent: number, wanted: number): number {
    const next = this.starting.get(this.base[extent] + this.pages[extent]);
    if (next === undefined || this.state[next] !== wanted || this.head[next]) return none;
    return this.arena[next] === this.arena[extent] ? next : none;
  }

  below(extent: number, wanted: number): number {
    const next = this.ending.get(this.base[extent]);
    if (next === undefined || this.state[next] !== wanted || this.head[extent]) return none;
    return this.arena[next] === this.arena[extent] ? next : none;
  }

  /** A block's own metadata, counted with the rest. */
  writeMetadata(pages: number): void {
    this.metadata_pages += pages;
    this.space.chargeMetadata(pages);
  }

  private row(): number {
    const extent = this.unused.pop();
    if (extent !== undefined) return extent;
    if (this.records % records_a_page === 0) this.writeMetadata(1);
    this.records += 1;
    this.state.push(state.gone);
    return this.state.length - 1;
  }

  private drop(extent: number): void {
    this.state[extent] = state.gone;
    this.unused.push(extent);
  }

  private register(extent: number): void {
    const from = this.base[extent];
    const to = from + this.pages[extent];
    this.starting.set(from, extent);
    this.ending.set(to, extent);
    this.noteInTree(from);
    this.noteInTree(to - 1);
  }

  private noteInTree(page: number): void {
    const leaf = Math.floor(page / tree_leaf_covers);
    const at = Math.floor(page / tree_page_covers);
    if (this.tree_pages.has(at)) return;
    this.tree_pages.add(at);
    this.writeMetadata(1);
    if (this.tree_leaves.has(leaf)) return;
    this.tree_leaves.add(leaf);
    this.space.mapAligned(2 * base_pages, base_pages);
  }
}

/** Inactive extents of one arena and one state: bins by size, each in the order (serial, address), and the list by age. */
export class ExtentCache {
  total_pages = 0;
  readonly state: number;
  private readonly extents: Extents;
  private readonly delays: boolean;
  private readonly bins: number[][] = [];
  private oldest = none;
  private newest = none;

  /** `delays`: small ones merge only when they are given up. */
  constructor(extents: Extents, of_state: number, delays: boolean) {
    this.extents = extents;
    this.state = of_state;
    this.delays = delays;
  }

  /** Takes an active extent in, and merges it with its neighbours as it should; returns what it became. */
  merged(extent: number): number {
    if (this.delays && this.extents.pages[extent] < large_min_pages) return extent;
    let grown = extent;
    for (let next = this.mergeOnce(grown); next !== none; next = this.mergeOnce(grown)) grown = next;
    return grown;
  }

  /** With the neighbour above or else below; none where neither is here. */
  private mergeOnce(extent: number): number {
    const { extents } = this;
    const above = extents.above(extent, this.state);
    if (above !== none) {
      this.remove(above);
      extents.merge(extent, above);
      return extent;
    }
    const below = extents.below(extent, this.state);
    if (below === none) return none;
    this.remove(below);
    extents.merge(below, extent);
    extents.state[below] = state.active;
    return below;
  }

  insert(extent: number): void {
    const { extents } = this;
    const { older, newer } = extents;
    extents.state[extent] = this.state;
    const bin = this.binOf(extents.pages[extent]);
    bin.splice(this.placeIn(bin, extent), 0, extent);
    older[extent] = this.newest;
    newer[extent] = none;
    if (this.newest === none) this.oldest = extent;
    else newer[this.newest] = extent;
    this.newest = extent;
    this.total_pages += extents.pages[extent];
  }

  /** The extent is active from here on. */
  remove(extent: number): void {
    const { extents } = this;
    const { older, newer } = extents;
    const bin = this.binOf(extents.pages[extent]);
    bin.splice(this.placeIn(bin, extent) - 1, 1);
    if (older[extent] === none) this.oldest = newer[extent];
    else newer[older[extent]] = newer[extent];
    if (newer[extent] === none) this.newest = older[extent];
    else older[newer[extent]] = older[extent];
    this.total_pages -= extents.pages[extent];
    extents.state[extent] = state.active;
  }

  /** The oldest and lowest extent that holds `pages` at `align`, among those not too large; none where there is none. */
  find(pages: number, align: number, max_fit_log2: number): number {
    const found = this.firstFit(pages + align - 1, max_fit_log2);
    return found === none && align > 1 ? this.alignedFit(pages, align) : found;
  }

  /** The least recently freed one, out of the cache; none once no more than `keep_pages` are here. */
  evict(keep_pages: number): number {
    for (;;) {
      const extent = this.oldest;
      if (extent === none || this.total_pages <= keep_pages) return none;
      this.remove(extent);
      if (!this.delays) return extent;
      const grown = this.mergeOnce(extent);
      if (grown === none) return extent;
      this.insert(grown);
    }
  }

  private firstFit(pages: number, max_fit_log2: number): number {
    const { extents, bins } = this;
    let best = none;
    for (let at = this.classFrom(pages); at < bins.length; at += 1) {
      const bin = bins[at];
      if (bin === undefined || bin.length === 0) continue;
      if (pageClassPages(at) > pages * 2 ** max_fit_log2) break;
      const first = bin[bin.length - 1];
      if (best === none || before(extents, first, best)) best = first;
    }
    return best;
  }

  private alignedFit(pages: number, align: number): number {
    const { extents, bins } = this;
    const end = Math.min(bins.length, this.classFrom(pages + align - 1));
    for (let at = this.classFrom(pages); at < end; at += 1) {
      const bin = bins[at];
      if (bin === undefined || bin.length === 0) continue;
      const first = bin[bin.length - 1];
      const lead = (align - (extents.base[first] % align)) % align;
      if (extents.pages[first] - lead >= pages) return first;
    }
    return none;
  }

  /** Bins hold sizes from their class up to the next: the first whose every extent is large enough. */
  private classFrom(pages: number): number {
    const floor = quantized(pages);
    return floor < pages
      ? pageClassOf(pageClassPages(pageClassOf(floor - pad_pages + 1)) + pad_pages)
      : pageClassOf(floor);
  }

  private binOf(pages: number): number[] {
    const at = pageClassOf(quantized(pages));
    while (this.bins.length <= at) this.bins.push([]);
    return this.bins[at];
  }

  /** Bins are sorted downwards, so that the first comes off the end: how many stand before it, itself included if it is here. */
  private placeIn(bin: readonly number[], extent: number): number {
    let low = 0;
    let high = bin.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (before(this.extents, bin[middle], extent)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function before({ serial, base }: Extents, a: number, b: number): boolean {
  return serial[a] !== serial[b] ? serial[a] < serial[b] : base[a] < base[b];
}

/** The largest size of an extent for a whole class that is not above `pages`. */
function quantized(pages: number): number {
  const index = pageClassOf(pages - pad_pages + 1);
  return index === 0 ? pages : pageClassPages(index - 1) + pad_pages;
}
