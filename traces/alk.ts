/**
 * The processed records of alk: 24 bytes each, a word with the type in its low 8 bits and a register above, then two more.
 *
 *     0 malloc (size, alignment)     3 memalign (size, alignment)       5 switch thread (number)   7 set time (ns, processor)
 *     1 free, 2 sized free (size)    4 realloc (new register, size)     6 kill thread
 *
 * There is no magic number: a file is alk's where all of its start reads as such records.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { recordRuns, uint64 } from './records.ts';
import { type ByteStream, startOf } from './stream.ts';
import { type Chunk, limits, op, TraceError } from './trace.ts';

const type = {
  malloc: 0,
  free: 1,
  sized_free: 2,
  memalign: 3,
  realloc: 4,
  thread: 5,
  kill_thread: 6,
  time: 7,
} as const;
const record_bytes = 24;
const looked_at_bytes = 4096;
/** A malloc of a greater alignment was asked for it. */
const usual_align = 16;

export const alk: Importer = {
  name: 'alk',
  recognises: (start) => {
    const view = viewOf(start);
    const records = Math.floor(start.length / record_bytes);
    const sizes = Array.from({ length: records }, (_, record) => sizeIn(view, record * record_bytes));
    return sizes.every((size) => size !== undefined) && sizes.some((size) => size! > 0);
  },
  import(stream) {
    const has_time = tellsTime(startOf(stream, looked_at_bytes));
    let rows = new Rows(stream, has_time);
    return {
      columns: { time: has_time, sites: false, touch: false },
      chunks: () => {
        rows = new Rows(stream, has_time);
        return rows.chunks();
      },
      origin: () => importedOrigin(stream, 'alk', rows.builder, { has_time, notes: rows.notes() }),
    };
  },
};

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** The size that the record asks for, 0 where it asks for none; undefined where it is none of alk's. */
function sizeIn(view: DataView, at: number): number | undefined {
  const kind = view.getUint8(at);
  const [a, b] = [uint64(view, at + 8), uint64(view, at + 16)];
  if (kind === type.malloc || kind === type.memalign)
    return a < limits.size_bytes && isAlignment(b) && (kind === type.malloc || b > 0) ? a : undefined;
  if (kind === type.realloc) return b < limits.size_bytes ? b : undefined;
  return kind <= type.time ? 0 : undefined;
}

function isAlignment(value: number): boolean {
  return value === 0 || (value <= limits.align_bytes && Number.isInteger(Math.log2(value)));
}

/** A file that has times has one before its first event. */
function tellsTime(start: Uint8Array): boolean {
  const view = viewOf(start);
  for (let at = 0; at + record_bytes <= start.length; at += record_bytes)
    if (view.getUint8(at) === type.time) return true;
  return false;
}

class Rows {
  readonly builder = new TraceBuilder();
  private readonly stream: ByteStream;
  private readonly has_time: boolean;
  private readonly details: { thread: number; align: number; time_ns: number | undefined };
  private first_time_ns: number | undefined;
  private cut_bytes = 0;

  constructor(stream: ByteStream, has_time: boolean) {
    this.stream = stream;
    this.has_time = has_time;
    this.details = { thread: 0, align: 0, time_ns: undefined };
  }

  notes(): string[] {
    return [
      `${this.has_time ? 'Call' : 'Times and call'} sites are not recorded; a calloc is a malloc.`,
      ...(this.cut_bytes > 0
        ? [`The file ends in the middle of a record: ${this.cut_bytes} of its ${record_bytes} bytes are there.`]
        : []),
    ];
  }

  *chunks(): Generator<Chunk> {
    const { builder } = this;
    const runs = recordRuns(this.stream, 0, record_bytes);
    for (let run = runs.next(); ; run = runs.next()) {
      if (run.done) {
        this.cut_bytes = run.value;
        break;
      }
      const { view, offset, records } = run.value;
      for (let at = 0; at < records * record_bytes; at += record_bytes) {
        this.take(view, at, offset + at);
        if (builder.has_full) yield* builder.full();
      }
    }
    yield* builder.finish();
  }

  private take(view: DataView, at: number, offset: number): void {
    const { builder, details } = this;
    const kind = view.getUint8(at);
    const register = view.getUint32(at + 4, true) * 2 ** 24 + (view.getUint32(at, true) >>> 8);
    const [a, b] = [uint64(view, at + 8), uint64(view, at + 16)];
    if (sizeIn(view, at) === undefined)
      throw this.error(offset, `found type ${kind} of ${a} and ${b}; wanted types 0 to 7, sizes below 2^47`);
    if (kind === type.malloc || kind === type.memalign) {
      const is_aligned = kind === type.memalign || b > usual_align;
      details.align = is_aligned ? b : 0;
      builder.allocate(is_aligned ? op.aligned : op.malloc, this.register(register, offset), a, details);
    } else if (kind === type.realloc)
      builder.reallocate(this.register(register, offset), this.register(a, offset), b, details);
    else if (kind === type.free || kind === type.sized_free) builder.free(this.register(register, offset), details);
    else if (kind === type.thread) details.thread = this.thread(a, offset);
    else if (kind === type.time && this.has_time) {
      this.first_time_ns ??= a;
      details.time_ns = Math.max(0, a - this.first_time_ns);
      if (details.time_ns > Number.MAX_SAFE_INTEGER)
        throw this.error(offset, `a time ${details.time_ns} ns after the first; wanted less than 2^53`);
    }
  }

  private register(register: number, offset: number): number {
    if (register > Number.MAX_SAFE_INTEGER) throw this.error(offset, `register ${register}; wanted one below 2^53`);
    return register;
  }

  private thread(thread: number, offset: number): number {
    if (thread > limits.unknown) throw this.error(offset, `thread ${thread}; wanted one below 2^32`);
    return thread;
  }

  private error(offset: number, message: string): TraceError {
    return new TraceError(this.stream.path, `byte ${offset}`, message);
  }
}
