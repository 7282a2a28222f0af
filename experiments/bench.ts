/** `hakmem bench`: the real allocators side by side, on traces and scenarios. */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { ReplayerError, replayerTrouble, type ThreadMode, thread_modes } from '../native/replayer.ts';
import { enums } from '../sim/index.ts';
import { CheckFailed, Progress, print, printJson, say, UsageError, wholeNumber } from './command.ts';
import { installed, parseContestants } from './peers/contestants.ts';
import { prewarm } from './peers/prewarm.ts';
import { sideBySide } from './peers/side-by-side.ts';
import { default_subjects, openSubject } from './peers/subjects.ts';
import { linesOf } from './peers/table.ts';

interface Options {
  readonly allocators?: string;
  readonly touch?: string;
  readonly rounds: number;
  readonly steadyRounds: number;
  readonly threads: ThreadMode;
  readonly events?: number;
  readonly seed: number;
  readonly prewarm: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function addBench(program: Command): void {
  program
    .command('bench')
    .description('the real allocators side by side: time with intervals, faults, system calls, memory')
    .argument('[subject...]', `traces or scenarios; ${default_subjects.join(' ')} unless given`)
    .option(
      '--allocators <list>',
      'of glibc, jemalloc, mimalloc, tcmalloc, hakmem-MODE; the first four where installed',
    )
    .option('--touch <model>', `one of ${enums.touch.join(' ')}; recorded where the trace has it, else page`)
    .option('--rounds <n>', 'fresh processes that are timed for each allocator and subject', wholeNumber(1, 1000), 12)
    .option('--steady-rounds <n>', 'passes over the trace in each process after the first', wholeNumber(1, 1000), 2)
    .addOption(
      new Option('--threads <mode>', "in the trace's order on real threads, freely, or all on one")
        .choices(thread_modes)
        .default('serial'),
    )
    .option('--events <n>', 'events of a scenario, instead of its own number', wholeNumber(1))
    .option('--seed <n>', 'seed of scenarios, order and intervals', wholeNumber(0), 1)
    .option('--no-prewarm', 'do not touch the memory of this machine once before')
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(bench);
}

async function bench(names: readonly string[], options: Options): Promise<void> {
  const trouble = replayerTrouble();
  if (trouble !== null) throw new UsageError(trouble);
  const { contestants, missing } =
    options.allocators === undefined ? installed() : { contestants: parseContestants(options.allocators), missing: [] };
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-bench-'));
  const { signal, release: letGo } = onInterrupt(folder);
  try {
    const subjects = [...new Set(names.length > 0 ? names : default_subjects)].map((name, at) =>
      openSubject(name, at, folder, options),
    );
    for (const { allocator, reason } of missing) say(`${allocator} is left out: ${reason}`);
    const started = performance.now();
    const load_before = loadavg();
    const prewarmed_bytes = options.prewarm ? await prewarm(folder, signal) : 0;
    const progress = new Progress('runs', options.progress === true);
    const { rounds, steadyRounds: steady_rounds, threads, seed } = options;
    const result = await sideBySide({
      subjects,
      contestants,
      rounds,
      steady_rounds,
      threads,
      seed,
      signal,
      progress: (done, total) => progress.update(done, total),
    });
    progress.finish();
    const unserved = result.cells.find(({ served_events, events }) => served_events !== events);
    if (options.json)
      printJson({
        rounds,
        steady_rounds,
        threads,
        seed,
        subjects: subjects.map(({ name, events, touch, trace }) => ({
          subject: name,
          events,
          threads: trace.statistics.threads,
          touch,
        })),
        left_out: missing,
        prewarmed_bytes,
        seconds: (performance.now() - started) / 1000,
        machine: {
          cpu: cpus()[0]?.model ?? 'unknown',
          cpus: cpus().length,
          kernel: release(),
          load_average: { before: load_before[0], after: loadavg()[0] },
        },
        ...result,
      });
    else print(...linesOf(result, subjects, options));
    if (unserved !== undefined)
      throw new CheckFailed(
        `${unserved.subject}: ${unserved.allocator} served ${unserved.served_events} of ${unserved.events} events`,
      );
  } catch (error) {
    if (!(error instanceof ReplayerError)) throw error;
    throw error.bad_input ? new UsageError(error.message) : new CheckFailed(error.message);
  } finally {
    letGo();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Ctrl-C ends the process from a signal handler, so no finally is reached: children and the folder go before it. */
function onInterrupt(folder: string): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  const discard = (): void => rmSync(folder, { recursive: true, force: true });
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.prependOnceListener(signal, stop);
  process.once('exit', discard);
  return {
    signal: controller.signal,
    release: () => {
      for (const signal of signals) process.off(signal, stop);
      process.off('exit', discard);
    },
  };
}
