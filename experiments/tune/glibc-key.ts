/** Which settings of glibc a trace cannot tell apart: thresholds with no request between them, arenas without threads. */
import { bisectLeft } from 'd3-array';
import { chunkBytes } from '../../sim/decide/heap.ts';
import { type Chunk, op } from '../../traces/index.ts';
import { dynamic } from './glibc-space.ts';
import type { Point } from './space.ts';

/** An aligned chunk is cut from one larger by its alignment, a least chunk and a header. */
const aligned_beyond_bytes = 48;
/** Chunks that every process begins with: a least one, freed at once, and its thread's cache. */
const first_chunks_bytes = [32, 656];

export class GlibcKeys {
  /** Chunk sizes that the mapping threshold is compared with. */
  private readonly sizes: Float64Array;
  private readonly threads: number;

  constructor(chunks: Iterable<Chunk>) {
    const sizes = new Set(first_chunks_bytes);
    const threads = new Set<number>();
    for (const { op: kinds, thread, size_bytes, align, length } of chunks)
      for (let row = 0; row < length; row += 1) {
        threads.add(thread[row]);
        if (kinds[row] === op.free) continue;
        const chunk_bytes = chunkBytes(size_bytes[row]);
        sizes.add(chunk_bytes);
        if (align[row] > 16) sizes.add(chunk_bytes + align[row] + aligned_beyond_bytes);
      }
    this.sizes = Float64Array.from(sizes).sort();
    this.threads = threads.size;
  }

  /** Equal for points whose figures are equal on this trace. */
  key([mmap_threshold, trim_threshold, top_pad, mmap_max, arena_max]: Point): string {
    const arenas = this.threads > 1 ? `arenas ${arena_max}` : '';
    if (mmap_threshold === dynamic) return `dynamic ${arenas}`;
    const rank = mmap_max === 0 ? this.sizes.length : this.rank(mmap_threshold);
    const mapped = rank === this.sizes.length ? 'nothing mapped' : `mapped from ${rank} of ${mmap_max}`;
    return `${mapped} trim ${trim_threshold} pad ${top_pad} ${arenas}`;
  }

  /** Sizes below the threshold. */
  private rank(threshold_bytes: number): number {
    return bisectLeft(this.sizes, threshold_bytes);
  }
}
