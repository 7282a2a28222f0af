/**
 * Whether the commands that read traces hold out on a long one: events a second, and resident memory at the peak.
 * Exit code 1 where a command takes more memory than it may.
 *
 *     node dist/experiments/bench/scale.js [--events N] [--folder DIR] [--json] [NAME...]
 *
 * 200 million events take half an hour and 40 GB of disk in the folder, the largest output at a time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeLongHak } from '../../traces/index.ts';
import { packageRoot } from '../record.ts';
import { formatBytes } from '../sizes.ts';
import { long_columns, long_origin, longTrace } from './long-trace.ts';
import { type Taken, taken } from './peak-memory.ts';

const peak_bytes_max = 500e6;

interface Row extends Taken {
  readonly name: string;
  readonly events_per_second: number;
}

const hakmem = join(packageRoot(), 'bin', 'hakmem.js');

/** Arguments by name; TRACE is the long trace, OUT a file that is removed after. */
function commandsOf(events: number): Readonly<Record<string, readonly string[]>> {
  const generate = (scenario: string) => ['generate', scenario, '--events', String(events), '-o', 'OUT'];
  const exported = (to: string) => ['export', 'TRACE', '--of', 'trace', '--to', to, '-o', 'OUT'];
  return {
    'generate churn': generate('churn'),
    'generate mixed': generate('mixed'),
    info: ['info', 'TRACE'],
    'info --json': ['info', '--json', 'TRACE'],
    'replay --check none': ['replay', '--check', 'none', 'TRACE'],
    diff: ['diff', 'TRACE', 'TRACE'],
    'diff --policy hakmem': ['diff', '--policy', 'hakmem', 'TRACE', 'TRACE'],
    'filter --size 1KiB:': ['filter', 'TRACE', '--size', '1KiB:', '-o', 'OUT'],
    'filter --sample 0.1': ['filter', 'TRACE', '--sample', '0.1', '-o', 'OUT'],
    anonymize: ['anonymize', 'TRACE', '-o', 'OUT'],
    ...Object.fromEntries(
      ['text', 'csv', 'wl', 'alk', 'speedscope', 'chrome', 'parquet'].map((to) => [`export --to ${to}`, exported(to)]),
    ),
  };
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      events: { type: 'string', default: '200000000' },
      folder: { type: 'string', default: tmpdir() },
      json: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const events = Number(values.events);
  const folder = mkdtempSync(join(values.folder, 'hakmem-scale-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  const trace = join(folder, 'long.hak');
  const output = join(folder, 'out');
  await writeLongHak(trace, longTrace(events), long_columns, () => long_origin);
  const rows: Row[] = [];
  for (const [name, words] of Object.entries(commandsOf(events))) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const args = words.map((word) => (word === 'TRACE' ? trace : word === 'OUT' ? output : word));
    const cost = await taken(process.execPath, [hakmem, ...args]);
    rmSync(output, { force: true });
    const read = words.filter((word) => word === 'TRACE').length * events;
    rows.push({ name, ...cost, events_per_second: (read > 0 ? read : events) / cost.seconds });
    if (!values.json) process.stdout.write(`${line(rows.at(-1)!)}\n`);
  }
  const machine = {
    processor: cpus()[0]?.model,
    cpus: cpus().length,
    kernel: release(),
    node: process.version,
    date: new Date().toISOString(),
  };
  if (values.json) process.stdout.write(`${JSON.stringify({ machine, events, rows }, null, 2)}\n`);
  const over = rows.filter(({ peak_bytes }) => peak_bytes > peak_bytes_max);
  for (const { name, peak_bytes } of over)
    process.stderr.write(`${name}: ${formatBytes(peak_bytes)}, wanted at most ${formatBytes(peak_bytes_max)}\n`);
  process.exit(over.length > 0 ? 1 : 0);
}

function line({ name, seconds, events_per_second, peak_bytes }: Row): string {
  return `${name.padEnd(22)}${`${(events_per_second / 1e6).toFixed(2)} M events/s`.padStart(18)}${`${seconds.toFixed(1)} s`.padStart(10)}${`${Math.round(peak_bytes / 1e6)} MB`.padStart(9)}`;
}

await main();
