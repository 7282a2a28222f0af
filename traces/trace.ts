/**
 * A trace: what a program asked of its allocator, as columns, in chunks, so that it may be larger than memory.
 *
 * Every column lives in a SharedArrayBuffer: the native core reads it from another thread without a copy, and
 * JavaScript can neither resize nor detach it meanwhile.
 */

/** Operations, in the order that `.hak` files and the C core share. */
export const op = { malloc: 0, calloc: 1, aligned: 2, realloc: 3, free: 4 } as const;
export const op_names = ['malloc', 'calloc', 'aligned', 'realloc', 'free'] as const;

/** Limits that every reader and writer keeps; `native/spec-to-c.ts` hands them to the C core. */
export const limits = {
  /** Sizes are requested bytes below this, the user half of a 48-bit address space. */
  size_bytes: 2 ** 47,
  chunk_events: 1 << 20,
  /** A thread number, an object slot and a site index fit 32 bits; this value means "not known". */
  unknown: 0xffffffff,
  /** Alignments are powers of two up to this. */
  align_bytes: 2 ** 31,
} as const;

/**
 * Up to `limits.chunk_events` consecutive events. Rows are valid below `length`; a reader may reuse the buffers of the
 * chunk it yielded before, so keep a copy, not a reference.
 */
export interface Chunk {
  /** Index, in the whole trace, of row 0. */
  first_event: number;
  length: number;
  readonly op: Uint8Array;
  readonly thread: Uint32Array;
  /** Dense slot of the object: reused after its free, so at most "peak live objects" of them exist. */
  readonly object: Uint32Array;
  /** Requested bytes; 0 for a free. */
  readonly size_bytes: Float64Array;
  /** Requested alignment in bytes of an `aligned` row; 0 elsewhere. */
  readonly align: Uint32Array;
  /** Index into `TraceHeader.sites` of the call site that allocated; 0 where sites are not known. */
  readonly site: Uint32Array;
  /** Never decreasing. Without recorded time, one event is one microsecond. */
  readonly time_ns: Float64Array;
  /** Pages of the block that the program touched before it gave it back; `limits.unknown` where not measured. */
  readonly touched_pages: Uint32Array;
}

/** A call site: a hash of its frames and, where known, a name for people (`module+0xoffset`). */
export interface Site {
  readonly hash: string;
  readonly name: string | null;
}

/** What the recorded process spent. */
export interface ProcessSpent {
  readonly wall_ns: number;
  readonly user_ns: number;
  readonly sys_ns: number;
  readonly faults: number;
  readonly resident_peak_bytes: number;
  /** Exit status, or "signal N", or "unknown" when the process could not say. */
  readonly exit: number | string;
}

/** Exact counts of the blocks of one size class while a sample was taken. */
export interface SizeClassCount {
  /** Exclusive, a power of two; the class reaches down to its half, the first to 0. */
  readonly below_bytes: number;
  /** Reallocs included. */
  readonly allocations: number;
  readonly allocated_bytes: number;
  /** Freed or moved by a realloc, by what the block had room for: what was asked for was not known any more. */
  readonly ends: number;
  readonly ended_bytes: number;
}

/** How small blocks were drawn: one of s bytes with probability 1 - exp(-s / mean_bytes), where 0 counts as 1. */
export interface Sampling {
  readonly mean_bytes: number;
  readonly seed: number;
  /** Blocks from here on are all there. */
  readonly whole_bytes: number;
  readonly reallocs: number;
  /** Of the whole recording, smallest first; empty where the trace is only a part of it. */
  readonly counts: readonly SizeClassCount[];
}

/** A file that call sites of a recording lie in. */
export interface Module {
  /** As the names of sites have it: without its folder. */
  readonly name: string;
  readonly path: string;
  /** Which build of it; null where it was linked without an id, or was replaced before it was looked at. */
  readonly build_id: string | null;
}

/** Where a trace comes from, and what is known about it beyond its events. */
export interface Origin {
  /** "recorded", "generated" or "imported". */
  readonly source: 'recorded' | 'generated' | 'imported';
  /** Foreign format of an imported trace, else null. */
  readonly format: string | null;
  readonly program: string;
  /** The command that made the trace. */
  readonly command: string;
  readonly machine: string | null;
  readonly page_bytes: number;
  readonly has_time: boolean;
  readonly has_sites: boolean;
  readonly process: ProcessSpent | null;
  readonly sites: readonly Site[];
  /** What the format or the recording lost or changed, a sentence each. */
  readonly notes: readonly string[];
  /** Frees of unknown pointers that an importer dropped. */
  readonly dropped: number;
  /** Only where the recorder took a sample. */
  readonly sampling?: Sampling | undefined;
  /** Only where sites are offsets in modules. */
  readonly modules?: readonly Module[] | undefined;
}

/** Counts over a whole trace; `tally.ts` makes them. */
export interface Statistics {
  readonly events: number;
  readonly allocations: number;
  readonly frees: number;
  readonly reallocs: number;
  readonly threads: number;
  /** Slots in use: the number of objects live at once, at most. */
  readonly objects: number;
  readonly largest_bytes: number;
  readonly peak_live_bytes: number;
  /** Bytes ever requested, reallocs included. */
  readonly total_bytes: number;
  readonly unfreed: number;
  /** Blocks of `large_bytes` and more, and how many of them have a measured touch count. */
  readonly large_blocks: number;
  readonly large_blocks_touched: number;
  /** Allocations and reallocs by size: [upper bound in bytes (exclusive), count]. */
  readonly size_histogram: readonly (readonly [number, number])[];
}

/** Blocks from here on are "large": the smallest threshold a strategy has. */
export const large_bytes = 512 * 1024;

export interface Trace {
  /** For messages; the file the trace came from, or the name of a scenario. */
  readonly path: string;
  readonly origin: Origin;
  readonly statistics: Statistics;
  /** Reads the trace from its start. Throws TraceError where the input is not a legal trace. */
  chunks(): Iterable<Chunk>;
}

/** The world's mistake: names the file, the place, what was found and what was wanted, in one line. */
export class TraceError extends Error {
  override name = 'TraceError';
  constructor(path: string, place: string, message: string) {
    super(printable(`${path}: ${place === '' ? '' : `${place}: `}${message}`));
  }
}

/** Names out of a file may hold anything: what would end the line, or what a terminal would act on, is escaped. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029]/gu,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A page that is not isolated from other origins has no SharedArrayBuffer, and no native core to share with. */
const ColumnBuffer: new (bytes: number) => ArrayBufferLike =
  typeof SharedArrayBuffer === 'undefined' ? ArrayBuffer : SharedArrayBuffer;

/** An empty chunk with room for `capacity` rows. */
export function newChunk(capacity: number): Chunk {
  const rows = Math.max(1, capacity);
  return {
    first_event: 0,
    length: 0,
    op: new Uint8Array(new ColumnBuffer(rows)),
    thread: new Uint32Array(new ColumnBuffer(rows * 4)),
    object: new Uint32Array(new ColumnBuffer(rows * 4)),
    size_bytes: new Float64Array(new ColumnBuffer(rows * 8)),
    align: new Uint32Array(new ColumnBuffer(rows * 4)),
    site: new Uint32Array(new ColumnBuffer(rows * 4)),
    time_ns: new Float64Array(new ColumnBuffer(rows * 8)),
    touched_pages: new Uint32Array(new ColumnBuffer(rows * 4)),
  };
}

/** A copy of the chunk's valid rows, in buffers of its own. One parameter, so that `map` can take it. */
export function copyChunk(chunk: Chunk): Chunk {
  return copyWithRoom(chunk, chunk.length);
}

/** A copy of the chunk's valid rows with room for `capacity` of them. */
export function copyWithRoom(chunk: Chunk, capacity: number): Chunk {
  const copy = newChunk(capacity);
  copy.first_event = chunk.first_event;
  copy.length = chunk.length;
  copy.op.set(chunk.op.subarray(0, chunk.length));
  copy.thread.set(chunk.thread.subarray(0, chunk.length));
  copy.object.set(chunk.object.subarray(0, chunk.length));
  copy.size_bytes.set(chunk.size_bytes.subarray(0, chunk.length));
  copy.align.set(chunk.align.subarray(0, chunk.length));
  copy.site.set(chunk.site.subarray(0, chunk.length));
  copy.time_ns.set(chunk.time_ns.subarray(0, chunk.length));
  copy.touched_pages.set(chunk.touched_pages.subarray(0, chunk.length));
  return copy;
}

/** An origin with every field at its least: fill in what is known. */
export function originOf(source: Origin['source'], known: Partial<Origin>): Origin {
  return {
    source,
    format: null,
    program: 'unknown',
    command: '',
    machine: null,
    page_bytes: 4096,
    has_time: false,
    has_sites: false,
    process: null,
    sites: [],
    notes: [],
    dropped: 0,
    ...known,
  };
}
