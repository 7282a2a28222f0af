/** A sweep's plan: everything its rows depend on, and the shards they are made in. Written once, read by every worker. */
import { resolve } from 'node:path';
import { fingerprint } from '../../native/spec-to-c.ts';
import {
  type Config,
  floorOfSetup,
  type KernelProfile,
  type Mode,
  type OwnPolicy,
  param_names,
  type Setup,
  type TouchModel,
} from '../../sim/index.ts';
import { sha256OfFile, type Trace } from '../../traces/index.ts';
import type { PriceList } from '../calibrate/price-file.ts';
import type { CheckLevel } from '../crosscheck.ts';
import { type LoadedPolicy, policyId } from '../policy/module.ts';
import type { AxisName } from './axes.ts';
import type { Point } from './points.ts';
import { machineName, revision } from './provenance.ts';
import type { RowContext } from './row.ts';

export interface PlannedTrace {
  /** As it was given: what rows say. */
  readonly path: string;
  /** Where workers find it. */
  readonly file: string;
  readonly sha256: string;
  readonly events: number;
  readonly touch: TouchModel;
}

/** A module of yours: every worker imports it, as long as it is what it was. */
export interface PlannedPolicy {
  readonly name: string;
  readonly file: string;
  readonly sha256: string;
}

export interface PlannedPoint {
  readonly hash: string;
  readonly mode: Mode;
  /** A value for every parameter, in the order of the spec. */
  readonly values: readonly number[];
}

/** Configurations of one trace: hashes in, rows out. */
export interface PlannedShard {
  readonly trace: number;
  readonly hashes: readonly string[];
}

export interface Plan {
  readonly format: 1;
  readonly spec_fingerprint: string;
  readonly revision: string;
  /** How far every row is checked. */
  readonly check: Extract<CheckLevel, 'none' | 'decisions'>;
  /** Null for hakmem's own. */
  readonly policy: PlannedPolicy | null;
  readonly seed: number;
  readonly prices: PriceList;
  readonly profile: KernelProfile;
  readonly swept: readonly AxisName[];
  readonly traces: readonly PlannedTrace[];
  readonly points: readonly PlannedPoint[];
  readonly shards: readonly PlannedShard[];
}

/** What a plan is made from. */
export interface Ingredients {
  readonly traces: readonly { readonly trace: Trace; readonly touch: TouchModel }[];
  readonly points: readonly Point[];
  readonly swept: readonly AxisName[];
  readonly check: Plan['check'];
  readonly policy?: LoadedPolicy | null;
  readonly seed: number;
  readonly prices: PriceList;
  readonly profile: KernelProfile;
  /** Workers that are to have something to do. */
  readonly jobs: number;
}

/** A crash costs no more than the rows not yet written, but checking starts over with each shard: not too small. */
const shard_points_max = 128;

export function planOf(made_of: Ingredients): Plan {
  const { traces, points, swept, check, policy = null, seed, prices, profile, jobs } = made_of;
  const each = Math.ceil((points.length * traces.length) / jobs);
  const size = Math.max(1, Math.min(shard_points_max, points.length, each));
  // Neighbours map from about the same size on, so that what they have in common is folded.
  const floor = ({ config }: Point): number =>
    floorOfSetup({ config, ...(policy === null ? {} : { policy: policy.own }) });
  const order = [...points].sort((a, b) => floor(a) - floor(b) || (a.hash < b.hash ? -1 : a.hash > b.hash ? 1 : 0));
  const shards = traces.flatMap((_, trace) =>
    Array.from({ length: Math.ceil(order.length / size) }, (_, at) => ({
      trace,
      hashes: order.slice(at * size, (at + 1) * size).map(({ hash }) => hash),
    })),
  );
  return {
    format: 1,
    spec_fingerprint: fingerprint(),
    revision: revision(),
    check,
    policy: policy === null ? null : { name: policy.name, file: policy.file, sha256: policy.sha256 },
    seed,
    prices,
    profile,
    swept,
    traces: traces.map(({ trace, touch }) => ({
      path: trace.path,
      file: resolve(trace.path),
      sha256: sha256OfFile(trace.path),
      events: trace.statistics.events,
      touch,
    })),
    points: points.map(({ hash, mode, config }) => ({ hash, mode, values: param_names.map((name) => config[name]) })),
    shards,
  };
}

/** The first thing in which two plans differ that changes a row, in words; null where a restart may go on. */
export function planDifference(before: Plan, now: Plan): string | null {
  const single = ['format', 'spec_fingerprint', 'revision', 'check', 'seed'] as const;
  for (const name of single)
    if (before[name] !== now[name]) return `its ${name} is ${before[name]}, that of this one ${now[name]}`;
  const [own, other] = [before, now].map(({ policy }) => policyId(policy ?? null));
  if (own !== other) return `its policy is ${own}, that of this one ${other}`;
  const whole = ['prices', 'profile', 'swept'] as const;
  for (const name of whole)
    if (JSON.stringify(before[name]) !== JSON.stringify(now[name])) return `its ${name} are not those of this one`;
  const files = (plan: Plan): string[] =>
    plan.traces.map(({ path, sha256, touch }) => `${path} (${sha256.slice(0, 12)}, touch ${touch})`);
  const [was, is] = [files(before), files(now)];
  const trace = Array.from({ length: Math.max(was.length, is.length) }, (_, at) => at).find((at) => was[at] !== is[at]);
  if (trace !== undefined) return `its trace is ${was[trace] ?? 'none'}, that of this one ${is[trace] ?? 'none'}`;
  const hashes = (plan: Plan): string => plan.points.map(({ hash, mode }) => `${hash} ${mode}`).join();
  if (hashes(before) !== hashes(now))
    return `its ${before.points.length} configurations are not the ${now.points.length} of this one`;
  return null;
}

export function configOfPoint(point: PlannedPoint): Config {
  return Object.fromEntries(param_names.map((name, at) => [name, point.values[at]])) as Config;
}

/** `own` is the plan's policy, imported; null for hakmem's own. */
export function setupOf(plan: Plan, trace: number, point: PlannedPoint, own: OwnPolicy | null = null): Setup {
  const { prices, profile, seed, traces } = plan;
  const config = configOfPoint(point);
  const policy = own === null ? {} : { policy: own };
  return { config, prices: prices.prices, profile, touch: traces[trace].touch, seed, ...policy };
}

export function contextOf(plan: Plan, trace: number, mode: Mode): RowContext {
  const { policy, seed, spec_fingerprint, prices, profile } = plan;
  const { path, sha256, events, touch } = plan.traces[trace];
  return {
    trace: path,
    trace_sha256: sha256,
    trace_events: events,
    mode,
    policy: policyId(policy),
    seed,
    touch,
    spec_fingerprint,
    prices_name: prices.name,
    prices_sha256: prices.sha256,
    prices_source: prices.source,
    prices_machine: prices.machine,
    prices_machine_name: prices.machine_name,
    prices: prices.prices,
    kernel_profile: JSON.stringify(profile),
    machine: machineName(),
    revision: plan.revision,
  };
}
