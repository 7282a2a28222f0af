/**
 * Plain text, a line an event: Android's memory_replay format, and what a bpftrace or perf script can print.
 *
 *     TID: malloc PTR SIZE              TID: memalign PTR ALIGN SIZE
 *     TID: calloc PTR COUNT SIZE        TID: free PTR
 *     TID: realloc NEW OLD SIZE         TID: thread_done 0x0      (no event)
 *
 * Each may end with START_NS END_NS. Numbers are decimal, or hexadecimal after 0x. `#` begins a comment.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import type { BlockName } from './names.ts';
import { type ByteStream, quote, wholeLines } from './stream.ts';
import { type Chunk, limits, op, TraceError } from './trace.ts';

const wanted = '"TID: malloc PTR SIZE" or calloc, realloc, memalign, free in its place';

/** Fields of a line without its times. */
const plain_fields = { malloc: 4, calloc: 5, realloc: 5, memalign: 5, free: 3 } as const;
const words = ['malloc', 'calloc', 'realloc', 'memalign', 'free', 'thread_done'] as const;
const word = { malloc: 0, calloc: 1, realloc: 2, memalign: 3, free: 4, thread_done: 5, unknown: -1 } as const;
const word_bytes = words.map((text) => new TextEncoder().encode(text));

export const text: Importer = {
  name: 'text',
  wanted: 'lines "TID: malloc PTR SIZE"',
  recognises: (start) =>
    /^(?:\s*(?:#[^\n]*)?\n)*\s*(?:#|\d+:[ \t]+(?:malloc|calloc|realloc|memalign|free|thread_done)\b)/.test(
      new TextDecoder('latin1').decode(start),
    ),
  import(stream) {
    const timed = firstEventIsTimed(stream);
    let rows = new Rows(stream, timed);
    return {
      columns: { time: timed, sites: false, touch: false },
      chunks: () => {
        rows = new Rows(stream, timed);
        return rows.chunks();
      },
      origin: () =>
        importedOrigin(stream, 'text', rows.builder, {
          has_time: timed,
          notes: ['Call sites are not recorded.', ...rows.notes()],
        }),
    };
  },
};

class Rows {
  readonly builder = new TraceBuilder();
  private readonly stream: ByteStream;
  private readonly timed: boolean;
  private readonly threads = new Map<number, number>();
  private last_tid = -1;
  private first_seconds = -1;
  private first_nanoseconds = 0;
  /** Lines with times in a trace without, or without times in a trace with. */
  private odd_lines = 0;
  private line_number = 0;
  /** One for all events: the loop makes no objects. */
  private readonly details: { thread: number; align: number; time_ns: number | undefined };

  constructor(stream: ByteStream, timed: boolean) {
    this.stream = stream;
    this.timed = timed;
    this.details = { thread: 0, align: 16, time_ns: timed ? 0 : undefined };
  }

  *chunks(): Generator<Chunk> {
    for (const block of wholeLines(this.stream)) {
      const line = new LineReader(block);
      while (line.at < block.length) {
        const start = line.at;
        this.line_number += 1;
        if (!this.take(line)) throw this.broken(block.subarray(start, block.indexOf(newline, start)));
        line.nextLine();
      }
      yield* this.builder.full();
    }
    yield* this.builder.finish();
  }

  notes(): string[] {
    if (this.odd_lines === 0) return [];
    return this.timed
      ? [`${this.odd_lines} lines had no times; they happened when the line before them did.`]
      : [`${this.odd_lines} lines had times, but the first had none: times are not kept.`];
  }

  /** Takes in one line; false where it is not one of the format. */
  private take(line: LineReader): boolean {
    line.skipBlanks();
    if (line.ended()) return true;
    const tid = line.number();
    if (!(tid <= limits.unknown) || !line.skip(colon)) return false;
    line.skipBlanks();
    const kind = line.word();
    if (kind === word.unknown) return false;
    const pointer = line.name();
    if (pointer === undefined) return false;
    if (kind === word.thread_done) return true;
    const { builder, details } = this;
    if (tid !== this.last_tid) this.switchThread(tid);
    if (kind === word.free) {
      if (!this.readTimes(line)) return false;
      if (pointer !== 0) builder.free(pointer, details);
      return line.ended();
    }
    const old = kind === word.realloc ? line.name() : 0;
    if (old === undefined) return false;
    const factor = kind === word.calloc || kind === word.memalign ? line.number() : 1;
    const last = line.number();
    if (!(factor >= 0 && last >= 0) || !this.readTimes(line) || !line.ended()) return false;
    const size_bytes = kind === word.calloc ? factor * last : last;
    // A call that returned nothing is no event, whatever it asked for.
    if (kind === word.realloc) {
      if (pointer !== 0 || last === 0) this.reallocate(pointer, old, size_bytes);
      return true;
    }
    if (pointer === 0) return true;
    this.checkSize(size_bytes);
    if (kind === word.memalign) {
      if (factor > limits.align_bytes)
        throw this.error(`an alignment of ${factor}; wanted a power of two up to ${limits.align_bytes}`);
      // memalign itself rounds up what is no power of two.
      details.align = factor <= 1 ? 1 : 2 ** (32 - Math.clz32(factor - 1));
    }
    builder.allocate(
      kind === word.calloc ? op.calloc : kind === word.memalign ? op.aligned : op.malloc,
      pointer,
      size_bytes,
      details,
    );
    return true;
  }

  private reallocate(pointer: BlockName, old: BlockName, size_bytes: number): void {
    this.checkSize(size_bytes);
    if (pointer === 0) {
      if (old !== 0) this.builder.free(old, this.details);
    } else {
      this.builder.reallocate(old === 0 ? null : old, pointer, size_bytes, this.details);
    }
  }

  private readTimes(line: LineReader): boolean {
    line.skipBlanks();
    if (line.ended()) {
      if (this.timed) this.odd_lines += 1;
      return true;
    }
    const start = line.at;
    const start_ns = line.number();
    const end = line.at;
    if (!(start_ns >= 0) || !(line.number() >= 0)) return false;
    line.skipBlanks();
    if (!this.timed) {
      this.odd_lines += 1;
      return true;
    }
    // Nanoseconds since 1970 need more than the 53 bits of a number; those since the first event do not.
    const { seconds, nanoseconds } = line.split(start, end);
    if (this.first_seconds < 0) {
      this.first_seconds = seconds;
      this.first_nanoseconds = nanoseconds;
    }
    const since_ns = (seconds - this.first_seconds) * 1e9 + (nanoseconds - this.first_nanoseconds);
    if (since_ns > Number.MAX_SAFE_INTEGER)
      throw this.error(`a time ${since_ns} ns after the first; wanted less than 2^53`);
    this.details.time_ns = Math.max(0, since_ns);
    return true;
  }

  private switchThread(tid: number): void {
    let thread = this.threads.get(tid);
    if (thread === undefined) {
      thread = this.threads.size;
      this.threads.set(tid, thread);
    }
    this.last_tid = tid;
    this.details.thread = thread;
  }

  private checkSize(size_bytes: number): void {
    if (size_bytes >= limits.size_bytes) throw this.error(`a size of ${size_bytes} bytes; wanted one below 2^47`);
  }

  private broken(line: Uint8Array): TraceError {
    return this.error(`found ${quote(line)}; wanted ${wanted}`);
  }

  private error(message: string): TraceError {
    return new TraceError(this.stream.path, `line ${this.line_number}`, message);
  }
}

const newline = 10;
const colon = 58;

/** Reads the fields of lines in place. Every line ends with a newline, so that no read needs to look for the end. */
class LineReader {
  at = 0;
  private readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  skipBlanks(): void {
    const { bytes } = this;
    let { at } = this;
    while (bytes[at] === 32 || bytes[at] === 9 || bytes[at] === 13) at += 1;
    this.at = at;
  }

  /** True at the end of the line or at a comment. */
  ended(): boolean {
    const byte = this.bytes[this.at];
    return byte === newline || byte === 35;
  }

  nextLine(): void {
    const { bytes } = this;
    let { at } = this;
    while (bytes[at] !== newline) at += 1;
    this.at = at + 1;
  }

  skip(byte: number): boolean {
    if (this.bytes[this.at] !== byte) return false;
    this.at += 1;
    return true;
  }

  /** The next number, or NaN; beyond 2^53 it is only near. Skips blanks before it. */
  number(): number {
    this.skipBlanks();
    const { bytes } = this;
    let { at } = this;
    let value = 0;
    let first = at;
    if (bytes[at] === 48 && (bytes[at + 1] | 32) === 120) {
      at += 2;
      first = at;
      for (;;) {
        const byte = bytes[at];
        let digit = byte - 48;
        if (digit < 0 || digit > 9) {
          digit = (byte | 32) - 87;
          if (digit < 10 || digit > 15) break;
        }
        value = value * 16 + digit;
        at += 1;
      }
    } else {
      for (;;) {
        const digit = bytes[at] - 48;
        if (digit < 0 || digit > 9) break;
        value = value * 10 + digit;
        at += 1;
      }
    }
    this.at = at;
    return at === first || !endsField(bytes[at]) ? Number.NaN : value;
  }

  /** The next number as a name of a block: exact, so a bigint where it needs more than 53 bits. */
  name(): BlockName | undefined {
    this.skipBlanks();
    const start = this.at;
    const value = this.number();
    if (value <= Number.MAX_SAFE_INTEGER) return value;
    return Number.isNaN(value) ? undefined : this.exact(start, this.at);
  }

  /** The number in [start, end), exactly. */
  exact(start: number, end: number): bigint {
    return BigInt(new TextDecoder('latin1').decode(this.bytes.subarray(start, end)).trim());
  }

  /** The number of nanoseconds in [start, end), exactly, as whole seconds and the rest. */
  split(start: number, end: number): { seconds: number; nanoseconds: number } {
    const { bytes } = this;
    if ((bytes[start + 1] | 32) === 120) {
      const value = this.exact(start, end);
      return { seconds: Number(value / 1_000_000_000n), nanoseconds: Number(value % 1_000_000_000n) };
    }
    const point = Math.max(start, end - 9);
    let seconds = 0;
    let nanoseconds = 0;
    for (let at = start; at < point; at += 1) seconds = seconds * 10 + bytes[at] - 48;
    for (let at = point; at < end; at += 1) nanoseconds = nanoseconds * 10 + bytes[at] - 48;
    return { seconds, nanoseconds };
  }

  /** Which of `words` comes next. */
  word(): number {
    const { bytes, at } = this;
    for (let kind = 0; kind < word_bytes.length; kind += 1) {
      const wanted_bytes = word_bytes[kind];
      let letter = 0;
      while (letter < wanted_bytes.length && bytes[at + letter] === wanted_bytes[letter]) letter += 1;
      if (letter < wanted_bytes.length || !endsField(bytes[at + letter])) continue;
      this.at = at + letter;
      return kind;
    }
    return word.unknown;
  }
}

/** Blank, newline, comment, or the colon after a thread. */
function endsField(byte: number): boolean {
  return byte === 32 || byte === newline || byte === 9 || byte === 13 || byte === colon || byte === 35;
}

function firstEventIsTimed(stream: ByteStream): boolean {
  for (const block of wholeLines(stream)) {
    for (const line of new TextDecoder('latin1').decode(block).split('\n')) {
      const fields = line.replace(/#.*/, '').trim().split(/\s+/);
      const wanted_fields = plain_fields[fields[1] as keyof typeof plain_fields];
      if (wanted_fields !== undefined) return fields.length > wanted_fields;
    }
  }
  return false;
}
