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
  wanted: 'a .rep file, four numbers and then "a ID SIZE", "r ID SIZE", "f ID"',
  recognises: (start) => /^(?:\s*\d+[ \t\r]*\n){4}\s*[ar] \d+ \d+/.test(new TextDecoder('latin1').decode(start)),
  import(stream) {
    let builder = new TraceBuilder();
    return {
      columns: { time: false, sites: false, touch: false },
      chunks: () => {
        builder = new TraceBuilder();
        return rows(stream, builder);
      },
      origin: () => importedOrigin(stream, 'rep', builder, { notes }),
    };
  },
};

function* rows(stream: ByteStream, builder: TraceBuilder): Generator<Chunk> {
  const lines = new Lines(stream, '"a ID SIZE", "r ID SIZE" or "f ID" after four lines of a number each');
  let numbers = 0;
  let claimed = 0;
  let operations = 0;
  yield* lines.chunks(builder, () => {
    if (numbers < header_lines) {
      const value = lines.decimal();
      if (numbers === operations_line) claimed = value;
      numbers += 1;
      return !Number.isNaN(value);
    }
    operations += 1;
    const kind = lines.byte();
    if (!lines.skip(blank)) return false;
    if (kind === letter.f && lines.skip(minus)) return lines.decimal() === 1;
    const id = lines.decimal();
    if (!(id <= Number.MAX_SAFE_INTEGER)) return false;
    if (kind === letter.f) {
      builder.free(id);
      return true;
    }
    if (!lines.skip(blank)) return false;
    const size_bytes = lines.decimal();
    if (Number.isNaN(size_bytes) || (kind !== letter.a && kind !== letter.r)) return false;
    if (kind === letter.a) builder.allocate(op.malloc, id, lines.size(size_bytes));
    else builder.reallocate(id, id, lines.size(size_bytes));
    return true;
  });
  if (operations !== claimed)
    throw lines.error(`the file ends after ${operations} operations; its third line says ${claimed}`);
}
