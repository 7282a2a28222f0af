/** Formats that we both write and read: what is exported and imported is the trace, but for what the format cannot carry. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ImportedTrace } from '../traces/imported.ts';
import { exporters, HakTrace, importers, limits, op, type Spool, type Trace } from '../traces/index.ts';
import { fileOf, legal_rows, MemorySink, type Row, rowsOf, sourceOf } from './memory-file.ts';

interface Format {
  /** The rows that come back of those that were written; `time` where they have recorded time. */
  readonly back: (rows: readonly Row[], time: boolean) => Row[];
  /** What of rows is compared. */
  readonly compared: (rows: readonly Row[]) => unknown;
}

/** Without sites and touched pages, which no format here carries. */
const plain = (row: Row): Row => ({ ...row, site: 0, touched_pages: limits.unknown });

/** As the n-th thread that is met. */
function withThreadsAsMet(rows: readonly Row[]): Row[] {
  const met = [...new Set(rows.map(({ thread }) => thread))];
  return rows.map((row) => ({ ...row, thread: met.indexOf(row.thread) }));
}

function sinceFirst(rows: readonly Row[], time: boolean): Row[] {
  return rows.map((row, event) => ({ ...row, time_ns: time ? row.time_ns - rows[0].time_ns : event * 1000 }));
}

/** What each thread does in its order, and what happens to each block in its own: a block is the n-th that its thread made. */
function byThreadAndBlock(rows: readonly Row[]): unknown {
  const names = new Map<number, string>();
  const made = new Map<number, number>();
  const threads = new Map<number, string[]>();
  const blocks = new Map<string, string[]>();
  const note = <Key>(of: Map<Key, string[]>, key: Key, what: string) => of.set(key, [...(of.get(key) ?? []), what]);
  for (const { op: kind, thread, block, size_bytes, align } of rows) {
    if (kind < op.realloc) {
      const before = made.get(thread) ?? 0;
      made.set(thread, before + 1);
      names.set(block, `${thread}/${before}`);
    }
    const name = names.get(block) ?? 'unknown';
    note(threads, thread, `${kind} ${name} ${size_bytes} ${align}`);
    note(blocks, name, `${kind} by ${thread}`);
  }
  return [threads, new Map([...blocks].sort())];
}

const formats: { readonly [format: string]: Format } = {
  text: { back: (rows, time) => sinceFirst(withThreadsAsMet(rows), time).map(plain), compared: (rows) => rows },
  alk: {
    back: (rows, time) =>
      sinceFirst(rows, time).map((row) => plain({ ...row, op: row.op === op.calloc ? op.malloc : row.op })),
    compared: (rows) => rows,
  },
  wl: { back: withThreadsAsMet, compared: byThreadAndBlock },
};

class MemorySpool implements Spool {
  private readonly sink = new MemorySink();

  append(bytes: Uint8Array): void {
    this.sink.append(bytes);
  }

  read(offset: number, length: number): Uint8Array {
    return this.sink.bytes.subarray(offset, offset + length);
  }
}

async function exported(format: string, trace: Trace): Promise<Uint8Array> {
  const sink = new MemorySink();
  await exporters[format].write(trace, sink, new MemorySpool());
  return sink.bytes;
}

describe('exported and imported', () => {
  test('the table has every format that we write and read', () => {
    const both = Object.keys(exporters).filter((format) => importers.some(({ name }) => name === format));
    expect(Object.keys(formats)).toEqual(expect.arrayContaining(both));
    expect(both).toEqual(expect.arrayContaining(Object.keys(formats)));
  });

  test.each(Object.keys(formats))('%s: the trace comes back, and once more the same', async (format) => {
    const { back, compared } = formats[format];
    await fc.assert(
      fc.asyncProperty(
        legal_rows.filter((rows) => rows.length > 0),
        fc.boolean(),
        async (drawn, time) => {
          // A realloc to nothing is a free.
          const rows = drawn.map((row) =>
            row.op === op.realloc ? { ...row, size_bytes: Math.max(1, row.size_bytes) } : row,
          );
          const columns = { time, sites: false, touch: false };
          const first = await exported(format, new HakTrace(sourceOf(fileOf(rows, 100, columns))));
          const once = new ImportedTrace(sourceOf(first, 'x'), format);
          expect(once.origin).toMatchObject({ dropped: 0 });
          const rows_once = rowsOf(once.chunks());
          expect(compared(rows_once)).toEqual(compared(back(rows, time)));
          const second = await exported(format, once);
          const twice = new ImportedTrace(sourceOf(second, 'x'), format);
          expect(compared(rowsOf(twice.chunks()))).toEqual(compared(back(rows_once, time)));
          expect(twice.statistics.allocations).toBe(once.statistics.allocations);
          if (new Set(rows.map(({ thread }) => thread)).size === 1)
            expect(await exported(format, twice)).toEqual(second);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('wl: a thread that shares no block begins where it began', async () => {
    const text = ['0: malloc 0x10 1', '0: free 0x10', '0: malloc 0x10 2', '7: malloc 0x20 3', '0: free 0x10', ''].join(
      '\n',
    );
    const trace = new ImportedTrace(sourceOf(new TextEncoder().encode(text), 'x'));
    const again = new ImportedTrace(sourceOf(await exported('wl', trace), 'x'));
    expect(rowsOf(again.chunks())).toEqual(rowsOf(trace.chunks()));
  });
});
