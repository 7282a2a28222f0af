/** What `hakmem info` shows beyond the counts: how long blocks live, who asks for them, and on which thread. */
import { type Chunk, op } from './trace.ts';

export interface SiteUse {
  readonly site: number;
  readonly calls: number;
  readonly bytes: number;
  readonly unfreed_blocks: number;
  readonly unfreed_bytes: number;
}

export class Profile {
  /** Freed blocks by lifetime in events: entry p counts those of [2^(p-1), 2^p). */
  private readonly lifetimes = new Float64Array(64);
  private born = new Float64Array(1024);
  private site_of = new Uint32Array(1024);
  private size_of = new Float64Array(1024);
  private thread_of = new Uint32Array(1024);
  private readonly calls: Float64Array;
  private readonly bytes: Float64Array;
  private readonly live_blocks: Float64Array;
  private readonly live_bytes: Float64Array;
  private readonly threads = new Map<number, number>();
  private foreign_frees = 0;
  private last_time_ns = 0;
  private first_time_ns: number | undefined;

  constructor(sites: number) {
    const rows = Math.max(1, sites);
    this.calls = new Float64Array(rows);
    this.bytes = new Float64Array(rows);
    this.live_blocks = new Float64Array(rows);
    this.live_bytes = new Float64Array(rows);
  }

  add(chunk: Chunk): void {
    if (chunk.length === 0) return;
    this.first_time_ns ??= chunk.time_ns[0];
    this.last_time_ns = chunk.time_ns[chunk.length - 1];
    const { calls, bytes, live_blocks, live_bytes, lifetimes } = this;
    let thread = chunk.thread[0];
    let run_start = 0;
    for (let row = 0; row < chunk.length; row += 1) {
      if (chunk.thread[row] !== thread) {
        this.threads.set(thread, (this.threads.get(thread) ?? 0) + row - run_start);
        thread = chunk.thread[row];
        run_start = row;
      }
      const slot = chunk.object[row];
      if (slot >= this.born.length) this.grow(slot + 1);
      const event = chunk.first_event + row;
      const kind = chunk.op[row];
      if (kind === op.free || kind === op.realloc) {
        const before = this.site_of[slot];
        live_blocks[before] -= 1;
        live_bytes[before] -= this.size_of[slot];
      }
      if (kind === op.free) {
        lifetimes[32 - Math.clz32(Math.min(event - this.born[slot], 2 ** 32 - 1))] += 1;
        if (this.thread_of[slot] !== thread) this.foreign_frees += 1;
        continue;
      }
      const site = chunk.site[row];
      const size_bytes = chunk.size_bytes[row];
      calls[site] += 1;
      bytes[site] += size_bytes;
      live_blocks[site] += 1;
      live_bytes[site] += size_bytes;
      this.site_of[slot] = site;
      this.size_of[slot] = size_bytes;
      if (kind === op.realloc) continue;
      this.born[slot] = event;
      this.thread_of[slot] = thread;
    }
    this.threads.set(thread, (this.threads.get(thread) ?? 0) + chunk.length - run_start);
  }

  /** [upper bound in events (exclusive), freed blocks]; a block lives from its allocation to its free. */
  lifetimeHistogram(): [number, number][] {
    return [...this.lifetimes].flatMap((count, power) => (count > 0 ? [[2 ** power, count] as [number, number]] : []));
  }

  /** Sites that were called, in order of bytes asked for. */
  sites(): SiteUse[] {
    return [...this.calls]
      .map((calls, site) => ({
        site,
        calls,
        bytes: this.bytes[site],
        unfreed_blocks: this.live_blocks[site],
        unfreed_bytes: this.live_bytes[site],
      }))
      .filter(({ calls }) => calls > 0)
      .sort((a, b) => b.bytes - a.bytes || b.calls - a.calls || a.site - b.site);
  }

  /** [thread, events], busiest first. */
  threadEvents(): [number, number][] {
    return [...this.threads].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  }

  /** Frees by another thread than the one that allocated. */
  get freed_elsewhere(): number {
    return this.foreign_frees;
  }

  get duration_ns(): number {
    return this.last_time_ns - (this.first_time_ns ?? 0);
  }

  private grow(objects: number): void {
    const length = Math.max(objects, this.born.length * 2);
    this.born = widen(this.born, new Float64Array(length));
    this.size_of = widen(this.size_of, new Float64Array(length));
    this.site_of = widen(this.site_of, new Uint32Array(length));
    this.thread_of = widen(this.thread_of, new Uint32Array(length));
  }
}

function widen<T extends Float64Array | Uint32Array>(narrow: T, wide: T): T {
  wide.set(narrow);
  return wide;
}
