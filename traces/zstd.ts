/** A zstd file (RFC 8878), block by block. Its checksums are not verified: fzstd does not, and damage shows in the text. */
import { Decompress } from 'fzstd';
import type { ByteSource } from './hak.ts';
import type { ByteStream } from './stream.ts';
import { TraceError } from './trace.ts';

const magic = 0xfd2fb528;
/** Frames of these sixteen numbers hold what a reader skips. */
const skippable_magic = 0x184d2a50;
/** What zstd itself accepts without --long; the window is held in memory. */
const window_bytes_max = 2 ** 27;
const block_bytes_max = 2 ** 17;
const raw_or_packed = [0, 2];
const run = 1;

export function isZstd(start: Uint8Array): boolean {
  return start[0] === 0x28 && start[1] === 0xb5 && start[2] === 0x2f && start[3] === 0xfd;
}

export function unzstd(source: ByteSource): ByteStream {
  return { path: source.path, pieces: () => inflated(source) };
}

function* inflated(source: ByteSource): Generator<Uint8Array> {
  for (let at = 0; at < source.length; ) {
    const found = viewOf(bytesOf(source, at, 4)).getUint32(0, true);
    if (found === magic) {
      at = yield* frame(source, at);
    } else if ((found & ~15) === skippable_magic) {
      at += 8 + viewOf(bytesOf(source, at + 4, 4)).getUint32(0, true);
    } else {
      throw new TraceError(
        source.path,
        `byte ${at}`,
        `found 0x${found.toString(16)}; wanted the start of a zstd frame`,
      );
    }
  }
}

/** Yields what the frame at `start` holds, a block at a time, and returns where the frame ends. */
function* frame(source: ByteSource, start: number): Generator<Uint8Array, number> {
  const { path } = source;
  const { header_bytes, checksum_bytes } = readHeader(source, start);
  let pieces: Uint8Array[] = [];
  const decompress = new Decompress((piece) => pieces.push(piece));
  decompress.push(bytesOf(source, start, header_bytes));
  let at = start + header_bytes;
  for (let last = false; !last; ) {
    const [first, second, third] = bytesOf(source, at, 3);
    last = (first & 1) === 1;
    const kind = (first >> 1) & 3;
    const bytes = (first >> 3) | (second << 5) | (third << 13);
    if (bytes > block_bytes_max || (kind !== run && !raw_or_packed.includes(kind)))
      throw new TraceError(path, `byte ${at}`, `a zstd block of kind ${kind} and ${bytes} bytes; wanted at most 2^17`);
    const block_bytes = 3 + (kind === run ? 1 : bytes) + (last ? checksum_bytes : 0);
    const block = bytesOf(source, at, block_bytes);
    try {
      decompress.push(block, last);
    } catch (error) {
      throw new TraceError(path, `byte ${at}`, `broken zstd data: ${(error as Error).message}`);
    }
    at += block_bytes;
    for (const piece of pieces) if (piece.length > 0) yield piece;
    pieces = [];
  }
  return at;
}

/** RFC 8878, 3.1.1.1. */
function readHeader(source: ByteSource, start: number): { header_bytes: number; checksum_bytes: number } {
  const descriptor = bytesOf(source, start + 4, 1)[0];
  const is_single = (descriptor & 32) !== 0;
  const dictionary_bytes = [0, 1, 2, 4][descriptor & 3];
  const size_bytes = [is_single ? 1 : 0, 2, 4, 8][descriptor >> 6];
  const header_bytes = 5 + (is_single ? 0 : 1) + dictionary_bytes + size_bytes;
  const header = bytesOf(source, start, header_bytes);
  const fail = (message: string): TraceError => new TraceError(source.path, `byte ${start}`, message);
  if (header.subarray(header_bytes - size_bytes - dictionary_bytes, header_bytes - size_bytes).some((byte) => byte > 0))
    throw fail('a zstd frame that needs a dictionary; wanted one that does not');
  let window_bytes = 0;
  if (is_single) {
    for (let at = header_bytes - 1; at >= header_bytes - size_bytes; at -= 1)
      window_bytes = window_bytes * 256 + header[at];
  } else {
    window_bytes = 2 ** (10 + (header[5] >> 3)) * (1 + (header[5] & 7) / 8);
  }
  if (window_bytes > window_bytes_max)
    throw fail(`a zstd window of ${window_bytes} bytes; wanted at most ${window_bytes_max}, so pack it without --long`);
  return { header_bytes, checksum_bytes: (descriptor & 4) === 0 ? 0 : 4 };
}

/** A copy, since the source may use its buffer again. */
function bytesOf(source: ByteSource, at: number, length: number): Uint8Array {
  if (at + length > source.length)
    throw new TraceError(source.path, `byte ${source.length}`, 'the file ends in the middle of a zstd frame');
  return source.read(at, length).slice();
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
