/**
 * One chunk of a `.hak` file: columns to bytes and back (docs/FORMAT.md). The C core reads the same in core/hakfile.c.
 *
 * Objects need no ids: an allocation takes the next slot by a rule both sides know, and a free says how many allocations
 * ago its block came. A chunk starts with the set of live slots, so each can be read on its own.
 */
import { ByteReader, ByteWriter } from './bytes.ts';
import { Slots } from './slots.ts';
import { type Chunk, limits, op, op_names, TraceError } from './trace.ts';

/** Layout constants, shared with the C core through the generated header. */
export const layout = {
  version: 1,
  preamble_bytes: 64,
  frame_bytes: 32,
  flag_time: 1,
  flag_sites: 2,
  flag_touch: 4,
  /** A row of the operation stream: 3 bits of operation, 5 bits of hint. */
  op_switch_thread: 5,
  hint_escape: 0,
  hint_size_max: 28,
  hint_recent_first: 29,
  hint_distance_max: 30,
  hint_same_distance: 31,
  hint_thread_max: 30,
  hint_successor: 31,
  /** What followed a size last time, by a hash of the size: this many remembered. */
  successors: 256,
  successor_multiplier: 0x9e3779b1,
  successor_shift: 24,
  size_unit_bytes: 8,
} as const;

/** The sizes a hint can name. */
interface RecentSizes {
  last: number;
  before: number;
  readonly successors: Float64Array;
}

function successorSlot(size_bytes: number): number {
  return Math.imul(size_bytes, layout.successor_multiplier) >>> layout.successor_shift;
}

export class ChunkEncoder {
  private readonly flags: number;
  private readonly slots = new Slots();
  /** The file's slot of each slot of the caller, and whether it is live. */
  private file_slot = new Uint32Array(1024);
  private live = new Uint8Array(1024);
  private last_index = new Int32Array(1024);
  private last_time_ns = 0;
  private thread = 0;
  private readonly ops = new ByteWriter();
  private readonly sizes = new ByteWriter();
  private readonly frees = new ByteWriter();
  private readonly aligns = new ByteWriter();
  private readonly sites = new ByteWriter();
  private readonly times = new ByteWriter();
  private readonly touched = new ByteWriter();

  constructor(flags: number) {
    this.flags = flags;
  }

  /** Slots the file needs, so far. */
  get objects(): number {
    return this.slots.high;
  }

  /** Bytes of one chunk. Throws TraceError on rows that no legal trace holds. */
  encode(path: string, chunk: Chunk): { payload: Uint8Array; first_time_ns: number } {
    const { ops, sizes, frees, aligns, sites, times, touched, slots } = this;
    for (const stream of [ops, sizes, frees, aligns, sites, times, touched]) stream.clear();
    const snapshot = this.snapshot();
    this.last_index.fill(-1);
    this.thread = -1;
    const recent: RecentSizes = { last: 0, before: 0, successors: new Float64Array(layout.successors) };
    let index = 0;
    let same_distance = 0;
    let last_touched = -1;
    const first_time_ns = chunk.time_ns[0];
    let last_time_ns = first_time_ns;
    if (first_time_ns < this.last_time_ns) throw refuse(path, chunk, 0, 'time that runs backwards');
    for (let row = 0; row < chunk.length; row += 1) {
      const kind = chunk.op[row];
      const caller_slot = chunk.object[row];
      if (chunk.thread[row] !== this.thread) this.switchThread(chunk.thread[row]);
      if (kind === op.free) {
        if (caller_slot >= this.live.length || this.live[caller_slot] === 0)
          throw refuse(path, chunk, row, `free of object ${caller_slot}, which is not live`);
        const slot = this.file_slot[caller_slot];
        const allocated = this.last_index[slot];
        const distance = allocated < 0 ? 0 : index - allocated;
        if (distance > 0 && distance <= layout.hint_distance_max) {
          ops.byte(op.free | (distance << 3));
        } else if (distance > 0 && distance === same_distance) {
          ops.byte(op.free | (layout.hint_same_distance << 3));
        } else {
          ops.byte(op.free);
          if (this.reference(slot, distance)) same_distance = distance;
        }
        this.live[caller_slot] = 0;
        slots.give(slot);
      } else {
        const size_bytes = chunk.size_bytes[row];
        if (!(size_bytes >= 0 && size_bytes < limits.size_bytes && Number.isInteger(size_bytes)))
          throw refuse(path, chunk, row, `a size of ${size_bytes}; sizes are whole bytes below 2^47`);
        let slot: number;
        if (kind === op.realloc) {
          if (caller_slot >= this.live.length || this.live[caller_slot] === 0)
            throw refuse(path, chunk, row, `realloc of object ${caller_slot}, which is not live`);
          slot = this.file_slot[caller_slot];
        } else if (kind < op.realloc) {
          if (caller_slot >= this.live.length) this.grow(caller_slot + 1);
          if (this.live[caller_slot] === 1)
            throw refuse(path, chunk, row, `object ${caller_slot} allocated twice without a free`);
          slot = slots.take();
          if (slot >= this.last_index.length) this.growIndex(slot + 1);
          this.file_slot[caller_slot] = slot;
          this.live[caller_slot] = 1;
        } else {
          throw refuse(path, chunk, row, `operation ${kind}; operations are 0 to ${op.free}`);
        }
        ops.byte(kind | (this.sizeHint(size_bytes, recent) << 3));
        recent.successors[successorSlot(recent.last)] = size_bytes;
        recent.before = recent.last;
        recent.last = size_bytes;
        if (kind === op.realloc) {
          const allocated = this.last_index[slot];
          this.reference(slot, allocated < 0 ? 0 : index - allocated);
        }
        if (kind === op.aligned) {
          const power = 31 - Math.clz32(chunk.align[row]);
          if (chunk.align[row] !== 2 ** power)
            throw refuse(path, chunk, row, `an alignment of ${chunk.align[row]}; alignments are powers of two`);
          aligns.byte(power);
        }
        if (this.flags & layout.flag_sites) sites.varint(chunk.site[row]);
        this.last_index[slot] = index;
        index += 1;
        if (this.flags & layout.flag_touch && chunk.touched_pages[row] !== limits.unknown) {
          touched.varint(row - last_touched);
          touched.varint(chunk.touched_pages[row]);
          last_touched = row;
        }
      }
      if (this.flags & layout.flag_time) {
        const time_ns = chunk.time_ns[row];
        if (!(time_ns >= last_time_ns && time_ns <= Number.MAX_SAFE_INTEGER))
          throw refuse(path, chunk, row, 'time that runs backwards');
        times.varint(time_ns - last_time_ns);
        last_time_ns = time_ns;
      }
    }
    this.last_time_ns = last_time_ns;
    slots.canonicalise();
    const out = new ByteWriter();
    for (const stream of [snapshot, ops, sizes, frees, aligns, sites, times, touched]) {
      out.varint(stream.length);
      out.append(stream);
    }
    return { payload: out.take(), first_time_ns };
  }

  private switchThread(thread: number): void {
    this.thread = thread;
    const small = thread <= layout.hint_thread_max;
    this.ops.byte(layout.op_switch_thread | ((small ? thread : layout.hint_thread_max + 1) << 3));
    if (!small) this.ops.varint(thread);
  }

  /** Names a block by the shorter of its distance and its slot; true where it was the distance. */
  private reference(slot: number, distance: number): boolean {
    const near = distance > 0 && distance <= slot;
    this.frees.varint(near ? distance * 2 : slot * 2 + 1);
    return near;
  }

  private sizeHint(size_bytes: number, recent: RecentSizes): number {
    if (size_bytes > 0 && size_bytes % layout.size_unit_bytes === 0) {
      const units = size_bytes / layout.size_unit_bytes;
      if (units <= layout.hint_size_max) return units;
    }
    if (size_bytes === recent.last) return layout.hint_recent_first;
    if (size_bytes === recent.before) return layout.hint_recent_first + 1;
    if (size_bytes === recent.successors[successorSlot(recent.last)]) return layout.hint_successor;
    this.sizes.varint(size_bytes);
    return layout.hint_escape;
  }

  /** Runs of live and free slots, live first. */
  private snapshot(): ByteWriter {
    const live = new Uint8Array(this.slots.high);
    for (let caller_slot = 0; caller_slot < this.live.length; caller_slot += 1)
      if (this.live[caller_slot] === 1) live[this.file_slot[caller_slot]] = 1;
    const runs = new ByteWriter();
    runs.varint(live.length);
    for (let at = 0, state = 1; at < live.length; state ^= 1) {
      const start = at;
      while (at < live.length && live[at] === state) at += 1;
      runs.varint(at - start);
    }
    return runs;
  }

  private grow(objects: number): void {
    const length = Math.max(objects, this.live.length * 2);
    const wider_slots = new Uint32Array(length);
    wider_slots.set(this.file_slot);
    this.file_slot = wider_slots;
    const wider_live = new Uint8Array(length);
    wider_live.set(this.live);
    this.live = wider_live;
  }

  private growIndex(objects: number): void {
    const wider = new Int32Array(Math.max(objects, this.last_index.length * 2)).fill(-1);
    wider.set(this.last_index);
    this.last_index = wider;
  }
}

export class ChunkDecoder {
  private readonly path: string;
  private readonly flags: number;
  private readonly objects: number;
  private readonly site_count: number;
  private readonly live: Uint8Array;
  /** Slots given out so far; those of them that are free lie on a stack, the one freed last on top. */
  private high = 0;
  private readonly free_slots: Uint32Array;
  private free_count = 0;
  private readonly slot_at: Uint32Array;
  private readonly successors: Float64Array;
  private started = false;
  private last_time_ns = 0;

  /** `objects` and `sites` bound the slots and site indexes that may occur; `chunk_events` the rows of a chunk. */
  constructor(path: string, flags: number, objects: number, sites: number, chunk_events: number = limits.chunk_events) {
    this.path = path;
    this.flags = flags;
    this.objects = objects;
    this.site_count = sites;
    this.live = new Uint8Array(objects);
    this.free_slots = new Uint32Array(objects);
    this.slot_at = new Uint32Array(chunk_events);
    this.successors = new Float64Array(layout.successors);
  }

  /** Forgets what came before: the next chunk need not follow the last. */
  seek(): void {
    this.started = false;
  }

  /** Fills `chunk` with `events` rows from `payload`. */
  decode(payload: Uint8Array, chunk: Chunk, first_event: number, events: number, first_time_ns: number): void {
    const reader = new ByteReader(payload);
    const streams = Array.from({ length: 8 }, () => {
      const length = reader.varint();
      const stream = reader.slice(length);
      if (stream === undefined) throw this.broken(first_event, 'a stream that ends beyond its chunk');
      return stream;
    });
    if (!reader.done || reader.overrun) throw this.broken(first_event, 'bytes after the last stream of a chunk');
    const [snapshot, ops, sizes, frees, aligns, sites, times, touched] = streams;
    this.restore(snapshot, first_event);
    chunk.first_event = first_event;
    chunk.length = events;
    chunk.align.fill(0, 0, events);
    chunk.touched_pages.fill(limits.unknown, 0, events);
    this.fillRows(chunk, ops, sizes, frees, aligns, sites);
    this.fillTimes(times, chunk, first_time_ns);
    this.fillTouched(touched, chunk);
    for (const stream of streams)
      if (!stream.done || stream.overrun)
        throw this.broken(first_event, 'a stream that is longer or shorter than its events');
  }

  /**
   * The loop that reading a trace consists of: columns, stack and stream positions are locals, and numbers of one byte,
   * which nearly all are, are read in place. A position past its end is caught when the streams are closed.
   */
  private fillRows(
    chunk: Chunk,
    ops: ByteReader,
    sizes: ByteReader,
    frees: ByteReader,
    aligns: ByteReader,
    sites: ByteReader,
  ): void {
    const { live, free_slots, slot_at, objects, site_count } = this;
    const with_sites = (this.flags & layout.flag_sites) !== 0;
    const { first_event, length: events } = chunk;
    const {
      op: op_column,
      thread: thread_column,
      object: object_column,
      size_bytes: size_column,
      site: site_column,
    } = chunk;
    const { hint_escape, hint_size_max, hint_recent_first, hint_same_distance, op_switch_thread } = layout;
    const { realloc, free, aligned } = op;
    const { bytes, end } = ops;
    const { end: sizes_end } = sizes;
    const { end: frees_end } = frees;
    const { end: sites_end } = sites;
    let { at } = ops;
    let { at: sizes_at } = sizes;
    let { at: frees_at } = frees;
    let { at: sites_at } = sites;
    let { high, free_count } = this;
    let index = 0;
    let thread = 0;
    let same_distance = 0;
    let recent_1 = 0;
    let recent_2 = 0;
    const successors = this.successors.fill(0);
    for (let row = 0; row < events; row += 1) {
      if (at >= end) throw this.broken(first_event + row, 'too few operations for its chunk');
      let byte = bytes[at];
      at += 1;
      while ((byte & 7) === op_switch_thread) {
        thread = byte >>> 3;
        if (thread > layout.hint_thread_max) {
          ops.at = at;
          thread = ops.varint();
          at = ops.at;
          if (thread > limits.unknown) throw this.broken(first_event + row, `thread ${thread}, beyond 32 bits`);
        }
        if (at >= end) throw this.broken(first_event + row, 'too few operations for its chunk');
        byte = bytes[at];
        at += 1;
      }
      const kind = byte & 7;
      const hint = byte >>> 3;
      let slot = objects;
      if (kind >= realloc) {
        if (kind > free) throw this.broken(first_event + row, `operation ${kind}; operations are 0 to ${free}`);
        let distance = hint;
        if (kind === realloc || hint === hint_escape) {
          let odd: number;
          if (frees_at < frees_end - 1 && (bytes[frees_at] & bytes[frees_at + 1]) < 128) {
            const low = bytes[frees_at];
            const reference = low < 128 ? low : (low & 127) | (bytes[frees_at + 1] << 7);
            frees_at += low < 128 ? 1 : 2;
            odd = reference & 1;
            distance = reference >>> 1;
          } else {
            frees.at = frees_at;
            const reference = frees.varint();
            frees_at = frees.at;
            odd = reference & 1;
            // What needs more than 32 bits is refused below as `objects` or more.
            distance = Math.min((reference - odd) / 2, limits.unknown) >>> 0;
          }
          if (odd === 1) {
            slot = distance;
            distance = 0;
          } else if (kind === free) {
            same_distance = distance;
          }
        } else if (hint === hint_same_distance) {
          distance = same_distance;
        }
        if (distance > 0 && distance <= index) slot = slot_at[index - distance];
        if (slot >= objects || live[slot] === 0)
          throw this.broken(first_event + row, `${op_names[kind]} of object ${slot}, which is not live`);
      }
      if (kind === free) {
        live[slot] = 0;
        free_slots[free_count] = slot;
        free_count += 1;
        size_column[row] = 0;
        site_column[row] = 0;
      } else {
        let size_bytes: number;
        if (hint === hint_escape) {
          if (sizes_at < sizes_end - 2 && (bytes[sizes_at] & bytes[sizes_at + 1] & bytes[sizes_at + 2]) < 128) {
            const low = bytes[sizes_at];
            const middle = bytes[sizes_at + 1];
            if (low < 128) {
              size_bytes = low;
              sizes_at += 1;
            } else if (middle < 128) {
              size_bytes = (low & 127) | (middle << 7);
              sizes_at += 2;
            } else {
              size_bytes = (low & 127) | ((middle & 127) << 7) | (bytes[sizes_at + 2] << 14);
              sizes_at += 3;
            }
          } else {
            sizes.at = sizes_at;
            size_bytes = sizes.varint();
            sizes_at = sizes.at;
            if (size_bytes >= limits.size_bytes)
              throw this.broken(first_event + row, `a size of ${size_bytes} bytes; sizes are below 2^47`);
          }
        } else if (hint <= hint_size_max) size_bytes = hint * layout.size_unit_bytes;
        else if (hint === hint_recent_first) size_bytes = recent_1;
        else if (hint === hint_recent_first + 1) size_bytes = recent_2;
        else size_bytes = successors[successorSlot(recent_1)];
        successors[successorSlot(recent_1)] = size_bytes;
        recent_2 = recent_1;
        recent_1 = size_bytes;
        size_column[row] = size_bytes;
        if (kind !== realloc) {
          if (free_count > 0) {
            free_count -= 1;
            slot = free_slots[free_count];
          } else {
            slot = high;
            high += 1;
            if (slot >= objects) throw this.broken(first_event + row, `object ${slot} of only ${objects}`);
          }
          live[slot] = 1;
          if (kind === aligned) {
            const power = aligns.byte();
            if (power > 31) throw this.broken(first_event + row, `an alignment of 2^${power}; at most 2^31`);
            chunk.align[row] = 2 ** power;
          }
        }
        let site = 0;
        if (with_sites) {
          if (sites_at < sites_end && bytes[sites_at] < 128) {
            site = bytes[sites_at];
            sites_at += 1;
          } else {
            sites.at = sites_at;
            site = Math.min(sites.varint(), limits.unknown) >>> 0;
            sites_at = sites.at;
          }
          if (site >= site_count) throw this.broken(first_event + row, `site ${site} of only ${site_count}`);
        }
        site_column[row] = site;
        slot_at[index] = slot;
        index += 1;
      }
      op_column[row] = kind;
      thread_column[row] = thread;
      object_column[row] = slot;
    }
    ops.at = at;
    sizes.at = sizes_at;
    frees.at = frees_at;
    sites.at = sites_at;
    this.high = high;
    this.free_count = free_count;
  }

  /** Sets the live slots of a chunk's start, or checks that they are those the chunk before left. */
  private restore(runs: ByteReader, first_event: number): void {
    const { live, free_slots } = this;
    const high = runs.varint();
    if (high > this.objects) throw this.broken(first_event, `${high} live slots of only ${this.objects}`);
    if (!this.started && first_event === 0 && high !== 0)
      throw this.broken(first_event, 'objects that were live before the first event');
    if (this.started && high !== this.high)
      throw this.broken(first_event, 'live objects that differ from those the chunk before left');
    for (let slot = 0, state = 1; slot < high; state ^= 1) {
      const run = runs.varint();
      if (run > high - slot || runs.overrun || (run === 0 && slot > 0))
        throw this.broken(first_event, 'a broken set of live objects');
      const run_end = slot + run;
      if (!this.started) live.fill(state, slot, run_end);
      else
        for (let at = slot; at < run_end; at += 1)
          if (live[at] !== state)
            throw this.broken(first_event, 'live objects that differ from those the chunk before left');
      slot = run_end;
    }
    if (!this.started) live.fill(0, high);
    let free_count = 0;
    // Descending, so that the lowest is on top: what the encoder's stack is after it was put in order.
    for (let slot = high - 1; slot >= 0; slot -= 1) {
      if (live[slot] === 1) continue;
      free_slots[free_count] = slot;
      free_count += 1;
    }
    this.high = high;
    this.free_count = free_count;
    if (!this.started) this.last_time_ns = 0;
    this.started = true;
  }

  private fillTimes(times: ByteReader, chunk: Chunk, first_time_ns: number): void {
    const { length: events, time_ns: time_column, first_event } = chunk;
    if ((this.flags & layout.flag_time) === 0) {
      for (let row = 0; row < events; row += 1) time_column[row] = (first_event + row) * 1000;
      return;
    }
    if (first_time_ns < this.last_time_ns) throw this.broken(first_event, 'time that runs backwards');
    const { bytes, end } = times;
    let { at } = times;
    let time_ns = first_time_ns;
    for (let row = 0; row < events; row += 1) {
      if (at < end - 1 && (bytes[at] & bytes[at + 1]) < 128) {
        const low = bytes[at];
        time_ns += low < 128 ? low : (low & 127) | (bytes[at + 1] << 7);
        at += low < 128 ? 1 : 2;
      } else {
        times.at = at;
        time_ns += times.varint();
        at = times.at;
      }
      time_column[row] = time_ns;
    }
    times.at = at;
    if (time_ns > Number.MAX_SAFE_INTEGER) throw this.broken(first_event, 'a time beyond 2^53 ns');
    this.last_time_ns = time_ns;
  }

  private fillTouched(touched: ByteReader, chunk: Chunk): void {
    let row = -1;
    while (!touched.done) {
      const gap = touched.varint();
      const pages = touched.varint();
      row += gap;
      if (gap === 0 || row >= chunk.length || pages >= limits.unknown || touched.overrun)
        throw this.broken(chunk.first_event, 'a touch count that belongs to no event');
      if (pages > Math.ceil(chunk.size_bytes[row] / 4096) + 1)
        throw this.broken(chunk.first_event + row, `${pages} touched pages in ${chunk.size_bytes[row]} bytes`);
      chunk.touched_pages[row] = pages;
    }
  }

  private broken(event: number, message: string): TraceError {
    return new TraceError(this.path, `event ${event}`, message);
  }
}

function refuse(path: string, chunk: Chunk, row: number, message: string): TraceError {
  return new TraceError(path, `event ${chunk.first_event + row}`, message);
}
