/** Counts over a trace as it streams by: the figures of `hakmem info` and of the `.hak` header. */
import { type Chunk, large_bytes, limits, op, type Statistics } from './trace.ts';

export class Tally {
  private events = 0;
  private allocations = 0;
  private frees = 0;
  private reallocs = 0;
  private objects = 0;
  private largest_bytes = 0;
  private live_bytes = 0;
  private peak_live_bytes = 0;
  private total_bytes = 0;
  private large_blocks = 0;
  private large_blocks_touched = 0;
  private readonly threads = new Set<number>();
  private readonly histogram = new Float64Array(49);
  private sizes_bytes = new Float64Array(1024);

  add(chunk: Chunk): void {
    let thread = -1;
    for (let row = 0; row < chunk.length; row += 1) {
      if (chunk.thread[row] !== thread) {
        thread = chunk.thread[row];
        this.threads.add(thread);
      }
      const slot = chunk.object[row];
      if (slot >= this.objects) this.grow(slot + 1);
      if (chunk.op[row] === op.free) {
        this.frees += 1;
        this.live_bytes -= this.sizes_bytes[slot];
        this.sizes_bytes[slot] = 0;
        continue;
      }
      const size_bytes = chunk.size_bytes[row];
      if (chunk.op[row] === op.realloc) {
        this.reallocs += 1;
        this.live_bytes -= this.sizes_bytes[slot];
      } else {
        this.allocations += 1;
      }
      this.sizes_bytes[slot] = size_bytes;
      this.live_bytes += size_bytes;
      this.total_bytes += size_bytes;
      if (this.live_bytes > this.peak_live_bytes) this.peak_live_bytes = this.live_bytes;
      if (size_bytes > this.largest_bytes) this.largest_bytes = size_bytes;
      this.histogram[bits(size_bytes)] += 1;
      if (size_bytes >= large_bytes) {
        this.large_blocks += 1;
        if (chunk.touched_pages[row] !== limits.unknown) this.large_blocks_touched += 1;
      }
    }
    this.events += chunk.length;
  }

  statistics(): Statistics {
    return {
      events: this.events,
      allocations: this.allocations,
      frees: this.frees,
      reallocs: this.reallocs,
      threads: this.threads.size,
      objects: this.objects,
      largest_bytes: this.largest_bytes,
      peak_live_bytes: this.peak_live_bytes,
      total_bytes: this.total_bytes,
      unfreed: this.allocations - this.frees,
      large_blocks: this.large_blocks,
      large_blocks_touched: this.large_blocks_touched,
      size_histogram: [...this.histogram].flatMap((count, power) => (count > 0 ? [[2 ** power, count] as const] : [])),
    };
  }

  private grow(objects: number): void {
    this.objects = objects;
    if (objects <= this.sizes_bytes.length) return;
    const wider = new Float64Array(Math.max(objects, this.sizes_bytes.length * 2));
    wider.set(this.sizes_bytes);
    this.sizes_bytes = wider;
  }
}

/** Bits that the number needs: its size class is [2^(bits-1), 2^bits). */
function bits(value: number): number {
  const high = Math.floor(value / 2 ** 32);
  return high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(value);
}
