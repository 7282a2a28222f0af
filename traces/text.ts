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
import { Lines } from './lines.ts';
import type { BlockName } from './names.ts';
import { type ByteStream, wholeLines } from './stream.ts';
import { type Chunk, limits, op } from './trace.ts';

const wanted = '"TID: malloc PTR SIZE" or calloc, realloc, memalign, free in its place';

/** Fields of a line without its times. */
const plain_fields = { malloc: 4, calloc: 5, realloc: 5, memalign: 5, free: 3 } as const;
const word = { malloc: 0, calloc: 1, realloc: 2, memalign: 3, free: 4, thread_done: 5 } as const;
const words = Object.keys(word).map((name) => new TextEncoder().encode(name));
const [colon, hash] = [58, 35];

export const text: Importer = {
  name: 'text',
  recognises: (start) =>
    /^(?:[^\S\n]*(?:#[^\n]*)?\n)*[^\S\n]*(?:#|\d+:[ \t]+(?:malloc|calloc|realloc|memalign|free|thread_done)\b)/.test(
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
  private readonly lines: Lines;
  private readonly timed: boolean;
  private readonly threads = new Map<number, number>();
  private last_tid = -1;
  private first_seconds = -1;
  private first_nanoseconds = 0;
  /** Lines with times in a trace without, or without times in a trace with. */
  private odd_lines = 0;
  /** One for all events: the loop makes no objects. */
  private readonly details: { thread: number; align: number; time_ns: number | undefined };

  constructor(stream: ByteStream, timed: boolean) {
    this.lines = new Lines(stream, wanted, hash);
    this.timed = timed;
    this.details = { thread: 0, align: 16, time_ns: timed ? 0 : undefined };
  }

  chunks(): Generator<Chunk> {
    return this.lines.chunks(this.builder, () => this.take());
  }

  notes(): string[] {
    if (this.odd_lines === 0) return this.lines.notes();
    const odd = this.timed
      ? `${this.odd_lines} lines had no times; they happened when the line before them did.`
      : `${this.odd_lines} lines had times, but the first had none: times are not kept.`;
    return [odd, ...this.lines.notes()];
  }

  /** Takes in one line; false where it is not one of the format. */
  private take(): boolean {
    const { lines } = this;
    const tid = lines.value();
    if (!(tid <= limits.unknown) || !lines.skip(colon)) return false;
    lines.skipBlanks();
    const kind = lines.oneOf(words);
    if (kind < 0) return false;
    const pointer = lines.name();
    if (pointer === undefined) return false;
    if (kind === word.thread_done) return true;
    const { builder, details } = this;
    if (tid !== this.last_tid) this.switchThread(tid);
    if (kind === word.free) {
      if (!this.readTimes()) return false;
      if (pointer !== 0) builder.free(pointer, details);
      return lines.ended();
    }
    const old = kind === word.realloc ? lines.name() : 0;
    if (old === undefined) return false;
    const factor = kind === word.calloc || kind === word.memalign ? lines.value() : 1;
    const last = lines.value();
    if (!(factor >= 0 && last >= 0) || !this.readTimes() || !lines.ended()) return false;
    const size_bytes = kind === word.calloc ? factor * last : last;
    // A call that returned nothing is no event, whatever it asked for.
    if (kind === word.realloc) {
      if (pointer !== 0 || last === 0) this.reallocate(pointer, old, size_bytes);
      return true;
    }
    if (pointer === 0) return true;
    this.lines.size(size_bytes);
    if (kind === word.memalign) {
      if (factor > limits.align_bytes)
        throw this.lines.error(`an alignment of ${factor}; wanted a power of two up to ${limits.align_bytes}`);
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
    this.lines.size(size_bytes);
    if (pointer === 0) {
      if (old !== 0) this.builder.free(old, this.details);
    } else {
      this.builder.reallocate(old === 0 ? null : old, pointer, size_bytes, this.details);
    }
  }

  private readTimes(): boolean {
    const { lines } = this;
    if (lines.ended()) {
      if (this.timed) this.odd_lines += 1;
      return true;
    }
    // Nanoseconds since 1970 need more than the 53 bits of a number; those since the first event do not.
    const start = lines.nanoseconds();
    if (start === undefined || Number.isNaN(lines.value())) return false;
    if (!this.timed) {
      this.odd_lines += 1;
      return true;
    }
    const { seconds, nanoseconds } = start;
    if (this.first_seconds < 0) {
      this.first_seconds = seconds;
      this.first_nanoseconds = nanoseconds;
    }
    const since_ns = (seconds - this.first_seconds) * 1e9 + (nanoseconds - this.first_nanoseconds);
    if (!(since_ns <= Number.MAX_SAFE_INTEGER))
      throw this.lines.error(`a time ${since_ns} ns after the first; wanted less than 2^53`);
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
