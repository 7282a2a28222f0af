/** Who is compared: allocators that real programs run under, and hakmem's own core on the real kernel. */
import {
  type AllocatorName,
  allocator_names,
  allocators,
  installLine,
  isAllocatorName,
  libraryOf,
} from '../../native/allocators.ts';
import { probeProfile, replayReal } from '../../native/index.ts';
import { type ReplayerRound, type ReplayerRun, runReplayer, type ThreadMode } from '../../native/replayer.ts';
import { configOf, default_profile, type Mode, mode_names, params, prices, type Setup } from '../../sim/index.ts';
import { CheckFailed, UsageError } from '../command.ts';
import type { Subject } from './subjects.ts';

/** Counts of one round. */
export interface Counts {
  readonly faults: number;
  /** By kind; null where the kernel does not let them be counted. */
  readonly syscalls: Readonly<Record<string, number>> | null;
  readonly resident_peak_bytes: number;
  readonly resident_mean_bytes: number;
}

/** One process, fresh: its first round is cold; `steady` is the last one, null of who replays a trace only once. */
export interface Proof {
  readonly library: string;
  readonly version: string | null;
  readonly served_events: number;
  readonly own_books: ReplayerRun['own_books'];
  readonly cold: Counts;
  readonly steady: Counts | null;
}

export interface Timing {
  readonly cold_ns: number;
  /** The median of the rounds after the first. */
  readonly steady_ns: number | null;
  /** Cold and steady rounds in which the host had to find memory for a huge page. */
  readonly slow: { readonly cold: number; readonly steady: number };
}

export interface Circumstances {
  readonly threads: ThreadMode;
  /** Rounds after the cold one, in the same process. */
  readonly steady_rounds: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

export interface Contestant {
  readonly name: string;
  /** Its time holds the work of measuring itself. */
  readonly includes_bookkeeping: boolean;
  prove(subject: Subject, how: Circumstances): Promise<Proof>;
  time(subject: Subject, how: Circumstances): Promise<Timing>;
}

export interface Missing {
  readonly allocator: string;
  readonly reason: string;
}

/** The default ones that are installed, and those that are not. */
export function installed(): { contestants: Contestant[]; missing: Missing[] } {
  const missing = allocator_names
    .filter((name) => libraryOf(allocators[name]) === undefined)
    .map((name) => ({ allocator: name, reason: notInstalled(name) }));
  const absent = new Set<string>(missing.map(({ allocator }) => allocator));
  return {
    contestants: allocator_names.filter((name) => !absent.has(name)).map((name) => new Peer(name, name)),
    missing,
  };
}

/** Of a list such as "glibc,jemalloc hakmem-BALANCED"; one named again is measured again, as `glibc#2`. */
export function parseContestants(list: string): Contestant[] {
  const names = list.split(/[,\s]+/).filter((name) => name !== '');
  if (names.length === 0)
    throw new UsageError(`--allocators: found nothing, wanted some of ${allocator_names.join(' ')}`);
  const times = new Map<string, number>();
  return names.map((name) => {
    const time = (times.get(name) ?? 0) + 1;
    times.set(name, time);
    return contestantOf(name, time === 1 ? name : `${name}#${time}`);
  });
}

function contestantOf(name: string, label: string): Contestant {
  if (isAllocatorName(name)) {
    if (libraryOf(allocators[name]) === undefined) throw new UsageError(`--allocators: ${notInstalled(name)}`);
    return new Peer(name, label);
  }
  const mode = name.startsWith('hakmem-') ? name.slice('hakmem-'.length) : '';
  if ((mode_names as string[]).includes(mode)) return new Hakmem(mode as Mode, label);
  throw new UsageError(
    `--allocators: no allocator "${name}"; there are ${allocator_names.join(', ')} and hakmem-MODE, where MODE is ${mode_names.join(', ')}`,
  );
}

function notInstalled(name: AllocatorName): string {
  return `${name} is not installed: ${installLine(allocators[name])}`;
}

class Peer implements Contestant {
  readonly name: string;
  readonly includes_bookkeeping = false;
  private readonly allocator: AllocatorName;

  constructor(allocator: AllocatorName, name: string) {
    this.allocator = allocator;
    this.name = name;
  }

  async prove(subject: Subject, how: Circumstances): Promise<Proof> {
    const run = await this.run(subject, how, false);
    const { unserved, served_events } = run;
    if (unserved !== null)
      throw new CheckFailed(`${subject.name}: event ${unserved.event}: ${this.name} gave a block ${unserved.reason}`);
    return {
      library: run.allocator.path,
      version: run.allocator.version,
      served_events: served_events ?? 0,
      own_books: run.own_books,
      cold: countsOf(run.rounds[0]),
      steady: countsOf(run.rounds.at(-1)!),
    };
  }

  async time(subject: Subject, how: Circumstances): Promise<Timing> {
    const { rounds } = await this.run(subject, how, true);
    const [cold, ...steady] = rounds;
    return {
      cold_ns: cold.cpu_ns,
      steady_ns: middle(steady.map(({ cpu_ns }) => cpu_ns)),
      slow: { cold: cold.slow_touches, steady: steady.reduce((sum, { slow_touches }) => sum + slow_touches, 0) },
    };
  }

  private run(
    subject: Subject,
    { threads, steady_rounds, signal }: Circumstances,
    bare: boolean,
  ): Promise<ReplayerRun> {
    const { allocator } = this;
    return runReplayer(subject.path, {
      allocator,
      touch: subject.touch,
      threads,
      rounds: 1 + steady_rounds,
      bare,
      signal,
    });
  }
}

function countsOf({
  faults,
  syscalls,
  resident_peak_bytes,
  resident_mean_bytes,
  resident_end_bytes,
}: ReplayerRound): Counts {
  return { faults, syscalls, resident_peak_bytes, resident_mean_bytes: resident_mean_bytes ?? resident_end_bytes };
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

/** Of a trace, about. */
const checkpoints = 256;

/** `hak-replay`: one thread, one pass, and it measures every touch while its clock runs. */
class Hakmem implements Contestant {
  readonly name: string;
  readonly includes_bookkeeping = true;
  private readonly mode: Mode;

  constructor(mode: Mode, name: string) {
    this.mode = mode;
    this.name = name;
  }

  async prove(subject: Subject, how: Circumstances): Promise<Proof> {
    // Odd: a program that allocates and frees in turn would else be seen after every free, or after none.
    const result = await this.replay(subject, how, Math.floor(subject.events / checkpoints) | 1);
    const { heap, resident_bytes } = result;
    return {
      library: 'hak-replay',
      version: null,
      served_events: result.events,
      own_books: null,
      cold: {
        faults: result.faults + heap.faults,
        syscalls: { ...result.syscalls },
        // Of the heap path only its most is known: an upper bound of both.
        resident_peak_bytes: resident_bytes.peak + heap.resident_peak_bytes,
        resident_mean_bytes: resident_bytes.mean + heap.resident_peak_bytes,
      },
      steady: null,
    };
  }

  async time(subject: Subject, how: Circumstances): Promise<Timing> {
    const { time_ns } = await this.replay(subject, how, params.checkpoint_events.max);
    return { cold_ns: time_ns.total, steady_ns: null, slow: { cold: 0, steady: 0 } };
  }

  /** Reading residency costs time: often where it is wanted, at the end alone where time is. */
  private async replay({ path, trace, touch }: Subject, { seed, signal }: Circumstances, checkpoint_events: number) {
    const setup: Setup = {
      config: configOf(this.mode, { checkpoint_events }),
      prices,
      profile: probeProfile() ?? default_profile,
      touch,
      seed,
    };
    return (await replayReal(path, trace.chunks(), setup, { signal })).result;
  }
}
