/** What an importer is: it recognises a format by its first bytes and turns a stream of bytes into chunks. */
import type { TraceBuilder } from './builder.ts';
import type { ByteStream } from './stream.ts';
import { type Chunk, type Origin, originOf } from './trace.ts';

/** The optional columns that a file keeps. */
export interface Columns {
  readonly time: boolean;
  readonly sites: boolean;
  readonly touch: boolean;
}

/** An import on its way. `origin` is complete once `chunks` has run out, for what was lost is known only then. */
export interface Importing {
  readonly columns: Columns;
  /**
   * Reads the stream from its start, so that it may be called again. A chunk is valid until the next; it is empty where
   * much was read and no event is known yet, so that a signal can be heard.
   */
  chunks(): Generator<Chunk>;
  origin(): Origin;
}

export interface Importer {
  /** As `--from` takes it. */
  readonly name: string;
  recognises(start: Uint8Array): boolean;
  /** Throws TraceError, here or while the chunks are read. */
  import(stream: ByteStream): Importing;
}

/** The origin of a trace that `builder` took in: what every importer has to say alike. */
export function importedOrigin(
  stream: ByteStream,
  format: string,
  builder: TraceBuilder,
  known: Partial<Origin>,
): Origin {
  const program = stream.path.slice(stream.path.lastIndexOf('/') + 1);
  const repaired =
    builder.repaired > 0
      ? [
          `${builder.repaired} blocks were handed out again before their free was written; a free was put in before each.`,
        ]
      : [];
  return originOf('imported', {
    format,
    program,
    command: `hakmem import ${program}`,
    dropped: builder.dropped,
    ...known,
    notes: [...(known.notes ?? []), ...repaired],
  });
}
