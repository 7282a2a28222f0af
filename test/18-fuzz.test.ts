/**
 * Bytes that no tool wrote: whatever a reader is given, it reads it or refuses it in one line.
 *
 * The suite takes the same few cases each time. `HAKMEM_FUZZ_SECONDS=600 npm run fuzz` takes others for as long, and
 * prints how many; a failure prints the smallest input that it found.
 */
import fc from 'fast-check';
import { gzipSync, strToU8, zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { type ByteSource, HakTrace, HakWriter } from '../traces/hak.ts';
import { importing } from '../traces/importers.ts';
import { Tally } from '../traces/tally.ts';
import { TraceError } from '../traces/trace.ts';
import { fileOf, MemorySink, seal, smallRows } from './memory-file.ts';
import { alk, bytehound_kind, whole_files, words } from './small-traces.ts';

const seconds = Number(process.env.HAKMEM_FUZZ_SECONDS ?? 0);
const is_long = seconds > 0;
const largest_bytes = 300_000;

/** As a file on a disk is: what was read before is overwritten, and there is nothing behind the end. */
class StrictSource implements ByteSource {
  readonly path = 'file';
  readonly length: number;
  private readonly bytes: Uint8Array;
  private lent = new Uint8Array(0);
  private reads = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.length = bytes.length;
  }

  read(offset: number, length: number): Uint8Array {
    this.lent.fill(0xa5);
    this.reads += 1;
    if (this.reads > 1000 + 100 * this.length) throw new Error(`${this.reads} reads of ${this.length} bytes`);
    if (!(offset >= 0 && length >= 0)) throw new Error(`${length} bytes at ${offset}`);
    if (offset + length > this.length) throw new TraceError(this.path, '', 'the file ends');
    this.lent = this.bytes.slice(offset, offset + length);
    return this.lent;
  }
}

/** What is done to the bytes. Numbers are taken modulo what there is, so every change fits every file. */
interface Change {
  readonly kind: 'flip' | 'put' | 'lose' | 'cut' | 'repeat' | 'join' | 'number' | 'nest';
  readonly at: number;
  readonly length: number;
  readonly times: number;
  readonly bytes: Uint8Array;
  readonly number: bigint;
  readonly other: number;
}

const hostile_numbers = [
  ...[0n, 1n, 2n, 3n, 255n, 65535n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 40n],
  ...[2n ** 47n - 1n, 2n ** 47n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n, 10n ** 400n, 16n ** 300n],
];

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom('flip', 'put', 'lose', 'cut', 'repeat', 'join', 'number', 'number', 'nest'),
  at: fc.nat(),
  length: fc.oneof(fc.nat(3), fc.nat(100)),
  times: fc.oneof(fc.nat(5), fc.nat(5), fc.nat(3000)),
  bytes: fc.oneof(
    fc.uint8Array({ maxLength: 8 }),
    fc.constantFrom(...[' ', '\n', '\0', '\r'].map((text) => strToU8(text))),
  ),
  number: fc.constantFrom(...hostile_numbers),
  other: fc.nat(),
});

/** Only what leaves every byte behind at its place: what the frames and the index say still holds. */
const change_in_place = change.map((any) => ({ ...any, kind: any.kind === 'number' ? any.kind : ('flip' as const) }));

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts)).subarray(0, largest_bytes);
}

function changed(bytes: Uint8Array, { kind, at: anywhere, length, times, ...more }: Change): Uint8Array {
  const at = anywhere % (bytes.length + 1);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (kind) {
    case 'flip': {
      const flipped = bytes.slice();
      if (at < flipped.length) flipped[at] ^= 1 << (length % 8);
      return flipped;
    }
    case 'put':
      return joined(before, repeated(more.bytes, times), after);
    case 'lose':
      return joined(before, after.subarray(length));
    case 'cut':
      return before;
    case 'repeat':
      return joined(before, repeated(after.subarray(0, length), times), after);
    case 'join': {
      const other = others[more.other % others.length];
      return joined(before, other.subarray(more.other % other.length));
    }
    case 'number':
      return withNumber(bytes, at, length, more.number);
    case 'nest':
      return joined(before, repeated(strToU8(['[', '{"a":', '('][length % 3]), times), after);
  }
}

function repeated(bytes: Uint8Array, times: number): Uint8Array {
  const fitting = Math.min(times, Math.ceil(largest_bytes / Math.max(1, bytes.length)));
  return joined(...Array.from({ length: fitting }, () => bytes));
}

/** In place of the digits from `at` on; where there are none, over the next 1, 2, 4 or 8 bytes. */
function withNumber(bytes: Uint8Array, at: number, length: number, number: bigint): Uint8Array {
  const isDigit = (byte: number): boolean => byte >= 48 && byte <= 57;
  const from = bytes.subarray(at).findIndex(isDigit);
  const is_text = bytes.every((byte) => byte < 127);
  if (is_text && from >= 0) {
    let end = at + from;
    while (isDigit(bytes[end])) end += 1;
    const digits = number.toString(length % 2 === 0 ? 10 : 16);
    return joined(bytes.subarray(0, at + from), strToU8(digits), bytes.subarray(end));
  }
  const changed = bytes.slice();
  for (let byte = 0; byte < 2 ** (length % 4) && at + byte < changed.length; byte += 1)
    changed[at + byte] = Number((number >> BigInt(byte * 8)) & 255n);
  return changed;
}

const packers: readonly ((bytes: Uint8Array) => Uint8Array)[] = [
  (bytes) => bytes,
  (bytes) => bytes,
  (bytes) => gzipSync(bytes, { level: 1 }),
  (bytes) => zipSync({ 'a\nfile': bytes }, { level: 1 }),
];

const hak_file = fileOf(smallRows(), 9);
const others = [...Object.values(whole_files), hak_file];

/** Reads all of an import and writes it: what was read is a legal trace, or was refused. */
function readForeign(bytes: Uint8Array, format: string | undefined): void {
  const foreign = importing(new StrictSource(bytes), format);
  const sink = new MemorySink();
  const writer = new HakWriter('file', sink, foreign.columns);
  try {
    for (const chunk of foreign.chunks()) writer.add(chunk);
  } catch (error) {
    // The writer's refusals say "event": they are of what the importer should have refused.
    if (error instanceof TraceError && error.message.startsWith('file: event')) throw new Error(error.message);
    throw error;
  }
  writer.finish(foreign.origin());
  for (const chunk of new HakTrace(new StrictSource(sink.bytes)).chunks()) expect(chunk.length).toBeGreaterThan(0);
}

function readHak(bytes: Uint8Array): void {
  const hak = new HakTrace(new StrictSource(bytes));
  const tally = new Tally();
  for (const chunk of hak.chunks()) tally.add(chunk);
  hak.verify(tally.statistics());
}

function isReadOrRefused(read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof TraceError)) throw error;
    expect(error.message).toMatch(/^file: [^\p{Cc}\u2028\u2029]{0,600}$/u);
  }
}

let runs = 0;
function holds(
  cases: fc.Arbitrary<[Uint8Array, string | undefined]>,
  read: (...of: [Uint8Array, string | undefined]) => void,
  share: number,
) {
  runs = 0;
  const property = fc.property(cases, ([bytes, format]) => {
    runs += 1;
    isReadOrRefused(() => read(bytes, format));
  });
  fc.assert(
    property,
    is_long
      ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 * share, markInterruptAsFailure: false }
      : { numRuns: 500, seed: 18 },
  );
  if (is_long) console.log(`${runs} inputs`);
}

const formats = Object.keys(whole_files);
const share = 1 / (formats.length + 2);
const time_limit_ms = 240_000 + seconds * 1000;
const changes = fc.array(change, { minLength: 1, maxLength: 4 });

describe('what is not what it was', () => {
  test.each(formats)(
    '%s: bytes changed, lost, repeated, joined, numbers beyond everything',
    (name) => {
      const cases = fc
        .tuple(changes, fc.constantFrom(...packers), changes, fc.integer({ min: 0, max: 3 }), fc.boolean())
        .map(([inside, pack, outside, packed_too, by_name]): [Uint8Array, string | undefined] => {
          const packed = pack(inside.reduce(changed, whole_files[name]));
          return [
            packed_too === 0 ? outside.reduce(changed, packed) : packed,
            by_name ? name.split(/[ ,]/)[0] : undefined,
          ];
        });
      holds(cases, readForeign, share);
    },
    time_limit_ms,
  );

  test(
    '.hak: bytes changed, lost, repeated, joined',
    () => {
      holds(
        changes.map((all) => [all.reduce(changed, hak_file), undefined]),
        readHak,
        share,
      );
    },
    time_limit_ms,
  );

  test(
    '.hak: the same behind checksums that match',
    () => {
      const in_place = fc.array(change_in_place, { minLength: 1, maxLength: 3 });
      const cases = fc.oneof(
        in_place.map((all) => seal(all.reduce(changed, hak_file))),
        changes.map((all) => sealedHeader(all)),
      );
      holds(
        cases.map((bytes) => [bytes, undefined]),
        readHak,
        share,
      );
    },
    time_limit_ms,
  );
});

/** The JSON at the end changed, whatever its length then is. */
function sealedHeader(all: readonly Change[]): Uint8Array {
  const view = new DataView(hak_file.buffer, hak_file.byteOffset);
  const json_at = Number(view.getBigUint64(40, true)) + 32 * view.getUint32(32, true);
  const file = joined(hak_file.subarray(0, json_at), all.reduce(changed, hak_file.subarray(json_at)));
  new DataView(file.buffer).setUint32(36, file.length - Number(view.getBigUint64(40, true)), true);
  return seal(file);
}

describe('what was once taken in, or brought the reader down', () => {
  const heaptrack_news = (count: number): string => {
    const traces = Array.from({ length: count }, (_, at) => `t 1 ${at.toString(16)}`);
    const kinds = Array.from({ length: count }, (_, at) => `a 8 ${(at + 1).toString(16)}`);
    return ['v 10400 3', 's 1 m', 's c operator new', 'i 5 1 2', ...traces, ...kinds, ''].join('\n');
  };
  const damaged_zip = zipSync({ 'a\nb': strToU8('Alloc(Q),') }, { level: 0 });
  damaged_zip[damaged_zip.indexOf(81)] = 56;
  const far_time = 2n ** 63n;
  const { alloc } = bytehound_kind;
  const cases: readonly (readonly [string, string, string | Uint8Array, RegExp | undefined])[] = [
    ['a hundred blank lines before what is no trace', '', `${'\n'.repeat(100)}x`, /byte 0: found/],
    [
      'a size of no items, each of more bytes than a number holds',
      'text',
      `1: calloc 0x10 0 1${'0'.repeat(400)}\n`,
      /line 1: a size of NaN/,
    ],
    [
      'a time in hexadecimal, later than a number holds',
      'text',
      `1: free 0x10 0x${'f'.repeat(300)} 1\n`,
      /line 1: a time/,
    ],
    [
      'a time too far from the first',
      'alk',
      words(alk(7, 0), 0, 0, alk(0, 1), 8, 0, alk(7, 0), far_time, 0),
      /byte 48: a time/,
    ],
    [
      'a time too far from the first',
      'bytehound',
      words(9, alloc, 0, 0, 8, alloc, 1, far_time, 8, 0),
      /byte 40: a time/,
    ],
    ['pages of 4097 bytes', 'heaptrack', 'v 10400 3\nI 1001 5\n', /line 2: found "I 1001 5"/],
    ['a tower of a hundred thousand frames of operator new', 'heaptrack', heaptrack_news(100_000), undefined],
    ['a site of which there cannot be so many', 'scenario', 'alloc A 1 site 4294967295\n', /line 1: site 4294967295/],
    [
      'two threads in one place, which would have a call of each byte',
      'wl',
      Uint8Array.of(8, 0, 9, 0, 10, 2, 11, 11, 11, 11, 1, 1),
      /byte 0: two threads/,
    ],
    [
      'a thread that goes on in the next',
      'wl',
      Uint8Array.of(8, 0, 9, 0, 10, 2, 11, 11, 11, 12, 1, 0, 1),
      /byte 12: another thread begins in the middle of thread 0/,
    ],
    ['a site below none', 'scenario', 'alloc A 1 site 5B-10\n', /line 1: found "site 5B-10"/],
    ['an alignment of nothing', 'scenario', 'alloc A 1 align 0\n', /line 1: an alignment of 0/],
    [
      'more touched pages than the block has',
      'scenario',
      'alloc A 1 touched 3\n',
      /line 1: 3 touched pages in 1 bytes/,
    ],
    [
      'a line of blanks that no arrow follows',
      'scenario',
      `alloc A 1\n${` x${' '.repeat(60_000)}y\n`.repeat(20)}`,
      undefined,
    ],
    ['a long word in a message', 'scenario', `alloc A ${'x'.repeat(9000)}\n`, /line 1: found "x{60}\.\.\."/],
    ['a zipped file whose name has two lines', '', damaged_zip, /a\\u000ab does not match/],
  ];
  test.each(cases)('%s (%s)', (_, format, content, refusal) => {
    const bytes = typeof content === 'string' ? strToU8(content) : content;
    const read = (): void => readForeign(bytes, format === '' ? undefined : format);
    if (refusal === undefined) read();
    else expect(read).toThrow(refusal);
    isReadOrRefused(read);
  });

  test('a header whose JSON is broken where a line ends', () => {
    const json_at = new TextDecoder('latin1').decode(hak_file).indexOf('{"schema"');
    const file = hak_file.slice();
    file[json_at + 1] = 10;
    file[json_at + 2] = 10;
    expect(() => readHak(seal(file))).toThrow(/not the JSON of a trace: /);
    isReadOrRefused(() => readHak(seal(file)));
  });
});
