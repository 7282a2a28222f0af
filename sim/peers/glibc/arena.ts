/**
 * One arena of ptmalloc: fastbins, unsorted, small and large bins, top, and how chunks split and merge. Follows
 * malloc/malloc.c of glibc 2.36 rule by rule (_int_malloc, _int_free, malloc_consolidate, _int_realloc, _int_memalign),
 * over rows instead of bytes; every write of its own is told to the pages, because each may be a first touch.
 */
import { type Meter, path } from '../meter.ts';
import { type Chunks, layout, state } from './chunks.ts';
import type { HeapPages } from './heap-pages.ts';
import type { System } from './system.ts';

const { unit_bytes, page_units, nobody } = layout;
/** A chunk of at least so many units can stand alone. */
const { chunk_min_units } = layout;
const { used, free, fast, cached, mapped } = state;
const { listed, searched } = path;
const bins = 128;
const unsorted = 1;
/** Chunks below this have a bin for each size. */
const large_units = 64;
const fastbins = 10;
/** A free chunk of this size makes fastbins merge and the top be looked at. */
const consolidate_units = 4096;
/** Unsorted chunks that one request sorts at most. */
const iterations_max = 10_000;

/** What a thread keeps to itself: lists of chunks by size, last in first out. */
export interface Cache {
  readonly head: Int32Array;
  readonly count: Uint16Array;
}

/** Limits that tunables set. */
export interface Limits {
  readonly cache_count: number;
  readonly cache_bins: number;
  readonly fast_units: number;
  /** Of the library's version (settings.ts). */
  readonly small_to_bins: boolean;
  readonly aligned_merges: boolean;
}

/** Units of a chunk for a request: 8 bytes of header, 32 bytes at least. */
export function unitsOf(size_bytes: number): number {
  if (size_bytes <= 24) return chunk_min_units;
  return size_bytes < 2 ** 30 ? (size_bytes + 23) >>> 4 : Math.ceil((size_bytes + 8) / unit_bytes);
}

export const cacheIndex = (units: number): number => units - chunk_min_units;

export class Arena {
  readonly index: number;
  top = nobody;
  /** Where its current heap begins, and how it grows: system.ts knows. */
  readonly chunks: Chunks;
  private readonly pages: HeapPages;
  private readonly system: System;
  private readonly meter: Meter;
  private readonly limits: Limits;
  private readonly bin: number;
  private readonly binmap = new Int32Array(bins / 32);
  private readonly fast = new Int32Array(fastbins);
  private has_fast = false;
  /** An address: the library compares pointers, and another chunk may lie there by then. */
  private last_remainder = -1;

  constructor(index: number, chunks: Chunks, pages: HeapPages, system: System, meter: Meter, limits: Limits) {
    this.index = index;
    this.chunks = chunks;
    this.pages = pages;
    this.system = system;
    this.meter = meter;
    this.limits = limits;
    this.bin = chunks.makeHeads(bins, index);
  }

  /** A chunk of at least `units`, or nobody; `cache` is the thread's, or null before it has one. */
  allocate(units: number, cache: Cache | null): number {
    const { chunks, bin } = this;
    const { fd, bk, size } = chunks;
    if (units <= this.limits.fast_units) {
      const chunk = this.fast[units - chunk_min_units];
      if (chunk !== nobody) return this.takeFast(units, chunk, cache);
    }
    const small = units < large_units;
    if (small) {
      const list = bin + units;
      if (bk[list] !== list) return this.takeSmall(units, list, cache);
    } else if (this.has_fast) {
      this.consolidate();
    }
    this.meter.path = searched;
    const own = small ? units : largeBin(units);
    const caches = cache !== null && cacheIndex(units) < this.limits.cache_bins;
    for (;;) {
      const sorted = this.sort(units, small, caches ? cache : null);
      if (sorted !== nobody) return sorted;
      if (!small) {
        const list = bin + own;
        const largest = fd[list];
        if (largest !== list && size[largest] >= units) {
          let fit = chunks.bk_nextsize[largest];
          while (size[fit] < units) {
            fit = chunks.bk_nextsize[fit];
            this.meter.steps += 1;
          }
          // The second of a size can go without the list of sizes being rewired.
          if (fit !== bk[list] && size[fit] === size[fd[fit]]) fit = fd[fit];
          return this.takeFree(fit, units, false);
        }
      }
      const list = this.nextBin(own + 1);
      if (list !== nobody) return this.takeFree(bk[list], units, small);
      if (size[this.top] >= units + chunk_min_units) return this.takeTop(units);
      if (!this.has_fast) return this.system.more(this, units, cache);
      this.consolidate();
    }
  }

  /** Of a chunk that was in use. */
  free(chunk: number, cache: Cache | null): void {
    const { chunks, limits } = this;
    const { size, state: kinds } = chunks;
    const units = size[chunk];
    if (
      cache !== null &&
      cacheIndex(units) < limits.cache_bins &&
      cache.count[cacheIndex(units)] < limits.cache_count
    ) {
      this.putInCache(chunk, cache);
      return;
    }
    if (units <= limits.fast_units) {
      this.meter.path = listed;
      kinds[chunk] = fast;
      chunks.fd[chunk] = this.fast[units - chunk_min_units];
      this.fast[units - chunk_min_units] = chunk;
      this.has_fast = true;
      this.pages.write(chunks.at[chunk] + 1);
      return;
    }
    this.meter.path = searched;
    this.release(chunk);
  }

  /** Past cache and fastbins: a used chunk merges; where that makes a large one, the end of the top may go back. */
  private release(chunk: number): void {
    const freed_units = this.merge(chunk, this.limits.small_to_bins);
    if (freed_units < consolidate_units) return;
    if (this.has_fast) this.consolidate();
    this.system.trim(this);
  }

  /** The chunk that now serves the request: `chunk` itself where it could shrink or grow, else another, or nobody. */
  reallocate(chunk: number, units: number, cache: Cache | null): number {
    const { chunks, pages } = this;
    const { size, at, after, state: kinds } = chunks;
    this.meter.path = searched;
    const old_units = size[chunk];
    if (old_units < units) {
      const next = after[chunk];
      if (next === this.top && old_units + size[next] >= units + chunk_min_units) {
        const taken = units - old_units;
        size[chunk] = units;
        at[next] += taken;
        size[next] -= taken;
        pages.write(at[next]);
        return chunk;
      }
      if (kinds[next] === free && old_units + size[next] >= units) {
        this.unlink(next);
        this.absorb(chunk, next);
      } else {
        const moved = this.allocate(units, cache);
        if (moved === nobody) return nobody;
        if (kinds[moved] === mapped || moved !== after[chunk]) {
          this.move(chunk, moved, cache);
          return moved;
        }
        this.absorb(chunk, moved);
      }
    }
    if (size[chunk] - units >= chunk_min_units) this.free(this.splitUsed(chunk, units), cache);
    return chunk;
  }

  /** nobody as of `allocate`. `align_units` is a power of two above 1. Mappings and the heaps beside the main one begin at whole alignments here. */
  allocateAligned(units: number, align_units: number, cache: Cache | null): number {
    const { chunks } = this;
    const { at, size } = chunks;
    // The size of a chunk is asked for as if it were a request, and gets a header more.
    let chunk = this.allocate(units + align_units + chunk_min_units + 1, cache);
    if (chunk === nobody) return nobody;
    const is_mapped = chunks.state[chunk] === mapped;
    const from = is_mapped || this.index > 0 ? at[chunk] : at[chunk] + this.system.main_base_units;
    if ((from + 1) % align_units !== 0) {
      let aligned = Math.ceil((from + 1) / align_units) * align_units - 1;
      if (aligned - from < chunk_min_units) aligned += align_units;
      if (is_mapped) {
        this.system.shift(chunk, aligned);
        return chunk;
      }
      const lead = chunk;
      chunk = this.splitUsed(lead, aligned - from);
      if (this.limits.aligned_merges) this.release(lead);
      else this.free(lead, cache);
    }
    if (is_mapped || size[chunk] === units) return chunk;
    if (!this.limits.aligned_merges) {
      if (size[chunk] > units + chunk_min_units) this.free(this.splitUsed(chunk, units), cache);
      return chunk;
    }
    const next = chunks.after[chunk];
    const merges = next === this.top || chunks.state[next] === free;
    // A rest too small to stand alone goes where it merges with what follows.
    if (merges || size[chunk] - units >= chunk_min_units) this.release(this.splitUsed(chunk, units));
    return chunk;
  }

  putInCache(chunk: number, cache: Cache): void {
    const { chunks } = this;
    const index = cacheIndex(chunks.size[chunk]);
    chunks.state[chunk] = cached;
    chunks.fd[chunk] = cache.head[index];
    cache.head[index] = chunk;
    cache.count[index] += 1;
    this.pages.write(chunks.at[chunk] + 1);
  }

  /**
   * A used chunk becomes free and merges with its neighbours, or into the top. Returns the size of what it became; that
   * is unsorted, or in its bin at once where it is small and `small_to_bins`.
   */
  private merge(chunk: number, small_to_bins: boolean): number {
    const { chunks, pages } = this;
    const { at, size, before, after, state: kinds } = chunks;
    let merged = chunk;
    const prior = before[chunk];
    if (prior !== nobody && kinds[prior] === free) {
      this.unlink(prior);
      this.absorb(prior, chunk);
      merged = prior;
    }
    const next = after[merged];
    if (next === this.top) {
      const { top } = this;
      at[top] = at[merged];
      size[top] += size[merged];
      before[top] = before[merged];
      if (before[top] !== nobody) after[before[top]] = top;
      chunks.drop(merged);
      return size[top];
    }
    if (kinds[next] === free) {
      this.unlink(next);
      this.absorb(merged, next);
    }
    const small = small_to_bins && size[merged] < large_units;
    if (small) this.binmap[size[merged] >>> 5] |= 1 << (size[merged] & 31);
    this.addFirst(merged, small ? size[merged] : unsorted);
    pages.write(at[merged] + 1);
    if (size[merged] >= large_units) pages.write(at[merged] + 2);
    return size[merged];
  }

  unlink(chunk: number): void {
    const { fd, bk, fd_nextsize, bk_nextsize, size } = this.chunks;
    const forward = fd[chunk];
    const back = bk[chunk];
    bk[forward] = back;
    fd[back] = forward;
    if (size[chunk] < large_units || fd_nextsize[chunk] === nobody) return;
    const next = fd_nextsize[chunk];
    const prior = bk_nextsize[chunk];
    if (fd_nextsize[forward] !== nobody) {
      bk_nextsize[next] = prior;
      fd_nextsize[prior] = next;
    } else if (next === chunk) {
      fd_nextsize[forward] = forward;
      bk_nextsize[forward] = forward;
    } else {
      fd_nextsize[forward] = next;
      bk_nextsize[forward] = prior;
      bk_nextsize[next] = forward;
      fd_nextsize[prior] = forward;
    }
  }

  /** The rest of a used chunk beyond `units` as a used chunk of its own. */
  private splitUsed(chunk: number, units: number): number {
    const rest = this.splitOff(chunk, units, used);
    this.pages.write(this.chunks.at[rest]);
    return rest;
  }

  private takeFast(units: number, chunk: number, cache: Cache | null): number {
    const { chunks, fast, limits } = this;
    const { fd } = chunks;
    const list = units - chunk_min_units;
    this.meter.path = listed;
    fast[list] = fd[chunk];
    chunks.state[chunk] = used;
    if (cache !== null && list < limits.cache_bins)
      while (cache.count[list] < limits.cache_count && fast[list] !== nobody) {
        const stashed = fast[list];
        fast[list] = fd[stashed];
        this.putInCache(stashed, cache);
      }
    return chunk;
  }

  private takeSmall(units: number, list: number, cache: Cache | null): number {
    const { bk, state: kinds } = this.chunks;
    this.meter.path = listed;
    const chunk = bk[list];
    this.takeLast(list);
    kinds[chunk] = used;
    const index = cacheIndex(units);
    if (cache !== null && index < this.limits.cache_bins)
      while (cache.count[index] < this.limits.cache_count && bk[list] !== list) {
        const stashed = bk[list];
        this.takeLast(list);
        this.putInCache(stashed, cache);
      }
    return chunk;
  }

  private takeLast(list: number): void {
    const { fd, bk } = this.chunks;
    const back = bk[bk[list]];
    bk[list] = back;
    fd[back] = list;
  }

  /** Goes through the unsorted chunks: the first that fits exactly is returned, others go to their bins. */
  private sort(units: number, small: boolean, cache: Cache | null): number {
    const { chunks, limits } = this;
    const { bk, fd, size, state: kinds } = chunks;
    const list = this.bin + unsorted;
    const index = cacheIndex(units);
    let stashed = false;
    for (let iteration = 0; bk[list] !== list && iteration < iterations_max; ) {
      const chunk = bk[list];
      const back = bk[chunk];
      this.meter.steps += 1;
      if (small && back === list && chunks.at[chunk] === this.last_remainder && size[chunk] > units + chunk_min_units) {
        // A run of small requests goes on where the last one split.
        bk[list] = list;
        fd[list] = list;
        kinds[chunk] = used;
        this.last_remainder = chunks.at[this.splitFree(chunk, units)];
        return chunk;
      }
      bk[list] = back;
      fd[back] = list;
      if (size[chunk] !== units) {
        this.place(chunk);
        iteration += 1;
        continue;
      }
      if (cache === null || cache.count[index] >= limits.cache_count) {
        kinds[chunk] = used;
        return chunk;
      }
      this.putInCache(chunk, cache);
      stashed = true;
    }
    if (!stashed) return nobody;
    const chunk = cache!.head[index];
    cache!.head[index] = fd[chunk];
    cache!.count[index] -= 1;
    kinds[chunk] = used;
    return chunk;
  }

  /** Into its bin; large bins are kept in falling order of size, the second of a size behind the first. */
  private place(chunk: number): void {
    const { fd, bk, fd_nextsize, bk_nextsize, size } = this.chunks;
    const units = size[chunk];
    const bin = units < large_units ? units : largeBin(units);
    const list = this.bin + bin;
    let back = list;
    let forward = fd[list];
    if (units >= large_units) {
      if (forward === list) {
        fd_nextsize[chunk] = chunk;
        bk_nextsize[chunk] = chunk;
      } else if (units < size[bk[list]]) {
        const first = fd[list];
        forward = list;
        back = bk[list];
        fd_nextsize[chunk] = first;
        bk_nextsize[chunk] = bk_nextsize[first];
        fd_nextsize[bk_nextsize[first]] = chunk;
        bk_nextsize[first] = chunk;
      } else {
        while (units < size[forward]) {
          forward = fd_nextsize[forward];
          this.meter.steps += 1;
        }
        if (units === size[forward]) {
          forward = fd[forward];
          fd_nextsize[chunk] = nobody;
          bk_nextsize[chunk] = nobody;
        } else {
          fd_nextsize[chunk] = forward;
          bk_nextsize[chunk] = bk_nextsize[forward];
          fd_nextsize[bk_nextsize[forward]] = chunk;
          bk_nextsize[forward] = chunk;
        }
        back = bk[forward];
      }
    }
    this.binmap[bin >>> 5] |= 1 << (bin & 31);
    fd[chunk] = forward;
    bk[chunk] = back;
    bk[forward] = chunk;
    fd[back] = chunk;
  }

  /** The head of the first bin from `from` on that has chunks, or nobody. Bits of bins found empty are cleared. */
  private nextBin(from: number): number {
    const { binmap } = this;
    const { bk } = this.chunks;
    for (let word = from >>> 5, mask = -1 << (from & 31); word < binmap.length; word += 1, mask = -1) {
      for (let map = binmap[word] & mask; map !== 0; map &= map - 1) {
        const bit = 31 - Math.clz32(map & -map);
        const list = this.bin + (word << 5) + bit;
        if (bk[list] !== list) return list;
        binmap[word] &= ~(1 << bit);
      }
    }
    return nobody;
  }

  private takeFree(chunk: number, units: number, remember: boolean): number {
    const { chunks } = this;
    this.unlink(chunk);
    chunks.state[chunk] = used;
    if (chunks.size[chunk] - units < chunk_min_units) return chunk;
    const rest = this.splitFree(chunk, units);
    if (remember) this.last_remainder = chunks.at[rest];
    return chunk;
  }

  /** From the top, which is large enough. */
  takeTop(units: number): number {
    const { chunks, top } = this;
    const { at, size, before, after } = chunks;
    const chunk = chunks.make(used, this.index);
    at[chunk] = at[top];
    size[chunk] = units;
    before[chunk] = before[top];
    after[chunk] = top;
    if (before[top] !== nobody) after[before[top]] = chunk;
    before[top] = chunk;
    at[top] += units;
    size[top] -= units;
    this.pages.write(at[top]);
    return chunk;
  }

  /** The rest of a chunk beyond `units`, free and unsorted. */
  private splitFree(chunk: number, units: number): number {
    const { at, size } = this.chunks;
    const rest = this.splitOff(chunk, units, free);
    this.addFirst(rest, unsorted);
    this.pages.write(at[rest]);
    this.pages.write(at[rest] + 1);
    if (size[rest] >= large_units) this.pages.write(at[rest] + 2);
    return rest;
  }

  private splitOff(chunk: number, units: number, kind: number): number {
    const { chunks } = this;
    const { at, size, before, after } = chunks;
    const rest = chunks.make(kind, this.index);
    at[rest] = at[chunk] + units;
    size[rest] = size[chunk] - units;
    size[chunk] = units;
    before[rest] = chunk;
    after[rest] = after[chunk];
    before[after[chunk]] = rest;
    after[chunk] = rest;
    return rest;
  }

  private addFirst(chunk: number, bin: number): void {
    const { fd, bk, fd_nextsize, bk_nextsize, state: kinds } = this.chunks;
    const list = this.bin + bin;
    const first = fd[list];
    kinds[chunk] = free;
    fd[chunk] = first;
    bk[chunk] = list;
    fd[list] = chunk;
    bk[first] = chunk;
    fd_nextsize[chunk] = nobody;
    bk_nextsize[chunk] = nobody;
  }

  /** `next`, the neighbour above, becomes part of `chunk`. */
  private absorb(chunk: number, next: number): void {
    const { chunks } = this;
    const { size, before, after } = chunks;
    size[chunk] += size[next];
    after[chunk] = after[next];
    before[after[next]] = chunk;
    chunks.drop(next);
  }

  private consolidate(): void {
    const { fast } = this;
    const { fd } = this.chunks;
    this.has_fast = false;
    for (let list = 0; list < fastbins; list += 1) {
      let chunk = fast[list];
      fast[list] = nobody;
      while (chunk !== nobody) {
        const next = fd[chunk];
        this.meter.steps += 1;
        this.merge(chunk, false);
        chunk = next;
      }
    }
  }

  /** The contents of a used heap chunk, read and written elsewhere; it is free then. */
  move(from: number, to: number, cache: Cache | null): void {
    const { chunks, pages, meter } = this;
    const { at, size } = chunks;
    const bytes = size[from] * unit_bytes - 8;
    pages.readAll(at[from] + 1, at[from] + size[from]);
    meter.copied_bytes += bytes;
    if (chunks.state[to] === mapped) this.system.writeMapped(to, bytes);
    else pages.writeAll(at[to] + 1, at[to] + size[from]);
    this.free(from, cache);
  }
}

/** The bin of a chunk of 1 KiB and more: 64-byte steps, then 512, 4 Ki, 32 Ki, 256 Ki, then one for the rest. */
function largeBin(units: number): number {
  if (units >>> 2 <= 48) return 48 + (units >>> 2);
  if (units >>> 5 <= 20) return 91 + (units >>> 5);
  if (units >>> 8 <= 10) return 110 + (units >>> 8);
  if (units >>> 11 <= 4) return 119 + (units >>> 11);
  if (units >>> 14 <= 2) return 124 + (units >>> 14);
  return 126;
}

/** Whole pages that hold so many bytes, in units. */
export const pageUnits = (bytes: number): number => Math.ceil(bytes / 4096) * page_units;
