/**
 * Many configurations over one trace without doing work twice. What none of them can treat differently, blocks below every
 * threshold, is folded once (fold.ts); each configuration then runs over the events that are left. What comes out is the
 * Outcome of a full replay, to the last bit. Mirrors native/core/planned.c.
 */
import { type Chunk, op } from '../traces/trace.ts';
import { assert } from './assert.ts';
import { Allocator } from './decide/allocator.ts';
import { floorOf } from './decide/strategy.ts';
import { type Folded, type FoldedColumns, foldTrace, refold, rowsIn } from './fold.ts';
import { Histogram } from './kernel/histogram.ts';
import { PageModel } from './kernel/pages.ts';
import { touchIndex } from './kernel/touch.ts';
import { outcomeOf, type Residency } from './outcome.ts';
import { momentOf, type Observer, type Setup, watchWindows } from './replay.ts';
import type { Outcome } from './result.ts';
import { shape } from './spec.ts';

/**
 * One configuration over a folded trace. `observer.moment` is called at every checkpoint; between two rows the heap is
 * as it was at the row before.
 */
export function simulate(folded: Folded, setup: Setup, observer: Pick<Observer, 'moment' | 'window'> = {}): Outcome {
  assert(floorOfSetup(setup) >= folded.floor_bytes, 'what was folded is mapped by no configuration');
  const { segments, segment_rows } = folded;
  const { config, prices } = setup;
  const kernel = new PageModel(setup.profile, prices);
  const allocator = new Allocator(setup, kernel, touchIndex(setup.touch));
  watchWindows(allocator, observer);
  const latency = new Histogram();
  const residency = new Residencies(kernel, config.checkpoint_events);
  const { moment } = observer;
  if (moment !== undefined)
    residency.told = (events, row) => {
      const seen = momentOf(events, allocator, kernel, prices);
      // Of the events so far, those that were no row were folded.
      moment({ ...seen, time_ns: seen.time_ns + (events - row) * prices.heap_call_ns });
    };
  if (folded.events > 0) allocator.select(0);
  let row = 0;
  for (const [at, columns] of segments.entries()) {
    const first = at * segment_rows;
    row = first + runSegment(columns, rowsIn(folded, at), first, allocator, latency, residency);
    if (allocator.violation !== 0) break;
  }
  // The row that broke a rule, or what comes after the last one: how much was folded up to there.
  const { net_bytes, most_bytes, allocations, event, digest_low, digest_high } =
    segments[Math.floor(row / segment_rows)];
  const last = row % segment_rows;
  const broken = allocator.violation !== 0;
  const events = broken ? event[last] + 1 : folded.events;
  const folded_events = events - latency.total;
  if (!broken) {
    allocator.heap.fold(net_bytes[last], most_bytes[last]);
    residency.pass(events, row);
    allocator.finish();
  }
  residency.count(events, row);
  latency.addMany(prices.heap_call_ns, folded_events);
  allocator.allocate_ns += allocations[last] * prices.heap_call_ns;
  allocator.free_ns += (folded_events - allocations[last]) * prices.heap_call_ns;
  allocator.digest.addSums(digest_low[last], digest_high[last]);
  return outcomeOf(setup, events, allocator, kernel, latency, folded.baseline, residency.outcome());
}

/** The rows of one segment, of which `first` came before; returns how many it ran, up to one that breaks a rule. */
function runSegment(
  columns: FoldedColumns,
  rows: number,
  first: number,
  allocator: Allocator,
  latency: Histogram,
  residency: Residencies,
): number {
  const { event, op: kinds, object, size_bytes, align, site, touched_pages, before_bytes } = columns;
  const { net_bytes, most_bytes } = columns;
  for (let row = 0; row < rows; row += 1) {
    const at = event[row];
    if (at >= residency.next_events) residency.pass(at, first + row);
    allocator.heap.fold(net_bytes[row], most_bytes[row]);
    if (before_bytes[row] >= 0) allocator.adopt(object[row], before_bytes[row]);
    const price = allocator.run(
      at,
      kinds[row],
      object[row],
      size_bytes[row],
      align[row],
      site[row],
      touched_pages[row],
    );
    latency.add(price);
    if (allocator.violation !== 0) return row;
  }
  return rows;
}

/**
 * Every setup over the trace, in order. Setups of a higher threshold run over fewer rows where folding further pays for
 * itself. `progress` is called with the setups done.
 */
export function simulateAll(
  chunks: Iterable<Chunk>,
  setups: readonly Setup[],
  progress?: (done: number) => void,
): Outcome[] {
  if (setups.length === 0) return [];
  return simulateOver(foldTrace(chunks, lowestFloor(setups)), setups, progress);
}

/** The lowest size that the setup may map: of a policy of your own, its lowest threshold. */
export function floorOfSetup({ config, policy }: Pick<Setup, 'config' | 'policy'>): number {
  return policy?.arms_bytes?.[0] ?? floorOf(config);
}

/** The lowest size that one of the setups maps: what a trace may be folded to for all of them. */
export function lowestFloor(setups: readonly Setup[]): number {
  return setups.reduce((lowest, setup) => Math.min(lowest, floorOfSetup(setup)), Number.POSITIVE_INFINITY);
}

/** The same over a trace that is folded already, to the lowest floor of the setups or below. */
export function simulateOver(folded: Folded, setups: readonly Setup[], progress?: (done: number) => void): Outcome[] {
  const outcomes = new Array<Outcome>(setups.length);
  const by_floor = new Map<number, number[]>();
  setups.forEach((setup, at) => {
    const floor_bytes = floorOfSetup(setup);
    by_floor.set(floor_bytes, [...(by_floor.get(floor_bytes) ?? []), at]);
  });
  let done = 0;
  let rest = folded;
  for (const floor_bytes of [...by_floor.keys()].sort((a, b) => a - b)) {
    const group = by_floor.get(floor_bytes)!;
    if (pays(rest, floor_bytes, setups.length - done)) rest = refold(rest, floor_bytes);
    for (const at of group) {
      outcomes[at] = simulate(rest, setups[at]);
      done += 1;
      progress?.(done);
    }
  }
  return outcomes;
}

/** Folding a row again costs about what three rows of the heap path cost to run, once for each setup still to come. */
function pays(folded: Folded, floor_bytes: number, setups: number): boolean {
  let below = 0;
  for (const [at, { size_bytes, op: kinds }] of folded.segments.entries()) {
    const rows = rowsIn(folded, at);
    for (let row = 0; row < rows; row += 1) if (kinds[row] !== op.free && size_bytes[row] < floor_bytes) below += 2;
  }
  return below * setups > 3 * folded.rows;
}

/** Resident pages at checkpoints, which fall every so many events, folded ones included. */
class Residencies {
  /** Where the next one falls. */
  next_events: number;
  told: ((events: number, row: number) => void) | null = null;
  private readonly kernel: PageModel;
  private readonly every_events: number;
  private checkpoints = 0;
  private pages = 0;
  private peak_pages = 0;
  private areas_peak = 0;

  constructor(kernel: PageModel, every_events: number) {
    this.kernel = kernel;
    this.every_events = every_events;
    this.next_events = every_events;
  }

  /** The checkpoints up to and at `events`: nothing has changed since the row before `row`. */
  pass(events: number, row: number): void {
    while (this.next_events <= events) {
      this.count(this.next_events, row);
      this.next_events += this.every_events;
    }
  }

  count(events: number, row: number): void {
    const { resident_pages, areas } = this.kernel;
    this.checkpoints += 1;
    this.pages += resident_pages;
    if (resident_pages > this.peak_pages) this.peak_pages = resident_pages;
    if (areas.count > this.areas_peak) this.areas_peak = areas.count;
    this.told?.(events, row);
  }

  outcome(): Residency {
    return {
      mean_bytes: (this.pages * shape.page_bytes) / this.checkpoints,
      peak_bytes: this.peak_pages * shape.page_bytes,
      areas_peak: this.areas_peak,
    };
  }
}
