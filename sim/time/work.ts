/** Who serves the events of a trace and tells what each took: hakmem's own policy, or the model of an allocator people run. */
import { type Chunk, op } from '../../traces/trace.ts';
import { Allocator } from '../decide/allocator.ts';
import { pagesOf, touchIndex } from '../kernel/touch.ts';
import { Meter } from '../peers/meter.ts';
import type { Peer } from '../peers/peer.ts';
import type { Setup } from '../replay.ts';
import { enums, shape } from '../spec.ts';
import type { Costs } from './costs.ts';
import { MeteredPages } from './metered.ts';

/** What the process occupies right now. */
export interface Footprint {
  readonly resident_pages: number;
  /** Of them, those that the kernel may take. */
  readonly lazy_pages: number;
  readonly huge_pages: number;
}

/** What it occupied at some moment. */
export class Snapshot implements Footprint {
  resident_pages = 0;
  lazy_pages = 0;
  huge_pages = 0;

  constructor(of: Footprint) {
    this.become(of);
  }

  become({ resident_pages, lazy_pages, huge_pages }: Footprint): void {
    this.resident_pages = resident_pages;
    this.lazy_pages = lazy_pages;
    this.huge_pages = huge_pages;
  }

  is({ resident_pages, lazy_pages, huge_pages }: Footprint): boolean {
    return resident_pages === this.resident_pages && lazy_pages === this.lazy_pages && huge_pages === this.huge_pages;
  }
}

/** What an allocator does by itself while time passes: purging, decay. */
export interface Ticking {
  readonly first_ns: number;
  /** Notes what it does in the meter; returns when it is due again, or Infinity. */
  tick(now_ns: number): number;
}

export interface Work extends Footprint {
  /** What the last event took. */
  readonly meter: Meter;
  readonly ticking: readonly Ticking[];
  /** Serves one event; returns what the library itself took, in ns. */
  run(chunk: Chunk, row: number): number;
  /** The last event was nothing but the library's own way, and left the footprint as it was. */
  readonly quiet: boolean;
  /** Takes lazily free pages away, oldest first, until so many are gone or none is left. */
  reclaim(pages: number): void;
  /** The process ends; returns as `run` does. */
  finish(): number;
  /** Why no further event can be served; null while all is well. */
  readonly stopped: string | null;
}

/** A peer may tell more than it must. */
export type TimedPeer = Peer &
  Partial<Pick<Footprint, 'lazy_pages' | 'huge_pages'>> & {
    readonly ticking?: readonly Ticking[];
    /** As `Work.reclaim`; without it nothing of the peer can be reclaimed. */
    reclaim?(pages: number): void;
  };

export class PeerWork implements Work {
  readonly meter: Meter;
  readonly ticking: readonly Ticking[];
  readonly stopped = null;
  private readonly peer: TimedPeer;
  private readonly costs: Costs;

  constructor(peer: TimedPeer, costs: Costs) {
    this.peer = peer;
    this.meter = peer.meter;
    this.ticking = peer.ticking ?? [];
    this.costs = costs;
  }

  get resident_pages(): number {
    return this.peer.resident_pages;
  }

  get lazy_pages(): number {
    return this.peer.lazy_pages ?? 0;
  }

  get huge_pages(): number {
    return this.peer.huge_pages ?? 0;
  }

  /** What peers occupy changes by faults and calls alone. */
  get quiet(): boolean {
    return this.meter.quiet;
  }

  run(chunk: Chunk, row: number): number {
    const { op: kinds, thread, object, size_bytes, align, touched_pages, time_ns } = chunk;
    this.peer.run(kinds[row], thread[row], object[row], size_bytes[row], align[row], touched_pages[row], time_ns[row]);
    const { allocate_ns, free_ns } = this.costs;
    return (kinds[row] === op.free ? free_ns : allocate_ns)[this.meter.path];
  }

  reclaim(pages: number): void {
    this.peer.reclaim?.(pages);
  }

  finish(): number {
    this.meter.begin();
    return 0;
  }
}

const moved: readonly number[] = (['cache', 'batch', 'kept', 'map'] as const).map((name) => enums.route.indexOf(name));

export class HakmemWork implements Work {
  readonly meter = new Meter();
  readonly ticking = [];
  /** First touches of the heap path in the last event: those among the meter's that its ledger tells. */
  heap_faults = 0;
  private readonly kernel: MeteredPages;
  private readonly allocator: Allocator;
  private readonly fill_page_ns: number;
  /** Before the last event. */
  private readonly before: Snapshot;
  private events = 0;

  constructor(setup: Setup) {
    this.kernel = new MeteredPages(setup.profile, setup.prices, this.meter);
    this.allocator = new Allocator(setup, this.kernel, touchIndex(setup.touch));
    this.fill_page_ns = setup.prices.fill_page_ns;
    this.before = new Snapshot(this);
  }

  /** Of the mapped path, and what the heap path has grown to. */
  get resident_pages(): number {
    return this.kernel.resident_pages + this.allocator.heap.faults;
  }

  get lazy_pages(): number {
    return this.kernel.lazy_pages;
  }

  get huge_pages(): number {
    return this.kernel.huge_pages;
  }

  /** Lazily free pages become others again where they are written, and no call and no fault tells of it. */
  get quiet(): boolean {
    return this.meter.quiet && this.before.is(this);
  }

  /** Pages of the mapped path that the last event wrote and read, first touches among them. */
  get touched_pages(): number {
    return this.kernel.touched_pages;
  }

  get read_pages(): number {
    return this.kernel.read_pages;
  }

  /** At most so many pages were visited between those visits and the last ones before them. */
  get cycled_pages(): number {
    return this.kernel.cycled_pages;
  }

  get digest(): string {
    return this.allocator.digest.hex();
  }

  get stopped(): string | null {
    const { violation } = this.allocator;
    return violation === 0 ? null : enums.violation[violation];
  }

  run(chunk: Chunk, row: number): number {
    const { allocator, meter } = this;
    const { op: kinds, object, size_bytes, align, site, touched_pages } = chunk;
    const kind = kinds[row];
    this.begin();
    this.before.become(this);
    const heap_pages = allocator.heap.faults;
    const old_bytes = kind === op.realloc ? allocator.requestedBytes(object[row]) : 0;
    const ns = allocator.run(
      this.events,
      kind,
      object[row],
      size_bytes[row],
      align[row],
      site[row],
      touched_pages[row],
    );
    this.events += 1;
    if (kind === op.realloc && moved.includes(allocator.route))
      meter.copied_bytes = pagesOf(Math.min(old_bytes, size_bytes[row])) * shape.page_bytes;
    this.heap_faults = allocator.heap.faults - heap_pages;
    meter.faults += this.heap_faults;
    return this.libraryPart(ns);
  }

  reclaim(pages: number): void {
    this.kernel.reclaim(pages);
  }

  finish(): number {
    const { allocator } = this;
    this.begin();
    const before_ns = allocator.free_ns;
    allocator.finish();
    return this.libraryPart(allocator.free_ns - before_ns);
  }

  private begin(): void {
    this.meter.begin();
    const { kernel } = this;
    kernel.kernel_ns = kernel.touched_pages = kernel.read_pages = kernel.cycled_pages = 0;
    this.heap_faults = 0;
  }

  /** What the policy priced, without the kernel's part and without filling pages: the two that have prices of their own here. */
  private libraryPart(ns: number): number {
    const { meter } = this;
    const filled_pages = (meter.copied_bytes + meter.cleared_bytes) / shape.page_bytes;
    return ns - this.kernel.kernel_ns - filled_pages * this.fill_page_ns;
  }
}
