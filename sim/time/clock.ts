/**
 * The time layer: told of every event what it took, it moves the clocks of a machine and keeps what people ask of them: where
 * time went, how long events took, and how memory went along. It decides nothing.
 */
import { type Chunk, op } from '../../traces/trace.ts';
import type { Meter } from '../peers/meter.ts';
import { shape } from '../spec.ts';
import { type ByCause, byCause, is_cpu } from './causes.ts';
import type { TimePrices } from './costs.ts';
import { Course, type CoursePoint } from './course.ts';
import { Latencies, type LatencyRow, type Quantiles } from './latencies.ts';
import { Machine, type MachineSetup } from './machine.ts';
import type { Footprint } from './work.ts';

const { free } = op;

export interface TimeResult {
  readonly events: number;
  readonly threads: number;
  /** From the first event to the last end of any thread. */
  readonly run_ns: number;
  /** Of all threads, from first event to last: what `by_cause` sums up to. With one thread it is `run_ns`. */
  readonly threads_ns: number;
  /** The allocator's share: neither the program's own work nor waiting. */
  readonly cpu_ns: number;
  readonly by_cause: ByCause;
  /** As results have it: what calls that allocate and that free took, first touches, waiting for locks and processors. */
  readonly time_ns: {
    readonly total: number;
    readonly allocate: number;
    readonly free: number;
    readonly fault: number;
    readonly wait: number;
  };
  readonly latency_ns: Quantiles;
  readonly latency: readonly LatencyRow[];
  readonly course: readonly CoursePoint[];
  readonly resident_bytes: { readonly peak: number; readonly end: number };
  /** Bytes in huge pages by live bytes, at most 1, over the points of the course: an upper bound of what lies in huge pages. */
  readonly huge_coverage: number;
}

export class TimeLayer {
  events = 0;
  private readonly machine: Machine;
  private readonly meter: Meter;
  /** Of the process, after the last event. */
  private readonly footprint: Footprint;
  private readonly latencies = new Latencies();
  private readonly course = new Course();
  private size_of = new Float64Array(1024);
  live_bytes = 0;
  private resident_peak_pages = 0;
  private allocate_ns = 0;
  private free_ns = 0;
  private fault_ns = 0;
  private wait_ns = 0;

  constructor(prices: TimePrices, setup: MachineSetup, meter: Meter, footprint: Footprint) {
    this.machine = new Machine(prices, setup);
    this.meter = meter;
    this.footprint = footprint;
  }

  /** The furthest that any thread has come. */
  get now_ns(): number {
    return this.machine.now_ns;
  }

  /** The event in `row`, of which the meter tells all but what the library itself took. */
  feed(chunk: Chunk, row: number, library_ns: number): void {
    const { machine, meter } = this;
    const kind = chunk.op[row];
    const object = chunk.object[row];
    const { resident_pages } = this.footprint;
    this.events += 1;
    const size_bytes = this.resize(kind, object, chunk.size_bytes[row]);
    machine.run(chunk.thread[row], chunk.time_ns[row], object, meter, library_ns, resident_pages);
    this.latencies.add(kind, size_bytes, machine.latency_ns);
    this.count(kind === free, resident_pages);
    if (machine.now_ns >= this.course.due_ns) this.course.add(this.point());
  }

  /**
   * The events in [from, to), each of them quiet: from `from` on, what the library took and under which arena's lock. As `feed`
   * would have it one by one; nearly all events are of this kind, and told together they cost a fraction.
   */
  feedQuiet(chunk: Chunk, from: number, to: number, library_ns: Float64Array, arena: Int32Array): void {
    const { machine, latencies, course } = this;
    const { op: kinds, thread, object, size_bytes, time_ns } = chunk;
    this.events += to - from;
    for (let row = from; row < to; ) {
      const alone_to = machine.stepAlone(thread, time_ns, library_ns, from, row, to, course.due_ns);
      const alone = alone_to > row;
      const until = alone ? alone_to : row + 1;
      if (!alone) {
        machine.step(thread[row], time_ns[row], object[row], arena[row - from], library_ns[row - from]);
        this.wait_ns += machine.wait_ns;
      }
      let own_sum_ns = 0;
      let free_sum_ns = 0;
      for (; row < until; row += 1) {
        const kind = kinds[row];
        const own_ns = library_ns[row - from];
        const bytes = this.resize(kind, object[row], size_bytes[row]);
        latencies.add(kind, bytes, alone ? own_ns : machine.latency_ns);
        own_sum_ns += own_ns;
        if (kind === free) free_sum_ns += own_ns;
      }
      this.free_ns += free_sum_ns;
      this.allocate_ns += own_sum_ns - free_sum_ns;
      if (machine.now_ns >= course.due_ns) course.add(this.point());
    }
  }

  /** What an allocator does by itself at `at_ns`, beside the threads of the trace. */
  feedBackground(at_ns: number, library_ns: number): void {
    const { resident_pages } = this.footprint;
    this.machine.background(at_ns, this.meter, library_ns, resident_pages);
    this.count(true, resident_pages);
  }

  /** The process ends; the meter tells what that takes. */
  finish(library_ns: number): TimeResult {
    const { machine, footprint } = this;
    machine.end(this.meter, library_ns, footprint.resident_pages);
    if (machine.threads > 0) this.count(true, footprint.resident_pages);
    const { spent, threads, now_ns, threads_ns } = machine;
    const { all, rows } = this.latencies.finish();
    const course = this.course.finish(this.point());
    const { allocate_ns, free_ns, fault_ns, wait_ns } = this;
    return {
      events: this.events,
      threads,
      run_ns: now_ns,
      threads_ns,
      cpu_ns: spent.reduce((sum, ns, at) => (is_cpu(at) ? sum + ns : sum), 0),
      by_cause: byCause(spent),
      time_ns: {
        total: allocate_ns + free_ns + fault_ns + wait_ns,
        allocate: allocate_ns,
        free: free_ns,
        fault: fault_ns,
        wait: wait_ns,
      },
      latency_ns: all,
      latency: rows,
      course,
      resident_bytes: {
        peak: this.resident_peak_pages * shape.page_bytes,
        end: footprint.resident_pages * shape.page_bytes,
      },
      huge_coverage: coverageOf(course),
    };
  }

  private count(frees: boolean, resident_pages: number): void {
    const { latency_ns, fault_ns, wait_ns } = this.machine;
    const own_ns = latency_ns - fault_ns - wait_ns;
    if (frees) this.free_ns += own_ns;
    else this.allocate_ns += own_ns;
    this.fault_ns += fault_ns;
    this.wait_ns += wait_ns;
    if (resident_pages > this.resident_peak_pages) this.resident_peak_pages = resident_pages;
  }

  private point(): CoursePoint {
    const { resident_pages, lazy_pages, huge_pages } = this.footprint;
    return {
      time_ns: this.machine.now_ns,
      live_bytes: this.live_bytes,
      resident_bytes: resident_pages * shape.page_bytes,
      lazy_bytes: lazy_pages * shape.page_bytes,
      huge_bytes: huge_pages * shape.page_bytes,
    };
  }

  /** The object has `new_bytes` from now on; returns what the event is about, which for a free is what the object had. */
  private resize(kind: number, object: number, new_bytes: number): number {
    if (object >= this.size_of.length) this.widen(object + 1);
    const old_bytes = this.size_of[object];
    this.size_of[object] = new_bytes;
    this.live_bytes += new_bytes - old_bytes;
    return kind === free ? old_bytes : new_bytes;
  }

  private widen(objects: number): void {
    const wider = new Float64Array(Math.max(objects, 2 * this.size_of.length));
    wider.set(this.size_of);
    this.size_of = wider;
  }
}

function coverageOf(course: readonly CoursePoint[]): number {
  let live = 0;
  let huge = 0;
  for (const { live_bytes, huge_bytes } of course) {
    live += live_bytes;
    huge += Math.min(live_bytes, huge_bytes);
  }
  return live === 0 ? 0 : huge / live;
}
