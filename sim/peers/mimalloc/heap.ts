/**
 * The heap of one thread of mimalloc: pages of blocks of one size, and who frees what when. Follows src/page.c,
 * src/page-queue.c and src/alloc.c of mimalloc 2.0.9.
 */
import { type Meter, path } from '../meter.ts';
import type { Space } from '../space.ts';
import { newQueues, type Segment, type Segments, type SpanQueues, slice_bytes, slice_pages } from './segments.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const page_bytes = 4096;
const small_max_bytes = 16 * KiB;
const medium_page_bytes = 512 * KiB;
export const medium_max_bytes = 128 * KiB;
const large_max_bytes = 16 * MiB;
const bins = 74;
/** A page's free list is made longer by this many bytes at a time, by at least four blocks. */
const extend_bytes = 4096;
const extend_blocks_min = 4;
/** The only empty page of its size is kept for so many looks for another page. */
const retire_looks_small = 9;
const retire_looks = 3;

/** Blocks of one size in consecutive slices. Blocks are numbers from 0. */
export interface Page {
  readonly heap: Heap;
  readonly segment: Segment;
  /** Its first slice. */
  readonly at: number;
  readonly block_bytes: number;
  readonly start_bytes: number;
  readonly blocks: number;
  /** Blocks that were ever in the free list. */
  capacity: number;
  used: number;
  free: number[];
  /** Freed since the free list was last empty, by this thread and by others. */
  local: number[];
  remote: number[];
  full: boolean;
  /** Another thread's next free goes by the heap's list, not the page's. */
  delays: boolean;
  looks_left: number;
}

export interface Block {
  readonly page: Page;
  readonly index: number;
}

export class Heap {
  readonly number: number;
  private readonly segments: Segments;
  private readonly space: Space;
  private readonly meter: Meter;
  private readonly resets: boolean;
  private readonly eager: (made: number) => boolean;
  private readonly spans: SpanQueues = newQueues();
  /** Pages with room by size, the first to be used first. */
  private readonly queues: Page[][] = Array.from({ length: bins }, () => []);
  private delayed: Block[] = [];
  private made = 0;

  /** `eager`: whether a segment is made accessible whole, by how many the thread has. */
  constructor(number: number, segments: Segments, meter: Meter, resets: boolean, eager: (made: number) => boolean) {
    this.number = number;
    this.segments = segments;
    this.space = segments.space;
    this.meter = meter;
    this.resets = resets;
    this.eager = eager;
  }

  allocate(size_bytes: number, clears: boolean): Block {
    const bin = binOf(size_bytes);
    const first = size_bytes <= 1024 ? this.queues[bin][0] : undefined;
    const page = first !== undefined && first.free.length > 0 ? first : this.find(size_bytes, bin);
    const index = page.free.pop() as number;
    page.used += 1;
    const block = { page, index };
    this.writeLink(block);
    if (clears) {
      const from = startOf(block);
      this.writeBytes(from, page.block_bytes);
      this.meter.cleared_bytes += page.block_bytes;
    }
    return block;
  }

  /** By the thread of the heap. */
  free(block: Block): void {
    const { page } = block;
    this.writeLink(block);
    page.local.push(block.index);
    page.used -= 1;
    if (page.used === 0) this.retire(page);
    else if (page.full) this.unfill(page);
  }

  /** By another thread. */
  freeRemotely(block: Block): void {
    const { page } = block;
    if (page.segment.huge) this.space.release(...inner(page));
    this.writeLink(block);
    if (page.delays) {
      this.delayed.push(block);
      page.delays = false;
    } else page.remote.push(block.index);
  }

  private find(size_bytes: number, bin: number): Page {
    if (this.meter.path < path.searched) this.meter.path = path.searched;
    this.takeDelayed();
    if (size_bytes > medium_max_bytes) return this.makeLarge(size_bytes);
    const queue = this.queues[bin];
    while (queue.length > 0) {
      const page = queue[0];
      collect(page);
      if (page.free.length === 0 && page.capacity < page.blocks) this.extend(page);
      if (page.free.length > 0) {
        page.looks_left = 0;
        return page;
      }
      queue.shift();
      page.full = true;
      page.delays = true;
      collect(page);
    }
    this.collectRetired();
    const block_bytes = binBytes(bin);
    const page = this.make(block_bytes, block_bytes <= small_max_bytes ? slice_bytes : medium_page_bytes);
    queue.unshift(page);
    return page;
  }

  /** Its one block has the whole page. */
  private makeLarge(size_bytes: number): Page {
    const block_bytes = goodBytes(size_bytes);
    if (block_bytes > large_max_bytes) return this.makeHuge(block_bytes);
    const step = block_bytes > medium_page_bytes ? medium_page_bytes : slice_bytes;
    const bytes = Math.ceil(block_bytes / step) * step;
    return this.make(bytes, bytes);
  }

  private makeHuge(size_bytes: number): Page {
    const slices = Math.ceil(size_bytes / slice_bytes);
    const segment = this.segments.make(this.number, slices, true, this.spans);
    const bytes = slices * slice_bytes;
    return this.begin(segment, 1, bytes, bytes);
  }

  private make(block_bytes: number, bytes: number): Page {
    const slices = bytes / slice_bytes;
    let span = this.segments.find(slices, this.spans);
    if (span === null) {
      this.segments.make(this.number, 0, this.eager(this.made), this.spans);
      this.made += 1;
      span = this.segments.find(slices, this.spans);
    }
    if (span === null) throw new Error(`a new segment has no room for ${bytes} bytes`);
    this.segments.giveBackWaiting(span.segment, false);
    return this.begin(span.segment, span.at, block_bytes, bytes);
  }

  private begin(segment: Segment, at: number, block_bytes: number, bytes: number): Page {
    const offset_bytes = block_bytes >= 8 && block_bytes <= 1024 ? 3 * 128 : 0;
    const page: Page = {
      heap: this,
      segment,
      at,
      block_bytes,
      start_bytes: (segment.base + at * slice_pages) * page_bytes + offset_bytes,
      blocks: Math.floor((bytes - offset_bytes) / block_bytes),
      capacity: 0,
      used: 0,
      free: [],
      local: [],
      remote: [],
      full: false,
      delays: true,
      looks_left: 0,
    };
    this.extend(page);
    return page;
  }

  /** Further blocks enter the free list, which writes to each of them. */
  private extend(page: Page): void {
    const wanted = Math.max(extend_blocks_min, Math.floor(extend_bytes / page.block_bytes));
    const to = Math.min(page.blocks, page.capacity + wanted);
    for (let index = to - 1; index >= page.capacity; index -= 1) {
      page.free.push(index);
      this.writeLink({ page, index });
    }
    page.capacity = to;
  }

  private retire(page: Page): void {
    const queue = this.queues[binOf(page.block_bytes)];
    if (page.block_bytes <= medium_max_bytes && !page.full && queue.length === 1 && queue[0] === page) {
      page.looks_left = page.block_bytes <= small_max_bytes ? retire_looks_small : retire_looks;
      return;
    }
    this.drop(page);
  }

  private drop(page: Page): void {
    if (page.block_bytes <= medium_max_bytes && !page.full) {
      const queue = this.queues[binOf(page.block_bytes)];
      queue.splice(queue.indexOf(page), 1);
    }
    if (this.resets) this.space.releaseLazily(Math.ceil(page.start_bytes / page_bytes), pagesOf(page) - 1);
    const { segment } = page;
    this.segments.release(segment, page.at, this.spans);
    if (segment.used === 0 && !segment.huge) this.made -= 1;
  }

  private unfill(page: Page): void {
    page.full = false;
    this.queues[binOf(page.block_bytes)].push(page);
  }

  private collectRetired(): void {
    for (const queue of this.queues) {
      const [page] = queue;
      if (page === undefined || page.looks_left === 0) continue;
      if (page.used > 0) page.looks_left = 0;
      else {
        page.looks_left -= 1;
        if (page.looks_left === 0) this.drop(page);
      }
    }
  }

  private takeDelayed(): void {
    const { delayed } = this;
    if (delayed.length === 0) return;
    this.delayed = [];
    for (const block of delayed.reverse()) {
      block.page.delays = true;
      collect(block.page);
      this.free(block);
    }
  }

  /** A free block's first word leads to the next one. */
  private writeLink(block: Block): void {
    this.space.write(Math.floor(startOf(block) / page_bytes));
  }

  private writeBytes(from: number, bytes: number): void {
    const first = Math.floor(from / page_bytes);
    this.space.writeAll(first, Math.floor((from + bytes - 1) / page_bytes) - first + 1);
  }
}

export const startOf = ({ page, index }: Block): number => page.start_bytes + index * page.block_bytes;

/** What other threads freed, and then what the thread itself did, becomes free where nothing else is. */
function collect(page: Page): void {
  if (page.remote.length > 0) {
    page.used -= page.remote.length;
    page.local.push(...page.remote);
    page.remote = [];
  }
  if (page.free.length > 0 || page.local.length === 0) return;
  page.free = page.local;
  page.local = [];
}

const pagesOf = (page: Page): number => Math.ceil((page.blocks * page.block_bytes) / page_bytes);

/** Whole pages of a huge block but the first, which holds a link. */
function inner(page: Page): [number, number] {
  return [page.start_bytes / page_bytes + 1, pagesOf(page) - 1];
}

/** Four to a doubling, up to 128 KiB; what is larger shares one. */
function binOf(size_bytes: number): number {
  if (size_bytes > medium_max_bytes) return bins - 1;
  const words = Math.ceil(size_bytes / 8);
  if (words <= 1) return 1;
  // A multiple of two words, as the ABI's alignment wants.
  if (words <= 8) return (words + 1) & ~1;
  const bit = 31 - Math.clz32(words - 1);
  return (bit << 2) + (((words - 1) >> (bit - 2)) & 3) - 3;
}

function binBytes(bin: number): number {
  if (bin <= 8) return bin * 8;
  const bit = (bin + 3) >> 2;
  return (((bin + 3) & 3) + 5) * 2 ** (bit - 2) * 8;
}

/** Of blocks with a page of their own. */
function goodBytes(size_bytes: number): number {
  let step = page_bytes;
  if (size_bytes >= 32 * MiB) step = 4 * MiB;
  else if (size_bytes >= 8 * MiB) step = MiB;
  else if (size_bytes >= 2 * MiB) step = 256 * KiB;
  else if (size_bytes >= 512 * KiB) step = 64 * KiB;
  return Math.ceil(size_bytes / step) * step;
}
