/**
 * An arena of jemalloc: where extents come from and go to, and the slabs of its small blocks. Follows src/pac.c,
 * src/extent.c and src/arena.c of jemalloc 5.3.0.
 */
import { type Meter, path } from '../meter.ts';
import type { Space } from '../space.ts';
import { pageClassOf, pageClassPages, slab_classes } from './classes.ts';
import { Decay } from './decay.ts';
import { ExtentCache, type Extents, none, state } from './extents.ts';

const page_bytes = 4096;
/** The first step by which addresses grow, each next one a class larger. */
const grow_at_first = pageClassOf(512);
const fit_any = 63;

export interface ArenaRules {
  readonly dirty_decay_ms: number;
  readonly muzzy_decay_ms: number;
  readonly retain: boolean;
  /** Pages from which a freed extent does not wait. */
  readonly oversize_pages: number;
  readonly max_fit_log2: number;
}

/** Slabs of one size: the one that is filled, and others with room, the last of them the oldest. */
interface Bin {
  current: number;
  readonly with_room: number[];
}

/** A block: its extent and, of a small one, its region there. */
export const regions_max = 1024;
export const extentOf = (block: number): number => Math.floor(block / regions_max);

export class Arena {
  readonly index: number;
  private readonly extents: Extents;
  private readonly space: Space;
  private readonly meter: Meter;
  private readonly rules: ArenaRules;
  private readonly dirty: ExtentCache;
  private readonly muzzy: ExtentCache;
  private readonly retained: ExtentCache;
  private readonly dirty_decay: Decay;
  private readonly muzzy_decay: Decay;
  private readonly slabs: Slabs;
  private readonly bins: Bin[];
  private next_step = grow_at_first;
  private next_serial = 0;

  constructor(index: number, extents: Extents, slabs: Slabs, meter: Meter, rules: ArenaRules, now_ns: number) {
    this.index = index;
    this.extents = extents;
    this.space = extents.space;
    this.meter = meter;
    this.rules = rules;
    this.slabs = slabs;
    this.dirty = new ExtentCache(extents, state.dirty, true);
    this.muzzy = new ExtentCache(extents, state.muzzy, false);
    this.retained = new ExtentCache(extents, state.retained, false);
    this.dirty_decay = new Decay(rules.dirty_decay_ms, now_ns, 2 * index);
    this.muzzy_decay = new Decay(rules.muzzy_decay_ms, now_ns, 2 * index + 1);
    this.bins = slab_classes.map(() => ({ current: none, with_room: [] }));
  }

  /** An active extent of so many pages. `clears`: it is to read as zeros. */
  take(pages: number, align: number, clears: boolean): number {
    const { rules, meter } = this;
    if (meter.path < path.searched) meter.path = path.searched;
    let extent = this.reuse(this.dirty, pages, align, rules.max_fit_log2);
    if (extent === none && rules.muzzy_decay_ms !== 0) extent = this.reuse(this.muzzy, pages, align, fit_any);
    if (extent === none) extent = this.reuse(this.retained, pages, align, fit_any);
    if (extent === none) extent = rules.retain ? this.grow(pages, align) : this.mapAlone(pages, align);
    if (clears) this.clear(extent);
    return extent;
  }

  give(extent: number): void {
    this.extents.clear[extent] = false;
    this.record(extent);
    if (this.rules.dirty_decay_ms === 0) this.purge(this.dirty, 0, true);
  }

  /** Grows a large block where it lies; false where what follows is not free. */
  extend(extent: number, by_pages: number): boolean {
    const { extents, rules, space } = this;
    let rest = this.reuseAbove(this.dirty, extent, by_pages);
    if (rest === none) rest = this.reuseAbove(this.muzzy, extent, by_pages);
    if (rest === none) rest = this.reuseAbove(this.retained, extent, by_pages);
    if (rest === none && !rules.retain) {
      const from = extents.base[extent] + extents.pages[extent];
      if (space.mapAt(from, by_pages)) rest = extents.make(from, by_pages, this.serial(), this.index, false);
    }
    if (rest === none) return false;
    extents.merge(extent, rest);
    return true;
  }

  shrink(extent: number, to_pages: number): void {
    this.give(this.extents.split(extent, to_pages));
  }

  /** What an arena does from time to time: gives back what has waited long enough. */
  tick(now_ns: number): void {
    this.decay(this.dirty, this.dirty_decay, now_ns);
    if (this.muzzy.total_pages > 0 || this.rules.muzzy_decay_ms > 0) this.decay(this.muzzy, this.muzzy_decay, now_ns);
  }

  /** A block of small class `index`. */
  takeSmall(index: number): number {
    const bin = this.bins[index];
    const { slabs } = this;
    if (bin.current === none || slabs.room[bin.current] === 0) bin.current = bin.with_room.pop() ?? none;
    if (bin.current === none) {
      bin.current = this.take(slab_classes[index].pages, 1, false);
      slabs.begin(bin.current, index);
    }
    return bin.current * regions_max + slabs.take(bin.current);
  }

  giveSmall(block: number): void {
    const { slabs } = this;
    const slab = extentOf(block);
    const index = slabs.small_class[slab];
    const bin = this.bins[index];
    slabs.give(slab, block % regions_max);
    const room = slabs.room[slab];
    if (room === slab_classes[index].regions) {
      if (slab === bin.current) bin.current = none;
      else if (room > 1) bin.with_room.splice(this.placeIn(bin, slab) - 1, 1);
      slabs.end(slab);
      this.give(slab);
    } else if (room === 1 && slab !== bin.current) {
      this.lower(bin, slab);
    }
  }

  /** The slab being filled is the oldest one with room. */
  private lower(bin: Bin, slab: number): void {
    if (bin.current !== none && this.before(slab, bin.current)) {
      if (this.slabs.room[bin.current] > 0) bin.with_room.splice(this.placeIn(bin, bin.current), 0, bin.current);
      bin.current = slab;
    } else {
      bin.with_room.splice(this.placeIn(bin, slab), 0, slab);
    }
  }

  private placeIn(bin: Bin, slab: number): number {
    let low = 0;
    let high = bin.with_room.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.before(bin.with_room[middle], slab)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  private before(a: number, b: number): boolean {
    const { serial, base } = this.extents;
    return serial[a] !== serial[b] ? serial[a] < serial[b] : base[a] < base[b];
  }

  private reuse(cache: ExtentCache, pages: number, align: number, max_fit_log2: number): number {
    const extent = cache.find(pages, align, max_fit_log2);
    if (extent === none) return none;
    cache.remove(extent);
    return this.cut(extent, pages, align, cache, false);
  }

  private reuseAbove(cache: ExtentCache, extent: number, pages: number): number {
    const above = this.extents.above(extent, cache.state);
    if (above === none || this.extents.pages[above] < pages) return none;
    cache.remove(above);
    return this.cut(above, pages, 1, cache, false);
  }

  /** What lies before and behind goes back to `cache`. */
  private cut(extent: number, pages: number, align: number, cache: ExtentCache, merges: boolean): number {
    const { extents } = this;
    const lead = (align - (extents.base[extent] % align)) % align;
    let wanted = extent;
    if (lead > 0) {
      wanted = extents.split(extent, lead);
      cache.insert(merges ? cache.merged(extent) : extent);
    }
    if (extents.pages[wanted] > pages) {
      const trail = extents.split(wanted, pages);
      cache.insert(merges ? cache.merged(trail) : trail);
    }
    return wanted;
  }

  private grow(pages: number, align: number): number {
    const { extents, meter, space } = this;
    const least = pages + align - 1;
    while (pageClassPages(this.next_step) < least) this.next_step += 1;
    const step = pageClassPages(this.next_step);
    this.next_step += 1;
    meter.path = path.mapped;
    const extent = extents.make(space.map(step), step, this.serial(), this.index, true);
    return this.cut(extent, pages, align, this.retained, true);
  }

  private mapAlone(pages: number, align: number): number {
    const { extents, meter, space } = this;
    meter.path = path.mapped;
    return extents.make(space.mapAligned(pages, align), pages, this.serial(), this.index, false);
  }

  private clear(extent: number): void {
    const { extents } = this;
    // The kernel's zeros come cheaper than one's own.
    if (!extents.clear[extent]) this.space.release(extents.base[extent], extents.pages[extent]);
    extents.clear[extent] = true;
  }

  private record(extent: number): void {
    const { dirty, extents, rules } = this;
    const grown = dirty.merged(extent);
    const waits = rules.dirty_decay_ms === -1 || rules.muzzy_decay_ms === -1;
    if (extents.pages[grown] >= rules.oversize_pages && !waits) this.giveBack(grown);
    else dirty.insert(grown);
  }

  private decay(cache: ExtentCache, decay: Decay, now_ns: number): void {
    if (decay.ms < 0) return;
    if (decay.ms === 0) this.purge(cache, 0, false);
    else if (decay.advance(now_ns, cache.total_pages)) this.purge(cache, decay.limit_pages, false);
  }

  /** The least recently freed first, until no more than `keep_pages` are left; `fully`: none of it stays muzzy. */
  private purge(cache: ExtentCache, keep_pages: number, fully: boolean): void {
    const { extents, rules, space } = this;
    const evicted: number[] = [];
    for (let most = cache.total_pages - keep_pages; most > 0; ) {
      const extent = cache.evict(keep_pages);
      if (extent === none) break;
      evicted.push(extent);
      most -= extents.pages[extent];
    }
    const lazily = cache === this.dirty && !fully && rules.muzzy_decay_ms !== 0;
    for (const extent of evicted) {
      if (!lazily) {
        this.giveBack(extent);
        continue;
      }
      space.releaseLazily(extents.base[extent], extents.pages[extent]);
      extents.clear[extent] = false;
      this.muzzy.insert(this.muzzy.merged(extent));
    }
  }

  private giveBack(extent: number): void {
    const { extents, retained, rules, space } = this;
    if (!rules.retain) {
      space.unmap(extents.base[extent], extents.pages[extent]);
      extents.forget(extent);
      return;
    }
    space.release(extents.base[extent], extents.pages[extent]);
    extents.clear[extent] = true;
    retained.insert(retained.merged(extent));
  }

  private serial(): number {
    this.next_serial += 1;
    return this.next_serial;
  }
}

/** Which regions of slabs are taken, by extent. */
export class Slabs {
  readonly small_class: number[] = [];
  /** Free regions. */
  readonly room: number[] = [];
  private readonly taken: Int32Array[] = [];
  private readonly spare: Int32Array[] = [];

  begin(slab: number, small_class: number): void {
    const { regions } = slab_classes[small_class];
    this.small_class[slab] = small_class;
    this.room[slab] = regions;
    const taken = this.spare.pop() ?? new Int32Array(regions_max / 64);
    taken.fill(0);
    // What lies beyond the last region is never free.
    for (let at = regions; at < taken.length * 32; at += 1) taken[at >>> 5] |= 1 << (at & 31);
    this.taken[slab] = taken;
  }

  end(slab: number): void {
    this.spare.push(this.taken[slab]);
  }

  /** The lowest free region. */
  take(slab: number): number {
    const taken = this.taken[slab];
    let word = 0;
    while (taken[word] === -1) word += 1;
    const bit = 31 - Math.clz32(~taken[word] & -~taken[word]);
    taken[word] |= 1 << bit;
    this.room[slab] -= 1;
    return word * 32 + bit;
  }

  give(slab: number, region: number): void {
    this.taken[slab][region >>> 5] &= ~(1 << (region & 31));
    this.room[slab] += 1;
  }
}

/** Where a block begins, in bytes. */
export function startOf(extents: Extents, slabs: Slabs, block: number, small: boolean): number {
  const extent = extentOf(block);
  const base_bytes = extents.base[extent] * page_bytes;
  return small ? base_bytes + (block % regions_max) * slab_classes[slabs.small_class[extent]].bytes : base_bytes;
}
