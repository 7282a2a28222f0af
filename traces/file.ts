/** The one file of traces/ that touches a disk: reading in pieces, and writing that is whole or not there at all. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import type { Spool } from './exporters/exporter.ts';
import type { ByteSink, ByteSource } from './hak.ts';
import { HakWriter } from './hak.ts';
import type { Columns } from './importer.ts';
import { interruptible } from './interruptible.ts';
import { streamOf } from './stream.ts';
import { type Chunk, type Origin, type Statistics, TraceError } from './trace.ts';

/** A file as bytes; one buffer is reused. Throws TraceError where it cannot be read or is no file. */
export class FileSource implements ByteSource {
  readonly path: string;
  readonly length: number;
  private readonly descriptor: number;
  private buffer = new Uint8Array(64 * 1024);

  constructor(path: string) {
    this.path = path;
    try {
      this.descriptor = openSync(path, 'r');
    } catch (error) {
      throw new TraceError(path, '', reason(error));
    }
    const stat = fstatSync(this.descriptor);
    if (!stat.isFile()) {
      closeSync(this.descriptor);
      throw new TraceError(path, '', stat.isDirectory() ? 'a directory; wanted a trace file' : 'not a regular file');
    }
    this.length = stat.size;
  }

  read(offset: number, length: number): Uint8Array {
    if (offset + length > this.length)
      throw new TraceError(
        this.path,
        `byte ${this.length}`,
        `the file ends here; ${offset + length} bytes were wanted`,
      );
    if (length > this.buffer.length) this.buffer = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const count = readSync(this.descriptor, this.buffer, done, length - done, offset + done);
      if (count === 0) throw new TraceError(this.path, `byte ${offset + done}`, 'the file shrank while it was read');
      done += count;
    }
    return this.buffer.subarray(0, length);
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

/** SHA-256 of a file's bytes, in hexadecimal. Throws TraceError where it cannot be read. */
export function sha256OfFile(path: string): string {
  const source = new FileSource(path);
  const hash = createHash('sha256');
  try {
    for (const piece of streamOf(source).pieces()) hash.update(piece);
  } finally {
    source.close();
  }
  return hash.digest('hex');
}

/** Temporary files of this process that are not yet renamed; `discardUnfinished` removes them. */
const unfinished = new Set<string>();

/** Removes what an interrupted write left: for signal handlers. */
export function discardUnfinished(): void {
  for (const path of unfinished) rmSync(path, { force: true });
}

/**
 * A file that appears whole or not at all: written beside its path, and renamed by `commit`. Until then, and after
 * `abandon`, the path is what it was before. Throws TraceError where it cannot be written.
 */
class AtomicFile implements ByteSink {
  private readonly path: string;
  private readonly temporary: string;
  private readonly descriptor: number;
  private open = true;

  constructor(path: string) {
    this.path = path;
    this.temporary = `${path}.${process.pid}.tmp`;
    // Renaming over a device, say /dev/null, would replace the device.
    if (existsSync(path) && !statSync(path).isFile())
      throw new TraceError(path, '', 'not a regular file; cannot be written');
    this.descriptor = this.attempt(() => openSync(this.temporary, 'w'));
    unfinished.add(this.temporary);
  }

  append(bytes: Uint8Array): void {
    this.attempt(() => writeAll(this.descriptor, bytes, null));
  }

  rewriteStart(bytes: Uint8Array): void {
    this.attempt(() => writeAll(this.descriptor, bytes, 0));
  }

  commit(): void {
    this.attempt(() => {
      fsyncSync(this.descriptor);
      this.close();
      renameSync(this.temporary, this.path);
    });
    unfinished.delete(this.temporary);
  }

  /** Does nothing after `commit`. */
  abandon(): void {
    this.close();
    if (unfinished.delete(this.temporary)) rmSync(this.temporary, { force: true });
  }

  private close(): void {
    if (this.open) closeSync(this.descriptor);
    this.open = false;
  }

  private attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw new TraceError(this.path, '', `cannot be written: ${reason(error)}`);
    }
  }
}

/** Bytes put aside in a file beside `path`, until `discard`. Throws TraceError where it cannot be written. */
export class Spooled implements Spool {
  private readonly path: string;
  private readonly descriptor: number;
  private source: FileSource | undefined;

  constructor(path: string) {
    this.path = `${path}.${process.pid}.spool.tmp`;
    try {
      this.descriptor = openSync(this.path, 'w');
    } catch (error) {
      throw new TraceError(path, '', `cannot be written: ${reason(error)}`);
    }
    unfinished.add(this.path);
  }

  append(bytes: Uint8Array): void {
    try {
      writeAll(this.descriptor, bytes, null);
    } catch (error) {
      throw new TraceError(this.path, '', `cannot be written: ${reason(error)}`);
    }
  }

  /** What was appended before the first reading. */
  read(offset: number, length: number): Uint8Array {
    this.source ??= new FileSource(this.path);
    return this.source.read(offset, length);
  }

  discard(): void {
    this.source?.close();
    closeSync(this.descriptor);
    rmSync(this.path, { force: true });
    unfinished.delete(this.path);
  }
}

/** Writes `path` by `write`, whole or not at all: whatever goes wrong, `path` is what it was before. */
export function writeAtomically<T>(path: string, write: (sink: ByteSink) => T): T {
  const file = new AtomicFile(path);
  try {
    const result = write(file);
    file.commit();
    return result;
  } finally {
    file.abandon();
  }
}

/** `writeAtomically` for what takes long: `write` lets signals be heard, and Ctrl-C leaves `path` as it was. */
export async function writeLong<T>(path: string, write: (sink: ByteSink) => Promise<T>): Promise<T> {
  const file = new AtomicFile(path);
  try {
    const result = await write(file);
    file.commit();
    return result;
  } finally {
    file.abandon();
  }
}

/**
 * Writes a trace to `path` as `.hak`, whole or not at all. `chunks` is read once; `originAfter` is asked when the last
 * chunk is written, for importers learn what was lost only then.
 */
export function writeHak(
  path: string,
  chunks: Iterable<Chunk>,
  columns: Columns,
  originAfter: () => Origin,
): Statistics {
  return writeAtomically(path, (sink) => {
    const writer = new HakWriter(path, sink, columns);
    for (const chunk of chunks) writer.add(chunk);
    return writer.finish(originAfter());
  });
}

/** The same for traces that take long: Ctrl-C ends it and cleans up. */
export function writeLongHak(
  path: string,
  chunks: Iterable<Chunk>,
  columns: Columns,
  originAfter: () => Origin,
): Promise<Statistics> {
  return writeLong(path, async (sink) => {
    const writer = new HakWriter(path, sink, columns);
    for await (const chunk of interruptible(chunks)) writer.add(chunk);
    return writer.finish(originAfter());
  });
}

function writeAll(descriptor: number, bytes: Uint8Array, position: number | null): void {
  let done = 0;
  while (done < bytes.length)
    done += writeSync(descriptor, bytes, done, bytes.length - done, position === null ? null : position + done);
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file';
  if (code === 'EACCES') return 'permission denied';
  return message;
}
