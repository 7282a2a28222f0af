/**
 * What recording costs: each program runs without the recorder, with it in each of its ways, and under heaptrack, in rounds
 * of random order. Ratios are of the processor time of the program and its children (user + system, by wait4), paired by
 * round, with a bootstrapped interval. Nothing is merged meanwhile. Programs that are not installed are left out.
 *
 *     node dist/experiments/bench/record.js [--rounds N] [--json] [NAME...]
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import seedrandom from 'seedrandom';
import { writeHak } from '../../traces/file.ts';
import { Recording, readProcesses } from '../../traces/recording.ts';
import { findProgram } from '../program-file.ts';
import { packageRoot } from '../record.ts';

interface Subject {
  readonly name: string;
  readonly command: readonly string[];
  /** What is done with a server while it runs; it must end in the end. */
  readonly load?: string;
  /** Libraries that stand before the program's own: to have glibc's allocator in all ways. */
  readonly preload?: string;
}

const root = packageRoot();
const build = join(root, 'native', 'build');
const workloads = join(root, 'traces', 'samples', 'workloads');
const heaptrack = '/usr/lib/heaptrack/libheaptrack_preload.so';
const libc = '/lib/x86_64-linux-gnu/libc.so.6';
const port = '17391';

const octave_cells = `x = cell(1, 15000); for i = 1:15000, x{i} = sprintf('%d', i); end; y = [x{:}];`;
const redis_load = `for i in $(seq 100); do redis-cli -p ${port} ping >/dev/null 2>&1 && break; sleep 0.05; done
timeout 30 redis-benchmark -p ${port} -q -n 40000 -r 20000 -d 100 -P 8 -t set,get,lpush,hset >/dev/null
redis-cli -p ${port} shutdown nosave >/dev/null 2>&1`;

const subjects: readonly Subject[] = [
  { name: 'cc1', command: ['gcc', '-O2', '-c', '-o', '/dev/null', join(root, 'native', 'record.c')] },
  { name: 'python3', command: ['python3', join(workloads, 'json-zlib.py'), '12'] },
  { name: 'sqlite3', command: ['sqlite3', ':memory:', `.read ${join(workloads, 'bench.sql')}`] },
  { name: 'git', command: ['git', '-C', root, '--no-pager', 'log', '-p', '-n', '120'] },
  { name: 'node', command: [process.execPath, join(workloads, 'buffers.mjs'), '300'] },
  {
    name: 'redis',
    command: ['redis-server', '--port', port, '--save', '', '--dir', tmpdir()],
    load: redis_load,
    preload: libc,
  },
  { name: 'octave', command: ['octave-cli', '--norc', '--eval', octave_cells] },
  { name: 'ffmpeg', command: ['sh', join(workloads, 'ffmpeg.sh')] },
  { name: 'threads', command: ['BOOKS', '100', '40'] },
  // Nearly nothing but allocations: what a recorder costs at its worst.
  { name: 'node-start', command: [process.execPath, '-e', '0'] },
  { name: 'threads-storm', command: ['BOOKS', '300', '1'] },
];

const ways = {
  none: {},
  full: {},
  large: { HAKMEM_RECORD_MIN_SIZE: '64KiB' },
  sampled: { HAKMEM_RECORD_SAMPLE: '512KiB' },
  heaptrack: {},
} as const;
type Way = keyof typeof ways;

/** Of the ratio, but of `full` in ns an event. */
const targets: Partial<Record<Way, number>> = { full: 60, large: 1.03, sampled: 1.02 };

interface Cost {
  readonly way: Way;
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
  /** Of all the program's events, recorded or not. */
  readonly ns_per_event: number;
}

interface Row {
  readonly name: string;
  readonly rounds: number;
  readonly events: number;
  readonly cpu_ms: number;
  readonly costs: readonly Cost[];
  readonly hak_bytes_per_event: number;
  readonly hak_bytes_per_event_bare: number;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { rounds: { type: 'string', default: '10' }, json: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const random = seedrandom('record');
  const directory = mkdtempSync(join(tmpdir(), 'hakmem-bench-'));
  const books = join(directory, 'books');
  spawnSync('c++', ['-O2', '-std=c++17', '-pthread', '-o', books, join(workloads, 'threads.cc')], { stdio: 'inherit' });
  const measured = (Object.keys(ways) as Way[]).filter((way) => way !== 'heaptrack' || existsSync(heaptrack));
  if (measured.length < Object.keys(ways).length) process.stderr.write(`heaptrack: skipped, no ${heaptrack}\n`);
  try {
    const rows: Row[] = [];
    for (const { command: words, ...rest } of subjects) {
      const subject = { ...rest, command: words.map((word) => (word === 'BOOKS' ? books : word)) };
      if (positionals.length > 0 && !positionals.includes(subject.name)) continue;
      if (!isInstalled(subject)) continue;
      rows.push(await measure(subject, measured, Number(values.rounds), directory, random));
      if (!values.json) process.stdout.write(`${lines(rows.at(-1)!).join('\n')}\n`);
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

function isInstalled({ name, command }: Subject): boolean {
  try {
    findProgram(command[0]);
    return true;
  } catch {
    process.stderr.write(`${name}: skipped, ${command[0]} is not installed\n`);
    return false;
  }
}

async function measure(
  subject: Subject,
  wanted: readonly Way[],
  rounds: number,
  directory: string,
  random: () => number,
): Promise<Row> {
  const folder = join(directory, 'raw');
  const measured: Way[] = [...wanted];
  if (measured.includes('heaptrack'))
    await run(subject, folder, 'heaptrack').catch((error: Error) => {
      process.stderr.write(`${error.message}: heaptrack is skipped\n`);
      measured.pop();
    });
  const cpu_ns = new Map<Way, number[]>(measured.map((way) => [way, []]));
  await run(subject, folder, 'none');
  await run(subject, folder, 'full');
  const size = sizeOf(folder);
  rmSync(folder, { recursive: true });
  for (let round = 0; round < rounds; round += 1)
    for (const way of shuffled(measured, random)) {
      cpu_ns.get(way)!.push(await run(subject, folder, way));
      rmSync(folder, { recursive: true });
    }
  const plain = cpu_ns.get('none')!;
  const costs = measured.slice(1).map((way) => {
    const ratios = cpu_ns.get(way)!.map((ns, round) => ns / plain[round]);
    const more = cpu_ns.get(way)!.map((ns, round) => ns - plain[round]);
    return {
      way,
      ratio: median(ratios),
      ...bootstrapped(ratios, random),
      ns_per_event: median(more) / Math.max(1, size.events),
    };
  });
  return { name: subject.name, rounds, cpu_ms: median(plain) / 1e6, costs, ...size };
}

/** Processor time of the program and its children, in ns; what was recorded is left in `folder`. */
async function run(subject: Subject, folder: string, way: Way): Promise<number> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const report = join(folder, 'report');
  const libraries: Partial<Record<Way, string>> = {
    none: subject.preload ?? '',
    heaptrack: [heaptrack, subject.preload].filter((library) => library !== undefined).join(':'),
  };
  const launcher = spawn(join(build, 'hak-record'), [report, ...subject.command], {
    stdio: ['ignore', 'ignore', 'ignore'],
    env: {
      ...process.env,
      HAKMEM_RECORD_PRELOAD: libraries[way] ?? join(build, 'libhakmem-record.so'),
      ...(libraries[way] === undefined ? { HAKMEM_RECORD_DIR: folder, HAKMEM_RECORD_CLOCK: 'tsc' } : {}),
      ...(way === 'heaptrack' ? { DUMP_HEAPTRACK_OUTPUT: join(folder, 'heaptrack.$$') } : {}),
      ...ways[way],
    },
  });
  const ended = new Promise<number | null>((resolve) => launcher.once('exit', resolve));
  if (subject.load !== undefined) spawnSync('sh', ['-c', subject.load], { stdio: 'ignore' });
  const status = await Promise.race([ended, sleep(120_000, 'late', { ref: false })]);
  if (status !== 0 || !existsSync(report)) {
    launcher.kill('SIGKILL');
    throw new Error(`${subject.name} (${way}) ended with ${status}`);
  }
  const { user_ns, sys_ns } = JSON.parse(readFileSync(report, 'utf8')) as { user_ns: number; sys_ns: number };
  return user_ns + sys_ns;
}

/** Events of all processes, and bytes of their `.hak` files with all columns and without time and sites. */
function sizeOf(folder: string): Pick<Row, 'events' | 'hak_bytes_per_event' | 'hak_bytes_per_event_bare'> {
  const path = join(folder, 'x.hak');
  const written = (has_all: boolean): { events: number; bytes: number } => {
    let [events, bytes] = [0, 0];
    for (const recorded of readProcesses(folder)) {
      const recording = new Recording(recorded, null);
      const columns = { time: has_all, sites: has_all, touch: false };
      const origin = () => ({ ...recording.origin(''), ...(has_all ? {} : { sites: [] }) });
      events += writeHak(path, recording.chunks(), columns, origin).events;
      bytes += statSync(path).size;
    }
    return { events, bytes };
  };
  const [all, bare] = [written(true), written(false)];
  const per_event = Math.max(1, all.events);
  return {
    events: all.events,
    hak_bytes_per_event: all.bytes / per_event,
    hak_bytes_per_event_bare: bare.bytes / per_event,
  };
}

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  return items
    .map((item) => ({ item, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
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

/** Rows of the table in docs/RECORDING.md. */
function lines(row: Row): string[] {
  const cells = row.costs.map(({ way, ratio, low, high, ns_per_event }) => {
    const found = way === 'full' ? ns_per_event : ratio;
    const missed = found > (targets[way] ?? Number.POSITIVE_INFINITY) ? ' **missed**' : '';
    return `${ratio.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}] ${ns_per_event.toFixed(0)} ns${missed}`;
  });
  const sizes = [row.hak_bytes_per_event, row.hak_bytes_per_event_bare].map((bytes) => bytes.toFixed(1));
  const rate = (row.events / row.cpu_ms / 1000).toFixed(2);
  while (cells.length < Object.keys(ways).length - 1) cells.push('-');
  return [
    `| ${[row.name, row.events.toLocaleString('en'), `${row.cpu_ms.toFixed(0)} ms`, rate, ...cells, ...sizes].join(' | ')} |`,
  ];
}

await main();
