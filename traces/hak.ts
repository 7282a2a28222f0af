/**
 * The `.hak` file: a 64-byte preamble, chunks one after another, then the header (seek index and JSON). Every byte lies
 * under a checksum; docs/FORMAT.md has the layout. Nothing here touches a disk: see file.ts.
 */
import { crc32 } from './crc32.ts';
import { ChunkDecoder, ChunkEncoder, layout } from './hak-chunk.ts';
import { checkHeader } from './hak-header.ts';
import type { Columns } from './importer.ts';
import { Tally } from './tally.ts';
import { type Chunk, limits, newChunk, type Origin, type Statistics, type Trace, TraceError } from './trace.ts';

const magic = 'HAKTRACE';
const index_entry_bytes = 32;

/** Where a file is written to: at its end, or over its first bytes. */
export interface ByteSink {
  append(bytes: Uint8Array): void;
  rewriteStart(bytes: Uint8Array): void;
}

/** Where a file is read from. `read` returns exactly `length` bytes, valid until the next call. */
export interface ByteSource {
  readonly path: string;
  readonly length: number;
  read(offset: number, length: number): Uint8Array;
}

/** A stretch of the file: its chunk begins at `offset`. */
interface IndexEntry {
  readonly offset: number;
  readonly first_event: number;
  readonly first_time_ns: number;
}

interface Preamble {
  readonly flags: number;
  readonly events: number;
  readonly objects: number;
  readonly page_bytes: number;
  readonly chunks: number;
  readonly header_offset: number;
  readonly header_bytes: number;
  readonly header_crc: number;
  readonly sites: number;
}

/** Writes chunks as they come; `finish` adds the header. The sink makes it atomic. */
export class HakWriter {
  private readonly path: string;
  private readonly sink: ByteSink;
  private readonly flags: number;
  private readonly encoder: ChunkEncoder;
  private readonly tally = new Tally();
  private readonly index: IndexEntry[] = [];
  private events = 0;
  private offset: number = layout.preamble_bytes;

  /** `columns` says which optional columns the file keeps. */
  constructor(path: string, sink: ByteSink, columns: Columns) {
    this.path = path;
    this.sink = sink;
    this.flags =
      (columns.time ? layout.flag_time : 0) |
      (columns.sites ? layout.flag_sites : 0) |
      (columns.touch ? layout.flag_touch : 0);
    this.encoder = new ChunkEncoder(this.flags);
    sink.append(new Uint8Array(layout.preamble_bytes));
  }

  add(chunk: Chunk): void {
    if (chunk.length === 0) return;
    this.tally.add(chunk);
    const { payload, first_time_ns } = this.encoder.encode(this.path, { ...chunk, first_event: this.events });
    this.index.push({ offset: this.offset, first_event: this.events, first_time_ns });
    const frame = new Uint8Array(layout.frame_bytes);
    const view = new DataView(frame.buffer);
    view.setUint32(0, payload.length, true);
    view.setUint32(4, chunk.length, true);
    setUint64(view, 8, this.events);
    setUint64(view, 16, first_time_ns);
    view.setUint32(24, crc32(payload), true);
    view.setUint32(28, crc32(frame.subarray(0, 28)), true);
    this.sink.append(frame);
    this.sink.append(payload);
    this.offset += frame.length + payload.length;
    this.events += chunk.length;
  }

  finish(origin: Origin): Statistics {
    // The file numbers its slots anew, so their count is its own.
    const statistics = { ...this.tally.statistics(), objects: this.encoder.objects };
    const kept: Origin = {
      ...origin,
      has_time: (this.flags & layout.flag_time) !== 0,
      has_sites: (this.flags & layout.flag_sites) !== 0,
    };
    checkHeader({ origin: kept, statistics });
    const json = new TextEncoder().encode(JSON.stringify({ schema: layout.version, origin: kept, statistics }));
    const index = new Uint8Array(this.index.length * index_entry_bytes);
    const entries = new DataView(index.buffer);
    for (const [at, entry] of this.index.entries()) {
      setUint64(entries, at * index_entry_bytes, entry.offset);
      setUint64(entries, at * index_entry_bytes + 8, entry.first_event);
      setUint64(entries, at * index_entry_bytes + 16, entry.first_time_ns);
    }
    this.sink.append(index);
    this.sink.append(json);
    const preamble = new Uint8Array(layout.preamble_bytes);
    const view = new DataView(preamble.buffer);
    preamble.set(new TextEncoder().encode(magic));
    view.setUint32(8, layout.version, true);
    view.setUint32(12, this.flags, true);
    setUint64(view, 16, this.events);
    view.setUint32(24, this.encoder.objects, true);
    view.setUint32(28, origin.page_bytes, true);
    view.setUint32(32, this.index.length, true);
    view.setUint32(36, index.length + json.length, true);
    setUint64(view, 40, this.offset);
    view.setUint32(48, crc32(json, crc32(index)), true);
    view.setUint32(52, Math.max(1, origin.sites.length), true);
    view.setUint32(60, crc32(preamble.subarray(0, 60)), true);
    this.sink.rewriteStart(preamble);
    return statistics;
  }
}

/** A `.hak` file opened for reading: the header is checked at once, each chunk as it is read. */
export class HakTrace implements Trace {
  readonly path: string;
  readonly origin: Origin;
  readonly statistics: Statistics;
  private readonly source: ByteSource;
  private readonly preamble: Preamble;
  private readonly index: readonly IndexEntry[];

  /** Throws TraceError where the preamble or header is not what a writer writes. */
  constructor(source: ByteSource) {
    this.source = source;
    this.path = source.path;
    this.preamble = readPreamble(source);
    const { index, origin, statistics } = readHeader(source, this.preamble);
    this.index = index;
    this.origin = origin;
    this.statistics = statistics;
  }

  /** The optional columns that the file keeps. */
  get columns(): Columns {
    const { flags } = this.preamble;
    return {
      time: (flags & layout.flag_time) !== 0,
      sites: (flags & layout.flag_sites) !== 0,
      touch: (flags & layout.flag_touch) !== 0,
    };
  }

  /** Throws TraceError where the header's counts are not those of the events, as `Tally` counted them. */
  verify(counted: Statistics): void {
    for (const [name, value] of Object.entries(counted)) {
      const named = this.statistics[name as keyof Statistics];
      if (JSON.stringify(named) !== JSON.stringify(value))
        throw new TraceError(
          this.path,
          `header at byte ${this.preamble.header_offset}`,
          `its ${name} is ${JSON.stringify(named)}, but the events make ${JSON.stringify(value)}`,
        );
    }
  }

  /** True where `bytes`, the start of a file, are those of a `.hak` file. */
  static recognises(bytes: Uint8Array): boolean {
    return new TextDecoder('latin1').decode(bytes.subarray(0, 8)) === magic;
  }

  /** Yields one chunk whose buffers are reused; reads from the chunk that holds `from_event` on. */
  *chunks(from_event = 0): Generator<Chunk> {
    const { preamble, source, path } = this;
    const sizes = this.index.map(
      (entry, at) => (this.index[at + 1]?.first_event ?? preamble.events) - entry.first_event,
    );
    const largest = sizes.reduce((most, size) => Math.max(most, size), 0);
    const chunk = newChunk(largest);
    const decoder = new ChunkDecoder(path, preamble.flags, preamble.objects, preamble.sites, largest);
    for (const [at, entry] of this.index.entries()) {
      if (entry.first_event + sizes[at] <= from_event) continue;
      const end = this.index[at + 1]?.offset ?? preamble.header_offset;
      const place = `chunk ${at} at byte ${entry.offset}`;
      const frame = source.read(entry.offset, layout.frame_bytes).slice();
      const view = new DataView(frame.buffer);
      if (crc32(frame.subarray(0, 28)) !== view.getUint32(28, true))
        throw new TraceError(path, place, 'its frame does not match its checksum');
      const length = view.getUint32(0, true);
      if (length !== end - entry.offset - layout.frame_bytes)
        throw new TraceError(
          path,
          place,
          `${length} bytes long where ${end - entry.offset - layout.frame_bytes} are left`,
        );
      if (
        view.getUint32(4, true) !== sizes[at] ||
        getUint64(view, 8) !== entry.first_event ||
        getUint64(view, 16) !== entry.first_time_ns
      )
        throw new TraceError(path, place, 'its events are not those the seek index names');
      const payload = source.read(entry.offset + layout.frame_bytes, length);
      if (crc32(payload) !== view.getUint32(24, true))
        throw new TraceError(path, place, 'its content does not match its checksum');
      decoder.decode(payload, chunk, entry.first_event, sizes[at], entry.first_time_ns);
      yield chunk;
    }
  }
}

function readPreamble(source: ByteSource): Preamble {
  const { path } = source;
  if (source.length < layout.preamble_bytes)
    throw new TraceError(path, '', `${source.length} bytes; a .hak file has at least ${layout.preamble_bytes}`);
  const bytes = source.read(0, layout.preamble_bytes).slice();
  if (!HakTrace.recognises(bytes))
    throw new TraceError(path, 'byte 0', `not a .hak file: it does not begin with ${magic}`);
  const view = new DataView(bytes.buffer);
  const version = view.getUint32(8, true);
  if (version !== layout.version)
    throw new TraceError(path, 'byte 8', `schema version ${version}; this hakmem reads version ${layout.version}`);
  if (crc32(bytes.subarray(0, 60)) !== view.getUint32(60, true))
    throw new TraceError(path, 'byte 0', 'the preamble does not match its checksum');
  const preamble: Preamble = {
    flags: view.getUint32(12, true),
    events: getUint64(view, 16),
    objects: view.getUint32(24, true),
    page_bytes: view.getUint32(28, true),
    chunks: view.getUint32(32, true),
    header_bytes: view.getUint32(36, true),
    header_offset: getUint64(view, 40),
    header_crc: view.getUint32(48, true),
    sites: view.getUint32(52, true),
  };
  const known_flags = layout.flag_time | layout.flag_sites | layout.flag_touch;
  if ((preamble.flags & ~known_flags) !== 0)
    throw new TraceError(path, 'byte 12', `flags ${preamble.flags}; this hakmem knows ${known_flags}`);
  if (preamble.header_offset + preamble.header_bytes !== source.length)
    throw new TraceError(
      path,
      `byte ${source.length}`,
      `the file ends here, but its preamble says ${preamble.header_offset + preamble.header_bytes} bytes: truncated or appended to`,
    );
  if (preamble.events > source.length || preamble.objects > preamble.events)
    throw new TraceError(
      path,
      'byte 16',
      `${preamble.events} events on ${preamble.objects} objects cannot fit ${source.length} bytes`,
    );
  if (preamble.chunks * index_entry_bytes > preamble.header_bytes)
    throw new TraceError(
      path,
      'byte 32',
      `${preamble.chunks} chunks cannot fit a header of ${preamble.header_bytes} bytes`,
    );
  return preamble;
}

function readHeader(
  source: ByteSource,
  preamble: Preamble,
): { index: IndexEntry[]; origin: Origin; statistics: Statistics } {
  const { path } = source;
  const place = `header at byte ${preamble.header_offset}`;
  const bytes = source.read(preamble.header_offset, preamble.header_bytes).slice();
  if (crc32(bytes) !== preamble.header_crc) throw new TraceError(path, place, 'it does not match its checksum');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const index = Array.from({ length: preamble.chunks }, (_, at) => ({
    offset: getUint64(view, at * index_entry_bytes),
    first_event: getUint64(view, at * index_entry_bytes + 8),
    first_time_ns: getUint64(view, at * index_entry_bytes + 16),
  }));
  let offset: number = layout.preamble_bytes;
  let first_event = 0;
  for (const [at, entry] of index.entries()) {
    const next = index[at + 1];
    const events = (next?.first_event ?? preamble.events) - entry.first_event;
    const end = next?.offset ?? preamble.header_offset;
    if (entry.offset !== offset || entry.first_event !== first_event || events < 1 || events > limits.chunk_events)
      throw new TraceError(path, place, `entry ${at} of its seek index does not follow the one before`);
    if (end < offset + layout.frame_bytes + events)
      throw new TraceError(
        path,
        place,
        `entry ${at} of its seek index claims ${events} events in ${end - offset} bytes`,
      );
    offset = end;
    first_event += events;
  }
  if (offset !== preamble.header_offset || first_event !== preamble.events)
    throw new TraceError(path, place, `its seek index covers ${first_event} of ${preamble.events} events`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(preamble.chunks * index_entry_bytes));
    const { origin, statistics } = checkHeader(JSON.parse(text));
    if (statistics.events !== preamble.events)
      throw new Error(`${statistics.events} events where the preamble names ${preamble.events}`);
    if (Math.max(1, origin.sites.length) !== preamble.sites)
      throw new Error(`${origin.sites.length} sites where the preamble names ${preamble.sites}`);
    if (origin.page_bytes !== preamble.page_bytes)
      throw new Error(`pages of ${origin.page_bytes} bytes where the preamble names ${preamble.page_bytes}`);
    if (
      origin.has_time !== ((preamble.flags & layout.flag_time) !== 0) ||
      origin.has_sites !== ((preamble.flags & layout.flag_sites) !== 0)
    )
      throw new Error('columns that the preamble does not name');
    return { index, origin, statistics };
  } catch (error) {
    throw new TraceError(path, place, `not the JSON of a trace: ${(error as Error).message}`);
  }
}

function getUint64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
