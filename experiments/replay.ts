/** `hakmem replay TRACE`: simulate, cross-check, and say what it costs and whether that is true. */
import { type Command, Option } from 'commander';
import { holdKhugepaged } from '../native/khugepaged.ts';
import { fingerprint } from '../native/spec-to-c.ts';
import { describeConfig, learns, learnsSites, params, type Regret, type Result, type Setup } from '../sim/index.ts';
import { sha256OfFile, type Trace, writeAtomically } from '../traces/index.ts';
import { sampleNote } from '../traces/sample-estimate.ts';
import { describePrices, pricesInWords } from './calibrate/price-file.ts';
import { paint } from './color.ts';
import { exit_codes, formatBytes, Progress, print, printJson, say, UsageError } from './command.ts';
import { type Check, type Checked, type CheckLevel, check_levels, crossCheck, failing } from './crosscheck.ts';
import { learningData } from './learned-run.ts';
import { openTrace } from './open-trace.ts';
import { peerPolicy, replayPeerCommand } from './peer-replay.ts';
import { policyId } from './policy/module.ts';
import { regretLines, regretOfRun } from './regret.ts';
import { addSetupOptions, type Chosen, choose, type SetupOptions } from './setup.ts';
import { revision } from './sweep/provenance.ts';
import { timeCheckLines, timeInWords, wantOwnPrices } from './time-check/agreement.ts';
import { timeMappedPath } from './time-check/mapped-path.ts';
import {
  addTimeOptions,
  refusal,
  type TimedReplay,
  type TimeOptions,
  timeDocument,
  timeFields,
  timeLines,
  timeReplay,
} from './timed.ts';

interface Options extends SetupOptions, TimeOptions {
  readonly check: CheckLevel;
  readonly holdKhugepaged?: boolean;
  readonly checkpoints?: boolean;
  readonly learningPage?: string;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function addReplay(program: Command): void {
  addTimeOptions(
    addSetupOptions(
      program
        .command('replay')
        .description('simulate a trace under a policy and cross-check the result')
        .argument('<trace>', 'a .hak file, or any format that import reads'),
    ),
  )
    .addOption(
      new Option('--check <level>', 'how far to check; time wants prices of this machine')
        .choices(check_levels)
        .default('kernel'),
    )
    .option('--hold-khugepaged', 'let khugepaged sleep during the check (machine-wide, put back after; needs root)')
    .option('--checkpoints', 'with --json: the state at every checkpoint too')
    .option('--learning-page <file.html>', 'write a page of what was learned: ratings, costs, when it froze')
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(replayCommand);
}

async function replayCommand(path: string, options: Options): Promise<void> {
  const peer = peerPolicy(options.policy);
  if (peer !== undefined) {
    await replayPeerCommand(path, peer, options);
    return;
  }
  const trace = openTrace(path);
  const chosen = await choose(trace, options);
  if (options.check === 'time') wantOwnPrices(chosen.prices);
  if (options.holdKhugepaged === true && holdKhugepaged() === null)
    throw new UsageError(
      '--hold-khugepaged: this user may not write to /sys/kernel/mm/transparent_hugepage; wanted root',
    );
  const { learningPage: page } = options;
  if (page !== undefined && !learns(chosen.setup.config))
    throw new UsageError(
      '--learning-page: found a configuration that learns nothing, wanted --mode LEARNING or --set lifecycle=auto',
    );
  const timed = timeReplay(trace, chosen, options);
  const progress = new Progress(`replaying ${path}`, options.progress === true);
  const counted = await crossCheck(trace, chosen.setup, options.check, {
    progress: (events) => progress.update(events, trace.statistics.events),
  });
  const checked = await withTime(trace, chosen, counted);
  const regret = regretOfRun(trace, chosen.setup, checked.sim);
  progress.finish();
  if (page !== undefined) await writePage(page, trace, chosen.setup);
  if (options.json) printJson(document(trace, chosen, checked, regret, timed, options.checkpoints === true));
  else print(...report(trace, chosen, checked, regret, timed));
  process.exitCode = complain(checked, timed);
}

/** Time is compared where counts agree: of other work it would say nothing. */
async function withTime(trace: Trace, { setup, prices }: Chosen, checked: Checked): Promise<Checked> {
  const { sim, check } = checked;
  if (check.level !== 'time' || check.verdict !== 'agree') return checked;
  return { ...checked, check: { ...check, ...(await timeMappedPath(trace, setup, prices, sim)) } };
}

async function writePage(path: string, trace: Trace, setup: Setup): Promise<void> {
  // What draws takes longer to load than everything else, and most runs draw nothing.
  const { learningPage } = await import('./report/learning.ts');
  const command = `hakmem ${process.argv.slice(2).join(' ')}`;
  const text = learningPage(learningData(trace, setup), { revision: revision(), command });
  writeAtomically(path, (sink) => sink.append(new TextEncoder().encode(text)));
}

/** Says what did not hold, a line each, and returns the exit code. */
function complain({ sim, native, check }: Checked, timed: TimedReplay | null): number {
  let code: number = exit_codes.holds;
  const fail = (line: string): void => {
    say(line);
    code = exit_codes.failed;
  };
  for (const { feature, eligible } of check.silent)
    fail(`liveness: ${feature} is on, ${eligible} events were eligible, and it never acted`);
  const violation = sim.violation ?? native?.violation ?? null;
  if (violation !== null) fail(`event ${violation.event}: the policy broke the rule ${violation.rule}`);
  if (check.time?.within === false) fail(timeInWords(check.time));
  else if (check.verdict === 'differ') {
    const { event, field, sim: a, native: b } = check.first_difference!;
    fail(`simulator and native core differ at event ${event}: ${field} is ${a} and ${b}`);
  }
  const refused = timed === null ? null : refusal(timed);
  if (refused !== null) fail(refused);
  if (check.verdict === 'unchecked' && check.level !== 'none') fail(`unchecked: ${check.reason}`);
  return code;
}

function document(
  trace: Trace,
  chosen: Chosen,
  checked: Checked,
  regret: Regret | null,
  timed: TimedReplay | null,
  checkpoints: boolean,
): unknown {
  const { setup, prices, profile, mode } = chosen;
  const { silent, ...check } = checked.check;
  return {
    trace: {
      path: trace.path,
      sha256: sha256OfFile(trace.path),
      events: trace.statistics.events,
      sample: sampleNote(trace.origin),
    },
    config: describeConfig(setup.config),
    mode,
    policy: policyId(chosen.policy),
    seed: setup.seed,
    touch: setup.touch,
    spec_fingerprint: fingerprint(),
    prices: describePrices(prices),
    kernel_profile: { ...profile.profile, source: profile.source },
    sim: { ...shown(checked.sim, checkpoints), ...timeFields(timed) },
    native: checked.native === null ? null : shown(checked.native, checkpoints),
    regret,
    ...(timed === null ? {} : { time: timeDocument(timed) }),
    check: { ...check, liveness_failures: silent.map(({ feature }) => feature) },
  };
}

function shown(result: Result, with_checkpoints: boolean): object {
  const { log: _, checkpoints, ...rest } = result;
  return with_checkpoints ? { ...rest, checkpoints } : rest;
}

function report(
  trace: Trace,
  chosen: Chosen,
  { sim, native, check }: Checked,
  regret: Regret | null,
  timed: TimedReplay | null,
): string[] {
  const { setup, mode, prices } = chosen;
  const side = (name: string, of: (result: Result) => number | string | null): string => {
    const mine = of(sim);
    const theirs = native === null ? null : of(native);
    const mark = theirs === null ? '' : mine === theirs ? paint.green('=') : paint.red('differs');
    return `  ${name.padEnd(22)}${String(mine).padStart(18)}${String(theirs ?? '-').padStart(18)}  ${mark}`;
  };
  const calls = sim.syscalls;
  const called = (Object.keys(calls) as (keyof typeof calls)[]).filter(
    (name) => calls[name] > 0 || (native?.syscalls[name] ?? 0) > 0,
  );
  return [
    `${trace.path}: ${trace.statistics.events} events of ${trace.origin.program}, mode ${mode}, touch ${setup.touch}`,
    '',
    `  ${''.padEnd(22)}${'simulator'.padStart(18)}${(onKernel(check) ? 'real kernel' : 'native core').padStart(18)}`,
    side('decisions', (result) => result.decision_digest),
    ...called.map((name) => side(name, (result) => result.syscalls[name])),
    side('faults', (result) => result.faults),
    side('of them huge', (result) => result.huge_faults),
    side('resident peak', (result) => formatBytes(result.resident_bytes.peak)),
    side('resident mean', (result) => formatBytes(Math.round(result.resident_bytes.mean))),
    side('mapped peak', (result) => formatBytes(result.mapped_bytes.peak)),
    '',
    `  BigCache ${sim.bigcache.hits} hits, ${sim.bigcache.misses} misses, ${sim.bigcache.evictions} evictions; ` +
      `batch ${sim.batch.added} added, ${sim.batch.withdrawn} withdrawn, ${sim.batch.flushes} flushes; ` +
      `kept ${sim.kept.reused} reused`,
    `  heap path ${sim.heap.faults} faults by its ledger${native === null || !onKernel(check) ? '' : `, ${native.heap.faults} measured`}`,
    `  time ${milliseconds(sim.time_ns.total)} at ${pricesInWords(prices)} ` +
      `(faults ${share(sim.time_ns.fault, sim.time_ns.total)}); modelled, not measured`,
    ...timeCheckLines(check.time),
    `  score ${sim.score.total.toFixed(3)} of mapping every large block (cpu ${sim.score.cpu.toFixed(3)}, ` +
      `faults ${sim.score.faults.toFixed(3)}, memory ${sim.score.memory.toFixed(3)})`,
    ...learned(setup, sim),
    ...(regret === null ? [] : regretLines(regret)),
    '',
    ...(timed === null ? [] : [...timeLines(timed, prices), '']),
    ...verdict(check),
  ];
}

/** What was learned, in words; nothing where nothing is. */
function learned({ config, policy }: Setup, { learning }: Result): string[] {
  if (!learns(config)) return [];
  const { windows, state, arm, matches, explorations, freezes, canaries, promotions, rollbacks, relearns } = learning;
  const name = policy?.name ?? params.learner.words![config.learner];
  const site = learnsSites(config) && policy === undefined ? 'step' : 'strategy';
  const moved = freezes + canaries > 0;
  return [
    `  learned by ${name} over ${windows} windows: ${state} on ${site} ${arm}` +
      `${matches > 0 ? `, ${matches} matches` : ''}${explorations > 0 ? `, ${explorations} explorations` : ''}` +
      `${windows === 0 ? `; too short a trace for a window of ${config.window_events} events and ${config.window_samples} samples` : ''}`,
    ...(moved
      ? [
          `  froze ${freezes} times, ${canaries} canaries: ${promotions} promoted, ${rollbacks} rolled back, ${relearns} relearned`,
        ]
      : []),
  ];
}

function onKernel({ level }: Check): boolean {
  return level === 'kernel' || level === 'time';
}

function verdict(check: Check): string[] {
  const tone = { agree: paint.green, differ: paint.red, unchecked: paint.yellow }[check.verdict];
  const broken = failing(check.preconditions);
  const held = Object.keys(check.preconditions).length - broken.length;
  return [
    ...(onKernel(check) && check.verdict !== 'unchecked'
      ? [`  preconditions: ${held} hold${broken.length > 0 ? `; not: ${broken.join(', ')}` : ''}`]
      : []),
    ...(check.states === null
      ? []
      : [`  simulator: ${JSON.stringify(check.states.sim)}`, `  native:    ${JSON.stringify(check.states.native)}`]),
    `verdict: ${tone(check.verdict)} (level ${check.level})${check.reason === null ? '' : `: ${check.reason}`}`,
  ];
}

function milliseconds(ns: number): string {
  return `${(ns / 1e6).toFixed(1)} ms`;
}

function share(part: number | null, total: number): string {
  return total > 0 && part !== null ? `${Math.round((100 * part) / total)} %` : '0 %';
}
