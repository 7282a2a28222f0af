/**
 * The `.rep` files of the malloc lab of "Computer Systems: A Programmer's Perspective": four numbers, a line each (a
 * heap size or weight, how many ids, how many operations, a weight), then
 *
 *     a ID SIZE    allocates      r ID SIZE    reallocates      f ID    frees; -1 is NULL
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { Lines } from './lines.ts';
import type { ByteStream } from './stream.ts';
import { type Chunk, op } from './trace.ts';

const notes = ['Threads, times and call sites are not recorded; every allocation is a malloc.'];
const header_lines = 4;
const operations_line = 2;
const [blank, minus] = [32, 45];
const letter = { a: 97, r: 114, f: 102 };

export const cs_app: Importer = {
  name: 'rep',
  recognises: (start) => /^(?:\s*\d+[ \t\r]*\n){4}\s*[ar] \d+ \d+/.test(new TextDecoder('latin1').decode(start)),
  import(stream) {
    let rows = new Rows(stream);
    return {
      columns: { time: false, sites: false, touch: false },
      chunks: () => {
        rows = new Rows(stream);
        return rows.chunks();
      },
      origin: () => importedOrigin(stream, 'rep', rows.builder, { notes: [...notes, ...rows.notes()] }),
    };
  },
};

class Rows {
  readonly builder = new TraceBuilder();
  private readonly lines: Lines;
  private numbers = 0;
  /** Of operations, by the third line. */
  private claimed = 0;
  private operations = 0;

  constructor(stream: ByteStream) {
    this.lines = new Lines(stream, '"a ID SIZE", "r ID SIZE" or "f ID" after four lines of a number each');
  }

  *chunks(): Generator<Chunk> {
    yield* this.lines.chunks(this.builder, () => (this.numbers < header_lines ? this.takeNumber() : this.take()));
    if (this.operations > this.claimed)
      throw this.lines.error(`the file has ${this.operations} operations; its third line says ${this.claimed}`);
  }

  notes(): string[] {
    const missing = this.claimed - this.operations;
    return [
      ...this.lines.notes(),
      ...(missing > 0 ? [`${missing} of the ${this.claimed} operations that the third line names are missing.`] : []),
    ];
  }

  private takeNumber(): boolean {
    const value = this.lines.decimal();
    if (this.numbers === operations_line) this.claimed = value;
    this.numbers += 1;
    return !Number.isNaN(value);
  }

  private take(): boolean {
    const { lines, builder } = this;
    const kind = lines.byte();
    if (!lines.skip(blank)) return false;
    if (kind === letter.f && lines.skip(minus)) return lines.decimal() === 1 && this.counted();
    const id = lines.decimal();
    if (!(id <= Number.MAX_SAFE_INTEGER)) return false;
    if (kind === letter.f) {
      builder.free(id);
      return this.counted();
    }
    if (!lines.skip(blank)) return false;
    const size_bytes = lines.decimal();
    if (Number.isNaN(size_bytes) || (kind !== letter.a && kind !== letter.r)) return false;
    if (kind === letter.a) builder.allocate(op.malloc, id, lines.size(size_bytes));
    else builder.reallocate(id, id, lines.size(size_bytes));
    return this.counted();
  }

  private counted(): boolean {
    this.operations += 1;
    return true;
  }
}
