/**
 * The native half. `replay` runs the C core with the counted kernel in this process; `replayReal` runs it on the real
 * kernel, in a process of its own. What `import ... from 'hakmem/native'` gives.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { floorOf } from '../sim/decide/strategy.ts';
import { touchIndex } from '../sim/kernel/touch.ts';
import type { Eligibility } from '../sim/liveness.ts';
import { eligibilityOf, livenessOf, type Setup } from '../sim/replay.ts';
import type { Outcome, Result } from '../sim/result.ts';
import { Baseline } from '../sim/score.ts';
import {
  enums,
  type KernelProfile,
  prices as nominal_prices,
  type PriceName,
  type Prices,
  param_names,
} from '../sim/spec.ts';
import type { Chunk } from '../traces/trace.ts';
import { fingerprint } from './spec-to-c.ts';

/** The native part is missing, stale, or died: says what to do about it. */
export class NativeUnavailableError extends Error {
  override name = 'NativeUnavailableError';
}

export interface Precondition {
  readonly holds: boolean;
  readonly found: string;
  readonly wanted: string;
}

export interface RealRun {
  readonly result: Result;
  readonly profile: KernelProfile;
  readonly preconditions: Readonly<Record<string, Precondition>>;
}

/** What a native result lacks: the half of the Result that the trace and configuration alone decide. */
export type CoreResult = Omit<Result, 'score' | 'liveness'>;

interface Addon {
  readonly fingerprint: string;
  readonly Replay: new (
    config: Float64Array,
    prices: Float64Array,
    profile: Int32Array,
    touch: number,
    log_from: number,
    log_to: number,
    seed: number,
  ) => {
    feed(chunk: Chunk): Promise<number>;
    cancel(): void;
    finish(): string;
  };
  readonly Sweep: new (
    configs: Float64Array,
    prices: Float64Array,
    profile: Int32Array,
    touch: number,
    seeds: Float64Array,
  ) => {
    feed(chunk: Chunk): Promise<void>;
    finish(): string[];
  };
}

const build_hint =
  'there is no C compiler here: install one (Debian: apt-get install gcc g++ make) and run the command again; until then results are unchecked';

/** Compiled sources stand in dist/native, tests run in native itself: the build lies beside the sources. */
export const native_root = ((): string => {
  const here = dirname(fileURLToPath(import.meta.url));
  return existsSync(join(here, 'Makefile')) ? here : join(here, '..', '..', 'native');
})();
const addon_path = join(native_root, 'build', 'hakmem.node');
export const replay_path = join(native_root, 'build', 'hak-replay');

/** Why the native part cannot be used, in one line; null where it can. */
export function nativeTrouble(): string | null {
  if (!existsSync(addon_path) || !existsSync(replay_path)) return build_hint;
  try {
    loadAddon();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The profile of this machine's kernel, or null where the native part is not there to probe it. */
export function probeProfile(): KernelProfile | null {
  if (nativeTrouble() !== null) return null;
  const { status, stdout } = spawnSync(replay_path, ['--probe'], { encoding: 'utf8' });
  return status === 0 ? (JSON.parse(stdout) as KernelProfile) : null;
}

/**
 * Replays on the C core with the counted kernel, off this thread: the same arguments and the same Result as the
 * simulator. Rejects with AbortError when `signal` aborts, NativeUnavailableError where there is no native part.
 */
export async function replay(
  chunks: Iterable<Chunk>,
  setup: Setup,
  progress?: (events: number) => void,
  signal?: AbortSignal,
): Promise<Result> {
  const scan = new Scan(setup);
  return scan.complete(await replayCore(scan.over(chunks), setup, progress, signal), setup);
}

/** The C core alone: without what is counted from the trace, in TypeScript, for both halves. */
export async function replayCore(
  chunks: Iterable<Chunk>,
  setup: Setup,
  progress?: (events: number) => void,
  signal?: AbortSignal,
): Promise<CoreResult> {
  signal?.throwIfAborted();
  refuseOwn(setup);
  const addon = loadAddon();
  const run = new addon.Replay(
    Float64Array.from(param_names, (name) => setup.config[name]),
    pricesColumn(setup.prices),
    profileColumn(setup.profile),
    touchIndex(setup.touch),
    setup.log?.from ?? 0,
    setup.log?.to ?? 0,
    setup.seed,
  );
  const stop = (): void => run.cancel();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for (const chunk of chunks) {
      if (!(chunk.op.buffer instanceof SharedArrayBuffer))
        throw new TypeError('columns must lie in SharedArrayBuffers: another thread reads them');
      const events = await run.feed(chunk);
      // An abort that came before the chunk was done always wins, so no caller races the worker.
      signal?.throwIfAborted();
      progress?.(events);
    }
    return JSON.parse(run.finish()) as CoreResult;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/**
 * Every setup over the trace, on the C core with the counted kernel: what a sweep's rows are checked against. The core
 * folds the trace by itself; it is given nothing that the simulator computed. The baseline of the score comes from the
 * trace alone: whoever has it hands it in. Setups must share prices, profile and touch model.
 */
export async function replayAll(
  chunks: () => Iterable<Chunk>,
  setups: readonly Setup[],
  baseline?: Baseline,
): Promise<Outcome[]> {
  setups.forEach(refuseOwn);
  const addon = loadAddon();
  const outcomes = new Array<Outcome>(setups.length);
  const scored = baseline ?? baselineOf(chunks());
  const order = setups.map((_, at) => at).sort((a, b) => floorOf(setups[a].config) - floorOf(setups[b].config));
  for (let from = 0; from < order.length; from += configs_a_pass) {
    const part = order.slice(from, from + configs_a_pass);
    const { prices, profile, touch } = setups[part[0]];
    if (part.some((at) => !samePlace(setups[at], setups[part[0]])))
      throw new TypeError('setups of one pass must share prices, profile and touch model');
    const sweep = new addon.Sweep(
      Float64Array.from(part.flatMap((at) => param_names.map((name) => setups[at].config[name]))),
      pricesColumn(prices),
      profileColumn(profile),
      touchIndex(touch),
      Float64Array.from(part, (at) => setups[at].seed),
    );
    for (const chunk of chunks()) await sweep.feed(chunk);
    sweep.finish().forEach((text, index) => {
      const setup = setups[part[index]];
      const { checkpoints: _, log: __, ...core } = JSON.parse(text) as CoreResult;
      outcomes[part[index]] = { ...core, score: scoreOf(core, setup, scored) };
    });
  }
  return outcomes;
}

/** Configurations side by side in one pass of the core: each has a page model of its own, and memory is not endless. */
const configs_a_pass = 64;

/** What is learned in a module would be learned by something else here, and compared with it. */
function refuseOwn({ policy }: Setup): void {
  if (policy !== undefined) throw new TypeError(`policy ${policy.name}: there is none of it in the C core`);
}

function samePlace(a: Setup, b: Setup): boolean {
  return (
    a.touch === b.touch &&
    (a.prices === b.prices || JSON.stringify(a.prices) === JSON.stringify(b.prices)) &&
    (a.profile === b.profile || JSON.stringify(a.profile) === JSON.stringify(b.profile))
  );
}

function baselineOf(chunks: Iterable<Chunk>): Baseline {
  const baseline = new Baseline();
  for (const chunk of chunks) baseline.add(chunk);
  return baseline;
}

function scoreOf(core: Omit<CoreResult, 'checkpoints' | 'log'>, setup: Setup, baseline: Baseline): Result['score'] {
  const memory_bytes = core.resident_bytes.mean + core.heap.resident_peak_bytes;
  return baseline.score(setup.prices, core.time_ns.total, core.faults + core.heap.faults, memory_bytes);
}

/**
 * Replays a `.hak` file on the real kernel, in a fresh single-threaded process that gets nothing but the configuration.
 * `chunks` is the same trace again, for what is counted from the trace alone.
 */
export async function replayReal(
  path: string,
  chunks: Iterable<Chunk>,
  setup: Setup,
  options: { readonly trust?: boolean; readonly signal?: AbortSignal } = {},
): Promise<RealRun> {
  const log = setup.log === undefined ? [] : ['--log', `${setup.log.from}:${setup.log.to}`];
  const args = [...argumentsOf(path, setup), ...log, ...(options.trust === true ? ['--trust'] : [])];
  const running = collect(replay_path, args, options.signal);
  const scan = new Scan(setup);
  for (const _ of scan.over(chunks));
  const document = documentOf(await running);
  return { ...document, result: scan.complete(document.result, setup) };
}

/** `bare`: calls and touches of the mapped path with nobody looking. `idle`: the same without them, so the core alone. */
export type BareKernel = 'bare' | 'idle';

export interface BareRun {
  readonly decision_digest: string;
  /** CPU time of the thread, from before the first event to after the last. */
  readonly cpu_ns: number;
  /** Of the thread meanwhile: of an idle run those that are the process's own. */
  readonly faults: number;
  /** First touches that the host of a virtual machine had to find memory for, as far as they were looked at. */
  readonly slow_touches: number;
}

/** Replays a `.hak` file as `replayReal` does, for its time: nothing is checked, sampled or counted on the way. */
export async function replayBare(
  path: string,
  setup: Setup,
  kernel: BareKernel,
  options: { readonly signal?: AbortSignal } = {},
): Promise<BareRun> {
  const args = [...argumentsOf(path, setup), '--kernel', kernel];
  const { result, slow_touches = 0 } = documentOf(await collect(replay_path, args, options.signal));
  const { decision_digest, time_ns, heap } = result;
  return { decision_digest, cpu_ns: time_ns.total, faults: heap.faults, slow_touches };
}

/** Of hak-replay: all that a setup is, without what is only told of it. */
function argumentsOf(path: string, setup: Setup): string[] {
  refuseOwn(setup);
  const trouble = nativeTrouble();
  if (trouble !== null) throw new NativeUnavailableError(trouble);
  const settings = param_names.flatMap((name) => ['--set', `${name}=${setup.config[name]}`]);
  const prices = Object.entries(setup.prices).flatMap(([name, ns]) => ['--price', `${name}=${ns}`]);
  const { page_bytes: _, ...parts } = setup.profile;
  const profile = Object.entries(parts).map(([name, value]) => `${name}=${value}`);
  return [
    path,
    '--json',
    '--die-with-parent',
    '--touch',
    setup.touch,
    '--seed',
    String(setup.seed),
    '--profile',
    profile.join(','),
    ...settings,
    ...prices,
  ];
}

interface ReplayDocument extends Omit<RealRun, 'result'> {
  readonly result: CoreResult;
  /** Of a bare run. */
  readonly slow_touches?: number;
}

function documentOf({ stdout, stderr, code }: Ended): ReplayDocument {
  try {
    return JSON.parse(stdout) as ReplayDocument;
  } catch {
    throw new NativeUnavailableError(
      `hak-replay ended with ${code} and no result: ${stderr.trim() || 'it said nothing'}`,
    );
  }
}

/** Goes over the trace for eligibility and the baseline of the score. */
class Scan {
  private readonly eligibility: Eligibility;
  private readonly baseline: Baseline;

  constructor(setup: Setup) {
    this.eligibility = eligibilityOf(setup);
    this.baseline = new Baseline();
  }

  /** The same chunks, looked at as they pass. */
  *over(chunks: Iterable<Chunk>): Generator<Chunk> {
    for (const chunk of chunks) {
      this.eligibility.add(chunk);
      this.baseline.add(chunk);
      yield chunk;
    }
  }

  complete(core: CoreResult, setup: Setup): Result {
    return {
      ...core,
      score: scoreOf(core, setup, this.baseline),
      liveness: livenessOf(this.eligibility, {
        mapping: core.bigcache.hits + core.kept.reused + core.batch.withdrawn + core.syscalls.mmap,
        bigcache: core.bigcache.hits,
        batch: core.batch.added,
        hot: core.thermal.hot,
        warm: core.thermal.warm,
        kept: core.kept.reused + core.batch.withdrawn,
        thp: core.syscalls.madvise_hugepage,
        learning: core.learning.rating_writes,
      }),
    };
  }
}

let addon: Addon | undefined;

function loadAddon(): Addon {
  if (addon !== undefined) return addon;
  if (!existsSync(addon_path)) throw new NativeUnavailableError(build_hint);
  const loaded = createRequire(import.meta.url)(addon_path) as Addon;
  const wanted = fingerprint();
  if (loaded.fingerprint !== wanted)
    throw new NativeUnavailableError(
      `the native part is stale: it was built from spec ${loaded.fingerprint}, this is ${wanted}; run npm run gen && npm run build`,
    );
  addon = loaded;
  return loaded;
}

function pricesColumn(prices: Prices): Float64Array {
  return Float64Array.from(Object.keys(nominal_prices) as PriceName[], (name) => prices[name]);
}

function profileColumn(profile: KernelProfile): Int32Array {
  return Int32Array.of(
    enums.thp_kernel.indexOf(profile.thp_kernel),
    profile.pt_reclaim ? 1 : 0,
    enums.huge_zero_write.indexOf(profile.huge_zero_write),
    profile.read_maps_zero ? 1 : 0,
    profile.split_maps_zero ? 1 : 0,
    profile.process_madvise ? 1 : 0,
  );
}

interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | string;
}

function collect(command: string, args: readonly string[], signal: AbortSignal | undefined): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(signal === undefined ? {} : { signal }),
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, killed_by) => resolve({ stdout, stderr, code: code ?? killed_by ?? 'nothing' }));
  });
}
