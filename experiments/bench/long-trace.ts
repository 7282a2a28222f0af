/** A trace of any length whose threads, call sites and live blocks are always as many: what takes memory by its length shows. */
import seedrandom from 'seedrandom';
import { type Chunk, type Origin, op, originOf, TraceBuilder } from '../../traces/index.ts';

const threads = 8;
const sites = 1024;
const blocks = 100_000;
/** A thread's events before it is another's turn. */
const turn_events = 64;

export const long_columns = { time: true, sites: true, touch: false };

export const long_origin: Origin = originOf('generated', {
  program: 'long-trace',
  has_time: true,
  has_sites: true,
  sites: Array.from({ length: sites }, (_, site) => ({
    hash: site.toString(16).padStart(8, '0'),
    name: `leaf_${site} < caller_${site % 64} < main`,
  })),
});

/** Half of the blocks are live; 1 of 256 has 512 KiB to 4 MiB, the others 16 B to 16 KiB; 1 free of 16 is another thread's. */
export function* longTrace(events: number): Generator<Chunk> {
  const random = seedrandom.alea('long trace');
  const below = (bound: number): number => Math.floor(random() * bound);
  const builder = new TraceBuilder();
  const details = { thread: 0, site: 0, time_ns: 0 };
  for (let event = 0; event < events; event += 1) {
    const thread = Math.floor(event / turn_events) % threads;
    const block = thread + threads * below(blocks / threads);
    details.thread = thread;
    details.time_ns += 20 + below(500);
    if (builder.isLive(block)) {
      if (below(16) === 0) details.thread = (thread + 1) % threads;
      builder.free(block, details);
    } else {
      const size_bytes = below(256) === 0 ? 2 ** 19 + below(2 ** 22 - 2 ** 19) : Math.floor(2 ** (4 + 10 * random()));
      details.site = Math.floor(sites * random() ** 2);
      builder.allocate(op.malloc, block, size_bytes, details);
    }
    yield* builder.full();
  }
  yield* builder.finish();
}
