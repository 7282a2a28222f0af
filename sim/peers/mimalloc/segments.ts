/**
 * Segments of mimalloc: 32 MiB each in slices of 64 KiB, what of them is accessible, what waits to be given back, and the
 * cache of whole free ones. Follows src/segment.c and src/segment-cache.c of mimalloc 2.0.9.
 */
import { mix32 } from '../../decide/digest.ts';
import { call, type Meter, path } from '../meter.ts';
import type { Space } from '../space.ts';
import { type MimallocSettings, settingOr } from './settings.ts';

const page_bytes = 4096;
export const slice_pages = 16;
export const slice_bytes = slice_pages * page_bytes;
export const segment_slices = 512;
const segment_pages = segment_slices * slice_pages;
/** What is made accessible at a time: 1 MiB. */
const commit_slices = 16;
/** Of the table of slices in the segment's first one: where it begins, and what each takes. */
const table_bytes = 264;
const entry_bytes = 80;
/** Slices of a page in use that know where it begins, besides the last. */
const back_entries = 255;
const cache_slots = 1024;
/** Expired segments are looked for among so many slots whenever one is put there, from a random one on. */
const slots_looked_at = 16;
/** Beyond this, mappings are placed by the kernel and not by a hint. */
const hinted_pages_max = 2 ** 18;

/** Spans of a segment: free, or a page's; only first and last slices know of them. */
export interface Segment {
  readonly base: number;
  readonly pages: number;
  readonly huge: boolean;
  owner: number;
  used: number;
  /** Of the span that begins there: how many slices, and whether it is free. */
  readonly count: Int32Array;
  readonly free: Uint8Array;
  /** At the last slice of a span: where it begins. */
  readonly first: Int32Array;
  readonly committed: Uint8Array;
  readonly waiting: Uint8Array;
  waiting_slices: number;
  expires_ms: number;
  /** Pages that were ever its memory were zeros no more. */
  fresh: boolean;
}

interface Cached {
  segment: Segment;
  expires_ms: number;
}

/** Free spans of one thread, by size; the last one freed is the first to be used. */
export type SpanQueues = Span[][];
export interface Span {
  readonly segment: Segment;
  readonly at: number;
}

const queue_count = 36;
export const newQueues = (): SpanQueues => Array.from({ length: queue_count }, () => []);

export class Segments {
  now_ms = 0;
  readonly space: Space;
  private readonly meter: Meter;
  private readonly cache: (Cached | undefined)[] = [];
  private readonly decommits: boolean;
  private readonly decommit_ms: number;
  private readonly extend_ms: number;
  private readonly segment_ms: number;
  private hint: number;

  constructor(space: Space, meter: Meter, settings: MimallocSettings, hint_page: number) {
    this.space = space;
    this.meter = meter;
    this.hint = hint_page;
    this.decommits = settingOr(settings, 'allow_decommit') > 0;
    this.decommit_ms = settingOr(settings, 'decommit_delay');
    this.extend_ms = settingOr(settings, 'decommit_extend_delay');
    this.segment_ms = settingOr(settings, 'segment_decommit_delay');
  }

  /** A segment of `slices` besides its table; 0 slices: one to be shared among pages. */
  make(owner: number, slices: number, eager: boolean, queues: SpanQueues): Segment {
    const huge = slices > 0;
    const segment =
      (huge ? undefined : this.fromCache()) ?? this.fromKernel(huge ? slices + 1 : segment_slices, eager || huge);
    segment.owner = owner;
    segment.expires_ms = 0;
    if (segment.committed[0] === 0) this.commit(segment, 0, 1);
    // A table that is not known to be zeros is cleared whole.
    if (!segment.fresh) this.writeTable(segment, 0, Math.min(segment_slices, segment.count.length));
    segment.fresh = false;
    if (!huge) this.ensureCommitted(segment, 0, 1);
    this.occupy(segment, 0, 1);
    segment.used = 0;
    if (huge) this.occupy(segment, 1, slices);
    else this.free(segment, 1, segment_slices - 1, false, queues);
    return segment;
  }

  /** A span of `slices` of the thread's segments; null where none has room. */
  find(slices: number, queues: SpanQueues): Span | null {
    for (let queue = queueOf(slices); queue < queue_count; queue += 1) {
      const spans = queues[queue];
      for (let at = spans.length - 1; at >= 0; at -= 1) {
        const span = spans[at];
        const { segment } = span;
        if (segment.count[span.at] < slices) continue;
        spans.splice(at, 1);
        this.split(segment, span.at, slices, queues);
        this.ensureCommitted(segment, span.at, slices);
        this.occupy(segment, span.at, slices);
        return span;
      }
    }
    return null;
  }

  /** A page is empty: its slices are free, and merge with the free ones around them. */
  release(segment: Segment, at: number, queues: SpanQueues): void {
    segment.used -= 1;
    if (segment.huge) {
      this.space.unmap(segment.base, segment.pages);
      return;
    }
    let from = at;
    let slices = segment.count[at];
    const above = at + slices;
    if (above < segment_slices && segment.free[above] === 1) {
      slices += segment.count[above];
      unqueue(segment, above, queues);
    }
    const below = segment.first[at - 1];
    if (segment.free[below] === 1) {
      slices += segment.count[below];
      from = below;
      unqueue(segment, below, queues);
    }
    this.free(segment, from, slices, true, queues);
    if (segment.used === 0) this.retire(segment, queues);
  }

  /** What has waited long enough is given back. */
  giveBackWaiting(segment: Segment, force: boolean): void {
    if (!this.decommits || segment.waiting_slices === 0) return;
    if (!force && this.now_ms < segment.expires_ms) return;
    const waiting = segment.waiting.slice();
    segment.expires_ms = 0;
    segment.waiting.fill(0);
    segment.waiting_slices = 0;
    for (let at = 0; at < segment_slices; at += 1) {
      if (waiting[at] === 0) continue;
      let end = at;
      while (end < segment_slices && waiting[end] === 1) end += 1;
      this.decommit(segment, at, end - at);
      at = end;
    }
  }

  writeTable(segment: Segment, from: number, to: number): void {
    const first = segment.base + Math.floor((table_bytes + from * entry_bytes) / page_bytes);
    const last = segment.base + Math.floor((table_bytes + (to * entry_bytes - 1)) / page_bytes);
    this.space.writeAll(first, last - first + 1);
  }

  private occupy(segment: Segment, at: number, slices: number): void {
    const last = Math.min(at + slices, segment.count.length) - 1;
    segment.count[at] = slices;
    segment.free[at] = 0;
    segment.first[last] = at;
    segment.used += 1;
    this.writeTable(segment, at, Math.min(at + 1 + back_entries, last + 1));
    this.writeTable(segment, last, last + 1);
  }

  private split(segment: Segment, at: number, slices: number, queues: SpanQueues): void {
    const left = segment.count[at] - slices;
    if (left > 0) this.free(segment, at + slices, left, false, queues);
  }

  private free(segment: Segment, at: number, slices: number, gives_back: boolean, queues: SpanQueues): void {
    segment.count[at] = slices;
    segment.free[at] = 1;
    segment.first[at + slices - 1] = at;
    this.writeTable(segment, at, at + 1);
    this.writeTable(segment, at + slices - 1, at + slices);
    if (gives_back) this.perhapsGiveBack(segment, at, slices);
    queues[queueOf(slices)].push({ segment, at });
  }

  /** The whole segment is free. */
  private retire(segment: Segment, queues: SpanQueues): void {
    unqueue(segment, 1, queues);
    this.purgeCache();
    let slot = 0;
    while (this.cache[slot] !== undefined) slot += 1;
    if (slot >= cache_slots) {
      this.space.unmap(segment.base, segment.pages);
      return;
    }
    const cached: Cached = { segment, expires_ms: 0 };
    this.cache[slot] = cached;
    if (!this.decommits || segment.committed.indexOf(1) < 0) return;
    if (this.segment_ms === 0) this.decommitAll(segment);
    else cached.expires_ms = this.now_ms + this.segment_ms;
  }

  private fromCache(): Segment | undefined {
    const slot = this.cache.findIndex((cached) => cached !== undefined);
    if (slot < 0) return undefined;
    const { segment } = this.cache[slot] as Cached;
    this.cache[slot] = undefined;
    return segment;
  }

  private purgeCache(): void {
    if (!this.decommits) return;
    const start = mix32(this.now_ms) % cache_slots;
    for (let visit = 0; visit < slots_looked_at; visit += 1) {
      const cached = this.cache[(start + visit) % cache_slots];
      if (cached === undefined || cached.expires_ms === 0 || this.now_ms < cached.expires_ms) continue;
      cached.expires_ms = 0;
      this.decommitAll(cached.segment);
    }
  }

  private decommitAll(segment: Segment): void {
    const { committed } = segment;
    for (let at = 0; at < segment_slices; at += 1) {
      if (committed[at] === 0) continue;
      let end = at;
      while (end < segment_slices && committed[end] === 1) end += 1;
      this.space.release(segment.base + at * slice_pages, (end - at) * slice_pages);
      at = end;
    }
    committed.fill(0);
    segment.waiting.fill(0);
    segment.waiting_slices = 0;
  }

  private fromKernel(slices: number, committed: boolean): Segment {
    const { space } = this;
    const pages = slices * slice_pages;
    this.meter.path = path.mapped;
    const base =
      pages <= hinted_pages_max ? this.mapHinted(pages) : space.mapAligned(pages, segment_pages, segment_pages);
    const entries = Math.min(slices, segment_slices);
    return {
      base,
      pages,
      huge: slices !== segment_slices,
      owner: -1,
      used: 0,
      count: new Int32Array(entries),
      free: new Uint8Array(entries),
      first: new Int32Array(entries),
      committed: new Uint8Array(entries).fill(committed ? 1 : 0),
      waiting: new Uint8Array(entries),
      waiting_slices: 0,
      expires_ms: 0,
      fresh: true,
    };
  }

  private mapHinted(pages: number): number {
    const from = this.hint;
    this.hint += Math.ceil(pages / segment_pages) * segment_pages;
    this.space.mapAt(from, pages);
    return from;
  }

  private perhapsGiveBack(segment: Segment, at: number, slices: number): void {
    if (!this.decommits) return;
    if (this.decommit_ms === 0) {
      this.decommit(segment, at, slices);
      return;
    }
    for (let slice = at; slice < at + slices; slice += 1)
      if (segment.committed[slice] === 1 && segment.waiting[slice] === 0) {
        segment.waiting[slice] = 1;
        segment.waiting_slices += 1;
      }
    if (segment.expires_ms === 0) segment.expires_ms = this.now_ms + this.decommit_ms;
    else if (segment.expires_ms > this.now_ms) segment.expires_ms += this.extend_ms;
    else if (segment.expires_ms + this.extend_ms <= this.now_ms) this.giveBackWaiting(segment, true);
    else segment.expires_ms = this.now_ms + this.extend_ms;
  }

  private ensureCommitted(segment: Segment, at: number, slices: number): void {
    const from = Math.max(Math.min(at, 1), Math.floor(at / commit_slices) * commit_slices);
    const end = Math.min(segment_slices, Math.ceil((at + slices) / commit_slices) * commit_slices);
    if (segment.committed.indexOf(0) < 0 && segment.waiting_slices === 0) return;
    let lacks = false;
    let undone = false;
    for (let slice = from; slice < end; slice += 1) {
      if (segment.committed[slice] === 0) lacks = true;
      if (segment.waiting[slice] === 1) undone = true;
    }
    if (lacks) this.commit(segment, from, end - from);
    if (undone) segment.expires_ms = this.now_ms + this.decommit_ms;
    this.noLongerWaiting(segment, from, end);
  }

  private commit(segment: Segment, at: number, slices: number): void {
    this.meter.note(call.mprotect, slices * slice_pages);
    segment.committed.fill(1, at, at + slices);
  }

  private decommit(segment: Segment, at: number, slices: number): void {
    const { committed } = segment;
    if (committed.subarray(at, at + slices).indexOf(1) >= 0) {
      this.space.release(segment.base + at * slice_pages, slices * slice_pages);
      committed.fill(0, at, at + slices);
    }
    this.noLongerWaiting(segment, at, at + slices);
  }

  private noLongerWaiting(segment: Segment, from: number, end: number): void {
    for (let slice = from; slice < end; slice += 1) {
      segment.waiting_slices -= segment.waiting[slice];
      segment.waiting[slice] = 0;
    }
  }
}

function unqueue(segment: Segment, at: number, queues: SpanQueues): void {
  const spans = queues[queueOf(segment.count[at])];
  spans.splice(
    spans.findIndex((span) => span.segment === segment && span.at === at),
    1,
  );
  segment.free[at] = 0;
}

/** Four queues to a doubling. */
function queueOf(slices: number): number {
  if (slices <= 1) return slices;
  const bit = 31 - Math.clz32(slices - 1);
  return bit <= 2 ? slices : ((bit << 2) | (((slices - 1) >> (bit - 2)) & 3)) - 4;
}
