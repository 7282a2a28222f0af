/** Programs run whole under several settings, and the difference that their traces predict: not their time, only what changes. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { median } from 'd3-array';
import { measureProgram } from '../../../native/measure.ts';
import { timedPeer } from '../../../sim/index.ts';
import { touchIndex } from '../../../sim/kernel/touch.ts';
import type { GlibcSettings } from '../../../sim/peers/glibc/settings.ts';
import { Glibc, type GlibcMachine } from '../../../sim/peers/glibc.ts';
import { type HakTrace, open, type Trace } from '../../../traces/index.ts';
import type { PriceList } from '../../calibrate/price-file.ts';
import { tunablesEnv } from '../../peers/tunables.ts';
import { packageRoot } from '../../record.ts';
import { chooseTouch } from '../../setup.ts';
import { type Interval, intervalOf } from '../../statistics.ts';
import { serial_machine } from '../../time-check/prediction.ts';
import { timePrices } from '../../timed.ts';

const KiB = 2 ** 10;

export interface Alternative {
  readonly name: string;
  readonly settings: GlibcSettings;
}

/** Beside the default: as much mapped as is sensible, and nothing mapped or given back. */
export const alternatives: readonly Alternative[] = [
  { name: 'mmap_threshold=64K', settings: { mmap_threshold: 64 * KiB } },
  { name: 'mmap_max=0 trim_threshold=1G', settings: { mmap_max: 0, trim_threshold: 2 ** 30 } },
];

export interface RecordedProgram {
  readonly name: string;
  readonly argv: readonly string[];
  readonly trace: HakTrace;
}

/** Those that can run here, recorded afresh with `--touch`; and why others are left out. */
export async function recordPrograms(
  folder: string,
  quick: boolean,
): Promise<{ readonly programs: RecordedProgram[]; readonly left_out: string[] }> {
  const workloads = join(packageRoot(), 'traces', 'samples', 'workloads');
  const file = (name: string): string => join(workloads, name);
  const books = join(folder, 'books');
  const compiled = spawnSync('c++', ['-O2', '-std=c++17', '-pthread', '-o', books, file('threads.cc')]).status === 0;
  // The one on the path may be a script that looks for the real one.
  const numpy = spawnSync('python3', ['-c', 'import numpy, sys; print(sys.executable)'], { encoding: 'utf8' });
  const all: readonly { name: string; argv: readonly string[]; lacks: string | null }[] = [
    {
      name: 'python json-zlib',
      argv: ['/usr/bin/python3', file('json-zlib.py'), '7'],
      lacks: lacking('/usr/bin/python3'),
    },
    {
      name: 'sqlite words',
      argv: ['/usr/bin/sqlite3', ':memory:', `.read ${file('words.sql')}`],
      lacks: lacking('/usr/bin/sqlite3'),
    },
    { name: 'node buffers', argv: [process.execPath, file('buffers.mjs'), '20'], lacks: null },
    {
      name: 'numpy arrays',
      argv: [numpy.stdout?.trim() ?? '', file('arrays.py'), '4'],
      lacks: numpy.status === 0 ? null : 'no numpy for python3',
    },
    { name: 'threads', argv: [books, '40', '4'], lacks: compiled ? null : 'no C++ compiler' },
  ];
  const programs: RecordedProgram[] = [];
  const left_out: string[] = [];
  for (const [at, { name, argv, lacks }] of (quick ? all.slice(1, 2) : all).entries()) {
    if (lacks !== null) {
      left_out.push(`${name}: ${lacks}`);
      continue;
    }
    const path = join(folder, `program-${at}.hak`);
    await record(path, argv);
    if (existsSync(path)) programs.push({ name, argv, trace: open(path) as HakTrace });
    else left_out.push(`${name}: could not be recorded`);
  }
  return { programs, left_out };
}

const lacking = (path: string): string | null => (existsSync(path) ? null : `no ${path}`);

function record(path: string, argv: readonly string[]): Promise<void> {
  const args = [join(packageRoot(), 'bin', 'hakmem.js'), 'record', '-o', path, '--touch', '--', ...argv];
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  const stop = (): void => {
    child.kill();
  };
  process.once('exit', stop);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => {
      process.off('exit', stop);
      resolve();
    });
  });
}

/** CPU time by setting, the default first, by round. */
export async function measurePrograms(
  programs: readonly RecordedProgram[],
  rounds: number,
  progress: (done: number, total: number) => void,
): Promise<readonly (readonly (readonly number[])[])[]> {
  const settings: readonly GlibcSettings[] = [{}, ...alternatives.map((each) => each.settings)];
  const taken = programs.map(() => settings.map(() => [] as number[]));
  let done = 0;
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1)
    for (const [at, { argv }] of programs.entries())
      for (let turn = 0; turn < settings.length; turn += 1) {
        const which = (turn + round) % settings.length;
        const env = { ...process.env, ...tunablesEnv(settings[which]) };
        const { user_ns, sys_ns } = await measureProgram(argv, { env, output: 'discard' });
        if (round > 0) taken[at][which].push(user_ns + sys_ns);
        done += 1;
        progress(done, (rounds + 1) * programs.length * settings.length);
      }
  return taken;
}

export interface ProgramDifference {
  readonly program: string;
  readonly setting: string;
  readonly default_ns: number;
  /** Of CPU time, beyond the default's, round by round. */
  readonly measured_ns: Interval;
  readonly predicted_ns: number;
}

export function differencesOf(
  programs: readonly RecordedProgram[],
  taken: readonly (readonly (readonly number[])[])[],
  list: PriceList,
  glibc: (trace: Trace) => GlibcMachine,
  seed: number,
): ProgramDifference[] {
  return programs.flatMap(({ name, trace }, at) => {
    const predicted = (settings: GlibcSettings): number => {
      const touch = touchIndex(chooseTouch(trace, undefined));
      const setup = { prices: timePrices(list), machine: serial_machine, memory_limit_bytes: Number.POSITIVE_INFINITY };
      return timedPeer(trace.chunks(), () => new Glibc(settings, glibc(trace), touch), setup).cpu_ns;
    };
    const default_ns = predicted({});
    return alternatives.map((alternative, which) => ({
      program: name,
      setting: alternative.name,
      default_ns: median(taken[at][0])!,
      measured_ns: intervalOf(
        taken[at][which + 1].map((ns, round) => ns - taken[at][0][round]),
        seed,
      ),
      predicted_ns: predicted(alternative.settings) - default_ns,
    }));
  });
}
