/** Files of records of one length in 64-bit little-endian words, read as they stream by. */
import { type ByteStream, Joined } from './stream.ts';

/** Whole records, and where the first of them stands in the file. Valid until the next. */
export interface RecordRun {
  readonly view: DataView;
  readonly offset: number;
  readonly records: number;
}

/** The records behind a header of `header_bytes`; returns how many bytes at the end are no whole record. */
export function* recordRuns(
  stream: ByteStream,
  header_bytes: number,
  record_bytes: number,
): Generator<RecordRun, number> {
  let skip = header_bytes;
  let offset = header_bytes;
  const joined = new Joined();
  for (const piece of stream.pieces()) {
    const part = piece.subarray(Math.min(skip, piece.length));
    skip -= piece.length - part.length;
    const bytes = joined.join(part);
    const records = Math.floor(bytes.length / record_bytes);
    if (records > 0) yield { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset, records };
    joined.use(records * record_bytes);
    offset += records * record_bytes;
  }
  return joined.left;
}

/** Beyond 2^53 only near. */
export function uint64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}
