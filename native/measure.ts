/** Runs a program through hak-measure and says what it spent, children included; none of them outlives the run. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { NativeUnavailableError, native_root } from './index.ts';

/** What a run came to: times and counts of the program and all that it started. */
export interface Spent {
  readonly pid: number;
  /** Exit status; 0 where a signal ended it. */
  readonly status: number;
  /** 0 where none ended it. */
  readonly signal: number;
  readonly wall_ns: number;
  readonly user_ns: number;
  readonly sys_ns: number;
  /** Minor and major ones. */
  readonly faults: number;
  readonly major_faults: number;
  /** Of the process that had most. */
  readonly resident_peak_bytes: number;
  /** What the launcher had: less than this cannot be told apart. */
  readonly resident_floor_bytes: number;
  /** Processes that the program left behind, killed at its end. */
  readonly left_running: number;
  /** Of standard output, with output `hash`. */
  readonly output_bytes: number;
  readonly output_digest: string;
}

export interface MeasureOptions {
  /** The whole environment of the program; this process's own by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly input?: 'null' | 'inherit';
  readonly output?: 'discard' | 'inherit' | 'hash';
  /** Where inherited standard output goes: a file descriptor of this process. */
  readonly output_to?: number;
  readonly signal?: AbortSignal;
  readonly timeout_ms?: number;
}

/** The program could not be started at all. */
export class NotStartedError extends Error {
  override name = 'NotStartedError';
}

const launcher = join(native_root, 'build', 'hak-measure');
const report_descriptor = 3;

/** Rejects with the signal's reason when it aborts, with TimeoutError after `timeout_ms`, with NotStartedError. */
export async function measureProgram(argv: readonly string[], options: MeasureOptions = {}): Promise<Spent> {
  const { output = 'discard', input = 'null', output_to = 1, timeout_ms } = options;
  if (!existsSync(launcher))
    throw new NativeUnavailableError(`${launcher} is missing: measuring needs a C compiler and "npm run build"`);
  const limit = timeout_ms === undefined ? undefined : AbortSignal.timeout(timeout_ms);
  const signals = [options.signal, limit].filter((each) => each !== undefined);
  const signal = AbortSignal.any(signals);
  signal.throwIfAborted();
  const child = spawn(launcher, [String(report_descriptor), input, output, ...argv], {
    env: launcherEnvironment(options.env ?? process.env),
    stdio: [input === 'inherit' ? 'inherit' : 'ignore', output === 'inherit' ? output_to : 'ignore', 'inherit', 'pipe'],
  });
  // Whoever holds the other end of the report holds the run: letting go of it kills the program and all it started.
  const report = child.stdio[report_descriptor] as Readable;
  const let_go = () => report.destroy();
  signal.addEventListener('abort', let_go, { once: true });
  const parts: Buffer[] = [];
  report.on('data', (part: Buffer) => parts.push(part));
  try {
    await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
  } finally {
    signal.removeEventListener('abort', let_go);
  }
  signal.throwIfAborted();
  const text = Buffer.concat(parts).toString();
  if (text === '') throw new NotStartedError(`${argv[0]}: its launcher was killed`);
  const { failure, ...spent } = JSON.parse(text) as Spent & { readonly failure: string };
  if (failure !== '') throw new NotStartedError(`${argv[0]}: cannot be run: ${failure}`);
  return spent;
}

/** Whether the file grants privileges (security.capability) to who runs it. */
export function hasCapabilities(path: string): boolean {
  return spawnSync(launcher, ['--capabilities', path]).status === 0;
}

/** A library meant for the program is not meant for its launcher. */
function launcherEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  const { LD_PRELOAD: preload, ...rest } = env;
  return preload === undefined ? rest : { ...rest, HAKMEM_MEASURE_PRELOAD: preload };
}
