/** Two threads: one allocates and the other frees, on two processors and on one; and how a threaded sample's time is spread. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { quantile } from 'd3-array';
import { runReplayer } from '../../../native/replayer.ts';
import { type MachineSetup, nominal_machine, perturb } from '../../../sim/index.ts';
import { touchIndex } from '../../../sim/kernel/touch.ts';
import type { GlibcSettings } from '../../../sim/peers/glibc/settings.ts';
import { Glibc, type GlibcMachine } from '../../../sim/peers/glibc.ts';
import { type HakTrace, op, open, originOf, type Trace, TraceBuilder, writeHak } from '../../../traces/index.ts';
import { tunablesEnv } from '../../peers/tunables.ts';
import { predict, type ReplayPrices, workOf } from '../../time-check/prediction.ts';
import type { Subject } from './subjects.ts';

const KiB = 2 ** 10;
const mapped: GlibcSettings = { mmap_threshold: 128 * KiB };
const live_blocks = 4;

export interface ThreadRow {
  readonly name: string;
  readonly what: 'CPU' | 'wall';
  readonly measured_ns: Spread;
  readonly predicted_ns: Spread;
}

export interface Spread {
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
}

export interface ThreadTimes {
  readonly name: string;
  readonly processors: number;
  readonly trace: HakTrace;
  readonly settings: GlibcSettings;
  readonly cpu_ns: readonly number[];
  readonly wall_ns: readonly number[];
}

/** Blocks of 256 KiB that one thread makes and the other gives back, four of them live. */
function handOver(folder: string, blocks: number): HakTrace {
  const builder = new TraceBuilder(2 * blocks);
  for (let block = 0; block < blocks; block += 1) {
    builder.allocate(op.malloc, block, 256 * KiB, { thread: 0 });
    if (block >= live_blocks) builder.free(block - live_blocks, { thread: 1 });
  }
  const path = join(folder, 'hand-over.hak');
  writeHak(path, builder.finish(), { time: false, sites: false, touch: false }, () => originOf('generated', {}));
  return open(path) as HakTrace;
}

export async function measureThreads(
  sample: Subject | undefined,
  folder: string,
  runs: number,
  progress: (done: number, total: number) => void,
): Promise<ThreadTimes[]> {
  const pins = spawnSync('taskset', ['-V']).status === 0;
  const churn = handOver(folder, 100);
  const cases = [
    { name: 'one allocates, one frees', processors: 2, trace: churn, settings: mapped },
    ...(pins ? [{ name: 'one allocates, one frees', processors: 1, trace: churn, settings: mapped }] : []),
    ...(sample === undefined ? [] : [{ name: sample.name, processors: 2, trace: sample.trace, settings: {} }]),
  ].map((each) => ({ ...each, cpu_ns: [] as number[], wall_ns: [] as number[] }));
  for (let run = 0; run < runs; run += 1)
    for (const [at, each] of cases.entries()) {
      const { rounds } = await runReplayer(each.trace.path, {
        allocator: 'glibc',
        env: tunablesEnv(each.settings),
        touch: 'page',
        threads: 'recorded',
        bare: true,
        ...(each.processors === 1 ? { cpus: '0' } : {}),
      });
      each.cpu_ns.push(rounds[0].cpu_ns);
      each.wall_ns.push(rounds[0].wall_ns);
      progress(run * cases.length + at + 1, runs * cases.length);
    }
  return cases;
}

const jitter_permille = 100;

/** In other orders of the threads, as many as there were runs; CPU time in the recorded order alone. */
export function threadRows(
  times: readonly ThreadTimes[],
  prices: ReplayPrices,
  glibc: (trace: Trace) => GlibcMachine,
  seed: number,
): ThreadRow[] {
  return times.flatMap(({ name, processors, trace, settings, cpu_ns, wall_ns }) => {
    const machine: MachineSetup = {
      ...nominal_machine,
      thinks: false,
      processors,
      shootdown_ns: prices.list.shootdown_ns ?? nominal_machine.shootdown_ns,
    };
    const place = glibc(trace);
    const makePeer = () => new Glibc(settings, place, touchIndex('page'));
    const replayed = { trace, touch: 'page', makePeer } as const;
    const { setup, makeWork } = workOf(replayed, prices, machine);
    const order = { runs: wall_ns.length, seed, jitter_permille };
    const { run_ns } = perturb(trace.chunks(), makeWork, setup, order);
    const { cpu_ns: predicted_ns } = predict(replayed, prices, machine);
    const label = `${name}, ${processors} processor${processors === 1 ? '' : 's'}`;
    return [
      {
        name: label,
        what: 'CPU' as const,
        measured_ns: spreadOf(cpu_ns),
        predicted_ns: { p10: predicted_ns, p50: predicted_ns, p90: predicted_ns },
      },
      { name: label, what: 'wall' as const, measured_ns: spreadOf(wall_ns), predicted_ns: spreadOf(run_ns) },
    ];
  });
}

function spreadOf(values: readonly number[]): Spread {
  return { p10: quantile(values, 0.1)!, p50: quantile(values, 0.5)!, p90: quantile(values, 0.9)! };
}
