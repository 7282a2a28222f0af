/**
 * Addresses of a process, in pages: which are mapped, from the top downwards as the kernel places them, and which are
 * resident. For peers whose memory comes from mmap alone.
 */
import { call, type Meter } from './meter.ts';
import { ModelLimit } from './peer.ts';

const absent = 0;
const zero = 1;
const resident = 2;

const part_shift = 12;
const part_pages = 1 << part_shift;
/** 4 TiB. A part costs memory only where one of its pages was used. */
const top_page = 2 ** 30;
/** Mappings of a multiple of this are placed at a multiple of it (mm/mmap.c since Linux 6.7). */
const huge_pages = 512;

export class Space {
  resident_pages = 0;
  mapped_pages = 0;
  private resident_before = 0;
  private mapped_before = 0;
  private readonly meter: Meter;
  private readonly parts = new Map<number, Uint8Array>();
  private part_at = -1;
  private part: Uint8Array = new Uint8Array(0);
  /** Unmapped stretches between mappings, the highest first; below `lowest` all is free. */
  private readonly hole_from: number[] = [];
  private readonly hole_to: number[] = [];
  private lowest: number;

  /** The first mapping lies `below_pages` under a multiple of 1 GiB. */
  constructor(meter: Meter, below_pages: number) {
    this.meter = meter;
    this.lowest = top_page - below_pages;
  }

  /** What is there now the process had before the trace. */
  begin(): void {
    this.resident_before = this.resident_pages;
    this.mapped_before = this.mapped_pages;
  }

  /** Both without what was there before the trace. */
  get resident_since(): number {
    return this.resident_pages - this.resident_before;
  }

  get mapped_since(): number {
    return this.mapped_pages - this.mapped_before;
  }

  /** mmap: returns its first page. */
  map(pages: number): number {
    const align = pages % huge_pages === 0 ? huge_pages : 1;
    this.meter.note(call.mmap, pages);
    for (let at = 0; at < this.hole_from.length; at += 1) {
      const from = floorTo(this.hole_to[at] - pages, align);
      if (from >= this.hole_from[at]) {
        this.take(from, pages);
        return from;
      }
    }
    const from = floorTo(this.lowest - pages, align);
    if (from < 0) throw new ModelLimit('more than 4 TiB of addresses');
    this.take(from, pages);
    return from;
  }

  /** mmap with a wish: false where [from, from + pages) is not free, and the kernel has mapped and unmapped elsewhere. */
  mapAt(from: number, pages: number): boolean {
    this.meter.note(call.mmap, pages);
    if (this.isFree(from, pages)) {
      this.take(from, pages);
      return true;
    }
    this.meter.note(call.munmap, 0);
    return false;
  }

  /** As allocators map what must be aligned to more than a page: as it comes, else larger by `spare`, and both ends cut off. */
  mapAligned(pages: number, align: number, spare = align - 1): number {
    const first = this.map(pages);
    if (first % align === 0) return first;
    this.unmap(first, pages);
    const whole = pages + spare;
    const at = this.map(whole);
    const from = Math.ceil(at / align) * align;
    if (from > at) this.unmap(at, from - at);
    const end = from + pages;
    if (at + whole > end) this.unmap(end, at + whole - end);
    return from;
  }

  /** Others have so many pages below what is mapped. */
  skip(pages: number): void {
    this.lowest -= pages;
  }

  unmap(from: number, pages: number): void {
    this.meter.note(call.munmap, this.forget(from, pages));
    this.mapped_pages -= pages;
    this.addHole(from, from + pages);
  }

  /** madvise(MADV_DONTNEED). */
  release(from: number, pages: number): void {
    this.meter.note(call.dontneed, this.forget(from, pages));
  }

  /** madvise(MADV_FREE): as long as nobody else needs memory they stay as they are, and a write finds them. */
  releaseLazily(from: number, pages: number): void {
    this.meter.note(call.free, this.count(from, pages));
  }

  write(page: number): void {
    const part = this.partOf(page);
    const at = page % part_pages;
    if (part[at] === resident) return;
    part[at] = resident;
    this.resident_pages += 1;
    this.meter.faults += 1;
  }

  writeAll(from: number, pages: number): void {
    for (let page = from; page < from + pages; page += 1) this.write(page);
  }

  /** A read of a page nobody wrote maps the shared zero page: a fault now, and another when it is written. */
  readAll(from: number, pages: number): void {
    for (let page = from; page < from + pages; page += 1) {
      const part = this.partOf(page);
      const at = page % part_pages;
      if (part[at] !== absent) continue;
      part[at] = zero;
      this.meter.zero_faults += 1;
    }
  }

  /** Pages of the allocator's own books, first written now; nobody gives them back. */
  chargeMetadata(pages: number): void {
    this.resident_pages += pages;
    this.meter.faults += pages;
  }

  /** Resident pages of a stretch. */
  count(from: number, pages: number): number {
    let found = 0;
    for (let page = from; page < from + pages; page += 1)
      if (this.parts.get(page >>> part_shift)?.[page % part_pages] === resident) found += 1;
    return found;
  }

  private forget(from: number, pages: number): number {
    let gone = 0;
    for (let page = from; page < from + pages; ) {
      const end = Math.min(from + pages, (Math.floor(page / part_pages) + 1) * part_pages);
      const part = this.parts.get(page >>> part_shift);
      if (part !== undefined)
        for (let at = page; at < end; at += 1) {
          if (part[at % part_pages] === resident) gone += 1;
          part[at % part_pages] = absent;
        }
      page = end;
    }
    this.resident_pages -= gone;
    return gone;
  }

  private partOf(page: number): Uint8Array {
    const at = page >>> part_shift;
    if (at === this.part_at) return this.part;
    let part = this.parts.get(at);
    if (part === undefined) {
      part = new Uint8Array(part_pages);
      this.parts.set(at, part);
    }
    this.part_at = at;
    this.part = part;
    return part;
  }

  private isFree(from: number, pages: number): boolean {
    if (from + pages <= this.lowest) return true;
    return this.hole_from.some((hole, at) => hole <= from && this.hole_to[at] >= from + pages);
  }

  private take(from: number, pages: number): void {
    const to = from + pages;
    this.mapped_pages += pages;
    if (to <= this.lowest) {
      const above = this.lowest;
      this.lowest = from;
      if (to < above) this.addHole(to, above);
      return;
    }
    const at = this.hole_from.findIndex((hole, index) => hole <= from && this.hole_to[index] >= to);
    const hole_from = this.hole_from[at];
    const hole_to = this.hole_to[at];
    this.hole_from.splice(at, 1);
    this.hole_to.splice(at, 1);
    if (hole_from < from) this.insertHole(at, hole_from, from);
    if (to < hole_to) this.insertHole(at, to, hole_to);
  }

  private addHole(from: number, to: number): void {
    const { hole_from, hole_to } = this;
    let at = hole_from.findIndex((hole) => hole < from);
    if (at < 0) at = hole_from.length;
    let merged_from = from;
    let merged_to = to;
    if (at < hole_from.length && hole_to[at] === from) {
      merged_from = hole_from[at];
      hole_from.splice(at, 1);
      hole_to.splice(at, 1);
    }
    if (at > 0 && hole_from[at - 1] === to) {
      merged_to = hole_to[at - 1];
      at -= 1;
      hole_from.splice(at, 1);
      hole_to.splice(at, 1);
    }
    if (merged_from === this.lowest) this.lowest = merged_to;
    else this.insertHole(at, merged_from, merged_to);
  }

  private insertHole(at: number, from: number, to: number): void {
    this.hole_from.splice(at, 0, from);
    this.hole_to.splice(at, 0, to);
  }
}

function floorTo(page: number, align: number): number {
  return Math.floor(page / align) * align;
}
