/** The traces that the mutation tests replay, written to a folder; and files that no reader may accept, or read wrongly. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import seedrandom from 'seedrandom';
import { mix32 } from '../../sim/decide/digest.ts';
import { boundaries_bytes } from '../../sim/spec.ts';
import { ByteReader, ByteWriter } from '../../traces/bytes.ts';
import { crc32 } from '../../traces/crc32.ts';
import { layout } from '../../traces/hak-chunk.ts';
import {
  type Chunk,
  type Columns,
  limits,
  op,
  originOf,
  SyntheticTrace,
  TraceBuilder,
  writeHak,
} from '../../traces/index.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const page_bytes = 4 * KiB;

/** Writes scenario `name` to `folder` and returns its path. */
export function writeScenario(folder: string, name: string, events: number, seed: number): string {
  const trace = new SyntheticTrace(name, { seed, events, boundaries_bytes });
  const path = join(folder, `${name}-${events}.hak`);
  writeHak(path, trace.chunks(), trace.columns, () => trace.origin);
  return path;
}

/** Many live objects of every small size, every page count up to 300, and touches that are known, unknown or none. */
export function writeScatter(folder: string, events: number, seed: number): string {
  const random = seedrandom.alea(`scatter/${seed}`);
  const choose = (of: number): number => Math.floor(random() * of);
  const builder = new TraceBuilder(1024);
  const live: number[] = [];
  let next = 0;
  const detailsOf = (size_bytes: number) => ({
    thread: choose(70),
    site: choose(200),
    align: 2 ** choose(24),
    touched_pages: choose(3) === 0 ? limits.unknown : choose(Math.ceil(size_bytes / page_bytes) + 2),
  });
  const sizeOf = (): number => {
    const pages = choose(300);
    const kind = choose(8);
    if (kind < 4) return choose(65);
    if (kind < 6) return Math.max(0, pages * page_bytes + choose(3) - 1);
    return kind === 6 ? choose(64 * KiB) : Math.floor((pages * page_bytes) / 8) * 2;
  };
  while (builder.events < events) {
    const kind = choose(10);
    // First many live blocks, then few, then many again: whatever grows is filled, emptied and filled.
    const crowded = live.length > (Math.floor(builder.events / 4096) % 2 === 0 ? 2600 : 150);
    if (live.length > 0 && (crowded || kind < 3)) {
      const [name] = live.splice(choose(live.length), 1);
      builder.free(name, { thread: choose(3) });
    } else if (live.length > 0 && kind === 3) {
      const name = live[choose(live.length)];
      const size_bytes = Math.max(1, sizeOf());
      builder.reallocate(name, name, size_bytes, detailsOf(size_bytes));
    } else {
      const size_bytes = sizeOf();
      builder.allocate([op.malloc, op.calloc, op.aligned][choose(3)], next, size_bytes, detailsOf(size_bytes));
      live.push(next);
      next += 1;
    }
  }
  const path = join(folder, `scatter-${events}.hak`);
  const chunks = [...builder.drain(), ...builder.finish()];
  // A realloc to nothing: the builder makes it a free, a file may hold it.
  for (const chunk of chunks) {
    const row = chunk.op.subarray(0, chunk.length).indexOf(op.realloc);
    if (row < 0) continue;
    chunk.size_bytes[row] = 0;
    chunk.touched_pages[row] = limits.unknown;
  }
  return write(path, chunks, { time: true, sites: true, touch: true }, 200);
}

/** Sizes from 2 GiB on, whose upper half is digested too, of which few pages are touched. */
export function writeGiant(folder: string): string {
  const builder = new TraceBuilder(256);
  const sizes = [2 * GiB - 1, 2 * GiB, 2 * GiB + 1, 4 * GiB + 12345, 64 * GiB, 513 * GiB, 1023 * GiB, 2 * GiB];
  for (const [name, size_bytes] of sizes.entries()) {
    builder.allocate(op.malloc, name, size_bytes, { touched_pages: name * 300 });
    // A copy touches what it copies: only some are moved.
    if (size_bytes < 3 * GiB) builder.reallocate(name, name, size_bytes + 5 * GiB, { touched_pages: 3 });
    if (name === 0) builder.reallocate(name, name, 100, { touched_pages: 1 });
    builder.free(name);
  }
  const path = join(folder, 'giant.hak');
  return write(path, [...builder.drain(), ...builder.finish()], { time: true, sites: false, touch: true }, 1);
}

/**
 * Few sizes at a time, others in each regime: what learning settles on in one is wrong in the next. Blocks are realigned,
 * reallocated in place, moved and moved across every threshold; sites are more than either table of slots has.
 */
export function writeRegimes(folder: string, events: number, regimes: number, seed: number): string {
  const random = seedrandom.alea(`regimes/${regimes}/${seed}`);
  const choose = (of: number): number => Math.floor(random() * of);
  const near = boundaries_bytes.filter((bytes) => bytes >= 64 * KiB && bytes <= 40 * MiB);
  const familiar = Array.from({ length: regimes }, (_, regime) => ({
    // Every other regime has one large size and many small ones, else a few that lie about the thresholds.
    sizes: Array.from({ length: 1 + ((regime * 2) % 5) }, () => near[choose(near.length)] + choose(3) - 1),
    touched_permille: [0, 1000, 300, 60][regime % 4],
    small_permille: [150, 600, 20][regime % 3],
    live: [12, 3, 40][regime % 3],
  }));
  const builder = new TraceBuilder(512);
  const live: { name: number; bytes: number }[] = [];
  for (let name = 0; builder.events < events; name += 1) {
    const {
      sizes,
      touched_permille,
      small_permille,
      live: live_max,
    } = familiar[Math.min(regimes - 1, Math.floor((builder.events * regimes) / events))];
    const small = choose(1000) < small_permille;
    const bytes = small ? choose(80) * KiB : sizes[choose(sizes.length)];
    const site = choose(90) + (choose(5) === 0 ? 70_000 : 0);
    const detailsOf = (size_bytes: number) => {
      const pages = Math.ceil(size_bytes / page_bytes);
      const known = Math.min(pages, Math.floor((pages * touched_permille) / 1000) + choose(3));
      return { site, touched_pages: choose(4) === 0 ? limits.unknown : known };
    };
    const kind = choose(100);
    const at = choose(live.length);
    if (live.length > 0 && kind < 14) {
      // Half of them to a size near their own: in place where the block is mapped and filled well enough.
      const own = Math.floor((live[at].bytes * (60 + choose(60))) / 100);
      const now = Math.max(1, choose(2) === 0 ? own : bytes);
      builder.reallocate(live[at].name, live[at].name, now, detailsOf(now));
      live[at].bytes = now;
      continue;
    }
    while (live.length > live_max) builder.free(live.splice(choose(live.length), 1)[0].name);
    if (live.length > 0 && kind < 34) {
      builder.free(live.splice(choose(live.length), 1)[0].name);
      continue;
    }
    const align = [16, 64, 4 * KiB, 8 * KiB, 64 * KiB, 2 * MiB, 4 * MiB][choose(7)];
    builder.allocate([op.malloc, op.malloc, op.calloc, op.aligned][choose(4)], name, bytes, {
      ...detailsOf(bytes),
      align,
    });
    live.push({ name, bytes });
  }
  const path = join(folder, `regimes-${events}-${regimes}-${seed}.hak`);
  return write(path, [...builder.drain(), ...builder.finish()], { time: false, sites: true, touch: true }, 70_090);
}

/**
 * One or two sizes for hundreds of blocks on end, then others: both signatures have samples enough for every class in use,
 * so that drift is seen, and seen again while something is on trial.
 */
export function writeShifts(folder: string, events: number, shifts: number, seed: number): string {
  const random = seedrandom.alea(`shifts/${shifts}/${seed}`);
  const choose = (of: number): number => Math.floor(random() * of);
  const builder = new TraceBuilder(512);
  const live: number[] = [];
  let sizes = [1 * MiB];
  let live_max = 4;
  let touched_pages = 1;
  let shift = -1;
  for (let name = 0; builder.events < events; name += 1) {
    const now = Math.floor((builder.events * shifts) / events);
    if (now !== shift) {
      shift = now;
      sizes = Array.from({ length: 1 + choose(2) }, () => (128 + choose(9) ** 2 * 100) * 4 * KiB);
      live_max = [1, 4, 16][choose(3)];
      touched_pages = [1, 20, 100][choose(3)];
    }
    while (live.length >= live_max) builder.free(live.splice(choose(live.length), 1)[0]);
    builder.allocate(op.malloc, name, sizes[choose(sizes.length)] + choose(9), { site: choose(5), touched_pages });
    live.push(name);
  }
  const path = join(folder, `shifts-${events}-${shifts}-${seed}.hak`);
  return write(path, [...builder.drain(), ...builder.finish()], { time: false, sites: true, touch: true }, 5);
}

/** Two sizes throughout, of which now few and now many are touched all over: what was frozen becomes slow, and no size drifts. */
export function writeSlower(folder: string, events: number, seed: number): string {
  const random = seedrandom.alea(`slower/${seed}`);
  const choose = (of: number): number => Math.floor(random() * of);
  const builder = new TraceBuilder(512);
  const live: number[] = [];
  for (let name = 0; builder.events < events; name += 1) {
    const slow_permille = [10, 300, 40, 700, 20, 150][Math.floor((builder.events * 6) / events)];
    const touched_pages = choose(1000) < slow_permille ? 60 + choose(60) : choose(3);
    while (live.length > 3) builder.free(live.splice(choose(live.length), 1)[0]);
    builder.allocate(op.malloc, name, [600 * KiB, 3 * MiB][choose(2)], { site: choose(3), touched_pages });
    live.push(name);
  }
  return write(join(folder, `slower-${seed}.hak`), builder.finish(), { time: false, sites: true, touch: true }, 3);
}

/** Blocks around every class of BigCache, from more call sites than it has slots. */
export function writeSites(folder: string, events: number, seed: number): string {
  const random = seedrandom.alea(`sites/${seed}`);
  const choose = (of: number): number => Math.floor(random() * of);
  const builder = new TraceBuilder();
  const live: number[] = [];
  for (let name = 0; builder.events < events; name += 1) {
    if (live.length > 24) builder.free(live.splice(choose(live.length), 1)[0]);
    const size_bytes = [600 * KiB, 1 * MiB, 3 * MiB, 5 * MiB, 9 * MiB, 15 * MiB][choose(6)];
    // Some sites have numbers beyond 16 bits, as a large program's have.
    builder.allocate(op.malloc, name, size_bytes, { site: choose(200) + (choose(3) === 0 ? 65_500 : 0) });
    live.push(name);
  }
  return write(join(folder, 'sites.hak'), builder.finish(), { time: false, sites: true, touch: false }, 65_700);
}

/** Blocks of many page counts that are all free at once, then wanted again; some counts share a place in a table of 256. */
export function writeCounts(folder: string): string {
  const builder = new TraceBuilder();
  const counts = Array.from({ length: 4000 }, (_, at) => at + 1).filter(
    (count) => count <= 150 || mix32(count) % 256 === 0,
  );
  for (let turn = 0; turn < 2; turn += 1) {
    // The last of a table first, so that they are in it before it grows.
    for (const count of counts.toReversed()) builder.allocate(op.malloc, count, count * page_bytes);
    for (const count of counts.toReversed()) builder.free(count);
  }
  return write(join(folder, 'counts.hak'), builder.finish(), { time: false, sites: false, touch: false }, 1);
}

/** 5,000 pages that are kept, until one free of all that may be kept drives them out together. */
export function writeCrowd(folder: string): string {
  const builder = new TraceBuilder();
  for (let name = 0; name < 5000; name += 1) builder.allocate(op.malloc, name, page_bytes);
  for (let name = 0; name < 5000; name += 1) builder.free(name);
  builder.allocate(op.malloc, 5000, 64 * MiB);
  builder.free(5000);
  for (let name = 0; name < 2500; name += 1) builder.allocate(op.malloc, name, page_bytes * (1 + (name % 3)));
  for (let name = 0; name < 2500; name += 2) builder.free(name);
  for (let name = 2500; name < 4000; name += 1) builder.allocate(op.malloc, name, page_bytes * (1 + (name % 5)));
  // Enough tiny blocks that a byte more in each is a page more of heap.
  for (let name = 10_000; name < 16_000; name += 1) builder.allocate(op.malloc, name, name % 9);
  return write(join(folder, 'crowd.hak'), builder.finish(), { time: false, sites: false, touch: false }, 1);
}

/** Thousands of tiny blocks, of which two grow late: one in slot 1,024, where tables are full at first, and the last. */
export function writeLate(folder: string): string {
  const builder = new TraceBuilder();
  for (let name = 0; name <= 5000; name += 1) builder.allocate(op.malloc, name, 8);
  for (const name of [1024, 5000]) builder.reallocate(name, name, 1 * MiB);
  for (const name of [1024, 5000]) builder.free(name);
  // What learns sees only now what it missed.
  for (let name = 6000; name < 6009; name += 1) builder.allocate(op.malloc, name, 1 * MiB);
  return write(join(folder, 'late.hak'), builder.finish(), { time: false, sites: false, touch: false }, 1);
}

/** Tiny blocks that come and go, a byte an event, in chunks of `chunk_events`. */
export function writeDense(folder: string, events: number, chunk_events: number): string {
  const builder = new TraceBuilder(chunk_events);
  for (let event = 0; event < events; event += 2) {
    builder.allocate(op.malloc, 0, 8);
    if (builder.events < events) builder.free(0);
  }
  const path = join(folder, `dense-${events}-${chunk_events}.hak`);
  return write(path, [...builder.drain(), ...builder.finish()], { time: false, sites: false, touch: false }, 1);
}

/** Two blocks, of which the second is resized: a reference by distance early in a chunk. */
function writePair(folder: string): string {
  const builder = new TraceBuilder();
  builder.allocate(op.malloc, 0, 5000);
  builder.allocate(op.malloc, 1, 5000);
  builder.reallocate(1, 1, 9000);
  builder.allocate(op.malloc, 2, 5000);
  return write(join(folder, 'pair.hak'), builder.finish(), { time: false, sites: false, touch: false }, 1);
}

/** A region of 4 MiB is filled to its last page, and its last page but a hole is given back. */
export function writeFull(folder: string): string {
  const builder = new TraceBuilder();
  builder.allocate(op.malloc, 0, 2 * MiB);
  builder.allocate(op.malloc, 1, 1 * MiB);
  builder.free(0);
  for (let name = 2; name < 5; name += 1) builder.allocate(op.malloc, name, 1 * MiB);
  builder.free(1);
  for (let name = 5; name < 7; name += 1) builder.allocate(op.malloc, name, 1 * MiB);
  return write(join(folder, 'full.hak'), builder.finish(), { time: false, sites: false, touch: false }, 1);
}

/** Two neighbours that were written to one after the other, and the hole between them filled again. */
export function writeNeighbours(folder: string): string {
  const builder = new TraceBuilder();
  const sizes = [100 * page_bytes, 50 * page_bytes, 100 * page_bytes];
  for (const [name, size_bytes] of sizes.entries()) builder.allocate(op.malloc, name, size_bytes, { touched_pages: 0 });
  builder.free(1);
  for (const name of [0, 2]) builder.reallocate(name, name, sizes[name], { touched_pages: 3 });
  builder.allocate(op.malloc, 1, sizes[1], { touched_pages: 0 });
  return write(join(folder, 'neighbours.hak'), builder.finish(), { time: false, sites: false, touch: true }, 1);
}

/**
 * A huge page that two blocks share, of which one goes: the rest is mapped page by page, is zeroed, written in part and
 * freed lazily. Then the same with a third block in the hole, which is freed lazily twice.
 */
export function writeFolios(folder: string): string[] {
  const pages = (count: number): number => count * page_bytes;
  const zeroed = new TraceBuilder();
  zeroed.allocate(op.malloc, 0, pages(1), { touched_pages: 0 });
  zeroed.allocate(op.malloc, 1, pages(511) - 20, { touched_pages: 100 });
  zeroed.allocate(op.malloc, 2, pages(511) - 20, { touched_pages: 0 });
  for (const name of [0, 2, 1]) zeroed.free(name);
  zeroed.allocate(op.calloc, 1, pages(511), { touched_pages: 7 });
  zeroed.free(1);
  const twice = new TraceBuilder();
  twice.allocate(op.malloc, 0, pages(200) - 20, { touched_pages: 0 });
  twice.allocate(op.malloc, 1, pages(312), { touched_pages: 50 });
  twice.allocate(op.malloc, 2, pages(150), { touched_pages: 0 });
  for (const name of [0, 2]) twice.free(name);
  for (const touched_pages of [20, 0]) {
    twice.allocate(op.malloc, 0, pages(200), { touched_pages });
    twice.free(0);
  }
  // Two such huge pages side by side: what splits the one must leave the other.
  const beside = new TraceBuilder();
  beside.allocate(op.malloc, 0, pages(1), { touched_pages: 0 });
  beside.allocate(op.malloc, 1, pages(511), { touched_pages: 100 });
  beside.allocate(op.malloc, 2, pages(511), { touched_pages: 0 });
  beside.allocate(op.malloc, 3, pages(1), { touched_pages: 1 });
  beside.allocate(op.malloc, 4, pages(511) - 20, { touched_pages: 0 });
  for (const name of [0, 3, 4, 1]) beside.free(name);
  // A huge page of zeroes, of which a part is freed lazily.
  const zeroes = new TraceBuilder();
  zeroes.allocate(op.malloc, 0, pages(1), { touched_pages: 0 });
  zeroes.allocate(op.malloc, 1, pages(511), { touched_pages: 0 });
  zeroes.reallocate(1, 1, pages(1200), { touched_pages: 0 });
  zeroes.allocate(op.malloc, 2, pages(511), { touched_pages: 5 });
  const columns = { time: false, sites: false, touch: true };
  return [
    write(join(folder, 'folio-zeroed.hak'), zeroed.finish(), columns, 1),
    write(join(folder, 'folio-twice.hak'), twice.finish(), columns, 1),
    write(join(folder, 'folio-beside.hak'), beside.finish(), columns, 1),
    write(join(folder, 'folio-zeroes.hak'), zeroes.finish(), columns, 1),
  ];
}

/** A block that begins a page behind a window's beginning, where nothing is mapped any more. */
export function writeOffset(folder: string): string {
  const builder = new TraceBuilder();
  const size_bytes = 511 * page_bytes;
  builder.allocate(op.malloc, 0, 513 * page_bytes, { touched_pages: 0 });
  builder.allocate(op.malloc, 1, size_bytes, { touched_pages: 0 });
  builder.free(0);
  builder.reallocate(1, 1, size_bytes, { touched_pages: 5 });
  return write(join(folder, 'offset.hak'), builder.finish(), { time: false, sites: false, touch: true }, 1);
}

/** A trace without events. */
export function writeEmpty(folder: string): string {
  return write(join(folder, 'empty.hak'), [], { time: false, sites: false, touch: false }, 1);
}

/** Copies to `folder` of what was recorded and lies in traces/samples, smallest first, up to `bytes_max` each. */
export function copySamples(folder: string, root: string, bytes_max: number): string[] {
  const samples = join(root, 'traces', 'samples');
  return readdirSync(samples)
    .filter((name) => name.endsWith('.hak'))
    .map((name) => ({ name, bytes: readFileSync(join(samples, name)) }))
    .filter(({ bytes }) => bytes.length <= bytes_max)
    .sort((a, b) => a.bytes.length - b.bytes.length)
    .map(({ name, bytes }) => {
      const path = join(folder, name);
      writeFileSync(path, bytes);
      return path;
    });
}

/**
 * Copies of a small file, each wrong in one place: cut short; one bit turned; a field or a byte of a chunk's content
 * changed with every checksum made right again, so that only the reader's other checks stand in its way.
 */
export function writeForgeries(folder: string, seed: number, random_count: number): string[] {
  const target = join(folder, 'forged');
  mkdirSync(target, { recursive: true });
  const random = seedrandom.alea(`forge/${seed}`);
  const choose = (of: number): number => Math.floor(random() * of);
  const paths: string[] = [];
  const put = (bytes: Uint8Array, what: string): void => {
    const path = join(target, `${String(paths.length).padStart(4, '0')}-${what}.hak`);
    writeFileSync(path, bytes);
    paths.push(path);
  };
  const whole = new Uint8Array(readFileSync(writeSmall(folder)));
  const parts = partsOf(whole);
  const { chunks, header_offset } = parts;
  const forged = (at: number, change: (byte: number) => number): Uint8Array =>
    sealed(changed(whole, at, change), parts);
  for (const length of [0, 1, 63, 64, 65, 100, header_offset, whole.length - 1]) put(whole.slice(0, length), 'cut');
  put(Uint8Array.of(...whole, 0), 'longer');
  for (const at of [
    0,
    7,
    8,
    30,
    60,
    chunks[0].offset,
    chunks[0].offset + 28,
    chunks[0].offset + 40,
    header_offset,
    header_offset + 40,
  ])
    put(
      changed(whole, at, (byte) => byte ^ 4),
      `bit-${at}`,
    );
  for (const field of [8, 12, 16, 24, 28, 32, 36, 40, 44, 52])
    for (const by of [-1, 1, 64, 150])
      put(
        forged(field, (byte) => byte + by),
        `preamble-${field}`,
      );
  for (const field of [16 + 7, 40 + 7])
    put(
      forged(field, () => 0x80),
      `preamble-${field}-negative`,
    );
  put(
    forged(32 + 3, () => 0x08),
    'many-chunks',
  );
  for (const at of [0, 1, 8, 9, 16, 32, 33, 40, 48, 64])
    for (const by of [-1, 1])
      put(
        forged(header_offset + at, (byte) => byte + by),
        `index-${at}`,
      );
  for (const field of [0, 4, 8, 16])
    for (const by of [-1, 1])
      put(
        forged(chunks[1].offset + field, (byte) => byte + by),
        `frame-${field}`,
      );
  // One chunk: nothing but its rows says how many objects there are.
  const single = new Uint8Array(readFileSync(writeSmall(folder, 4096)));
  const parts_of_single = partsOf(single);
  for (const by of [-1, -2])
    put(
      sealed(
        changed(single, 24, (byte) => byte + by),
        parts_of_single,
      ),
      'objects-of-one-chunk',
    );
  const alone = new Uint8Array(readFileSync(writeDense(folder, 1, 1)));
  put(
    sealed(
      changed(alone, 24, () => 0),
      partsOf(alone),
    ),
    'no-objects',
  );
  // A gap before the header of a file without chunks.
  const empty = new Uint8Array(readFileSync(writeEmpty(folder)));
  const gap = Uint8Array.of(...empty.subarray(0, 64), 0, ...empty.subarray(64));
  gap[40] = 65;
  put(sealed(gap, { header_offset: 65, header_bytes: 0, chunks: [] }), 'gap');
  for (const [number] of chunks.entries())
    for (const [what, streams] of streamForgeries(streamsOf(whole, parts, number), number))
      put(withStreams(whole, parts, number, streams), what);
  for (let turn = 0; turn < random_count; turn += 1) {
    const { offset, length } = chunks[choose(chunks.length)];
    const at = offset + layout.frame_bytes + choose(length);
    const value = choose(2) === 0 ? choose(256) : -1;
    const bit = 1 << choose(8);
    put(
      forged(at, (byte) => (value < 0 ? byte ^ bit : value)),
      'random',
    );
  }
  for (const path of [writeDense(folder, 40, 4096), writePair(folder)]) {
    const bytes = new Uint8Array(readFileSync(path));
    for (const [what, streams] of streamForgeries(streamsOf(bytes, partsOf(bytes), 0), 0))
      put(withStreams(bytes, partsOf(bytes), 0, streams), `other-${what}`);
  }
  return paths;
}

type Streams = readonly (readonly number[])[];
/** Events of the small file. */
const small_events = 110;
const stream_names = ['snapshot', 'ops', 'sizes', 'frees', 'aligns', 'sites', 'times', 'touched'] as const;

/** Wrong streams of one chunk, and right ones in words that no writer uses: numbers longer than they need be. */
function* streamForgeries(streams: Streams, number: number): Generator<[string, Streams]> {
  const replaced = (which: number, stream: readonly number[]): Streams =>
    streams.map((each, at) => (at === which ? stream : each));
  for (const [which, stream] of streams.entries()) {
    const name = `chunk-${number}-${stream_names[which]}`;
    yield [`${name}-longer`, replaced(which, [...stream, 0])];
    yield [`${name}-longer-by-two`, replaced(which, [...stream, 1, 1])];
    if (stream.length === 0) continue;
    yield [`${name}-shorter`, replaced(which, stream.slice(0, -1))];
    yield [`${name}-unfinished`, replaced(which, [...stream.slice(0, -1), 0x80])];
    for (const value of [0, 1, 2, 3, 5, 20, 30, 31, 127])
      yield [`${name}-starts-${value}`, replaced(which, [value, ...stream.slice(1)])];
    if (stream[0] < 128)
      for (const bytes of [2, 8, 9, 10])
        yield [`${name}-in-${bytes}-bytes`, replaced(which, [...wide(stream[0], bytes), ...stream.slice(1)])];
    for (const value of [2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32, 2 ** 47 - 1, 2 ** 47, 2 ** 53 - 1])
      if (stream[0] < 128) yield [`${name}-starts-${value}`, replaced(which, [...varint(value), ...stream.slice(1)])];
    // The last row of a chunk and the one behind it; the most pages that can be counted, and one more.
    if (name.endsWith('touched'))
      for (const whole of [
        [24, 1],
        [25, 0],
        [1, 0, 23, 1],
        [1, 0, 24, 0],
        [1, ...varint(2 ** 32 - 1)],
        [1, ...varint(2 ** 32 - 2)],
      ])
        yield [`${name}-all`, replaced(which, whole)];
    yield [`${name}-endless`, replaced(which, [...Array.from({ length: 8 }, () => 0x80), ...stream.slice(1)])];
    // A run longer and the next one shorter: as many slots, but others live.
    if (name.endsWith('snapshot'))
      for (let at = 1; at + 1 < Math.min(stream.length, 8); at += 1)
        for (const by of [-1, 1])
          if (stream[at] + by > 0 && stream[at + 1] - by > 0)
            yield [
              `${name}-${at}-moved`,
              replaced(which, stream.with(at, stream[at] + by).with(at + 1, stream[at + 1] - by)),
            ];
    // Every operation with every hint, in the place of the first, the second and one in the middle.
    if (name.endsWith('ops') && (number === 1 || streams[2].length === 0))
      for (const at of [0, 1, 2, stream.length >> 1])
        for (let byte = 0; byte < 256; byte += at > 0 && at <= 2 ? 1 : 17)
          yield [`${name}-${at}-is-${byte}`, replaced(which, stream.with(at, byte))];
    if (name.endsWith('frees') || name.endsWith('touched') || name.endsWith('snapshot'))
      for (let at = 0; at < Math.min(stream.length, 8); at += 1)
        for (const by of [-4, -2, -1, 1, 2, 4])
          if (stream[at] + by >= 0 && stream[at] + by < 128)
            yield [`${name}-${at}-by-${by}`, replaced(which, stream.with(at, stream[at] + by))];
  }
}

function streamsOf(bytes: Uint8Array, { chunks }: Parts, number: number): Streams {
  const { offset, length } = chunks[number];
  const start = offset + layout.frame_bytes;
  const reader = new ByteReader(bytes, start, start + length);
  return stream_names.map(() => {
    const stream = reader.slice(reader.varint())!;
    return [...bytes.subarray(stream.at, stream.end)];
  });
}

/** The file with other streams in one chunk: whatever lies behind moves, and the seek index says where to. */
function withStreams(whole: Uint8Array, parts: Parts, number: number, streams: Streams): Uint8Array {
  const { offset, length } = parts.chunks[number];
  const payload = streams.flatMap((stream) => [...varint(stream.length), ...stream]);
  const moved = payload.length - length;
  const start = offset + layout.frame_bytes;
  const bytes = Uint8Array.of(...whole.subarray(0, start), ...payload, ...whole.subarray(start + length));
  const view = new DataView(bytes.buffer);
  view.setUint32(offset, payload.length, true);
  const header_offset = parts.header_offset + moved;
  view.setUint32(40, header_offset, true);
  const chunks = parts.chunks.map((chunk, at) => ({
    offset: chunk.offset + (at > number ? moved : 0),
    length: chunk.length + (at === number ? moved : 0),
  }));
  for (const [at, chunk] of chunks.entries()) view.setUint32(header_offset + at * 32, chunk.offset, true);
  return sealed(bytes, { ...parts, header_offset, chunks });
}

function varint(value: number): number[] {
  const writer = new ByteWriter();
  writer.varint(value);
  return [...writer.take()];
}

/** A number below 128 in more bytes than it needs. */
function wide(value: number, bytes: number): number[] {
  return [value | 0x80, ...Array.from({ length: bytes - 2 }, () => 0x80), 0];
}

/** Every kind of row in a few hundred bytes, in chunks. */
function writeSmall(folder: string, chunk_events = 24): string {
  const builder = new TraceBuilder(chunk_events);
  const sizes = [0, 8, 224, 232, 7, 4096, 3 * MiB, 3 * MiB, 232, 130 * KiB, 7];
  for (let turn = 0; builder.events < 70; turn += 1) {
    const size_bytes = sizes[turn % sizes.length];
    const details = { thread: [0, 1, 31, 300][turn % 4], site: (turn * 37) % 127, align: 2 ** (4 + (turn % 12)) };
    const touched_pages = turn % 3 === 0 ? Math.ceil(size_bytes / page_bytes) : limits.unknown;
    builder.allocate([op.malloc, op.calloc, op.aligned][turn % 3], turn, size_bytes, { ...details, touched_pages });
    if (turn % 4 === 3) builder.reallocate(turn - 2, turn - 2, 5000 * turn, details);
    if (turn % 3 === 2) builder.free(turn - (turn % 2));
    if (turn % 5 === 4) builder.free(turn - 4);
  }
  // Then a chunk in which few of the live blocks change, and none needs a new slot.
  for (let name = 1000; builder.events < small_events; name += 1) {
    builder.allocate(op.malloc, name, 8);
    builder.free(name);
  }
  return write(
    join(folder, `small-${chunk_events}.hak`),
    [...builder.drain(), ...builder.finish()],
    { time: true, sites: true, touch: true },
    127,
  );
}

function write(path: string, chunks: readonly Chunk[], columns: Columns, sites: number): string {
  const named = Array.from({ length: sites }, (_, at) => ({ hash: at.toString(16), name: null }));
  writeHak(path, chunks, columns, () => originOf('generated', { program: 'verify', has_sites: true, sites: named }));
  return path;
}

interface Parts {
  readonly header_offset: number;
  readonly header_bytes: number;
  readonly chunks: readonly { readonly offset: number; readonly length: number }[];
}

function partsOf(bytes: Uint8Array): Parts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const header_offset = view.getUint32(40, true);
  const chunks: { offset: number; length: number }[] = [];
  let offset: number = layout.preamble_bytes;
  while (offset < header_offset) {
    const length = view.getUint32(offset, true);
    chunks.push({ offset, length });
    offset += layout.frame_bytes + length;
  }
  return { header_offset, header_bytes: view.getUint32(36, true), chunks };
}

function changed(bytes: Uint8Array, at: number, change: (byte: number) => number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = change(copy[at]);
  return copy;
}

/** The checksums of chunks, header and preamble made right; `bytes` still has the lengths of the file it came from. */
function sealed(bytes: Uint8Array, { chunks, header_offset }: Parts): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (const { offset, length } of chunks) {
    const start = offset + layout.frame_bytes;
    view.setUint32(offset + 24, crc32(bytes.subarray(start, start + length)), true);
    view.setUint32(offset + 28, crc32(bytes.subarray(offset, offset + 28)), true);
  }
  view.setUint32(48, crc32(bytes.subarray(header_offset)), true);
  view.setUint32(60, crc32(bytes.subarray(0, 60)), true);
  return bytes;
}
