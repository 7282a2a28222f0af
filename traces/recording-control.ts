/**
 * When a recorded process was recorded, how much of it was kept, and where the segments of its ring lie. Mirror of
 * native/recorder/control.h.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** Times are those of CLOCK_MONOTONIC. */
export interface RecordedControl {
  /** When it was first switched on; 0 where it never was. */
  readonly begin_ns: number;
  /** What comes later does not count; 0: all does. */
  readonly end_ns: number;
  readonly max_bytes: number;
  readonly keep_bytes: number;
  readonly switches: number;
  readonly paused_ns: number;
  readonly segments: number;
  readonly is_full: boolean;
  readonly signal: number;
  readonly signal_is_lost: boolean;
  readonly streams: number;
}

/** A flushed buffer in the file `ring`. */
export interface Segment {
  /** In the order of flushing over all streams, from 1. */
  readonly number: number;
  readonly stream: number;
  readonly offset: number;
  readonly bytes: number;
}

const control_magic = 'HAKCTRL1';
const control_file_bytes = 96;
export const segment_header_bytes = 16;

/** Undefined where the file is cut off or is none. */
export function readControl(bytes: Buffer): RecordedControl | undefined {
  if (bytes.length < control_file_bytes || bytes.toString('latin1', 0, 8) !== control_magic) return undefined;
  const long = (index: number) => Number(bytes.readBigUInt64LE(8 + index * 8));
  const word = (index: number) => bytes.readUInt32LE(80 + index * 4);
  return {
    begin_ns: long(0),
    end_ns: long(1),
    max_bytes: long(2),
    keep_bytes: long(3),
    switches: long(5),
    paused_ns: long(6),
    segments: long(8),
    is_full: word(0) !== 0,
    signal: word(1),
    signal_is_lost: word(2) !== 0,
    streams: word(3),
  };
}

/** The segments that are whole, oldest first, and the bytes of those that should be there and are not. */
export function readRing(
  folder: string,
  buffer_bytes: number,
  control: RecordedControl | undefined,
): { readonly segments: readonly Segment[]; readonly missing_bytes: number } {
  const segment_bytes = segment_header_bytes + buffer_bytes;
  const wanted = Math.min(control?.segments ?? 0, Math.floor((control?.keep_bytes ?? 0) / segment_bytes));
  let descriptor: number;
  try {
    descriptor = openSync(join(folder, 'ring'), 'r');
  } catch {
    return { segments: [], missing_bytes: wanted * segment_bytes };
  }
  const segments: Segment[] = [];
  let places = 0;
  const header = Buffer.alloc(segment_header_bytes);
  for (let at = 0; readSync(descriptor, header, 0, header.length, at) === header.length; at += segment_bytes) {
    places += 1;
    const [number, stream, bytes] = [
      Number(header.readBigUInt64LE(0)),
      header.readUInt32LE(8),
      header.readUInt32LE(12),
    ];
    if (number > 0 && bytes <= buffer_bytes) segments.push({ number, stream, offset: at + header.length, bytes });
  }
  closeSync(descriptor);
  return {
    segments: segments.sort((a, b) => a.number - b.number),
    missing_bytes: Math.max(0, wanted - places) * segment_bytes,
  };
}
