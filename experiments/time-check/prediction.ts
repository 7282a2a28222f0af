/**
 * What a replay by one of the C replayers should cost: a model, the time layer at given prices, and what the replayer adds,
 * its writes to pages that are there already and its own work for each event. Nothing here is measured.
 */
import {
  Costs,
  HakmemWork,
  type MachineSetup,
  nominal_machine,
  PeerWork,
  priceAt,
  type Setup,
  type Timed,
  type TimedPeer,
  type TimePrices,
  type TimeSetup,
  type TouchModel,
  timed,
  type Work,
} from '../../sim/index.ts';
import { touchedPages, touchIndex } from '../../sim/kernel/touch.ts';
import { type Chunk, op, type Trace } from '../../traces/index.ts';
import type { PriceList } from '../calibrate/price-file.ts';
import { timePrices } from '../timed.ts';

export interface ReplayPrices {
  readonly list: PriceList;
  /** The replayer's own work for an event: reading it, finding its block. 0: a program's, which is not predicted. */
  readonly event_ns: number;
}

/** A trace as hak-replayer goes over it, and the model of the library that serves it. */
export interface Replayed {
  readonly trace: Trace;
  readonly touch: TouchModel;
  readonly makePeer: () => TimedPeer;
}

/** One thread at a time: nobody is interrupted, and nothing is between two events. */
export const serial_machine: MachineSetup = { ...nominal_machine, thinks: false, shootdown_ns: 0 };

export interface Predicted extends Timed {
  readonly faults: number;
}

/** Throws ModelLimit where the trace goes beyond the model. */
export function predict(replayed: Replayed, prices: ReplayPrices, machine: MachineSetup = serial_machine): Predicted {
  const { setup, makeWork } = workOf(replayed, prices, machine);
  const work = makeWork();
  const result = timed(replayed.trace.chunks(), () => work, setup);
  return { ...result, faults: work.faults };
}

/** For whoever runs the layer over other chunks. */
export function workOf(
  { touch, makePeer }: Omit<Replayed, 'trace'>,
  { list, event_ns }: ReplayPrices,
  machine: MachineSetup,
): { readonly setup: TimeSetup; readonly makeWork: () => ReplayerWork } {
  const prices = timePrices(list);
  const costs = new Costs(prices);
  const visits = new Visits(prices, touch);
  return {
    setup: { prices, machine, memory_limit_bytes: Number.POSITIVE_INFINITY },
    makeWork: () => new ReplayerWork(new PeerWork(makePeer(), costs), touchIndex(touch), event_ns, visits),
  };
}

/**
 * What hak-replay does on the mapped path of hakmem's own policy: its system calls, first touches, and visits to pages that are
 * there. Neither the policy's own work nor the heap path: both are the C core's, and its time has them on both sides.
 */
export function predictMapped(trace: Trace, setup: Setup, list: PriceList): Predicted {
  const prices = timePrices(list);
  const work = new MappedWork(new HakmemWork(setup), new Visits(prices, setup.touch));
  const time: TimeSetup = { prices, machine: serial_machine, memory_limit_bytes: Number.POSITIVE_INFINITY };
  const result = timed(trace.chunks(), () => work, time);
  return { ...result, faults: work.faults };
}

/** Pages that a replayer visits beside faulting on them: one word or, of the touch model `all`, every byte. */
class Visits {
  private readonly curves: TimePrices['curves'];
  private readonly fills: boolean;

  constructor({ curves }: TimePrices, touch: TouchModel) {
    this.curves = curves;
    this.fills = touch === 'all';
  }

  /** Of so many pages, `faulted` of which are visited for the first time, while `resident_pages` are there. */
  price(written_pages: number, read_pages: number, faulted: number, resident_pages: number): number {
    if (this.fills && written_pages > 0) return written_pages * priceAt(this.curves.fill_page_ns, resident_pages);
    const there_pages = written_pages + read_pages - faulted;
    return there_pages <= 0 ? 0 : there_pages * priceAt(this.curves.resident_touch_ns, resident_pages);
  }
}

/** Someone's work with a replayer's beside it. */
abstract class ReplayedWork<Inner extends Work> implements Work {
  readonly meter: Work['meter'];
  readonly ticking: Work['ticking'];
  faults = 0;
  protected readonly inner: Inner;

  constructor(inner: Inner) {
    this.inner = inner;
    this.meter = inner.meter;
    this.ticking = inner.ticking;
  }

  get quiet(): boolean {
    return this.inner.quiet;
  }

  get resident_pages(): number {
    return this.inner.resident_pages;
  }

  get lazy_pages(): number {
    return this.inner.lazy_pages;
  }

  get huge_pages(): number {
    return this.inner.huge_pages;
  }

  get stopped(): string | null {
    return this.inner.stopped;
  }

  abstract run(chunk: Chunk, row: number): number;
  abstract finish(): number;

  reclaim(pages: number): void {
    this.inner.reclaim(pages);
  }

  /** Counts the first touches of the event, and returns how many. */
  protected countFaults(): number {
    const { faults, zero_faults, huge_faults } = this.meter;
    const all = faults + zero_faults + huge_faults;
    this.faults += all;
    return all;
  }
}

class ReplayerWork extends ReplayedWork<PeerWork> {
  private readonly touch: number;
  private readonly event_ns: number;
  private readonly visits: Visits;

  constructor(inner: PeerWork, touch: number, event_ns: number, visits: Visits) {
    super(inner);
    this.touch = touch;
    this.event_ns = event_ns;
    this.visits = visits;
  }

  run(chunk: Chunk, row: number): number {
    const { inner } = this;
    const library_ns = inner.run(chunk, row) + this.event_ns;
    this.countFaults();
    if (chunk.op[row] === op.free) return library_ns;
    const written_pages = touchedPages(this.touch, chunk.size_bytes[row], chunk.touched_pages[row]);
    return library_ns + this.visits.price(written_pages, 0, this.meter.faults, inner.resident_pages);
  }

  finish(): number {
    return this.inner.finish();
  }
}

class MappedWork extends ReplayedWork<HakmemWork> {
  private readonly visits: Visits;

  constructor(inner: HakmemWork, visits: Visits) {
    super(inner);
    this.visits = visits;
  }

  run(chunk: Chunk, row: number): number {
    const { inner, meter } = this;
    inner.run(chunk, row);
    meter.faults -= inner.heap_faults;
    // Where the policy would copy or clear a page, hak-replay visits it.
    meter.copied_bytes = meter.cleared_bytes = 0;
    const cycled_pages = Math.min(inner.cycled_pages, inner.resident_pages);
    return this.visits.price(inner.touched_pages, inner.read_pages, this.countFaults(), cycled_pages);
  }

  finish(): number {
    this.inner.finish();
    return 0;
  }
}
