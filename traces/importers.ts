/** The formats we read, a line each, and which of them a file is. */
import type { ByteSource } from './hak.ts';
import type { Importer, Importing } from './importer.ts';
import { scenario } from './scenario.ts';
import { quote, startOf, streamOf } from './stream.ts';
import { text } from './text.ts';
import { TraceError } from './trace.ts';
import { wee_alloc } from './wee-alloc.ts';
import { isZip, unzip } from './zip.ts';

export const importers: readonly Importer[] = [
  wee_alloc,
  scenario,
  // Last, for it also takes a file that begins with a comment.
  text,
];

const start_bytes = 4096;

/** Begins to import `source`, zipped or not, as `format`, or as what it looks like. Throws TraceError. */
export function importing(source: ByteSource, format?: string): Importing {
  const { path } = source;
  const first = source.read(0, Math.min(start_bytes, source.length)).slice();
  const stream = isZip(first) ? unzip(source) : streamOf(source);
  const importer =
    format === undefined
      ? importers.find((known) => known.recognises(startOf(stream, start_bytes)))
      : importers.find((known) => known.name === format);
  if (importer === undefined) {
    const wanted = ['a .hak file', ...importers.map((known) => known.wanted)].join(' or ');
    throw new TraceError(path, 'byte 0', `found ${quote(startOf(stream, 16))}; wanted ${wanted}`);
  }
  return importer.import(stream);
}
