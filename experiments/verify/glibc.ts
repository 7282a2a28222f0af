/**
 * The model of glibc beside the real library over scenarios and samples, each under many settings: `npm run verify:glibc`.
 * Writes the table of docs/GLIBC.md and exits 1 where a count lies further off than its bound. `-- --quick` tries a few
 * settings on short traces and writes nothing.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { probeProfile } from '../../native/index.ts';
import { counted_syscalls } from '../../native/replayer.ts';
import { boundaries_bytes, type KernelProfile } from '../../sim/index.ts';
import { type GlibcSettings, tunablesText } from '../../sim/peers/glibc/settings.ts';
import { FileSource, HakTrace, op, SyntheticTrace, writeHak } from '../../traces/index.ts';
import { Progress } from '../command.ts';
import { besideGlibc, type GlibcBeside, type GlibcDifference } from '../peers/glibc-beside.ts';
import { runningGlibc } from '../peers/glibc-machine.ts';
import { markdownTable, writeBetween } from './markers.ts';

const page = 'docs/GLIBC.md';
const samples = 'traces/samples';
const KiB = 1024;
const MiB = 1024 * KiB;
/** Relative errors that are still right: of faults, of faults where every block is large, of calls. */
const bounds = { faults: 0.01, faults_of_large: 0.001, calls: 0.01 } as const;
const large_from_bytes = 64 * KiB;
/** A thread that exits after its last event frees its cache, before the counters are read; so madvise is left out. */
const calls = counted_syscalls.filter((name) => name !== 'madvise');

/** Events a scenario is run with. */
const scenario_events = { vm: 200, vm4: 200, json: 4000, mir: 1000, mixed: 2000, churn: 100 } as const;

/** A trace, and the settings under which it is replayed. */
export interface Subject {
  readonly name: string;
  readonly path: string;
  readonly settings: readonly GlibcSettings[];
}

/** Of one subject, the worst of its settings. */
export interface Comparison {
  readonly subject: string;
  readonly settings: number;
  readonly events: number;
  readonly misplaced: number;
  readonly faults_error: number;
  readonly calls_error: Readonly<Record<string, number>>;
  readonly resident_error: number;
  /** Runs that are not alike in every event and every count, a line each. */
  readonly differing: readonly string[];
  /** Those of them that lie beyond a bound. */
  readonly beyond: readonly string[];
}

/** Twelve thresholds from 512 KiB to 32 MiB, in whole pages; six at which the top is given back, to 128 MiB. */
export function thresholdGrid(): GlibcSettings[] {
  const maps = Array.from({ length: 12 }, (_, at) => 4096 * Math.round((512 * KiB * 2 ** ((6 * at) / 11)) / 4096));
  const trims = Array.from({ length: 6 }, (_, at) => 128 * KiB * 4 ** at);
  return maps.flatMap((mmap_threshold) => trims.map((trim_threshold) => ({ mmap_threshold, trim_threshold })));
}

/** What samples are replayed under: nothing set, then each kind of setting. */
const sample_settings: readonly GlibcSettings[] = [
  {},
  { mmap_threshold: 64 * KiB },
  { mmap_threshold: 64 * MiB },
  { mmap_max: 0 },
  { mmap_max: 3 },
  { top_pad: 1 * MiB },
  { trim_threshold: 1 * MiB },
  { tcache_count: 0 },
  { tcache_max: 128 },
  { mxfast: 0 },
  { mxfast: 160, tcache_count: 2 },
  { arena_max: 1 },
  { arena_max: 2 },
];

/** Scenarios are written into `folder`. */
export function subjectsIn(folder: string, quick: boolean): Subject[] {
  const grid = thresholdGrid();
  const generated = Object.entries(scenario_events).map(([name, events]): Subject => {
    const path = join(folder, `${name}.hak`);
    const trace = new SyntheticTrace(name, {
      events: quick ? Math.ceil(events / 10) : events,
      seed: 1,
      boundaries_bytes,
    });
    writeHak(path, trace.chunks(), { time: false, sites: true, touch: false }, () => trace.origin);
    return { name, path, settings: quick ? [grid[0], grid[40]] : grid };
  });
  const recorded = readdirSync(samples)
    .filter((name) => name.endsWith('.hak') && (!quick || name === 'sqlite.hak'))
    .sort()
    .map((name): Subject => {
      const settings = quick ? sample_settings.slice(0, 2) : sample_settings;
      return { name: basename(name, '.hak'), path: join(samples, name), settings };
    });
  return [...generated, ...recorded];
}

/** Rejects as besideGlibc does. */
export async function compare(
  subject: Subject,
  profile: KernelProfile,
  done: () => void = () => {},
  signal?: AbortSignal,
): Promise<Comparison> {
  const source = new FileSource(subject.path);
  try {
    const trace = new HakTrace(source);
    const bound = { ...bounds, faults: allLarge(trace) ? bounds.faults_of_large : bounds.faults };
    const tally = new Tally(subject, bound);
    for (const settings of subject.settings) {
      tally.add(settings, await besideGlibc(trace, settings, profile, 'recorded', signal));
      done();
    }
    return tally.comparison();
  } finally {
    source.close();
  }
}

function allLarge(trace: HakTrace): boolean {
  for (const { op: kinds, size_bytes, length } of trace.chunks())
    for (let row = 0; row < length; row += 1)
      if (kinds[row] !== op.free && size_bytes[row] < large_from_bytes) return false;
  return true;
}

class Tally {
  private readonly subject: Subject;
  private readonly bound: { readonly faults: number; readonly calls: number };
  private events = 0;
  private misplaced = 0;
  private faults_error = 0;
  private resident_error = 0;
  private readonly calls_error: Record<string, number> = Object.fromEntries(calls.map((name) => [name, 0]));
  private readonly differing: string[] = [];
  private readonly beyond: string[] = [];

  constructor(subject: Subject, bound: { readonly faults: number; readonly calls: number }) {
    this.subject = subject;
    this.bound = bound;
  }

  add(settings: GlibcSettings, found: GlibcBeside): void {
    const { model, real, first_difference, compared_events, misplaced } = found;
    const [round] = real.rounds;
    const counted = round.syscalls;
    if (counted === null)
      throw new Error('system calls cannot be counted here: perf_event_open and tracefs are needed');
    const faults_error = relative(model.faults, round.faults);
    const call_errors = calls.map((name) => [name, relative(model.syscalls[name], counted[name])] as const);
    const off = call_errors.filter(([, error]) => error > 0);
    this.events += compared_events;
    this.misplaced += misplaced;
    this.faults_error = Math.max(this.faults_error, faults_error);
    for (const [name, error] of call_errors) this.calls_error[name] = Math.max(this.calls_error[name], error);
    this.resident_error = Math.max(
      this.resident_error,
      relative(model.resident_bytes.peak, round.resident_peak_bytes - round.resident_start_bytes),
    );
    if (first_difference === null && faults_error === 0 && off.length === 0) return;
    const where = first_difference === null ? 'every event alike' : differenceText(first_difference);
    const counts = [
      `faults ${model.faults} for ${round.faults}`,
      ...off.map(([name]) => `${name} ${model.syscalls[name]} for ${counted[name]}`),
    ];
    const line = `${this.subject.name}, ${tunablesText(settings) || 'nothing set'}: ${where}; ${counts.join(', ')}`;
    this.differing.push(line);
    if (faults_error > this.bound.faults || off.some(([, error]) => error > this.bound.calls)) this.beyond.push(line);
  }

  comparison(): Comparison {
    const { subject, events, misplaced, faults_error, calls_error, resident_error } = this;
    const { differing, beyond } = this;
    return {
      ...{ subject: subject.name, settings: subject.settings.length, events, misplaced },
      ...{ faults_error, calls_error, resident_error, differing, beyond },
    };
  }
}

const differenceText = ({ event, field, model, real }: GlibcDifference): string =>
  `event ${event}: ${field} ${model} in the model, ${real} in the library`;

/** Of what is right; where that is nothing, of one. */
const relative = (found: number, right: number): number => Math.abs(found - right) / Math.max(1, right);

/** The table as the page has it. */
export function markdownOf(comparisons: readonly Comparison[]): string {
  const head = ['trace', 'settings', 'events compared', 'misplaced', 'faults', ...calls, 'resident peak'];
  const rows = comparisons.map(
    ({ subject, settings, events, misplaced, faults_error, calls_error, resident_error }) => [
      ...[subject, settings, events, misplaced, percent(faults_error)],
      ...calls.map((name) => percent(calls_error[name])),
      percent(resident_error),
    ],
  );
  return markdownTable(head, rows);
}

const percent = (share: number): string => (share === 0 ? '0' : `${(100 * share).toFixed(3)} %`);

function machineText(): string {
  return `glibc ${runningGlibc()}, Linux ${release()}, ${cpus().length} of ${cpus()[0].model.trim()}, ${new Date().toISOString().slice(0, 10)}`;
}

/** Why nothing can be compared here, in one line; null where it can. */
function trouble(profile: KernelProfile | null): string | null {
  if (runningGlibc() === null) return 'this process does not run on glibc';
  if (profile === null) return 'the native part is not built: run npm run build, with gcc and make installed';
  return null;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { quick: { type: 'boolean', default: false }, progress: { type: 'boolean', default: false } },
  });
  const profile = probeProfile();
  const missing = trouble(profile);
  if (missing !== null) {
    process.stderr.write(`hakmem: ${missing}\n`);
    process.exitCode = 1;
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-verify-glibc-'));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  try {
    const subjects = subjectsIn(folder, values.quick);
    const total = subjects.reduce((sum, { settings }) => sum + settings.length, 0);
    const progress = new Progress('glibc, runs', values.progress);
    const comparisons: Comparison[] = [];
    let done = 0;
    const tick = (): void => {
      done += 1;
      progress.update(done, total);
    };
    for (const subject of subjects) comparisons.push(await compare(subject, profile!, tick, stop.signal));
    progress.finish();
    close(comparisons, total, values.quick);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.exitCode = 130;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function close(comparisons: readonly Comparison[], runs: number, quick: boolean): void {
  const events = comparisons.reduce((sum, each) => sum + each.events, 0);
  const differing = comparisons.flatMap((each) => each.differing);
  const beyond = comparisons.flatMap((each) => each.beyond);
  const counts = `${runs} runs, ${events} events; differing: ${differing.length}, of them beyond the bounds: ${beyond.length}`;
  const named = differing.length === 0 ? '' : `\n\nDiffering:\n\n${differing.map((line) => `- ${line}`).join('\n')}`;
  const table = `${machineText()}: ${counts}.\n\n${markdownOf(comparisons)}${named}`;
  for (const line of differing) process.stderr.write(`hakmem: ${line}\n`);
  if (quick) process.stdout.write(`${table}\n`);
  else if (!writeBetween(page, 'glibc', table)) throw new Error(`${page}: no markers`);
  process.stdout.write(`${counts}\n`);
  process.exitCode = beyond.length === 0 ? 0 : 1;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
