/** Files in memory, for tests of the .hak format: written, read, damaged, and forged with checksums that match. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { crc32 } from '../traces/crc32.ts';
import type { ByteSink, ByteSource } from '../traces/hak.ts';
import { HakTrace, HakWriter } from '../traces/hak.ts';
import { type Chunk, limits, newChunk, type Origin, op, originOf, TraceError } from '../traces/trace.ts';

export interface Row {
  readonly op: number;
  readonly thread: number;
  /** The how-manieth allocation the row is about: the same whatever slots a file gives. */
  readonly block: number;
  readonly size_bytes: number;
  readonly align: number;
  readonly site: number;
  readonly time_ns: number;
  readonly touched_pages: number;
}

export const all_columns = { time: true, sites: true, touch: true } as const;
export const site_count = 140;
export const test_origin: Origin = originOf('generated', {
  program: 'test',
  has_time: true,
  has_sites: true,
  sites: Array.from({ length: site_count }, (_, at) => ({ hash: `${at}`, name: at === 0 ? 'main' : null })),
  notes: ['A note.'],
  process: { wall_ns: 5, user_ns: 3, sys_ns: 2, faults: 1, resident_peak_bytes: 4096, exit: 'signal 9' },
});

export class MemorySink implements ByteSink {
  private readonly parts: Uint8Array[] = [];
  private start = new Uint8Array(0);

  append(bytes: Uint8Array): void {
    this.parts.push(bytes.slice());
  }

  rewriteStart(bytes: Uint8Array): void {
    this.start = bytes.slice();
  }

  get bytes(): Uint8Array {
    const all = new Uint8Array(this.parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    all.set(this.start);
    return all;
  }
}

export function sourceOf(bytes: Uint8Array, path = 'test.hak'): ByteSource {
  return { path, length: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

/** The file of `rows` in chunks of `chunk_events`. */
export function fileOf(
  rows: readonly Row[],
  chunk_events = 1000,
  columns: typeof all_columns | { time: boolean; sites: boolean; touch: boolean } = all_columns,
): Uint8Array {
  const sink = new MemorySink();
  const writer = new HakWriter('test.hak', sink, columns);
  for (const chunk of chunksOf(rows, chunk_events)) writer.add(chunk);
  writer.finish(test_origin);
  return sink.bytes;
}

export function* chunksOf(rows: readonly Row[], chunk_events: number): Generator<Chunk> {
  for (let first = 0; first < rows.length; first += chunk_events) {
    const part = rows.slice(first, first + chunk_events);
    const chunk = newChunk(part.length);
    chunk.first_event = first;
    chunk.length = part.length;
    for (const [at, row] of part.entries()) {
      chunk.op[at] = row.op;
      chunk.thread[at] = row.thread;
      // A caller's slots may be any numbers: here every block has its own, from the top down.
      chunk.object[at] = 5000 - row.block;
      chunk.size_bytes[at] = row.size_bytes;
      chunk.align[at] = row.align;
      chunk.site[at] = row.site;
      chunk.time_ns[at] = row.time_ns;
      chunk.touched_pages[at] = row.touched_pages;
    }
    yield chunk;
  }
}

export function rowsOf(chunks: Iterable<Chunk>): Row[] {
  const rows: Row[] = [];
  const block_in = new Map<number, number>();
  let blocks = 0;
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += 1) {
      if (chunk.op[at] < op.realloc) {
        block_in.set(chunk.object[at], blocks);
        blocks += 1;
      }
      rows.push({
        op: chunk.op[at],
        thread: chunk.thread[at],
        block: block_in.get(chunk.object[at]) ?? -1,
        size_bytes: chunk.size_bytes[at],
        align: chunk.align[at],
        site: chunk.site[at],
        time_ns: chunk.time_ns[at],
        touched_pages: chunk.touched_pages[at],
      });
    }
  }
  return rows;
}

/** What `read` refuses a file named "file" with, behind its name: one line. */
export function refusalOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(TraceError);
    const { message } = error as Error;
    expect(message).toMatch(/^file: [^\n]*$/);
    return message.slice('file: '.length);
  }
  throw new Error('read without a complaint');
}

/** Reads all there is of the file. */
export function readAll(bytes: Uint8Array, path = 'test.hak'): Row[] {
  return rowsOf(new HakTrace(sourceOf(bytes, path)).chunks());
}

const size = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.constantFrom(8, 64, 224, 232, 127, 128, 16383, 16384, 2 ** 20 - 1, 2 ** 21, 2 ** 32, limits.size_bytes - 1),
  fc.maxSafeNat().map((value) => value % limits.size_bytes),
);

/** Legal traces: every operation, sizes of every length, far and near frees, threads and sites of one byte and of more. */
function legalRows(minLength: number, maxLength: number): fc.Arbitrary<Row[]> {
  return fc
    .array(
      fc.record({
        kind: fc.integer({ min: 0, max: 4 }),
        pick: fc.nat(1000),
        size_bytes: size,
        power: fc.integer({ min: 0, max: 31 }),
        thread: fc.oneof(fc.nat(3), fc.constantFrom(30, 31, 200, limits.unknown)),
        site: fc.nat(site_count - 1),
        step_ns: fc.oneof(fc.nat(10), fc.constantFrom(127, 128, 2 ** 14, 2 ** 31, 2 ** 40)),
        touched: fc.boolean(),
      }),
      // Without a size of "max" fast-check makes ten steps at most.
      { minLength, maxLength, size: 'max' },
    )
    .map((steps) => {
      const live: number[] = [];
      let blocks = 0;
      let time_ns = 0;
      return steps.map((step): Row => {
        time_ns += step.step_ns;
        const common = {
          thread: step.thread,
          time_ns,
          align: 0,
          site: 0,
          size_bytes: 0,
          touched_pages: limits.unknown,
        };
        const kind = live.length === 0 && step.kind >= op.realloc ? op.malloc : step.kind;
        const at = step.pick % Math.max(1, live.length);
        if (kind === op.free) return { ...common, op: kind, block: live.splice(at, 1)[0] };
        const asked = {
          ...common,
          op: kind,
          site: step.site,
          size_bytes: step.size_bytes,
          touched_pages: step.touched ? Math.min(Math.ceil(step.size_bytes / 4096), 10_000) : limits.unknown,
        };
        if (kind === op.realloc) return { ...asked, block: live[at] };
        live.push(blocks);
        blocks += 1;
        return { ...asked, block: blocks - 1, align: kind === op.aligned ? 2 ** step.power : 0 };
      });
    });
}

export const legal_rows = legalRows(0, 300);

/** A fixed trace of every operation, small enough to damage byte by byte. */
export function smallRows(): Row[] {
  return fc.sample(
    legal_rows.filter((rows) => rows.length > 20 && rows.length < 40),
    { seed: 7, numRuns: 1 },
  )[0];
}

/** What a forged file says of itself; everything left out is as it should be. */
export interface Forgery {
  readonly flags?: number;
  readonly events?: number;
  readonly claimed_events?: number;
  readonly objects?: number;
  readonly page_bytes?: number;
  readonly sites?: number;
  readonly chunks?: number;
  readonly first_time_ns?: number;
  /** Snapshot, operations, sizes, references, alignments, sites, times, touched. */
  readonly streams?: readonly (readonly number[])[];
  readonly payload?: readonly number[];
  readonly json?: (header: {
    schema: number;
    origin: Record<string, unknown>;
    statistics: Record<string, unknown>;
  }) => unknown;
}

/** A file of one chunk whose checksums all match, whatever it says. */
export function forge(forgery: Forgery): Uint8Array {
  const rows: Row[] = [
    { op: 0, thread: 0, block: 0, size_bytes: 8, align: 0, site: 0, time_ns: 0, touched_pages: limits.unknown },
  ];
  const plain = fileOf(rows, 1000, { time: false, sites: false, touch: false });
  const header_at = Number(new DataView(plain.buffer).getBigUint64(40, true));
  const header = JSON.parse(new TextDecoder().decode(plain.subarray(header_at + 32)));
  const flags = forgery.flags ?? 0;
  const events = forgery.events ?? 1;
  header.origin.has_time = (flags & 1) !== 0;
  header.origin.has_sites = (flags & 2) !== 0;
  header.statistics.events = forgery.claimed_events ?? events;
  const json = new TextEncoder().encode(JSON.stringify(forgery.json?.(header) ?? header));
  const streams = forgery.streams ?? [[0], [0 | (1 << 3)], [], [], [], [], [], []];
  const payload = Uint8Array.from(forgery.payload ?? streams.flatMap((stream) => [stream.length, ...stream]));
  const file = new Uint8Array(64 + 32 + payload.length + 32 + json.length);
  const view = new DataView(file.buffer);
  const index_at = 96 + payload.length;
  file.set(plain.subarray(0, 8));
  view.setUint32(8, 1, true);
  view.setUint32(12, flags, true);
  view.setBigUint64(16, BigInt(forgery.claimed_events ?? events), true);
  view.setUint32(24, forgery.objects ?? 1, true);
  view.setUint32(28, forgery.page_bytes ?? 4096, true);
  view.setUint32(32, forgery.chunks ?? 1, true);
  view.setUint32(36, 32 + json.length, true);
  view.setBigUint64(40, BigInt(index_at), true);
  view.setUint32(52, forgery.sites ?? site_count, true);
  view.setUint32(64, payload.length, true);
  view.setUint32(68, events, true);
  view.setBigUint64(80, BigInt(forgery.first_time_ns ?? 0), true);
  view.setBigUint64(index_at, 64n, true);
  view.setBigUint64(index_at + 16, BigInt(forgery.first_time_ns ?? 0), true);
  file.set(payload, 96);
  file.set(json, index_at + 32);
  return seal(file);
}

/** Sets every checksum of a file, preamble, frames and header, to what its bytes make. */
export function seal(file: Uint8Array): Uint8Array {
  const sealed = file.slice();
  const view = new DataView(sealed.buffer);
  const header_at = Number(view.getBigUint64(40, true));
  const chunks = view.getUint32(32, true);
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    const entry = header_at + chunk * 32;
    if (entry + 8 > sealed.length) break;
    const at = Number(view.getBigUint64(entry, true));
    if (at + 32 > sealed.length) continue;
    const length = view.getUint32(at, true);
    view.setUint32(at + 24, crc32(sealed.subarray(at + 32, at + 32 + length)), true);
    view.setUint32(at + 28, crc32(sealed.subarray(at, at + 28)), true);
  }
  view.setUint32(48, crc32(sealed.subarray(header_at)), true);
  view.setUint32(60, crc32(sealed.subarray(0, 60)), true);
  return sealed;
}
