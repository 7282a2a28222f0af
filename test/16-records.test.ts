import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { importing, type Origin, op, op_names } from '../traces/index.ts';
import { type Row, refusalOf, rowsOf, sourceOf } from './memory-file.ts';
import { alk, alk_records, bytehound_kind, bytehound_replay, words } from './small-traces.ts';

const text = (content: string): Uint8Array => new TextEncoder().encode(content);

function read(bytes: Uint8Array): { rows: Row[]; told: string[]; origin: Origin } {
  const foreign = importing(sourceOf(bytes, 'file'));
  const rows = rowsOf(foreign.chunks());
  const told = rows.map((row) => `${op_names[row.op]} ${row.block} ${row.size_bytes}`);
  return { rows, told, origin: foreign.origin() };
}

function refusal(bytes: Uint8Array): string {
  return refusalOf(() => read(bytes));
}

describe('alk', () => {
  test('every type of record, threads and times', () => {
    const { rows, told, origin } = read(alk_records);
    expect(told).toEqual(['malloc 0 100', 'aligned 1 200', 'realloc 0 300', 'free 0 0', 'aligned 2 8']);
    expect(rows.map(({ thread }) => thread)).toEqual([3, 3, 4, 4, 4]);
    expect(rows.map(({ time_ns }) => time_ns)).toEqual([0, 0, 1000, 1000, 1000]);
    expect(rows.map(({ align }) => align)).toEqual([0, 64, 0, 0, 4096]);
    expect(origin).toMatchObject({ format: 'alk', has_time: true, has_sites: false, dropped: 1 });
  });

  test('a file that ends in the middle of a record says so, a broken record is refused with its place', () => {
    const cut = read(alk_records.subarray(0, alk_records.length - 5));
    expect(cut.told).toHaveLength(4);
    expect(cut.origin.notes.join(' ')).toMatch(/in the middle of a record: 19 of its 24 bytes/);
    const filler = Array.from({ length: 200 }, (_, at) => [alk(0, at), 16, 0]).flat();
    expect(refusal(words(...filler, alk(8, 1), 0, 0))).toMatch(
      /^byte 4800: found type 8 of 0 and 0; wanted types 0 to 7/,
    );
    expect(refusal(words(...filler, alk(0, 1), 2n ** 47n, 0))).toMatch(/^byte 4800: found type 0 of 140737488355328/);
    expect(refusal(words(...filler, alk(3, 1), 5, 48))).toMatch(/^byte 4800: /);
    expect(refusal(words(...filler, alk(5, 1), 2n ** 40n, 0))).toMatch(/^byte 4800: thread 1099511627776/);
  });
});

describe('bytehound', () => {
  const { alloc, free, realloc, up } = bytehound_kind;
  test('events, times from the first, and stacks of numbered frames', () => {
    const { rows, told, origin } = read(bytehound_replay);
    expect(told).toEqual(['malloc 0 64', 'malloc 1 100000', 'realloc 0 128', 'free 1 0', 'malloc 2 5']);
    expect(rows.map(({ time_ns }) => time_ns)).toEqual([0, 5000, 7000, 7000, 9000]);
    const names = rows.map(({ site }) => origin.sites[site].name);
    expect(names).toEqual(['frame 3 < frame 7', 'frame 7', 'frame 7', null, null]);
    expect(origin).toMatchObject({ format: 'bytehound', has_time: true, has_sites: true });
    expect(origin.notes.join(' ')).not.toMatch(/no end/);
  });

  test('older files, which have a count of records in place of frames and end', () => {
    const { told, origin } = read(words(1, 3, alloc, 0, 50, 64, realloc, 0, 51, 32, free, 0, 50, 0));
    expect(told).toEqual(['malloc 0 64', 'realloc 0 32', 'free 0 0']);
    expect(origin.has_sites).toBe(false);
  });

  test('a file without its end says so, a broken record is refused with its place', () => {
    expect(read(bytehound_replay.subarray(0, bytehound_replay.length - 8)).origin.notes.join(' ')).toMatch(
      /no end: events are missing/,
    );
    const filler = Array.from({ length: 200 }, (_, at) => [alloc, at, at, 16]).flat();
    expect(refusal(words(1000, ...filler, 6, 0, 0, 0))).toMatch(
      /^byte 6408: found kind 6, slot 0, size 0; wanted kinds 1 to 5/,
    );
    expect(refusal(words(1000, ...filler, up, 0, 0, 0))).toMatch(/^byte 6408: a way up from no frame/);
    expect(refusal(words(1000, ...filler, alloc, 0, 0, 2n ** 47n))).toMatch(/^byte 6408: found kind 1/);
  });
});

describe('wl', () => {
  const [malloc, calloc, realloc, free, signal, wait, memalign, valloc, done] = [2, 3, 4, 5, 6, 7, 12, 13, 1];
  /** A workload of these threads, for `syncs` syncs. All numbers in it are below 128, but for those of two bytes. */
  const workload = (syncs: number, ...threads: readonly (readonly number[])[]): Uint8Array => {
    const header_bytes = 6 + 2 * threads.length + 1;
    const starts = threads.flatMap((_, at) => [11, header_bytes + threads.slice(0, at).flat().length]);
    return Uint8Array.from([8, 100, 9, syncs, 10, threads.length, ...starts, done, ...threads.flat()]);
  };

  test('every call; pointer 0 is one that failed, or a free of nothing', () => {
    const calls = [
      ...[malloc, 1, 0x82, 0x2c, calloc, 2, 40, realloc, 3, 1, 50, 0, memalign, 4, 64, 5, valloc, 5, 6],
      ...[free, 0, malloc, 0, 99, realloc, 6, 0, 7, realloc, 0, 2, 0, free, 77, free, 3, done],
    ];
    const { told, rows, origin } = read(workload(0, calls));
    expect(told).toEqual([
      'malloc 0 300',
      'calloc 1 40',
      'realloc 0 50',
      'aligned 2 5',
      'aligned 3 6',
      'malloc 4 7',
      'free 1 0',
      'free 0 0',
    ]);
    expect(rows.filter(({ op: kind }) => kind === op.aligned).map(({ align }) => align)).toEqual([64, 4096]);
    expect(origin).toMatchObject({ format: 'wl', has_time: false, has_sites: false, dropped: 1 });
  });

  test('threads take turns, stop at their syncs, and pass those in the order of their numbers', () => {
    const first = [malloc, 1, 10, malloc, 2, 11, signal, 2, signal, 3, malloc, 3, 12, done];
    const second = [malloc, 4, 20, wait, 3, free, 1, malloc, 5, 21, done];
    const third = [wait, 2, malloc, 6, 30, malloc, 7, 31, done];
    const { rows } = read(workload(3, first, second, third));
    expect(rows.map(({ thread, op: kind, size_bytes }) => `${thread} ${op_names[kind]} ${size_bytes}`)).toEqual([
      ...['0 malloc 10', '1 malloc 20', '0 malloc 11'],
      ...['2 malloc 30', '2 malloc 31'],
      ...['1 free 0', '0 malloc 12', '1 malloc 21'],
    ]);
  });

  test('syncs whose numbers are in no order are kept all the same', () => {
    const { rows } = read(
      workload(9, [wait, 1, free, 1, done], [malloc, 1, 8, signal, 9, done], [wait, 9, signal, 1, done]),
    );
    expect(rows.map(({ thread }) => thread)).toEqual([1, 0]);
  });

  test('what cannot be run is refused with its place', () => {
    const refused = (syncs: number, ...threads: readonly (readonly number[])[]): string =>
      refusal(workload(syncs, ...threads));
    expect(refused(2, [wait, 1, signal, 2, done], [wait, 2, signal, 1, done])).toBe(
      'byte 11: thread 0 waits for sync 1, which no thread that can go on signals',
    );
    expect(refused(1, [malloc, 1, 8, 9, done])).toMatch(/^byte 12: found code 9; wanted 1 to 7 or 12 to 14/);
    expect(refused(1, [malloc, 101, 8, done])).toBe('byte 10: pointer 101; wanted one up to 100');
    expect(refused(1, [signal, 2, done])).toBe('byte 10: sync 2; wanted one up to 1');
    expect(refused(1, [memalign, 1, 48, 8, done])).toMatch(/^byte 11: an alignment of 48; wanted a power of two/);
    expect(refused(1, [malloc, 1, 255, 255, 255, 255, 255, 255, 255, 127])).toMatch(/^byte 11: a number of 2\^53/);
    expect(refused(1, [malloc, 1, 8])).toBe('byte 12: the file ends in the middle of thread 0');
    expect(refusal(Uint8Array.from([8, 9, 9, 0, 10, 2, 11, 9, done, done]))).toMatch(
      /^byte 0: found the starts of 1 threads; wanted 2/,
    );
    expect(refusal(gzipSync(workload(0, [malloc, 1, 8, done])))).toMatch(/^a packed workload; wanted it unpacked/);
  });

  test('a thread of any length is read a part at a time', () => {
    const threads = [0, 1].map((at) => Array.from({ length: 50_000 }, () => [malloc, at + 1, 8, free, at + 1]).flat());
    const start = [8, 100, 9, 0, 10, 2, 11, 14, 11, 0x8f, 0xa1, 0x1f, done, 0];
    const { rows } = read(Uint8Array.from([...start, ...threads[0], done, ...threads[1], done]));
    expect(rows).toHaveLength(200_000);
    expect(rows.slice(-2).map(({ thread }) => thread)).toEqual([0, 1]);
  });
});

describe('logalloc', () => {
  test('every call, with numbered blocks or addresses', () => {
    const { told, rows, origin } = read(
      text(
        [
          '10 10 malloc(42)=#1',
          '10 11 calloc(4,42)=#2',
          '10 10 realloc(#2,84)=#1',
          '10 12 posix_memalign(64,100)=#3',
          '10 12 aligned_alloc(32,64)=0xffffffffff000010',
          '10 10 memalign(128,7)=#4',
          '10 10 valloc(5)=#5',
          '10 10 realloc(#0,3)=#6',
          '10 10 malloc(9)=(nil)',
          '10 10 free(#0)',
          '10 10 free(0xffffffffff000010)',
          '10 10 realloc(#6,0)=#0',
          '10 10 free(#99)',
          '10 10 jemalloc_stats()',
          '11 11 malloc(5)=#7',
          '',
        ].join('\n'),
      ),
    );
    expect(told).toEqual([
      'malloc 0 42',
      'calloc 1 168',
      // Block 1 was still there: its free is put in.
      'free 0 0',
      'realloc 1 84',
      'aligned 2 100',
      'aligned 3 64',
      'aligned 4 7',
      'aligned 5 5',
      'malloc 6 3',
      'free 3 0',
      'free 6 0',
    ]);
    expect(rows.map(({ thread }) => thread)).toEqual([0, 1, 0, 0, 2, 2, 0, 0, 0, 0, 0]);
    expect(rows.filter(({ op: kind }) => kind === op.aligned).map(({ align }) => align)).toEqual([64, 32, 128, 4096]);
    expect(origin).toMatchObject({ format: 'logalloc', dropped: 1 });
    expect(origin.notes.join(' ')).toMatch(/1 calls of processes other than 10/);
  });

  test('a last line that is cut is left out, with a note', () => {
    const { told, origin } = read(text('1 1 malloc(32)=#1\n1 1 mall'));
    expect(told).toEqual(['malloc 0 32']);
    expect(origin.notes.join(' ')).toMatch(/cut|end/);
  });

  test('older logs have no thread', () => {
    expect(read(text('1 malloc(32)=#1\n1 free(#1)\n')).told).toEqual(['malloc 0 32', 'free 0 0']);
  });

  test.each([
    '10 10 malloc(5',
    '10 10 malloc(x)=#1',
    '10 10 free(#)',
    '10 10 twice(5)=#1',
    '10 10 malloc(5)=#1 more',
    'x',
  ])('a line "%s" is refused with its number', (line) => {
    expect(refusal(text(`10 10 malloc(1)=#1\n${line}\n`))).toMatch(/^line 2: found ".*"; wanted "PID TID malloc/);
  });

  test('sizes and alignments that no trace can hold are refused', () => {
    expect(refusal(text('1 1 malloc(140737488355328)=#1\n'))).toMatch(/^line 1: a size of 140737488355328 bytes/);
    expect(refusal(text('1 1 memalign(48,8)=#1\n'))).toMatch(/^line 1: an alignment of 48; wanted a power of two/);
  });
});
