/**
 * What a trace allows: configurations to measure the rows by, and a time that no configuration can go below. They need
 * the trace itself, so they are missing where its file is not there any more or is another one.
 */
import { existsSync } from 'node:fs';
import { nativeTrouble, replayAll } from '../../native/index.ts';
import { fingerprint } from '../../native/spec-to-c.ts';
import {
  type Config,
  configOf,
  foldTrace,
  type KernelProfile,
  lowestFloor,
  type Moment,
  type Prices,
  params,
  Replay,
  type Setup,
  simulate,
  type TouchModel,
} from '../../sim/index.ts';
import { open, sha256OfFile, type Trace } from '../../traces/index.ts';
import { CheckFailed } from '../command.ts';
import { outcomeDifference } from '../sweep/agree.ts';
import { type Row, type RowContext, rowOf } from '../sweep/row.ts';
import { unavoidable } from '../tune/unavoidable.ts';
import { points_max } from './course.ts';
import { configOfRow } from './setting.ts';
import type { Subject } from './subjects.ts';

export interface Bounds {
  /** Mode BALANCED as it is. */
  readonly base: Row;
  /** The best row's configuration, but nothing is ever given back. */
  readonly unbounded: Row;
  /** MINIMAL at the best row's threshold. */
  readonly no_cache: Row;
  /** A lower bound: docs/REPORT.md, "The offline bound". */
  readonly offline: { readonly time_ns: number; readonly calls_ns: number; readonly touches_ns: number };
  /** Over the trace: of the best row and of `base`. */
  readonly course: { readonly best: readonly Moment[]; readonly base: readonly Moment[] };
}

export type BoundsOrWhy = Bounds | { readonly missing: string };

/** Throws CheckFailed where the C core comes to something else than the simulator or than the rows. */
export async function boundsOf(subject: Subject): Promise<BoundsOrWhy> {
  const { best } = subject;
  const path = String(best.trace);
  if (best.policy !== 'hakmem') return { missing: 'its policy is a module of yours: not simulated again' };
  if (best.spec_fingerprint !== fingerprint()) return { missing: 'the rows were made by another version of the rules' };
  if (!existsSync(path)) return { missing: `${path} is not here` };
  if (sha256OfFile(path) !== best.trace_sha256) return { missing: `${path} is not the trace that was swept` };
  const trace = open(path);
  const configs = [configOfRow(best), configOf('BALANCED'), unboundedOf(best), uncachedOf(best)];
  const setups = configs.map((config) => setupOf(best, config));
  const folded = foldTrace(trace.chunks(), lowestFloor(setups));
  const outcomes = setups.map((setup) => simulate(folded, setup));
  const checked = await check(trace, setups, outcomes);
  const [again, base, unbounded, no_cache] = configs.map((config, at) =>
    rowOf({ ...contextOf(best), mode: at === 3 ? 'MINIMAL' : String(best.mode) }, config, outcomes[at], checked),
  );
  if (again.decision_digest !== best.decision_digest || again.time_total_ns !== best.time_total_ns)
    throw new CheckFailed(
      `${path}, configuration ${String(best.config_hash)}: the row says ${best.time_total_ns} ns and digest ${best.decision_digest}, simulated again it is ${again.time_total_ns} ns and ${again.decision_digest}`,
    );
  return {
    base: { ...base, mode: 'BALANCED' },
    unbounded,
    no_cache,
    offline: offlineOf(trace, setups[0]),
    course: { best: courseOf(trace, setups[0]), base: courseOf(trace, setups[1]) },
  };
}

/**
 * By a full replay: over folded events the heap's part of the curve would stand still and jump. Checkpoints change nothing
 * but what is looked at: of a short trace there are as many as the curve has points.
 */
function courseOf(trace: Trace, setup: Setup): Moment[] {
  const moments: Moment[] = [];
  const often = Math.max(1, Math.floor(trace.statistics.events / points_max));
  const checkpoint_events = Math.min(setup.config.checkpoint_events, often);
  const run = new Replay(
    { ...setup, config: { ...setup.config, checkpoint_events } },
    { moment: (moment) => moments.push(moment) },
  );
  for (const chunk of trace.chunks()) run.feed(chunk);
  run.finish();
  return moments;
}

/** No configuration without a violation takes less time: proved in docs/REPORT.md, tried in test/75-report.test.ts. */
export function offlineOf(trace: Pick<Trace, 'chunks' | 'statistics'>, setup: Setup): Bounds['offline'] {
  // A floor of 0: any block may be mapped by somebody.
  const { time_ns } = unavoidable(trace.chunks(), setup, 0);
  const calls_ns = trace.statistics.events * setup.prices.heap_call_ns;
  return { time_ns, calls_ns, touches_ns: time_ns - calls_ns };
}

/** The row's circumstances with another configuration. */
export function setupOf(row: Row, config: Config): Setup {
  return {
    config,
    prices: JSON.parse(String(row.prices)) as Prices,
    profile: JSON.parse(String(row.kernel_profile)) as KernelProfile,
    touch: row.touch as TouchModel,
    seed: Number(row.seed),
  };
}

/** Every free is hot and every block is kept: memory only grows. */
function unboundedOf(row: Row): Config {
  const most = { warm_from_bytes: params.warm_from_bytes.max, cold_from_bytes: params.cold_from_bytes.max };
  return { ...configOfRow(row), ...most, thermal: 1, kept_bytes_max: params.kept_bytes_max.max };
}

function uncachedOf(row: Row): Config {
  const { mmap_threshold_bytes, strategy_set, strategy, checkpoint_events, region_bytes } = configOfRow(row);
  return configOf('MINIMAL', { mmap_threshold_bytes, strategy_set, strategy, checkpoint_events, region_bytes });
}

async function check(
  trace: Trace,
  setups: readonly Setup[],
  outcomes: readonly ReturnType<typeof simulate>[],
): Promise<{ checked: 'none' | 'decisions'; verdict: 'unchecked' | 'agree' }> {
  if (nativeTrouble() !== null) return { checked: 'none', verdict: 'unchecked' };
  const native = await replayAll(() => trace.chunks(), setups);
  for (const [at, outcome] of outcomes.entries()) {
    const difference = outcomeDifference(outcome, native[at]);
    if (difference === null) continue;
    const { field, sim, native: found } = difference;
    throw new CheckFailed(`${trace.path}: a bound: ${field} is ${sim} in the simulator and ${found} in the C core`);
  }
  return { checked: 'decisions', verdict: 'agree' };
}

function contextOf(row: Row): RowContext {
  return { ...(row as unknown as RowContext), prices: JSON.parse(String(row.prices)) as Prices };
}
