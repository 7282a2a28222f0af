import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { importing, type Origin, op, op_names, TraceError } from '../traces/index.ts';
import { jemalloc } from '../traces/jemalloc.ts';
import { type Row, refusalOf, rowsOf, sourceOf } from './memory-file.ts';

interface Logged {
  readonly alloc_thread: number;
  readonly free_thread: number;
  readonly alloc_trace: number;
  readonly alloc_timestamp: bigint;
  readonly free_timestamp: bigint;
  readonly usize: number;
}

const stacks = [['0xa1', '0xb1'], ['0xa1', '0xb2'], []];

/** The document as jemalloc writes it; `blank` stands between its words. */
function logOf(rows: readonly Logged[], info = '', more = '', blank = ''): string {
  const allocations = rows.map((row) => {
    const fields = Object.entries({ ...row, free_trace: 1 }).map(([name, value]) => `"${name}":${blank}${value}`);
    return `{${fields.join(`${blank},`)}}`;
  });
  const threads = [0, 1, 2].map((at) => `{"thr_uid":${at},"thr_name":"a \\"b]"}`);
  return `{"info":{"duration":5,"lg_sample_rate":0${info}},${more}"threads":${blank}[${threads}],"stack_traces":${JSON.stringify(stacks)},"allocations":[${allocations.join(`,${blank}`)}]}`;
}

interface Read {
  readonly rows: readonly Row[];
  readonly told: readonly string[];
  readonly origin: Origin;
}

function read(text: string): Read {
  const foreign = importing(sourceOf(new TextEncoder().encode(text), 'file'));
  const rows = rowsOf(foreign.chunks());
  const told = rows.map((row) => `${op_names[row.op]} ${row.block} by ${row.thread} at ${row.time_ns}`);
  return { rows, told, origin: foreign.origin() };
}

function refusal(text: string): string {
  return refusalOf(() => read(text));
}

/** 2026 in ns: beyond 2^53. */
const epoch = 1_790_000_000_000_000_001n;
const block = (made: number, freed: number, usize: number, made_by = 0, freed_by = 0, stack = 0): Logged => ({
  alloc_thread: made_by,
  free_thread: freed_by,
  alloc_trace: stack,
  alloc_timestamp: epoch + BigInt(made),
  free_timestamp: epoch + BigInt(freed),
  usize,
});

describe('events', () => {
  test('stand in the order of time, to the nanosecond, with the thread and the stack of each', () => {
    const { told, rows, origin } = read(
      logOf([block(5, 7, 16, 0, 1), block(0, 9, 32, 2, 2, 1), block(8, 10, 8, 0, 0, 2)]),
    );
    expect(told).toEqual([
      'malloc 0 by 2 at 0',
      'malloc 1 by 0 at 5',
      'free 1 by 1 at 7',
      'malloc 2 by 0 at 8',
      'free 0 by 2 at 9',
      'free 2 by 0 at 10',
    ]);
    expect(rows.map(({ size_bytes }) => size_bytes)).toEqual([32, 16, 0, 8, 0, 0]);
    expect(new Set([rows[0], rows[1], rows[3]].map(({ site }) => site)).size).toBe(3);
    expect(origin).toMatchObject({ format: 'jemalloc', has_time: true, has_sites: true, dropped: 0 });
    expect(origin.notes).toHaveLength(1);
  });

  test('of one tick: a block that lives on is made after the frees, one that does not just before its own', () => {
    const { told } = read(logOf([block(0, 4, 8), block(4, 4, 8), block(4, 8, 8), block(4, 8, 8)]));
    expect(told.map((line) => line.replace(/ by.* at/, ' at'))).toEqual([
      'malloc 0 at 0',
      'free 0 at 4',
      'malloc 1 at 4',
      'free 1 at 4',
      'malloc 2 at 4',
      'malloc 3 at 4',
      'free 2 at 8',
      'free 3 at 8',
    ]);
  });

  test('a sample, a coarse clock and a cut are said', () => {
    const rows = [block(0, 1, 8), block(1, 2, 8)];
    const log = logOf(rows, ',"prof_time_resolution":"default"').replace('rate":0', 'rate":19');
    expect(read(log).origin.notes.join()).toMatch(/of every 2\^19 bytes .*coarse clock/);
    const cut = read(log.slice(0, -30));
    expect(cut.told).toHaveLength(2);
    expect(cut.origin.notes.join()).toMatch(/ends in the middle: it is read up to block 1\./);
  });

  const anyBlock = fc
    .tuple(fc.nat(50), fc.nat(50), fc.nat(2 ** 40), fc.nat(2), fc.nat(2), fc.nat(2))
    .map(([made, lived, usize, made_by, freed_by, stack]) =>
      block(made, made + lived, usize, made_by, freed_by, stack),
    );

  test('whatever the blocks, and however the document is laid out and comes: each is made once and freed once, in order', () => {
    fc.assert(
      fc.property(
        fc.array(anyBlock, { minLength: 1, maxLength: 40 }),
        fc.constantFrom('', ' ', '\n\t'),
        fc.jsonValue(),
        fc.integer({ min: 1, max: 300 }),
        (drawn, blank, more, piece_bytes) => {
          const blocks = drawn.toSorted((a, b) => Number(a.free_timestamp - b.free_timestamp));
          const bytes = new TextEncoder().encode(logOf(blocks, '', `"more":${JSON.stringify(more)},`, blank));
          const stream = {
            path: 'file',
            *pieces() {
              for (let at = 0; at < bytes.length; at += piece_bytes) yield bytes.subarray(at, at + piece_bytes);
            },
          };
          const rows = rowsOf(jemalloc.import(stream).chunks());
          const start = Math.min(...blocks.map((each) => Number(each.alloc_timestamp - epoch)));
          const life = (made: Row, freed: Row): string =>
            `${made.size_bytes} ${made.thread} ${made.time_ns} ${freed.thread} ${freed.time_ns}`;
          const made = rows.filter(({ op: kind }) => kind === op.malloc);
          const freed = rows.filter(({ op: kind }) => kind === op.free);
          const wanted = blocks.map((each) => {
            const [from, to] = [each.alloc_timestamp, each.free_timestamp].map((time) => Number(time - epoch) - start);
            return `${each.usize} ${each.alloc_thread} ${from} ${each.free_thread} ${to}`;
          });
          expect(freed.map((row) => life(made[row.block], row))).toEqual(wanted);
          expect(made).toHaveLength(blocks.length);
          expect(rows.every((row, at) => at === 0 || row.time_ns >= rows[at - 1].time_ns)).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('damage', () => {
  test('times that lie further apart than a trace can tell are refused, though each is near the first', () => {
    const far = (made: number) => logOf([block(5, 2 ** 53, 8), block(made, 9, 8)]);
    expect(refusal(far(0))).toMatch(/^byte \d+: a time 2\^53 ns or more from another/);
    expect(read(far(1)).rows.at(-1)).toMatchObject({ time_ns: 2 ** 53 - 1 });
  });

  const log = logOf([block(0, 4, 8), block(1, 4, 8)]);

  test.each([
    ['"usize":8', '"usize":140737488355328', /^byte \d+: size 140737488355328; wanted one below/],
    ['"usize":8', '"usize":-8', /^byte \d+: found "-"; wanted a whole number/],
    ['"usize":8', '"size":8', /^byte \d+: a row that lacks /],
    ['"alloc_trace":0', '"alloc_trace":3', /^byte \d+: stack trace 3; wanted one below 3/],
    ['"free_thread":0', '"free_thread":3', /^byte \d+: thread 3; wanted one below 3/],
    ['"allocations":[', '"allocations":{', /^byte \d+: found "{"; wanted "\["/],
    ['},{"alloc', '};{"alloc', /^byte \d+: found ";"; wanted "," or "\]"/],
    ['"alloc_timestamp":17', '"alloc_timestamp":99917', /^byte \d+: a number of more than 20 digits/],
  ])('%s as %s is refused with its place', (was, is, message) => {
    expect(log).toContain(was);
    expect(refusal(log.replace(was, is))).toMatch(message);
  });

  test('bytes changed, lost or put in, and a cut anywhere, are read or refused in one line', () => {
    const change = fc.record({ at: fc.nat(log.length - 1), lose: fc.nat(3), put: fc.string({ maxLength: 3 }) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 2 }), fc.nat(log.length), (changes, end) => {
        const damaged = [...log].slice(0, Math.max(60, end));
        for (const { at, lose, put } of changes) damaged.splice(at, lose, ...put);
        try {
          read(damaged.join(''));
        } catch (error) {
          if (!(error instanceof TraceError)) throw error;
          expect(error.message).not.toContain('\n');
        }
      }),
      { seed: 18, numRuns: 500 },
    );
  });
});
