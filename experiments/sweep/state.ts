/** The state folder of a sweep: its plan, a result shard for each shard of it, and what the real kernel showed. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { writeAtomically } from '../../traces/index.ts';
import { UsageError } from '../command.ts';
import { type Plan, planDifference } from './plan.ts';

export const planPath = (state: string): string => join(state, 'plan.json');
export const shardPath = (state: string, shard: number): string =>
  join(state, `${String(shard).padStart(6, '0')}.ndjson`);
export const verifiedPath = (state: string): string => join(state, 'kernel.ndjson');

/** A folder that is this process's until it lets go of it, and the plan to go on with. */
export interface State {
  /** The same rows as were asked for, in the shards they were begun in. */
  readonly plan: Plan;
  release(): void;
}

/**
 * Opens the folder for `plan`. Throws UsageError where it cannot be written, and where another sweep is at work in it or
 * was begun in it.
 */
export function openState(state: string, plan: Plan, restart: boolean): State {
  try {
    makeFolder(resolve(state));
  } catch (error) {
    throw new UsageError(`${state}: cannot be made: ${(error as Error).message}`);
  }
  const release = lock(state);
  try {
    return { plan: begin(state, plan, restart), release };
  } catch (error) {
    release();
    throw error;
  }
}

/** One by one: Node's own recursion never ends where a file system takes no folder at all, as /proc. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  mkdirSync(path);
}

function begin(state: string, plan: Plan, restart: boolean): Plan {
  if (restart)
    for (const name of readdirSync(state))
      if (/^(plan\.json|kernel\.ndjson|\d{6}\.ndjson)$/.test(name)) rmSync(join(state, name));
  if (existsSync(planPath(state))) {
    const before = readPlan(state);
    const difference = planDifference(before, plan);
    if (difference === null) return before;
    throw new UsageError(`${state}: another sweep was begun here: ${difference}; --restart throws it away`);
  }
  writeAtomically(planPath(state), (sink) => sink.append(Buffer.from(JSON.stringify(plan))));
  return plan;
}

export function readPlan(state: string): Plan {
  const path = planPath(state);
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Plan;
  } catch (error) {
    throw new UsageError(`${path}: not a plan: ${(error as Error).message}; --restart throws it away`);
  }
}

/** One sweep a folder. The lock of a process that is gone is taken over. */
function lock(state: string): () => void {
  const path = join(state, 'lock');
  const holder = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0;
  if (holder > 0 && holder !== process.pid && alive(holder))
    throw new UsageError(`${state}: process ${holder} is sweeping here; wanted a folder of its own for each sweep`);
  try {
    rmSync(path, { force: true });
    writeFileSync(path, String(process.pid), { flag: 'wx' });
  } catch (error) {
    throw new UsageError(`${path}: cannot be written: ${(error as Error).message}`);
  }
  const release = (): void => {
    rmSync(path, { force: true });
    process.off('exit', release);
  };
  process.once('exit', release);
  return release;
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
