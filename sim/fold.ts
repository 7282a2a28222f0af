/** A trace with what no configuration can treat differently added up. */
import { type Chunk, copyChunk } from '../traces/trace.ts';

export interface Folded {
  /** Configurations must map nothing below this. */
  readonly floor_bytes: number;
  readonly events: number;
  readonly chunks: readonly Chunk[];
}

export function foldTrace(chunks: Iterable<Chunk>, floor_bytes: number, progress?: (events: number) => void): Folded {
  const kept: Chunk[] = [];
  let events = 0;
  for (const chunk of chunks) {
    kept.push(copyChunk(chunk));
    events += chunk.length;
    progress?.(events);
  }
  return { floor_bytes, events, chunks: kept };
}
