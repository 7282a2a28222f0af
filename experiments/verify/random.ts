/**
 * Long seeded search for a difference between the halves: many short random traces, each with a random configuration, touch
 * model and kernel profile; half of them learn, in windows short enough to go through the whole lifecycle. `npm run verify:random -- --events 10000000 --kernel counted`, or `--kernel real`.
 *
 * Stops at the first difference: prints the seed, the configuration and the difference, and leaves the trace as .hak with
 * its settings beside it. Exit code 0: none found; 1: one was found; 2: bad usage.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import seedrandom from 'seedrandom';
import { probeProfile, replay as replayCore, replayReal } from '../../native/index.ts';
import { configOf } from '../../sim/config.ts';
import { replay, type Setup } from '../../sim/replay.ts';
import { type Difference, firstDifference, type Result } from '../../sim/result.ts';
import {
  boundaries_bytes,
  type Config,
  default_profile,
  defaults,
  enums,
  type KernelProfile,
  type Param,
  type ParamName,
  param_names,
  params,
  prices,
} from '../../sim/spec.ts';
import { TraceBuilder } from '../../traces/builder.ts';
import { writeHak } from '../../traces/file.ts';
import { type Chunk, limits, op, originOf } from '../../traces/trace.ts';
import { Progress } from '../command.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const sites = 5;

type Random = () => number;
type Kernel = 'counted' | 'real';

interface Case {
  readonly chunks: readonly Chunk[];
  readonly events: number;
  readonly setup: Setup;
}

const folder = mkdtempSync(join(tmpdir(), 'hakmem-random-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      events: { type: 'string', default: '1000000' },
      kernel: { type: 'string', default: 'counted' },
      seed: { type: 'string', default: '1' },
      progress: { type: 'boolean', default: false },
    },
  });
  const wanted = Number(values.events);
  const { kernel, seed } = values;
  const probed = probeProfile();
  if (!(wanted > 0) || (kernel !== 'counted' && kernel !== 'real')) {
    process.stderr.write('usage: verify:random -- [--events N] [--kernel counted|real] [--seed WORD] [--progress]\n');
    process.exitCode = 2;
    return;
  }
  process.stdout.write(`seed ${seed}\n`);
  const progress = new Progress(`random, ${kernel} kernel`, values.progress);
  const started = performance.now();
  let events = 0;
  let traces = 0;
  let stopped_early = 0;
  let learned = 0;
  let windows = 0;
  for (; events < wanted; traces += 1) {
    const tried = randomCase(seedrandom(`${seed} ${traces}`), kernel, kernel === 'real' ? probed : null);
    const sim = replay(tried.chunks, tried.setup);
    const difference = firstDifference(sim, await replayOther(tried, kernel), 'kernel');
    if (difference !== null) {
      progress.finish();
      await report(tried, kernel, seed, traces, difference);
      process.exitCode = 1;
      return;
    }
    if (sim.violation !== null) stopped_early += 1;
    if (sim.learning.windows > 0) learned += 1;
    windows += sim.learning.windows;
    events += sim.events;
    progress.update(Math.min(events, wanted), wanted);
  }
  progress.finish();
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(
    `${kernel} kernel: ${events} events in ${traces} traces (${stopped_early} filled their region; ${learned} learned, from ${windows} windows), no difference, ${seconds.toFixed(1)} s\n`,
  );
}

async function replayOther({ chunks, setup }: Case, kernel: Kernel): Promise<Result> {
  if (kernel === 'counted') return replayCore(chunks, setup);
  const path = join(folder, 'trace.hak');
  save(path, chunks);
  return (await replayReal(path, chunks, setup)).result;
}

/** Says what differs and leaves what it takes to see it again. */
async function report(tried: Case, kernel: Kernel, seed: string, trace: number, first: Difference): Promise<void> {
  // Once more with a log of the events before the checkpoint that showed it, to name the event itself.
  const from = Math.max(0, first.event - tried.setup.config.checkpoint_events - 1);
  const logged = { ...tried, setup: { ...tried.setup, log: { from, to: first.event + 2 } } };
  const sim = replay(logged.chunks, logged.setup);
  const exact = firstDifference(sim, await replayOther(logged, kernel), 'kernel') ?? first;
  const name = `random-${seed}-${trace}`;
  save(`${name}.hak`, tried.chunks);
  const { config, touch, profile, seed: own_seed } = tried.setup;
  const unusual = Object.fromEntries(
    param_names.filter((each) => config[each] !== defaults[each]).map((each) => [each, config[each]]),
  );
  writeFileSync(
    `${name}.json`,
    `${JSON.stringify({ seed, trace, kernel, touch, profile, replay_seed: own_seed, settings: unusual }, null, 2)}\n`,
  );
  const entry = sim.log.find(({ event }) => event === exact.event);
  process.stdout.write(
    [
      `difference: seed ${seed}, trace ${trace}, event ${exact.event}, ${exact.field}:`,
      `simulator ${JSON.stringify(exact.sim)}, ${kernel} kernel ${JSON.stringify(exact.native)}`,
      `replay with --seed ${own_seed}, touch ${touch}, profile ${JSON.stringify(profile)}, settings ${JSON.stringify(unusual)}`,
      `event: ${JSON.stringify(entry ?? null)}`,
      `written: ${name}.hak ${name}.json`,
      '',
    ].join('\n'),
  );
}

function save(path: string, chunks: readonly Chunk[]): void {
  const known = Array.from({ length: sites }, (_, at) => ({ hash: `${at}`.padStart(16, '0'), name: null }));
  writeHak(path, chunks, { time: false, sites: true, touch: true }, () =>
    originOf('generated', { program: 'random', command: 'verify:random', has_sites: true, sites: known }),
  );
}

function randomCase(random: Random, kernel: Kernel, probed: KernelProfile | null): Case {
  const events = 2000 + Math.floor(random() ** 2 * 18_000);
  // On a real kernel every page is written: most traces there touch few.
  const touches = kernel === 'real' ? (['none', 'first', 'recorded', 'recorded', 'page', 'all'] as const) : enums.touch;
  const config = randomConfig(random, kernel);
  return {
    chunks: randomTrace(random, events),
    events,
    setup: {
      ...{ config, prices, profile: probed ?? randomProfile(random), touch: pick(random, touches) },
      seed: pick(random, [0, 1, 2 ** 31, Math.floor(random() * 2 ** 40)]),
    },
  };
}

function randomTrace(random: Random, events: number): Chunk[] {
  const builder = new TraceBuilder(pick(random, [limits.chunk_events, 512, 4096]));
  const live: { name: number; bytes: number }[] = [];
  const live_max = pick(random, [1, 4, 24, 100]);
  const live_bytes_max = 256 * MiB;
  // What is familiar changes as the trace goes on, or stays: sizes that drift are what learning looks out for.
  const regimes = pick(random, [1, 1, 2, 6]);
  const familiar_count = pick(random, [1, 2, 6]);
  let familiar: number[] = [];
  let regime = -1;
  const chunks: Chunk[] = [];
  let live_bytes = 0;
  let name = 0;
  const size = (): number => (random() < 0.6 ? pick(random, familiar) : randomSize(random));
  while (builder.events < events) {
    const now_in = Math.floor((builder.events * regimes) / events);
    if (now_in !== regime) familiar = Array.from({ length: familiar_count }, () => randomSize(random));
    regime = now_in;
    const site = Math.floor(random() * sites);
    const touched_pages = random() < 0.2 ? limits.unknown : Math.floor(random() ** 3 * 700);
    const kind = random();
    const at = Math.floor(random() * live.length);
    const bytes = size();
    if (live.length > 0 && (kind < 0.42 || live.length >= live_max || live_bytes + bytes > live_bytes_max)) {
      builder.free(live[at].name);
      live_bytes -= live[at].bytes;
      live.splice(at, 1);
    } else if (live.length > 0 && kind < 0.54) {
      const wanted = random() < 0.4 ? Math.floor(live[at].bytes * (0.4 + random())) : bytes;
      const now = Math.max(1, Math.min(wanted, 48 * MiB));
      builder.reallocate(live[at].name, live[at].name, now, { site, touched_pages });
      live_bytes += now - live[at].bytes;
      live[at].bytes = now;
    } else {
      const how = kind < 0.64 ? op.calloc : kind < 0.72 ? op.aligned : op.malloc;
      const align = pick(random, [16, 64, 4096, 8192, 64 * KiB, 2 * MiB, 4 * MiB]);
      builder.allocate(how, name, bytes, { site, touched_pages, align });
      live.push({ name, bytes });
      live_bytes += bytes;
      name += 1;
    }
    chunks.push(...builder.drain());
  }
  return [...chunks, ...builder.finish()];
}

function randomSize(random: Random): number {
  const kind = random();
  if (kind < 0.4) {
    const near = boundaries_bytes.filter((bytes) => bytes <= (random() < 0.05 ? 64 * MiB : 8 * MiB));
    return pick(random, near) + pick(random, [-1, 0, 1]);
  }
  if (kind < 0.9) return Math.floor(300 * KiB + random() ** 2 * 6 * MiB);
  return Math.floor(random() * 64 * KiB);
}

function randomConfig(random: Random, kernel: Kernel): Config {
  if (random() < 0.1) return configOf('BALANCED', { checkpoint_events: 256 });
  const drawn: Record<string, number> = {};
  for (const name of param_names) if (random() < 0.5) drawn[name] = randomValue(random, name);
  const at = (name: ParamName): number => drawn[name] ?? defaults[name];
  drawn.warm_from_bytes = Math.min(at('warm_from_bytes'), at('cold_from_bytes'));
  if (random() < 0.5) Object.assign(drawn, randomLearning(random));
  drawn.checkpoint_events = pick(random, kernel === 'real' ? [100, 500, 4096] : [1, 7, 64, 500, 4096]);
  return configOf('BALANCED', drawn);
}

/** A learner, and windows and trials so short that a trace of a few thousand events sees many. */
function randomLearning(random: Random): Partial<Config> {
  const whole = (from: number, to: number): number => from + Math.floor(random() ** 2 * (to - from + 1));
  return {
    mmap_threshold_bytes: 0,
    lifecycle: pick(random, [1, 3, 3]),
    learner: pick(random, [0, 1, 2, 3]),
    rating: pick(random, [0, 1]),
    rules: pick(random, [0, 1]),
    window_events: whole(1, 200),
    window_samples: whole(1, 40),
    explore_permille: pick(random, [0, 100, 500, 1000]),
    elo_k: whole(1, 256),
    elo_survivors: whole(1, 12),
    elo_survive_games: whole(1, 60),
    halving_windows: whole(1, 5),
    ucb1_hysteresis_permille: pick(random, [0, 20, 80]),
    ucb1_hysteresis_windows: whole(1, 4),
    ucb1_cooldown_windows: whole(0, 10),
    freeze_stable_windows: whole(1, 4),
    freeze_after_windows: whole(0, 20),
    freeze_p99_permille: pick(random, [0, 10, 400]),
    equivalence_permille: pick(random, [0, 10, 100, 500]),
    drift_permille: pick(random, [0, 100, 250, 600, 2000]),
    relearn_p99_permille: pick(random, [0, 50, 200]),
    relearn_windows: whole(1, 4),
    canary_permille: pick(random, [1, 50, 300, 1000]),
    canary_samples: whole(1, 300),
    canary_windows_max: whole(1, 100),
  };
}

/** The bugs of the original stay off. */
function randomValue(random: Random, name: ParamName): number {
  const { unit, value, min, max }: Param = params[name];
  if (name.startsWith('legacy_')) return 0;
  if (name === 'bigcache_slots') return pick(random, [1, 2, 64]);
  if (name === 'bigcache_ways') return pick(random, [1, 2, 3, 7]);
  if (name === 'batch_blocks_max') return pick(random, [1, 2, 3, 16, 64, 200]);
  if (name === 'batch_flush_bytes') return pick(random, [1, 3 * MiB, 16 * MiB, 100 * MiB]);
  if (name === 'kept_bytes_max') return pick(random, [0, 1 * MiB, 5 * MiB, 20 * MiB, 64 * MiB, 2 ** 40]);
  if (name === 'mmap_threshold_bytes') return pick(random, [0, 1, 4097, 200 * KiB, 1 * MiB, 2 * MiB]);
  if (name === 'region_bytes') return pick(random, [value, value, value, 2048 * MiB, 300 * MiB]);
  if (unit === 'bytes') return Math.min(max, Math.max(min, pick(random, boundaries_bytes) + pick(random, [-1, 0, 1])));
  if (unit === 'flag' || unit === 'word' || max <= 16) return min + Math.floor(random() * (max - min + 1));
  return value;
}

function randomProfile(random: Random): KernelProfile {
  const flags = Object.entries(default_profile).filter(
    ([name, value]) => typeof value === 'boolean' && name !== 'process_madvise',
  );
  return {
    ...default_profile,
    ...Object.fromEntries(flags.map(([name]) => [name, random() < 0.5])),
    thp_kernel: pick(random, enums.thp_kernel),
    huge_zero_write: pick(random, enums.huge_zero_write),
  };
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)];
}

await main();
