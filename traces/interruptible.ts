/** Long loops over a trace that a signal can end. */
import { setImmediate } from 'node:timers/promises';
import type { Chunk } from './trace.ts';

/** The chunks. Between two of them signals are heard, which wait while nothing but a loop runs. */
export async function* interruptible(chunks: Iterable<Chunk>): AsyncGenerator<Chunk> {
  for (const chunk of chunks) {
    yield chunk;
    await setImmediate();
  }
}
