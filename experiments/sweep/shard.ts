/**
 * A result shard: an append-only file of rows, a line each, that carries its own checksum. A process killed while it
 * writes leaves at most a torn last line, which is no harm; a broken line before that is damage, and named.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { crc32 } from '../../traces/crc32.ts';
import { TraceError } from '../../traces/index.ts';
import { UsageError } from '../command.ts';

export interface Shard<T> {
  readonly records: readonly T[];
  /** The length up to which the file is whole. */
  readonly whole_bytes: number;
}

const prefix = '{"crc32":"';
const infix = '","row":';
const row_at = prefix.length + 8 + infix.length;

/** Nothing where there is no file yet. Throws UsageError where a line is broken that is not the last. */
export function readShard<T>(path: string): Shard<T> {
  const records: T[] = [];
  let whole_bytes = 0;
  if (!existsSync(path)) return { records, whole_bytes };
  const bytes = readFileSync(path);
  for (let line = 1; whole_bytes < bytes.length; line += 1) {
    const end = bytes.indexOf(10, whole_bytes);
    const record = end < 0 ? null : recordOf<T>(bytes.subarray(whole_bytes, end));
    if (record === null) {
      if (end < 0 || end + 1 === bytes.length) break;
      throw new UsageError(
        `${path}: line ${line}: its checksum does not hold; remove this file, and its rows are made again`,
      );
    }
    records.push(record.value);
    whole_bytes = end + 1;
  }
  return { records, whole_bytes };
}

/** Cuts off a torn end. */
export function truncateShard(path: string, whole_bytes: number): void {
  if (existsSync(path) && statSync(path).size > whole_bytes) truncateSync(path, whole_bytes);
}

/**
 * Appends records behind the `whole_bytes` that hold and returns the new length. Throws TraceError where it cannot be
 * written, or where somebody else writes to it, and leaves what was whole.
 */
export function appendToShard(path: string, whole_bytes: number, records: readonly unknown[]): number {
  const bytes = Buffer.from(records.map((record) => `${lineOf(JSON.stringify(record))}\n`).join(''));
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'a');
    const { size } = fstatSync(descriptor);
    if (size !== whole_bytes) throw new Error(`it has ${size} bytes, not ${whole_bytes}: another process writes to it`);
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(descriptor, bytes, done);
    } catch (error) {
      ftruncateSync(descriptor, whole_bytes);
      throw error;
    }
    return whole_bytes + bytes.length;
  } catch (error) {
    throw new TraceError(path, '', `cannot be written: ${(error as Error).message}`);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function lineOf(text: string): string {
  return `${prefix}${crc32(Buffer.from(text)).toString(16).padStart(8, '0')}${infix}${text}}`;
}

/** Null where the line is not, byte for byte, what was written. */
function recordOf<T>(line: Buffer): { value: T } | null {
  const text = line.subarray(row_at, line.length - 1).toString();
  try {
    const value = JSON.parse(text) as T;
    return line.toString() === lineOf(text) ? { value } : null;
  } catch {
    return null;
  }
}
