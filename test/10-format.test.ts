/** The .hak file: what is written is what is read, and nothing else is ever read. */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HakTrace, HakWriter } from '../traces/hak.ts';
import { ChunkDecoder } from '../traces/hak-chunk.ts';
import { type Chunk, limits, newChunk, op, open, Tally, TraceError, writeHak } from '../traces/index.ts';
import {
  all_columns,
  chunksOf,
  type Forgery,
  fileOf,
  forge,
  legal_rows,
  MemorySink,
  type Row,
  readAll,
  rowsOf,
  seal,
  site_count,
  smallRows,
  sourceOf,
  test_origin,
} from './memory-file.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hakmem-format-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The TraceError that `read` throws; fails where it throws another or none. */
function refusal(read: () => unknown, path = 'test.hak'): string {
  try {
    read();
  } catch (error) {
    // No expect here: this runs for every bit of a file.
    if (!(error instanceof TraceError) || !error.message.startsWith(`${path}: `) || error.message.includes('\n'))
      throw error;
    return error.message;
  }
  throw new Error('read without a complaint');
}

function bytesOf(column: Uint32Array | Float64Array): Uint8Array {
  return new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
}

describe('a round trip', () => {
  test('gives back every row of every legal trace, whatever the size of its chunks', () => {
    fc.assert(
      fc.property(legal_rows, fc.integer({ min: 1, max: 120 }), (rows, chunk_events) => {
        expect(readAll(fileOf(rows, chunk_events))).toEqual(rows);
      }),
      { numRuns: 150 },
    );
  });

  test('without its optional columns loses them and nothing else', () => {
    fc.assert(
      fc.property(legal_rows, (rows) => {
        const read = readAll(fileOf(rows, 50, { time: false, sites: false, touch: false }));
        expect(read).toEqual(
          rows.map((row, at) => ({ ...row, time_ns: at * 1000, site: 0, touched_pages: limits.unknown })),
        );
      }),
      { numRuns: 100 },
    );
  });

  test('gives back the origin and the counts', () => {
    fc.assert(
      fc.property(legal_rows, (rows) => {
        const trace = new HakTrace(sourceOf(fileOf(rows, 30)));
        expect(trace.origin).toEqual(test_origin);
        const tally = new Tally();
        for (const chunk of trace.chunks()) tally.add(chunk);
        expect(trace.statistics).toEqual(tally.statistics());
        trace.verify(tally.statistics());
      }),
      { numRuns: 100 },
    );
  });

  test('needs as many slots as blocks are live at once, whatever slots the caller used', () => {
    fc.assert(
      fc.property(legal_rows, (rows) => {
        let live = 0;
        let peak = 0;
        for (const row of rows) {
          if (row.op < op.realloc) live += 1;
          if (row.op === op.free) live -= 1;
          peak = Math.max(peak, live);
        }
        expect(new HakTrace(sourceOf(fileOf(rows, 40))).statistics.objects).toBe(peak);
      }),
      { numRuns: 100 },
    );
  });

  test('of a chunk as large as chunks may be, with references a million rows long', () => {
    const chunk = newChunk(limits.chunk_events);
    chunk.length = limits.chunk_events;
    const half = limits.chunk_events / 2;
    for (let row = 0; row < chunk.length; row += 1) {
      chunk.op[row] = row < half ? op.malloc : op.free;
      chunk.object[row] = row % half;
      chunk.size_bytes[row] = row < half ? row : 0;
      chunk.time_ns[row] = row;
      chunk.touched_pages[row] = limits.unknown;
    }
    const sink = new MemorySink();
    const writer = new HakWriter('test.hak', sink, { time: false, sites: false, touch: false });
    writer.add(chunk);
    writer.finish({ ...test_origin });
    const [read] = [...new HakTrace(sourceOf(sink.bytes)).chunks()];
    expect(Buffer.compare(bytesOf(read.object), bytesOf(chunk.object))).toBe(0);
    expect(Buffer.compare(bytesOf(read.size_bytes), bytesOf(chunk.size_bytes))).toBe(0);
  });

  test('of no events at all', () => {
    expect(readAll(fileOf([]))).toEqual([]);
  });
});

describe('seeking', () => {
  test('to any event begins with its chunk and gives the rows from there', () => {
    fc.assert(
      fc.property(legal_rows, fc.integer({ min: 1, max: 40 }), fc.nat(320), (rows, chunk_events, from_event) => {
        const trace = new HakTrace(sourceOf(fileOf(rows, chunk_events)));
        const first = from_event < rows.length ? Math.floor(from_event / chunk_events) * chunk_events : rows.length;
        const plain = ({ block: _, ...row }: Row) => row;
        expect(rowsOf(trace.chunks(from_event)).map(plain)).toEqual(rows.slice(first).map(plain));
      }),
      { numRuns: 100 },
    );
  });

  test('gives the same slots as reading from the start', () => {
    fc.assert(
      fc.property(legal_rows, fc.integer({ min: 1, max: 40 }), (rows, chunk_events) => {
        const trace = new HakTrace(sourceOf(fileOf(rows, chunk_events)));
        const slots = (chunks: Iterable<Chunk>): Map<number, number[]> =>
          new Map([...chunks].map((chunk) => [chunk.first_event, [...chunk.object.subarray(0, chunk.length)]]));
        const all = new Map<number, number[]>();
        for (const chunk of trace.chunks()) all.set(chunk.first_event, [...chunk.object.subarray(0, chunk.length)]);
        for (const [first_event, wanted] of all) {
          const { value } = trace.chunks(first_event).next();
          expect(slots([value as Chunk]).get(first_event)).toEqual(wanted);
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('damage', () => {
  test('a file cut at any byte is refused', () => {
    const bytes = fileOf(smallRows(), 16);
    for (let length = 0; length < bytes.length; length += 1) refusal(() => readAll(bytes.slice(0, length)));
  });

  test('a file with a byte more is refused', () => {
    const bytes = fileOf(smallRows(), 16);
    refusal(() => readAll(Uint8Array.from([...bytes, 0])));
  });

  test('a file with any one bit flipped is refused', () => {
    const bytes = fileOf(smallRows(), 16);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      bytes[bit >> 3] ^= 1 << (bit & 7);
      refusal(() => readAll(bytes));
      bytes[bit >> 3] ^= 1 << (bit & 7);
    }
    expect(readAll(bytes)).toEqual(smallRows());
  });

  test('two chunks swapped are refused, though each is whole', () => {
    const rows = Array.from(
      { length: 4 },
      (_, block): Row => ({
        ...{ op: op.malloc, thread: 0, block, align: 0, site: 0, time_ns: 0, touched_pages: limits.unknown },
        size_bytes: 8 * (1 + block),
      }),
    );
    const bytes = fileOf(rows, 2);
    const view = new DataView(bytes.buffer);
    const frame_bytes = 32 + view.getUint32(64, true);
    const first = bytes.slice(64, 64 + frame_bytes);
    const second = bytes.slice(64 + frame_bytes, 64 + 2 * frame_bytes);
    bytes.set(second, 64);
    bytes.set(first, 64 + frame_bytes);
    refusal(() => readAll(bytes));
  });
});

test('a frame that differs from its entry in the seek index is refused, in each field', () => {
  const whole = forge({});
  for (const offset of [68, 72, 80]) {
    const bytes = whole.slice();
    bytes[offset] += 1;
    expect(refusal(() => readAll(seal(bytes)))).toMatch(
      /chunk 0 at byte 64: its events are not those the seek index names/,
    );
  }
});

/** A chunk of one event each row: streams in file order. */
const streamsOf = (
  parts: Partial<Record<'runs' | 'ops' | 'sizes' | 'refs' | 'aligns' | 'sites' | 'times' | 'touched', number[]>>,
) => [
  parts.runs ?? [0],
  parts.ops ?? [],
  parts.sizes ?? [],
  parts.refs ?? [],
  parts.aligns ?? [],
  parts.sites ?? [],
  parts.times ?? [],
  parts.touched ?? [],
];
const malloc_8 = op.malloc | (1 << 3);
const free_last = op.free | (1 << 3);

describe('a forged file whose checksums match', () => {
  test('is read where what it says is legal', () => {
    expect(readAll(forge({}))).toHaveLength(1);
  });

  const forgeries: [string, Forgery, RegExp][] = [
    [
      'a size of 2^60',
      { streams: streamsOf({ ops: [0], sizes: [128, 128, 128, 128, 128, 128, 128, 128, 16] }) },
      /event 0/,
    ],
    ['a size of 2^47', { streams: streamsOf({ ops: [0], sizes: [128, 128, 128, 128, 128, 128, 32] }) }, /2\^47/],
    ['more events than bytes', { claimed_events: 2 ** 40 }, /cannot fit/],
    ['2^32 - 1 objects', { objects: 2 ** 32 - 1 }, /cannot fit/],
    [
      'more rows than its chunk has operations',
      { events: 5, streams: streamsOf({ ops: [malloc_8] }) },
      /too few operations/,
    ],
    [
      'more objects than it names',
      { events: 2, streams: streamsOf({ ops: [malloc_8, malloc_8] }) },
      /object 1 of only 1/,
    ],
    ['the free of a block that never was', { streams: streamsOf({ ops: [op.free], refs: [1] }) }, /free of object 0/],
    [
      'the free of an object beyond all',
      { streams: streamsOf({ ops: [op.free], refs: [255, 255, 255, 255, 127] }) },
      /not live/,
    ],
    ['a free at distance 0', { events: 2, streams: streamsOf({ ops: [malloc_8, op.free], refs: [0] }) }, /not live/],
    [
      'a free before the first allocation',
      { events: 2, streams: streamsOf({ ops: [malloc_8, op.free | (9 << 3)] }) },
      /not live/,
    ],
    [
      'a double free',
      { events: 3, streams: streamsOf({ ops: [malloc_8, free_last, free_last] }) },
      /event 2.*free of object 0/,
    ],
    [
      'the realloc of a dead block',
      { events: 3, streams: streamsOf({ ops: [malloc_8, free_last, op.realloc | (1 << 3)], refs: [1] }) },
      /realloc of object 0/,
    ],
    ['an unknown operation', { streams: streamsOf({ ops: [6] }) }, /operation 6/],
    [
      'a thread beyond 32 bits',
      { streams: streamsOf({ ops: [5 | (31 << 3), 128, 128, 128, 128, 16, malloc_8] }) },
      /thread/,
    ],
    ['thread switches without an operation', { streams: streamsOf({ ops: [5, 5, 5] }) }, /too few operations/],
    ['an alignment of 2^32', { streams: streamsOf({ ops: [op.aligned | (1 << 3)], aligns: [32] }) }, /alignment/],
    [
      'a site beyond its sites',
      { flags: 2, streams: streamsOf({ ops: [malloc_8], sites: [140, 1] }) },
      /site 140 of only 140/,
    ],
    ['a column it does not name', { streams: streamsOf({ ops: [malloc_8], sites: [1] }) }, /longer or shorter/],
    ['a named column that is missing', { flags: 2, streams: streamsOf({ ops: [malloc_8] }) }, /longer or shorter/],
    ['sizes left over', { streams: streamsOf({ ops: [malloc_8], sizes: [1] }) }, /longer or shorter/],
    ['operations left over', { streams: streamsOf({ ops: [malloc_8, free_last] }) }, /longer or shorter/],
    [
      'a time beyond 2^53',
      { flags: 1, streams: streamsOf({ ops: [malloc_8], times: [255, 255, 255, 255, 255, 255, 255, 127] }) },
      /2\^53/,
    ],
    [
      'objects live before the first event',
      { streams: streamsOf({ runs: [1, 1], ops: [malloc_8] }) },
      /before the first event/,
    ],
    [
      'more live slots than objects',
      { streams: streamsOf({ runs: [2, 2], ops: [malloc_8] }) },
      /2 live slots of only 1/,
    ],
    [
      'a touch count of no event',
      { flags: 4, streams: streamsOf({ ops: [malloc_8], touched: [2, 1] }) },
      /touch count/,
    ],
    [
      'more pages touched than the block has',
      { flags: 4, streams: streamsOf({ ops: [malloc_8], touched: [1, 3] }) },
      /3 touched pages/,
    ],
    ['a stream longer than the chunk', { payload: [200, 0] }, /ends beyond its chunk/],
    ['a stream of 2^50 bytes', { payload: [128, 128, 128, 128, 128, 128, 128, 8] }, /ends beyond its chunk/],
    ['bytes after its streams', { payload: [1, 0, 1, malloc_8, 0, 0, 0, 0, 0, 0, 9] }, /after the last stream/],
    ['unknown flags', { flags: 8 }, /flags 8/],
    ['more chunks than its header holds', { chunks: 2 ** 30 }, /chunks cannot fit/],
    ['sites it does not have', { sites: 2 ** 31 }, /sites/],
    ['other pages than its header', { page_bytes: 16384 }, /pages of 4096/],
    ['JSON that is none', { json: () => '{' }, /JSON|missing/],
    ['JSON of nothing', { json: () => [] }, /"origin" is missing/],
  ];
  for (const [name, forgery, says] of forgeries)
    test(`is refused with ${name}`, () => {
      expect(refusal(() => readAll(forge(forgery)))).toMatch(says);
    });

  test('is refused without any one field of its header, by the name of the field', () => {
    const { origin, statistics } = new HakTrace(sourceOf(forge({})));
    for (const [part, fields] of Object.entries({ origin, statistics }))
      for (const field of Object.keys(fields)) {
        const without = (header: object) => ({
          ...header,
          [part]: Object.fromEntries(Object.entries(fields).filter(([name]) => name !== field)),
        });
        expect(refusal(() => readAll(forge({ json: without })))).toContain(`"${part}.${field}"`);
      }
  });

  test('is refused where the counts of its header are not those of its events', () => {
    const trace = new HakTrace(
      sourceOf(forge({ json: (header) => ({ ...header, statistics: { ...header.statistics, peak_live_bytes: 9 } }) })),
    );
    const tally = new Tally();
    for (const chunk of trace.chunks()) tally.add(chunk);
    expect(refusal(() => trace.verify(tally.statistics()))).toMatch(/its peak_live_bytes is 9, but the events make 8/);
  });

  test('with any bytes changed is refused, or is a legal trace that can be written again', () => {
    const bytes = fileOf(smallRows(), 16);
    const change = fc.record({ at: fc.nat(bytes.length - 1), value: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = bytes.slice();
        for (const { at, value } of changes) changed[at] = value;
        let rows: Row[];
        try {
          rows = readAll(seal(changed));
        } catch (error) {
          expect(error).toBeInstanceOf(TraceError);
          return;
        }
        expect(readAll(fileOf(rows, 16))).toEqual(rows);
      }),
      { numRuns: 5000 },
    );
  });

  test('cannot make the reader take memory for what it only claims', () => {
    const claims = [
      forge({ claimed_events: 2 ** 40, objects: 2 ** 32 - 1 }),
      forge({ events: limits.chunk_events, objects: 1 }),
    ];
    const before = process.memoryUsage().arrayBuffers;
    for (let round = 0; round < 50; round += 1) for (const claim of claims) refusal(() => readAll(claim));
    // A million rows are 33 MB, and nothing collects in between.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50 * 2 ** 20);
  });
});

describe('the snapshot of live slots', () => {
  /** A decoder that has read a chunk which leaves slots 0 and 2 live and slot 1 free. */
  const decoder = (): ChunkDecoder => {
    const before = new ChunkDecoder('test.hak', 1, 3, 1);
    before.decode(
      payload([0], [malloc_8, malloc_8, malloc_8, op.free | (2 << 3)], [0, 0, 0, 50]),
      newChunk(4),
      0,
      4,
      1000,
    );
    return before;
  };
  const payload = (runs: number[], ops: number[], times: number[]): Uint8Array =>
    Uint8Array.from(streamsOf({ runs, ops, times }).flatMap((stream) => [stream.length, ...stream]));
  const next = (runs: number[], first_time_ns = 1050) => {
    const chunk = newChunk(1);
    decoder().decode(payload(runs, [malloc_8], [0]), chunk, 4, 1, first_time_ns);
    return chunk.object[0];
  };

  test('is accepted where it is what the chunk before left, and gives out the free slot', () => {
    expect(next([3, 1, 1, 1])).toBe(1);
  });

  test('is refused where it differs: in length, in a slot, or by an empty run', () => {
    for (const runs of [[2, 1, 1], [0], [3, 3], [3, 0, 1, 2], [3, 1, 2], [3, 1, 1, 2]])
      expect(refusal(() => next(runs))).toMatch(/event 4: (live objects that differ|a broken set)/);
    expect(refusal(() => next([3, 1, 0, 0, 1, 1]))).toMatch(/a broken set/);
  });

  test('gives out the lowest free slot first, for a reader that begins there', () => {
    const chunk = newChunk(3);
    new ChunkDecoder('test.hak', 0, 6, 1).decode(
      payload([5, 0, 2, 1, 2], [malloc_8, malloc_8, malloc_8], []),
      chunk,
      9,
      3,
      0,
    );
    expect([...chunk.object]).toEqual([0, 1, 3]);
  });

  test('comes with a time that may not lie before the last event', () => {
    expect(refusal(() => next([3, 1, 1, 1], 1049))).toMatch(/event 4: time that runs backwards/);
  });
});

describe('the writer refuses', () => {
  const row = (part: Partial<Row>): Row => ({
    ...{ op: op.malloc, thread: 0, block: 0, size_bytes: 8, align: 0, site: 0, time_ns: 0 },
    touched_pages: limits.unknown,
    ...part,
  });
  const cases: [string, Row[], RegExp][] = [
    ['a free of what is not live', [row({ op: op.free })], /event 0.*free of object 5000/],
    ['a double free', [row({}), row({ op: op.free }), row({ op: op.free })], /event 2/],
    ['a realloc of what is not live', [row({ op: op.realloc })], /realloc/],
    ['an object allocated twice', [row({}), row({})], /allocated twice/],
    ['a size of 2^47', [row({ size_bytes: 2 ** 47 })], /2\^47/],
    ['half a byte', [row({ size_bytes: 0.5 })], /whole bytes/],
    ['an alignment that is no power of two', [row({ op: op.aligned, align: 24 })], /powers of two/],
    ['an unknown operation', [row({ op: 5 })], /operation 5/],
    ['time that runs backwards', [row({ time_ns: 9 }), row({ block: 1, time_ns: 8 })], /backwards/],
  ];
  for (const [name, rows, says] of cases)
    test(name, () => {
      expect(refusal(() => fileOf(rows, 1000))).toMatch(says);
      expect(refusal(() => fileOf(rows, 1))).toMatch(says);
    });

  test('and leaves no file behind, nor changes one that was there', () => {
    const inside = join(folder, 'refused');
    mkdirSync(inside);
    const path = join(inside, 'x.hak');
    const write = () => writeHak(path, chunksOf([row({ op: op.free })], 9), all_columns, () => test_origin);
    expect(write).toThrow(TraceError);
    expect(readdirSync(inside)).toEqual([]);
    writeFileSync(path, 'before');
    expect(write).toThrow(TraceError);
    expect(readdirSync(inside)).toEqual(['x.hak']);
    expect(() => open(path)).toThrow(/before/);
  });

  test('to write over what is no regular file', () => {
    const write = (path: string) => () => writeHak(path, [], all_columns, () => test_origin);
    // A pipe of our own, never /dev/null: a writer that fails this test replaces what it is given.
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect(refusal(write(pipe), pipe)).toMatch(/not a regular file/);
    expect(lstatSync(pipe).isFIFO()).toBe(true);
    expect(refusal(write(folder), folder)).toMatch(/not a regular file/);
    expect(refusal(write(join(folder, 'none', 'x.hak')), join(folder, 'none', 'x.hak'))).toMatch(/no such file/);
  });
});

describe('opening', () => {
  const opened = (name: string, bytes: Uint8Array | string): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return refusal(() => [...open(path).chunks()], path);
  };

  test('a file that is not there, a directory and an empty file are refused by name', () => {
    expect(refusal(() => open(join(folder, 'none')), join(folder, 'none'))).toMatch(/no such file/);
    expect(refusal(() => open(folder), folder)).toMatch(/a directory/);
    expect(opened('empty', '')).toMatch(/an empty file/);
  });

  test('a file with another magic is refused with what was found, on one line', () => {
    expect(opened('magic', 'HAKTRACX\n\u001b[31m and more')).toMatch(
      /found "HAKTRACX\\x0a\\x1b\[31m.*wanted a \.hak file, or a trace as docs\/FORMATS\.md has it: wee_alloc, /,
    );
  });

  test('a file of a later schema version says so', () => {
    const bytes = fileOf(smallRows());
    bytes[8] = 2;
    expect(opened('version', bytes)).toMatch(/version 2; this hakmem reads version 1/);
  });

  test('a whole file gives what was written, as often as it is read', () => {
    const path = join(folder, 'whole.hak');
    writeHak(path, chunksOf(smallRows(), 10), all_columns, () => test_origin);
    const trace = open(path);
    expect(rowsOf(trace.chunks())).toEqual(smallRows());
    expect(rowsOf(trace.chunks())).toEqual(smallRows());
    expect(trace.origin.sites).toHaveLength(site_count);
  });
});
