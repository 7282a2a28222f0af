/**
 * mimalloc 2.0.9 over a trace: threads with their heaps, segments, and what each event does to the kernel. A peer: there is
 * no mirror of it in C, it is held to the real library (docs/PEERS.md).
 */
import { op } from '../../traces/trace.ts';
import { pagesOf, touchedPages } from '../kernel/touch.ts';
import { call, Meter } from './meter.ts';
import { type Block, Heap, startOf } from './mimalloc/heap.ts';
import { Segments } from './mimalloc/segments.ts';
import { type MimallocSettings, settingOr } from './mimalloc/settings.ts';
import { type Clock, ModelLimit, type Peer } from './peer.ts';
import { Space } from './space.ts';

const page_bytes = 4096;
/** Blocks up to this are aligned as much as a power of two can be. */
const aligned_max_bytes = 1024;
const guaranteed_align_bytes = 128;
/** Beyond this a block needs a segment of its own, which the model does not have. */
const align_max_bytes = 16 * 2 ** 20;
/** Hinted addresses begin here: far below what the kernel places. */
const hint_page = 2 ** 25;
/** A thread's own storage: one mapping, of which so many pages are written. */
const thread_pages = 3;

export interface MimallocMachine {
  /** How far below a multiple of 1 GiB the first mapping lies that has no hint. */
  readonly below_pages: number;
  /** Threads that were started before the trace, each with a block for its thread-local storage. */
  readonly threads_before: number;
  readonly clock: Clock | null;
}

export const mimalloc_machine: MimallocMachine = { below_pages: 1600, threads_before: 0, clock: null };

interface Live {
  readonly block: Block;
  /** Where what the program was given begins, beyond the block's own start. */
  readonly offset_bytes: number;
}

export class Mimalloc implements Peer {
  readonly meter = new Meter();
  readonly space: Space;
  private readonly segments: Segments;
  private readonly settings: MimallocSettings;
  private readonly touch: number;
  private readonly clock: Clock | null;
  private events = 1;
  private readonly heaps: (Heap | undefined)[] = [];
  private heap_count = 0;
  private readonly main: Heap;
  private main_is_free = true;
  private readonly live: (Live | undefined)[] = [];
  private last_placed = 0;

  constructor(settings: MimallocSettings, machine: MimallocMachine, touch: number) {
    this.settings = settings;
    this.touch = touch;
    this.clock = machine.clock;
    this.space = new Space(this.meter, machine.below_pages);
    this.segments = new Segments(this.space, this.meter, settings, hint_page);
    this.meter.begin();
    this.main = this.makeHeap();
    for (let at = 0; at < machine.threads_before; at += 1) this.main.allocate(vector_bytes, true);
    this.main.free(this.main.allocate(1, false));
    this.space.begin();
  }

  /** Without what the process had before the trace. */
  get resident_pages(): number {
    return this.space.resident_since;
  }

  get mapped_pages(): number {
    return this.space.mapped_since;
  }

  /** First page of the last block, and where it begins there. */
  get placed(): number {
    return this.last_placed;
  }

  run(
    kind: number,
    thread: number,
    object: number,
    size_bytes: number,
    align: number,
    touched: number,
    time_ns: number,
  ): void {
    const now_ns = this.clock === null ? time_ns : this.clock.start_ns + this.events * this.clock.event_ns;
    this.events += 1;
    this.segments.now_ms = Math.floor(now_ns / 1e6);
    this.meter.begin();
    const heap = this.heaps[thread] ?? this.meet(thread);
    const before = this.live[object];
    if (kind === op.free) {
      if (before !== undefined) this.free(heap, before.block);
      this.live[object] = undefined;
      this.last_placed = 0;
      return;
    }
    const live =
      kind === op.realloc && before !== undefined
        ? this.realloc(heap, before, size_bytes)
        : this.allocate(heap, kind, size_bytes, align);
    this.live[object] = live;
    const from = startOf(live.block) + live.offset_bytes;
    this.last_placed = Math.floor(from / page_bytes) ^ ((from % page_bytes) << 20);
    this.use(from, size_bytes, touchedPages(this.touch, size_bytes, touched));
  }

  /** First byte of a live object and how many it may use. */
  placeOf(object: number): { readonly from_bytes: number; readonly usable_bytes: number } {
    const live = this.live[object];
    if (live === undefined) throw new Error(`object ${object} is not live`);
    return { from_bytes: startOf(live.block) + live.offset_bytes, usable_bytes: usableOf(live) };
  }

  private allocate(heap: Heap, kind: number, size_bytes: number, align: number): Live {
    const natural = align <= size_bytes && isPowerOfTwo(size_bytes) && size_bytes <= aligned_max_bytes;
    const guaranteed = align <= size_bytes && size_bytes <= guaranteed_align_bytes && size_bytes % align === 0;
    if (kind !== op.aligned || natural || guaranteed)
      return { block: heap.allocate(size_bytes, kind === op.calloc), offset_bytes: 0 };
    if (align > align_max_bytes) throw new ModelLimit(`an alignment of ${align} bytes`);
    const block = heap.allocate(size_bytes + align - 1, false);
    const from = startOf(block);
    return { block, offset_bytes: Math.ceil(from / align) * align - from };
  }

  /** What fits and does not waste half of it stays. */
  private realloc(heap: Heap, before: Live, size_bytes: number): Live {
    const usable = usableOf(before);
    if (size_bytes <= usable && size_bytes >= Math.floor(usable / 2) && size_bytes > 0) return before;
    const block = heap.allocate(size_bytes, false);
    const bytes = Math.min(usable, size_bytes);
    const from = startOf(before.block) + before.offset_bytes;
    const to = startOf(block);
    if (bytes > 0) {
      this.space.readAll(Math.floor(from / page_bytes), pageSpan(from, bytes));
      this.space.writeAll(Math.floor(to / page_bytes), pageSpan(to, bytes));
    }
    this.meter.copied_bytes += bytes;
    this.free(heap, before.block);
    return { block, offset_bytes: 0 };
  }

  private free(heap: Heap, block: Block): void {
    const owner = block.page.heap;
    if (owner === heap) owner.free(block);
    else owner.freeRemotely(block);
  }

  /** The program writes to the first pages of its block; of a block that it touches whole, to the last byte, too. */
  private use(from: number, size_bytes: number, pages: number): void {
    if (pages === 0) return;
    const last_byte = pages === pagesOf(size_bytes) ? size_bytes - 1 : (pages - 1) * page_bytes;
    this.space.writeAll(Math.floor(from / page_bytes), pageSpan(from, last_byte + 1));
  }

  /** The thread of the first event is the one that the process began with. */
  private meet(thread: number): Heap {
    let heap = this.main;
    if (!this.main_is_free) {
      heap = this.makeHeap();
      this.meter.note(call.mmap, thread_pages);
      this.space.chargeMetadata(thread_pages);
    }
    this.main_is_free = false;
    this.heaps[thread] = heap;
    return heap;
  }

  private makeHeap(): Heap {
    const eager = settingOr(this.settings, 'eager_commit') > 0;
    const delay = settingOr(this.settings, 'eager_commit_delay');
    const resets = settingOr(this.settings, 'page_reset') > 0;
    this.heap_count += 1;
    return new Heap(this.heap_count, this.segments, this.meter, resets, (made) => {
      const late = this.heap_count > 1 && made < delay;
      return eager && !late;
    });
  }
}

/** The vector that the C library asks for as it starts a thread. */
const vector_bytes = 304;

const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));

function usableOf({ block, offset_bytes }: Live): number {
  return block.page.block_bytes - offset_bytes;
}

/** Pages that [from, from + bytes) reaches into. */
function pageSpan(from: number, bytes: number): number {
  return Math.floor((from + bytes - 1) / page_bytes) - Math.floor(from / page_bytes) + 1;
}
