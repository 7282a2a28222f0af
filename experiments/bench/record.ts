/**
 * What recording costs: each program runs with and without the recorder, in pairs of random order, and the ratio of the
 * processor time it used (user + system, by wait4) is given with a bootstrapped interval. Nothing is merged meanwhile.
 *
 *     node dist/experiments/bench/record.js [--pairs N] [--json] [NAME...]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import seedrandom from 'seedrandom';
import { MergedStreams, readProcesses } from '../../traces/recording-streams.ts';
import { packageRoot } from '../record.ts';

interface Subject {
  readonly name: string;
  readonly command: readonly string[];
  /** Of the ratio's upper end. */
  readonly target: number | null;
}

interface Row {
  readonly name: string;
  readonly pairs: number;
  readonly events: number;
  /** How often the program calls the allocator, a second of its processor time without the recorder. */
  readonly events_per_cpu_second: number;
  readonly cpu_ms: number;
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
  readonly ns_per_event: number;
  readonly target: number | null;
}

const root = packageRoot();
const workloads = join(root, 'traces', 'samples', 'workloads');
const subjects: readonly Subject[] = [
  { name: 'sqlite3', command: ['sqlite3', ':memory:', `.read ${join(workloads, 'bench.sql')}`], target: 1.15 },
  { name: 'python3', command: ['/usr/bin/python3', join(workloads, 'json-zlib.py'), '12'], target: 1.15 },
  { name: 'python3-numpy', command: ['/usr/bin/python3', join(workloads, 'arrays.py'), '12'], target: 1.15 },
  { name: 'threads', command: ['BOOKS', '100', '40'], target: 1.15 },
  { name: 'ffmpeg', command: ['sh', join(workloads, 'ffmpeg.sh')], target: 1.15 },
  { name: 'node', command: [process.execPath, join(workloads, 'buffers.mjs'), '300'], target: 1.2 },
  // Nearly nothing but allocations: what a recorder costs at its worst.
  { name: 'node-start', command: [process.execPath, '-e', '0'], target: 1.2 },
  { name: 'threads-storm', command: ['BOOKS', '300', '1'], target: null },
];

function main(): void {
  const { values, positionals } = parseArgs({
    options: { pairs: { type: 'string', default: '20' }, json: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const random = seedrandom('record');
  const directory = mkdtempSync(join(tmpdir(), 'hakmem-bench-'));
  const books = join(directory, 'books');
  spawnSync('c++', ['-O2', '-std=c++17', '-pthread', '-o', books, join(workloads, 'threads.cc')], { stdio: 'inherit' });
  try {
    const rows: Row[] = [];
    for (const { command: words, ...rest } of subjects) {
      const subject = { ...rest, command: words.map((word) => (word === 'BOOKS' ? books : word)) };
      if (positionals.length > 0 && !positionals.includes(subject.name)) continue;
      rows.push(measure(subject, Number(values.pairs), directory, random));
      if (!values.json) process.stdout.write(`${line(rows.at(-1)!)}\n`);
    }
    const machine = {
      processor: cpus()[0]?.model,
      cpus: cpus().length,
      kernel: release(),
      date: new Date().toISOString(),
    };
    if (values.json) process.stdout.write(`${JSON.stringify({ machine, rows }, null, 2)}\n`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function measure(subject: Subject, pairs: number, directory: string, random: () => number): Row {
  run(subject, directory, false);
  const { events } = run(subject, directory, true);
  const plain: number[] = [];
  const recorded: number[] = [];
  for (let pair = 0; pair < pairs; pair += 1) {
    const order = random() < 0.5 ? [false, true] : [true, false];
    for (const with_recorder of order)
      (with_recorder ? recorded : plain).push(run(subject, directory, with_recorder, false).cpu_ns);
  }
  const ratios = recorded.map((cpu_ns, at) => cpu_ns / plain[at]);
  const { low, high } = bootstrapped(ratios, random);
  const ratio = median(ratios);
  return {
    name: subject.name,
    pairs,
    events,
    events_per_cpu_second: (events / median(plain)) * 1e9,
    cpu_ms: median(plain) / 1e6,
    ratio,
    low,
    high,
    ns_per_event: ((ratio - 1) * median(plain)) / Math.max(1, events),
    target: subject.target,
  };
}

function run(
  subject: Subject,
  directory: string,
  with_recorder: boolean,
  counted = true,
): { cpu_ns: number; events: number } {
  const folder = join(directory, 'raw');
  mkdirSync(folder);
  const report = join(folder, 'report');
  const build = join(root, 'native', 'build');
  const recorder = {
    HAKMEM_RECORD_PRELOAD: join(build, 'libhakmem-record.so'),
    HAKMEM_RECORD_DIR: folder,
    HAKMEM_RECORD_CLOCK: 'tsc',
    HAKMEM_RECORD_STACKS: '1',
  };
  const { status } = spawnSync(join(build, 'hak-record'), [report, ...subject.command], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...(with_recorder ? recorder : {}) },
  });
  if (status !== 0 || !existsSync(report)) throw new Error(`${subject.name} ended with ${status}`);
  const { user_ns, sys_ns } = JSON.parse(readFileSync(report, 'utf8')) as { user_ns: number; sys_ns: number };
  let events = 0;
  for (const recorded of with_recorder && counted ? readProcesses(folder) : []) {
    const streams = new MergedStreams(recorded);
    for (; streams.top() !== undefined; streams.pop()) events += 1;
  }
  rmSync(folder, { recursive: true });
  return { cpu_ns: user_ns + sys_ns, events };
}

/** The middle 95 % of the medians of samples drawn with replacement. */
function bootstrapped(values: readonly number[], random: () => number): { low: number; high: number } {
  const medians = Array.from({ length: 2000 }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)])),
  ).sort((a, b) => a - b);
  return { low: medians[50], high: medians[1949] };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function line(row: Row): string {
  const target = row.target === null ? '' : row.high <= row.target ? ` within ${row.target}` : ` ABOVE ${row.target}`;
  return [
    row.name.padEnd(14),
    `${row.events} events`.padStart(16),
    `${row.cpu_ms.toFixed(0)} ms`.padStart(9),
    `${row.ratio.toFixed(3)} [${row.low.toFixed(3)}, ${row.high.toFixed(3)}]`.padStart(24),
    `${row.ns_per_event.toFixed(0)} ns/event`.padStart(14),
    `${(row.events_per_cpu_second / 1e6).toFixed(2)} M events/s`.padStart(17),
    target,
  ].join(' ');
}

main();
