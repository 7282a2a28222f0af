/**
 * A result row: one configuration on one trace, flat, so that a table, a Parquet file and a query see the same columns.
 * Everything simulated is a function of trace, configuration, prices, profile, touch model and seed: byte-identical on
 * any machine and with any number of jobs. Measured figures are kept apart, in `Measured`.
 */
import { createHash } from 'node:crypto';
import { type Config, describeConfig, type Outcome, type Prices, param_names, type Regret } from '../../sim/index.ts';
import type { CheckLevel } from '../crosscheck.ts';

export type Cell = number | string | boolean | null;

/** What was swept over, the same in every row of one trace. */
export interface RowContext {
  readonly trace: string;
  readonly trace_sha256: string;
  readonly trace_events: number;
  readonly mode: string;
  readonly policy: string;
  readonly seed: number;
  readonly touch: string;
  readonly spec_fingerprint: string;
  readonly prices_name: string;
  readonly prices_sha256: string;
  readonly prices_source: 'nominal' | 'measured';
  /** Whether they were measured where the row was made. */
  readonly prices_machine: 'this' | 'other' | 'unknown';
  readonly prices_machine_name: string | null;
  readonly prices: Prices;
  /** The kernel profile as one JSON text. */
  readonly kernel_profile: string;
  readonly machine: string;
  /** The version that made the row, with the git commit where there is one. */
  readonly revision: string;
}

export interface RowCheck {
  readonly checked: CheckLevel;
  readonly verdict: 'agree' | 'differ' | 'unchecked';
}

/** `trace`, `config_hash`, the context, every parameter in words, every figure, `checked`, `verdict`. */
export type Row = { readonly [column: string]: Cell };

/** Figures of a row, from an Outcome: flat, snake_case, the unit last. */
export function figuresOf(outcome: Outcome): Record<string, Cell> {
  const { syscalls, bigcache, batch, thermal, kept, learning, time_ns, latency_ns, score } = outcome;
  return {
    decision_digest: outcome.decision_digest,
    score_total: score.total,
    score_cpu: score.cpu,
    score_faults: score.faults,
    score_memory: score.memory,
    time_total_ns: time_ns.total,
    time_allocate_ns: time_ns.allocate,
    time_free_ns: time_ns.free,
    time_fault_ns: time_ns.fault,
    faults: outcome.faults,
    huge_faults: outcome.huge_faults,
    heap_faults: outcome.heap.faults,
    heap_resident_peak_bytes: outcome.heap.resident_peak_bytes,
    resident_peak_bytes: outcome.resident_bytes.peak,
    resident_mean_bytes: outcome.resident_bytes.mean,
    resident_end_bytes: outcome.resident_bytes.end,
    mapped_peak_bytes: outcome.mapped_bytes.peak,
    mapped_end_bytes: outcome.mapped_bytes.end,
    areas_peak: outcome.areas.peak,
    ...prefixed('syscalls', syscalls),
    ...prefixed('bigcache', bigcache),
    ...prefixed('batch', batch),
    ...prefixed('thermal', thermal),
    ...prefixed('kept', kept),
    latency_p50_ns: latency_ns.p50,
    latency_p95_ns: latency_ns.p95,
    latency_p99_ns: latency_ns.p99,
    latency_p999_ns: latency_ns.p999,
    latency_max_ns: latency_ns.max,
    learning_state: learning.state,
    violation: outcome.violation === null ? null : `${outcome.violation.rule} at event ${outcome.violation.event}`,
  };
}

/** `regret` of a configuration that learns; simulated from the same folded trace, beside what is checked. */
export function rowOf(
  context: RowContext,
  config: Config,
  outcome: Outcome,
  check: RowCheck,
  regret: Regret | null = null,
): Row {
  const { prices, ...words } = context;
  return {
    ...words,
    config_hash: hashOfConfig(config),
    ...describeConfig(config),
    ...figuresOf(outcome),
    learning_best_fixed_score: regret?.best_score ?? null,
    learning_regret_score: regret?.regret ?? null,
    learning_optimum_score: regret?.optimum_score ?? null,
    checked: check.checked,
    verdict: check.verdict,
    prices: JSON.stringify(prices),
  };
}

/** 16 hexadecimal digits over every parameter's value: two configurations that decide alike by definition share it. */
export function hashOfConfig(config: Config): string {
  const text = param_names.map((name) => `${name}=${config[name]}`).join('\n');
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** Rows by trace, then by configuration: the one order in which results are written. */
export function compareRows(a: Row, b: Row): number {
  const key = (row: Row): string => `${row.trace}\n${row.trace_sha256}\n${row.config_hash}`;
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
}

/** A figure that a real kernel showed, for a row: beside the rows, never among them. */
export interface Measured {
  readonly trace: string;
  readonly trace_sha256: string;
  readonly config_hash: string;
  readonly predicted_ns: number;
  /** CPU time of each run on the real kernel. */
  readonly measured_ns: readonly number[];
  readonly faults: number;
  readonly resident_peak_bytes: number;
  readonly verdict: 'agree' | 'differ' | 'unchecked';
}

function prefixed(prefix: string, part: object): Record<string, Cell> {
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [`${prefix}_${name}`, value as Cell]));
}
