/**
 * glibc's malloc (ptmalloc) over a trace: threads with their caches, arenas, and what each event does to heap and kernel.
 * A peer: there is no mirror of it in C, it is held to the real library (docs/GLIBC.md), address by address where that can be.
 */
import { op } from '../../traces/trace.ts';
import { pagesOf, touchedPages } from '../kernel/touch.ts';
import { Arena, type Cache, cacheIndex, type Limits, unitsOf } from './glibc/arena.ts';
import { Chunks, layout, state } from './glibc/chunks.ts';
import { HeapPages } from './glibc/heap-pages.ts';
import { type GlibcSettings, type GlibcVersion, glibcVersion, settingOr } from './glibc/settings.ts';
import { heap_max_units, main_heap_max_units, System } from './glibc/system.ts';
import { Meter, path } from './meter.ts';
import type { Peer } from './peer.ts';

// Of their own to this module: layout says why.
const { unit_bytes, nobody } = layout;
const { used, mapped } = state;
const { listed, searched } = path;
const { free } = op;
const page_bytes = 4096;
const cache_lists_max = 64;
/** sizeof tcache_perthread_struct. */
const cache_bytes = 640;
/** Arenas that are made before processors are counted (arena_test). */
const arenas_free = 8;

export interface GlibcMachine {
  readonly version: string;
  readonly processors: number;
  /** Of the kernel's profile. */
  readonly read_maps_zero: boolean;
  /** Where the break began: it decides where alignments beyond a page fall. */
  readonly main_base_bytes: number;
  /**
   * What the process had in its heap before the trace began, first thing of all: at least the first thread's cache. A
   * block of 24 bytes, freed again, follows it.
   */
  readonly start_bytes: number;
}

export const glibc_machine: GlibcMachine = {
  version: '2.36',
  processors: 2,
  read_maps_zero: true,
  main_base_bytes: 0,
  start_bytes: cache_bytes + unit_bytes,
};

interface Thread {
  arena: Arena | null;
  cache: Cache | null;
}

/** Where a block lies: what the real library is compared by. */
export interface Place {
  readonly mapped: boolean;
  /** Of the block, from the start of its heap; 0 of a mapped one. */
  readonly offset_bytes: number;
  readonly usable_bytes: number;
  /** 0 is the main arena. */
  readonly arena: number;
  readonly main_heap_bytes: number;
}

export class Glibc implements Peer {
  readonly meter = new Meter();
  readonly system: System;
  private readonly touch: number;
  private readonly version: GlibcVersion;
  private readonly limits: Limits;
  private readonly arenas_max: number;
  private readonly chunks = new Chunks();
  private readonly pages: HeapPages;
  private readonly arenas: Arena[] = [];
  private readonly threads: Thread[] = [];
  /** Whose events come first; it has the main arena. */
  private readonly first: Thread = { arena: null, cache: null };
  private next_arena = 0;
  private last_placed = 0;
  private readonly resident_at_start: number;
  private chunk_of = new Int32Array(1024);

  constructor(settings: GlibcSettings, machine: GlibcMachine, touch: number) {
    const { chunks, meter } = this;
    this.touch = touch;
    this.version = glibcVersion(machine.version);
    this.limits = limitsOf(settings, this.version);
    const arena_max = settingOr(settings, 'arena_max');
    this.arenas_max = arena_max > 0 ? arena_max : Math.max(arenas_free + 1, arenas_free * machine.processors);
    this.pages = new HeapPages(meter, machine.read_maps_zero);
    this.system = new System(settings, machine.main_base_bytes, chunks, this.pages, meter);
    this.start(machine.start_bytes);
    this.resident_at_start = this.pages.resident_pages;
  }

  /** Without what the process had before the trace. */
  get resident_pages(): number {
    return this.pages.resident_pages + this.system.mapped_resident_pages - this.resident_at_start;
  }

  get mapped_pages(): number {
    return this.system.mapped_pages + this.system.heap_pages;
  }

  /** Offset of the last block in its heap, in units, and beside it whether it is mapped. */
  get placed(): number {
    return this.last_placed;
  }

  run(kind: number, thread: number, object: number, size_bytes: number, align: number, touched: number): void {
    this.meter.begin();
    this.chunks.reserve();
    if (object >= this.chunk_of.length) this.widen(object + 1);
    const who = this.threads[thread] ?? this.meet(thread);
    if (kind === free) {
      const freed = this.chunk_of[object];
      const arena = this.chunks.arena[freed];
      this.free(who, freed);
      this.noteArena(arena);
      this.chunk_of[object] = nobody;
      this.last_placed = 0;
      return;
    }
    const chunk = this.serve(who, kind, object, size_bytes, align);
    this.chunk_of[object] = chunk;
    this.noteArena(this.chunks.arena[chunk]);
    this.last_placed = this.chunks.state[chunk] === mapped ? -1 : placeIn(this.chunks.at[chunk] + 1);
    this.use(chunk, size_bytes, touchedPages(this.touch, size_bytes, touched));
  }

  /** Of a live object. */
  placeOf(object: number): Place {
    const { chunks, system } = this;
    const chunk = this.chunk_of[object];
    const is_mapped = chunks.state[chunk] === mapped;
    const at = chunks.at[chunk];
    return {
      mapped: is_mapped,
      offset_bytes: is_mapped ? 0 : placeIn(at + 1) * unit_bytes,
      usable_bytes: this.usable(chunk),
      arena: chunks.arena[chunk],
      main_heap_bytes: system.main_bytes,
    };
  }

  /** What a thread's cache does not serve takes the lock of an arena; what is mapped alone, only that of the address space. */
  private noteArena(arena: number): void {
    const { meter } = this;
    if (meter.path === listed || meter.path === searched) meter.arena = arena;
  }

  private start(start_bytes: number): void {
    this.chunks.reserve();
    const { first } = this;
    first.arena = this.makeArena();
    this.prepare(first);
    const more_bytes = start_bytes - cache_bytes - unit_bytes;
    if (more_bytes > 0)
      this.use(first.arena.allocate(more_bytes / unit_bytes, null), more_bytes - 8, pagesOf(more_bytes));
    this.free(first, this.malloc(first, unitsOf(1)));
  }

  private serve(who: Thread, kind: number, object: number, size_bytes: number, align: number): number {
    const units = unitsOf(size_bytes);
    if (kind === op.malloc) return this.malloc(who, units);
    if (kind === op.realloc) return this.realloc(who, this.chunk_of[object], size_bytes);
    if (kind === op.calloc) return this.calloc(who, units);
    if (align <= unit_bytes) return this.malloc(who, units);
    if (this.version.aligned_merges && who.cache !== null) {
      const cached = this.takeAligned(who.cache, cacheIndex(units), align / unit_bytes);
      if (cached !== nobody) return cached;
    }
    // The thread has no cache yet where this is the first that it asks for.
    const arena = this.arenaOf(who, size_bytes + align + 2 * unit_bytes);
    const chunk = arena.allocateAligned(units, align / unit_bytes, who.cache);
    return chunk !== nobody ? chunk : this.main.allocateAligned(units, align / unit_bytes, who.cache);
  }

  /** The main arena serves what the thread's own did not. */
  private get main(): Arena {
    return this.arenas[0];
  }

  private allocate(arena: Arena, units: number, cache: Cache | null): number {
    const chunk = arena.allocate(units, cache);
    return chunk !== nobody ? chunk : this.main.allocate(units, cache);
  }

  private malloc(who: Thread, units: number): number {
    const cache = who.cache ?? this.prepare(who);
    const index = cacheIndex(units);
    if (cache !== null && index < this.limits.cache_bins && cache.count[index] > 0)
      return this.takeCached(cache, index);
    return this.allocate(this.arenaOf(who, units * unit_bytes), units, cache);
  }

  private calloc(who: Thread, units: number): number {
    const { chunks, meter, system } = this;
    const cache = who.cache ?? this.prepare(who);
    const index = cacheIndex(units);
    const cached =
      this.version.calloc_takes_from_tcache &&
      cache !== null &&
      index < this.limits.cache_bins &&
      cache.count[index] > 0;
    const arena = this.arenaOf(who, units * unit_bytes);
    const { top } = arena;
    const top_at = top === nobody ? -1 : chunks.at[top];
    const used_bytes = top === nobody ? 0 : system.usedOfTop(arena);
    const chunk = cached ? this.takeCached(cache, index) : this.allocate(arena, units, cache);
    if (chunks.state[chunk] === mapped) return chunk;
    const at = chunks.at[chunk];
    let bytes = chunks.size[chunk] * unit_bytes;
    // What came from beyond the old top was never anybody's and is clear as it is.
    if (at === top_at && bytes > used_bytes) bytes = used_bytes;
    meter.cleared_bytes += bytes;
    // The block and its successor's first word, which belongs to it: up to 8 bytes short of the chunk's end and header.
    this.pages.writeAll(at + 1, at + Math.floor((unit_bytes + bytes - 8 - 1) / unit_bytes));
    return chunk;
  }

  private realloc(who: Thread, chunk: number, size_bytes: number): number {
    const { chunks, system } = this;
    const units = unitsOf(size_bytes);
    if (this.keeps(chunk, size_bytes)) return chunk;
    if (chunks.state[chunk] === mapped) {
      system.remap(chunk, units);
      return chunk;
    }
    const cache = who.cache ?? this.prepare(who);
    const arena = this.arenas[chunks.arena[chunk]];
    const served = arena.reallocate(chunk, units, cache);
    if (served !== nobody) return served;
    const moved = this.malloc(who, units);
    arena.move(chunk, moved, cache);
    return moved;
  }

  /** Newer versions return a block as it is, before anything else, where it has room. */
  private keeps(chunk: number, size_bytes: number): boolean {
    const { realloc_keeps } = this.version;
    if (realloc_keeps === 'never') return false;
    const spare_bytes = this.usable(chunk) - size_bytes;
    if (spare_bytes < 0) return false;
    if (realloc_keeps === 'with_room') return spare_bytes <= this.system.trim_threshold;
    return spare_bytes < unit_bytes || (this.chunks.state[chunk] === mapped && spare_bytes <= page_bytes);
  }

  private usable(chunk: number): number {
    const { at, size, state: kinds } = this.chunks;
    if (kinds[chunk] === mapped) return size[chunk] * page_bytes - at[chunk] * unit_bytes - unit_bytes;
    return size[chunk] * unit_bytes - 8;
  }

  private free(who: Thread, chunk: number): void {
    const { chunks, system } = this;
    if (chunks.state[chunk] === mapped) {
      system.unmap(chunk);
      return;
    }
    const cache = who.cache ?? this.prepare(who);
    this.arenas[chunks.arena[chunk]].free(chunk, cache);
  }

  private takeCached(cache: Cache, index: number): number {
    const chunk = cache.head[index];
    cache.head[index] = this.chunks.fd[chunk];
    cache.count[index] -= 1;
    this.chunks.state[chunk] = used;
    return chunk;
  }

  /** The first of a list that lies at an alignment, or nobody. */
  private takeAligned(cache: Cache, index: number, align_units: number): number {
    if (index >= this.limits.cache_bins) return nobody;
    const { at, fd, arena, state: kinds } = this.chunks;
    let before = nobody;
    for (let left = cache.count[index], chunk = cache.head[index]; left > 0; left -= 1) {
      const base = arena[chunk] === 0 ? this.system.main_base_units : 0;
      if ((base + at[chunk] + 1) % align_units === 0) {
        if (before === nobody) cache.head[index] = fd[chunk];
        else fd[before] = fd[chunk];
        cache.count[index] -= 1;
        kinds[chunk] = used;
        return chunk;
      }
      before = chunk;
      chunk = fd[chunk];
    }
    return nobody;
  }

  /** The program writes to the first pages of its block; of a block that it touches whole, to the last byte, too. */
  private use(chunk: number, size_bytes: number, pages: number): void {
    if (pages === 0) return;
    const last_byte = pages === pagesOf(size_bytes) ? size_bytes - 1 : (pages - 1) * page_bytes;
    const { at, state: kinds } = this.chunks;
    if (kinds[chunk] === mapped) this.system.writeMapped(chunk, last_byte + 1);
    else this.pages.writeAll(at[chunk] + 1, at[chunk] + 1 + Math.floor(last_byte / unit_bytes));
  }

  /** The thread's cache is made of the arena at its first request, or first free of a heap block; null where there is none. */
  private prepare(who: Thread): Cache | null {
    if (!this.version.tcache) return null;
    const arena = this.arenaOf(who, cache_bytes);
    const chunk = arena.allocate(unitsOf(cache_bytes), null);
    this.use(chunk, cache_bytes, pagesOf(cache_bytes));
    who.cache = { head: new Int32Array(cache_lists_max), count: new Uint16Array(cache_lists_max) };
    return who.cache;
  }

  /** New threads get new arenas until there are enough; then they share them in turn. */
  private arenaOf(who: Thread, size_bytes: number): Arena {
    if (who.arena !== null) return who.arena;
    if (this.arenas.length < this.arenas_max) {
      who.arena = this.makeArena();
      this.system.begin(who.arena, size_bytes);
    } else {
      // The list goes from the main arena to the newest, and from there to the oldest.
      const { length } = this.arenas;
      who.arena = this.arenas[this.next_arena];
      this.next_arena = this.next_arena === 0 ? length - 1 : this.next_arena - 1;
    }
    return who.arena;
  }

  private makeArena(): Arena {
    const { chunks, pages, system, meter, limits } = this;
    const arena = new Arena(this.arenas.length, chunks, pages, system, meter, limits);
    this.arenas.push(arena);
    return arena;
  }

  private meet(thread: number): Thread {
    const who: Thread = this.threads.length === 0 ? this.first : { arena: null, cache: null };
    this.threads[thread] = who;
    return who;
  }

  private widen(objects: number): void {
    const wider = new Int32Array(Math.max(objects, 2 * this.chunk_of.length));
    wider.set(this.chunk_of);
    this.chunk_of = wider;
  }
}

/** Offset in a heap: that of the main arena begins at 0, the others at multiples of their size. */
function placeIn(unit: number): number {
  return unit < main_heap_max_units ? unit : unit % heap_max_units;
}

function limitsOf(settings: GlibcSettings, version: GlibcVersion): Limits {
  const fast_bytes = settingOr(settings, 'mxfast');
  return {
    cache_count: version.tcache ? settingOr(settings, 'tcache_count') : 0,
    cache_bins: cacheIndex(unitsOf(settingOr(settings, 'tcache_max'))) + 1,
    small_to_bins: version.small_to_bins,
    aligned_merges: version.aligned_merges,
    fast_units: fast_bytes <= 7 ? 1 : Math.floor((fast_bytes + 8) / unit_bytes),
  };
}
