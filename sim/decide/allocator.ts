/**
 * The policy: decide, then act. select -> threshold -> BigCache -> kept or map, or heap; and the way of a free.
 * Mirrors native/core/allocator.c, action by action.
 */
import { op } from '../../traces/trace.ts';
import { assert } from '../assert.ts';
import type { PageModel } from '../kernel/pages.ts';
import { pagesOf, touchedPages } from '../kernel/touch.ts';
import { type Config, enums, type Prices, shape } from '../spec.ts';
import { Batch } from './batch.ts';
import { BigCache } from './bigcache.ts';
import { Blocks, home, no_block, no_class } from './blocks.ts';
import { Digest, pack } from './digest.ts';
import { Heap } from './heap.ts';
import { Kept } from './kept.ts';
import { type Learning, learningFor, type Rules } from './learning.ts';
import { Placement } from './placement.ts';
import { first_step_arm, learnsSites, selectArm, thresholdOf } from './strategy.ts';
import { thermalClass } from './thermal.ts';
import { forbidsHuge, wantsHuge } from './thp.ts';

const { page_bytes, window_pages } = shape;
const route = indexes(enums.route);
const action = indexes(enums.action);
const thermal = indexes(enums.thermal);
const violation = indexes(enums.violation);

/** What the digest is told of an event that stays on the heap path, besides `route.heap`. */
const heap_free = route.free_heap << 8;
/** The words of an allocation and of a free there: sim/fold.ts digests them without an allocator. */
export const heap_words = { allocate: route.heap, free: heap_free } as const;
const dead = -2;
const on_heap = -1;

/** What one event did, for `explain` and for the first difference. */
export interface Actions {
  readonly name: string;
  readonly offset_bytes: number;
  readonly bytes: number;
}

export class Allocator {
  readonly blocks = new Blocks();
  readonly cache: BigCache;
  readonly batch: Batch;
  readonly kept: Kept;
  readonly heap = new Heap();
  readonly digest = new Digest();
  /** Null where the configuration learns nothing. */
  readonly learning: Learning | null;
  readonly thermal_frees = [0, 0, 0];
  kept_reused = 0;
  allocate_ns = 0;
  free_ns = 0;
  fault_ns = 0;
  /** Index into enums.violation: a rule that the last event broke. */
  violation = violation.none;
  /** Of the last event. */
  route = route.none;
  released = route.none;
  arm = 0;
  usable_bytes = 0;
  offset_pages = 0;
  /** Collects actions while not null. */
  recording: Actions[] | null = null;
  private readonly config: Config;
  private readonly kernel: PageModel;
  private readonly prices: Prices;
  private readonly touch: number;
  private readonly placement: Placement;
  private readonly header_pages: number;
  /** Blocks from here on are what is learned from. */
  private readonly learns_from_bytes: number;
  /** Where arms begin in the digest and the log: a site's steps are told from strategies. */
  private readonly first_arm: number;
  /** The threshold up to which free blocks may be of use. */
  private released_below_bytes = 0;
  /** By object slot: its block, or `on_heap`, or `dead`. */
  private block_of = new Int32Array(1024).fill(dead);
  private size_of = new Float64Array(1024);
  private event = 0;
  /** Actions of the event so far, for the digest. */
  private acted = 0;
  /** The arm that the digest was told of last. */
  private digested_arm = -1;

  constructor(rules: Rules, kernel: PageModel, touch: number) {
    const { config, prices, policy } = rules;
    this.config = config;
    this.kernel = kernel;
    this.prices = prices;
    this.touch = touch;
    this.cache = new BigCache(config, this.blocks);
    this.batch = new Batch(config, this.blocks);
    this.kept = new Kept(this.blocks);
    this.placement = new Placement(config.region_bytes / page_bytes);
    this.header_pages = config.legacy_header;
    this.learning = learningFor(rules, touch, this);
    this.learns_from_bytes = this.learning?.floor_bytes ?? Number.POSITIVE_INFINITY;
    this.first_arm = policy === undefined && learnsSites(config) ? first_step_arm : 0;
  }

  /** Runs one event of a legal trace and returns what it cost, in ns. */
  run(
    event: number,
    kind: number,
    object: number,
    size_bytes: number,
    align: number,
    site: number,
    touched: number,
  ): number {
    const before_ns = this.allocate_ns + this.free_ns + this.fault_ns;
    this.event = event;
    this.acted = 0;
    this.route = route.none;
    this.released = route.none;
    this.usable_bytes = 0;
    this.offset_pages = 0;
    if (object >= this.block_of.length) this.grow(object + 1);
    if (kind === op.free) this.free(object);
    else if (kind === op.realloc) this.reallocate(object, size_bytes, site, touched);
    else this.allocate(kind, object, size_bytes, align, site, touched);
    const { digest } = this;
    const word = this.route | (this.released << 8);
    if (this.acted === 0 && (word === route.heap || word === heap_free)) {
      digest.add(event, word, size_bytes);
      return this.allocate_ns + this.free_ns + this.fault_ns - before_ns;
    }
    const place = this.route === route.heap ? 0 : pack(this.offset_pages, this.usable_bytes / page_bytes);
    digest.mix3(pack(event, word | (this.acted << 16)), size_bytes, place);
    if (size_bytes >= 2 ** 31) digest.mix(Math.floor(size_bytes / 2 ** 32));
    return this.allocate_ns + this.free_ns + this.fault_ns - before_ns;
  }

  /** Bytes the object was last asked to have. */
  requestedBytes(object: number): number {
    return this.size_of[object];
  }

  /** The process ends: what waits is flushed. */
  finish(): void {
    if (this.batch.waiting.length > 0) this.flush();
  }

  /** Asks the strategy in force, as of `event`; the digest is told when the arm changes. */
  select(event: number): void {
    this.take(event, this.learning === null ? selectArm(this.config) : this.first_arm + this.learning.arm);
  }

  /** The threshold in force. */
  get threshold_bytes(): number {
    const { learning, arm } = this;
    return learning === null ? thresholdOf(this.config, arm) : learning.thresholds_bytes[arm - this.first_arm];
  }

  private take(event: number, arm: number): void {
    this.arm = arm;
    if (arm === this.digested_arm) return;
    this.digested_arm = arm;
    this.digest.mix(pack(event, arm));
  }

  /** A live object of the heap path, of which only the ledger was told (sim/fold.ts). */
  adopt(object: number, size_bytes: number): void {
    if (object >= this.block_of.length) this.grow(object + 1);
    assert(this.block_of[object] === dead, 'what is adopted was not here');
    this.block_of[object] = on_heap;
    this.size_of[object] = size_bytes;
  }

  private allocate(kind: number, object: number, size_bytes: number, align: number, site: number, touched: number) {
    assert(this.block_of[object] === dead, 'an object is allocated once');
    this.allocate_ns += this.prices.heap_call_ns;
    this.size_of[object] = size_bytes;
    const maps = this.decidesToMap(size_bytes, site);
    if (size_bytes >= this.learns_from_bytes) this.learning!.allocated(object, size_bytes, align, site, touched, !maps);
    if (!maps) {
      this.block_of[object] = on_heap;
      this.takeFromHeap(size_bytes);
      return;
    }
    const block = this.acquire(size_bytes, align, site);
    if (block === no_block) return;
    this.block_of[object] = block;
    if (kind === op.calloc && this.blocks.clean[block] === 0) {
      this.act(action.zero, this.userStart(block), pagesOf(size_bytes));
      this.allocate_ns += pagesOf(size_bytes) * this.prices.fill_page_ns;
      this.fault_ns += this.kernel.touch(this.userStart(block), pagesOf(size_bytes), true);
    }
    this.touchBlock(block, touchedPages(this.touch, size_bytes, touched));
  }

  private free(object: number): void {
    const block = this.block_of[object];
    assert(block !== dead, 'what is freed is live');
    this.block_of[object] = dead;
    this.free_ns += this.prices.heap_call_ns;
    if (this.size_of[object] >= this.learns_from_bytes) this.learning!.freed(this.event, object);
    if (block === on_heap) {
      this.heap.free(this.size_of[object]);
      this.released = route.free_heap;
    } else {
      this.describe(block);
      this.release(block);
    }
  }

  private reallocate(object: number, size_bytes: number, site: number, touched: number): void {
    const { blocks } = this;
    const block = this.block_of[object];
    assert(block !== dead, 'what is reallocated is live');
    const old_bytes = this.size_of[object];
    this.size_of[object] = size_bytes;
    this.allocate_ns += this.prices.heap_call_ns;
    if (old_bytes >= this.learns_from_bytes && size_bytes < this.learns_from_bytes)
      this.learning!.freed(this.event, object);
    const maps = this.decidesToMap(size_bytes, site);
    const stays = block !== on_heap && this.staysInPlace(block, size_bytes);
    if (size_bytes >= this.learns_from_bytes)
      this.learning!.reallocated(object, size_bytes, site, touched, !maps && !stays);
    if (stays) {
      this.route = route.in_place;
      blocks.size_bytes[block] = size_bytes;
      this.describe(block);
      this.touchBlock(block, touchedPages(this.touch, size_bytes, touched));
      return;
    }
    const copied_pages = pagesOf(Math.min(old_bytes, size_bytes));
    let moved: number = on_heap;
    if (maps) {
      moved = this.acquire(size_bytes, 0, site);
      if (moved === no_block) return;
    } else {
      if (block === on_heap) this.heap.free(old_bytes);
      this.takeFromHeap(size_bytes);
    }
    this.block_of[object] = moved;
    if (block !== on_heap && copied_pages > 0) {
      this.act(action.read, this.userStart(block), copied_pages);
      this.fault_ns += this.kernel.read(this.userStart(block), copied_pages);
    }
    if (moved !== on_heap) {
      this.allocate_ns += copied_pages * this.prices.fill_page_ns;
      this.touchBlock(moved, copied_pages);
      this.touchBlock(moved, touchedPages(this.touch, size_bytes, touched));
    }
    if (block !== on_heap) this.release(block);
    else if (moved !== on_heap) {
      this.heap.free(old_bytes);
      this.released = route.free_heap;
    }
  }

  /** The strategy is asked first; what it says is used. */
  private decidesToMap(size_bytes: number, site: number): boolean {
    const { learning, event } = this;
    if (learning === null) {
      this.select(event);
      return size_bytes >= thresholdOf(this.config, this.arm) && this.config.legacy_order === 0;
    }
    if (size_bytes < learning.floor_bytes) {
      if (this.digested_arm < 0) this.select(event);
      return false;
    }
    const arm = learning.decide(event, site);
    if (this.config.switch_releases === 1 && this.first_arm === 0) this.follow(learning);
    this.take(event, this.first_arm + arm);
    return size_bytes >= this.threshold_bytes && this.config.legacy_order === 0;
  }

  /** The strategy in force is another: what only smaller requests could use is given back, or it would lie about for ever. */
  private follow({ thresholds_bytes, arm }: Learning): void {
    const bytes = thresholds_bytes[arm];
    if (bytes > this.released_below_bytes) this.releaseBelow(bytes);
    this.released_below_bytes = bytes;
  }

  private releaseBelow(bytes: number): void {
    const { blocks, cache, kept } = this;
    if (this.batch.waiting.length > 0) this.flush();
    if (this.violation !== violation.none) return;
    for (const block of cache.drain(bytes)) this.unmap(block);
    for (let block = kept.oldestBlock; block !== no_block; ) {
      const next = blocks.kept_after[block];
      if (blocks.pages[block] * page_bytes < bytes) this.unmapKept(block);
      block = next;
    }
  }

  private takeFromHeap(size_bytes: number): void {
    this.route = route.heap;
    this.usable_bytes = size_bytes;
    this.heap.allocate(size_bytes);
  }

  /** A mapped block for the request: from BigCache, from the batch or the keep, or new; no_block on a violation. */
  private acquire(size_bytes: number, align: number, site: number): number {
    const { blocks, cache, kept } = this;
    this.allocate_ns += this.prices.lookup_ns;
    const over_aligned = align > page_bytes;
    const cached = !over_aligned && cache.serves(size_bytes);
    let block = cached ? cache.tryGet(site, size_bytes) : no_block;
    if (cached) this.allocate_ns += cache.probed * this.prices.probe_ns;
    if (block !== no_block) {
      this.route = route.cache;
    } else {
      const pages = pagesOf(cached ? cache.roundUp(size_bytes) : size_bytes);
      if (!over_aligned) block = kept.find(pages);
      if (block === no_block) block = this.map(pages, align);
      else this.reuse(block);
    }
    if (block === no_block) return no_block;
    if (blocks.pages[block] * page_bytes < size_bytes) {
      this.violation = violation.undersized;
      return no_block;
    }
    blocks.home[block] = home.live;
    blocks.size_bytes[block] = size_bytes;
    blocks.site[block] = site;
    this.describe(block);
    return block;
  }

  private reuse(block: number): void {
    const { blocks, batch, kept } = this;
    kept.withdrawOffer(block);
    if (blocks.home[block] === home.batch) {
      batch.withdraw(block, blocks.pages[block] * page_bytes);
      this.act(action.withdraw, blocks.start[block], blocks.pages[block]);
      this.route = route.batch;
    } else {
      kept.remove(block, this.mappedPages(block) * page_bytes);
      this.kept_reused += 1;
      this.route = route.kept;
    }
  }

  private map(pages: number, align: number): number {
    const { blocks, cache, config, kernel } = this;
    const mapped_pages = pages + this.header_pages;
    const huge = wantsHuge(config, pages * page_bytes);
    const align_pages = Math.max(1, align / page_bytes, huge && mapped_pages >= window_pages ? window_pages : 1);
    const start = this.placement.take(mapped_pages, align_pages);
    if (start < 0) {
      this.violation = violation.region_exhausted;
      return no_block;
    }
    const block = blocks.create(start, pages);
    blocks.class[block] = config.bigcache === 1 ? cache.classOf(pages) : no_class;
    this.act(action.map, start, mapped_pages);
    this.allocate_ns += kernel.map(start, mapped_pages);
    if (huge) {
      this.act(action.hugepage, start, mapped_pages);
      this.allocate_ns += kernel.adviseHuge(start, mapped_pages);
    } else if (forbidsHuge(config)) {
      this.act(action.nohugepage, start, mapped_pages);
      this.allocate_ns += kernel.adviseNoHuge(start, mapped_pages);
    }
    if (this.header_pages > 0) {
      this.act(action.touch, start, this.header_pages);
      this.fault_ns += kernel.touch(start, this.header_pages);
    }
    this.route = route.map;
    return block;
  }

  private touchBlock(block: number, pages: number): void {
    if (pages === 0) return;
    this.act(action.touch, this.userStart(block), pages);
    this.blocks.clean[block] = 0;
    this.fault_ns += this.kernel.touch(this.userStart(block), pages);
  }

  private release(block: number): void {
    const { blocks, cache, config } = this;
    assert(blocks.home[block] === home.live, 'what is released was live');
    if (blocks.class[block] === no_class) {
      this.released = this.releaseByThermal(block);
      return;
    }
    this.released = route.free_cache;
    this.free_ns += this.prices.lookup_ns;
    const evicted = cache.put(block);
    this.free_ns += cache.probed * this.prices.probe_ns;
    if (evicted === no_block) return;
    this.act(action.evict, blocks.start[evicted], blocks.pages[evicted]);
    if (config.legacy_eviction_frees === 1) this.unmap(evicted);
    else this.releaseByThermal(evicted);
  }

  private releaseByThermal(block: number): number {
    const { blocks, config, kernel, prices } = this;
    if (config.thermal === 0) {
      this.unmap(block);
      return route.free_unmap;
    }
    const start = blocks.start[block];
    const pages = blocks.pages[block];
    const heat = thermalClass(config, blocks.size_bytes[block]);
    this.thermal_frees[heat] += 1;
    this.free_ns += prices.lookup_ns;
    if (heat === thermal.cold && config.batch === 1) {
      this.batch.add(block, pages * page_bytes);
      if (config.legacy_stale_advice === 1) this.unmapWaiting(block);
      else this.kept.offer(block);
      if (this.batch.isFull()) this.flush();
      return route.free_cold;
    }
    if (heat === thermal.warm) {
      this.act(action.free, start, pages);
      this.free_ns += kernel.free(start, pages);
    } else if (heat === thermal.cold) {
      this.act(action.dontneed, start, pages);
      this.free_ns += kernel.dontneed(start, pages);
      blocks.clean[block] = config.legacy_header === 1 ? 0 : 1;
    }
    this.kept.offer(block);
    this.kept.add(block, this.mappedPages(block) * page_bytes);
    this.trimKept();
    return route.free_hot + heat;
  }

  /** Advises everything that waits, in as few calls as it takes, and keeps it. */
  private flush(): void {
    const { batch, blocks, config, kernel } = this;
    for (const block of batch.waiting) {
      if (blocks.mapped[block] === 1) continue;
      const free = this.placement.isFree(blocks.start[block], blocks.pages[block]);
      this.violation = free ? violation.unmapped_advice : violation.live_advice;
      return;
    }
    const ranges = batch.ranges();
    const step = config.batch_vectored === 1 ? shape.vectored_ranges_max : 1;
    for (let at = 0; at < ranges.length; at += step) {
      const part = ranges.slice(at, at + step);
      for (const [start, pages] of part) this.act(step > 1 ? action.process_madvise : action.dontneed, start, pages);
      this.free_ns += step > 1 ? kernel.dontneedVector(part) : kernel.dontneed(part[0][0], part[0][1]);
    }
    for (const block of batch.clear()) {
      blocks.clean[block] = config.legacy_header === 1 ? 0 : 1;
      this.kept.add(block, this.mappedPages(block) * page_bytes);
    }
    this.trimKept();
  }

  private trimKept(): void {
    const { kept } = this;
    while (kept.bytes > this.config.kept_bytes_max) this.unmapKept(kept.oldestBlock);
  }

  private unmapKept(block: number): void {
    this.kept.remove(block, this.mappedPages(block) * page_bytes);
    this.kept.withdrawOffer(block);
    this.unmap(block);
  }

  private unmap(block: number): void {
    this.unmapWaiting(block);
    this.blocks.destroy(block);
  }

  private unmapWaiting(block: number): void {
    const start = this.blocks.start[block];
    const pages = this.mappedPages(block);
    this.act(action.unmap, start, pages);
    this.free_ns += this.kernel.unmap(start, pages);
    this.placement.give(start, pages);
    this.blocks.mapped[block] = 0;
  }

  private staysInPlace(block: number, size_bytes: number): boolean {
    const usable_bytes = this.blocks.pages[block] * page_bytes;
    return size_bytes <= usable_bytes && size_bytes * shape.realloc_fill_divisor >= usable_bytes;
  }

  private describe(block: number): void {
    this.usable_bytes = this.blocks.pages[block] * page_bytes;
    this.offset_pages = this.userStart(block);
  }

  private userStart(block: number): number {
    return this.blocks.start[block] + this.header_pages;
  }

  private mappedPages(block: number): number {
    return this.blocks.pages[block] + this.header_pages;
  }

  private act(kind: number, start: number, pages: number): void {
    this.acted += 1;
    this.digest.mix(pack(start, (pages << 4) | kind));
    if (this.recording !== null)
      this.recording.push({
        name: enums.action[kind],
        offset_bytes: start * page_bytes,
        bytes: pages * page_bytes,
      });
  }

  private grow(objects: number): void {
    const length = Math.max(objects, this.block_of.length * 2);
    const wider_blocks = new Int32Array(length).fill(dead);
    wider_blocks.set(this.block_of);
    this.block_of = wider_blocks;
    const wider_sizes = new Float64Array(length);
    wider_sizes.set(this.size_of);
    this.size_of = wider_sizes;
  }
}

function indexes<const Names extends readonly string[]>(names: Names): { readonly [name in Names[number]]: number } {
  return Object.fromEntries(names.map((name, at) => [name, at])) as { [name in Names[number]]: number };
}
