/**
 * Files that ask for more memory than there is: whatever they claim and however they are packed, reading one takes a
 * few times its size at most. Each is read by a process of its own, which tells its peak.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { forge } from './memory-file.ts';
import { alk, bytehound_kind } from './small-traces.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-memory-'));
const built = (name: string): string => JSON.stringify(new URL(`../dist/traces/${name}.js`, import.meta.url).href);
const mib = 2 ** 20;
/** Two chunks of columns, the largest window of zstd, and what a piece of 16 KiB may inflate to. */
const fixed_bytes = 2 * 37 * mib + 128 * mib + 16 * mib;
const times_input = 10;

/** Reads the file that it is given to its end, and says how that went and what memory it took. */
const reader = `
import { readFileSync } from 'node:fs';
import { importing } from ${built('importers')};
import { FileSource } from ${built('file')};
import { HakTrace } from ${built('hak')};
const [path, format] = process.argv.slice(1);
let end = '';
let events = 0;
try {
  const source = new FileSource(path);
  const trace = format === 'hak' ? new HakTrace(source) : importing(source, format === '' ? undefined : format);
  for (const chunk of trace.chunks()) events += chunk.length;
} catch (error) {
  end = error.name + ': ' + error.message;
}
// Not maxRSS, which begins with what the process had that started this one.
const peak_kib = /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1];
console.log(JSON.stringify({ end, events, peak_bytes: peak_kib * 1024 }));
`;

interface Reading {
  readonly end: string;
  readonly events: number;
  readonly peak_bytes: number;
}

let idle_bytes = 0;

function readingOf(content: string | Uint8Array, format: string): Reading {
  const path = join(folder, 'file');
  writeFileSync(path, content);
  const args = ['--input-type=module', '-e', reader, path, format];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr.slice(-1000));
  return JSON.parse(stdout);
}

beforeAll(() => {
  idle_bytes = readingOf('1: free 1\n', 'text').peak_bytes;
});
afterAll(() => rmSync(folder, { recursive: true }));

const input_bytes = 2 * mib;

/** Lines until there are two MiB of them. */
function lines(line: (index: number) => string, first = ''): string {
  const all = [first];
  for (let bytes = first.length, index = 0; bytes < input_bytes; index += 1) {
    all.push(line(index));
    bytes += all[index + 1].length;
  }
  return all.join('');
}

/** As many records as there is room for, after the words of `first`. */
function records(
  word_count: number,
  record: (index: number) => readonly (number | bigint)[],
  first: readonly number[] = [],
): Uint8Array {
  const all = new BigUint64Array(input_bytes / 8);
  all.set(first.map(BigInt));
  for (let index = 0; first.length + (index + 1) * word_count <= all.length; index += 1)
    all.set(record(index).map(BigInt), first.length + index * word_count);
  return new Uint8Array(all.buffer);
}

/** A frame of zstd whose blocks are each one byte again and again, in four bytes (RFC 8878, 3.1.1). */
function zstdRuns(window_bits: number, times: number, runs: readonly (readonly [string, number])[]): Uint8Array {
  const blocks = Array.from({ length: times }, (_, round) =>
    runs.flatMap(([letter, bytes], at) => {
      const is_last = round + 1 === times && at + 1 === runs.length;
      const header = (bytes << 3) | (1 << 1) | (is_last ? 1 : 0);
      return [header & 255, (header >> 8) & 255, header >> 16, letter.charCodeAt(0)];
    }),
  );
  return Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0, (window_bits - 10) << 3, ...blocks.flat()]);
}

const { alloc, down } = bytehound_kind;
const hex = (value: number): string => value.toString(16);
const comment = gzipSync(`# ${'x'.repeat(60_000)}\n`.repeat(64));
const nested = (header: { origin: Record<string, unknown> }): unknown => ({
  ...header,
  origin: { ...header.origin, notes: ['['.repeat(input_bytes)] },
});

/** Seconds each: only where fuzzing is asked for. */
const slow = { comments: '400 MiB of comments in gzip', names: 'names by the thousand from every line' };

/** What, its format, the file, and how its reading ends where it is refused. */
const hostile: readonly (readonly [string, string, () => string | Uint8Array, RegExp | undefined])[] = [
  ['a header that claims 2^40 events', 'hak', () => forge({ claimed_events: 2 ** 40 }), /cannot fit/],
  ['a header of 2 MiB of text', 'hak', () => forge({ json: nested }), undefined],
  [
    'a chunk that claims an event for each of its bytes',
    'hak',
    () => forge({ events: mib, objects: mib, payload: Array(4 * mib).fill(0) }),
    /./,
  ],
  [
    'a thread for each line, up to 2^32',
    'text',
    () => lines((at) => `${2 ** 32 - 1 - at}: malloc 0x10 1\n`),
    undefined,
  ],
  [
    'addresses up to 2^53 that stay live',
    'text',
    () => lines((at) => `1: malloc ${2 ** 53 - 1 - at * 4096} 1\n`),
    undefined,
  ],
  [
    'addresses beyond 2^53 that stay live',
    'text',
    () => lines((at) => `1: malloc 0xffffffffff${hex(2 ** 20 + at)} 1\n`),
    undefined,
  ],
  ['numbers of 60,000 digits', 'text', () => lines((at) => `1: malloc ${at + 1}${'0'.repeat(60_000)} 1\n`), undefined],
  ['a line that does not end', 'text', () => `1: malloc ${'1'.repeat(input_bytes)}`, /a line longer than 65536/],
  ['blocks that stay live', 'wee_alloc', () => lines(() => 'Alloc(1)\n'), undefined],
  ['ids of every size', 'rep', () => lines((at) => `a ${at * 99_991} 1\n`, '1\n1\n9999999\n1\n'), undefined],
  ['blocks that stay live', 'valgrind', () => lines((at) => `--1-- malloc(1) = 0x${hex(at * 4096 + 1)}\n`), undefined],
  ['a thread and a block for each line', 'logalloc', () => lines((at) => `1 ${at} malloc(1)=#${at + 1}\n`), undefined],
  [
    'a call site for each line',
    'mtrace',
    () => lines((at) => `@ a:[0x${hex(at)}] + 0x${hex(at + 16)} 0x1\n`, '= Start\n'),
    undefined,
  ],
  [
    'a stack for each line',
    'heaptrack',
    () => lines((at) => `t ${hex(at)} ${hex(at)}\n`, 'v 10400 3\nx 1 a\n'),
    undefined,
  ],
  [
    'a name for each line',
    'heaptrack',
    () => lines((at) => `s 6 ${String(at).padStart(6)}\n`, 'v 10400 3\n'),
    undefined,
  ],
  [
    'pieces of modules',
    'heaptrack',
    () => lines((at) => `m 1 a ${hex(at)} 0 1\n`, 'v 10400 3\n'),
    /more than 16384 pieces/,
  ],
  ['registers of every size', 'alk', () => records(3, (at) => [alk(0, 2 ** 45 + at * 4096), 8, 0]), undefined],
  [
    'a frame deeper for each event',
    'bytehound',
    () => records(8, (at) => [down, at, 0, 0, alloc, at, 0, 8], [mib]).subarray(0, input_bytes - 56),
    undefined,
  ],
  [
    slow.names,
    'scenario',
    () =>
      lines(
        (at) =>
          `alloc ${'x'.repeat(1 + (at % 50))}y${'_'.repeat(at / 50)}0..${'x'.repeat(1 + (at % 50))}y${'_'.repeat(at / 50)}9999 1\n`,
      ),
    /more than 1048576 names/,
  ],
  ['32 MiB of zeros in gzip', '', () => gzipSync(new Uint8Array(32 * mib)), /byte 0: found/],
  [slow.comments, 'scenario', () => Buffer.concat(Array.from({ length: 110 }, () => comment)), undefined],
  [
    '400 MiB of comments in zstd',
    'scenario',
    () =>
      zstdRuns(20, 7000, [
        ['#', 60_000],
        ['\n', 1],
      ]),
    undefined,
  ],
  [
    '1 GiB of zeros in zstd, of the largest window that is read',
    '',
    () => zstdRuns(27, 8192, [['\0', 128 * 1024]]),
    /byte 0: found/,
  ],
];

const is_long = process.env.HAKMEM_FUZZ_SECONDS !== undefined;

test.each(hostile.filter(([title]) => is_long || !Object.values(slow).includes(title)))(
  '%s (%s)',
  (_title, format, content, refusal) => {
    const file = content();
    const { end, peak_bytes } = readingOf(file, format);
    if (refusal === undefined) expect(end).toBe('');
    else expect(end.slice(0, 500)).toMatch(/^TraceError: /);
    if (refusal !== undefined) expect(end).toMatch(refusal);
    expect(peak_bytes - idle_bytes).toBeLessThan(times_input * file.length + fixed_bytes);
  },
);
