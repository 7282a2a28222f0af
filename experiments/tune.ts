/** `hakmem tune TRACE...`: search a setting, check every row, run the winner for real and on traces it has not seen. */
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { holdKhugepaged } from '../native/khugepaged.ts';
import type { Setup } from '../sim/index.ts';
import { open, type Trace } from '../traces/index.ts';
import { exit_codes, Progress, print, printJson, say, sizeOption, UsageError, wholeNumber } from './command.ts';
import { type CheckLevel, check_levels } from './crosscheck.ts';
import { uncheckable } from './policy/module.ts';
import { addSetupOptions, choose, refuseUnasked, type SetupOptions } from './setup.ts';
import { type Axis, parseAxis } from './sweep/axes.ts';
import { HakmemTarget, hakmemTrouble } from './tune/hakmem.ts';
import { defaultSpace, givenSpace } from './tune/hakmem-space.ts';
import { methods } from './tune/methods.ts';
import { cheapestUnder, leastMemoryWithin, type Objective, weightedScore } from './tune/objective.ts';
import { documentOf, linesOf } from './tune/report.ts';
import type { Space } from './tune/space.ts';
import { differing, tune } from './tune/tune.ts';

interface Options extends SetupOptions {
  readonly target: string;
  readonly engine: string;
  readonly method: string;
  readonly axis: readonly string[];
  readonly rssMax?: number;
  readonly slowdownMax?: number;
  readonly heldOut?: readonly string[];
  readonly budget?: number;
  readonly rounds: number;
  readonly check: CheckLevel;
  readonly holdKhugepaged?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

/** More combinations than this are a sweep's work, not a search's. */
const configurations_max = 100_000;

export function addTune(program: Command): void {
  addSetupOptions(
    program
      .command('tune')
      .description('search the setting that is best for traces, and check it on the real kernel and on other traces')
      .argument('<trace...>', 'a .hak file, or any format that import reads'),
  )
    .addOption(new Option('--target <target>', 'whose setting').choices(['hakmem']).default('hakmem'))
    .addOption(new Option('--engine <engine>', 'how settings are tried').choices(['sim']).default('sim'))
    .addOption(
      new Option('--method <method>', methods.map(({ name, says }) => `${name}: ${says}`).join('; '))
        .choices(methods.map(({ name }) => name))
        .default(methods[0].name),
    )
    .option(
      '--axis <values>',
      'param=a,b,c or param=from:to:n, instead of the default space; may be given again',
      collect,
      [],
    )
    .option('--rss-max <size>', 'the cheapest in time with no more than this resident', sizeOption)
    .option('--slowdown-max <percent>', 'the least memory at most so much slower than the cheapest', percentage)
    .option('--held-out <trace...>', 'traces that the search does not see, to try the winner on')
    .option('--budget <n>', 'configurations to consider at most, drawn by the seed', wholeNumber(1))
    .option('--rounds <n>', 'runs of winner and baseline on the real kernel', wholeNumber(1, 1000), 5)
    .addOption(new Option('--check <level>', 'how far to check').choices(check_levels).default('kernel'))
    .option('--hold-khugepaged', 'let khugepaged sleep during the runs (machine-wide, put back after; needs root)')
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(tuneCommand);
}

async function tuneCommand(paths: readonly string[], options: Options): Promise<void> {
  if (options.check === 'time') throw new UsageError('--check time is for replay; wanted none, decisions or kernel');
  const objective = objectiveOf(options);
  const traces = openAll(paths);
  const held_out = openAll(options.heldOut ?? []);
  const seen = new Set(paths.map((path) => resolve(path)));
  const twice = (options.heldOut ?? []).find((path) => seen.has(resolve(path)));
  if (twice !== undefined)
    throw new UsageError(`--held-out ${twice}: found among the traces to tune for, wanted another`);
  const axes = options.axis.map(parseAxis);
  const { mode, setup, policy, prices } = await choose(traces[0], options);
  refuseTwice(axes, options.set);
  if (policy !== null) for (const { name, values } of axes) refuseUnasked(name, values);
  const space = axes.length > 0 ? givenSpace(axes) : defaultSpace(setup.config, policy !== null);
  refuseMany(space);
  const setupOf = async (trace: Trace): Promise<Setup> => (await choose(trace, options)).setup;
  const target = new HakmemTarget(mode, setup.config, space, setupOf, policy);
  if (options.holdKhugepaged === true && holdKhugepaged() === null)
    throw new UsageError(
      '--hold-khugepaged: this user may not write to /sys/kernel/mm/transparent_hugepage; wanted root',
    );
  const subjects = await inTurn(traces, (trace) => target.subject(trace));
  const others = await inTurn(held_out, (trace) => target.subject(trace));
  const method = methods.find(({ name }) => name === options.method)!;
  const tuned = await tune(target, subjects, others, method, objective, {
    seed: options.seed,
    budget: options.budget,
    rss_max_bytes: options.rssMax,
    slowdown_max_percent: options.slowdownMax,
    check: options.check,
    rounds: options.rounds,
    trouble: policy === null ? hakmemTrouble() : uncheckable(policy, '--check none'),
    progress: phases(options.progress === true),
  });
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

function objectiveOf({ rssMax, slowdownMax }: Options): Objective {
  if (rssMax !== undefined && slowdownMax !== undefined)
    throw new UsageError('--rss-max and --slowdown-max: found both, wanted one of them');
  if (rssMax !== undefined) return cheapestUnder(rssMax);
  return slowdownMax === undefined ? weightedScore() : leastMemoryWithin(slowdownMax);
}

function openAll(paths: readonly string[]): Trace[] {
  return paths.map((path) => open(path));
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
