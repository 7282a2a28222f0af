/**
 * The heap ledger: what blocks below the threshold cost in a C library that grows by brk alone and never shrinks.
 * Mirrors native/core/heap.c. It is a model (docs/POLICY.md, "Below the threshold"), not the library: its faults are
 * those of a heap that reuses perfectly, so the real library's are at least about as many.
 */
import { shape } from '../spec.ts';

const { heap_header_bytes, heap_align_bytes, heap_chunk_min_bytes, page_bytes } = shape;

export class Heap {
  private live_bytes = 0;
  /** The most that was live since it was settled, and before that. */
  private peak_bytes = 0;
  private settled_bytes = 0;

  allocate(size_bytes: number): void {
    this.live_bytes += chunkBytes(size_bytes);
    if (this.live_bytes > this.peak_bytes) this.peak_bytes = this.live_bytes;
  }

  free(size_bytes: number): void {
    this.live_bytes -= chunkBytes(size_bytes);
  }

  /** A stretch of events at once: what they leave live, and the most that was live among them, both relative. */
  fold(net_bytes: number, most_bytes: number): void {
    if (this.live_bytes + most_bytes > this.peak_bytes) this.peak_bytes = this.live_bytes + most_bytes;
    this.live_bytes += net_bytes;
  }

  /** The most that was live since this was asked last: for the shadow ledger, which follows other heaps beside this one. */
  settle(): number {
    const since_bytes = this.peak_bytes;
    if (since_bytes > this.settled_bytes) this.settled_bytes = since_bytes;
    this.peak_bytes = this.live_bytes;
    return since_bytes;
  }

  /** First touches of the pages that the heap grew by. */
  get faults(): number {
    return Math.ceil(Math.max(this.peak_bytes, this.settled_bytes) / page_bytes);
  }

  get resident_peak_bytes(): number {
    return this.faults * page_bytes;
  }
}

/** What a request takes of the heap. */
export function chunkBytes(size_bytes: number): number {
  const needed = Math.ceil((size_bytes + heap_header_bytes) / heap_align_bytes) * heap_align_bytes;
  return needed < heap_chunk_min_bytes ? heap_chunk_min_bytes : needed;
}
