/** `hakmem explain TRACE EVENT`: the whole decision chain of one event, in both halves. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { nativeTrouble, replay as replayCounted, replayReal } from '../native/index.ts';
import { describeConfig, type LogEntry, type Setup } from '../sim/index.ts';
import type { Trace } from '../traces/index.ts';
import { chainOf, titleOf } from './chain.ts';
import { exit_codes, print, printJson, say, UsageError } from './command.ts';
import { withHakFile } from './crosscheck.ts';
import { storyLines, storyOf } from './learning-story.ts';
import { openTrace } from './open-trace.ts';
import { policyId, uncheckable } from './policy/module.ts';
import { addSetupOptions, choose, type SetupOptions } from './setup.ts';

const kernels = ['real', 'counted', 'none'] as const;

interface Options extends SetupOptions {
  readonly kernel: (typeof kernels)[number];
  readonly json?: boolean;
}

export function addExplain(program: Command): void {
  addSetupOptions(
    program
      .command('explain')
      .description('why one event was decided as it was, in the simulator and in the native core')
      .argument('<trace>', 'a .hak file, or any format that import reads')
      .argument('<event>', 'index of the event, from 0', eventNumber),
  )
    .addOption(new Option('--kernel <kernel>', 'kernel of the native half').choices(kernels).default('real'))
    .option('--json', 'print one JSON document')
    .action(explain);
}

async function explain(path: string, event: number, options: Options): Promise<void> {
  const trace = openTrace(path);
  const { events } = trace.statistics;
  if (event >= events)
    throw new UsageError(`${path}: event ${event}: the trace has ${events} events, 0 to ${events - 1}`);
  const { setup, policy } = await choose(trace, options);
  const logged: Setup = { ...setup, log: { from: event, to: event + 1 } };
  const { entry: sim, windows } = storyOf(trace, logged);
  const trouble = policy === null ? nativeTrouble() : uncheckable(policy, '--kernel none');
  const native = options.kernel === 'none' || trouble !== null ? null : await inNative(trace, logged, options.kernel);
  const same = native === null ? null : JSON.stringify(sim) === JSON.stringify(native);
  if (options.json) {
    const config = describeConfig(setup.config);
    const learned = windows.filter(({ change }, at) => change !== 'none' || at === windows.length - 1);
    printJson({ trace: path, event, config, policy: policyId(policy), touch: setup.touch, learned, sim, native, same });
  } else {
    print(...storyLines(windows), ...describe('simulator', sim));
    if (policy === null) print(...describe(`native core, ${options.kernel} kernel`, native));
    const asked = policy === null ? 'the native half was not asked: unchecked' : uncheckable(policy);
    print(same === null ? asked : same ? 'both halves agree' : 'the halves differ');
  }
  if (trouble !== null && options.kernel !== 'none') say(policy === null ? trouble : `unchecked: ${trouble}`);
  process.exitCode =
    same === false || (trouble !== null && options.kernel !== 'none') ? exit_codes.failed : exit_codes.holds;
}

async function inNative(trace: Trace, setup: Setup, kernel: 'real' | 'counted'): Promise<LogEntry | null> {
  const result =
    kernel === 'counted'
      ? await replayCounted(trace.chunks(), setup)
      : await withHakFile(trace, async (path) => (await replayReal(path, trace.chunks(), setup)).result);
  return result.log.at(0) ?? null;
}

function describe(half: string, entry: LogEntry | null): string[] {
  if (entry === null) return [`${half}: no log`, ''];
  return [`${half}: ${titleOf(entry)}`, ...chainOf(entry).map(({ link, says }) => `  ${link.padEnd(13)}${says}`), ''];
}

function eventNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError(`"${text}" is not an event; wanted a whole number from 0.`);
  return Number(text);
}
