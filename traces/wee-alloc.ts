/** Traces of wee_alloc's tests: `Alloc(SIZE),` and `Free(K),`, where K counts the Alloc lines from 0. */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { type ByteStream, quote, wholeLines } from './stream.ts';
import { type Chunk, limits, op, TraceError } from './trace.ts';

const wanted = 'Alloc(SIZE), or Free(INDEX),';
const notes = ['Threads, times and call sites are not recorded; a realloc was written as a free and an allocation.'];

export const wee_alloc: Importer = {
  name: 'wee_alloc',
  wanted: 'lines "Alloc(N)," and "Free(K),"',
  recognises: (start) => /^\s*(Alloc|Free)\(/.test(new TextDecoder('latin1').decode(start.subarray(0, 256))),
  import(stream) {
    let builder = new TraceBuilder();
    return {
      columns: { time: false, sites: false, touch: false },
      chunks: () => {
        builder = new TraceBuilder();
        return rows(stream, builder);
      },
      origin: () => importedOrigin(stream, 'wee_alloc', builder, { notes }),
    };
  },
};

function* rows(stream: ByteStream, builder: TraceBuilder): Generator<Chunk> {
  let line = 0;
  let allocations = 0;
  for (const block of wholeLines(stream)) {
    for (let at = 0; at < block.length; ) {
      line += 1;
      const end = block.indexOf(10, at);
      const { kind, number } = parseLine(block, at, end);
      if (kind === 'broken')
        throw new TraceError(stream.path, `line ${line}`, `found ${quote(block.subarray(at, end))}; wanted ${wanted}`);
      if (kind === 'alloc') {
        if (number >= limits.size_bytes)
          throw new TraceError(stream.path, `line ${line}`, `a size of ${number} bytes; wanted one below 2^47`);
        builder.allocate(op.malloc, allocations, number);
        allocations += 1;
      } else if (kind === 'free') {
        builder.free(number);
      }
      at = end + 1;
    }
    yield* builder.full();
  }
  yield* builder.finish();
}

const line_shape = /^\s*(?:(Alloc|Free)\((\d{1,15})\),?)?\s*$/;

function parseLine(
  block: Uint8Array,
  at: number,
  end: number,
): { kind: 'alloc' | 'free' | 'blank' | 'broken'; number: number } {
  const match = line_shape.exec(latin1.decode(block.subarray(at, end)));
  if (match === null) return { kind: 'broken', number: 0 };
  if (match[1] === undefined) return { kind: 'blank', number: 0 };
  return { kind: match[1] === 'Alloc' ? 'alloc' : 'free', number: Number(match[2]) };
}

const latin1 = new TextDecoder('latin1');
