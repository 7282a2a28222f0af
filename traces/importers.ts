/** The formats we read, a line each, and which of them a file is. */
import { alk } from './alk.ts';
import { bytehound } from './bytehound.ts';
import { cs_app } from './cs-app.ts';
import { gunzip, isGzip } from './gzip.ts';
import type { ByteSource } from './hak.ts';
import { heaptrack } from './heaptrack.ts';
import type { Importer, Importing } from './importer.ts';
import { jemalloc } from './jemalloc.ts';
import { logalloc } from './logalloc.ts';
import { malloc_bench } from './malloc-bench.ts';
import { mtrace } from './mtrace.ts';
import { scenario } from './scenario.ts';
import { type ByteStream, quote, startOf, streamOf } from './stream.ts';
import { text } from './text.ts';
import { TraceError } from './trace.ts';
import { valgrind } from './valgrind.ts';
import { wee_alloc } from './wee-alloc.ts';
import { wl } from './wl.ts';
import { isZip, unzip } from './zip.ts';
import { isZstd, unzstd } from './zstd.ts';

export const importers: readonly Importer[] = [
  wee_alloc,
  heaptrack,
  malloc_bench,
  mtrace,
  cs_app,
  valgrind,
  logalloc,
  wl,
  jemalloc,
  // Without a magic number, by all of their start.
  bytehound,
  alk,
  scenario,
  // Last, for it also takes a file that begins with a comment.
  text,
];

const start_bytes = 4096;

/** Begins to import `source`, packed or not, as `format`, or as what it looks like. Throws TraceError. */
export function importing(source: ByteSource, format?: string): Importing {
  const { path } = source;
  const stream = unpacked(source);
  // Once: of a packed file each look at the start unpacks it anew.
  const start = startOf(stream, start_bytes);
  const importer = importers.find((known) => (format === undefined ? known.recognises(start) : known.name === format));
  if (importer === undefined) {
    const names = importers.map(({ name }) => name).join(', ');
    throw new TraceError(
      path,
      'byte 0',
      `found ${quote(start.subarray(0, 16))}; wanted a .hak file, or a trace as docs/FORMATS.md has it: ${names}`,
    );
  }
  return importer.import(stream);
}

/** What `source` holds, packed by zip, gzip, zstd or not at all. */
function unpacked(source: ByteSource): ByteStream {
  const start = source.read(0, Math.min(4, source.length)).slice();
  if (isZip(start)) return unzip(source);
  if (isGzip(start)) return gunzip(source);
  return isZstd(start) ? unzstd(source) : streamOf(source);
}
