/**
 * `npm run bench`: events a second of the simulator, of the C core and of decoding, interleaved, as ratios with intervals;
 * and memory a live object. CPU time of this process, not wall time: the machine is shared.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median, quantile } from 'd3-array';
import seedrandom from 'seedrandom';
import { replayCore } from '../../native/index.ts';
import { boundaries_bytes, configOf, default_profile, prices, replay, type Setup } from '../../sim/index.ts';
import {
  type Chunk,
  copyChunk,
  op,
  open,
  originOf,
  SyntheticTrace,
  TraceBuilder,
  writeHak,
} from '../../traces/index.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '12' },
    events: { type: 'string', default: '2000000' },
    json: { type: 'boolean', default: false },
    memory: { type: 'string', default: '' },
    trace: { type: 'string', default: '' },
  },
});
const rounds = Number(values.rounds);
const setup: Setup = { config: configOf('BALANCED'), prices, profile: default_profile, touch: 'page', seed: 1 };

interface Subject {
  readonly name: string;
  readonly path: string;
}

interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

if (values.memory !== '') {
  await printPeak(values.memory, values.trace);
  process.exit(0);
}
const folder = mkdtempSync(join(tmpdir(), 'hakmem-bench-'));
try {
  const subjects = [
    generated('json', 0),
    generated('mixed', 10),
    generated('mixed', 100),
    ...['python-json', 'sqlite', 'threads'].map((name) => ({ name, path: `traces/samples/${name}.hak` })),
  ].filter(({ path }) => statSync(path, { throwIfNoEntry: false }) !== undefined);
  const rows = [];
  for (const subject of subjects) rows.push(await measure(subject));
  const memory = memoryPerObject();
  if (values.json) process.stdout.write(`${JSON.stringify({ rounds, rows, memory }, null, 2)}\n`);
  else print(rows, memory);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function generated(name: string, large_permille: number): Subject {
  const path = join(folder, `${name}-${large_permille}.hak`);
  const trace = new SyntheticTrace(name, { events: Number(values.events), large_permille, seed: 1, boundaries_bytes });
  writeHak(path, trace.chunks(), { time: false, sites: true, touch: false }, () => trace.origin);
  return { name: `${name}, ${large_permille} permille large`, path };
}

async function measure({ name, path }: Subject) {
  const trace = open(path);
  const chunks: Chunk[] = [];
  for (const chunk of trace.chunks()) chunks.push(copyChunk(chunk));
  const { events } = trace.statistics;
  const spent: Record<'decode' | 'simulator' | 'core', number[]> = { decode: [], simulator: [], core: [] };
  // Short traces are repeated until a round is long enough to time.
  const repeats = Math.max(1, Math.ceil(300_000 / events));
  for (let round = -2; round < rounds; round += 1) {
    const figures = {
      decode: await cpu(repeats, () => {
        for (const chunk of trace.chunks()) if (chunk.length === 0) throw new Error('an empty chunk');
      }),
      simulator: await cpu(repeats, () => {
        replay(chunks, setup);
      }),
      core: await cpu(repeats, async () => {
        await replayCore(chunks, setup);
      }),
    };
    if (round < 0) continue;
    for (const part of ['decode', 'simulator', 'core'] as const) spent[part].push(figures[part] / repeats);
  }
  const rate = (part: keyof typeof spent): Interval => interval(spent[part].map((us) => events / us));
  return {
    name,
    events,
    bytes_per_event: statSync(path).size / events,
    decode: rate('decode'),
    simulator: rate('simulator'),
    core: rate('core'),
    /** How many times longer the simulator takes than the C core, round by round. */
    ratio: interval(spent.simulator.map((us, round) => us / spent.core[round])),
  };
}

/** CPU microseconds of this process, its worker threads included. */
async function cpu(repeats: number, work: () => void | Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  for (let at = 0; at < repeats; at += 1) await work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

/** Median, and a 95 % bootstrap interval of it. */
function interval(samples: readonly number[]): Interval {
  const random = seedrandom.alea('bench/bootstrap');
  const medians = Array.from({ length: 2000 }, () =>
    median(samples.map(() => samples[Math.floor(random() * samples.length)])),
  );
  return { median: median(samples)!, low: quantile(medians, 0.025)!, high: quantile(medians, 0.975)! };
}

/**
 * Bytes a live object costs in each half, reader included: fresh processes that replay traces which differ in nothing but the
 * number of live objects.
 */
function memoryPerObject(): { simulator: number; core: number } {
  const few = 1_100_000;
  const many = 5_100_000;
  const script = fileURLToPath(import.meta.url);
  const usage = (half: string, objects: number): number => {
    const path = join(folder, `live-${objects}.hak`);
    const columns = { time: false, sites: false, touch: false };
    writeHak(path, liveObjects(objects), columns, () => originOf('generated', {}));
    const args = [script, '--memory', half, '--trace', path];
    return Number(spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout);
  };
  const each = (half: string): number => (usage(half, many) - usage(half, few)) / (many - few);
  return { simulator: each('simulator'), core: each('core') };
}

/** Prints the most resident bytes of this process over a replay. */
async function printPeak(half: string, path: string): Promise<void> {
  let peak = 0;
  const note = (): void => {
    peak = Math.max(peak, process.memoryUsage().rss);
  };
  if (half === 'simulator') replay(open(path).chunks(), setup, note);
  else await replayCore(open(path).chunks(), setup, note);
  process.stdout.write(`${peak}\n`);
}

function* liveObjects(objects: number): Generator<Chunk> {
  const builder = new TraceBuilder();
  for (let name = 0; name < objects; name += 1) {
    builder.allocate(op.malloc, name, 64);
    yield* builder.drain();
  }
  yield* builder.finish();
}

function print(rows: Awaited<ReturnType<typeof measure>>[], memory: { simulator: number; core: number }): void {
  const figure = ({ median: middle, low, high }: Interval): string =>
    `${middle.toFixed(1)} [${low.toFixed(1)} to ${high.toFixed(1)}]`.padStart(24);
  process.stdout.write(
    `${'million events per CPU second'.padEnd(30)}${'decode'.padStart(24)}${'simulator'.padStart(24)}${'C core'.padStart(24)}${'simulator / core'.padStart(24)}\n`,
  );
  for (const { name, decode, simulator, core, ratio } of rows)
    process.stdout.write(`${name.padEnd(30)}${figure(decode)}${figure(simulator)}${figure(core)}${figure(ratio)}\n`);
  process.stdout.write(
    `bytes a live object: simulator ${memory.simulator.toFixed(1)}, C core ${memory.core.toFixed(1)}\n`,
  );
}
