/** The little of an ELF file that names call sites: its build id, and where its code wants to lie. */
import { closeSync, openSync, readSync } from 'node:fs';

export interface ElfFile {
  /** A hash of the program's content by the linker, in hexadecimal; null where it was linked without. */
  readonly build_id: string | null;
  /** Of its first segment, before it is moved somewhere, rounded down to whole pages of 4 KiB. */
  readonly first_address: number;
}

const header_bytes = 64;
/** Of a table of headers, or of notes: more is no sane file's. */
const part_bytes_max = 2 ** 20;
const [program_load, program_note, section_note, gnu_build_id] = [1, 4, 7, 3];

/** Null where `path` cannot be read, or is no 64-bit little-endian ELF file. */
export function readElf(path: string): ElfFile | null {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch {
    return null;
  }
  try {
    return elfOf((offset, length) => readPart(descriptor, offset, length));
  } catch {
    return null;
  } finally {
    closeSync(descriptor);
  }
}

type Part = (offset: number, length: number) => Buffer;

function readPart(descriptor: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(Math.min(length, part_bytes_max));
  return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, offset));
}

function elfOf(part: Part): ElfFile | null {
  const header = part(0, header_bytes);
  if (header.length < header_bytes || header.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return null;
  const table = (offset: number, size_at: number): Buffer[] => {
    const [entry_bytes, entries] = [header.readUInt16LE(size_at), header.readUInt16LE(size_at + 2)];
    const bytes = part(offset, entry_bytes * entries);
    return Array.from({ length: entries }, (_, at) => bytes.subarray(at * entry_bytes, (at + 1) * entry_bytes));
  };
  const long = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));
  const programs = table(long(header, 32), 54);
  const sections = table(long(header, 40), 58);
  const load = programs.find((entry) => entry.readUInt32LE(0) === program_load);
  // A file of debug symbols alone has sections, and programs that point to nothing.
  const notes = [
    ...sections
      .filter((entry) => entry.readUInt32LE(4) === section_note)
      .map((entry) => [long(entry, 24), long(entry, 32)]),
    ...programs
      .filter((entry) => entry.readUInt32LE(0) === program_note)
      .map((entry) => [long(entry, 8), long(entry, 32)]),
  ];
  let build_id: string | null = null;
  for (const [offset, length] of notes) build_id ??= buildIdIn(part(offset, length));
  return { build_id, first_address: load === undefined ? 0 : Math.floor(long(load, 16) / 4096) * 4096 };
}

/** Notes stand one after another: lengths of name and content, type, name, content, each filled up to 4 bytes. */
function buildIdIn(notes: Buffer): string | null {
  const padded = (length: number) => Math.ceil(length / 4) * 4;
  for (let at = 0; at + 12 <= notes.length; ) {
    const [name_bytes, bytes] = [notes.readUInt32LE(at), notes.readUInt32LE(at + 4)];
    const start = at + 12 + padded(name_bytes);
    if (notes.readUInt32LE(at + 8) === gnu_build_id && notes.toString('latin1', at + 12, at + 16) === 'GNU\0')
      return notes.subarray(start, start + bytes).toString('hex');
    at = start + padded(bytes);
  }
  return null;
}
