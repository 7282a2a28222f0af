/**
 * What `valgrind --trace-malloc=yes` prints, among other things:
 *
 *     --PID-- malloc(SIZE) = 0xPTR              --PID-- calloc(COUNT,SIZE) = 0xPTR
 *     --PID-- realloc(0xOLD,SIZE) = 0xPTR       --PID-- realloc(0x0,SIZE)malloc(SIZE) = 0xPTR
 *     --PID-- memalign(al ALIGN, size SIZE) = 0xPTR      --PID-- free(0xPTR)
 *
 * and C++ operators by their mangled names: `_Znwm(SIZE) = 0xPTR`, `_ZnwmSt11align_val_t(size SIZE, al ALIGN) = 0xPTR`.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { Lines } from './lines.ts';
import type { BlockName } from './names.ts';
import type { ByteStream } from './stream.ts';
import { type Chunk, limits, op } from './trace.ts';

const [blank, open, close, equals, comma, dash] = [32, 40, 41, 61, 44, 45];

export const valgrind: Importer = {
  name: 'valgrind',
  recognises: (start) => /^(?:==\d+==|--\d+-- \w+\()/m.test(new TextDecoder('latin1').decode(start)),
  import(stream) {
    let rows = new Rows(stream);
    return {
      columns: { time: false, sites: false, touch: false },
      chunks: () => {
        rows = new Rows(stream);
        return rows.chunks();
      },
      origin: () => importedOrigin(stream, 'valgrind', rows.builder, { notes: rows.notes() }),
    };
  },
};

class Rows {
  readonly builder = new TraceBuilder();
  private readonly lines: Lines;
  /** The first process that has a call: the one that is imported. */
  private pid = -1;
  private calls_of_others = 0;
  private foreign_lines = 0;
  private readonly details = { align: 16 };
  /** The arguments of a call: the first number, the second, and what `al` stood before. */
  private first: BlockName = 0;
  private second = 0;
  private align = 0;

  constructor(stream: ByteStream) {
    this.lines = new Lines(
      stream,
      '"--PID-- malloc(SIZE) = 0xPTR" or calloc, realloc, memalign, free, _Znwm ... in its place',
    );
  }

  chunks(): Generator<Chunk> {
    return this.lines.chunks(this.builder, () => this.take());
  }

  notes(): string[] {
    return [
      'Threads, times and call sites are not recorded; valgrind serves posix_memalign and aligned_alloc by memalign.',
      ...(this.calls_of_others > 0
        ? [
            `${this.calls_of_others} calls of processes other than ${this.pid} are left out: give each a file, --log-file=%p.`,
          ]
        : []),
      ...(this.foreign_lines > 0
        ? [`${this.foreign_lines} lines are not valgrind's; a call printed into one of them is lost: use --log-file.`]
        : []),
      ...this.lines.notes(),
    ];
  }

  /** Lines that are no call are skipped: valgrind's other messages, and what the program itself printed. */
  private take(): boolean {
    const { lines } = this;
    if (lines.skip(equals)) return this.ignore(lines.skip(equals));
    if (!(lines.skip(dash) && lines.skip(dash))) return this.ignore(false);
    const pid = lines.decimal();
    if (Number.isNaN(pid) || !lines.skipText('-- ')) return this.ignore(false);
    const name = lines.word();
    if (!lines.skip(open)) return this.ignore(true);
    const kind = kindOf(name);
    if (kind === undefined) return this.ignore(true);
    if (this.pid < 0) this.pid = pid;
    if (pid !== this.pid) {
      this.calls_of_others += 1;
      return this.ignore(true);
    }
    return this.takeArguments() && this.takeCall(kind);
  }

  private ignore(is_valgrinds: boolean): boolean {
    if (!is_valgrinds) this.foreign_lines += 1;
    this.lines.skipRest();
    return true;
  }

  private takeArguments(): boolean {
    const { lines } = this;
    this.first = 0;
    this.second = 0;
    this.align = 0;
    for (let at = 0; ; ) {
      const is_align = lines.skipText('al ');
      if (!is_align) lines.skipText('size ');
      const value = lines.skipText('0x') ? lines.hexName() : lines.decimal();
      if (value === undefined || Number.isNaN(value)) return false;
      if (is_align) this.align = Number(value);
      else if (at === 0) this.first = value;
      else this.second = Number(value);
      if (!is_align) at += 1;
      if (lines.skip(close)) return at > 0;
      if (!lines.skip(comma)) return false;
      lines.skip(blank);
    }
  }

  private takeCall(kind: Kind): boolean {
    const { builder, details, first } = this;
    if (kind === 'free') {
      if (first !== 0) builder.free(first);
      return true;
    }
    const size_bytes =
      kind === 'realloc' ? this.second : kind === 'calloc' ? Number(first) * this.second : Number(first);
    // A realloc of nothing names the malloc that serves it, one to nothing the free, before its own result.
    if (kind === 'realloc') {
      if (size_bytes === 0 && this.lines.skipText('free(')) {
        this.lines.skipRest();
        if (first !== 0) builder.free(first);
        return true;
      }
      if (first === 0 && this.lines.skipText('malloc(')) this.lines.until(close);
    }
    if (!this.lines.skipText(' = 0x')) return false;
    const pointer = this.lines.hexName();
    if (pointer === undefined) return false;
    // A call that returned nothing is no event, whatever it asked for.
    if (pointer === 0) return true;
    this.lines.size(size_bytes);
    if (kind === 'realloc') builder.reallocate(first === 0 ? null : first, pointer, size_bytes);
    else if (this.align === 0) builder.allocate(kind === 'calloc' ? op.calloc : op.malloc, pointer, size_bytes);
    else {
      if (this.align > limits.align_bytes)
        throw this.lines.error(`an alignment of ${this.align}; wanted a power of two up to ${limits.align_bytes}`);
      details.align = 2 ** Math.ceil(Math.log2(this.align));
      builder.allocate(op.aligned, pointer, size_bytes, details);
    }
    return true;
  }
}

type Kind = 'malloc' | 'calloc' | 'realloc' | 'free';

/** What a call does, by the name that valgrind prints; undefined for those that move no memory. */
function kindOf(name: string): Kind | undefined {
  if (name === 'malloc' || name === 'calloc' || name === 'realloc' || name === 'free') return name;
  if (name === 'cfree' || name.startsWith('_Zd') || /^__builtin_(?:vec_)?delete$/.test(name)) return 'free';
  if (name.startsWith('_Zn') || /^__builtin_(?:vec_)?new$/.test(name)) return 'malloc';
  return /^(?:posix_)?memalign$|^aligned_alloc$|^p?valloc$/.test(name) ? 'malloc' : undefined;
}
