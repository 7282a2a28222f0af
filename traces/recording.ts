/**
 * Turns what the recorder wrote into rows: one order over all threads, dense objects, named call sites, touched pages at
 * the row of the allocation they belong to.
 */
import { existsSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { TraceBuilder } from './builder.ts';
import { readSampling } from './recording-counts.ts';
import { Modules, SiteTable } from './recording-sites.ts';
import { MergedStreams, type RecordedProcess, readMaps, record_kind, type Stream } from './recording-streams.ts';
import { type Chunk, large_bytes, limits, type Origin, originOf, type ProcessSpent } from './trace.ts';

export { processFolders, type RecordedProcess, readProcesses, unreadableProcesses } from './recording-streams.ts';

/** The processor's counter and CLOCK_MONOTONIC, read at one moment, in ticks and nanoseconds. */
export interface Clocks {
  readonly tsc: number;
  readonly ns: number;
}

/** What `hak-record` says of the program it started: mirror of native/record_main.c. */
export interface Launch {
  readonly pid: number;
  /** Why the program could not be started, else "". */
  readonly failure: string;
  readonly status: number;
  readonly signal: number;
  readonly wall_ns: number;
  readonly user_ns: number;
  readonly sys_ns: number;
  readonly faults: number;
  readonly resident_peak_bytes: number;
  readonly tsc: number;
  readonly tsc_ns: number;
}

/**
 * Two threads that hand a block over may read their clocks in the wrong order by this much: a processor need not wait
 * for what comes before, and a clock has its resolution.
 */
const clock_skew_ns = 10_000;

interface Early {
  readonly until_ns: number;
  readonly stream: Stream;
  readonly thread: number;
  /** Else it is the first half of a realloc. */
  readonly is_free: boolean;
  /** The second half has come. */
  is_over?: boolean;
}

interface RowDetails {
  thread: number;
  align: number;
  site: number;
  time_ns: number;
  touched_pages: number;
}

/** The events of one recorded process, read once; `origin()` may be asked when they are all read. */
export class Recording {
  private readonly recorded: RecordedProcess;
  private readonly launch: Launch | null;
  private readonly ns_per_tick: number;
  /** By CLOCK_MONOTONIC; what comes later does not count. */
  private readonly end_ns: number;
  private readonly modules: Modules;
  private readonly sites: SiteTable;
  private readonly builder: TraceBuilder;
  /** Blocks below --min-size: the recorder knows only what a block has room for. */
  private readonly small = new Set<number>();
  /** Addresses that were given out again before their free was seen. */
  private readonly owed = new Map<number, { until_ns: number; stream: Stream }>();
  /** Addresses that were freed or moved before their allocation was seen. */
  private readonly early = new Map<number, Early>();
  private readonly early_moves = new Map<Stream, Early>();
  private dropped = 0;
  private missing_bytes = 0;
  private lost_streams = 0;
  private begin_ns = 0;
  /** Pairs of events of two threads whose clocks were read in the wrong order. */
  private swapped = 0;
  /** Frees that the builder had to insert, and that came after all. */
  private settled = 0;

  /** Without `launch`, where the launcher did not live to report, clocks of this machine since its start tell the time. */
  constructor(
    recorded: RecordedProcess,
    launch: Launch | null,
    clocks: Clocks | null = null,
    chunk_events: number = limits.chunk_events,
  ) {
    this.recorded = recorded;
    this.launch = launch;
    // Of a process that runs on, streams are read one after another: up to here all of them are whole.
    const read_at_ns = clocks !== null && isRunning(recorded) ? clocks.ns : Number.POSITIVE_INFINITY;
    this.end_ns = Math.min(recorded.control?.end_ns || Number.POSITIVE_INFINITY, read_at_ns);
    this.ns_per_tick = nsPerTick(recorded, launch, clocks);
    this.modules = new Modules(readMaps(recorded));
    this.sites = new SiteTable(this.modules);
    this.builder = new TraceBuilder(chunk_events);
  }

  *chunks(): Generator<Chunk> {
    const { recorded, builder, ns_per_tick } = this;
    const touched = recorded.touch ? touchedBlocks(recorded) : undefined;
    const streams = new MergedStreams(recorded);
    this.begin_ns = Math.max(0, Math.round(streams.begin_ticks * ns_per_tick));
    const end_ns = this.end_ns - recorded.start_ns;
    let large_blocks = 0;
    const details: RowDetails = { thread: 0, align: 0, site: 0, time_ns: 0, touched_pages: limits.unknown };
    for (let stream = streams.top(); stream !== undefined; stream = streams.top()) {
      const { kind, size_bytes } = stream;
      details.thread = Math.max(0, stream.thread - 1);
      details.time_ns = Math.max(0, Math.round(stream.ticks * ns_per_tick));
      if (details.time_ns > end_ns) break;
      if (kind === record_kind.free) {
        this.free(stream, details);
      } else if (kind === record_kind.move) {
        this.move(stream, details);
      } else if (kind <= record_kind.realloc) {
        details.align = stream.align;
        details.touched_pages = limits.unknown;
        if (size_bytes >= large_bytes && size_bytes >= recorded.min_size_bytes) {
          const pages = touched?.get(large_blocks);
          if (pages !== undefined) details.touched_pages = Math.min(pages, Math.ceil(size_bytes / recorded.page_bytes));
          large_blocks += 1;
        }
        if (size_bytes >= recorded.min_size_bytes)
          details.site = this.sites.index(stream.site, streams.stacks.get(stream.site));
        this.allocate(stream, details);
      }
      streams.pop();
      yield* builder.drain();
    }
    this.missing_bytes = streams.missing_bytes;
    this.lost_streams = streams.lost_streams;
    for (const { is_free } of this.early.values()) if (is_free) this.dropped += 1;
    yield* builder.finish();
  }

  private free(stream: Stream, details: RowDetails): void {
    const { builder, owed } = this;
    const { block } = stream;
    const debt = owed.get(block);
    if (debt !== undefined && debt.stream !== stream) {
      owed.delete(block);
      if (details.time_ns <= debt.until_ns) {
        this.swapped += 1;
        this.settled += 1;
        return;
      }
    }
    if (this.small.delete(block)) return;
    if (builder.isLive(block)) builder.free(block, details);
    else this.comesEarly(stream, details, true);
  }

  private move(stream: Stream, details: RowDetails): void {
    const { builder } = this;
    const { block } = stream;
    if (builder.isLive(block)) builder.rename(block, onItsWay(stream));
    else if (!this.small.delete(block)) this.comesEarly(stream, details, false);
  }

  private comesEarly(stream: Stream, { time_ns, thread }: RowDetails, is_free: boolean): void {
    if (this.early.get(stream.block)?.is_free === true) this.dropped += 1;
    const early = { until_ns: time_ns + clock_skew_ns, stream, thread, is_free };
    this.early.set(stream.block, early);
    if (!is_free) this.early_moves.set(stream, early);
  }

  /** An allocation, or the second half of a realloc. */
  private allocate(stream: Stream, details: RowDetails): void {
    const { builder, small } = this;
    const { kind, block, size_bytes } = stream;
    const is_small = size_bytes < this.recorded.min_size_bytes;
    const early = this.early.get(block);
    if (early !== undefined) this.early.delete(block);
    const is_taken_back = early !== undefined && early.stream !== stream && details.time_ns <= early.until_ns;
    if (early?.is_free === true && !is_taken_back) this.dropped += 1;
    if (builder.isLive(block)) this.owed.set(block, { until_ns: details.time_ns + clock_skew_ns, stream });
    small.delete(block);
    if (is_small) small.add(block);
    if (kind === record_kind.realloc) {
      const move = this.early_moves.get(stream);
      if (move !== undefined) {
        // Its allocation did not come meanwhile: should it come yet, it ends there.
        move.is_over = true;
        this.early_moves.delete(stream);
      }
      if (!is_small) builder.reallocate(onItsWay(stream), block, size_bytes, details);
      else if (builder.isLive(onItsWay(stream))) builder.free(onItsWay(stream), details);
    } else if (!is_small) {
      builder.allocate(kind - 1, block, size_bytes, details);
    }
    if (!is_taken_back) return;
    this.swapped += 1;
    small.delete(block);
    if (is_small) return;
    if (early.is_free || early.is_over === true) {
      builder.free(block, { time_ns: details.time_ns, thread: early.thread });
    } else {
      builder.rename(block, onItsWay(early.stream));
      this.early_moves.delete(early.stream);
    }
  }

  origin(machine: string): Origin {
    const { recorded } = this;
    return originOf('recorded', {
      program: recorded.arguments[0]?.replace(/^.*\//, '') ?? this.modules.program ?? 'unknown',
      command: recorded.arguments.map(quoted).join(' '),
      machine,
      page_bytes: recorded.page_bytes,
      has_time: true,
      has_sites: true,
      process: this.spent(),
      sites: this.sites.sites,
      modules: this.modules.used,
      notes: this.notes(),
      dropped: this.dropped,
      sampling: readSampling(recorded),
    });
  }

  /** Said of the program that was asked for by its launcher too, which knows how it was killed. */
  private spent(): ProcessSpent {
    const { recorded, launch } = this;
    const is_main = recorded.pid === launch?.pid;
    const { user_ns, sys_ns, faults } = recorded;
    let exit: ProcessSpent['exit'] = recorded.finished ? recorded.exit_status : 'unknown';
    if (is_main && launch.signal !== 0) exit = `signal ${launch.signal}`;
    else if (is_main && !recorded.finished) exit = launch.status;
    const wall_ns = Math.round(recorded.elapsed_ticks * this.ns_per_tick);
    if (recorded.finished || !is_main || recorded.image > 0)
      return { wall_ns, user_ns, sys_ns, faults, resident_peak_bytes: recorded.resident_peak_bytes, exit };
    return {
      wall_ns: launch.wall_ns,
      user_ns: launch.user_ns,
      sys_ns: launch.sys_ns,
      faults: launch.faults,
      resident_peak_bytes: launch.resident_peak_bytes,
      exit,
    };
  }

  private notes(): string[] {
    const { recorded } = this;
    const begins_late = this.beginsLate();
    const notes: (string | false)[] = [
      recorded.touch &&
        "Recorded with glibc's mmap threshold pinned at 128 KiB, transparent huge pages off, and large blocks from its heap emptied of old pages, so that the touched pages of each block of 512 KiB and more could be counted.",
      recorded.sample_mean_bytes > 0 &&
        `A sample: all blocks of ${recorded.sample_whole_bytes} bytes and more, of smaller ones of s bytes a share of 1 - exp(-s / ${recorded.sample_mean_bytes}), seed ${recorded.sample_seed}. Each realloc is drawn anew: a block that so leaves the sample is freed, one that enters it allocated.`,
      recorded.min_size_bytes > 0 && `Only blocks of at least ${recorded.min_size_bytes} bytes were kept.`,
      recorded.attached !== null && watchedFromOutside(recorded),
      !recorded.finished &&
        recorded.attached === null &&
        !this.endsUnseen() &&
        `The process ${recorded.became_another ? 'became another program by exec' : 'was killed or ran on'}: what it spent is as of its last report.`,
      ...this.window(),
      this.dropped > 0 &&
        `${this.dropped} frees of blocks that were never seen allocated were dropped${whyUnseen(begins_late, recorded)}.`,
      this.swapped > 0 &&
        `${this.swapped} pairs of events of two threads on one block were put in their only possible order.`,
    ];
    return [...notes.filter((note) => note !== false), ...this.warnings()];
  }

  /** Blocks were allocated before the first event of the trace. */
  private beginsLate(): boolean {
    const { control, start_ns } = this.recorded;
    return this.begin_ns > 0 || (control !== undefined && control.begin_ns > start_ns);
  }

  /** The part of the run that the recording is of, where it is not all of it. */
  private window(): (string | false)[] {
    const { control, start_ns } = this.recorded;
    if (control === undefined) return [];
    const { begin_ns, end_ns, switches, keep_bytes } = control;
    const seconds = (ns: number) => `${(ns / 1e9).toFixed(3)} s`;
    return [
      begin_ns === 0 && 'Recording was never switched on.',
      begin_ns > start_ns &&
        this.begin_ns === 0 &&
        `The trace begins in the middle, ${seconds(begin_ns - start_ns)} after the process did: blocks from before are unknown.`,
      this.begin_ns > 0 &&
        `The trace begins in the middle, ${seconds(this.begin_ns)} after the process did: only the newest ${keep_bytes} bytes of records were kept.`,
      end_ns > 0 &&
        `Recording ended by its own limit of time, ${seconds(end_ns - start_ns)} after the process began, or with the process.`,
      switches > 0 &&
        `Recording was switched ${switches} times by signal ${control.signal} and was off for ${seconds(control.paused_ns)} in between: a block freed meanwhile counts as live until its address is given out again.`,
    ];
  }

  /** It ended well, but not before the recorder's eyes. */
  private endsUnseen(): boolean {
    const { recorded, launch } = this;
    return recorded.pid === launch?.pid && !recorded.finished && !recorded.became_another && launch.signal === 0;
  }

  /** What is missing from the recording, a sentence each. */
  warnings(): string[] {
    const { recorded } = this;
    const missing = this.builder.repaired - this.settled;
    const warnings: (string | false)[] = [
      this.endsUnseen() &&
        'The process became a program that could not be recorded (static, setuid, or without the environment of the recorder), or left without running its exit handlers.',
      recorded.stop_errno !== 0 &&
        `Recording stopped early (${getSystemErrorName(-recorded.stop_errno)}): the rest is missing.`,
      recorded.lost_events > 0 &&
        (recorded.attached === null
          ? `${recorded.lost_events} calls by signal handlers that interrupted the recorder were not recorded.`
          : `${recorded.lost_events} calls or returns were lost, for they came faster than they could be read: the trace is not whole.`),
      recorded.control?.is_full === true &&
        `Recording stopped when ${recorded.control.max_bytes} bytes of records were written: the rest is missing.`,
      recorded.control?.signal_is_lost === true &&
        `The program uses signal ${recorded.control.signal} itself or ignores it: it did not switch the recording.`,
      missing > 0 && `${missing} frees were missing and inserted before their address was given out again.`,
      this.missing_bytes > 0 &&
        `About ${this.missing_bytes} bytes of records cannot be read: files of the recording were cut off or overwritten.`,
      this.lost_streams > 0 &&
        `${this.lost_streams} files of streams are missing or have no header: what their threads did is not there.`,
      recorded.control_is_damaged &&
        'The file "control" is cut off: whether the recording has a beginning and an end of its own is unknown.',
      this.modules.program === null && 'The list of modules is missing: call sites are addresses.',
    ];
    return warnings.filter((warning) => warning !== false);
  }
}

/** For each block of `large_bytes` and more, by its number in order of allocation: the pages touched when last looked at. */
function touchedBlocks(recorded: RecordedProcess): Map<number, number> {
  const touched = new Map<number, number>();
  const live = new Map<number, number>();
  const streams = new MergedStreams(recorded);
  let large_blocks = 0;
  for (let stream = streams.top(); stream !== undefined; stream = streams.top()) {
    const { kind, block } = stream;
    if (kind === record_kind.touched) {
      const number = live.get(block);
      if (number !== undefined) touched.set(number, stream.pages);
    } else if (kind === record_kind.free || kind === record_kind.move) {
      live.delete(block);
    } else if (stream.size_bytes >= large_bytes && stream.size_bytes >= recorded.min_size_bytes) {
      live.set(block, large_blocks);
      large_blocks += 1;
    } else {
      live.delete(block);
    }
    streams.pop();
  }
  return touched;
}

function isRunning({ pid, finished, became_another }: RecordedProcess): boolean {
  return !finished && !became_another && existsSync(`/proc/${pid}`);
}

/** A name for the block that the stream's thread is reallocating; addresses are never odd. */
function onItsWay(stream: Stream): number {
  return 2 * stream.index + 1;
}

const ends = {
  'let go': 'it was let go',
  exit: 'it ended',
  exec: 'it became another program',
  full: 'the recording had its greatest size',
} as const;

function watchedFromOutside({ attached, elapsed_ns }: RecordedProcess): string {
  return `A process that ran already was watched for ${(elapsed_ns / 1e9).toFixed(3)} s, until ${ends[attached!]}: blocks from before are unknown, and what it spent is what it spent meanwhile, the probes included.`;
}

function whyUnseen(begins_late: boolean, { attached, forked }: RecordedProcess): string {
  if (attached !== null)
    return ': they were allocated before, or a thread that ended gave back what its cache held of free blocks';
  if (forked) return ": a forked child inherits its parent's blocks";
  return begins_late ? ': they were allocated before the recording began' : '';
}

/** A process that has run for less has no measure of its counter of its own. */
const measurable_ns = 1e7;

function nsPerTick(recorded: RecordedProcess, launch: Launch | null, clocks: Clocks | null): number {
  if (!recorded.uses_tsc) return 2 ** recorded.tick_shift;
  const scale = 2 ** recorded.tick_shift;
  if (launch !== null && launch.tsc > 0) return (scale * launch.tsc_ns) / launch.tsc;
  if (clocks !== null && recorded.elapsed_ns < measurable_ns) {
    const ns_per_tick = (clocks.ns - recorded.start_ns) / (clocks.tsc / scale - recorded.start_ticks);
    // Else the recording is another machine's, or from before it was started anew.
    if (ns_per_tick > 0.05 * scale && ns_per_tick < 20 * scale) return ns_per_tick;
  }
  return recorded.elapsed_ns / Math.max(1, recorded.elapsed_ticks);
}

/** As a shell would read it back. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
