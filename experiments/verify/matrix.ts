/**
 * Every sample and scenario, in every mode, under every touch model, on the real kernel many times in a row: `npm run
 * verify:matrix`. Writes docs/MATRIX.md and exits 1 at any difference. Interrupted, it goes on where it stopped.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { probeProfile, replayReal } from '../../native/index.ts';
import { holdKhugepaged } from '../../native/khugepaged.ts';
import {
  boundaries_bytes,
  configOf,
  enums,
  firstDifference,
  type Mode,
  mode_names,
  prices,
  replay,
  type Setup,
  type TouchModel,
} from '../../sim/index.ts';
import { open, SyntheticTrace, scenario_names, writeHak } from '../../traces/index.ts';
import { failing } from '../crosscheck.ts';

/** Events a scenario is run with: enough to reach every path, few enough to run it hundreds of times. */
const scenario_events: Record<string, number> = {
  'vm-cold': 20,
  vm: 200,
  vm4: 200,
  json: 4000,
  mir: 4000,
  mixed: 3000,
  churn: 400,
  edges: 1500,
  drift: 2000,
};

interface Cell {
  readonly trace: string;
  readonly events: number;
  readonly mode: Mode;
  readonly touch: TouchModel;
  readonly faults: number;
  readonly huge_faults: number | null;
  readonly runs: number;
  readonly equal: number;
  readonly difference: string | null;
}

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    only: { type: 'string', default: '' },
    state: { type: 'string', default: 'matrix-state.log' },
    out: { type: 'string', default: 'docs/MATRIX.md' },
  },
});

const profile = probeProfile();
if (profile === null) {
  process.stderr.write('hakmem: the matrix needs the native part: npm run build\n');
  process.exit(1);
}
if (holdKhugepaged() === null)
  process.stderr.write('hakmem: khugepaged cannot be held: it may disturb a run, which is then named\n');
const folder = mkdtempSync(join(tmpdir(), 'hakmem-matrix-'));
process.once('SIGINT', () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit(130);
});
try {
  const cells = await matrix();
  writeFileSync(values.out, page(cells));
  const wrong = cells.filter(({ runs, equal }) => equal < runs);
  for (const { trace, mode, touch, difference } of wrong)
    process.stderr.write(`hakmem: ${trace} ${mode} ${touch}: ${difference}\n`);
  const runs = cells.reduce((sum, cell) => sum + cell.runs, 0);
  process.stdout.write(`${cells.length} cells, ${runs} runs on the real kernel, ${wrong.length} cells differ\n`);
  rmSync(values.state, { force: true });
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function matrix(): Promise<Cell[]> {
  const done = new Map<string, Cell>(
    existsSync(values.state)
      ? readFileSync(values.state, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as Cell)
          .map((cell) => [nameOf(cell), cell])
      : [],
  );
  const cells: Cell[] = [];
  for (const path of traces())
    for (const touch of enums.touch)
      for (const mode of mode_names) {
        const name = nameOf({ trace: basename(path, '.hak'), touch, mode });
        const cell = done.get(name) ?? (await run(path, mode, touch));
        cells.push(cell);
        if (!done.has(name)) writeFileSync(values.state, `${JSON.stringify(cell)}\n`, { flag: 'a' });
        process.stderr.write(`hakmem: ${cells.length} cells, ${name}: ${cell.equal} of ${cell.runs} equal\n`);
      }
  return cells;
}

function traces(): string[] {
  const samples = readdirSync('traces/samples')
    .filter((file) => file.endsWith('.hak'))
    .map((file) => join('traces/samples', file));
  const generated = scenario_names.map((name) => {
    const path = join(folder, `${name}.hak`);
    const trace = new SyntheticTrace(name, { events: scenario_events[name], seed: 1, boundaries_bytes });
    writeHak(path, trace.chunks(), { time: false, sites: true, touch: false }, () => trace.origin);
    return path;
  });
  return [...samples, ...generated].filter((path) => path.includes(values.only));
}

async function run(path: string, mode: Mode, touch: TouchModel): Promise<Cell> {
  const trace = open(path);
  const setup: Setup = { config: configOf(mode), prices, profile: profile!, touch, seed: 1 };
  const sim = replay(trace.chunks(), setup);
  let equal = 0;
  let difference: string | null = null;
  const runs = Number(values.runs);
  for (let at = 0; at < runs; at += 1) {
    const { result, preconditions } = await replayReal(path, trace.chunks(), setup);
    const found = firstDifference(sim, result, 'kernel');
    if (found === null) equal += 1;
    else
      difference ??= `${JSON.stringify(found)}; preconditions that do not hold: ${failing(preconditions).join(', ') || 'none'}`;
  }
  const { faults, huge_faults, events } = sim;
  return { trace: basename(path, '.hak'), events, mode, touch, faults, huge_faults, runs, equal, difference };
}

function nameOf({ trace, mode, touch }: Pick<Cell, 'trace' | 'mode' | 'touch'>): string {
  return `${trace} ${touch} ${mode}`;
}

function page(cells: readonly Cell[]): string {
  const rows = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = `${cell.trace} | ${cell.events} | ${cell.touch}`;
    rows.set(key, [...(rows.get(key) ?? []), cell]);
  }
  const runs = cells.reduce((sum, cell) => sum + cell.runs, 0);
  const equal = cells.reduce((sum, cell) => sum + cell.equal, 0);
  return [
    '# Simulator against the real kernel',
    '',
    '`npm run verify:matrix` writes this page: every sample and scenario, in every mode, under every touch model, replayed by',
    'the simulator once and by `hak-replay` on the real kernel several times in a row, address randomisation on. A run is',
    'equal when decisions, system calls by kind, faults, huge faults, resident bytes and areas at every checkpoint are.',
    '',
    `Linux ${release()}, ${new Date().toISOString().slice(0, 10)}: ${equal} of ${runs} runs equal.`,
    '',
    `| trace | events | touch | ${mode_names.join(' | ')} |`,
    `|---|---|---|${mode_names.map(() => '---').join('|')}|`,
    ...[...rows].map(([key, row]) => `| ${key} | ${row.map(cellText).join(' | ')} |`),
    '',
    'A cell: faults (of them huge), runs equal of runs made.',
    '',
  ].join('\n');
}

function cellText({ faults, huge_faults, equal, runs }: Cell): string {
  return `${faults} (${huge_faults}), ${equal}/${runs}`;
}
