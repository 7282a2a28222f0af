/** Blocks that a thread of jemalloc keeps to itself, and how it gives them up again. Follows src/tcache.c of jemalloc 5.3.0. */
import { classOf, large_min_bytes, slab_classes, small_classes } from './classes.ts';

const large_slots = 20;
/** After so many bytes asked for, and again after so many freed, the next size in turn is looked at. */
const collect_bytes = 65_536;

/** What a cache does to arenas. */
export interface Below {
  /** Up to `count` blocks of a small class, the first to be used last. */
  fill(index: number, count: number): number[];
  /** In this order. */
  flush(blocks: readonly number[], small: boolean): void;
}

interface Slot {
  readonly most: number;
  /** The last is the first to be used. */
  readonly blocks: number[];
  /** Fewest that were here since it was last looked at. */
  low: number;
  /** Of `most`, 1 / 2^this is fetched at a time. */
  fill_divide_log2: number;
  filled: boolean;
}

export class ThreadCache {
  /** Classes from here on are not kept. */
  readonly classes: number;
  private readonly below: Below;
  private readonly slots: Slot[];
  private asked_bytes = 0;
  private freed_bytes = 0;
  private next = 0;

  constructor(below: Below, largest_bytes: number) {
    this.below = below;
    this.classes = classOf(largest_bytes) + 1;
    this.slots = Array.from({ length: this.classes }, (_, index) => ({
      most: index < small_classes ? slab_classes[index].cache_slots : large_slots,
      blocks: [],
      low: 0,
      fill_divide_log2: 1,
      filled: false,
    }));
  }

  /** undefined where the class is large and none is here. */
  take(index: number): number | undefined {
    const slot = this.slots[index];
    const { blocks } = slot;
    if (blocks.length === 0) {
      slot.low = 0;
      if (index >= small_classes) return undefined;
      blocks.push(...this.below.fill(index, Math.max(1, slot.most >> slot.fill_divide_log2)));
      slot.filled = true;
      slot.low = 0;
    }
    const block = blocks.pop();
    if (blocks.length < slot.low) slot.low = blocks.length;
    return block;
  }

  holds(index: number): boolean {
    return this.slots[index].blocks.length > 0;
  }

  give(index: number, block: number): void {
    const slot = this.slots[index];
    if (slot.blocks.length === slot.most) this.keep(slot, index, slot.most >> 1);
    slot.blocks.push(block);
  }

  asked(bytes: number): void {
    this.asked_bytes += bytes;
    if (this.asked_bytes < collect_bytes) return;
    this.asked_bytes = 0;
    this.collect();
  }

  freed(bytes: number): void {
    this.freed_bytes += bytes;
    if (this.freed_bytes < collect_bytes) return;
    this.freed_bytes = 0;
    this.collect();
  }

  /** Three quarters of what was not used since the last time go. */
  private collect(): void {
    const index = this.next;
    const slot = this.slots[index];
    if (slot.low > 0) {
      this.keep(slot, index, slot.blocks.length - slot.low + (slot.low >> 2));
      if (index < small_classes && slot.most >> (slot.fill_divide_log2 + 1) >= 1) slot.fill_divide_log2 += 1;
    } else if (slot.filled) {
      if (slot.fill_divide_log2 > 1) slot.fill_divide_log2 -= 1;
      slot.filled = false;
    }
    slot.low = slot.blocks.length;
    this.next = (index + 1) % this.classes;
  }

  private keep(slot: Slot, index: number, count: number): void {
    const gone = slot.blocks.splice(0, slot.blocks.length - count);
    if (slot.low > count) slot.low = count;
    this.below.flush(gone, index < small_classes);
  }
}

/** Bytes of the arrays of a cache, which come from the first arena. */
export function cacheBytes(largest_bytes: number): number {
  const large = Math.max(0, classOf(largest_bytes) - classOf(large_min_bytes) + 1);
  return 8 * (2 + slab_classes.reduce((sum, { cache_slots }) => sum + cache_slots, 0) + large * large_slots);
}
