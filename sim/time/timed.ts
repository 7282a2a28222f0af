/**
 * A trace, someone who serves it, and clocks: what it costs in time, beside the least and the most that its prices allow. Also
 * what happens between events: an allocator's own timers, and a limit of memory.
 */
import type { Chunk } from '../../traces/trace.ts';
import type { Setup } from '../replay.ts';
import { shape } from '../spec.ts';
import { TimeLayer, type TimeResult } from './clock.ts';
import { Costs, type TimePrices } from './costs.ts';
import type { MachineSetup } from './machine.ts';
import { scaled } from './prices.ts';
import { Timers } from './timers.ts';
import { HakmemWork, PeerWork, Snapshot, type TimedPeer, type Work } from './work.ts';

export interface TimeSetup {
  readonly prices: TimePrices;
  readonly machine: MachineSetup;
  /** Resident bytes; Infinity where there is no limit. */
  readonly memory_limit_bytes: number;
}

export interface Timed extends TimeResult {
  /** `run_ns` with every curve at the low end of its interval, and with every one at its high end. */
  readonly interval_ns: { readonly low: number; readonly high: number };
  /** The same of `cpu_ns`. */
  readonly cpu_interval_ns: { readonly low: number; readonly high: number };
  readonly memory_limit: null | {
    readonly bytes: number;
    readonly reclaimed_bytes: number;
    /** The first event that could not be served within the limit; the run ends before it, and `live_bytes` is of then. */
    readonly refused: null | { readonly event: number; readonly wanted_bytes: number; readonly live_bytes: number };
  };
}

/** hakmem's own policy. Its decisions are those of a plain replay with this setup. */
export function timedHakmem(chunks: Iterable<Chunk>, setup: Setup, time: TimeSetup): Timed {
  return timed(chunks, () => new HakmemWork(setup), time);
}

/** The model of an allocator that people run. Throws ModelLimit where the trace goes beyond it. */
export function timedPeer(chunks: Iterable<Chunk>, makePeer: () => TimedPeer, time: TimeSetup): Timed {
  const costs = new Costs(time.prices);
  return timed(chunks, () => new PeerWork(makePeer(), costs), time);
}

/** Quiet events that layers are told of at once, at most: what is noted of so many stays in the processor's cache. */
const stretch_events = 1024;

export function timed(chunks: Iterable<Chunk>, makeWork: () => Work, time: TimeSetup): Timed {
  const run = new TimedRun(makeWork(), time);
  for (const chunk of chunks) run.feed(chunk);
  return run.finish();
}

/** In steps: feed chunks in order, then finish. */
export class TimedRun {
  private readonly work: Work;
  private readonly time: TimeSetup;
  private readonly layer: TimeLayer;
  /** The same events at the least and the most that prices may be; empty where every price is certain. */
  private readonly bounds: readonly TimeLayer[];
  /** All of them, and what they see of the process. */
  private readonly layers: readonly TimeLayer[];
  private readonly footprint: Snapshot;
  /** Of a chunk's quiet events that the layers were not told of yet. */
  private readonly library_ns = new Float64Array(stretch_events);
  private readonly arena = new Int32Array(stretch_events);
  private readonly timers = new Timers();
  private reclaimed_pages = 0;
  private refused: NonNullable<Timed['memory_limit']>['refused'] = null;

  constructor(work: Work, time: TimeSetup) {
    const { prices, machine } = time;
    this.footprint = new Snapshot(work);
    const layerAt = (quantile: number): TimeLayer =>
      new TimeLayer({ ...prices, curves: scaled(prices.curves, quantile) }, machine, work.meter, this.footprint);
    this.work = work;
    this.time = time;
    this.layer = layerAt(0.5);
    this.bounds = isCertain(prices) ? [] : [layerAt(0.025), layerAt(0.975)];
    this.layers = [this.layer, ...this.bounds];
    for (const [at, { first_ns }] of work.ticking.entries()) this.timers.add(first_ns, at);
  }

  feed(chunk: Chunk): void {
    const { work, layer, layers, footprint } = this;
    const { meter } = work;
    if (this.refused !== null) return;
    const limit_pages = Math.floor(this.time.memory_limit_bytes / shape.page_bytes);
    const ticks = work.ticking.length > 0;
    const { library_ns, arena } = this;
    let told = 0;
    let row = 0;
    for (; row < chunk.length; row += 1) {
      if (ticks || row - told === stretch_events) {
        this.tell(chunk, told, row);
        told = row;
      }
      if (ticks) this.tickUntil(layer.now_ns);
      const own_ns = work.run(chunk, row);
      if (work.stopped !== null) break;
      // Those who are told of a stretch of quiet events see the footprint as it was all the while.
      if (work.quiet) {
        library_ns[row - told] = own_ns;
        arena[row - told] = meter.arena;
        continue;
      }
      this.tell(chunk, told, row);
      if (work.resident_pages > limit_pages && !this.fits(limit_pages)) return;
      footprint.become(work);
      for (const layer of layers) layer.feed(chunk, row, own_ns);
      told = row + 1;
    }
    this.tell(chunk, told, row);
  }

  finish(): Timed {
    const { work, layer, bounds, time, refused } = this;
    work.meter.begin();
    const library_ns = refused === null && work.stopped === null ? work.finish() : 0;
    if (refused === null) this.footprint.become(work);
    const result = layer.finish(library_ns);
    const [low = result, high = result] = bounds.map((bound) => bound.finish(library_ns));
    const { memory_limit_bytes } = time;
    return {
      ...result,
      interval_ns: { low: low.run_ns, high: high.run_ns },
      cpu_interval_ns: { low: low.cpu_ns, high: high.cpu_ns },
      memory_limit: Number.isFinite(memory_limit_bytes)
        ? { bytes: memory_limit_bytes, reclaimed_bytes: this.reclaimed_pages * shape.page_bytes, refused }
        : null,
    };
  }

  /** The layers hear of the quiet events in [from, to), whose footprint is that of before. */
  private tell(chunk: Chunk, from: number, to: number): void {
    if (from === to) return;
    for (const layer of this.layers) layer.feedQuiet(chunk, from, to, this.library_ns, this.arena);
  }

  /** Lazily free pages make room; where they do not suffice, the event is refused, and with it the rest. */
  private fits(limit_pages: number): boolean {
    const { work, layer } = this;
    work.reclaim(work.resident_pages - limit_pages);
    this.reclaimed_pages += work.meter.reclaimed_pages;
    if (work.resident_pages <= limit_pages) return true;
    this.refused = {
      event: layer.events,
      wanted_bytes: work.resident_pages * shape.page_bytes,
      live_bytes: layer.live_bytes,
    };
    return false;
  }

  private tickUntil(now_ns: number): void {
    while (this.timers.next_ns <= now_ns) this.tick();
  }

  private tick(): void {
    const { work, timers, footprint } = this;
    const at_ns = timers.next_ns;
    const who = timers.take();
    work.meter.begin();
    const due_ns = work.ticking[who].tick(at_ns);
    footprint.become(work);
    for (const layer of this.layers) layer.feedBackground(at_ns, 0);
    if (due_ns > at_ns && Number.isFinite(due_ns)) timers.add(due_ns, who);
  }
}

function isCertain({ curves }: TimePrices): boolean {
  return Object.values(curves).every((curve) => curve.every(({ low, high }) => low === high));
}
