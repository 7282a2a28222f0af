/** The large blocks of a trace: what a threshold of mmap decides about. */
import { type Chunk, limits, op } from './trace.ts';

/** The least of hakmem's thresholds: smaller blocks are never mapped on their own. */
export const listed_from_bytes = 64 * 1024;

/** An allocation or realloc of `listed_from_bytes` or more. */
export interface LargeBlock {
  readonly event: number;
  readonly size_bytes: number;
  readonly site: number;
  /** Null where it was not measured. */
  readonly touched_pages: number | null;
  /** Events until it was freed or resized; null where it never was. */
  lifetime_events: number | null;
}

/** All of them from `from_bytes` to twice as much. */
export interface LargeClass {
  readonly from_bytes: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly most_live_blocks: number;
  readonly most_live_bytes: number;
  /** Half of those that were freed or resized lived shorter than so many events, a power of two; null: none was. */
  readonly median_lifetime_events: number | null;
  readonly unfreed_blocks: number;
}

interface Live {
  readonly event: number;
  readonly size_bytes: number;
  /** Null where it is not among the largest. */
  readonly listed: LargeBlock | null;
}

export class LargeBlocks {
  private readonly largest: LargeBlock[] = [];
  private readonly largest_max: number;
  private readonly live = new Map<number, Live>();
  private readonly classes = new Map<number, SizeClass>();

  /** Keeps the `largest_max` largest; of the rest only counts. */
  constructor(largest_max: number) {
    this.largest_max = largest_max;
  }

  add(chunk: Chunk): void {
    const { op: kinds, object, size_bytes, first_event, length } = chunk;
    for (let row = 0; row < length; row += 1) {
      const kind = kinds[row];
      if (kind === op.free || kind === op.realloc) this.end(object[row], first_event + row);
      if (kind !== op.free && size_bytes[row] >= listed_from_bytes) this.begin(chunk, row);
    }
  }

  /** Largest first, the earlier one of equals. */
  largestBlocks(): readonly LargeBlock[] {
    return this.largest;
  }

  /** Smallest first; classes that never occurred are left out. */
  sizeClasses(): LargeClass[] {
    return [...this.classes].sort(([a], [b]) => a - b).map(([from_bytes, each]) => each.summary(from_bytes));
  }

  private begin(chunk: Chunk, row: number): void {
    const size_bytes = chunk.size_bytes[row];
    const from_bytes = 2 ** Math.floor(Math.log2(size_bytes));
    let sized = this.classes.get(from_bytes);
    if (sized === undefined) {
      sized = new SizeClass();
      this.classes.set(from_bytes, sized);
    }
    sized.begin(size_bytes);
    this.live.set(chunk.object[row], { event: chunk.first_event + row, size_bytes, listed: this.list(chunk, row) });
  }

  private end(slot: number, event: number): void {
    const block = this.live.get(slot);
    if (block === undefined) return;
    this.live.delete(slot);
    const lifetime = event - block.event;
    if (block.listed !== null) block.listed.lifetime_events = lifetime;
    this.classes.get(2 ** Math.floor(Math.log2(block.size_bytes)))?.end(block.size_bytes, lifetime);
  }

  private list({ size_bytes, site, touched_pages, first_event }: Chunk, row: number): LargeBlock | null {
    const { largest, largest_max } = this;
    const size = size_bytes[row];
    const least = largest.length < largest_max ? -1 : (largest.at(-1)?.size_bytes ?? Number.POSITIVE_INFINITY);
    if (size <= least) return null;
    const touched = touched_pages[row];
    const block: LargeBlock = {
      event: first_event + row,
      size_bytes: size,
      site: site[row],
      touched_pages: touched === limits.unknown ? null : touched,
      lifetime_events: null,
    };
    const at = largest.findIndex((each) => each.size_bytes < size);
    largest.splice(at < 0 ? largest.length : at, 0, block);
    if (largest.length > largest_max) largest.pop();
    return block;
  }
}

class SizeClass {
  private blocks = 0;
  private bytes = 0;
  private live_blocks = 0;
  private live_bytes = 0;
  private most_live_blocks = 0;
  private most_live_bytes = 0;
  /** Entry p counts lifetimes of [2^(p-1), 2^p) events. */
  private readonly lifetimes = new Float64Array(54);

  begin(size_bytes: number): void {
    this.blocks += 1;
    this.bytes += size_bytes;
    this.live_blocks += 1;
    this.live_bytes += size_bytes;
    this.most_live_blocks = Math.max(this.most_live_blocks, this.live_blocks);
    this.most_live_bytes = Math.max(this.most_live_bytes, this.live_bytes);
  }

  end(size_bytes: number, lifetime_events: number): void {
    this.live_blocks -= 1;
    this.live_bytes -= size_bytes;
    this.lifetimes[Math.floor(Math.log2(lifetime_events)) + 1] += 1;
  }

  summary(from_bytes: number): LargeClass {
    const { blocks, bytes, most_live_blocks, most_live_bytes, live_blocks: unfreed_blocks } = this;
    const median_lifetime_events = this.medianLifetime();
    return { from_bytes, blocks, bytes, most_live_blocks, most_live_bytes, median_lifetime_events, unfreed_blocks };
  }

  private medianLifetime(): number | null {
    const ended = this.blocks - this.live_blocks;
    let passed = 0;
    for (const [power, count] of this.lifetimes.entries()) {
      passed += count;
      if (count > 0 && 2 * passed >= ended) return 2 ** power;
    }
    return null;
  }
}
