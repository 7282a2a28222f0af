/**
 * The workload of glibc's trace-utils, which `trace2wl` writes and `trace_run` runs. Numbers are groups of 7 bits, highest
 * first, the high bit set on all but the last byte. A header, a code and a number each:
 *
 *     8 pointers    9 syncs    10 threads    11 where a thread's calls begin, once a thread    1 end
 *
 * then each thread's calls together:
 *
 *     2 malloc, 3 calloc, 13 valloc, 14 pvalloc: pointer, size     4 realloc: new, old, size     12 memalign: pointer, align, size
 *     5 free: pointer     6 signal a sync     7 wait for it     1 end
 *
 * Pointer 0 is NULL. The file does not say how the calls of different threads follow each other, but for the syncs.
 */
import { TraceBuilder } from './builder.ts';
import type { ByteSource } from './hak.ts';
import { type Importer, importedOrigin } from './importer.ts';
import type { ByteStream } from './stream.ts';
import { type Chunk, limits, op, TraceError } from './trace.ts';

export const wl_code = {
  nop: 0,
  done: 1,
  malloc: 2,
  calloc: 3,
  realloc: 4,
  free: 5,
  sync_w: 6,
  sync_r: 7,
  alloc_ptrs: 8,
  alloc_syncs: 9,
  n_threads: 10,
  start_thread: 11,
  memalign: 12,
  valloc: 13,
  pvalloc: 14,
} as const;

const notes = [
  'Times and call sites are not recorded.',
  'In which order calls of different threads came is not recorded, but for the syncs between them: threads take turns, a call each.',
];
/** Of all threads' buffers together: each has its part of the file to itself. */
const buffers_bytes = 2 ** 24;
const [buffer_bytes_min, buffer_bytes_max] = [64, 2 ** 16];
/** Each has a buffer and a place in every round. */
const threads_max = 2 ** 17;
/** Between two looks at whether a chunk is full. */
const turns = 4096;
const page_bytes = 4096;

export const wl: Importer = {
  name: 'wl',
  recognises: (start) => {
    let at = 0;
    return [wl_code.alloc_ptrs, wl_code.alloc_syncs, wl_code.n_threads, wl_code.start_thread].every((code) => {
      const here = start[at];
      at += 1;
      while (start[at] > 127) at += 1;
      at += 1;
      return here === code;
    });
  },
  import(stream) {
    let rows = new Rows(stream);
    return {
      columns: { time: false, sites: false, touch: false },
      chunks: () => {
        rows = new Rows(stream);
        return rows.chunks();
      },
      origin: () => importedOrigin(stream, 'wl', rows.builder, { notes }),
    };
  },
};

/** Reads from a place in the file up to another. */
class Cursor {
  readonly what: string;
  private readonly source: ByteSource;
  private readonly buffer: Uint8Array;
  /** Of `buffer[0]`. */
  private start: number;
  private at = 0;
  private filled = 0;
  private readonly end: number;

  constructor(source: ByteSource, start: number, end: number, buffer_bytes: number, what: string) {
    this.source = source;
    this.start = start;
    this.end = end;
    this.buffer = new Uint8Array(buffer_bytes);
    this.what = what;
  }

  get offset(): number {
    return this.start + this.at;
  }

  byte(): number {
    if (this.at === this.filled) this.fill();
    this.at += 1;
    return this.buffer[this.at - 1];
  }

  number(): number {
    const start = this.offset;
    let value = 0;
    for (;;) {
      const byte = this.byte();
      value = value * 128 + (byte & 127);
      if (value > Number.MAX_SAFE_INTEGER) throw this.error(start, 'a number of 2^53 or more');
      if (byte < 128) return value;
    }
  }

  /** A number up to `most`. */
  upTo(most: number, what: string): number {
    const start = this.offset;
    const value = this.number();
    if (value > most) throw this.error(start, `${what} ${value}; wanted one up to ${most}`);
    return value;
  }

  error(offset: number, message: string): TraceError {
    return new TraceError(this.source.path, `byte ${offset}`, message);
  }

  private fill(): void {
    this.start += this.at;
    const left = Math.min(this.buffer.length, this.end - this.start);
    if (left <= 0) {
      const ends = this.end === this.source.length ? 'the file ends' : 'another thread begins';
      throw this.error(this.end, `${ends} in the middle of ${this.what}`);
    }
    this.buffer.set(this.source.read(this.start, left));
    this.at = 0;
    this.filled = left;
  }
}

interface Header {
  readonly pointers: number;
  readonly syncs: number;
  /** Where each thread's calls begin. */
  readonly starts: readonly number[];
}

function headerOf(source: ByteSource): Header {
  const cursor = new Cursor(source, 0, source.length, buffer_bytes_max, 'its header');
  const starts: number[] = [];
  let [pointers, syncs, threads] = [0, 0, 0];
  for (;;) {
    const start = cursor.offset;
    const code = cursor.byte();
    if (code === wl_code.done) break;
    if (code === wl_code.alloc_ptrs) pointers = cursor.number();
    // Each has its place in the file, twice: more would only be asked for by a file that is broken.
    else if (code === wl_code.alloc_syncs) syncs = cursor.upTo(source.length, 'a number of syncs');
    else if (code === wl_code.n_threads) threads = cursor.upTo(threads_max, 'a number of threads');
    else if (code === wl_code.start_thread) starts.push(cursor.upTo(source.length - 1, 'a thread that begins at byte'));
    else if (code !== wl_code.nop) throw cursor.error(start, `found code ${code}; wanted 1, or 8 to 11, of a header`);
  }
  if (starts.length !== threads)
    throw cursor.error(0, `found the starts of ${starts.length} threads; wanted ${threads}, as the header says`);
  return { pointers, syncs, starts };
}

/** A thread ends where the next one begins at the latest: so a file has no more calls than bytes, whatever it claims. */
function endsOf(source: ByteSource, starts: readonly number[]): Map<number, number> {
  const sorted = [...starts].sort((a, b) => a - b);
  const ends = new Map(sorted.map((start, at) => [start, sorted[at + 1] ?? source.length]));
  if (ends.size < starts.length)
    throw new TraceError(source.path, 'byte 0', 'two threads that begin at the same place');
  return ends;
}

interface Thread {
  readonly cursor: Cursor;
  readonly number: number;
  /** Not at its end, and not at the sync below. */
  runs: boolean;
  sync_at: number;
  sync: number;
  signals: boolean;
}

class Rows {
  readonly builder = new TraceBuilder();
  private readonly header: Header;
  private readonly signalled: Uint8Array;
  private running: Thread[];
  private stopped: Thread[] = [];
  private readonly details = { thread: 0, align: 0 };

  constructor(stream: ByteStream) {
    const { source } = stream;
    if (source === undefined)
      throw new TraceError(
        stream.path,
        '',
        "a packed workload; wanted it unpacked, for its threads' calls lie side by side",
      );
    this.header = headerOf(source);
    const { starts, syncs } = this.header;
    this.signalled = new Uint8Array(syncs + 1);
    const ends = endsOf(source, starts);
    const part = Math.floor(buffers_bytes / Math.max(1, starts.length));
    const buffer_bytes = Math.max(buffer_bytes_min, Math.min(buffer_bytes_max, part));
    this.running = starts.map((start, number) => ({
      cursor: new Cursor(source, start, ends.get(start)!, buffer_bytes, `thread ${number}`),
      number,
      runs: true,
      sync_at: 0,
      sync: 0,
      signals: false,
    }));
  }

  *chunks(): Generator<Chunk> {
    while (this.takeTurns()) yield* this.builder.full();
    yield* this.builder.finish();
  }

  /** Some calls further; false once all threads have ended. */
  private takeTurns(): boolean {
    for (let turn = 0; turn < turns; turn += 1) {
      let has_stopped = false;
      for (const thread of this.running) if (!this.take(thread)) has_stopped = true;
      if (has_stopped) this.running = this.running.filter(({ runs }) => runs);
      if (this.running.length === 0 && !this.passSync()) return false;
      if (this.builder.has_full) break;
    }
    return true;
  }

  /**
   * Lets the threads go on that stopped at the sync which comes first: those that write workloads number them as they
   * come, at the moment at which the thread that waits goes on; so that one is first.
   */
  private passSync(): boolean {
    const { stopped } = this;
    if (stopped.length === 0) return false;
    const free = stopped.filter(({ signals, sync }) => signals || this.signalled[sync] === 1);
    if (free.length === 0) {
      const { cursor, sync_at, number, sync } = stopped[0];
      throw cursor.error(sync_at, `thread ${number} waits for sync ${sync}, which no thread that can go on signals`);
    }
    const next = free.reduce((first, thread) => (thread.sync < first.sync ? thread : first));
    if (next.signals) this.signalled[next.sync] = 1;
    this.stopped = stopped.filter(({ sync }) => sync !== next.sync);
    this.running = stopped
      .filter(({ sync }) => sync === next.sync)
      .sort((a, b) => Number(a.signals) - Number(b.signals));
    for (const thread of this.running) thread.runs = true;
    return true;
  }

  /** The next call of a thread; false where it stops, at a sync or at its end. */
  private take(thread: Thread): boolean {
    const { cursor } = thread;
    const { builder, details } = this;
    const start = cursor.offset;
    const code = cursor.byte();
    details.thread = thread.number;
    switch (code) {
      case wl_code.nop:
        return true;
      case wl_code.done:
        thread.runs = false;
        return false;
      case wl_code.sync_w:
      case wl_code.sync_r:
        thread.runs = false;
        thread.sync_at = start;
        thread.sync = cursor.upTo(this.header.syncs, 'sync');
        thread.signals = code === wl_code.sync_w;
        this.stopped.push(thread);
        return false;
      case wl_code.free: {
        const pointer = this.pointer(cursor);
        if (pointer !== 0) builder.free(pointer, details);
        return true;
      }
      case wl_code.realloc: {
        const pointer = this.pointer(cursor);
        const old = this.pointer(cursor);
        const size_bytes = this.size(cursor);
        if (pointer !== 0) builder.reallocate(old === 0 ? null : old, pointer, size_bytes, details);
        else if (size_bytes === 0 && old !== 0) builder.free(old, details);
        return true;
      }
      case wl_code.malloc:
      case wl_code.calloc:
        return this.allocate(cursor, code === wl_code.calloc ? op.calloc : op.malloc, 0);
      case wl_code.valloc:
      case wl_code.pvalloc:
        return this.allocate(cursor, op.aligned, page_bytes);
      case wl_code.memalign:
        return this.allocate(cursor, op.aligned);
      default:
        throw cursor.error(start, `found code ${code}; wanted 1 to 7 or 12 to 14, of a thread's calls`);
    }
  }

  private allocate(cursor: Cursor, kind: number, align?: number): true {
    const pointer = this.pointer(cursor);
    this.details.align = align ?? this.align(cursor);
    const size_bytes = this.size(cursor);
    // Pointer 0: the call failed.
    if (pointer !== 0) this.builder.allocate(kind, pointer, size_bytes, this.details);
    return true;
  }

  private pointer(cursor: Cursor): number {
    return cursor.upTo(this.header.pointers, 'pointer');
  }

  private size(cursor: Cursor): number {
    return cursor.upTo(limits.size_bytes - 1, 'a size of');
  }

  private align(cursor: Cursor): number {
    const start = cursor.offset;
    const align = cursor.upTo(limits.align_bytes, 'an alignment of');
    if (!Number.isInteger(Math.log2(Math.max(1, align))))
      throw cursor.error(start, `an alignment of ${align}; wanted a power of two up to ${limits.align_bytes}`);
    return Math.max(1, align);
  }
}
