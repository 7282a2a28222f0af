/** A file that a page was given, read in pieces by a worker: no more of it is in memory than the piece in hand. */
import type { ByteSource } from '../../traces/hak.ts';
import { TraceError } from '../../traces/trace.ts';

// Only workers have it; the page's types are those of a window.
declare const FileReaderSync: new () => { readAsArrayBuffer(blob: Blob): ArrayBuffer };

const piece_bytes = 2 ** 20;

export class BlobSource implements ByteSource {
  readonly path: string;
  readonly length: number;
  private readonly blob: Blob;
  private readonly reader = new FileReaderSync();
  private readonly onRead: (share: number) => void;
  private piece = new Uint8Array(0);
  private piece_offset = 0;

  constructor(blob: Blob, path: string, onRead: (share: number) => void = () => {}) {
    this.blob = blob;
    this.path = path;
    this.length = blob.size;
    this.onRead = onRead;
  }

  read(offset: number, length: number): Uint8Array {
    if (offset + length > this.length)
      throw new TraceError(
        this.path,
        `byte ${this.length}`,
        `the file ends here; ${offset + length} bytes were wanted`,
      );
    const at = offset - this.piece_offset;
    if (at >= 0 && at + length <= this.piece.length) return this.piece.subarray(at, at + length);
    this.piece = this.fetch(offset, Math.max(length, piece_bytes));
    this.piece_offset = offset;
    return this.piece.subarray(0, length);
  }

  private fetch(offset: number, length: number): Uint8Array<ArrayBuffer> {
    this.onRead(offset / this.length);
    try {
      return new Uint8Array(this.reader.readAsArrayBuffer(this.blob.slice(offset, offset + length)));
    } catch (error) {
      throw new TraceError(this.path, `byte ${offset}`, `cannot be read: ${(error as Error).message}`);
    }
  }
}
