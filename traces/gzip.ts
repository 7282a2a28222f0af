/** A gzip file of one or more members (RFC 1952), inflated piece by piece. */
import { Gunzip } from 'fflate';
import { crc32 } from './crc32.ts';
import type { ByteSource } from './hak.ts';
import type { ByteStream } from './stream.ts';
import { TraceError } from './trace.ts';
import { packed_piece_bytes } from './zip.ts';

/** CRC and length, which close a member. */
const trailer_bytes = 8;

export function isGzip(start: Uint8Array): boolean {
  return start[0] === 0x1f && start[1] === 0x8b && start[2] === 8;
}

export function gunzip(source: ByteSource): ByteStream {
  return { path: source.path, pieces: () => inflated(source) };
}

function* inflated(source: ByteSource): Generator<Uint8Array> {
  const { path } = source;
  let pieces: Uint8Array[] = [];
  let crc = 0;
  let bytes = 0;
  const checkMember = (end: number): void => {
    if (end < trailer_bytes)
      throw new TraceError(path, `byte ${end}`, 'the file ends in the middle of its gzip header');
    const trailer = source.read(end - trailer_bytes, trailer_bytes);
    const view = new DataView(trailer.buffer, trailer.byteOffset, trailer_bytes);
    if (view.getUint32(0, true) !== crc || view.getUint32(4, true) !== bytes % 2 ** 32)
      throw new TraceError(
        path,
        `byte ${end - trailer_bytes}`,
        'the gzip checksum and length do not match what was read',
      );
    crc = 0;
    bytes = 0;
  };
  const inflate = new Gunzip((piece) => {
    crc = crc32(piece, crc);
    bytes += piece.length;
    pieces.push(piece);
  });
  inflate.onmember = (start) => checkMember(start);
  for (let at = 0; at < source.length; ) {
    const packed = source.read(at, Math.min(packed_piece_bytes, source.length - at)).slice();
    try {
      inflate.push(packed, at + packed.length === source.length);
    } catch (error) {
      if (error instanceof TraceError) throw error;
      throw new TraceError(path, `byte ${at}`, `broken gzip data: ${(error as Error).message}`);
    }
    at += packed.length;
    for (const piece of pieces) if (piece.length > 0) yield piece;
    pieces = [];
  }
  checkMember(source.length);
}
