/**
 * BigCache: freed blocks by (site, size class), a ring for each, newest out first, oldest out when full. Mirrors
 * native/core/bigcache.c. A lookup probes one ring; with bigcache_round off it probes the class below and the class above.
 *
 * A site's slot is told by its hash; with bigcache_direct off it is searched for, as the original first had it.
 */
import { assert } from '../assert.ts';
import { type Config, shape } from '../spec.ts';
import { type Blocks, home, no_block, no_class } from './blocks.ts';
import { mix32 } from './digest.ts';

const { bigcache_class_bytes: class_bytes, bigcache_classes: classes, page_bytes } = shape;

export class BigCache {
  hits = 0;
  misses = 0;
  evictions = 0;
  undersized = 0;
  blocks_held = 0;
  /** Site slots looked at, in total. */
  probes = 0;
  /** Site slots looked at beyond the first, in the last tryGet or put. */
  probed = 0;
  private readonly config: Config;
  private readonly blocks: Blocks;
  private readonly ways: number;
  private readonly ring: Int32Array;
  private readonly held: Uint8Array;
  /** Sites of the slots that are taken, as they came; unused where a hash tells the slot. */
  private readonly sites: Uint32Array;
  private taken = 0;

  constructor(config: Config, blocks: Blocks) {
    this.config = config;
    this.blocks = blocks;
    this.ways = config.bigcache_ways;
    this.ring = new Int32Array(config.bigcache_slots * classes * this.ways);
    this.held = new Uint8Array(config.bigcache_slots * classes);
    this.sites = new Uint32Array(config.bigcache_slots);
  }

  /** True where requests of this size go through BigCache. */
  serves(size_bytes: number): boolean {
    const { config } = this;
    if (config.bigcache === 0 || size_bytes < config.bigcache_from_bytes) return false;
    if (this.rounds) return size_bytes <= class_bytes[classes - 1];
    return size_bytes < shape.bigcache_floor_below_bytes;
  }

  /** Bytes to map for a request, so that every block of its class can serve it. */
  roundUp(size_bytes: number): number {
    return this.rounds ? class_bytes[ceilClass(size_bytes)] : size_bytes;
  }

  /** The class a block is freed into, or no_class. */
  classOf(pages: number): number {
    const usable_bytes = pages * page_bytes;
    if (this.rounds) return class_bytes[ceilClass(usable_bytes)] === usable_bytes ? ceilClass(usable_bytes) : no_class;
    return usable_bytes < shape.bigcache_floor_below_bytes ? floorClass(usable_bytes) : no_class;
  }

  /** A cached block for the request, or no_block. */
  tryGet(site: number, size_bytes: number): number {
    const slot = this.slotOf(site);
    const ceil = ceilClass(size_bytes);
    let block: number = no_block;
    if (this.rounds) {
      block = this.probe(slot, ceil, size_bytes);
    } else {
      const floor = floorClass(size_bytes);
      if (floor !== no_class) block = this.probe(slot, floor, size_bytes);
      if (block === no_block && this.config.legacy_undersized === 0 && ceil < classes && ceil !== floor)
        block = this.probe(slot, ceil, size_bytes);
    }
    if (block === no_block) this.misses += 1;
    else this.hits += 1;
    return block;
  }

  /** Keeps a freed block; returns the block that had to give way, or no_block. */
  put(block: number): number {
    const { blocks, ring, held, ways } = this;
    const at = this.slotOf(blocks.site[block]) * classes + blocks.class[block];
    let evicted: number = no_block;
    if (held[at] === ways) {
      evicted = ring[at * ways];
      ring.copyWithin(at * ways, at * ways + 1, at * ways + ways);
      held[at] -= 1;
      this.blocks_held -= 1;
      this.evictions += 1;
    }
    ring[at * ways + held[at]] = block;
    held[at] += 1;
    this.blocks_held += 1;
    blocks.home[block] = home.cache;
    return evicted;
  }

  /** Takes out every block that no request of `bytes` or more is served from: slot by slot, oldest first. */
  drain(bytes: number): number[] {
    const { ring, held, ways } = this;
    const drained: number[] = [];
    for (let at = 0; at < held.length; at += 1) {
      if (this.mostServed(at % classes) >= bytes) continue;
      for (let way = 0; way < held[at]; way += 1) drained.push(ring[at * ways + way]);
      this.blocks_held -= held[at];
      held[at] = 0;
    }
    return drained;
  }

  /** The largest request that a block of the class may serve. */
  private mostServed(size_class: number): number {
    if (this.rounds) return class_bytes[size_class];
    return (size_class + 1 < classes ? class_bytes[size_class + 1] : shape.bigcache_floor_below_bytes) - 1;
  }

  private get rounds(): boolean {
    return this.config.bigcache_round === 1 && this.config.legacy_undersized === 0;
  }

  private probe(slot: number, size_class: number, size_bytes: number): number {
    const { ring, held, ways } = this;
    const at = slot * classes + size_class;
    if (held[at] === 0) return no_block;
    const block = ring[at * ways + held[at] - 1];
    assert(this.blocks.home[block] === home.cache, 'what the cache holds is at home there');
    if (this.blocks.pages[block] * page_bytes < size_bytes && this.config.legacy_undersized === 0) {
      this.undersized += 1;
      return no_block;
    }
    held[at] -= 1;
    this.blocks_held -= 1;
    return block;
  }

  private slotOf(site: number): number {
    const { bigcache_site_keyed, bigcache_direct, bigcache_slots } = this.config;
    this.probed = 0;
    let slot = 0;
    if (bigcache_site_keyed === 1) {
      if (bigcache_direct === 0) slot = this.search(site);
      if (bigcache_direct === 1 || slot === bigcache_slots) slot = mix32(site) & (bigcache_slots - 1);
    }
    this.probes += 1 + this.probed;
    return slot;
  }

  /** The slot of the site, which takes the first empty one; bigcache_slots where all are others'. */
  private search(site: number): number {
    const { sites, taken } = this;
    let slot = 0;
    while (slot < taken && sites[slot] !== site) slot += 1;
    this.probed = Math.min(slot, sites.length - 1);
    if (slot < taken || slot === sites.length) return slot;
    sites[slot] = site;
    this.taken += 1;
    return slot;
  }
}

/** The largest class that is not above `bytes`, or no_class. */
function floorClass(bytes: number): number {
  for (let at = classes - 1; at >= 0; at -= 1) if (class_bytes[at] <= bytes) return at;
  return no_class;
}

/** The smallest class that is not below `bytes`; `classes` where none is. */
function ceilClass(bytes: number): number {
  for (let at = 0; at < classes; at += 1) if (class_bytes[at] >= bytes) return at;
  return classes;
}
