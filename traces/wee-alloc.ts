/** Traces of wee_alloc's tests: `Alloc(SIZE),` and `Free(K),`, where K counts the Alloc lines from 0. */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { Lines } from './lines.ts';
import { type Chunk, op } from './trace.ts';

const wanted = 'Alloc(SIZE), or Free(INDEX),';
const [close, comma] = [41, 44];
const notes = ['Threads, times and call sites are not recorded; a realloc was written as a free and an allocation.'];

export const wee_alloc: Importer = {
  name: 'wee_alloc',
  recognises: (start) => /^\s*(Alloc|Free)\(/.test(new TextDecoder('latin1').decode(start.subarray(0, 256))),
  import(stream) {
    let builder = new TraceBuilder();
    let lines = new Lines(stream, wanted);
    return {
      columns: { time: false, sites: false, touch: false },
      chunks: () => {
        builder = new TraceBuilder();
        lines = new Lines(stream, wanted);
        return rows(lines, builder);
      },
      origin: () => importedOrigin(stream, 'wee_alloc', builder, { notes: [...notes, ...lines.notes()] }),
    };
  },
};

function rows(lines: Lines, builder: TraceBuilder): Generator<Chunk> {
  let allocations = 0;
  return lines.chunks(builder, () => {
    const is_free = lines.skipText('Free(');
    if (!is_free && !lines.skipText('Alloc(')) return false;
    const number = lines.decimal();
    if (!(number <= Number.MAX_SAFE_INTEGER) || !lines.skip(close)) return false;
    lines.skip(comma);
    if (is_free) {
      builder.free(number);
      return true;
    }
    builder.allocate(op.malloc, allocations, lines.size(number));
    allocations += 1;
    return true;
  });
}
