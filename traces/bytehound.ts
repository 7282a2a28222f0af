/**
 * What `bytehound export-replay` writes, in 64-bit little-endian words: the number of slots, then records of four words
 *
 *     1 alloc, 2 free, 3 realloc: slot, microseconds, size       4 down: frame       5 up
 *
 * and a 0 at the end. Frames are numbers; 4 and 5 walk from one event's stack to the next one's. Older versions have the
 * number of records behind the number of slots, no frames and no end. A free carries the time of its allocation.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { type RecordRun, recordRuns, uint64 } from './records.ts';
import { Sites } from './sites.ts';
import { type ByteStream, startOf } from './stream.ts';
import { type Chunk, limits, op, TraceError } from './trace.ts';

const kind = { end: 0, alloc: 1, free: 2, realloc: 3, down: 4, up: 5 } as const;
const word_bytes = 8;
const record_bytes = 4 * word_bytes;
const looked_at_bytes = 4096;
/** More frames do not tell sites apart that a person would. */
const named_frames = 8;

interface Layout {
  readonly header_bytes: number;
  readonly has_frames: boolean;
}
const layouts: readonly Layout[] = [
  { header_bytes: word_bytes, has_frames: true },
  { header_bytes: 2 * word_bytes, has_frames: false },
];

export const bytehound: Importer = {
  name: 'bytehound',
  recognises: (start) => layoutOf(start) !== undefined,
  import(stream) {
    const layout = layoutOf(startOf(stream, looked_at_bytes)) ?? layouts[0];
    let rows = new Rows(stream, layout);
    return {
      columns: { time: true, sites: layout.has_frames, touch: false },
      chunks: () => {
        rows = new Rows(stream, layout);
        return rows.chunks();
      },
      origin: () =>
        importedOrigin(stream, 'bytehound', rows.builder, {
          has_time: true,
          has_sites: layout.has_frames,
          sites: rows.sites.all,
          notes: rows.notes(),
        }),
    };
  },
};

function layoutOf(start: Uint8Array): Layout | undefined {
  const view = new DataView(start.buffer, start.byteOffset, start.length);
  return layouts.find((layout) => fits(view, layout));
}

/** Whether all records of the start are such. */
function fits(view: DataView, { header_bytes, has_frames }: Layout): boolean {
  if (view.byteLength < header_bytes + record_bytes) return false;
  const slots = uint64(view, 0);
  for (let at = header_bytes; at + record_bytes <= view.byteLength; at += record_bytes) {
    const here = uint64(view, at);
    const [slot, , size] = [1, 2, 3].map((word) => uint64(view, at + word * word_bytes));
    if (here === kind.alloc || here === kind.free || here === kind.realloc) {
      if (slot >= slots || size >= limits.size_bytes) return false;
    } else if (!(has_frames && (here === kind.down || here === kind.up))) return false;
  }
  return true;
}

class Rows {
  readonly builder = new TraceBuilder();
  readonly sites = new Sites();
  private readonly stream: ByteStream;
  private readonly layout: Layout;
  private readonly stack: number[] = [];
  private readonly details: { site: number; time_ns: number } = { site: 0, time_ns: 0 };
  /** The stack has changed since the site was looked up. */
  private moved = true;
  private first_us: number | undefined;
  private ended = false;

  constructor(stream: ByteStream, layout: Layout) {
    this.stream = stream;
    this.layout = layout;
  }

  notes(): string[] {
    const kinds = 'Threads are not recorded; callocs and aligned allocations are mallocs';
    return [
      this.layout.has_frames
        ? `${kinds}; frames are numbers, without names.`
        : `${kinds}; call sites are not recorded.`,
      'A free carries the time of its allocation: it is put at the time of the event before it.',
      ...(this.layout.has_frames && !this.ended ? ['The file has no end: events are missing.'] : []),
    ];
  }

  *chunks(): Generator<Chunk> {
    const { builder, layout } = this;
    if (layout.has_frames) this.sites.index('outside of any frame', false);
    const runs = recordRuns(this.stream, layout.header_bytes, record_bytes);
    for (let run = runs.next(); ; run = runs.next()) {
      if (run.done) {
        // The end is a word alone.
        this.ended ||= run.value === word_bytes;
        break;
      }
      this.takeAll(run.value);
      yield* builder.full();
    }
    yield* builder.finish();
  }

  private takeAll({ view, offset, records }: RecordRun): void {
    for (let at = 0; at < records * record_bytes; at += record_bytes) this.take(view, at, offset + at);
  }

  private take(view: DataView, at: number, offset: number): void {
    const { builder, details, layout } = this;
    const here = uint64(view, at);
    const [slot, time_us, size_bytes] = [1, 2, 3].map((word) => uint64(view, at + word * word_bytes));
    if (layout.has_frames && (here === kind.down || here === kind.up)) {
      if (here === kind.down) this.stack.push(slot);
      else if (this.stack.pop() === undefined)
        throw this.error(offset, 'a way up from no frame; wanted a way down first');
      this.moved = true;
      return;
    }
    if (here < kind.alloc || here > kind.realloc || slot > Number.MAX_SAFE_INTEGER || size_bytes >= limits.size_bytes)
      throw this.error(
        offset,
        `found kind ${here}, slot ${slot}, size ${size_bytes}; wanted kinds 1 to ${layout.has_frames ? 5 : 3}, sizes below 2^47`,
      );
    if (here === kind.free) {
      builder.free(slot, details);
      return;
    }
    this.first_us ??= time_us;
    details.time_ns = Math.max(details.time_ns, (time_us - this.first_us) * 1000);
    if (details.time_ns > Number.MAX_SAFE_INTEGER)
      throw this.error(offset, `a time ${time_us - this.first_us} us after the first; wanted less than 2^53 ns`);
    if (this.moved && layout.has_frames) details.site = this.site();
    this.moved = false;
    if (here === kind.alloc) builder.allocate(op.malloc, slot, size_bytes, details);
    else builder.reallocate(slot, slot, size_bytes, details);
  }

  private site(): number {
    const { stack } = this;
    if (stack.length === 0) return 0;
    const innermost = stack.slice(-named_frames).reverse();
    return this.sites.index(innermost.map((frame) => `frame ${frame}`).join(' < '));
  }

  private error(offset: number, message: string): TraceError {
    return new TraceError(this.stream.path, `byte ${offset}`, message);
  }
}
