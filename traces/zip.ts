/** A zip archive of one file, inflated piece by piece: neither the text nor what it claims to be is ever held at once. */
import { Inflate } from 'fflate';
import { crc32 } from './crc32.ts';
import type { ByteSource } from './hak.ts';
import type { ByteStream } from './stream.ts';
import { TraceError } from './trace.ts';

// Offsets and signatures: PKWARE APPNOTE 6.3, sections 4.3.7 (local), 4.3.12 (central), 4.3.16 (end).
const end_bytes = 22;
const comment_bytes_max = 0xffff;
const central_bytes = 46;
const local_bytes = 30;
const stored = 0;
const deflated = 8;

/** DEFLATE grows a byte to at most 1032, so one piece inflates to 16 MiB at most, whatever the archive says. */
export const packed_piece_bytes = 16 * 1024;

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed_bytes: number;
  readonly bytes: number;
  readonly offset: number;
}

export function isZip(start: Uint8Array): boolean {
  return start[0] === 0x50 && start[1] === 0x4b && start[2] === 3 && start[3] === 4;
}

/** The one file of the archive `source`. Throws TraceError where there is not exactly one that we can read. */
export function unzip(source: ByteSource): ByteStream {
  const { path } = source;
  const entries = directory(source).filter((entry) => !entry.name.endsWith('/'));
  if (entries.length !== 1)
    throw new TraceError(path, '', `a zip archive of ${entries.length} files; wanted one, a trace`);
  const [entry] = entries;
  if (entry.method !== stored && entry.method !== deflated)
    throw new TraceError(path, '', `compressed by zip method ${entry.method}; wanted 0 (stored) or 8 (deflated)`);
  return { path, pieces: () => inflated(source, entry) };
}

function* inflated(source: ByteSource, entry: Entry): Generator<Uint8Array> {
  const { path } = source;
  const local = viewOf(source.read(entry.offset, local_bytes));
  if (local.getUint32(0, true) !== 0x04034b50)
    throw new TraceError(path, `byte ${entry.offset}`, 'not the header of a zipped file');
  let at = entry.offset + local_bytes + local.getUint16(26, true) + local.getUint16(28, true);
  const end = at + entry.packed_bytes;
  let pieces: Uint8Array[] = [];
  const inflate = new Inflate((piece) => pieces.push(piece));
  let crc = 0;
  let bytes = 0;
  while (at < end) {
    const packed = source.read(at, Math.min(packed_piece_bytes, end - at)).slice();
    at += packed.length;
    if (entry.method === stored) pieces.push(packed);
    else {
      try {
        inflate.push(packed, at === end);
      } catch (error) {
        throw new TraceError(path, `byte ${at - packed.length}`, `broken DEFLATE data: ${(error as Error).message}`);
      }
    }
    for (const piece of pieces) {
      bytes += piece.length;
      if (bytes > entry.bytes)
        throw new TraceError(path, `byte ${at}`, `inflates to more than the ${entry.bytes} bytes its directory names`);
      crc = crc32(piece, crc);
      if (piece.length > 0) yield piece;
    }
    pieces = [];
  }
  if (bytes !== entry.bytes || crc !== entry.crc)
    throw new TraceError(path, '', `${entry.name} does not match the size and checksum in its zip directory`);
}

function directory(source: ByteSource): Entry[] {
  const { path } = source;
  const tail_bytes = Math.min(source.length, end_bytes + comment_bytes_max);
  const tail = viewOf(source.read(source.length - tail_bytes, tail_bytes).slice());
  let at = tail_bytes - end_bytes;
  while (at >= 0 && tail.getUint32(at, true) !== 0x06054b50) at -= 1;
  if (at < 0) throw new TraceError(path, `byte ${source.length}`, 'a zip archive without its directory: truncated');
  const count = tail.getUint16(at + 10, true);
  const bytes = tail.getUint32(at + 12, true);
  const offset = tail.getUint32(at + 16, true);
  if (offset === 0xffffffff || offset + bytes > source.length)
    throw new TraceError(
      path,
      `byte ${offset}`,
      'a zip directory beyond the end of the file, or one of more than 4 GiB',
    );
  const view = viewOf(source.read(offset, bytes).slice());
  const entries: Entry[] = [];
  let from = 0;
  for (let entry = 0; entry < count; entry += 1) {
    if (from + central_bytes > bytes || view.getUint32(from, true) !== 0x02014b50)
      throw new TraceError(path, `byte ${offset + from}`, `entry ${entry} of the zip directory is broken`);
    const name_bytes = view.getUint16(from + 28, true);
    const extra_bytes = view.getUint16(from + 30, true);
    const next = from + central_bytes + name_bytes + extra_bytes + view.getUint16(from + 32, true);
    if (next > bytes)
      throw new TraceError(path, `byte ${offset + from}`, `entry ${entry} of the zip directory is broken`);
    if ((view.getUint16(from + 8, true) & 1) === 1)
      throw new TraceError(path, `byte ${offset + from}`, 'an encrypted zip archive; wanted a plain one');
    entries.push({
      name: new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + from + central_bytes, name_bytes)),
      method: view.getUint16(from + 10, true),
      crc: view.getUint32(from + 16, true),
      ...wideSizes(view, from, from + central_bytes + name_bytes, extra_bytes),
    });
    from = next;
  }
  return entries;
}

/** Sizes and offset of a directory entry; those beyond 32 bits stand in its zip64 field (APPNOTE 4.5.3). */
function wideSizes(
  view: DataView,
  entry: number,
  extra: number,
  extra_bytes: number,
): Pick<Entry, 'packed_bytes' | 'bytes' | 'offset'> {
  let wide = extra;
  while (wide + 4 <= extra + extra_bytes && view.getUint16(wide, true) !== 1)
    wide += 4 + view.getUint16(wide + 2, true);
  wide += 4;
  const field = (at: number): number => {
    const value = view.getUint32(at, true);
    if (value !== 0xffffffff || wide + 8 > extra + extra_bytes) return value;
    wide += 8;
    return view.getUint32(wide - 8, true) + view.getUint32(wide - 4, true) * 2 ** 32;
  };
  // In the order in which the zip64 field holds them.
  const bytes = field(entry + 24);
  const packed_bytes = field(entry + 20);
  return { bytes, packed_bytes, offset: field(entry + 42) };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
