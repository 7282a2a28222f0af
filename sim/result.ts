/** What a replay comes to, in either half, and the first place where two of them differ. */
import type { Syscalls } from './kernel/pages.ts';

/** The same in both halves, except that only a real kernel has a measured time and only a model has its parts. */
export interface Result {
  readonly events: number;
  /** Rolling digest of (event, route, requested, usable, offset in the region, arm, actions): 16 hex digits. */
  readonly decision_digest: string;
  readonly syscalls: Syscalls;
  /** Of the mapped path. */
  readonly faults: number;
  /** null where a real kernel cannot tell them from small ones. */
  readonly huge_faults: number | null;
  readonly resident_bytes: { readonly mean: number; readonly peak: number; readonly end: number };
  readonly mapped_bytes: { readonly peak: number; readonly end: number };
  readonly areas: { readonly peak: number; readonly end: number };
  /** Below the threshold: a ledger in the model, measured in a real kernel. */
  readonly heap: { readonly faults: number; readonly resident_peak_bytes: number };
  readonly bigcache: {
    readonly hits: number;
    readonly misses: number;
    readonly evictions: number;
    readonly undersized: number;
    /** Site slots looked at. */
    readonly probes: number;
  };
  readonly batch: {
    readonly added: number;
    readonly withdrawn: number;
    readonly flushes: number;
    readonly bytes_flushed: number;
    readonly pending: number;
  };
  readonly thermal: { readonly hot: number; readonly warm: number; readonly cold: number };
  readonly kept: { readonly blocks: number; readonly bytes: number; readonly reused: number };
  readonly learning: {
    /** OFF, LEARN, FROZEN or CANARY. */
    readonly state: string;
    /** In points, by strategy; 1500 each where nothing is rated. */
    readonly ratings: readonly number[];
    readonly matches: number;
    /** Windows in which a strategy was drawn at random; of ucb1, moves of a site. */
    readonly explorations: number;
    /** Windows that closed. */
    readonly windows: number;
    /** Of the last window, of samples by the ledger's prices; null before the first. */
    readonly p99_ns: number | null;
    /** In force at the end: a strategy, of ucb1 the step of the site that was asked last, or 255 of a threshold set by hand. */
    readonly arm: number;
    readonly rating_writes: number;
    /** Of the random generators. */
    readonly draws: number;
    readonly freezes: number;
    readonly canaries: number;
    readonly promotions: number;
    readonly rollbacks: number;
    readonly relearns: number;
  };
  readonly time_ns: {
    readonly total: number;
    readonly allocate: number | null;
    readonly free: number | null;
    readonly fault: number | null;
    readonly wait: number | null;
  };
  readonly latency_ns: {
    readonly p50: number | null;
    readonly p95: number | null;
    readonly p99: number | null;
    readonly p999: number | null;
    readonly max: number | null;
  };
  /** Shares of a fixed baseline of the trace: every large block mapped, touched and unmapped at once. */
  readonly score: { readonly total: number; readonly cpu: number; readonly faults: number; readonly memory: number };
  readonly liveness: readonly Liveness[];
  /** A rule that the policy broke, at which the replay stopped. */
  readonly violation: null | { readonly event: number; readonly rule: string };
  readonly checkpoints: readonly Checkpoint[];
  /** Events in the asked-for window, else empty. */
  readonly log: readonly LogEntry[];
}

/** What a sweep keeps of a Result: all that is one number, nothing that is a list. */
export type Outcome = Omit<Result, 'liveness' | 'checkpoints' | 'log'>;

export interface Liveness {
  readonly feature: string;
  readonly eligible: number;
  readonly acted: number;
}

/** The state after `events` events. */
export interface Checkpoint {
  readonly events: number;
  readonly digest: string;
  readonly faults: number;
  readonly huge_faults: number | null;
  readonly resident_bytes: number;
  readonly huge_bytes: number;
  readonly areas: number;
  readonly mapped_bytes: number;
  readonly syscalls: number;
}

/** One event's decision chain and the state it left. */
export interface LogEntry {
  readonly event: number;
  readonly op: string;
  readonly object: number;
  /** Requested, or what the freed object had been asked to have. */
  readonly size_bytes: number;
  readonly site: number;
  readonly arm: number;
  readonly threshold_bytes: number;
  readonly route: string;
  readonly released: string;
  readonly usable_bytes: number;
  readonly offset_bytes: number;
  readonly actions: readonly { readonly name: string; readonly offset_bytes: number; readonly bytes: number }[];
  readonly state: {
    readonly digest: string;
    readonly faults: number;
    readonly huge_faults: number | null;
    readonly resident_bytes: number;
    readonly areas: number;
    readonly cached_blocks: number;
    readonly batch_blocks: number;
    readonly batch_bytes: number;
    readonly kept_blocks: number;
    readonly kept_bytes: number;
  };
}

export interface Difference {
  readonly event: number;
  readonly field: string;
  readonly sim: unknown;
  readonly native: unknown;
}

/** What a level of the cross-check compares: decisions alone, or what the kernel did too. */
export type ComparedLevel = 'decisions' | 'kernel';

const decision_fields = [
  'events',
  'decision_digest',
  'bigcache',
  'batch',
  'thermal',
  'kept',
  'learning',
  'violation',
] as const satisfies readonly (keyof Result)[];
const kernel_fields = [
  'syscalls',
  'faults',
  'huge_faults',
  'resident_bytes',
  'mapped_bytes',
  'areas',
] as const satisfies readonly (keyof Result)[];
const checkpoint_decisions = ['digest'] as const satisfies readonly (keyof Checkpoint)[];
const checkpoint_kernel = [
  'syscalls',
  'faults',
  'huge_faults',
  'resident_bytes',
  'huge_bytes',
  'areas',
  'mapped_bytes',
] as const satisfies readonly (keyof Checkpoint)[];

/**
 * The first place where two results of one trace differ, or null. `event` is exact where both carry a log that covers
 * it, else the first checkpoint that shows it.
 */
export function firstDifference(sim: Result, native: Result, level: ComparedLevel): Difference | null {
  const in_log = firstInLogs(sim.log, native.log, level);
  if (in_log !== null) return in_log;
  const fields = level === 'kernel' ? [...checkpoint_decisions, ...checkpoint_kernel] : checkpoint_decisions;
  const count = Math.min(sim.checkpoints.length, native.checkpoints.length);
  for (let at = 0; at < count; at += 1) {
    const a = sim.checkpoints[at];
    const b = native.checkpoints[at];
    for (const field of fields)
      if (a[field] !== b[field] && b[field] !== null)
        return { event: a.events - 1, field: `checkpoint.${field}`, sim: a[field], native: b[field] };
  }
  const all = level === 'kernel' ? [...decision_fields, ...kernel_fields] : decision_fields;
  for (const field of all) {
    const found = compare(field, sim[field], native[field]);
    if (found !== null) return { event: sim.events, ...found };
  }
  return null;
}

function firstInLogs(a: readonly LogEntry[], b: readonly LogEntry[], level: ComparedLevel): Difference | null {
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    const { state: sim_state, ...sim_decision } = a[at];
    const { state: native_state, ...native_decision } = b[at];
    const { faults: fa, huge_faults: ha, resident_bytes: ra, areas: aa, ...sim_rest } = sim_state;
    const { faults: fb, huge_faults: hb, resident_bytes: rb, areas: ab, ...native_rest } = native_state;
    const kernel_sim = { faults: fa, huge_faults: ha, resident_bytes: ra, areas: aa };
    const kernel_native = { faults: fb, huge_faults: hb, resident_bytes: rb, areas: ab };
    const found =
      compare('', sim_decision, native_decision) ??
      compare('state', sim_rest, native_rest) ??
      (level === 'kernel' ? compare('state', kernel_sim, kernel_native) : null);
    if (found !== null) return { event: a[at].event, ...found };
  }
  return null;
}

/** Compares values field by field, depth first. */
function compare(field: string, a: unknown, b: unknown): { field: string; sim: unknown; native: unknown } | null {
  if (typeof a === 'object' && a !== null && typeof b === 'object' && b !== null) {
    const names = new Set([...Object.keys(a), ...Object.keys(b)]);
    for (const name of names) {
      const found = compare(
        field === '' ? name : `${field}.${name}`,
        (a as Record<string, unknown>)[name],
        (b as Record<string, unknown>)[name],
      );
      if (found !== null) return found;
    }
    return null;
  }
  return a === b || (b === null && field.endsWith('huge_faults')) ? null : { field, sim: a, native: b };
}

/** The features that were on, had work to do, and did none. */
export function silentFeatures(liveness: readonly Liveness[]): Liveness[] {
  return liveness.filter(({ eligible, acted }) => eligible > 0 && acted === 0);
}
