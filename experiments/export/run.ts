/** Runs the simulator over a trace for an observer, counting what the program itself holds live. */
import { type Moment, type Observer, Replay, type Result } from '../../sim/index.ts';
import { type Chunk, interruptible, large_bytes, op } from '../../traces/index.ts';
import type { ExportRun } from './exporter.ts';

/** Told in the trace's order, on its own clock. */
export interface Watcher {
  /** After every event. `bytes` is the object's size after it: 0 after a free. */
  event?(chunk: Chunk, row: number, price_ns: number, bytes: number): void;
  /** At every checkpoint and at the end: requested bytes that are live, and the trace's time. */
  moment?(moment: Moment, live_bytes: number, time_ns: number): void;
}

export async function watch({ trace, chosen, progress }: ExportRun, watcher: Watcher): Promise<Result> {
  const live = new Live();
  let time_ns = 0;
  const observer: Observer = {
    event: (chunk, row, price_ns) => {
      time_ns = chunk.time_ns[row];
      const bytes = live.add(chunk, row);
      watcher.event?.(chunk, row, price_ns, bytes);
    },
    moment: (moment) => watcher.moment?.(moment, live.bytes, time_ns),
  };
  const replay = new Replay(chosen.setup, observer);
  for await (const chunk of interruptible(trace.chunks())) {
    replay.feed(chunk);
    progress(replay.events);
  }
  return replay.finish();
}

/** Blocks from here on are worth a line of their own. */
export const block_bytes = large_bytes;

export class Live {
  bytes = 0;
  private size_of = new Float64Array(1024);

  /** The object's size after the event. */
  add({ op: kinds, object, size_bytes }: Chunk, row: number): number {
    const slot = object[row];
    if (slot >= this.size_of.length) {
      const wider = new Float64Array(Math.max(slot + 1, 2 * this.size_of.length));
      wider.set(this.size_of);
      this.size_of = wider;
    }
    const bytes = kinds[row] === op.free ? 0 : size_bytes[row];
    this.bytes += bytes - this.size_of[slot];
    this.size_of[slot] = bytes;
    return bytes;
  }
}
