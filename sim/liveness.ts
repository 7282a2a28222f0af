/**
 * How often each feature had work to do, from the trace and the configuration alone: the rules of `features` in the spec,
 * without the code that acts. What is counted is a lower bound: blocks that were reallocated or aligned beyond a page are
 * left out, so that a feature with eligible events and no action is a silent failure, never a false alarm.
 */
import { type Chunk, op } from '../traces/trace.ts';
import { mix32 } from './decide/digest.ts';
import { learns } from './decide/strategy.ts';
import { type Config, type Feature, features, params, shape } from './spec.ts';

const { page_bytes, bigcache_class_bytes: class_bytes } = shape;
const thp_off = params.thp_policy.words!.indexOf('off');
const thp_on = params.thp_policy.words!.indexOf('on');

/** The slot of a site that may share any other's. */
const untold = -1;

/** What the rules know of a block. */
interface Block {
  readonly size_bytes: number;
  readonly pages: number;
  /** Site slot and class, or null where BigCache does not take the block. */
  readonly ring: string | null;
  /** False after a realloc or for a block aligned beyond a page: only its bytes count. */
  readonly followed: boolean;
}

/** Frees of one site slot and class that no allocation used up. */
interface Ring {
  unused: number;
  smallest_bytes: number;
  largest_bytes: number;
}

export class Eligibility {
  private readonly config: Config;
  private readonly threshold_bytes: number;
  private readonly counts: Record<Feature, number> = {
    mapping: 0,
    bigcache: 0,
    batch: 0,
    hot: 0,
    warm: 0,
    kept: 0,
    thp: 0,
    learning: 0,
  };
  /** Where strategies are learned, thresholds move: what the other features could have done is not told then. */
  private readonly windows: Windows | null;
  private readonly live = new Map<number, Block>();
  /** By slot: whether `live` has it. Most objects are small, and a Map is slow to say no. */
  private mapped = new Uint8Array(1024);
  private readonly rings = new Map<string, Ring>();
  /** Bytes ever freed at the last uncached free of so many pages. */
  private readonly freed_at = new Map<number, number>();
  private freed_bytes = 0;
  /** A block that is not followed was freed: some ring may hold it. */
  private freed_unseen = false;
  /** Sites of mapped blocks, where slots are searched for; none is added beyond the slots. */
  private readonly sites = new Set<number>();

  /** `floor_bytes` and `ceiling_bytes` are the lowest and the highest threshold that may be in force. */
  constructor(config: Config, floor_bytes: number, ceiling_bytes: number) {
    this.config = config;
    this.threshold_bytes = floor_bytes;
    this.windows = learns(config) ? new Windows(config, floor_bytes, ceiling_bytes) : null;
  }

  add(chunk: Chunk): void {
    if (this.windows !== null) {
      this.windows.add(chunk);
      return;
    }
    const { live, threshold_bytes } = this;
    const { op: kinds, object, size_bytes, align, site, length } = chunk;
    for (let row = 0; row < length; row += 1) {
      const slot = object[row];
      if (slot >= this.mapped.length) this.grow(slot + 1);
      const kind = kinds[row];
      if (kind < op.realloc) {
        if (size_bytes[row] < threshold_bytes) continue;
        this.counts.mapping += 1;
        this.mapped[slot] = 1;
        live.set(slot, this.allocate(size_bytes[row], align[row], site[row]));
        continue;
      }
      if (kind === op.realloc) {
        if (this.mapped[slot] === 0 && size_bytes[row] < threshold_bytes) continue;
        this.mapped[slot] = 1;
        live.set(slot, this.reallocate(live.get(slot), size_bytes[row], site[row]));
      } else if (this.mapped[slot] === 1) {
        this.mapped[slot] = 0;
        this.free(live.get(slot)!);
        live.delete(slot);
      }
    }
  }

  /** By feature, 0 for features that are off. */
  counted(): Readonly<Record<Feature, number>> {
    const { config, counts, windows } = this;
    if (windows !== null) return { ...counts, mapping: windows.mapping, learning: windows.closed };
    const on: Record<Feature, boolean> = {
      mapping: true,
      learning: false,
      bigcache: config.bigcache === 1,
      batch: config.thermal === 1 && config.batch === 1,
      hot: config.thermal === 1,
      warm: config.thermal === 1,
      kept: config.thermal === 1,
      thp: config.thp_policy !== thp_off,
    };
    return Object.fromEntries(
      (Object.keys(features) as Feature[]).map((feature) => [feature, on[feature] ? counts[feature] : 0]),
    ) as Record<Feature, number>;
  }

  private grow(objects: number): void {
    const wider = new Uint8Array(Math.max(objects, this.mapped.length * 2));
    wider.set(this.mapped);
    this.mapped = wider;
  }

  private allocate(size_bytes: number, align: number, site: number): Block {
    const { config, counts } = this;
    const at = this.classOf(size_bytes);
    const pages = this.pagesOf(size_bytes, at);
    const mapped_bytes = pages * page_bytes;
    const key = this.keyOf(site);
    if (align > page_bytes) return { size_bytes, pages, ring: null, followed: false };
    if (config.thp_policy === thp_on || (config.thp_policy !== thp_off && mapped_bytes >= config.thp_from_bytes))
      counts.thp += 1;
    if (key === untold && at >= 0) return { size_bytes, pages, ring: null, followed: false };
    const name = at >= 0 ? `${key} ${at}` : null;
    // Too small to be looked up in BigCache, though its block may be of a class.
    if (name !== null && size_bytes < config.bigcache_from_bytes)
      return { size_bytes, pages, ring: name, followed: true };
    if (config.bigcache_round === 0 && config.bigcache === 1 && this.assumeTaken(key, size_bytes))
      return { size_bytes, pages, ring: null, followed: false };
    const ring = name === null ? undefined : this.rings.get(name);
    if (ring !== undefined && ring.unused > 0 && config.bigcache_round === 1) {
      counts.bigcache += 1;
      ring.unused -= 1;
    } else if (name === null) {
      const freed_at = this.freed_at.get(pages);
      if (freed_at !== undefined && this.freed_bytes - freed_at <= config.kept_bytes_max) counts.kept += 1;
      this.freed_at.delete(pages);
    }
    return { size_bytes, pages, ring: name, followed: true };
  }

  /** A realloc may move: its bytes count as freed, it may have taken a cached block, and is followed no further. */
  private reallocate(before: Block | undefined, size_bytes: number, site: number): Block {
    this.assumeTaken(this.keyOf(site), size_bytes);
    const pages = Math.max(before?.pages ?? 0, this.pagesOf(size_bytes, this.classOf(size_bytes)));
    this.freed_bytes += 2 * pages * page_bytes;
    this.freed_unseen = true;
    return { size_bytes, pages, ring: null, followed: false };
  }

  /** Where slots are searched for, a site has its own while there are enough; then who shares with whom is a matter of order. */
  private keyOf(site: number): number {
    const { bigcache_direct, bigcache_site_keyed, bigcache_slots } = this.config;
    if (bigcache_site_keyed === 0) return 0;
    if (bigcache_direct === 1) return mix32(site) & (bigcache_slots - 1);
    if (this.sites.size <= bigcache_slots) this.sites.add(site);
    return this.sites.size <= bigcache_slots ? site : untold;
  }

  private pagesOf(size_bytes: number, at: number): number {
    const rounded = at >= 0 && this.config.bigcache_round === 1;
    return rounded ? class_bytes[at] / page_bytes : Math.ceil(size_bytes / page_bytes);
  }

  /**
   * Without rounding a lookup takes from the class below or from the class above: as if from both, for a lower bound.
   * Returns true where it may have found a block, which then is of another size than was asked for.
   */
  private assumeTaken(key: number, size_bytes: number): boolean {
    const { bigcache_from_bytes, bigcache_round } = this.config;
    if (size_bytes < bigcache_from_bytes) return false;
    const below = bigcache_round === 1 ? -1 : class_bytes.findLastIndex((each) => each <= size_bytes);
    const above = class_bytes.findIndex((each) => each >= size_bytes);
    let found = this.freed_unseen || key === untold;
    for (const at of new Set([below, above])) {
      const ring = this.rings.get(`${key} ${at}`);
      if (ring === undefined) continue;
      found = true;
      if (ring.unused > 0) ring.unused -= 1;
    }
    return found;
  }

  private free(block: Block): void {
    const bytes = block.pages * page_bytes;
    const crowded = this.config.bigcache_direct === 0 && this.sites.size > this.config.bigcache_slots;
    if (!block.followed || (crowded && block.ring !== null)) {
      this.freed_unseen = true;
      this.freed_bytes += 2 * bytes;
      return;
    }
    if (block.ring === null) {
      this.freed_at.set(block.pages, this.freed_bytes);
      this.freed_bytes += 2 * bytes;
      this.countThermal(block.size_bytes, block.size_bytes);
      return;
    }
    this.freed_bytes += 2 * bytes;
    const ring = this.rings.get(block.ring) ?? {
      unused: 0,
      smallest_bytes: Number.POSITIVE_INFINITY,
      largest_bytes: 0,
    };
    ring.unused += 1;
    ring.smallest_bytes = Math.min(ring.smallest_bytes, block.size_bytes);
    ring.largest_bytes = Math.max(ring.largest_bytes, block.size_bytes);
    this.rings.set(block.ring, ring);
    if (ring.unused <= this.config.bigcache_ways) return;
    ring.unused -= 1;
    this.countThermal(ring.smallest_bytes, ring.largest_bytes);
  }

  /** A block of a size within [smallest, largest] goes the thermal way; counted where the class is certain. */
  private countThermal(smallest_bytes: number, largest_bytes: number): void {
    const { config, counts } = this;
    if (smallest_bytes >= config.cold_from_bytes) counts.batch += 1;
    else if (largest_bytes < config.warm_from_bytes) counts.hot += 1;
    else if (smallest_bytes >= config.warm_from_bytes && largest_bytes < config.cold_from_bytes) counts.warm += 1;
  }

  /** The class BigCache takes the block into, or -1; with rounding off, where both roundings agree on it. */
  private classOf(size_bytes: number): number {
    const { config } = this;
    if (config.bigcache === 0) return -1;
    const bytes = Math.ceil(size_bytes / page_bytes) * page_bytes;
    if (config.bigcache_round === 0) return class_bytes.findLastIndex((each) => each <= bytes);
    if (size_bytes < config.bigcache_from_bytes) return class_bytes.indexOf(bytes);
    return class_bytes.findIndex((each) => each >= size_bytes);
  }
}

/** Windows of learning, as the spec has them: counted without the code that learns. */
class Windows {
  mapping = 0;
  /** In LEARN from the start, the first of them is one that something is learned from. */
  closed = 0;
  private readonly config: Config;
  private readonly floor_bytes: number;
  private readonly ceiling_bytes: number;
  private events = 0;
  private from = 0;
  private samples = 0;

  constructor(config: Config, floor_bytes: number, ceiling_bytes: number) {
    this.config = config;
    this.floor_bytes = floor_bytes;
    this.ceiling_bytes = ceiling_bytes;
  }

  add({ op: kinds, size_bytes, length }: Chunk): void {
    const { window_events, window_samples } = this.config;
    for (let row = 0; row < length; row += 1) {
      if (kinds[row] === op.free || size_bytes[row] < this.floor_bytes) continue;
      if (kinds[row] < op.realloc && size_bytes[row] >= this.ceiling_bytes) this.mapping += 1;
      const event = this.events + row;
      if (event - this.from >= window_events && this.samples >= window_samples) {
        this.closed += 1;
        this.from = event;
        this.samples = 0;
      }
      this.samples += 1;
    }
    this.events += length;
  }
}
