/**
 * The log of jemalloc's profiler, `prof_log:true`: one JSON document,
 *
 *     {"info": {"lg_sample_rate": N, "prof_time_resolution": "default" or "high", ...},
 *      "threads": [{"thr_uid", "thr_name"}, ...],    "stack_traces": [["0xADDRESS", ...], ...],
 *      "allocations": [{"alloc_thread", "free_thread", "alloc_trace", "free_trace", "alloc_timestamp", "free_timestamp", "usize"}, ...]}
 *
 * with a row for each block that was freed, in the order of the frees; threads and traces are named by their place. When
 * a block was made stands in the row of its free, so all rows are held: fewer bytes each than jemalloc itself held.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { JsonReader } from './json.ts';
import { Sites } from './sites.ts';
import type { ByteStream } from './stream.ts';
import { type Chunk, limits, newChunk, op, type TraceError } from './trace.ts';

/** jemalloc's own innermost four or five, and eight of the program. */
const named_frames = 12;
/** Between two looks at whether a chunk is full, or a signal has come. */
const rows_between = 1 << 14;

export const jemalloc: Importer = {
  name: 'jemalloc',
  recognises: (start) => /^\s*\{\s*"info"\s*:\s*\{[^{}]*"lg_sample_rate"/.test(new TextDecoder('latin1').decode(start)),
  import(stream) {
    let log = new Log(stream);
    return {
      columns: { time: true, sites: true, touch: false },
      chunks: () => {
        log = new Log(stream);
        return log.chunks();
      },
      origin: () =>
        importedOrigin(stream, 'jemalloc', log.builder, {
          has_time: true,
          has_sites: true,
          sites: log.sites.all,
          notes: log.notes(),
        }),
    };
  },
};

/** Freed blocks, a column each, in the order of the frees. 36 bytes a block. */
class Blocks {
  length = 0;
  made_ns = new Float64Array(1024);
  freed_ns = new Float64Array(1024);
  size_bytes = new Float64Array(1024);
  maker = new Uint32Array(1024);
  freer = new Uint32Array(1024);
  site = new Uint32Array(1024);

  /** Makes room for one more, and returns its place. */
  add(): number {
    if (this.length === this.maker.length) this.grow();
    this.length += 1;
    return this.length - 1;
  }

  private grow(): void {
    const wider = <Column extends Float64Array | Uint32Array>(column: Column, empty: Column): Column => {
      empty.set(column);
      return empty;
    };
    const room = Math.ceil(this.length * 1.5);
    this.made_ns = wider(this.made_ns, new Float64Array(room));
    this.freed_ns = wider(this.freed_ns, new Float64Array(room));
    this.size_bytes = wider(this.size_bytes, new Float64Array(room));
    this.maker = wider(this.maker, new Uint32Array(room));
    this.freer = wider(this.freer, new Uint32Array(room));
    this.site = wider(this.site, new Uint32Array(room));
  }
}

class Log {
  readonly builder = new TraceBuilder();
  readonly sites = new Sites();
  private readonly reader: JsonReader;
  private readonly blocks = new Blocks();
  private readonly stacks: string[] = [];
  /** Of each stack: index of its site and 1, or 0 where it has made no block yet. */
  private readonly site_of: number[] = [];
  private threads = 0;
  private lg_sample = 0;
  private is_coarse = false;
  private is_cut = false;
  /** The first time read, which all others are told from: those since 1970 need more than the 53 bits of a number. */
  private readonly epoch = { billions: -1, units: 0 };
  /** Of all times, from the first read. */
  private earliest_ns = 0;
  private latest_ns = 0;

  constructor(stream: ByteStream) {
    this.reader = new JsonReader(stream);
  }

  notes(): string[] {
    return [
      'Only blocks that were freed are in the log. Sizes are rounded up to those that jemalloc has; callocs and aligned allocations are mallocs, a realloc is an allocation and a free; call sites are addresses without names.',
      ...(this.lg_sample > 0
        ? [`A sample: of every 2^${this.lg_sample} bytes allocated about one block is in the log.`]
        : []),
      ...(this.is_coarse
        ? [
            'Times are those of a coarse clock, which ticks every few ms: in which order blocks of one tick were made is not known.',
          ]
        : []),
      ...(this.is_cut ? [`The file ends in the middle: it is read up to block ${this.blocks.length}.`] : []),
    ];
  }

  *chunks(): Generator<Chunk> {
    yield* this.readAll();
    yield* this.events();
  }

  /** The document; yields empty chunks, for a signal to be heard. */
  private *readAll(): Generator<Chunk> {
    const { reader } = this;
    reader.openObject();
    for (let key = reader.key(); key !== undefined; key = reader.key()) {
      if (key === 'info') this.readInfo();
      else if (key === 'threads') this.readThreads();
      else if (key === 'stack_traces') this.readStacks();
      else if (key === 'allocations') yield* this.readBlocks();
      else reader.skip();
      if (this.is_cut) return;
    }
  }

  private readInfo(): void {
    const { reader } = this;
    reader.openObject();
    for (let key = reader.key(); key !== undefined; key = reader.key()) {
      if (key === 'lg_sample_rate') this.lg_sample = reader.whole();
      else if (key === 'prof_time_resolution') this.is_coarse = reader.string() === 'default';
      else reader.skip();
    }
  }

  private readThreads(): void {
    const { reader } = this;
    reader.openArray();
    for (; reader.item(); this.threads += 1) reader.skip();
  }

  private readStacks(): void {
    const { reader } = this;
    reader.openArray();
    while (reader.item()) {
      const frames: string[] = [];
      reader.openArray();
      while (reader.item())
        if (frames.length < named_frames) frames.push(reader.string());
        else reader.skip();
      this.stacks.push(frames.join(' < '));
      this.site_of.push(0);
    }
  }

  private *readBlocks(): Generator<Chunk> {
    const { blocks, reader } = this;
    const none = newChunk(1);
    try {
      reader.openArray();
      while (reader.item()) {
        this.readBlock();
        if (blocks.length % rows_between === 0) yield none;
      }
    } catch (error) {
      // The disk was full, or the program was killed while it wrote.
      if (!reader.ended || blocks.length === 0) throw error;
      this.is_cut = true;
    }
  }

  private readBlock(): void {
    const { blocks, reader } = this;
    let [maker, freer, stack, made_ns, freed_ns, size_bytes] = new Array<number>(6).fill(Number.NaN);
    reader.openObject();
    for (let key = reader.key(); key !== undefined; key = reader.key()) {
      if (key === 'alloc_thread') maker = this.below(this.threads, 'thread');
      else if (key === 'free_thread') freer = this.below(this.threads, 'thread');
      else if (key === 'alloc_trace') stack = this.below(this.stacks.length, 'stack trace');
      else if (key === 'alloc_timestamp') made_ns = this.time();
      else if (key === 'free_timestamp') freed_ns = this.time();
      else if (key === 'usize') size_bytes = this.below(limits.size_bytes, 'size');
      else reader.skip();
    }
    if (Number.isNaN(maker + freer + stack + made_ns + freed_ns + size_bytes))
      throw reader.error('a row that lacks a thread, a trace, a timestamp or the size; wanted all of them');
    const row = blocks.add();
    blocks.maker[row] = maker;
    blocks.freer[row] = freer;
    blocks.site[row] = this.site(stack);
    blocks.made_ns[row] = made_ns;
    blocks.freed_ns[row] = freed_ns;
    blocks.size_bytes[row] = size_bytes;
  }

  private below(end: number, what: string): number {
    const value = this.reader.whole();
    if (value >= end) throw this.error(`${what} ${value}; wanted one below ${end}`);
    return value;
  }

  private time(): number {
    const { reader, epoch } = this;
    reader.whole();
    const { billions, units } = reader;
    if (epoch.billions < 0) Object.assign(epoch, { billions, units });
    const since_ns = (billions - epoch.billions) * 1e9 + (units - epoch.units);
    this.earliest_ns = Math.min(this.earliest_ns, since_ns);
    this.latest_ns = Math.max(this.latest_ns, since_ns);
    if (!Number.isSafeInteger(this.latest_ns - this.earliest_ns))
      throw this.error('a time 2^53 ns or more from another; wanted one nearer');
    return since_ns;
  }

  private site(stack: number): number {
    if (this.site_of[stack] === 0) this.site_of[stack] = this.sites.index(this.stacks[stack], false) + 1;
    return this.site_of[stack] - 1;
  }

  private error(message: string): TraceError {
    return this.reader.error(message);
  }

  /** Before a free what was made before its tick; of what was made within it, the block alone that it frees. */
  private *events(): Generator<Chunk> {
    const { blocks, builder } = this;
    const { made_ns, freed_ns, size_bytes, maker, freer, site, length } = blocks;
    const order = new Uint32Array(length);
    for (let row = 0; row < length; row += 1) order[row] = row;
    order.sort((a, b) => made_ns[a] - made_ns[b]);
    const is_made = new Uint8Array(length);
    const start_ns = length > 0 ? made_ns[order[0]] : 0;
    const details = { thread: 0, site: 0, time_ns: 0 };
    const make = (row: number): void => {
      if (is_made[row] === 1) return;
      is_made[row] = 1;
      details.thread = maker[row];
      details.site = site[row];
      details.time_ns = made_ns[row] - start_ns;
      builder.allocate(op.malloc, row, size_bytes[row], details);
    };
    let next = 0;
    for (let row = 0; row < length; row += 1) {
      for (; next < length && made_ns[order[next]] < freed_ns[row]; next += 1) make(order[next]);
      make(row);
      details.thread = freer[row];
      details.time_ns = freed_ns[row] - start_ns;
      builder.free(row, details);
      if (row % rows_between === 0) yield* builder.full();
    }
    yield* builder.finish();
  }
}
