/**
 * The models of allocators against the real libraries: `npm run verify:peers` replays scenarios and samples under each of
 * the settings and writes the table of docs/PEERS.md. Interrupted, it goes on where it stopped.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { ModelLimit } from '../../sim/peers/peer.ts';
import { boundaries_bytes } from '../../sim/spec.ts';
import { open, SyntheticTrace, writeHak } from '../../traces/index.ts';
import { markdownTable, writeBetween } from './markers.ts';
import {
  type Compared,
  comparePeer,
  difference,
  makeEventClock,
  type PeerComparison,
  type PeerSetting,
  withinChance,
} from './peer-check.ts';
import { peer_settings } from './peer-settings.ts';

/** Events: enough to reach every path, few enough to run under every setting. */
const scenario_events: Readonly<Record<string, number>> = {
  vm: 2000,
  vm4: 2000,
  churn: 300,
  mir: 4000,
  json: 4000,
  mixed: 3000,
};

const head = [
  'setting',
  'trace',
  'faults',
  'off by',
  'mmap',
  'munmap',
  'madvise',
  'calls off by',
  'peak MiB',
  'off by',
];

/** Small blocks alone, and nothing that the others do not show. */
const left_out = ['sqlite.hak', 'threads.hak', 'r-stacks.hak', 'redis.hak'];

const { values } = parseArgs({
  options: {
    allocator: { type: 'string', default: '' },
    subject: { type: 'string', default: '' },
    setting: { type: 'string', default: '' },
    out: { type: 'string', default: 'docs/PEERS.md' },
    state: { type: 'string', default: 'peers-state.log' },
    print: { type: 'boolean', default: false },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'hakmem-peers-'));
process.once('SIGINT', () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit(130);
});
try {
  const clock = makeEventClock(folder);
  const rows = before();
  const settings = peer_settings.filter(
    ({ allocator, name }) => allocator.includes(values.allocator) && name.includes(values.setting),
  );
  for (const setting of settings)
    for (const path of subjects()) {
      const subject = basename(path, '.hak');
      if (rows.some((row) => isOf(row, setting, subject))) continue;
      try {
        const row = await comparePeer(setting, subject, open(path), clock);
        rows.push(row);
        writeFileSync(values.state, `${JSON.stringify(row)}\n`, { flag: 'a' });
      } catch (error) {
        if (!(error instanceof ModelLimit)) throw error;
        process.stderr.write(`hakmem: ${setting.allocator} ${setting.name} ${subject}: ${error.message}\n`);
      }
      process.stderr.write(`hakmem: ${setting.allocator} ${setting.name} ${subject}\n`);
    }
  const text = tables(rows);
  rmSync(values.state, { force: true });
  if (values.print || !writeBetween(values.out, 'peers', text)) process.stdout.write(`${text}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** What an earlier run came to before it was interrupted. */
function before(): PeerComparison[] {
  if (!existsSync(values.state)) return [];
  const lines = readFileSync(values.state, 'utf8').split('\n');
  return lines.filter((text) => text !== '').map((text) => JSON.parse(text) as PeerComparison);
}

function isOf(row: PeerComparison, { allocator, name }: PeerSetting, subject: string): boolean {
  return row.allocator === allocator && row.setting === name && row.subject === subject;
}

function subjects(): string[] {
  const generated = Object.entries(scenario_events).map(([name, events]) => {
    const path = join(folder, `${name}.hak`);
    const trace = new SyntheticTrace(name, { events, seed: 1, boundaries_bytes });
    writeHak(path, trace.chunks(), trace.columns, () => trace.origin);
    return path;
  });
  const samples = readdirSync('traces/samples').filter((file) => file.endsWith('.hak') && !left_out.includes(file));
  return [...generated, ...samples.sort().map((file) => join('traces/samples', file))].filter((path) =>
    basename(path).includes(values.subject),
  );
}

/** One table for each allocator and version. */
function tables(rows: readonly PeerComparison[]): string {
  const versions = [...new Set(rows.map(({ allocator, version }) => `${allocator} ${version ?? ''}`))];
  return versions
    .map((name) => {
      const own = rows.filter(({ allocator, version }) => `${allocator} ${version ?? ''}` === name);
      return `### ${name}\n\n${markdownTable(head, own.map(line))}`;
    })
    .join('\n\n');
}

function line(row: PeerComparison): string[] {
  const { modelled, measured } = row;
  const both = (what: 'faults' | 'mmap' | 'munmap' | 'madvise'): string => `${modelled[what]} / ${measured[what]}`;
  const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  return [
    row.setting,
    row.subject,
    both('faults'),
    percent(row, 'faults'),
    both('mmap'),
    both('munmap'),
    both('madvise'),
    percent(row, 'calls'),
    `${mebibytes(modelled.resident_peak_bytes)} / ${mebibytes(measured.resident_peak_bytes)}`,
    percent(row, 'resident_peak_bytes'),
  ];
}

function percent(row: PeerComparison, what: keyof Compared): string {
  const chance = row.range.length > 1 && withinChance(row, what) ? ', chance' : '';
  return `${(100 * difference(row, what)).toFixed(1)} %${chance}`;
}
