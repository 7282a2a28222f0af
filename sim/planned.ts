/**
 * Many configurations over one trace without doing work twice. What no configuration can treat differently, blocks below
 * every threshold, is folded once (fold.ts); each configuration then runs over the events that are left.
 */
import type { Chunk } from '../traces/trace.ts';
import { type Folded, foldTrace } from './fold.ts';
import { type Observer, Replay, type Setup } from './replay.ts';
import type { Outcome } from './result.ts';

/** One configuration over a folded trace: the Outcome of a full replay, to the last bit. */
export function simulate(folded: Folded, setup: Setup, observer: Observer = {}): Outcome {
  const run = new Replay(setup, observer);
  for (const chunk of folded.chunks) run.feed(chunk);
  const { liveness: _, checkpoints: __, log: ___, ...outcome } = run.finish();
  return outcome;
}

/** Every setup over the trace, in order. `progress` is called with the setups done. */
export function simulateAll(
  chunks: Iterable<Chunk>,
  setups: readonly Setup[],
  progress?: (done: number) => void,
): Outcome[] {
  const folded = foldTrace(chunks, 0);
  return setups.map((setup, at) => {
    const outcome = simulate(folded, setup);
    progress?.(at + 1);
    return outcome;
  });
}
