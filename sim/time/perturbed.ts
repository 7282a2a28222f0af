/**
 * Other orders in which the threads of a trace could have run: their thinking takes a little more or less, drawn from a seed,
 * and whoever is ready first comes first. What depends on something comes after it, always: an object is there before it is
 * freed or grows, and a slot is empty before it is filled again.
 */
import { type Chunk, copyChunk, limits, newChunk } from '../../traces/trace.ts';
import { Prng } from '../decide/prng.ts';
import { Timers } from './timers.ts';

const nothing = -1;

/** A trace in memory, with what depends on what. */
export class Orders {
  private readonly chunks: readonly Chunk[];
  private readonly starts: readonly number[];
  private readonly events: number;
  /** By event: the one before it on its slot, and the one after it in its thread. */
  private readonly needs: Int32Array;
  private readonly next: Int32Array;
  private readonly time_of: Float64Array;
  /** The first event of each thread. */
  private readonly first: number[] = [];

  constructor(chunks: Iterable<Chunk>) {
    this.chunks = [...chunks].map(copyChunk);
    const starts: number[] = [];
    let events = 0;
    for (const { length } of this.chunks) {
      starts.push(events);
      events += length;
    }
    this.starts = starts;
    this.events = events;
    this.needs = new Int32Array(events).fill(nothing);
    this.next = new Int32Array(events).fill(nothing);
    this.time_of = new Float64Array(events);
    this.link();
  }

  /** The trace in another order, with the times at which its events come then; jitter 0 gives it as it is. */
  perturbed(jitter_permille: number, seed: number): Chunk[] {
    const { needs, next, time_of, events } = this;
    const random = new Prng(`perturb/${seed}`);
    const about = (ns: number): number => Math.round(ns * (1 + (jitter_permille * (2 * random.next() - 1)) / 1000));
    const rank = (event: number): number => (jitter_permille === 0 ? event : random.next());
    const done = new Uint8Array(events);
    /** By event: the one that waits for it, one at most, for a slot has one future; and by that one, since when. */
    const waiting = new Int32Array(events).fill(nothing);
    const since_ns = new Float64Array(events);
    const ready = new Timers();
    const out = new Reordered(events);
    const offer = (event: number, at_ns: number): void => {
      const needed = needs[event];
      if (needed === nothing || done[needed] === 1) {
        ready.add(at_ns, event, rank(event));
      } else {
        waiting[needed] = event;
        since_ns[event] = at_ns;
      }
    };
    for (const event of this.first) offer(event, time_of[0] + about(time_of[event] - time_of[0]));
    while (ready.next_ns < Number.POSITIVE_INFINITY) {
      const at_ns = ready.next_ns;
      const event = ready.take();
      const chunk = this.chunkOf(event);
      out.add(this.chunks[chunk], event - this.starts[chunk], at_ns);
      done[event] = 1;
      const after = next[event];
      if (after !== nothing) offer(after, at_ns + about(time_of[after] - time_of[event]));
      const blocked = waiting[event];
      if (blocked !== nothing) ready.add(Math.max(since_ns[blocked], at_ns), blocked, rank(blocked));
    }
    return out.chunks;
  }

  private link(): void {
    const last_on: number[] = [];
    const last_of = new Map<number, number>();
    for (const [index, chunk] of this.chunks.entries()) {
      for (let row = 0; row < chunk.length; row += 1) {
        const event = this.starts[index] + row;
        const object = chunk.object[row];
        const thread = chunk.thread[row];
        this.time_of[event] = chunk.time_ns[row];
        this.needs[event] = last_on[object] ?? nothing;
        last_on[object] = event;
        const before = last_of.get(thread);
        if (before === undefined) this.first.push(event);
        else this.next[before] = event;
        last_of.set(thread, event);
      }
    }
  }

  private chunkOf(event: number): number {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= event) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** A trace that grows row by row, copied from others. */
class Reordered {
  readonly chunks: Chunk[] = [];
  private left: number;

  constructor(events: number) {
    this.left = events;
  }

  add(from: Chunk, row: number, time_ns: number): void {
    let chunk = this.chunks.at(-1);
    if (chunk === undefined || chunk.length === limits.chunk_events) {
      const first_event = this.chunks.length * limits.chunk_events;
      chunk = newChunk(Math.min(this.left, limits.chunk_events));
      chunk.first_event = first_event;
      this.chunks.push(chunk);
    }
    const at = chunk.length;
    chunk.op[at] = from.op[row];
    chunk.thread[at] = from.thread[row];
    chunk.object[at] = from.object[row];
    chunk.size_bytes[at] = from.size_bytes[row];
    chunk.align[at] = from.align[row];
    chunk.site[at] = from.site[row];
    chunk.touched_pages[at] = from.touched_pages[row];
    chunk.time_ns[at] = time_ns;
    chunk.length += 1;
    this.left -= 1;
  }
}
