/**
 * The machine that a trace's threads run on: a clock for each, processors, the locks of the address space and of arenas,
 * shootdowns. Events come in the order of the trace, and every thread's clock goes its own way.
 */
import type { Chunk } from '../../traces/trace.ts';
import { call, call_names, type Meter, path } from '../peers/meter.ts';
import { cause, cause_names, first_call } from './causes.ts';
import { Costs, type TimePrices } from './costs.ts';
import { Lock } from './locks.ts';
import { Processors } from './processors.ts';

export interface MachineSetup {
  /** Infinity: as many as there are threads. */
  readonly processors: number;
  /** A fault takes the lock of its area alone (Linux 6.4 and later), else that of the address space, for reading. */
  readonly faults_lock_area: boolean;
  /** So do MADV_DONTNEED and MADV_FREE (6.17 and later). */
  readonly advice_locks_area: boolean;
  /** What a call waits for each other processor that runs a thread of the process and must forget its translations. */
  readonly shootdown_ns: number;
  /** What such a processor loses by it. */
  readonly interrupted_ns: number;
  readonly reclaim_page_ns: number;
  /** What an allocator's call took when the trace was recorded: the rest of the time between two events is the program's. */
  readonly recorded_call_ns: number;
  /** Of the time between two events of a thread, how much of it occupied a processor. */
  readonly busy_permille: number;
  /** A thread that asked for nothing for so long is taken to be on no processor. */
  readonly quiet_after_ns: number;
  /** False where the trace has no times of its own: then nothing is between two events. */
  readonly thinks: boolean;
}

/** Where no file says otherwise. Sources: docs/TIME.md, "The machine". */
export const nominal_machine: MachineSetup = {
  processors: Number.POSITIVE_INFINITY,
  faults_lock_area: true,
  advice_locks_area: true,
  shootdown_ns: 5400,
  interrupted_ns: 0,
  reclaim_page_ns: 180,
  recorded_call_ns: 20,
  busy_permille: 1000,
  quiet_after_ns: 10_000_000,
  thinks: true,
};

// By themselves: a name of this module is a constant to the compiler, a member of another's is looked up.
const { think, library } = cause;

/** How a call takes the lock of the address space: not at all, or for reading, or for writing; and it may go on as a reader. */
const space = { none: 0, reads: 1, writes: 2, writes_then_reads: 3 } as const;

export class Machine {
  readonly spent = new Float64Array(cause_names.length);
  /** Of the last event, without thinking and waiting for the object: what the caller of the allocator sees. */
  latency_ns = 0;
  /** Of it, the first touches; and the waiting for locks, and for a processor within the event. */
  fault_ns = 0;
  wait_ns = 0;
  threads = 0;
  /** The furthest of all clocks. */
  now_ns = 0;
  readonly costs: Costs;
  private readonly setup: MachineSetup;
  private readonly processors: Processors;
  private readonly space = new Lock();
  /** Of the area that the break moves: whoever touches the heap reads it. */
  private readonly heap_area = new Lock();
  private readonly arenas: Lock[] = [];
  private readonly call_takes: readonly number[];
  /** By thread; its clock is -1 before its first event. */
  private clock_ns = new Float64Array(16).fill(-1);
  private born_ns = new Float64Array(16);
  private recorded_ns = new Float64Array(16);
  private stolen_ns = new Float64Array(16);
  private readonly known: number[] = [];
  private last_thread = 0;
  /** By slot: when the last event on it ended, of those since there are several threads. */
  private slot_ns = new Float64Array(1024);
  private background_ns = 0;
  /** Small pages that the kernel has back, and that nobody has touched since. */
  private given_back_pages = 0;
  /** Of the event at hand. */
  private at_ns = 0;

  constructor(prices: TimePrices, setup: MachineSetup) {
    this.setup = setup;
    this.costs = new Costs(prices);
    this.processors = new Processors(Number.isFinite(setup.processors) ? setup.processors : 0);
    const takes: Record<keyof typeof call, number> = {
      mmap: space.writes,
      munmap: space.writes_then_reads,
      mremap: space.writes,
      brk_grow: space.writes,
      brk_shrink: space.writes_then_reads,
      mprotect: space.writes,
      dontneed: setup.advice_locks_area ? space.none : space.reads,
      free: setup.advice_locks_area ? space.none : space.reads,
      advise_huge: space.writes,
      advise_small: space.writes,
      // Several areas at once.
      dontneed_vector: space.reads,
      mremap_grow: space.writes,
      mremap_shrink: space.writes_then_reads,
    };
    this.call_takes = Object.values(takes);
  }

  clockOf(thread: number): number {
    return this.clock_ns[thread];
  }

  /** From first to last event, over all threads, and what ran in the background: what the causes sum up to. */
  get threads_ns(): number {
    return this.known.reduce((sum, thread) => sum + this.clock_ns[thread] - this.born_ns[thread], this.background_ns);
  }

  /**
   * Quiet events in rows [from, to) while there is one thread, which waits for nobody: it thinks, then asks, again and again,
   * until an event ends at `due_ns` or later. Returns the row behind the last; `from` itself where there is another thread.
   * The library's part of row r is at r - `first`.
   */
  stepAlone(
    thread: Chunk['thread'],
    time_ns: Chunk['time_ns'],
    library_ns: Float64Array,
    first: number,
    from: number,
    to: number,
    due_ns: number,
  ): number {
    if (this.threads !== 1) return from;
    const { spent, setup } = this;
    const only = this.known[0];
    // In locals: a loop over them is a few nanoseconds an event.
    let now_ns = this.clock_ns[only];
    let last_ns = this.recorded_ns[only];
    let think_sum_ns = spent[think];
    let library_sum_ns = spent[library];
    let row = from;
    for (; row < to && thread[row] === only && now_ns < due_ns; row += 1) {
      const think_ns = thinkOf(time_ns[row] - last_ns, setup);
      const own_ns = library_ns[row - first];
      last_ns = time_ns[row];
      now_ns += think_ns + own_ns;
      think_sum_ns += think_ns;
      library_sum_ns += own_ns;
    }
    this.clock_ns[only] = now_ns;
    this.recorded_ns[only] = last_ns;
    spent[think] = think_sum_ns;
    spent[library] = library_sum_ns;
    if (row > from) this.now_ns = now_ns;
    return row;
  }

  run(
    thread: number,
    recorded_ns: number,
    object: number,
    meter: Meter,
    library_ns: number,
    resident_pages: number,
  ): void {
    this.arrive(thread, recorded_ns, object);
    this.serve(thread, meter, library_ns, resident_pages);
    this.leave(thread, object);
  }

  /** A quiet event, under the lock of an arena or, where that is -1, of none. */
  step(thread: number, recorded_ns: number, object: number, arena: number, library_ns: number): void {
    this.arrive(thread, recorded_ns, object);
    const from_ns = this.at_ns;
    const lock = this.lockOf(arena);
    const held_from_ns = this.work(lock, library_ns, 0);
    lock?.hold(from_ns, held_from_ns, this.at_ns, true);
    this.latency_ns = this.at_ns - from_ns;
    this.fault_ns = 0;
    this.wait_ns = this.latency_ns - library_ns;
    this.leave(thread, object);
  }

  /** What the process does at its end, by the thread of the last event. */
  end(meter: Meter, library_ns: number, resident_pages: number): void {
    if (this.threads === 0) return;
    const thread = this.last_thread;
    this.at_ns = this.clock_ns[thread];
    this.serve(thread, meter, library_ns, resident_pages);
    this.clock_ns[thread] = this.at_ns;
    if (this.at_ns > this.now_ns) this.now_ns = this.at_ns;
  }

  /** What a thread of the allocator's own does at `at_ns`, beside those of the trace. */
  background(at_ns: number, meter: Meter, library_ns: number, resident_pages: number): void {
    this.at_ns = at_ns;
    this.serve(-1, meter, library_ns, resident_pages);
    this.background_ns += this.at_ns - at_ns;
  }

  /** The thread has thought and the object is there: a lone one made it itself, and needs no note of when. */
  private arrive(thread: number, recorded_ns: number, object: number): void {
    this.meet(thread, recorded_ns);
    const think_ns = thinkOf(recorded_ns - this.recorded_ns[thread], this.setup);
    this.recorded_ns[thread] = recorded_ns;
    this.think(thread, think_ns);
    if (this.threads === 1) return;
    if (object >= this.slot_ns.length) this.widenSlots(object + 1);
    this.waitUntil(this.slot_ns[object], cause.dependency_wait);
  }

  private leave(thread: number, object: number): void {
    const { at_ns } = this;
    if (this.threads > 1) this.slot_ns[object] = at_ns;
    this.clock_ns[thread] = at_ns;
    this.last_thread = thread;
    if (at_ns > this.now_ns) this.now_ns = at_ns;
  }

  private think(thread: number, think_ns: number): void {
    const { spent, stolen_ns } = this;
    this.at_ns = this.clock_ns[thread];
    if (this.threads > this.setup.processors) {
      const busy_ns = Math.floor((think_ns * this.setup.busy_permille) / 1000);
      this.at_ns += think_ns - busy_ns;
      this.occupy(busy_ns);
    } else {
      this.at_ns += think_ns;
    }
    spent[cause.think] += think_ns;
    const lost_ns = stolen_ns[thread];
    if (lost_ns === 0) return;
    stolen_ns[thread] = 0;
    this.at_ns += lost_ns;
    spent[cause.shootdown] += lost_ns;
  }

  /** The library first, then its calls in their order, then the touches that the event leads to. */
  private serve(thread: number, meter: Meter, library_ns: number, resident_pages: number): void {
    const { costs, spent } = this;
    const from_ns = this.at_ns;
    const waited_ns = this.waits_ns;
    const copy_ns = costs.copy(meter.copied_bytes);
    const clear_ns = costs.clear(meter.cleared_bytes);
    const reclaim_ns = meter.reclaimed_pages * this.setup.reclaim_page_ns;
    spent[cause.copy] += copy_ns;
    spent[cause.clear] += clear_ns;
    spent[cause.reclaim] += reclaim_ns;
    const lock = this.lockOf(meter.arena);
    const held_from_ns = this.work(lock, library_ns, copy_ns + clear_ns + reclaim_ns);
    for (let at = 0; at < meter.calls; at += 1) this.makeCall(thread, meter, at);
    lock?.hold(from_ns, held_from_ns, this.at_ns, true);
    this.fault_ns = this.fault(meter, resident_pages);
    this.latency_ns = this.at_ns - from_ns;
    this.wait_ns = this.waits_ns - waited_ns;
  }

  /** The library's own work and what it fills, once it has the lock; returns since when it holds that. */
  private work(lock: Lock | null, library_ns: number, fill_ns: number): number {
    if (lock !== null) this.waitUntil(lock.turnOf(this.at_ns, library_ns, true), cause.lock_wait);
    const held_from_ns = this.at_ns;
    this.spent[cause.library] += library_ns;
    this.occupy(library_ns + fill_ns);
    return held_from_ns;
  }

  private get waits_ns(): number {
    return this.spent[cause.lock_wait] + this.spent[cause.processor_wait];
  }

  private makeCall(thread: number, meter: Meter, at: number): void {
    const { costs, spent } = this;
    const kind = meter.call[at];
    costs.priceCall(meter, at);
    const { call_ns, pages_ns } = costs;
    spent[first_call + kind] += call_ns + pages_ns;
    if (gives_back[kind] === 1) this.given_back_pages += meter.pages[at];
    if (this.threads < 2) {
      this.at_ns += call_ns + pages_ns;
      return;
    }
    const gone_pages = meter.pages[at] + meter.huge_pages[at];
    const flush_ns = gone_pages > 0 && interrupts[kind] === 1 ? this.shootDown(thread) : 0;
    spent[cause.shootdown] += flush_ns;
    const takes = this.call_takes[kind];
    const later_ns = pages_ns + flush_ns;
    if (takes === space.none) {
      this.occupy(call_ns + later_ns);
      return;
    }
    const asked_ns = this.at_ns;
    const downgrades = takes === space.writes_then_reads;
    const held_ns = downgrades ? call_ns : call_ns + later_ns;
    this.waitUntil(this.space.turnOf(asked_ns, held_ns, takes !== space.reads), cause.lock_wait);
    const space_from_ns = this.at_ns;
    const moves_break = kind === call.brk_grow || kind === call.brk_shrink;
    if (moves_break) this.waitUntil(this.heap_area.turnOf(this.at_ns, held_ns, true), cause.lock_wait);
    const area_from_ns = this.at_ns;
    this.occupy(call_ns + later_ns);
    const held_to_ns = downgrades ? this.at_ns - later_ns : this.at_ns;
    this.space.hold(asked_ns, space_from_ns, held_to_ns, takes !== space.reads);
    if (moves_break) this.heap_area.hold(space_from_ns, area_from_ns, held_to_ns, true);
    if (this.at_ns > held_to_ns) this.space.hold(asked_ns, held_to_ns, this.at_ns, false);
  }

  private fault(meter: Meter, resident_pages: number): number {
    const { costs, spent } = this;
    const { faults, zero_faults, huge_faults } = meter;
    if (faults + zero_faults + huge_faults === 0) return 0;
    // The kernel gives out first what came back last.
    const again = Math.min(faults, this.given_back_pages);
    this.given_back_pages -= again;
    const small_ns = costs.faults(faults, again, resident_pages);
    const zero_ns = costs.zeroFaults(zero_faults, resident_pages);
    const huge_ns = costs.hugeFaults(huge_faults, resident_pages);
    const all_ns = small_ns + zero_ns + huge_ns;
    spent[cause.fault] += small_ns;
    spent[cause.zero_fault] += zero_ns;
    spent[cause.huge_fault] += huge_ns;
    if (this.threads > 1 && !(this.setup.faults_lock_area && meter.path === path.mapped)) {
      // Each fault takes the lock anew: who wants to write waits for one of them, not for all.
      const one_ns = Math.floor(all_ns / (faults + zero_faults + huge_faults));
      const lock = this.setup.faults_lock_area ? this.heap_area : this.space;
      this.waitUntil(lock.acquire(this.at_ns, one_ns, false), cause.lock_wait);
    }
    this.occupy(all_ns);
    return all_ns;
  }

  /** What the caller waits for: every other processor that runs a thread of the process answers it. */
  private shootDown(thread: number): number {
    const { setup, known, clock_ns, stolen_ns } = this;
    const { busy_permille } = setup;
    const lost_ns = Math.floor((setup.interrupted_ns * busy_permille) / 1000);
    let others = 0;
    for (let at = 0; at < known.length && others < setup.processors - 1; at += 1) {
      const other = known[at];
      if (other === thread || this.at_ns - clock_ns[other] > setup.quiet_after_ns) continue;
      stolen_ns[other] += lost_ns;
      others += 1;
    }
    return Math.floor((setup.shootdown_ns * others * busy_permille) / 1000);
  }

  /** Works for so long, on a processor of its own where there are enough, else when one is free. */
  private occupy(work_ns: number): void {
    if (this.threads > this.setup.processors)
      this.waitUntil(this.processors.begin(this.at_ns, work_ns), cause.processor_wait);
    this.at_ns += work_ns;
  }

  private waitUntil(until_ns: number, why: number): void {
    if (until_ns <= this.at_ns) return;
    this.spent[why] += until_ns - this.at_ns;
    this.at_ns = until_ns;
  }

  /** A thread begins beside the event before its first one, as far behind it as in the recording. */
  private meet(thread: number, recorded_ns: number): void {
    if (thread >= this.clock_ns.length) this.widenThreads(thread + 1);
    if (this.clock_ns[thread] >= 0) return;
    const since_ns = this.setup.thinks ? recorded_ns - this.recorded_ns[this.last_thread] : 0;
    const born_ns = this.threads === 0 ? 0 : this.clock_ns[this.last_thread] + since_ns;
    this.clock_ns[thread] = born_ns;
    this.born_ns[thread] = born_ns;
    this.recorded_ns[thread] = recorded_ns;
    this.known.push(thread);
    this.threads += 1;
  }

  /** null where no arena is held, or nobody else is there. */
  private lockOf(arena: number): Lock | null {
    if (arena < 0 || this.threads < 2) return null;
    this.arenas[arena] ??= new Lock();
    return this.arenas[arena];
  }

  private widenThreads(threads: number): void {
    const length = Math.max(threads, 2 * this.clock_ns.length);
    this.clock_ns = widened(this.clock_ns, new Float64Array(length).fill(-1));
    this.born_ns = widened(this.born_ns, new Float64Array(length));
    this.recorded_ns = widened(this.recorded_ns, new Float64Array(length));
    this.stolen_ns = widened(this.stolen_ns, new Float64Array(length));
  }

  private widenSlots(objects: number): void {
    this.slot_ns = widened(this.slot_ns, new Float64Array(Math.max(objects, 2 * this.slot_ns.length)));
  }
}

/** Calls that take translations away, where pages were resident; mprotect, as allocators use it, opens what never was. */
const interrupting: readonly (keyof typeof call)[] = [
  'munmap',
  'mremap',
  'brk_shrink',
  'dontneed',
  'free',
  'dontneed_vector',
  'mremap_shrink',
];
const interrupts = Uint8Array.from(call_names, (name) => (interrupting.includes(name) ? 1 : 0));

/** Of them, those that the kernel has its pages of at once. */
const gives_back = Uint8Array.from(call_names, (name, kind) =>
  interrupts[kind] === 1 && name !== 'mremap' && name !== 'free' ? 1 : 0,
);

/** What the program does of the time between two events of a thread; the rest was the recorded allocator's call. */
function thinkOf(gap_ns: number, { thinks, recorded_call_ns }: MachineSetup): number {
  return thinks && gap_ns > recorded_call_ns ? gap_ns - recorded_call_ns : 0;
}

function widened<T extends Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
