/**
 * What hak-replayer and a library take for an event that the thread's cache serves: replays of one block at a time, taken and
 * given back, with nothing touched. Without what the library takes of it, it is the replayer's own work for an event.
 */
import { join } from 'node:path';
import { median } from 'd3-array';
import type { AllocatorName } from '../../native/allocators.ts';
import { runReplayer } from '../../native/replayer.ts';
import { op, originOf, TraceBuilder, writeHak } from '../../traces/index.ts';
import type { PriceList } from '../calibrate/price-file.ts';

/** Who is replayed on: a library, and its setting as environment variables. */
export interface ReplayedLibrary {
  readonly allocator: AllocatorName;
  readonly env: Readonly<Record<string, string>>;
}

const cached_sizes = [24, 400];
const cached_pairs = 100_000;

/** Files in `folder`. */
export function cachedTraces(folder: string): string[] {
  return cached_sizes.map((size_bytes) => {
    const builder = new TraceBuilder(2 * cached_pairs);
    for (let pair = 0; pair < cached_pairs; pair += 1) {
      builder.allocate(op.malloc, 0, size_bytes);
      builder.free(0);
    }
    const path = join(folder, `cached-${size_bytes}.hak`);
    writeHak(path, builder.finish(), { time: false, sites: false, touch: false }, () => originOf('generated', {}));
    return path;
  });
}

/** In ns, of one run. Rejects as runReplayer does. */
export async function cachedEvent(path: string, { allocator, env }: ReplayedLibrary): Promise<number> {
  const { rounds, trace } = await runReplayer(path, { allocator, env, touch: 'none', bare: true });
  return rounds[0].cpu_ns / trace.events;
}

/** The replayer's part of it, at least 1 ns. */
export function eventOf(cached_ns: readonly number[], { library, prices }: PriceList): number {
  return Math.max(1, Math.round(median(cached_ns)! - (library?.cached_ns ?? prices.heap_call_ns)));
}
