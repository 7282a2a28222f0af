/**
 * `npm run bench:sweep`: many thresholds in one pass against as many full replays, and against the C core, interleaved in
 * one process; loading apart. CPU time, not wall time: the machine is shared. Every row is compared with its full replay.
 */
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { median } from 'd3-array';
import { replayAll } from '../../native/index.ts';
import {
  boundaries_bytes,
  configOf,
  default_profile,
  foldTrace,
  lowestFloor,
  type Outcome,
  prices,
  replay,
  type Setup,
  shape,
  simulateOver,
} from '../../sim/index.ts';
import { type Chunk, copyChunk, SyntheticTrace } from '../../traces/index.ts';
import { type Interval, intervalOf, ratioOf } from '../statistics.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    events: { type: 'string', default: '20000000' },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const MiB = 2 ** 20;
/** Blocks of `mixed` lie below and above these; each divides them differently. */
const finer_bytes = Array.from({ length: 100 }, (_, at) => Math.round(MiB * 2 ** (at / 99)));

const subjects = [10, 100].map((permille) => measure(permille));
const rows = [];
for (const subject of subjects) rows.push(await subject());
if (values.json) process.stdout.write(`${JSON.stringify({ rounds, rows }, null, 2)}\n`);
else for (const row of rows) print(row);

interface Measured {
  readonly name: string;
  readonly events: number;
  readonly one_pass_ms: Interval;
  readonly full_replays_ms: Interval;
  readonly core_ms: Interval;
  /** Full replays over one pass. */
  readonly ratio: Interval;
  readonly config_events_per_second: number;
  /** What one more threshold costs among a hundred that all divide the trace. */
  readonly further_threshold_ms: Interval;
}

function measure(large_permille: number): () => Promise<Measured> {
  return async () => {
    const events = Number(values.events);
    const chunks: Chunk[] = [];
    const trace = new SyntheticTrace('mixed', { events, large_permille, seed: 1, boundaries_bytes });
    for (const chunk of trace.chunks()) chunks.push(copyChunk(chunk));
    const setups = shape.strategy_geometric_bytes.map(setupOf);
    const spent: Record<'pass' | 'replays' | 'core' | 'further', number[]> = {
      pass: [],
      replays: [],
      core: [],
      further: [],
    };
    for (let round = -1; round < rounds; round += 1) {
      const pass = await cpu(() => simulateOver(foldTrace(chunks, lowestFloor(setups)), setups));
      const folded = foldTrace(chunks, lowestFloor(setups));
      const core = await cpu(() => replayAll(() => chunks, setups, folded.baseline));
      const replays = await cpu(() => setups.map((setup) => outcomeOf(chunks, setup)));
      const finer = await cpu(() => simulateOver(folded, finer_bytes.map(setupOf)));
      expectEqual(pass.value, replays.value, 'one pass and full replays');
      expectEqual(pass.value, core.value, 'simulator and C core');
      if (round < 0) continue;
      spent.pass.push(pass.ms);
      spent.core.push(core.ms);
      spent.replays.push(replays.ms);
      spent.further.push(finer.ms / finer_bytes.length);
    }
    return {
      name: `mixed, ${large_permille} permille large`,
      events,
      one_pass_ms: intervalOf(spent.pass, 1),
      full_replays_ms: intervalOf(spent.replays, 1),
      core_ms: intervalOf(spent.core, 1),
      ratio: ratioOf(spent.replays, spent.pass, 1),
      config_events_per_second: (events * setups.length) / (median(spent.pass)! / 1000),
      further_threshold_ms: intervalOf(spent.further, 1),
    };
  };
}

function setupOf(mmap_threshold_bytes: number): Setup {
  const config = configOf('BALANCED', { mmap_threshold_bytes });
  return { config, prices, profile: default_profile, touch: 'page', seed: 1 };
}

function outcomeOf(chunks: readonly Chunk[], setup: Setup): Outcome {
  const { liveness: _, checkpoints: __, log: ___, ...outcome } = replay(chunks, setup);
  return outcome;
}

/** CPU milliseconds of this process, its worker threads included. */
async function cpu<T>(work: () => T | Promise<T>): Promise<{ value: T; ms: number }> {
  const before = process.cpuUsage();
  const value = await work();
  const { user, system } = process.cpuUsage(before);
  return { value, ms: (user + system) / 1000 };
}

function expectEqual(a: readonly Outcome[], b: readonly Outcome[], of: string): void {
  const at = a.findIndex((each, index) => !isDeepStrictEqual(each, b[index]));
  if (at >= 0) throw new Error(`${of} differ in row ${at}`);
}

function print(row: Measured): void {
  const figure = ({ median: middle, low, high }: Interval, digits = 0): string =>
    `${middle.toFixed(digits)} [${low.toFixed(digits)} to ${high.toFixed(digits)}]`;
  process.stdout.write(
    `${row.name}, ${row.events} events, ${shape.strategies} thresholds; every row equal in all three\n` +
      `  one pass ${figure(row.one_pass_ms)} ms, full replays ${figure(row.full_replays_ms)} ms: ${figure(row.ratio, 1)} times\n` +
      `  ${(row.config_events_per_second / 1e6).toFixed(0)} M configuration-events a CPU second; ` +
      `the C core's pass ${figure(row.core_ms)} ms\n` +
      `  each further threshold ${figure(row.further_threshold_ms, 1)} ms\n`,
  );
}
