/**
 * The mapped blocks, as columns: each is in exactly one home. Mirrors native/core/blocks.c.
 *
 * A block keeps its number from map to unmap; numbers are reused, the last given back first.
 */
import { assert } from '../assert.ts';

export const home = { unmapped: 0, live: 1, cache: 2, batch: 3, kept: 4 } as const;
export const no_block = -1;
export const no_class = 255;

export class Blocks {
  count = 0;
  /** First page of the mapping, in the region. */
  start = new Int32Array(64);
  /** Pages the program may use; the mapping has `header_pages` more, before them. */
  pages = new Int32Array(64);
  home = new Uint8Array(64);
  /** Size class of BigCache, or no_class. */
  class = new Uint8Array(64);
  /** True from mmap to munmap. */
  mapped = new Uint8Array(64);
  /** True while every page is known to read as zero. */
  clean = new Uint8Array(64);
  size_bytes = new Float64Array(64);
  site = new Uint32Array(64);
  /** Links among free blocks of one page count, newest first, and among kept blocks, oldest first. */
  newer = new Int32Array(64);
  older = new Int32Array(64);
  kept_before = new Int32Array(64);
  kept_after = new Int32Array(64);
  private readonly unused: number[] = [];

  create(start: number, pages: number): number {
    const block = this.unused.pop() ?? this.count;
    if (block === this.count) {
      if (this.count === this.start.length) this.grow();
      this.count += 1;
    }
    assert(this.home[block] === home.unmapped, 'a new block has no home yet');
    this.start[block] = start;
    this.pages[block] = pages;
    this.mapped[block] = 1;
    this.clean[block] = 1;
    this.class[block] = no_class;
    this.newer[block] = no_block;
    this.older[block] = no_block;
    this.kept_before[block] = no_block;
    this.kept_after[block] = no_block;
    return block;
  }

  destroy(block: number): void {
    this.home[block] = home.unmapped;
    this.unused.push(block);
  }

  private grow(): void {
    const rows = this.start.length * 2;
    this.start = wider(this.start, new Int32Array(rows));
    this.pages = wider(this.pages, new Int32Array(rows));
    this.home = wider(this.home, new Uint8Array(rows));
    this.class = wider(this.class, new Uint8Array(rows));
    this.mapped = wider(this.mapped, new Uint8Array(rows));
    this.clean = wider(this.clean, new Uint8Array(rows));
    this.size_bytes = wider(this.size_bytes, new Float64Array(rows));
    this.site = wider(this.site, new Uint32Array(rows));
    this.newer = wider(this.newer, new Int32Array(rows));
    this.older = wider(this.older, new Int32Array(rows));
    this.kept_before = wider(this.kept_before, new Int32Array(rows));
    this.kept_after = wider(this.kept_after, new Int32Array(rows));
  }
}

function wider<T extends Int32Array | Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
