/**
 * What no setting can avoid: a call for every event, one first touch of all that is in use at once, and that memory itself.
 * A bound from below, so what it leaves is the most that any setting could remove.
 */
import { type Setup, shape } from '../../sim/index.ts';
import { touchedPages, touchIndex } from '../../sim/kernel/touch.ts';
import { type Chunk, op } from '../../traces/index.ts';
import type { Unavoidable } from './target.ts';

/** Blocks below `floor_bytes` are never mapped: the heap path touches them whole. */
export function unavoidable(chunks: Iterable<Chunk>, setup: Setup, floor_bytes: number): Unavoidable {
  const touch = touchIndex(setup.touch);
  const live = new Map<number, number>();
  let events = 0;
  let now_bytes = 0;
  let peak_bytes = 0;
  for (const chunk of chunks) {
    events += chunk.length;
    for (let row = 0; row < chunk.length; row += 1) {
      const slot = chunk.object[row];
      now_bytes -= live.get(slot) ?? 0;
      if (chunk.op[row] === op.free) {
        live.delete(slot);
        continue;
      }
      const size_bytes = chunk.size_bytes[row];
      const touched_bytes = touchedPages(touch, size_bytes, chunk.touched_pages[row]) * shape.page_bytes;
      const used_bytes = size_bytes < floor_bytes ? size_bytes : Math.min(size_bytes, touched_bytes);
      live.set(slot, used_bytes);
      now_bytes += used_bytes;
      if (now_bytes > peak_bytes) peak_bytes = now_bytes;
    }
  }
  const { fault_ns, huge_fault_ns, heap_call_ns } = setup.prices;
  const pages = Math.ceil(peak_bytes / shape.page_bytes);
  const huge = setup.profile.thp_kernel !== 'never';
  const page_ns = huge ? Math.min(fault_ns, huge_fault_ns / shape.window_pages) : fault_ns;
  return {
    time_ns: events * heap_call_ns + pages * page_ns,
    faults: huge ? Math.ceil(pages / shape.window_pages) : pages,
    memory_bytes: peak_bytes,
  };
}
