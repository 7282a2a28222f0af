/** The rows that are held against the real kernel: the best of each trace, and a seeded sample of the others. */
import { createHash } from 'node:crypto';
import { open } from '../../traces/index.ts';
import { crossCheck } from '../crosscheck.ts';
import { type Plan, setupOf } from './plan.ts';
import { compareCost } from './ranking.ts';
import type { Measured, Row } from './row.ts';
import { appendToShard, readShard, truncateShard } from './shard.ts';
import { verifiedPath } from './state.ts';

/** A row on a real kernel. */
export interface Verified {
  readonly measured: Measured;
  /** Why it stayed unchecked, or where it differed. */
  readonly note: string | null;
}

export interface Share {
  /** Of each trace, by score; of rows that decide alike, one. */
  readonly best: number;
  /** Of each trace, of its other rows, drawn by the seed. */
  readonly sample: number;
}

/** Rows of every trace, best first, then drawn ones. */
export function chosenRows(rows: readonly Row[], { best, sample }: Share, seed: number): Row[] {
  const lot = (row: Row): string =>
    createHash('sha256').update(`${seed}/${row.trace_sha256}/${row.config_hash}`).digest('hex');
  return byTrace(rows).flatMap((of_trace) => {
    const ranked = [...of_trace].sort(compareCost);
    const digests = new Set<unknown>();
    const leaders = ranked.filter(({ decision_digest }) => {
      if (digests.size === best || digests.has(decision_digest)) return false;
      digests.add(decision_digest);
      return true;
    });
    const others = ranked
      .filter((row) => !leaders.includes(row))
      .map((row) => ({ row, lot: lot(row) }))
      .sort((a, b) => (a.lot < b.lot ? -1 : 1));
    return [...leaders, ...others.slice(0, sample).map(({ row }) => row)];
  });
}

export function byTrace(rows: readonly Row[]): Row[][] {
  const traces = new Map<string, Row[]>();
  for (const row of rows) {
    const key = `${row.trace}\n${row.trace_sha256}`;
    const found = traces.get(key);
    if (found === undefined) traces.set(key, [row]);
    else found.push(row);
  }
  return [...traces.values()];
}

/**
 * Replays rows on the real kernel, one at a time, for measured time wants a quiet machine. What agreed before is not run
 * again. Ends at the first row that differs.
 */
export async function* verifyRows(
  state: string,
  plan: Plan,
  rows: readonly Row[],
  check: typeof crossCheck = crossCheck,
): AsyncGenerator<Verified> {
  const path = verifiedPath(state);
  const before = readShard<Measured>(path);
  let { whole_bytes } = before;
  truncateShard(path, whole_bytes);
  for (const row of rows) {
    const known = before.records.find(
      (each) =>
        each.trace_sha256 === row.trace_sha256 && each.trace === row.trace && each.config_hash === row.config_hash,
    );
    if (known !== undefined) {
      yield { measured: known, note: null };
      continue;
    }
    const verified = await verifyRow(plan, row, check);
    if (verified.measured.verdict === 'agree') whole_bytes = appendToShard(path, whole_bytes, [verified.measured]);
    yield verified;
    if (verified.measured.verdict === 'differ') return;
  }
}

async function verifyRow(plan: Plan, row: Row, crosscheck: typeof crossCheck): Promise<Verified> {
  const at = plan.traces.findIndex(({ path, sha256 }) => path === row.trace && sha256 === row.trace_sha256);
  const point = plan.points.find(({ hash }) => hash === row.config_hash)!;
  const { sim, native, check } = await crosscheck(open(plan.traces[at].file), setupOf(plan, at, point), 'kernel');
  const measured: Measured = {
    trace: String(row.trace),
    trace_sha256: String(row.trace_sha256),
    config_hash: point.hash,
    predicted_ns: sim.time_ns.total,
    measured_ns: native === null ? [] : [native.time_ns.total],
    faults: native?.faults ?? 0,
    resident_peak_bytes: native?.resident_bytes.peak ?? 0,
    verdict: check.verdict,
  };
  if (check.first_difference !== null && check.verdict === 'differ') {
    const { event, field, sim: a, native: b } = check.first_difference;
    return { measured, note: `event ${event}: ${field} is ${a} in the simulator and ${b} on the real kernel` };
  }
  return { measured, note: check.reason };
}
