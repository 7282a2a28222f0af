/** What a worker does: runs shards one after another, and keeps the trace of the last one folded for the next. */
import { hostname } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { replayAll } from '../../native/index.ts';
import {
  type Folded,
  foldTrace,
  lowestFloor,
  type Outcome,
  type OwnPolicy,
  refold,
  type Setup,
  simulateOver,
} from '../../sim/index.ts';
import type { Baseline } from '../../sim/score.ts';
import { type Chunk, open, sha256OfFile, type Trace, TraceError } from '../../traces/index.ts';
import { loadPolicy } from '../policy/module.ts';
import { outcomeDifference } from './agree.ts';
import type { Disagreement, ShardReport, Task } from './driver.ts';
import { contextOf, type Plan, type PlannedPoint, setupOf } from './plan.ts';
import { Regrets } from './regrets.ts';
import { type Row, rowOf } from './row.ts';
import { appendToShard, readShard, truncateShard } from './shard.ts';
import { readPlan, shardPath } from './state.ts';

/** The other half, that every outcome is held against; the baseline of the score is of the trace alone. */
export type Core = (
  chunks: () => Iterable<Chunk>,
  setups: readonly Setup[],
  baseline: Baseline,
) => Promise<readonly Outcome[]>;

/** Rows are checked and written at least this often, as far as single replays allow. */
const slice_s = 2;
/** Between two looks at the world, whether anybody still waits for the rows. */
const breath_s = 0.25;

interface Loaded {
  readonly trace: Trace;
  readonly folded: Folded;
}

export class Workbench {
  private readonly core: Core;
  private plan: { readonly state: string; readonly plan: Plan } | null = null;
  private loaded: { readonly file: string; readonly sha256: string; readonly loaded: Loaded } | null = null;

  constructor(core: Core = replayAll) {
    this.core = core;
  }

  /** `wrote` is told of rows as they are appended. Throws UsageError and TraceError. */
  async run({ state, shard }: Task, wrote: (rows: number) => void): Promise<ShardReport> {
    const plan = this.planOf(state);
    const { trace: at, hashes } = plan.shards[shard];
    const path = shardPath(state, shard);
    const before = readShard<Row>(path);
    let { whole_bytes } = before;
    truncateShard(path, whole_bytes);
    const made = new Set(before.records.map(({ config_hash }) => config_hash));
    const points = new Map(plan.points.map((point) => [point.hash, point]));
    const waiting = hashes.filter((hash) => !made.has(hash)).map((hash) => points.get(hash)!);
    const spent = new Stopwatch();
    let rows = 0;
    let disagreement: Disagreement | null = null;
    if (waiting.length > 0) {
      const own = await spent.on('load', () => ownPolicy(plan));
      const { trace, folded } = await spent.on('load', () => this.load(plan, at, own));
      const setups = new Map(waiting.map((point) => [point, setupOf(plan, at, point, own)]));
      const ours = await spent.on('load', () => refold(folded, lowestFloor([...setups.values()])));
      const regrets = new Regrets(ours);
      while (rows < waiting.length && disagreement === null) {
        const outcomes = await spent.on('simulate', () => simulateSlice(ours, waiting.slice(rows), setups));
        const slice = waiting.slice(rows, rows + outcomes.length);
        const natives =
          plan.check === 'none'
            ? null
            : await spent.on('check', () =>
                this.core(
                  () => trace.chunks(),
                  slice.map((point) => setups.get(point)!),
                  folded.baseline,
                ),
              );
        const wrong = natives === null ? null : firstWrong(shard, slice, outcomes, natives);
        const good =
          wrong === null
            ? slice
            : slice.slice(
                0,
                slice.findIndex(({ hash }) => hash === wrong.config_hash),
              );
        const check = natives === null ? 'unchecked' : 'agree';
        const lines = good.map((point, index) =>
          rowOf(
            contextOf(plan, at, point.mode),
            setups.get(point)!.config,
            outcomes[index],
            { checked: plan.check, verdict: check },
            regrets.of(setups.get(point)!, outcomes[index]),
          ),
        );
        whole_bytes = appendToShard(path, whole_bytes, lines);
        rows += good.length;
        disagreement = wrong;
        wrote(good.length);
        await setImmediate();
      }
    }
    return {
      shard,
      rows,
      events: rows * plan.traces[at].events,
      load_s: spent.seconds.load,
      simulate_s: spent.seconds.simulate,
      check_s: spent.seconds.check,
      worker: `${hostname()}:${process.pid}`,
      memory_bytes: process.resourceUsage().maxRSS * 1024,
      disagreement,
    };
  }

  private planOf(state: string): Plan {
    if (this.plan?.state !== state) this.plan = { state, plan: readPlan(state) };
    return this.plan.plan;
  }

  /** The trace, folded as far as every configuration of the sweep allows. */
  private load(plan: Plan, at: number, own: OwnPolicy | null): Loaded {
    const { file, path, sha256 } = plan.traces[at];
    if (this.loaded?.file === file && this.loaded.sha256 === sha256) return this.loaded.loaded;
    // The one before may be large.
    this.loaded = null;
    if (sha256OfFile(file) !== sha256) throw new TraceError(path, '', 'changed since the sweep began');
    const trace = open(file);
    const floor_bytes = plan.points.reduce(
      (lowest, point) => Math.min(lowest, lowestFloor([setupOf(plan, at, point, own)])),
      Number.POSITIVE_INFINITY,
    );
    const loaded = { trace, folded: foldTrace(trace.chunks(), floor_bytes) };
    this.loaded = { file, sha256, loaded };
    return loaded;
  }
}

/** The module that the plan names. Throws UsageError where it is no longer what it was. */
async function ownPolicy({ policy }: Plan): Promise<OwnPolicy | null> {
  return policy === null ? null : (await loadPolicy(policy.file, policy.sha256)).own;
}

/** Outcomes of the first few points: of as many as a slice has time for. */
async function simulateSlice(
  folded: Folded,
  points: readonly PlannedPoint[],
  setups: ReadonlyMap<PlannedPoint, Setup>,
): Promise<Outcome[]> {
  const started = performance.now();
  const outcomes: Outcome[] = [];
  let size = 1;
  while (outcomes.length < points.length && performance.now() - started < slice_s * 1000) {
    const group = points.slice(outcomes.length, outcomes.length + size).map((point) => setups.get(point)!);
    const begun = performance.now();
    outcomes.push(...simulateOver(folded, group));
    if (performance.now() - begun < breath_s * 500) size *= 2;
    await setImmediate();
  }
  return outcomes;
}

function firstWrong(
  shard: number,
  points: readonly PlannedPoint[],
  outcomes: readonly Outcome[],
  natives: readonly Outcome[],
): Disagreement | null {
  for (const [at, { hash }] of points.entries()) {
    const difference = outcomeDifference(outcomes[at], natives[at]);
    if (difference !== null) return { shard, config_hash: hash, ...difference };
  }
  return null;
}

class Stopwatch {
  readonly seconds = { load: 0, simulate: 0, check: 0 };

  async on<T>(part: keyof Stopwatch['seconds'], work: () => T | Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.seconds[part] += (performance.now() - started) / 1000;
    }
  }
}
