/** `hakmem sweep TRACE...`: every combination of the axes, checked, resumable. */
import { accessSync, constants, existsSync, mkdtempSync, rmSync, statSync, writeSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import { nativeTrouble } from '../native/index.ts';
import { holdKhugepaged } from '../native/khugepaged.ts';
import { type Config, configOf, type Mode, type ParamName, param_names } from '../sim/index.ts';
import type { Trace } from '../traces/index.ts';
import { exit_codes, Progress, print, printJson, say, UsageError, wholeNumber } from './command.ts';
import { openTrace } from './open-trace.ts';
import { type LoadedPolicy, uncheckable } from './policy/module.ts';
import { addSetupOptions, type Chosen, choose, refuseUnasked, type SetupOptions } from './setup.ts';
import { type Axis, axisOf, parseAxis, readValue } from './sweep/axes.ts';
import type { Driver } from './sweep/driver.ts';
import type { Ingredients } from './sweep/plan.ts';
import type { PlanFile } from './sweep/plan-file.ts';
import { type Points, points_max, pointsOf } from './sweep/points.ts';
import { formatOf } from './sweep/results.ts';

const sweep_checks = ['none', 'decisions', 'kernel'] as const;

interface Options extends SetupOptions {
  readonly axis: readonly string[];
  readonly sobol?: number;
  readonly plan?: string;
  readonly jobs: number;
  readonly output?: string;
  readonly state?: string;
  readonly restart?: boolean;
  readonly check: (typeof sweep_checks)[number];
  readonly verifyBest: number;
  readonly verifySample: number;
  readonly holdKhugepaged?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function addSweep(program: Command): void {
  const repeated = (text: string, before: readonly string[]): readonly string[] => [...before, text];
  addSetupOptions(
    program
      .command('sweep')
      .description('simulate every combination of parameters on every trace, check every row')
      .argument('[trace...]', 'traces, unless the plan names them'),
  )
    .option('--axis <spec>', 'param=a,b,c or param=from:to:n; mode=A,B too; may be given again', repeated, [])
    .option('--sobol <n>', 'n Sobol points over the axes instead of the full grid', wholeNumber(1, points_max))
    .option('--plan <file>', 'a sweep written down, JSON: docs/sweep.schema.json')
    .option('--jobs <n>', 'worker processes', wholeNumber(1, 1024), availableParallelism())
    .option('-o, --output <file>', 'where rows go: .parquet, .ndjson or .csv')
    .option('--state <folder>', 'where unfinished work is kept; FILE.shards unless given')
    .option('--restart', 'throw away what an earlier sweep left there')
    .addOption(new Option('--check <level>', 'how far to check').choices(sweep_checks).default('kernel'))
    .option('--verify-best <k>', 'rows of each trace for the real kernel: the best', wholeNumber(0), 3)
    .option('--verify-sample <n>', 'and a seeded sample of the others', wholeNumber(0), 2)
    .option('--hold-khugepaged', 'let khugepaged sleep meanwhile (machine-wide, put back after; needs root)')
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(sweepCommand);
}

async function sweepCommand(args: readonly string[], given: Options, command: Command): Promise<void> {
  const started = performance.now();
  const { install_duckdb } = await import('./sweep/duckdb.ts');
  const { failuresOf } = await import('./sweep/failures.ts');
  const { LocalDriver } = await import('./sweep/local.ts');
  const { planOf } = await import('./sweep/plan.ts');
  const { runSweep } = await import('./sweep/run.ts');
  const { summaryOf, tableOf } = await import('./sweep/summary.ts');
  const { options, file } = await withPlan(given, command);
  const paths = args.length > 0 ? args : (file.traces ?? []);
  const { output } = options;
  if (output !== undefined) refuseOutput(output);
  const { ingredients, points } = await gather(paths, options, file);
  const { policy } = ingredients;
  const trouble =
    options.check === 'none' ? null : policy === null ? nativeTrouble() : uncheckable(policy, '--check none');
  if (options.holdKhugepaged === true && holdKhugepaged() === null)
    throw new UsageError(
      '--hold-khugepaged: this user may not write to /sys/kernel/mm/transparent_hugepage; wanted root',
    );
  const kept = options.state ?? (output === undefined ? null : `${output}.shards`);
  const state = kept ?? temporaryFolder();
  const progress = new Progress('sweeping', options.progress === true);
  const kernel_progress = new Progress('on the real kernel', options.progress === true);
  const driver = new LocalDriver(options.jobs);
  const release = onInterrupt(driver, kept);
  try {
    const swept = await runSweep({
      plan: planOf({ ...ingredients, check: options.check === 'none' || trouble !== null ? 'none' : 'decisions' }),
      state,
      restart: options.restart === true,
      driver,
      verify:
        options.check === 'kernel' && trouble === null
          ? { best: options.verifyBest, sample: options.verifySample }
          : null,
      output: output ?? null,
      progress: (resumed, done, total) => progress.update(done - resumed, total - resumed),
      verifying: (done, total) => kernel_progress.update(done, total),
    });
    progress.finish();
    kernel_progress.finish();
    const { skipped, skipped_reason } = points;
    const seconds = (performance.now() - started) / 1000;
    const summary = summaryOf(swept, { seconds, skipped, skipped_reason, jobs: options.jobs, state: kept });
    if (options.json) printJson(summary);
    else print(...tableOf(swept, summary));
    if (swept.output !== null && swept.output !== output)
      say(`rows are in ${swept.output}: Parquet needs DuckDB, which is not installed: ${install_duckdb}`);
    const failures = await failuresOf(swept, trouble);
    failures.forEach(say);
    if (failures.length > 0) process.exitCode = exit_codes.failed;
  } finally {
    release();
  }
}

/** The command line over the plan file: what is given twice is the command line's. */
async function withPlan(given: Options, command: Command): Promise<{ options: Options; file: PlanFile }> {
  if (given.plan === undefined) return { options: given, file: {} };
  const { readPlanFile } = await import('./sweep/plan-file.ts');
  const file = readPlanFile(given.plan);
  const planned = Object.fromEntries(
    (['mode', 'sobol', 'policy', 'seed', 'touch', 'prices', 'profile', 'check'] as const)
      .filter((name) => file[name] !== undefined && command.getOptionValueSource(name) !== 'cli')
      .map((name) => [name, file[name]]),
  );
  return { options: { ...given, ...planned }, file };
}

async function gather(
  paths: readonly string[],
  options: Options,
  file: PlanFile,
): Promise<{ ingredients: Omit<Ingredients, 'check'> & { policy: LoadedPolicy | null }; points: Points }> {
  const axes: Axis[] = [
    ...Object.entries(file.axes ?? {}).map(([name, words]) => axisOf(name, words!)),
    ...options.axis.map(parseAxis),
  ];
  if (axes.length === 0) throw new UsageError('nothing to sweep over; wanted --axis param=a,b,c or a plan with axes');
  if (paths.length === 0) throw new UsageError('no trace; wanted one or more, here or in the plan');
  const set: Partial<Record<ParamName, number>> = {};
  for (const [name, words] of Object.entries(file.set ?? {})) set[name as ParamName] = readValue(name, String(words));
  for (const text of options.set) {
    const at = text.indexOf('=');
    set[text.slice(0, at) as ParamName] = readValue(text.slice(0, at), text.slice(at + 1));
  }
  const chosen: { trace: Trace; chosen: Chosen }[] = [];
  for (const path of new Set(paths)) {
    const trace = openTrace(path);
    chosen.push({ trace, chosen: await choose(trace, { ...options, set: [] }) });
  }
  const [{ mode, setup, prices, policy }] = chosen.map((each) => each.chosen);
  const base = { ...inherited(mode, setup.config, axes), ...set };
  if (policy !== null) {
    for (const { name, values } of axes) refuseUnasked(name, values);
    for (const [name, value] of Object.entries(set)) refuseUnasked(name, [value]);
    // Whatever modes are swept over.
    if (!axes.some(({ name }) => name === 'lifecycle')) base.lifecycle ??= setup.config.lifecycle;
  }
  const { seed, jobs, sobol } = options;
  const points = pointsOf({
    mode,
    set: base,
    axes,
    sobol: sobol ?? null,
    seed,
    profile: setup.profile,
  });
  return {
    points,
    ingredients: {
      traces: chosen.map((each) => ({ trace: each.trace, touch: each.chosen.setup.touch })),
      points: points.points,
      swept: axes.map(({ name }) => name),
      policy,
      seed,
      prices,
      profile: setup.profile,
      jobs,
    },
  };
}

/** What the environment sets over the mode; axes win over it, as flags do. */
function inherited(mode: Mode, config: Config, axes: readonly Axis[]): Partial<Config> {
  const plain = configOf(mode);
  const names = param_names.filter((name) => config[name] !== plain[name] && !axes.some((axis) => axis.name === name));
  return Object.fromEntries(names.map((name) => [name, config[name]]));
}

/** Before anything is computed: a name and a place that can be written. */
function refuseOutput(path: string): void {
  formatOf(path);
  if (existsSync(path) && !statSync(path).isFile()) throw new UsageError(`${path}: not a regular file`);
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch (error) {
    throw new UsageError(`${path}: cannot be written: ${(error as Error).message}`);
  }
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-sweep-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Ctrl-C: rows are on disk as they are made, so no more is needed than to end the workers and to say how to go on. */
function onInterrupt(driver: Driver, kept: string | null): () => void {
  const stop = (): void => {
    driver.stop();
    const words =
      kept === null
        ? 'interrupted; with -o FILE a sweep can be resumed'
        : `interrupted; finished rows are in ${kept}: the same command goes on from there`;
    writeSync(2, `hakmem: ${words}\n`);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  // Before the listener that ends this process.
  for (const signal of signals) process.prependOnceListener(signal, stop);
  return () => {
    for (const signal of signals) process.off(signal, stop);
  };
}
