/** Foreign files as runs of byte pieces and of whole lines, so that a text of any length is read in bounded memory. */
import type { ByteSource } from './hak.ts';
import { TraceError } from './trace.ts';

/** Bytes from start to end, each time `pieces` is called. A piece is valid until the next one is asked for. */
export interface ByteStream {
  /** For messages. */
  readonly path: string;
  /** The file, where it is not packed. */
  readonly source?: ByteSource;
  pieces(): Iterable<Uint8Array>;
}

const piece_bytes = 256 * 1024;

/** No line of any format we read is longer; without a bound, one line could be the whole memory. */
export const line_bytes_max = 64 * 1024;

export function streamOf(source: ByteSource): ByteStream {
  return {
    path: source.path,
    source,
    *pieces() {
      for (let at = 0; at < source.length; at += piece_bytes)
        yield source.read(at, Math.min(piece_bytes, source.length - at));
    },
  };
}

/** The first bytes of a stream, at most `length`. */
export function startOf(stream: ByteStream, length: number): Uint8Array {
  const start = new Uint8Array(length);
  let filled = 0;
  for (const piece of stream.pieces()) {
    const part = piece.subarray(0, length - filled);
    start.set(part, filled);
    filled += part.length;
    if (filled === length) break;
  }
  return start.subarray(0, filled);
}

/** Puts together what one piece leaves over and the next piece, in one buffer: fresh ones would cost page faults. */
export class Joined {
  /** Of what is left over. */
  left = 0;
  private buffer = new Uint8Array(0);

  /** What was left over and `piece` behind it; valid until the next. */
  join(piece: Uint8Array): Uint8Array {
    const length = this.left + piece.length;
    if (length > this.buffer.length) {
      const wider = new Uint8Array(Math.ceil(length * 1.5));
      wider.set(this.buffer.subarray(0, this.left));
      this.buffer = wider;
    }
    this.buffer.set(piece, this.left);
    this.left = length;
    return this.buffer.subarray(0, length);
  }

  /** All but the first `used` bytes are left over. */
  use(used: number): void {
    this.buffer.copyWithin(0, used, this.left);
    this.left -= used;
  }
}

/**
 * Pieces that hold whole lines, each line closed by a newline, the last one too: `open` is called before it is yielded,
 * alone, where the file has no newline there. A piece is valid until the next. Throws TraceError on endless lines.
 */
export function* wholeLines(stream: ByteStream, open?: () => void): Generator<Uint8Array> {
  const newline = 10;
  const joined = new Joined();
  let offset = 0;
  for (const piece of stream.pieces()) {
    const end = piece.lastIndexOf(newline) + 1;
    const first = end > 0 ? piece.indexOf(newline) + 1 : piece.length;
    const { left } = joined;
    if (left + first > line_bytes_max || piece.length - end > line_bytes_max)
      throw new TraceError(
        stream.path,
        `byte ${left + first > line_bytes_max ? offset - left : offset + end}`,
        `a line longer than ${line_bytes_max} bytes; no line of a trace is`,
      );
    offset += piece.length;
    const bytes = joined.join(piece);
    if (end === 0) continue;
    yield bytes.subarray(0, left + end);
    joined.use(left + end);
  }
  if (joined.left === 0) return;
  open?.();
  yield joined.join(Uint8Array.of(newline));
}

/** `bytes` as text for a message: one line, short, nothing that a terminal would act on. */
export function quote(bytes: Uint8Array): string {
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 60));
  const shown = text.replace(
    /[^\x20-\x7e]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return `"${shown}${bytes.length > 60 ? '...' : ''}"`;
}
