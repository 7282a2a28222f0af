/**
 * The log of Firefox's logalloc, as it is or with numbered blocks (`logalloc_munge.py`): a call a line,
 *
 *     PID TID malloc(SIZE)=0xPTR     PID TID realloc(#OLD,SIZE)=#NEW     PID TID free(#NUMBER)     PID TID jemalloc_stats()
 *
 * and so calloc(N,SIZE), memalign, posix_memalign and aligned_alloc(ALIGN,SIZE), valloc(SIZE). Older logs have no TID.
 */
import { type BlockName, TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { Lines } from './lines.ts';
import type { ByteStream } from './stream.ts';
import { type Chunk, limits, op } from './trace.ts';

const [blank, open, close, comma, equals, hash] = [...' (),=#'].map((letter) => letter.charCodeAt(0));
const page_bytes = 4096;

export const logalloc: Importer = {
  name: 'logalloc',
  recognises: (start) =>
    /^\d+ (?:\d+ )?(?:(?:malloc|calloc|realloc|memalign|posix_memalign|aligned_alloc|valloc)\([\d,#a-fx]+\)=|free\(|jemalloc_stats\()/.test(
      new TextDecoder('latin1').decode(start),
    ),
  import(stream) {
    let rows = new Rows(stream);
    return {
      columns: { time: false, sites: false, touch: false },
      chunks: () => {
        rows = new Rows(stream);
        return rows.chunks();
      },
      origin: () => importedOrigin(stream, 'logalloc', rows.builder, { notes: rows.notes() }),
    };
  },
};

class Rows {
  readonly builder = new TraceBuilder();
  private readonly lines: Lines;
  private readonly threads = new Map<number, number>();
  private readonly details = { thread: 0, align: 0 };
  /** The first process that has a call: the one that is imported. */
  private pid = -1;
  private calls_of_others = 0;

  constructor(stream: ByteStream) {
    this.lines = new Lines(stream, '"PID TID malloc(SIZE)=#BLOCK", free(#BLOCK) or another call of logalloc');
  }

  chunks(): Generator<Chunk> {
    return this.lines.chunks(this.builder, () => this.take());
  }

  notes(): string[] {
    const others = `${this.calls_of_others} calls of processes other than ${this.pid} are left out: give each a file.`;
    return [
      'Times and call sites are not recorded.',
      ...this.lines.notes(),
      ...(this.calls_of_others > 0 ? [others] : []),
    ];
  }

  private take(): boolean {
    const { lines, details } = this;
    const pid = lines.decimal();
    if (Number.isNaN(pid) || !lines.skip(blank)) return false;
    const tid = lines.decimal();
    if (!Number.isNaN(tid) && !lines.skip(blank)) return false;
    const name = lines.word();
    if (!lines.skip(open)) return false;
    if (this.pid < 0) this.pid = pid;
    if (pid !== this.pid) {
      this.calls_of_others += 1;
      lines.skipRest();
      return true;
    }
    details.thread = Number.isNaN(tid) ? 0 : this.thread(tid);
    return this.takeCall(name);
  }

  /** Numbered in the order in which they are met. */
  private thread(tid: number): number {
    const thread = this.threads.get(tid) ?? this.threads.size;
    this.threads.set(tid, thread);
    return thread;
  }

  private takeCall(name: string): boolean {
    const { lines, builder, details } = this;
    if (name === 'jemalloc_stats') return lines.skip(close);
    if (name === 'free') {
      const block = this.block();
      if (block === undefined || !lines.skip(close)) return false;
      if (block !== 0) builder.free(block, details);
      return true;
    }
    if (name === 'realloc') return this.takeRealloc();
    const first = lines.decimal();
    const second = lines.skip(comma) ? lines.decimal() : 1;
    if (Number.isNaN(first) || Number.isNaN(second)) return false;
    const block = this.result();
    if (block === undefined) return false;
    const kind = kindOf(name);
    if (kind === undefined) return false;
    if (block === 0) return true;
    const is_aligned = kind === op.aligned && name !== 'valloc';
    details.align = is_aligned ? this.alignment(first) : page_bytes;
    builder.allocate(kind, block, lines.size(is_aligned ? second : first * second), details);
    return true;
  }

  private takeRealloc(): boolean {
    const { lines, builder, details } = this;
    const old = this.block();
    if (old === undefined || !lines.skip(comma)) return false;
    const size_bytes = lines.decimal();
    const block = this.result();
    if (Number.isNaN(size_bytes) || block === undefined) return false;
    if (block !== 0) builder.reallocate(old === 0 ? null : old, block, lines.size(size_bytes), details);
    else if (size_bytes === 0 && old !== 0) builder.free(old, details);
    return true;
  }

  private alignment(align: number): number {
    if (align > limits.align_bytes || !Number.isInteger(Math.log2(align)))
      throw this.lines.error(`an alignment of ${align}; wanted a power of two up to ${limits.align_bytes}`);
    return align;
  }

  /** What is behind ")=". */
  private result(): BlockName | undefined {
    return this.lines.skip(close) && this.lines.skip(equals) ? this.block() : undefined;
  }

  /** 0 is NULL. */
  private block(): BlockName | undefined {
    const { lines } = this;
    if (lines.skipText('(nil)')) return 0;
    if (lines.skipText('0x')) return lines.hexName();
    if (!lines.skip(hash)) return undefined;
    const number = lines.decimal();
    return number <= Number.MAX_SAFE_INTEGER ? number : undefined;
  }
}

/** Of a call that allocates. */
function kindOf(name: string): number | undefined {
  if (name === 'malloc') return op.malloc;
  if (name === 'calloc') return op.calloc;
  return /^(?:posix_)?memalign$|^aligned_alloc$|^valloc$/.test(name) ? op.aligned : undefined;
}
