/**
 * Replays a trace against a real allocator: starts `hak-replayer` (native/replayer/) with that allocator preloaded and
 * nothing else of this process's environment, and reads its report.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TouchModel } from '../sim/spec.ts';
import { type AllocatorName, allocators, installLine, libraryOf } from './allocators.ts';
import { NativeUnavailableError, native_root } from './index.ts';

export const replayer_path = join(native_root, 'build', 'hak-replayer');

export const thread_modes = ['serial', 'recorded', 'one'] as const;
/** In the trace's order on real threads; each thread on its own; everything on one thread. */
export type ThreadMode = (typeof thread_modes)[number];

export const counted_syscalls = ['mmap', 'munmap', 'mremap', 'brk', 'madvise', 'mprotect'] as const;
export type CountedSyscalls = Readonly<Record<(typeof counted_syscalls)[number], number>>;

/** Residency is above that of the process before its first event, in every round. */
export interface ReplayerRound {
  /** Every event was checked; its time holds the checks. */
  readonly checked: boolean;
  readonly cpu_ns: number;
  readonly wall_ns: number;
  readonly faults: number;
  /** null where the kernel does not let them be counted, and in bare runs. */
  readonly syscalls: CountedSyscalls | null;
  readonly resident_start_bytes: number;
  readonly resident_peak_bytes: number;
  /** null without samples. */
  readonly resident_mean_bytes: number | null;
  readonly resident_end_bytes: number;
  readonly samples: number;
  /** First writes into an aligned 2 MiB that took longer than 2 ms: the host had to find the memory. */
  readonly slow_touches: number;
}

export interface ReplayerRun {
  readonly trace: {
    readonly path: string;
    readonly events: number;
    readonly threads: number;
    readonly peak_live_bytes: number;
    readonly leftover_blocks: number;
    readonly leftover_bytes: number;
  };
  /** The library in which malloc, free and their kin were found. */
  readonly allocator: { readonly path: string; readonly version: string | null };
  readonly touch: TouchModel;
  readonly threads: ThreadMode;
  /** False where addresses were random, as in bare runs: faults of large blocks may then differ from run to run. */
  readonly fixed_addresses: boolean;
  readonly sample_events: number;
  readonly clock_cost_ns: number;
  readonly baseline_resident_bytes: number;
  /** Events of the first round whose block was there, aligned and large enough; null in bare runs. */
  readonly served_events: number | null;
  readonly unserved: { readonly event: number; readonly reason: string } | null;
  /** What the allocator itself says is live at the end of the first round, beside what was requested of it. */
  readonly own_books: {
    readonly name: string;
    readonly live_bytes: number;
    readonly requested_bytes: number;
  } | null;
  readonly rounds: readonly ReplayerRound[];
}

export interface ReplayerOptions {
  readonly allocator: AllocatorName;
  /** Settings such as GLIBC_TUNABLES or MALLOC_CONF. */
  readonly env?: Readonly<Record<string, string>>;
  /** `recorded` by default. */
  readonly touch?: TouchModel;
  /** `serial` by default. */
  readonly threads?: ThreadMode;
  readonly rounds?: number;
  readonly sample_events?: number;
  /** For timing: no checks, no samples, no counted system calls. */
  readonly bare?: boolean;
  /** The processors it may run on, as taskset writes them; it needs taskset. */
  readonly cpus?: string;
  /** File for a record of every event's address; native/replayer/run.c says what is in it. */
  readonly log?: string;
  readonly signal?: AbortSignal;
}

/** Why the replayer cannot be used, in one line; null where it can. */
export function replayerTrouble(): string | null {
  return existsSync(replayer_path) ? null : 'hak-replayer is not built: run npm run build, with gcc and make installed';
}

/**
 * Replays the `.hak` file at `path`. Rejects with NativeUnavailableError where replayer or library are missing, with
 * ReplayerError where the replay failed, with AbortError when `signal` aborts; the child is gone by then.
 */
export async function runReplayer(path: string, options: ReplayerOptions): Promise<ReplayerRun> {
  const trouble = replayerTrouble();
  if (trouble !== null) throw new NativeUnavailableError(trouble);
  const allocator = allocators[options.allocator];
  const library = libraryOf(allocator);
  if (library === undefined)
    throw new NativeUnavailableError(`${allocator.name} is not installed: ${installLine(allocator)}`);
  const env = { PATH: '/usr/bin:/bin', ...(library === null ? {} : { LD_PRELOAD: library }), ...options.env };
  const { stdout, stderr, ended } = await run(commandOf(path, options), env, options.signal);
  if (ended !== 0)
    throw new ReplayerError(
      lastLine(stderr) || `hak-replayer ended with ${ended} under ${allocator.name}`,
      ended === 2,
    );
  const document = JSON.parse(stdout) as ReplayerRun;
  const served_by = document.allocator.path;
  // ld.so skips a library that it cannot preload, with words that nobody reads.
  if (library !== null && served_by !== library)
    throw new ReplayerError(`${served_by} serves malloc; wanted ${library}`, false);
  return document;
}

/** The replay did not come to its end: its one line, and whether the input was at fault. */
export class ReplayerError extends Error {
  override name = 'ReplayerError';
  readonly bad_input: boolean;
  constructor(message: string, bad_input: boolean) {
    super(message);
    this.bad_input = bad_input;
  }
}

/** Before it stand complaints of ld.so, if anything. */
function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)!;
}

function argumentsOf(path: string, options: ReplayerOptions): string[] {
  const { touch, threads, rounds, sample_events, bare, log } = options;
  return [
    path,
    '--die-with-parent',
    ...(touch === undefined ? [] : ['--touch', touch]),
    ...(threads === undefined ? [] : ['--threads', threads]),
    ...(rounds === undefined ? [] : ['--rounds', String(rounds)]),
    ...(sample_events === undefined ? [] : ['--sample-events', String(sample_events)]),
    ...(bare === true ? ['--bare'] : []),
    ...(log === undefined ? [] : ['--log', log]),
  ];
}

function commandOf(path: string, options: ReplayerOptions): string[] {
  const pinned = options.cpus === undefined ? [] : ['taskset', '-c', options.cpus];
  return [...pinned, replayer_path, ...argumentsOf(path, options)];
}

interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly ended: number | string;
}

function run(
  [program, ...args]: readonly string[],
  env: Record<string, string>,
  signal: AbortSignal | undefined,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
      killSignal: 'SIGKILL',
      ...(signal === undefined ? {} : { signal }),
    });
    let aborted: Error | undefined;
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', (error) => {
      if (child.pid === undefined) reject(error);
      else aborted = error;
    });
    child.on('close', (code, killed_by) => {
      if (aborted !== undefined) reject(aborted);
      else resolve({ stdout, stderr, ended: code ?? killed_by ?? 'nothing' });
    });
  });
}
