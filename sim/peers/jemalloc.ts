/**
 * jemalloc 5.3.0 over a trace: threads with their caches, arenas, extents, and what each event does to the kernel. A peer:
 * there is no mirror of it in C, it is held to the real library (docs/PEERS.md).
 */
import { op } from '../../traces/trace.ts';
import { mix32 } from '../decide/digest.ts';
import { pagesOf, touchedPages } from '../kernel/touch.ts';
import { Arena, type ArenaRules, extentOf, regions_max, Slabs, startOf } from './jemalloc/arena.ts';
import { alignedBytes, classOf, large_min_bytes, small_max_bytes, usableBytes } from './jemalloc/classes.ts';
import { base_pages, Extents, pad_pages } from './jemalloc/extents.ts';
import { type JemallocSettings, jemalloc_settings, settingOr } from './jemalloc/settings.ts';
import { cacheBytes, ThreadCache } from './jemalloc/thread-cache.ts';
import { Meter, path } from './meter.ts';
import type { Clock, Peer } from './peer.ts';
import { Space } from './space.ts';

const page_bytes = 4096;
/** Large blocks begin at a multiple of this in their first page. */
const line_bytes = 64;
/** Clocks are read about once in so many allocations, frees and refills of a thread. */
const ticks_a_look = 1000;
/** -61 * ln((n + 1) / 64): the wait until the next look, drawn from 64. */
const wait_scale = 61;
const waits: readonly number[] = [
  254, 211, 187, 169, 156, 144, 135, 127, 120, 113, 107, 102, 97, 93, 89, 85, 81, 77, 74, 71, 68, 65, 62, 60, 57, 55,
  53, 50, 48, 46, 44, 42, 40, 39, 37, 35, 33, 32, 30, 29, 27, 26, 24, 23, 21, 20, 19, 18, 16, 15, 14, 13, 12, 10, 9, 8,
  7, 6, 5, 4, 3, 2, 1, 0,
];
/** libstdc++, which the library is linked with, keeps so much for exceptions thrown when memory is out. */
const pool_bytes = 72_704;
/** The class of the vector that the C library asks for as it starts a thread. */
const vector_bytes = 320;
/** Pages that a new arena, and a new thread's own storage, write besides its first extents. */
const arena_pages = 24;

export interface JemallocMachine {
  readonly processors: number;
  /** How far below a multiple of 1 GiB the first mapping lies: it decides where alignments fall. */
  readonly below_pages: number;
  /** Of others, between what is mapped as the process begins and what the trace has mapped. */
  readonly gap_pages: number;
  /** Threads that were started before the trace, each with a block for its thread-local storage. */
  readonly threads_before: number;
  /** Of the library's own chance: where blocks begin in their first page, and when a thread looks at the clock. */
  readonly seed: number;
  readonly clock: Clock | null;
}

export const jemalloc_machine: JemallocMachine = {
  processors: 2,
  below_pages: 1600,
  gap_pages: 0,
  threads_before: 0,
  seed: 1,
  clock: null,
};

interface Thread {
  readonly arena: Arena;
  readonly cache: ThreadCache | null;
  ticks: number;
}

export class Jemalloc implements Peer {
  readonly meter = new Meter();
  readonly space: Space;
  private readonly extents: Extents;
  private readonly slabs = new Slabs();
  private readonly settings: JemallocSettings;
  private readonly touch: number;
  private readonly rules: ArenaRules;
  private readonly oversize_bytes: number;
  private readonly arenas_max: number;
  private readonly arenas: Arena[] = [];
  private readonly threads: (Thread | undefined)[] = [];
  private threads_met = 0;
  private readonly main: Thread;
  private main_is_free = true;
  private huge_arena: Arena | null = null;
  private block_of = new Float64Array(1024).fill(-1);
  private usable_of = new Float64Array(1024);
  /** Of large blocks: how far into its first page. */
  private readonly offset_of: number[] = [];
  private draws: number;
  private now_ns = 0;
  private readonly clock: Clock | null;
  private events = 1;
  private last_placed = 0;

  constructor(settings: JemallocSettings, machine: JemallocMachine, touch: number) {
    this.settings = settings;
    this.clock = machine.clock;
    this.draws = mix32(machine.seed);
    this.touch = touch;
    this.space = new Space(this.meter, machine.below_pages);
    this.extents = new Extents(this.space);
    const threshold = settingOr(settings, 'oversize_threshold');
    this.oversize_bytes = threshold < large_min_bytes ? Number.POSITIVE_INFINITY : threshold;
    this.rules = {
      dirty_decay_ms: settingOr(settings, 'dirty_decay_ms'),
      muzzy_decay_ms: settingOr(settings, 'muzzy_decay_ms'),
      retain: settingOr(settings, 'retain') > 0,
      oversize_pages: this.oversize_bytes / page_bytes,
      max_fit_log2: settingOr(settings, 'lg_extent_max_active_fit'),
    };
    const narenas = settingOr(settings, 'narenas');
    this.arenas_max = narenas > 0 ? narenas : machine.processors > 1 ? 4 * machine.processors : 1;
    this.main = this.makeThread();
    this.start(machine.threads_before);
    this.space.skip(machine.gap_pages);
    this.space.begin();
  }

  /** Without what the process had before the trace. */
  get resident_pages(): number {
    return this.space.resident_since;
  }

  get mapped_pages(): number {
    return this.space.mapped_since;
  }

  /** First page of the last block, and its region there. */
  get placed(): number {
    return this.last_placed;
  }

  /** Pages of the allocator's own books that the trace made it write. */
  get metadata_pages(): number {
    return this.extents.metadata_pages;
  }

  run(
    kind: number,
    thread: number,
    object: number,
    size_bytes: number,
    align: number,
    touched: number,
    time_ns: number,
  ): void {
    this.now_ns = this.clock === null ? time_ns : this.clock.start_ns + this.events * this.clock.event_ns;
    this.events += 1;
    this.meter.begin();
    if (object >= this.block_of.length) this.widen(object + 1);
    const who = this.threads[thread] ?? this.meet(thread);
    if (kind === op.free) {
      this.free(who, this.block_of[object], this.usable_of[object]);
      this.block_of[object] = -1;
      this.last_placed = 0;
      return;
    }
    const usable = kind === op.aligned ? alignedBytes(size_bytes, align) : usableBytes(size_bytes);
    const block =
      kind === op.realloc
        ? this.realloc(who, this.block_of[object], this.usable_of[object], usable)
        : this.allocate(who, kind, size_bytes, usable, align);
    this.block_of[object] = block;
    this.usable_of[object] = usable;
    this.last_placed = this.extents.base[extentOf(block)] ^ ((block % regions_max) << 22);
    this.use(block, usable, size_bytes, touchedPages(this.touch, size_bytes, touched));
  }

  /** First byte of a live object and how many it may use. */
  placeOf(object: number): { readonly from_bytes: number; readonly usable_bytes: number } {
    const usable_bytes = this.usable_of[object];
    return { from_bytes: this.startOf(this.block_of[object], usable_bytes), usable_bytes };
  }

  /** What every process has: an arena, the first thread's cache, what C++ keeps, and one small block that came and went. */
  private start(threads_before: number): void {
    this.meter.begin();
    const first = this.main;
    this.use(this.allocate(first, op.malloc, pool_bytes, usableBytes(pool_bytes), 0), pool_bytes, 1, 1);
    for (let at = 0; at < threads_before; at += 1) this.allocate(first, op.calloc, vector_bytes, vector_bytes, 0);
    this.free(first, this.allocate(first, op.malloc, 1, 8, 0), 8);
  }

  private allocate(who: Thread, kind: number, size_bytes: number, usable: number, align: number): number {
    const block =
      usable <= small_max_bytes
        ? this.allocateSmall(who, usable, kind === op.calloc)
        : this.allocateLarge(who, kind, size_bytes, usable, align);
    who.cache?.asked(usable);
    return block;
  }

  private allocateSmall(who: Thread, usable: number, clears: boolean): number {
    const index = classOf(usable);
    const { cache } = who;
    let block: number;
    if (cache !== null && index < cache.classes) {
      if (!cache.holds(index)) this.meter.path = path.searched;
      block = cache.take(index) as number;
    } else {
      this.meter.path = path.searched;
      block = who.arena.takeSmall(index);
      this.tick(who, who.arena, 1);
    }
    if (clears) this.clear(block, usable);
    return block;
  }

  private allocateLarge(who: Thread, kind: number, size_bytes: number, usable: number, align: number): number {
    const { cache } = who;
    const aligned = kind === op.aligned;
    if (cache !== null && !aligned) {
      const index = classOf(usable);
      const cached = index < cache.classes ? cache.take(index) : undefined;
      if (cached !== undefined) {
        if (kind === op.calloc) this.clear(cached, usable);
        return cached;
      }
    }
    // The arena is chosen by what was asked for, of aligned blocks by what they get.
    const arena = this.arenaFor(who, aligned ? usable : size_bytes);
    return this.takeLarge(who, arena, usable, aligned ? align : 1, kind === op.calloc);
  }

  private takeLarge(who: Thread, arena: Arena, usable: number, align: number, clears: boolean): number {
    const extent = arena.take(usable / page_bytes + pad_pages, Math.max(1, align / page_bytes), clears);
    const lines = align >= page_bytes ? 1 : page_bytes / Math.max(line_bytes, align);
    this.offset_of[extent] = (this.draw() % lines) * (page_bytes / lines);
    this.tick(who, arena, 1);
    return extent * regions_max;
  }

  private realloc(who: Thread, block: number, old_usable: number, usable: number): number {
    const { extents } = this;
    const arena = this.arenas[extents.arena[extentOf(block)]];
    let kept = block;
    if (usable === old_usable) this.tick(who, arena, 1);
    else if (
      old_usable >= large_min_bytes &&
      usable >= large_min_bytes &&
      this.resize(who, arena, block, old_usable, usable)
    )
      kept = block;
    else kept = this.move(who, block, old_usable, usable);
    who.cache?.asked(usable);
    who.cache?.freed(old_usable);
    return kept;
  }

  private resize(who: Thread, arena: Arena, block: number, old_usable: number, usable: number): boolean {
    const extent = extentOf(block);
    if (usable < old_usable) arena.shrink(extent, usable / page_bytes + pad_pages);
    else if (!arena.extend(extent, (usable - old_usable) / page_bytes)) return false;
    this.tick(who, arena, 1);
    return true;
  }

  private move(who: Thread, block: number, old_usable: number, usable: number): number {
    const { meter, space } = this;
    const both_large = old_usable >= large_min_bytes && usable >= large_min_bytes;
    const index = classOf(usable);
    let fresh: number;
    if (usable <= small_max_bytes) fresh = this.allocateSmall(who, usable, false);
    else {
      const cached = !both_large && who.cache !== null && index < who.cache.classes ? who.cache.take(index) : undefined;
      fresh = cached ?? this.takeLarge(who, this.arenaFor(who, usable), usable, 1, false);
    }
    const bytes = Math.min(old_usable, usable);
    const from = this.startOf(block, old_usable);
    const to = this.startOf(fresh, usable);
    space.readAll(Math.floor(from / page_bytes), pageSpan(from, bytes));
    space.writeAll(Math.floor(to / page_bytes), pageSpan(to, bytes));
    meter.copied_bytes += bytes;
    this.release(who, block, old_usable);
    return fresh;
  }

  private free(who: Thread, block: number, usable: number): void {
    who.cache?.freed(usable);
    this.release(who, block, usable);
  }

  private release(who: Thread, block: number, usable: number): void {
    const index = classOf(usable);
    if (who.cache !== null && index < who.cache.classes) who.cache.give(index, block);
    else this.flush(who, [block], usable <= small_max_bytes);
  }

  /** Blocks go to the arenas that they came from, those of one arena together. */
  private flush(who: Thread, blocks: readonly number[], small: boolean): void {
    const { extents, meter } = this;
    if (meter.path < path.searched) meter.path = path.searched;
    let left = blocks;
    while (left.length > 0) {
      const index = extents.arena[extentOf(left[0])];
      const arena = this.arenas[index];
      const later: number[] = [];
      for (const block of left) {
        if (extents.arena[extentOf(block)] !== index) later.push(block);
        else if (small) arena.giveSmall(block);
        else arena.give(extentOf(block));
      }
      this.tick(who, arena, left.length - later.length);
      left = later;
    }
  }

  private fill(who: Thread, index: number, count: number): number[] {
    const blocks = Array.from({ length: count }, () => who.arena.takeSmall(index));
    this.tick(who, who.arena, 1);
    return blocks.reverse();
  }

  /** About once in a thousand ticks of a thread the arena at hand looks at the clock. */
  private tick(who: Thread, arena: Arena, ticks: number): void {
    who.ticks -= ticks;
    if (who.ticks >= 0) return;
    who.ticks = Math.floor((ticks_a_look * waits[this.draw() % waits.length]) / wait_scale);
    arena.tick(this.now_ns);
  }

  private arenaFor(who: Thread, bytes: number): Arena {
    if (bytes < this.oversize_bytes) return who.arena;
    if (this.huge_arena === null) {
      const { rules } = this;
      // What is kept for a while elsewhere is not kept here.
      const never = (ms: number): number => (ms > 0 ? 0 : ms);
      this.huge_arena = this.makeArena({
        ...rules,
        dirty_decay_ms: never(rules.dirty_decay_ms),
        muzzy_decay_ms: never(rules.muzzy_decay_ms),
      });
    }
    return this.huge_arena;
  }

  /** The thread of the first event is the one that the process began with. */
  private meet(thread: number): Thread {
    const who = this.main_is_free ? this.main : this.makeThread();
    this.main_is_free = false;
    this.threads[thread] = who;
    return who;
  }

  private makeThread(): Thread {
    const shared = this.arenas.filter((arena) => arena !== this.huge_arena);
    const arena =
      shared.length < this.arenas_max
        ? this.makeArena(this.rulesOf(shared.length))
        : shared[this.threads_met % this.arenas_max];
    this.threads_met += 1;
    const largest_bytes = 2 ** settingOr(this.settings, 'lg_tcache_max');
    const below = {
      fill: (index: number, count: number): number[] => this.fill(who, index, count),
      flush: (blocks: readonly number[], small: boolean): void => this.flush(who, blocks, small),
    };
    const caches = settingOr(this.settings, 'tcache') > 0;
    const who: Thread = { arena, cache: caches ? new ThreadCache(below, largest_bytes) : null, ticks: ticks_a_look };
    if (caches) {
      const usable = alignedBytes(cacheBytes(largest_bytes), page_bytes);
      const pages = usable / page_bytes + pad_pages;
      const extent = this.arenas[0].take(pages, 1, true);
      this.space.writeAll(this.extents.base[extent], 1);
    }
    return who;
  }

  /** The first arena is made before the library has read what its threshold for oversize is. */
  private rulesOf(arena: number): ArenaRules {
    return arena > 0
      ? this.rules
      : { ...this.rules, oversize_pages: jemalloc_settings.oversize_threshold.value / page_bytes };
  }

  private makeArena(rules: ArenaRules): Arena {
    const { arenas, extents, slabs, meter } = this;
    const arena = new Arena(arenas.length, extents, slabs, meter, rules, this.now_ns);
    this.space.mapAligned(base_pages, base_pages);
    extents.writeMetadata(arena_pages);
    arenas.push(arena);
    return arena;
  }

  /** The program writes to the first pages of its block; of a block that it touches whole, to the last byte, too. */
  private use(block: number, usable: number, size_bytes: number, pages: number): void {
    if (pages === 0) return;
    const from = this.startOf(block, usable);
    const last_byte = pages === pagesOf(size_bytes) ? size_bytes - 1 : (pages - 1) * page_bytes;
    this.space.writeAll(Math.floor(from / page_bytes), pageSpan(from, last_byte + 1));
  }

  private clear(block: number, usable: number): void {
    const from = this.startOf(block, usable);
    this.space.writeAll(Math.floor(from / page_bytes), pageSpan(from, usable));
    this.meter.cleared_bytes += usable;
  }

  private startOf(block: number, usable: number): number {
    const small = usable <= small_max_bytes;
    const start = startOf(this.extents, this.slabs, block, small);
    return small ? start : start + this.offset_of[extentOf(block)];
  }

  /** Chance that is the same in every run. */
  private draw(): number {
    this.draws += 1;
    return mix32(this.draws * 0x9e3779b1);
  }

  private widen(objects: number): void {
    const length = Math.max(objects, 2 * this.block_of.length);
    const blocks = new Float64Array(length).fill(-1);
    const usable = new Float64Array(length);
    blocks.set(this.block_of);
    usable.set(this.usable_of);
    this.block_of = blocks;
    this.usable_of = usable;
  }
}

/** Pages that [from, from + bytes) reaches into. */
function pageSpan(from: number, bytes: number): number {
  return Math.floor((from + bytes - 1) / page_bytes) - Math.floor(from / page_bytes) + 1;
}
