/** A sweep from plan to rows: shards by a driver, then the real kernel, then the result file. */

import { CheckFailed, UsageError } from '../command.ts';
import type { crossCheck } from '../crosscheck.ts';
import type { Disagreement, Driver, ShardReport, Task } from './driver.ts';
import type { Plan } from './plan.ts';
import { writeMeasured, writeRows } from './results.ts';
import { compareRows, type Measured, type Row } from './row.ts';
import { readShard } from './shard.ts';
import { openState, shardPath } from './state.ts';
import { chosenRows, type Share, verifyRows } from './verify.ts';

export interface Sweep {
  readonly plan: Plan;
  readonly state: string;
  /** Throws away what an earlier sweep left in the state folder. */
  readonly restart: boolean;
  readonly driver: Driver;
  /** Rows for the real kernel; null for none. */
  readonly verify: Share | null;
  readonly output: string | null;
  /** Rows of the plan that were there already, that are there now, and that there will be. */
  readonly progress?: (resumed: number, done: number, total: number) => void;
  readonly verifying?: (done: number, total: number) => void;
  /** Another way to the real kernel. */
  readonly crossCheck?: typeof crossCheck;
}

export interface Swept {
  readonly plan: Plan;
  /** In the order in which results are written. Those made so far, where a disagreement ended it. */
  readonly rows: readonly Row[];
  readonly measured: readonly Measured[];
  /** Rows that were there already. */
  readonly resumed: number;
  readonly reports: readonly ShardReport[];
  readonly disagreement: Disagreement | null;
  /** What the real kernel left unchecked, or where it differed, a line each. */
  readonly notes: readonly string[];
  readonly kernel_s: number;
  readonly output: string | null;
}

/** Throws UsageError and TraceError; CheckFailed where workers died of a shard again and again. */
export async function runSweep(sweep: Sweep): Promise<Swept> {
  const { plan, release } = openState(sweep.state, sweep.plan, sweep.restart);
  try {
    return await runPlan(sweep, plan);
  } finally {
    release();
  }
}

async function runPlan(sweep: Sweep, plan: Plan): Promise<Swept> {
  const { state, driver } = sweep;
  const before = plan.shards.map((_, shard) => readShard<Row>(shardPath(state, shard)).records.length);
  const resumed = before.reduce((sum, rows) => sum + rows, 0);
  const total = plan.points.length * plan.traces.length;
  const tasks: Task[] = plan.shards
    .map((_, shard) => ({ state, shard }))
    .filter(({ shard }) => before[shard] < plan.shards[shard].hashes.length);
  const reports: ShardReport[] = [];
  let made = 0;
  const lost = await driver.run(tasks, {
    rows: (count) => {
      made += count;
      sweep.progress?.(resumed, resumed + made, total);
    },
    done: (report) => {
      reports.push(report);
      return report.disagreement === null;
    },
  });
  const rows = rowsOf(state, plan);
  const disagreement = reports.find((report) => report.disagreement !== null)?.disagreement ?? null;
  const swept = { plan, rows, measured: [], resumed, reports, disagreement, notes: [], kernel_s: 0, output: null };
  if (disagreement !== null) return swept;
  if (lost.length > 0) {
    const [{ task, reason }] = lost;
    throw new CheckFailed(
      `${shardPath(state, task.shard)}: given up: ${reason} each time; ${lost.length} of ${plan.shards.length} shards are unfinished, the same command tries them again`,
    );
  }
  if (rows.length !== total)
    throw new UsageError(`${state}: found ${rows.length} rows, wanted ${total}: its shards were changed meanwhile`);
  return finish(sweep, swept);
}

/** What follows when every row is there: the real kernel, and the result file. */
async function finish(sweep: Sweep, swept: Swept): Promise<Swept> {
  const { verify, state, output } = sweep;
  const { plan, rows } = swept;
  const started = performance.now();
  const measured: Measured[] = [];
  const notes: string[] = [];
  const chosen = verify === null ? [] : chosenRows(rows, verify, plan.seed);
  for await (const { measured: one, note } of verifyRows(state, plan, chosen, sweep.crossCheck)) {
    measured.push(one);
    if (note !== null) notes.push(`${one.trace}, configuration ${one.config_hash}: ${note}`);
    sweep.verifying?.(measured.length, chosen.length);
  }
  const kernel_s = (performance.now() - started) / 1000;
  const verdicts = new Map(
    measured.map((one) => [`${one.trace}\n${one.trace_sha256}\n${one.config_hash}`, one.verdict]),
  );
  const checked = rows.map((row) =>
    verdicts.get(`${row.trace}\n${row.trace_sha256}\n${row.config_hash}`) === 'agree'
      ? { ...row, checked: 'kernel' }
      : row,
  );
  const all = { ...swept, rows: checked, measured, notes, kernel_s };
  if (output === null || measured.some(({ verdict }) => verdict === 'differ')) return all;
  const written = await writeRows(output, checked);
  writeMeasured(written, measured);
  return { ...all, output: written };
}

/** Each configuration once, whatever was written twice: rows of one configuration are equal. */
function rowsOf(state: string, plan: Plan): Row[] {
  return plan.shards
    .flatMap(({ hashes }, shard) => {
      const rows = new Map(
        readShard<Row>(shardPath(state, shard)).records.map((row) => [String(row.config_hash), row]),
      );
      const strange = [...rows.keys()].find((hash) => !hashes.includes(hash));
      if (strange !== undefined)
        throw new UsageError(`${shardPath(state, shard)}: row ${strange}: not a configuration of this shard`);
      return [...rows.values()];
    })
    .sort(compareRows);
}
