/**
 * Where ptmalloc's memory comes from and goes to: mapped chunks and the dynamic threshold, the break of the main arena,
 * heaps of the others. Follows sysmalloc, systrim, munmap_chunk, mremap_chunk (malloc/malloc.c) and new_heap, grow_heap,
 * heap_trim (malloc/arena.c) of glibc 2.36.
 */
import { call, type Meter, path } from '../meter.ts';
import { ModelLimit } from '../peer.ts';
import { type Arena, type Cache, pageUnits } from './arena.ts';
import { type Chunks, layout, state } from './chunks.ts';
import type { HeapPages } from './heap-pages.ts';
import { Mappings } from './mappings.ts';
import { dynamic_threshold_max_bytes, type GlibcSettings, pinsDynamic, settingOr } from './settings.ts';

const { unit_bytes, page_units, nobody, chunk_min_units } = layout;
const page_bytes = 4096;
const chunk_min_bytes = chunk_min_units * unit_bytes;
/** Heaps of arenas beside the main one: reserved whole, made accessible as they grow. */
const heap_max_bytes = 64 * 2 ** 20;
export const heap_max_units = heap_max_bytes / unit_bytes;
const heap_min_bytes = 32 * 1024;
/** At the start of each such heap, and of an arena's first one behind that: sizeof heap_info, sizeof malloc_state. */
const heap_info_bytes = 48;
const arena_state_bytes = 2200;
/** The main heap has units below this; the others take stretches above, of which there are so many. */
export const main_heap_max_units = 2 ** 30;
const heaps_max = 256;
/** Larger chunks than this are mapped in whole pages alone. */
const mapped_pages_max = 2 ** 31 - 1;

interface Heap {
  readonly index: number;
  readonly base: number;
  readonly prior: Heap | null;
  bytes: number;
  accessible_bytes: number;
  /** Stands at its end once another heap has followed it. */
  fence: number;
}

export class System {
  mmap_threshold: number;
  trim_threshold: number;
  /** Pages of mapped chunks, and those of them that are resident. */
  mapped_pages = 0;
  mapped_resident_pages = 0;
  /** Of all heaps: what lies below the break, and what is accessible of the others. */
  heap_pages = 0;
  /** From the start of the main heap to the break. */
  main_bytes = 0;
  /** Where the main heap begins; matters to alignments beyond a page alone. */
  readonly main_base_units: number;
  private readonly dynamic: boolean;
  private readonly top_pad: number;
  private readonly mmap_max: number;
  private readonly chunks: Chunks;
  private readonly pages: HeapPages;
  private readonly meter: Meter;
  private readonly mappings = new Mappings();
  private mapped_chunks = 0;
  private readonly heaps: (Heap | undefined)[] = [];
  /** The current heap of each arena; undefined of the main one. */
  private readonly heap_of: (Heap | undefined)[] = [];
  /** The heap beside which an aligned stretch is known to be free, so that the next is mapped there as it is. */
  private aligned_beside: Heap | null = null;
  private first_heap = true;

  constructor(settings: GlibcSettings, main_base_bytes: number, chunks: Chunks, pages: HeapPages, meter: Meter) {
    this.main_base_units = main_base_bytes / unit_bytes;
    this.mmap_threshold = settingOr(settings, 'mmap_threshold');
    this.trim_threshold = settingOr(settings, 'trim_threshold');
    this.top_pad = settingOr(settings, 'top_pad');
    this.mmap_max = settingOr(settings, 'mmap_max');
    this.dynamic = !pinsDynamic(settings);
    this.chunks = chunks;
    this.pages = pages;
    this.meter = meter;
  }

  /**
   * The top of `arena` is too small: map the request alone, or grow the heap and cut it from there. nobody where the heap
   * was full: what was its top is freed behind the new one, and that, empty as it still is, goes away at once.
   */
  more(arena: Arena, units: number, cache: Cache | null): number {
    if (units * unit_bytes >= this.mmap_threshold && this.mapped_chunks < this.mmap_max) return this.map(units);
    if (arena.index === 0) this.growMain(arena, units);
    else if (!this.growHeap(arena, units, cache)) return this.map(units);
    return this.chunks.size[arena.top] >= units + chunk_min_units ? arena.takeTop(units) : nobody;
  }

  /** The first heap of an arena other than the main one, for a request of so many bytes. */
  begin(arena: Arena, size_bytes: number): void {
    const head_bytes = heap_info_bytes + arena_state_bytes;
    const heap =
      this.newHeap(null, size_bytes + head_bytes + unit_bytes) ?? this.newHeap(null, head_bytes + unit_bytes)!;
    this.heap_of[arena.index] = heap;
    const from = Math.ceil(head_bytes / unit_bytes);
    this.pages.writeAll(heap.base, heap.base + from);
    arena.top = this.makeTop(arena, heap, from);
  }

  /**
   * Bytes from a top that calloc has to clear: what the break gains is clear, also where it had been before (on Linux
   * malloc.c is compiled with MORECORE_CLEARS=2); of other heaps, what was accessible once is not.
   */
  usedOfTop(arena: Arena): number {
    const { at, size } = this.chunks;
    const top_bytes = size[arena.top] * unit_bytes;
    const heap = this.heap_of[arena.index];
    if (heap === undefined) return top_bytes;
    return Math.max(top_bytes, heap.accessible_bytes - (at[arena.top] - heap.base) * unit_bytes);
  }

  /** After a large free: gives the end of the top back where it is large enough. */
  trim(arena: Arena): void {
    if (arena.index === 0) this.trimMain(arena);
    else this.trimHeap(arena);
  }

  /** Frees a mapped chunk; the dynamic threshold follows what was mapped, so that the like come from the heap next time. */
  unmap(chunk: number): void {
    const { chunks, meter } = this;
    const { at, size, bk } = chunks;
    const chunk_bytes = size[chunk] * page_bytes - at[chunk] * unit_bytes;
    // The comparison is of the size field, whose flag of mapped chunks counts as 2.
    if (this.dynamic && chunk_bytes + 2 > this.mmap_threshold && chunk_bytes + 2 <= dynamic_threshold_max_bytes) {
      this.mmap_threshold = chunk_bytes;
      this.trim_threshold = 2 * chunk_bytes;
    }
    const resident = bk[chunk] + leadPages(at[chunk]);
    meter.path = path.mapped;
    meter.note(call.munmap, resident);
    this.mappings.remove(chunk, size[chunk]);
    this.mapped_chunks -= 1;
    this.mapped_pages -= size[chunk];
    this.mapped_resident_pages -= resident;
    chunks.drop(chunk);
  }

  /** A mapped chunk to another size, by mremap where the number of pages changes. */
  remap(chunk: number, units: number): void {
    const { mappings, meter } = this;
    const { at, size, bk } = this.chunks;
    const pages = Math.ceil(((units + at[chunk]) * unit_bytes + 8) / page_bytes);
    meter.path = path.mapped;
    if (pages === size[chunk]) return;
    const resident = Math.min(bk[chunk], pages - firstPage(at[chunk]));
    if (pages < size[chunk]) {
      mappings.shrink(chunk, size[chunk], pages);
      meter.note(call.mremap_shrink, bk[chunk] - resident);
    } else {
      const stays = mappings.grow(chunk, size[chunk], pages);
      meter.note(stays ? call.mremap_grow : call.mremap, bk[chunk] + leadPages(at[chunk]));
    }
    this.mapped_resident_pages -= bk[chunk] - resident;
    this.mapped_pages += pages - size[chunk];
    bk[chunk] = resident;
    size[chunk] = pages;
  }

  /** The header of a mapped chunk moves up in its mapping, for alignment. */
  shift(chunk: number, units: number): void {
    this.chunks.at[chunk] = units;
    // The page of the old header, where the new one lies in another, is counted apart.
    this.chunks.bk[chunk] = firstPage(units) > 0 ? 0 : 1;
    this.writeMapped(chunk, 0);
  }

  /** The first bytes of what a mapped chunk holds are written. */
  writeMapped(chunk: number, bytes: number): void {
    const { at, bk } = this.chunks;
    const first = firstPage(at[chunk]);
    const last_byte = at[chunk] * unit_bytes + unit_bytes + bytes - 1;
    const pages = Math.floor(last_byte / page_bytes) + 1 - first;
    const more = pages - bk[chunk];
    if (more <= 0) return;
    bk[chunk] = pages;
    this.meter.faults += more;
    this.mapped_resident_pages += more;
  }

  private map(units: number): number {
    const { chunks, meter } = this;
    const pages = Math.ceil((units * unit_bytes + 8) / page_bytes);
    if (pages > mapped_pages_max) throw new ModelLimit(`a block of ${units * unit_bytes} bytes`);
    const chunk = chunks.make(state.mapped, 0);
    chunks.at[chunk] = 0;
    chunks.size[chunk] = pages;
    chunks.bk[chunk] = 0;
    meter.path = path.mapped;
    meter.note(call.mmap, pages);
    this.mappings.add(chunk, pages);
    this.mapped_chunks += 1;
    this.mapped_pages += pages;
    this.writeMapped(chunk, 0);
    return chunk;
  }

  private growMain(arena: Arena, units: number): void {
    const { at, size } = this.chunks;
    if (arena.top === nobody) arena.top = this.makeMainTop();
    const { top } = arena;
    const bytes = units * unit_bytes + this.top_pad + chunk_min_bytes - size[top] * unit_bytes;
    const grown = pageUnits(bytes);
    if (at[top] + size[top] + grown >= main_heap_max_units) throw new ModelLimit('a heap of more than 16 GiB');
    this.pages.reach(at[top] + size[top] + grown);
    this.meter.note(call.brk_grow, grown / page_units);
    size[top] += grown;
    this.main_bytes += grown * unit_bytes;
    this.heap_pages += grown / page_units;
    this.pages.write(at[top]);
  }

  private makeMainTop(): number {
    const { chunks } = this;
    const top = chunks.make(state.top, 0);
    chunks.at[top] = 0;
    chunks.size[top] = 0;
    chunks.before[top] = nobody;
    chunks.after[top] = nobody;
    return top;
  }

  private trimMain(arena: Arena): void {
    const { at, size } = this.chunks;
    const { top } = arena;
    const top_bytes = size[top] * unit_bytes;
    if (top_bytes < this.trim_threshold) return;
    const extra = this.extraOf(top_bytes);
    if (extra === 0) return;
    const end = at[top] + size[top];
    size[top] -= extra / unit_bytes;
    this.main_bytes -= extra;
    this.heap_pages -= extra / page_bytes;
    this.meter.note(call.brk_shrink, this.pages.release(end - extra / unit_bytes, end));
  }

  /** Whole pages of a top that go back; 0 where it has none to spare. */
  private extraOf(top_bytes: number): number {
    const area = top_bytes - chunk_min_bytes - 1;
    return area <= this.top_pad ? 0 : Math.floor((area - this.top_pad) / page_bytes) * page_bytes;
  }

  /** False where the heap is full and no other can hold the request. */
  private growHeap(arena: Arena, units: number, cache: Cache | null): boolean {
    const { chunks, pages } = this;
    const { size } = chunks;
    const { top } = arena;
    const heap = this.heap_of[arena.index]!;
    const lacking = (chunk_min_units + units - size[top]) * unit_bytes;
    const grown_bytes = Math.ceil(lacking / page_bytes) * page_bytes;
    if (heap.bytes + grown_bytes <= heap_max_bytes) {
      this.makeAccessible(heap, heap.bytes + grown_bytes);
      heap.bytes += grown_bytes;
      size[top] += grown_bytes / unit_bytes;
      return true;
    }
    const next = this.newHeap(heap, (units + chunk_min_units) * unit_bytes + heap_info_bytes);
    if (next === null) return false;
    this.heap_of[arena.index] = next;
    pages.write(next.base);
    arena.top = this.makeTop(arena, next, heap_info_bytes / unit_bytes);
    this.fenceOff(arena, heap, top, cache);
    return true;
  }

  /** What was the top of a full heap is freed, but for a fence at its end that nothing merges over. */
  private fenceOff(arena: Arena, heap: Heap, old_top: number, cache: Cache | null): void {
    const { chunks, pages } = this;
    const { at, size, before, after, state: kinds } = chunks;
    const left = size[old_top] - chunk_min_units;
    const end = at[old_top] + size[old_top];
    pages.write(end - 1);
    if (left < chunk_min_units) {
      size[old_top] = left + 1;
      kinds[old_top] = state.fence;
      after[old_top] = nobody;
      heap.fence = old_top;
      return;
    }
    const fence = chunks.make(state.fence, arena.index);
    at[fence] = at[old_top] + left;
    size[fence] = 1;
    before[fence] = old_top;
    after[fence] = nobody;
    pages.write(at[fence]);
    size[old_top] = left;
    after[old_top] = fence;
    kinds[old_top] = state.used;
    heap.fence = fence;
    arena.free(old_top, cache);
  }

  private trimHeap(arena: Arena): void {
    const { chunks, meter, pages } = this;
    const { at, size, before, after, state: kinds } = chunks;
    let heap = this.heap_of[arena.index]!;
    while (heap.prior !== null && at[arena.top] === heap.base + heap_info_bytes / unit_bytes) {
      const { prior } = heap;
      const { fence } = prior;
      const below = before[fence];
      const merges = below !== nobody && kinds[below] === state.free;
      const new_units = size[fence] + 1 + (merges ? size[below] : 0);
      if (new_units * unit_bytes + heap_max_bytes - prior.bytes < this.top_pad + chunk_min_bytes + page_bytes) break;
      meter.note(call.munmap, pages.release(heap.base, heap.base + heap_max_units));
      this.heaps[heap.index] = undefined;
      this.heap_pages -= heap.accessible_bytes / page_bytes;
      if (this.aligned_beside === heap) this.aligned_beside = null;
      chunks.drop(arena.top);
      let top = fence;
      if (merges) {
        arena.unlink(below);
        chunks.drop(fence);
        top = below;
      }
      kinds[top] = state.top;
      size[top] = new_units;
      after[top] = nobody;
      arena.top = top;
      heap = prior;
      this.heap_of[arena.index] = heap;
    }
    const top_bytes = size[arena.top] * unit_bytes;
    if (top_bytes < this.trim_threshold) return;
    const extra = this.extraOf(top_bytes);
    if (extra === 0) return;
    const end = at[arena.top] + size[arena.top];
    heap.bytes -= extra;
    size[arena.top] -= extra / unit_bytes;
    meter.note(call.dontneed, pages.release(end - extra / unit_bytes, end));
  }

  /** null where not even a whole heap holds so many bytes. */
  private newHeap(prior: Heap | null, size_bytes: number): Heap | null {
    const { meter, top_pad } = this;
    let bytes = size_bytes + top_pad;
    if (bytes < heap_min_bytes) bytes = heap_min_bytes;
    else if (bytes > heap_max_bytes) {
      if (size_bytes > heap_max_bytes) return null;
      bytes = heap_max_bytes;
    }
    bytes = Math.ceil(bytes / page_bytes) * page_bytes;
    let index = this.heaps.indexOf(undefined);
    if (index < 0) index = this.heaps.length;
    if (index >= heaps_max) throw new ModelLimit(`more than ${heaps_max} heaps`);
    const base = main_heap_max_units + index * heap_max_units;
    const heap: Heap = { index, base, prior, bytes, accessible_bytes: 0, fence: nobody };
    this.heaps[index] = heap;
    this.pages.reach(base + heap_max_units);
    meter.path = path.mapped;
    this.reserve(heap);
    this.makeAccessible(heap, bytes);
    return heap;
  }

  /**
   * Twice the size is mapped and both ends cut off, which leaves an aligned heap; below that one the kernel places the
   * next, so that its lower end is aligned already and half of it is left for the one after.
   */
  private reserve(heap: Heap): void {
    const { meter } = this;
    const pages = heap_max_bytes / page_bytes;
    if (this.aligned_beside !== null) {
      this.aligned_beside = null;
      meter.note(call.mmap, pages);
      return;
    }
    meter.note(call.mmap, 2 * pages);
    if (this.first_heap) meter.note(call.munmap, 0);
    meter.note(call.munmap, 0);
    if (!this.first_heap) this.aligned_beside = heap;
    this.first_heap = false;
  }

  private makeAccessible(heap: Heap, bytes: number): void {
    if (bytes <= heap.accessible_bytes) return;
    const pages = (bytes - heap.accessible_bytes) / page_bytes;
    this.meter.note(call.mprotect, pages);
    this.heap_pages += pages;
    heap.accessible_bytes = bytes;
  }

  private makeTop(arena: Arena, heap: Heap, from: number): number {
    const { chunks, pages } = this;
    const top = chunks.make(state.top, arena.index);
    chunks.at[top] = heap.base + from;
    chunks.size[top] = heap.bytes / unit_bytes - from;
    chunks.before[top] = nobody;
    chunks.after[top] = nobody;
    pages.write(heap.base + from);
    return top;
  }
}

/** The page of a mapping that a header at `units` lies in. */
const firstPage = (units: number): number => Math.floor((units * unit_bytes) / page_bytes);

/** Of a header that was moved up by pages: the one where it was at first is resident, too. */
const leadPages = (units: number): number => (firstPage(units) > 0 ? 1 : 0);
