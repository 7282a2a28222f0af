/**
 * Part of a trace, legal in itself. Whether a block is in it is decided at its allocation, and everything that becomes of it
 * follows; outside the window nothing happens, so a block that is older than the window is not in it either.
 */
import { TraceBuilder } from './builder.ts';
import { type Chunk, op, type Trace } from './trace.ts';

export interface Wanted {
  /** Requested bytes of the allocation, both ends included. */
  readonly size_bytes: readonly [number, number];
  /** Of the allocation; null for all. */
  readonly threads: ReadonlySet<number> | null;
  /** By number; null for all. */
  readonly sites: Uint8Array | null;
  /** [from, to) in the trace's time. */
  readonly window_ns: readonly [number, number];
}

export function* filtered(trace: Trace, wanted: Wanted): Generator<Chunk> {
  const builder = new TraceBuilder();
  const { has_time } = trace.origin;
  const [from_ns, to_ns] = wanted.window_ns;
  const details = { thread: 0, align: 0, site: 0, time_ns: undefined as number | undefined, touched_pages: 0 };
  for (const chunk of trace.chunks()) {
    const { op: kinds, thread, object, size_bytes, align, site, time_ns, touched_pages, length } = chunk;
    if (time_ns[0] >= to_ns) break;
    for (let row = 0; row < length; row += 1) {
      if (time_ns[row] < from_ns || time_ns[row] >= to_ns) continue;
      const kind = kinds[row];
      const block = object[row];
      details.thread = thread[row];
      details.align = align[row];
      details.site = site[row];
      details.time_ns = has_time ? time_ns[row] : undefined;
      details.touched_pages = touched_pages[row];
      if (kind !== op.free && kind !== op.realloc) {
        if (isWanted(chunk, row, wanted)) builder.allocate(kind, block, size_bytes[row], details);
      } else if (builder.isLive(block)) {
        if (kind === op.free) builder.free(block, details);
        else builder.reallocate(block, block, size_bytes[row], details);
      }
    }
    yield* builder.full();
  }
  yield* builder.finish();
}

function isWanted({ thread, size_bytes, site }: Chunk, row: number, wanted: Wanted): boolean {
  const [least, most] = wanted.size_bytes;
  return (
    size_bytes[row] >= least &&
    size_bytes[row] <= most &&
    (wanted.threads === null || wanted.threads.has(thread[row])) &&
    (wanted.sites === null || wanted.sites[site[row]] === 1)
  );
}
