/**
 * What a replay by hak-replayer should cost: the model of glibc, the time layer at given prices, and what the replayer adds,
 * its writes to pages that are there already and its own work for each event. Nothing here is measured.
 */
import {
  Costs,
  type MachineSetup,
  nominal_machine,
  PeerWork,
  type PriceCurve,
  priceAt,
  type Timed,
  type TimeSetup,
  type TouchModel,
  timed,
  type Work,
} from '../../../sim/index.ts';
import { touchedPages, touchIndex } from '../../../sim/kernel/touch.ts';
import type { GlibcSettings } from '../../../sim/peers/glibc/settings.ts';
import { Glibc, type GlibcMachine } from '../../../sim/peers/glibc.ts';
import { type Chunk, op, type Trace } from '../../../traces/index.ts';
import type { PriceList } from '../../calibrate/price-file.ts';
import { timePrices } from '../../timed.ts';

export interface ReplayPrices {
  readonly list: PriceList;
  /** The replayer's own work for an event: reading it, finding its block. 0: a program's, which is not predicted. */
  readonly event_ns: number;
}

export interface Replayed {
  readonly trace: Trace;
  readonly touch: TouchModel;
  readonly settings: GlibcSettings;
}

/** One thread at a time: nobody is interrupted, and nothing is between two events. */
export const serial_machine: MachineSetup = { ...nominal_machine, thinks: false, shootdown_ns: 0 };

export interface Predicted extends Timed {
  readonly faults: number;
}

/** Throws ModelLimit where the trace goes beyond the model of glibc. */
export function predict(
  replayed: Replayed,
  prices: ReplayPrices,
  glibc: GlibcMachine,
  machine: MachineSetup = serial_machine,
): Predicted {
  const { setup, makeWork } = workOf(replayed, prices, glibc, machine);
  const work = makeWork();
  const result = timed(replayed.trace.chunks(), () => work, setup);
  return { ...result, faults: work.faults };
}

/** For whoever runs the layer over other chunks. */
export function workOf(
  { touch, settings }: Omit<Replayed, 'trace'>,
  { list, event_ns }: ReplayPrices,
  glibc: GlibcMachine,
  machine: MachineSetup,
): { readonly setup: TimeSetup; readonly makeWork: () => ReplayerWork } {
  const prices = timePrices(list);
  const costs = new Costs(prices);
  const index = touchIndex(touch);
  const touches = prices.curves.resident_touch_ns;
  return {
    setup: { prices, machine, memory_limit_bytes: Number.POSITIVE_INFINITY },
    makeWork: () => new ReplayerWork(new PeerWork(new Glibc(settings, glibc, index), costs), index, event_ns, touches),
  };
}

/** An allocator's work with the replayer's beside it. */
class ReplayerWork implements Work {
  readonly meter: Work['meter'];
  readonly ticking: Work['ticking'];
  readonly stopped = null;
  faults = 0;
  private readonly inner: Work;
  private readonly touch: number;
  private readonly event_ns: number;
  private readonly resident_touch_ns: PriceCurve;

  constructor(inner: Work, touch: number, event_ns: number, resident_touch_ns: PriceCurve) {
    this.inner = inner;
    this.meter = inner.meter;
    this.ticking = inner.ticking;
    this.touch = touch;
    this.event_ns = event_ns;
    this.resident_touch_ns = resident_touch_ns;
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

  run(chunk: Chunk, row: number): number {
    const { inner, meter } = this;
    const library_ns = inner.run(chunk, row) + this.event_ns;
    this.faults += meter.faults + meter.zero_faults;
    if (chunk.op[row] === op.free) return library_ns;
    const written_pages = touchedPages(this.touch, chunk.size_bytes[row], chunk.touched_pages[row]);
    const resident_pages = written_pages - meter.faults;
    if (resident_pages <= 0) return library_ns;
    return library_ns + resident_pages * priceAt(this.resident_touch_ns, inner.resident_pages);
  }

  reclaim(pages: number): void {
    this.inner.reclaim(pages);
  }

  finish(): number {
    return this.inner.finish();
  }
}
