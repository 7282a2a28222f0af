/** `hakmem tune TRACE...`: search a setting, check every row, run the winner for real and on traces it has not seen. */
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { allocators, installLine, libraryOf } from '../native/allocators.ts';
import { holdKhugepaged } from '../native/khugepaged.ts';
import { replayerTrouble } from '../native/replayer.ts';
import type { Setup } from '../sim/index.ts';
import { type HakTrace, open, type Trace } from '../traces/index.ts';
import type { PriceList } from './calibrate/price-file.ts';
import {
  exit_codes,
  Progress,
  print,
  printJson,
  programAfterDashes,
  say,
  sizeOption,
  UsageError,
  wholeNumber,
} from './command.ts';
import { asHakFile, type CheckLevel, check_levels } from './crosscheck.ts';
import { openTrace } from './open-trace.ts';
import { peerPolicy } from './peer-replay.ts';
import { uncheckable } from './policy/module.ts';
import { addSetupOptions, choose, refuseUnasked, type SetupOptions } from './setup.ts';
import { type Axis, parseAxis } from './sweep/axes.ts';
import { ClockedTarget } from './tune/clocked.ts';
import { clockedSpace } from './tune/clocked-space.ts';
import { GlibcTarget, glibcTrouble } from './tune/glibc.ts';
import { glibcSpace, parseGlibcAxis } from './tune/glibc-space.ts';
import { HakmemTarget, hakmemTrouble } from './tune/hakmem.ts';
import { defaultSpace, givenSpace } from './tune/hakmem-space.ts';
import { methods } from './tune/methods.ts';
import { cheapestAtMemory, cheapestUnder, leastMemoryWithin, type Objective, weightedScore } from './tune/objective.ts';
import { verifyOnProgram } from './tune/program.ts';
import { documentOf, linesOf } from './tune/report.ts';
import type { Space } from './tune/space.ts';
import { type Engine, engines, type Target } from './tune/target.ts';
import { differing, hasSetting, type Tuned, tune } from './tune/tune.ts';
import type { Conditions } from './tune/worth.ts';

interface Options extends SetupOptions {
  readonly target: TargetName;
  readonly engine: Engine;
  readonly method?: string;
  readonly axis: readonly string[];
  readonly rssMax?: number;
  readonly slowdownMax?: number;
  readonly memoryMore?: number;
  readonly heldOut?: readonly string[];
  readonly budget?: number;
  readonly rounds?: number;
  readonly verify?: boolean;
  readonly check: CheckLevel;
  readonly holdKhugepaged?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

/** The search method of each target, unless another is asked for. */
const method_of = { hakmem: 'halving', glibc: 'climbs', jemalloc: 'climbs', mimalloc: 'climbs' } as const;
type TargetName = keyof typeof method_of;
/** What people run is not to grow for a setting: as much as this is noise to them. */
const peer_memory_more = 2;

/** More combinations than this are a sweep's work, not a search's. */
const configurations_max = 100_000;

export function addTune(program: Command): void {
  addSetupOptions(
    program
      .command('tune')
      .description('search the setting that is best for traces, and check it on the real kernel and on other traces')
      .argument('<trace...>', 'a .hak file, or any format that import reads; -- and a program for --verify'),
  )
    .addOption(new Option('--target <target>', 'whose setting').choices(Object.keys(method_of)).default('hakmem'))
    .addOption(
      new Option('--engine <engine>', 'sim: in a model; replay: on the allocator itself, glibc alone')
        .choices(engines)
        .default(engines[0]),
    )
    .addOption(
      new Option(
        '--method <method>',
        `${methods.map(({ name, says }) => `${name}: ${says}`).join('; ')}; ${method_of.hakmem} for hakmem, else ${method_of.glibc}, unless given`,
      ).choices(methods.map(({ name }) => name)),
    )
    .option(
      '--axis <values>',
      'param=a,b,c or param=from:to:n, instead of the default space; may be given again',
      collect,
      [],
    )
    .option('--rss-max <size>', 'the cheapest in time with no more than this resident', sizeOption)
    .option(
      '--memory-more <percent>',
      `the cheapest in time with at most so much more resident than as it is; ${peer_memory_more} unless given, but of hakmem`,
      percentage,
    )
    .option('--slowdown-max <percent>', 'the least memory at most so much slower than the cheapest', percentage)
    .option('--held-out <trace...>', 'traces that the search does not see, to try the winner on')
    .option('--budget <n>', 'configurations to consider at most, drawn by the seed', wholeNumber(1))
    .option('--verify', 'run the program behind -- with the setting and without, in turns; not of hakmem')
    .option(
      '--rounds <n>',
      'runs of winner and baseline on the real kernel; 5 to 15 unless given, more of what is short',
      wholeNumber(1, 1000),
    )
    .addOption(new Option('--check <level>', 'how far to check').choices(check_levels).default('kernel'))
    .option('--hold-khugepaged', 'let khugepaged sleep during the runs (machine-wide, put back after; needs root)')
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action((words: readonly string[], options: Options, command: Command) => {
      const argv = programAfterDashes(command);
      return tuneCommand(words.slice(0, words.length - argv.length), argv, options);
    });
}

async function tuneCommand(paths: readonly string[], argv: readonly string[], options: Options): Promise<void> {
  refuseProgram(paths, argv, options);
  if (options.check === 'time') throw new UsageError('--check time is for replay; wanted none, decisions or kernel');
  const conditions = conditionsOf(options);
  const objective = objectiveOf(conditions);
  const traces = openAll(paths);
  const held_out = openAll(options.heldOut ?? []);
  const seen = new Set(paths.map((path) => resolve(path)));
  const twice = (options.heldOut ?? []).find((path) => seen.has(resolve(path)));
  if (twice !== undefined)
    throw new UsageError(`--held-out ${twice}: found among the traces to tune for, wanted another`);
  const { target, trouble, prices } = await targetOf(traces, options);
  refuseMany(target.space);
  const subjects = await inTurn(traces, (trace) => target.subject(trace));
  const others = await inTurn(held_out, (trace) => target.subject(trace));
  const method = methods.find(({ name }) => name === (options.method ?? method_of[options.target]))!;
  const found = await tune(target, subjects, others, method, objective, {
    seed: options.seed,
    budget: options.budget,
    ...conditions,
    check: options.check,
    rounds: options.rounds,
    trouble,
    progress: phases(options.progress === true),
  });
  const tuned = argv.length > 0 ? await onProgram(found, argv, options) : found;
  if (options.json) printJson(documentOf(tuned, prices));
  else print(...linesOf(tuned, prices));
  const difference = differing(tuned);
  if (difference !== null) throw difference;
  if (tuned.impossible !== null) {
    say(
      tuned.impossible.live_exceeds
        ? 'impossible: live bytes exceed --rss-max'
        : 'no setting tried stays below --rss-max',
    );
    process.exitCode = exit_codes.failed;
  }
  if (tuned.unchecked !== null) {
    say(`unchecked: ${tuned.unchecked}`);
    process.exitCode = exit_codes.failed;
  }
}

/** What was found, as it does on the program. */
async function onProgram(found: Tuned, argv: readonly string[], options: Options): Promise<Tuned> {
  if (!hasSetting(found)) return found;
  const interruption = new AbortController();
  const report = phases(options.progress === true);
  const setting = found.target.settingText(found.searched.winner.evaluated.point);
  const program = await verifyOnProgram(argv, found.target.name, setting, {
    runs: Math.max(2, options.rounds ?? 5),
    seed: options.seed,
    signal: interruption.signal,
    ran: (done, total) => report('running the program', done, total),
  });
  return { ...found, program };
}

function refuseProgram(paths: readonly string[], argv: readonly string[], { verify, target }: Options): void {
  if (paths.length === 0) throw new UsageError('found no trace, wanted one or more before --');
  if ((verify === true) !== argv.length > 0)
    throw new UsageError(
      verify === true
        ? '--verify: found no program, wanted -- PROGRAM ARG...'
        : `found a program (${argv[0]}), wanted --verify too`,
    );
  if (verify === true && target === 'hakmem')
    throw new UsageError('--verify: found --target hakmem, whose setting no program can run under yet; wanted another');
}

interface Targeted {
  readonly target: Target;
  /** Why nothing can be checked here; null where it can. */
  readonly trouble: string | null;
  readonly prices: PriceList;
}

function targetOf(traces: readonly Trace[], options: Options): Promise<Targeted> {
  if (options.target === 'hakmem') return hakmemTarget(traces, options);
  return options.target === 'glibc' ? glibcTarget(traces, options) : clockedTarget(options.target, traces, options);
}

async function hakmemTarget(traces: readonly Trace[], options: Options): Promise<Targeted> {
  if (options.engine !== 'sim') throw new UsageError(`--engine ${options.engine}: of hakmem there is sim alone`);
  const axes = options.axis.map(parseAxis);
  const { mode, setup, policy, prices } = await choose(traces[0], options);
  refuseTwice(axes, options.set);
  if (policy !== null) for (const { name, values } of axes) refuseUnasked(name, values);
  const space = axes.length > 0 ? givenSpace(axes) : defaultSpace(setup.config, policy !== null);
  if (options.holdKhugepaged === true && holdKhugepaged() === null)
    throw new UsageError(
      '--hold-khugepaged: this user may not write to /sys/kernel/mm/transparent_hugepage; wanted root',
    );
  return {
    target: new HakmemTarget(mode, setup.config, space, setupFor(options), policy),
    trouble: policy === null ? hakmemTrouble() : uncheckable(policy, '--check none'),
    prices,
  };
}

async function glibcTarget(traces: readonly Trace[], options: Options): Promise<Targeted> {
  refuseHakmemOnly(options);
  const trouble = glibcTrouble();
  if (trouble !== null && options.engine === 'replay') throw new UsageError(`--engine replay: ${trouble}`);
  const space = glibcSpace(new Map(options.axis.map(parseGlibcAxis)));
  const { prices } = await choose(traces[0], options);
  return { target: new GlibcTarget(options.engine, space, setupFor(options), fileOf), trouble, prices };
}

async function clockedTarget(
  name: 'jemalloc' | 'mimalloc',
  traces: readonly Trace[],
  options: Options,
): Promise<Targeted> {
  refuseHakmemOnly(options);
  if (options.engine !== 'sim') throw new UsageError(`--engine ${options.engine}: of ${name} there is sim alone`);
  const policy = peerPolicy(name)!;
  const { axes, baseline } = clockedSpace(policy, options.axis);
  const installed = libraryOf(allocators[name]) !== undefined;
  const trouble = installed ? replayerTrouble() : `${name} is not installed: ${installLine(allocators[name])}`;
  const { prices } = await choose(traces[0], options);
  return { target: new ClockedTarget(policy, axes, baseline, setupFor(options), fileOf), trouble, prices };
}

function refuseHakmemOnly({ target, mode, set, policy }: Options): void {
  if (mode !== undefined || set.length > 0 || policy !== 'hakmem')
    throw new UsageError(`--target ${target}: --mode, --set and --policy are of hakmem; wanted --axis ${target}_...`);
}

/** The replayer reads `.hak` alone; what is written for it goes with the process. */
function fileOf(trace: Trace): HakTrace {
  return open(asHakFile(trace).path) as HakTrace;
}

function setupFor(options: Options): (trace: Trace) => Promise<Setup> {
  return async (trace) => (await choose(trace, options)).setup;
}

function conditionsOf({ target, rssMax, slowdownMax, memoryMore }: Options): Conditions {
  const given = { '--rss-max': rssMax, '--slowdown-max': slowdownMax, '--memory-more': memoryMore };
  const names = Object.entries(given)
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name);
  if (names.length > 1) throw new UsageError(`${names.join(' and ')}: found both, wanted one of them`);
  const by_default = names.length === 0 && target !== 'hakmem' ? peer_memory_more : undefined;
  return {
    rss_max_bytes: rssMax,
    slowdown_max_percent: slowdownMax,
    memory_more_percent: memoryMore ?? by_default,
  };
}

function objectiveOf({ rss_max_bytes, slowdown_max_percent, memory_more_percent }: Conditions): Objective {
  if (rss_max_bytes !== undefined) return cheapestUnder(rss_max_bytes);
  if (memory_more_percent !== undefined) return cheapestAtMemory(memory_more_percent);
  return slowdown_max_percent === undefined ? weightedScore() : leastMemoryWithin(slowdown_max_percent);
}

function openAll(paths: readonly string[]): Trace[] {
  return paths.map(openTrace);
}

function refuseTwice(axes: readonly Axis[], set: readonly string[]): void {
  const names = [...axes.map(({ name }) => name as string), ...set.map((text) => text.split('=')[0])];
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    throw new UsageError(`${twice}: found more than once, wanted one --axis or one --set for it`);
}

function refuseMany(space: Space): void {
  const many = space.reduce((product, { values }) => product * values.length, 1);
  if (many > configurations_max)
    throw new UsageError(`--axis: found ${many} combinations, wanted at most ${configurations_max}`);
}

/** One after the other: each reads a trace. */
async function inTurn<T, U>(all: readonly T[], make: (each: T) => Promise<U>): Promise<U[]> {
  const made: U[] = [];
  for (const each of all) made.push(await make(each));
  return made;
}

/** One line of progress for each thing that is done. */
function phases(forced: boolean): (doing: string, done: number, total: number) => void {
  let doing_now = '';
  let progress: Progress | undefined;
  return (doing, done, total) => {
    if (doing !== doing_now) {
      progress?.finish();
      progress = new Progress(doing, forced);
      doing_now = doing;
    }
    progress!.update(done, total);
    if (total > 0 && done === total) progress!.finish();
  };
}

function percentage(text: string): number {
  const percent = Number(text.replace(/\s*%$/, ''));
  if (text.trim() === '' || !(percent >= 0 && percent <= 1e6))
    throw new InvalidArgumentError(`"${text}" is not a percentage; wanted a number from 0, such as 5 or 2.5.`);
  return percent;
}

function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}
