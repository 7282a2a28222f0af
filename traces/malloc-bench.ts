/**
 * The traces of ClaytonKnittel/malloc-bench: one protobuf message, `Tracefile`, mostly in gzip.
 *
 *     Tracefile { 1: TraceLine, repeated   2: most blocks at once }
 *     TraceLine { 1: Malloc {1 result, 2 size, 3 alignment}            2: Free {1 id, 2 size}
 *                 3: Realloc {1 result, 2 id, 3 size}                  4: Calloc {1 result, 2 count, 3 size} }
 *
 * Read a line at a time, so the message may be of any length. A field that is not written is not known: a free without
 * an id is one of NULL, an allocation without a result failed.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import type { BlockName } from './names.ts';
import { type ByteStream, Joined } from './stream.ts';
import { type Chunk, limits, op, TraceError } from './trace.ts';

const notes = ['Threads, times and call sites are not recorded.'];
/** A line has four numbers of ten bytes at most. */
const line_bytes_max = 256;
const line_tag = 0x0a;
const blocks_tag = 0x10;
/** Tags of a TraceLine's fields: field number x 8 + 2, "of a length". */
const call = { malloc: 0x0a, free: 0x12, realloc: 0x1a, calloc: 0x22 };
const calls: readonly number[] = Object.values(call);

export const malloc_bench: Importer = {
  name: 'malloc-bench',
  recognises: (start) =>
    start[0] === line_tag && start[1] < 128 && calls.includes(start[2]) && start[3] === start[1] - 2,
  import(stream) {
    let builder = new TraceBuilder();
    return {
      columns: { time: false, sites: false, touch: false },
      chunks: () => {
        builder = new TraceBuilder();
        return rows(stream, builder);
      },
      origin: () => importedOrigin(stream, 'malloc-bench', builder, { notes }),
    };
  },
};

function* rows(stream: ByteStream, builder: TraceBuilder): Generator<Chunk> {
  const line = new Line(stream.path, builder);
  const joined = new Joined();
  for (const piece of stream.pieces()) {
    joined.use(line.takeAll(joined.join(piece), false));
    yield* builder.full();
  }
  line.takeAll(joined.join(new Uint8Array(0)), true);
  yield* builder.finish();
}

class Line {
  private readonly path: string;
  private readonly builder: TraceBuilder;
  private bytes: Uint8Array = new Uint8Array(0);
  private at = 0;
  /** Of `bytes[0]`, in the file. */
  private offset = 0;
  private readonly fields: (BlockName | undefined)[] = [undefined, undefined, undefined, undefined];
  private readonly details = { align: 16 };

  constructor(path: string, builder: TraceBuilder) {
    this.path = path;
    this.builder = builder;
  }

  /** Takes in the fields that `bytes` holds whole, all of them if it is the `last`; returns how many bytes they were. */
  takeAll(bytes: Uint8Array, last: boolean): number {
    this.bytes = bytes;
    this.at = 0;
    // A line that may go on in the next piece is left for it.
    while (last ? this.at < bytes.length : this.at + line_bytes_max + 4 <= bytes.length) this.takeField();
    this.offset += this.at;
    return this.at;
  }

  private takeField(): void {
    const start = this.at;
    const tag = this.bytes[this.at];
    this.at += 1;
    if (tag === blocks_tag) {
      this.varint(this.bytes.length);
      return;
    }
    if (tag !== line_tag)
      throw this.error(start, `found tag ${tag}; wanted 10, a line, or 16, the most blocks at once`);
    const length = Number(this.varint(this.bytes.length));
    const end = this.at + length;
    if (!(length <= line_bytes_max))
      throw this.error(start, `a line of ${length} bytes; wanted ${line_bytes_max} or less`);
    if (end > this.bytes.length) throw this.error(start, 'the file ends in the middle of a line');
    // A line without a call in it is one of a later version, or a failure of the tracer: no event.
    if (length > 0) this.takeCall(end);
  }

  private takeCall(end: number): void {
    const start = this.at;
    const kind = this.bytes[this.at];
    this.at += 1;
    if (!calls.includes(kind)) throw this.error(start, `found tag ${kind}; wanted ${calls.join(', ')}: a call`);
    const length = Number(this.varint(end));
    if (this.at + length !== end)
      throw this.error(start, `a call of ${length} bytes; wanted ${end - this.at}, the line's`);
    this.fields.fill(undefined);
    while (this.at < end) {
      const tag = this.bytes[this.at];
      const field = tag >> 3;
      if ((tag & 7) !== 0 || field < 1 || field > 3)
        throw this.error(this.at, `found tag ${tag}; wanted 8, 16 or 24: a number`);
      this.at += 1;
      this.fields[field] = this.varint(end);
    }
    this.push(kind, start);
  }

  private push(kind: number, start: number): void {
    const { builder, details } = this;
    const [, first, second, third] = this.fields;
    if (kind === call.free) {
      if (first !== undefined) builder.free(first);
      return;
    }
    if (kind === call.realloc) {
      const size_bytes = this.size(third, start);
      if (first !== undefined) builder.reallocate(second ?? null, first, size_bytes);
      else if (size_bytes === 0 && second !== undefined) builder.free(second);
      return;
    }
    if (first === undefined) return;
    if (kind === call.calloc) {
      builder.allocate(op.calloc, first, this.size(Number(second ?? 0) * Number(third ?? 0), start));
      return;
    }
    const align = Number(third ?? 0);
    if (align > limits.align_bytes || (align > 0 && !Number.isInteger(Math.log2(align))))
      throw this.error(start, `an alignment of ${align}; wanted a power of two up to ${limits.align_bytes}`);
    details.align = align;
    builder.allocate(align > 0 ? op.aligned : op.malloc, first, this.size(second, start), details);
  }

  private size(value: BlockName | undefined, start: number): number {
    const size_bytes = Number(value ?? 0);
    if (size_bytes >= limits.size_bytes)
      throw this.error(start, `a size of ${size_bytes} bytes; wanted one below 2^47`);
    return size_bytes;
  }

  /** A number of up to 64 bits, exactly. */
  private varint(end: number): number | bigint {
    const start = this.at;
    let value = 0;
    for (let scale = 1; this.at < end; scale *= 128) {
      const byte = this.bytes[this.at];
      this.at += 1;
      value += (byte & 127) * scale;
      if (byte < 128) return value <= Number.MAX_SAFE_INTEGER ? value : this.exact(start);
      if (this.at - start === 10) break;
    }
    throw this.error(start, 'a number that does not end; wanted one of ten bytes or less');
  }

  private exact(start: number): bigint {
    let value = 0n;
    for (let at = this.at - 1; at >= start; at -= 1) value = value * 128n + BigInt(this.bytes[at] & 127);
    return value;
  }

  private error(at: number, message: string): TraceError {
    return new TraceError(this.path, `byte ${this.offset + at}`, message);
  }
}
