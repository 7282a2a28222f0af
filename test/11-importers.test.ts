/** Other tools' traces: what counts, what is dropped, what is refused, and that length costs no memory. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { strToU8, zipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ByteSource } from '../traces/hak.ts';
import { importing, op, open, Tally, type Trace, TraceError } from '../traces/index.ts';
import { Names } from '../traces/names.ts';
import { text } from '../traces/text.ts';
import { rowsOf } from './memory-file.ts';

let folder = '';
let files = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hakmem-import-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fileWith(content: string | Uint8Array): string {
  files += 1;
  const path = join(folder, `${files}.trace`);
  writeFileSync(path, content);
  return path;
}

function opened(content: string | Uint8Array): Trace {
  return open(fileWith(content));
}

function refusal(content: string | Uint8Array, format?: string): string {
  const path = fileWith(content);
  try {
    open(path, format);
  } catch (error) {
    expect(error).toBeInstanceOf(TraceError);
    expect((error as Error).message.startsWith(`${path}: `)).toBe(true);
    expect((error as Error).message).not.toContain('\n');
    return (error as Error).message.slice(path.length + 2);
  }
  throw new Error('read without a complaint');
}

/** "op block size" a row, which is what most tests are about. */
function told(trace: Trace): string[] {
  const names = Object.keys(op);
  return rowsOf(trace.chunks()).map((row) => `${names[row.op]} ${row.block} ${row.size_bytes}`);
}

describe('wee_alloc', () => {
  test('frees name allocations by their place among them, and times are a microsecond an event', () => {
    const trace = opened('Alloc(552),\nAlloc(120),\nFree(1),\nAlloc(8),\nFree(0),\nFree(2),\n');
    expect(told(trace)).toEqual(['malloc 0 552', 'malloc 1 120', 'free 1 0', 'malloc 2 8', 'free 0 0', 'free 2 0']);
    expect(rowsOf(trace.chunks()).map((row) => row.time_ns)).toEqual([0, 1000, 2000, 3000, 4000, 5000]);
    expect(trace.origin).toMatchObject({ source: 'imported', format: 'wee_alloc', has_time: false, has_sites: false });
    expect(trace.statistics).toMatchObject({ events: 6, allocations: 3, frees: 3, reallocs: 0, peak_live_bytes: 672 });
  });

  test('frees of what is dead or never was are dropped and counted', () => {
    const trace = opened('Alloc(1),\nFree(7),\nFree(0),\nFree(0),\n');
    expect(told(trace)).toEqual(['malloc 0 1', 'free 0 0']);
    expect(trace.origin.dropped).toBe(2);
  });

  test('the last line needs neither comma nor newline, and lines may end as on Windows', () => {
    expect(told(opened('Alloc(3),\r\n\r\nFree(0)'))).toEqual(['malloc 0 3', 'free 0 0']);
  });

  test('a broken line is refused with its number, what was found and what was wanted', () => {
    expect(refusal('Alloc(1),\nAlloc(x),\n')).toBe('line 2: found "Alloc(x),"; wanted Alloc(SIZE), or Free(INDEX),');
    expect(refusal('Alloc(140737488355328),\n')).toMatch(/^line 1: a size of 140737488355328 bytes; wanted .* 2\^47/);
    expect(refusal('Alloc(-1),\n')).toMatch(/^line 1: /);
    expect(refusal('Alloc(1)\u001b[2J,\n')).toMatch(/^line 1: found "Alloc\(1\)\\x1b\[2J,"/);
  });
});

describe('text', () => {
  test('every operation, decimal and hexadecimal, becomes its row', () => {
    const trace = opened(
      [
        '# a comment',
        '',
        '10: malloc 0x1000 100',
        '10: calloc 0x2000 4 25',
        '11: memalign 0x3000 4096 7   # aligned',
        '11: realloc 0x4000 0x1000 200',
        '\t10:\tfree\t8192 ',
        '10: thread_done 0x0',
        '11: free 0x4000',
      ].join('\n'),
    );
    expect(told(trace)).toEqual([
      'malloc 0 100',
      'calloc 1 100',
      'aligned 2 7',
      'realloc 0 200',
      'free 1 0',
      'free 0 0',
    ]);
    const rows = rowsOf(trace.chunks());
    expect(rows.map((row) => row.thread)).toEqual([0, 0, 1, 1, 0, 1]);
    expect(rows[2].align).toBe(4096);
    expect(trace.statistics).toMatchObject({ allocations: 3, frees: 2, reallocs: 1, unfreed: 1, threads: 2 });
    expect(trace.origin).toMatchObject({ format: 'text', has_time: false });
  });

  test('counts by the rules: NULL and failed calls are no events, realloc is what it does', () => {
    const count = (lines: string): string[] => told(opened(`1: malloc 0x10 1\n${lines}`)).slice(1);
    expect(count('1: free 0x0')).toEqual([]);
    expect(count('1: malloc 0x0 99\n1: calloc 0 9 9')).toEqual([]);
    expect(count('1: realloc 0x0 0x10 99')).toEqual([]);
    expect(count('1: realloc 0x20 0x0 5')).toEqual(['malloc 1 5']);
    expect(count('1: realloc 0x20 0x99 5')).toEqual(['malloc 1 5']);
    expect(count('1: realloc 0x0 0x10 0')).toEqual(['free 0 0']);
    expect(count('1: realloc 0x10 0x10 0')).toEqual(['free 0 0']);
    expect(count('1: realloc 0x10 0x10 5')).toEqual(['realloc 0 5']);
    expect(count('1: malloc 0x20 0')).toEqual(['malloc 1 0']);
  });

  test('frees of unknown pointers are dropped and counted', () => {
    const trace = opened('1: malloc 0x10 1\n1: free 0x20\n1: free 0x10\n1: free 0x10\n1: realloc 0x0 0x77 0');
    expect(told(trace)).toEqual(['malloc 0 1', 'free 0 0']);
    expect(trace.origin.dropped).toBe(3);
  });

  test('a pointer handed out twice gets the free that is missing, with a note', () => {
    const trace = opened('1: malloc 0x10 1\n1: malloc 0x10 2');
    expect(told(trace)).toEqual(['malloc 0 1', 'free 0 0', 'malloc 1 2']);
    expect(trace.origin.notes.join()).toMatch(/^.*1 blocks were handed out again/);
  });

  test('times count from the first, exactly, even where they need more than 53 bits', () => {
    const base = 1_700_000_000_000_000_000n;
    const trace = opened(
      [0n, 1n, 3n, 2n].map((step, at) => `1: malloc ${16 + at} 1 ${base + step} ${base + step + 9n}`).join('\n'),
    );
    expect(trace.origin.has_time).toBe(true);
    expect(rowsOf(trace.chunks()).map((row) => row.time_ns)).toEqual([0, 1, 3, 3]);
  });

  test('lines without times in a trace that has them happen with the line before, with a note', () => {
    const trace = opened('1: malloc 1 1 100 110\n1: malloc 2 1\n1: malloc 3 1 150 160');
    expect(rowsOf(trace.chunks()).map((row) => row.time_ns)).toEqual([0, 0, 50]);
    expect(trace.origin.notes.join()).toContain('1 lines had no times');
  });

  test('pointers that differ only beyond 53 bits are different blocks', () => {
    const trace = opened('1: malloc 0xb400007000000010 1\n1: malloc 0xb400007000000011 2\n1: free 0xb400007000000010');
    expect(told(trace)).toEqual(['malloc 0 1', 'malloc 1 2', 'free 0 0']);
  });

  test('an alignment that is no power of two is rounded up as memalign does', () => {
    expect(rowsOf(opened('1: memalign 0x10 24 1\n1: memalign 0x20 0 1').chunks()).map((row) => row.align)).toEqual([
      32, 1,
    ]);
  });

  const broken: [string, string][] = [
    ['a word that is no call', '1: mallocs 0x10 1'],
    ['no thread', 'malloc 0x10 1'],
    ['no colon', '1 malloc 0x10 1'],
    ['a missing size', '1: malloc 0x10'],
    ['a size that is no number', '1: malloc 0x10 1x'],
    ['a negative size', '1: malloc 0x10 -1'],
    ['a pointer that is no number', '1: malloc (nil) 1'],
    ['0x alone', '1: malloc 0x 1'],
    ['a third time', '1: malloc 0x10 1 2 3 4'],
    ['half of the times', '1: malloc 0x10 1 2'],
    ['a missing old pointer', '1: realloc 0x10 5'],
    ['a field too many', '1: free 0x10 1 2 3'],
    ['a thread beyond 32 bits', '99999999999: free 0x10'],
  ];
  for (const [name, line] of broken)
    test(`a line with ${name} is refused with its number`, () => {
      expect(refusal(`# first\n1: malloc 0x8 1\n${line}\n`)).toBe(
        `line 3: found "${line}"; wanted "TID: malloc PTR SIZE" or calloc, realloc, memalign, free in its place`,
      );
    });

  test('sizes of 2^47 and products that reach it are refused', () => {
    expect(refusal('1: malloc 0x10 0x800000000000')).toMatch(/^line 1: a size/);
    expect(refusal('1: calloc 0x10 0x80000000 0x80000000')).toMatch(/^line 1: a size/);
    expect(refusal('1: memalign 0x10 0x100000000 1')).toMatch(/^line 1: an alignment/);
  });

  test('a line without end is refused before it fills the memory', () => {
    expect(refusal(`1: malloc 0x10 1\n1: malloc ${'1'.repeat(2 ** 20)}`)).toMatch(/^byte 17: a line longer than 65536/);
  });

  test('is the same whatever pieces it comes in', () => {
    const lines = Array.from(
      { length: 300 },
      (_, at) => `${at % 3}: ${at % 2 ? `free ${at}` : `malloc ${at + 1} ${at * 7}`}`,
    );
    const content = strToU8(`${lines.join('\n')}\n`);
    const wanted = rowsOf(opened(content).chunks());
    expect(wanted).toHaveLength(300);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), (piece) => {
        const stream = {
          path: 'x',
          *pieces() {
            for (let at = 0; at < content.length; at += piece) yield content.subarray(at, at + piece);
          },
        };
        expect(rowsOf(text.import(stream).chunks())).toEqual(wanted);
      }),
      { numRuns: 20 },
    );
  });

  test('two million lines pass without the memory growing with them', () => {
    const block = strToU8('7: malloc 0x1000 64\n7: free 0x1000\n'.repeat(1000));
    const blocks = 1000;
    const source: ByteSource = {
      path: 'long',
      length: block.length * blocks,
      read(offset, length) {
        const bytes = new Uint8Array(length);
        for (let at = 0; at < length; ) {
          const from = (offset + at) % block.length;
          const part = block.subarray(from, from + length - at);
          bytes.set(part, at);
          at += part.length;
        }
        return bytes;
      },
    };
    const tally = new Tally();
    for (const chunk of importing(source).chunks()) tally.add(chunk);
    expect(tally.statistics()).toMatchObject({ events: 2_000_000, objects: 1, peak_live_bytes: 64 });
  });
});

describe('zip', () => {
  const lines = '1: malloc 0x10 1\n1: free 0x10\n'.repeat(20_000);

  test('an archive of one text gives what the text gives, deflated or stored', () => {
    for (const level of [0, 6] as const) {
      const trace = opened(zipSync({ 'a.txt': strToU8(lines) }, { level }));
      expect(trace.statistics).toMatchObject({ events: 40_000, frees: 20_000, peak_live_bytes: 1 });
      expect(trace.origin.format).toBe('text');
    }
  });

  test('an archive of none or of two is refused', () => {
    expect(refusal(zipSync({ 'a.txt': strToU8(lines), 'b.txt': strToU8(lines) }))).toMatch(/2 files; wanted one/);
    expect(refusal(zipSync({ 'a/': new Uint8Array(0) }))).toMatch(/0 files; wanted one/);
  });

  test('an archive cut anywhere, or with any byte changed that matters, is refused', () => {
    const whole = zipSync({ 'a.txt': strToU8(lines.slice(0, 2000)) });
    for (let length = 4; length < whole.length; length += 1) refusal(whole.slice(0, length));
    for (let at = 40; at < whole.length - 90; at += 1) {
      const changed = whole.slice();
      changed[at] ^= 255;
      refusal(changed);
    }
  });

  test('an archive whose text was changed, though every line is still one, is refused by its checksum', () => {
    const whole = zipSync({ 'a.txt': strToU8('1: malloc 0x10 1000\n') }, { level: 0 });
    // Behind the 30 bytes of its header and its name: the first digit of the size.
    whole[30 + 'a.txt'.length + '1: malloc 0x10 '.length] = '9'.charCodeAt(0);
    expect(refusal(whole)).toMatch(/a\.txt does not match the size and checksum in its zip directory/);
  });

  test('a bomb is refused while it goes off, not after it filled the memory', () => {
    const bomb = zipSync({ 'a.txt': new Uint8Array(200 * 2 ** 20).fill(49) }, { level: 9 });
    expect(bomb.length).toBeLessThan(2 ** 20);
    const before = process.memoryUsage().rss;
    expect(refusal(bomb, 'text')).toMatch(/a line longer than/);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 2 ** 20);
  });

  test('a bomb that lies about its size is refused where it grows beyond', () => {
    const bomb = zipSync({ 'a.txt': strToU8('#\n'.repeat(2 ** 20)) }, { level: 9 });
    const view = new DataView(bomb.buffer, bomb.byteOffset, bomb.length);
    for (let at = 0; at + 4 < bomb.length; at += 1)
      if (view.getUint32(at, true) === 0x02014b50) view.setUint32(at + 24, 100, true);
    expect(refusal(bomb, 'text')).toMatch(/more than the 100 bytes its directory names/);
  });
});

describe('recognising', () => {
  test('every importer knows its own files and no other, by content alone', () => {
    expect(opened('Free(0),\nAlloc(1),\n').origin.format).toBe('wee_alloc');
    expect(opened('# my trace\n\n  9: malloc 0x10 5\n').origin.format).toBe('text');
    expect(refusal('#!/bin/sh\necho hello\n')).toMatch(/^line 2: found "echo hello"/);
    expect(refusal('{"json": true}')).toMatch(
      /^byte 0: found .*; wanted a \.hak file, or a trace as docs\/FORMATS\.md has it: wee_alloc, /,
    );
    expect(refusal(new Uint8Array(1000))).toMatch(/^byte 0: found/);
  });

  test('a format that is named is taken at its word', () => {
    expect(refusal('Alloc(1),\n', 'text')).toMatch(/^line 1: found "Alloc\(1\),"/);
    expect(refusal('1: malloc 0x10 1\n', 'hak')).toMatch(/not a \.hak file|at least 64/);
  });

  test('a text of comments alone is no trace', () => {
    expect(refusal('# nothing\n')).toMatch(/no allocation and no free in it/);
    expect(refusal('1: thread_done 0x0\n')).toMatch(/no allocation and no free in it/);
  });
});

describe('names of blocks', () => {
  test('are kept as a Map keeps them, through any adding and removing', () => {
    const name = fc.oneof(
      fc.nat(50),
      fc.nat(50).map((at) => 2 ** 46 + at * 4096),
      fc.nat(5).map((at) => BigInt(at)),
      fc.nat(5).map((at) => `${at}`),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), name), { maxLength: 3000, size: 'max' }), (steps) => {
        const names = new Names();
        const wanted = new Map<number | bigint | string, number>();
        for (const [at, [adds, key]] of steps.entries()) {
          expect(names.get(key)).toBe(wanted.get(key) ?? -1);
          if (!adds) {
            expect(names.remove(key)).toBe(wanted.get(key) ?? -1);
            wanted.delete(key);
          } else if (!wanted.has(key)) {
            names.add(key, at);
            wanted.set(key, at);
          }
        }
      }),
      { numRuns: 30 },
    );
  });
});
