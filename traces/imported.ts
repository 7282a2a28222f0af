/** A foreign trace, opened: counted in one pass, and kept in memory unless it is so long that reading it anew costs less. */
import type { ByteSource } from './hak.ts';
import type { Importing } from './importer.ts';
import { importing } from './importers.ts';
import { Tally } from './tally.ts';
import { type Chunk, copyChunk, type Origin, type Statistics, type Trace, TraceError } from './trace.ts';

/** About half a gigabyte of columns. Beyond, every reading imports the file again. */
const kept_events_max = 2 ** 24;

export class ImportedTrace implements Trace {
  readonly path: string;
  readonly origin: Origin;
  readonly statistics: Statistics;
  private readonly again: Importing;
  private readonly kept: Chunk[] | undefined;

  /** Throws TraceError where the file is not of a known format, or is broken anywhere. */
  constructor(source: ByteSource, format?: string) {
    this.path = source.path;
    this.again = importing(source, format);
    const tally = new Tally();
    let kept: Chunk[] | undefined = [];
    let events = 0;
    for (const chunk of this.again.chunks()) {
      tally.add(chunk);
      events += chunk.length;
      if (events > kept_events_max) kept = undefined;
      kept?.push(copyChunk(chunk));
    }
    if (events === 0) throw new TraceError(source.path, '', 'no allocation and no free in it; wanted a trace');
    this.kept = kept;
    this.origin = this.again.origin();
    this.statistics = tally.statistics();
  }

  *chunks(): Generator<Chunk> {
    for (const chunk of this.kept ?? this.again.chunks()) if (chunk.length > 0) yield chunk;
  }
}
