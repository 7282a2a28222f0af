/** The loop: chunks of a trace, a configuration, prices, a kernel profile -> Result. Mirrors native/core/replay.c. */
import { type Chunk, op_names } from '../traces/trace.ts';
import { Allocator } from './decide/allocator.ts';
import type { OwnPolicy, WindowRecord } from './decide/learning.ts';
import { ceilingOf, floorOf } from './decide/strategy.ts';
import { Histogram } from './kernel/histogram.ts';
import { PageModel } from './kernel/pages.ts';
import { touchIndex } from './kernel/touch.ts';
import { Eligibility } from './liveness.ts';
import { heapFaultNs, outcomeOf } from './outcome.ts';
import type { Checkpoint, Liveness, LogEntry, Result } from './result.ts';
import { Baseline } from './score.ts';
import { type Config, enums, type Feature, type KernelProfile, type Prices, shape, type TouchModel } from './spec.ts';

/** Everything a replay depends on besides its trace. */
export interface Setup {
  readonly config: Config;
  readonly prices: Prices;
  readonly profile: KernelProfile;
  readonly touch: TouchModel;
  readonly seed: number;
  /** A policy from outside, in place of the learner that the configuration names. There is none of it in C. */
  readonly policy?: OwnPolicy;
  /** Events [from, to) whose decision chain is kept in `Result.log`. */
  readonly log?: { readonly from: number; readonly to: number };
}

/** Looks on: it is told, and changes nothing. */
export interface Observer {
  /** After the event in `row` of `chunk`: what it cost, and the allocator with everything it did. */
  event?(chunk: Chunk, row: number, price_ns: number, allocator: Allocator): void;
  /** At every checkpoint. */
  moment?(moment: Moment): void;
  /** At the end of every window that something is learned from. */
  window?(record: WindowRecord): void;
}

/** The state at a checkpoint, for curves over the trace. */
export interface Moment {
  readonly events: number;
  /** Priced so far. */
  readonly time_ns: number;
  readonly faults: number;
  /** Of the mapped path. */
  readonly resident_bytes: number;
  readonly mapped_bytes: number;
  /** Free blocks that stay mapped: kept ones alone, without BigCache and batch. */
  readonly kept_bytes: number;
  /** What the heap path has grown to: its ledger never shrinks. */
  readonly heap_bytes: number;
}

/** Replays a whole trace. `progress` is called after every chunk with the events done. */
export function replay(chunks: Iterable<Chunk>, setup: Setup, progress?: (events: number) => void): Result {
  const run = new Replay(setup);
  for (const chunk of chunks) {
    run.feed(chunk);
    progress?.(run.events);
  }
  return run.finish();
}

/** A replay in steps: feed chunks in order, then finish. */
export class Replay {
  events = 0;
  /** True after a violation: further events are not run. */
  stopped = false;
  private readonly setup: Setup;
  private readonly kernel: PageModel;
  private readonly allocator: Allocator;
  private readonly eligibility: Eligibility;
  private readonly baseline: Baseline;
  private readonly latency = new Histogram();
  private readonly checkpoints: Checkpoint[] = [];
  private readonly log: LogEntry[] = [];
  private readonly observer: Observer;
  private until_checkpoint: number;

  constructor(setup: Setup, observer: Observer = {}) {
    this.setup = setup;
    this.observer = observer;
    this.kernel = new PageModel(setup.profile, setup.prices);
    this.allocator = new Allocator(setup, this.kernel, touchIndex(setup.touch));
    watchWindows(this.allocator, observer);
    this.eligibility = eligibilityOf(setup);
    this.baseline = new Baseline();
    this.until_checkpoint = setup.config.checkpoint_events;
  }

  feed(chunk: Chunk): void {
    // The score's baseline and what features could have done are of the whole trace, however far the policy came.
    this.eligibility.add(chunk);
    this.baseline.add(chunk);
    if (!this.stopped) this.step(chunk);
  }

  finish(): Result {
    const { allocator, kernel } = this;
    if (!this.stopped) {
      allocator.finish();
      this.stopped = allocator.violation !== 0;
    }
    this.checkpoint();
    const resident = this.checkpoints.map((each) => each.resident_bytes);
    const { cache, batch } = allocator;
    return {
      ...outcomeOf(this.setup, this.events, allocator, kernel, this.latency, this.baseline, {
        mean_bytes: resident.reduce((sum, bytes) => sum + bytes, 0) / resident.length,
        peak_bytes: greatest(resident),
        areas_peak: greatest(this.checkpoints.map((each) => each.areas)),
      }),
      liveness: livenessOf(this.eligibility, {
        mapping: cache.hits + allocator.kept_reused + batch.withdrawn + kernel.syscalls.mmap,
        bigcache: cache.hits,
        batch: batch.added,
        hot: allocator.thermal_frees[0],
        warm: allocator.thermal_frees[1],
        kept: allocator.kept_reused + batch.withdrawn,
        thp: kernel.syscalls.madvise_hugepage,
        learning: allocator.learning?.learner.figures.rating_writes ?? 0,
      }),
      checkpoints: this.checkpoints,
      log: this.log,
    };
  }

  private step(chunk: Chunk): void {
    const { allocator, latency } = this;
    const { op: kinds, object, size_bytes, align, site, touched_pages, length } = chunk;
    const { checkpoint_events } = this.setup.config;
    const log_from = this.setup.log?.from ?? Number.POSITIVE_INFINITY;
    const log_to = this.setup.log?.to ?? 0;
    const watched = this.observer.event !== undefined;
    let { events } = this;
    for (let row = 0; row < length; row += 1) {
      const logged = events >= log_from && events < log_to;
      if (logged) allocator.recording = [];
      const price = allocator.run(
        events,
        kinds[row],
        object[row],
        size_bytes[row],
        align[row],
        site[row],
        touched_pages[row],
      );
      latency.add(price);
      events += 1;
      if (watched) this.observer.event!(chunk, row, price, allocator);
      if (logged) this.addToLog(chunk, row, events - 1);
      if (allocator.violation !== 0) {
        this.stopped = true;
        break;
      }
      this.until_checkpoint -= 1;
      if (this.until_checkpoint === 0) {
        this.events = events;
        this.until_checkpoint = checkpoint_events;
        this.checkpoint();
      }
    }
    this.events = events;
  }

  private checkpoint(): void {
    const { allocator, kernel } = this;
    const calls = Object.values(kernel.syscalls).reduce((sum, count) => sum + count, 0);
    this.checkpoints.push({
      events: this.events,
      digest: allocator.digest.hex(),
      faults: kernel.faults,
      huge_faults: kernel.huge_faults,
      resident_bytes: kernel.resident_pages * shape.page_bytes,
      huge_bytes: kernel.huge_pages * shape.page_bytes,
      areas: kernel.areas.count,
      mapped_bytes: kernel.mapped_pages * shape.page_bytes,
      syscalls: calls,
    });
    this.observer.moment?.(momentOf(this.events, allocator, kernel, this.setup.prices));
  }

  private addToLog(chunk: Chunk, row: number, event: number): void {
    const { allocator, kernel } = this;
    const { cache, batch, kept } = allocator;
    this.log.push({
      event,
      op: op_names[chunk.op[row]],
      object: chunk.object[row],
      size_bytes: allocator.requestedBytes(chunk.object[row]),
      site: chunk.site[row],
      arm: allocator.arm,
      threshold_bytes: allocator.threshold_bytes,
      route: enums.route[allocator.route],
      released: enums.route[allocator.released],
      usable_bytes: allocator.usable_bytes,
      offset_bytes: allocator.offset_pages * shape.page_bytes,
      actions: allocator.recording ?? [],
      state: {
        digest: allocator.digest.hex(),
        faults: kernel.faults,
        huge_faults: kernel.huge_faults,
        resident_bytes: kernel.resident_pages * shape.page_bytes,
        areas: kernel.areas.count,
        cached_blocks: cache.blocks_held,
        batch_blocks: batch.waiting.length,
        batch_bytes: batch.waiting_bytes,
        kept_blocks: kept.count,
        kept_bytes: kept.bytes,
      },
    });
    allocator.recording = null;
  }
}

export function watchWindows({ learning }: Allocator, { window }: Pick<Observer, 'window'>): void {
  if (learning !== null && window !== undefined) learning.observer = window;
}

export function momentOf(events: number, allocator: Allocator, kernel: PageModel, prices: Prices): Moment {
  return {
    events,
    time_ns: allocator.allocate_ns + allocator.free_ns + allocator.fault_ns + heapFaultNs(allocator, prices),
    faults: kernel.faults,
    resident_bytes: kernel.resident_pages * shape.page_bytes,
    mapped_bytes: kernel.mapped_pages * shape.page_bytes,
    kept_bytes: allocator.kept.bytes,
    heap_bytes: allocator.heap.resident_peak_bytes,
  };
}

const greatest = (values: readonly number[]): number => values.reduce((most, each) => Math.max(most, each), 0);

export function eligibilityOf({ config, policy }: Pick<Setup, 'config' | 'policy'>): Eligibility {
  const own = policy?.arms_bytes ?? null;
  return own === null
    ? new Eligibility(config, floorOf(config), ceilingOf(config))
    : new Eligibility(config, own[0], own[own.length - 1]);
}

/** Eligible events beside the actions of either half. */
export function livenessOf(eligibility: Eligibility, acted: Readonly<Record<Feature, number>>): Liveness[] {
  const eligible = eligibility.counted();
  return (Object.keys(acted) as Feature[]).map((feature) => ({
    feature,
    eligible: eligible[feature],
    acted: acted[feature],
  }));
}
