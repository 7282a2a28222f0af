/** `hakmem record`: runs a program under the recorder and writes a trace for each process that it became or started. */
import { spawn, spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { writeHak } from '../traces/file.ts';
import {
  type Clocks,
  type Launch,
  processFolders,
  type RecordedProcess,
  Recording,
  readProcesses,
  unreadableProcesses,
} from '../traces/recording.ts';
import type { Chunk, Origin, Statistics } from '../traces/trace.ts';
import { CheckFailed, exit_codes, printJson, say, sizeOption, timeOption, UsageError, wholeNumber } from './command.ts';
import { findProgram, obstacleOf } from './program-file.ts';

interface RecordOptions {
  readonly output?: string;
  readonly stacks: number;
  readonly minSize: number;
  readonly sample?: number;
  readonly seed: number;
  readonly touch?: boolean;
  readonly after?: number;
  readonly for?: number;
  readonly signal?: string;
  readonly startOff?: boolean;
  readonly maxSize?: number;
  readonly keep?: number;
  readonly raw?: string;
  readonly fromRaw?: string;
  readonly pid?: number;
  readonly json?: boolean;
  readonly progress?: boolean;
}

interface Written {
  readonly path: string;
  readonly pid: number;
  readonly is_main: boolean;
  readonly origin: Origin;
  readonly statistics: Statistics;
  readonly warnings: readonly string[];
}

const most_frames = 64;
/** PID_MAX_LIMIT of the kernel. */
const most_pid = 4_194_304;
/** Children may outlive the program by a moment; those that run on are merged as far as they came. */
const straggler_wait_ms = 300;

export function addRecord(program: Command): void {
  program
    .command('record')
    .description('runs a program under the recorder and writes a trace for each of its processes')
    .argument('[program]', 'the program; put -- before it')
    .argument('[arguments...]', 'its arguments')
    .option('-o, --output <file>', 'trace of the program; its children go to FILE.PID.hak (default: PROGRAM-PID.hak)')
    .option('--stacks <n>', 'frames that make up a call site', wholeNumber(1, most_frames), 1)
    .option('--min-size <size>', 'keep only blocks of at least this many bytes', sizeOption, 0)
    .addOption(
      new Option('--sample <size>', 'of blocks below 64 KiB keep one for so many bytes on average; count all exactly')
        .argParser(sampleMean)
        .conflicts('minSize'),
    )
    .option('--touch', "count the touched pages of blocks of 512 KiB and more (pins glibc's mmap threshold)")
    .option('--after <time>', 'record from this long after the start on, such as 500ms or 2s', timeOption)
    .option('--for <time>', 'record no longer than this', timeOption)
    .option(
      '--signal <signal>',
      'each SIGUSR1, SIGUSR2 or SIGRTMIN+N to the program switches recording on or off',
      signalOption,
    )
    .option('--start-off', 'begin switched off, until the first --signal')
    .option('--max-size <size>', 'stop when a process has written this many raw bytes, 1MiB or more', rawSize)
    .option('--keep <size>', 'keep only the newest raw bytes of a process, 1MiB or more', rawSize)
    .option('--raw <folder>', 'write the raw recording there, and leave it')
    .addOption(
      new Option(
        '--from-raw <folder>',
        'write the traces of a raw recording, whether its programs still run or not',
      ).conflicts([
        'stacks',
        'minSize',
        'sample',
        'touch',
        'after',
        'for',
        'signal',
        'startOff',
        'maxSize',
        'keep',
        'raw',
      ]),
    )
    .addOption(
      new Option('--pid <pid>', 'watch a process that runs already: needs root, slows each call by microseconds')
        .argParser(wholeNumber(1, most_pid))
        .conflicts(['stacks', 'touch', 'sample', 'after', 'signal', 'startOff', 'keep', 'fromRaw']),
    )
    .option('--json', "list the written traces on stdout; the program's own stdout then goes to stderr")
    .option('--progress', 'say what was written even where stderr is no terminal')
    .option('--seed <n>', 'of --sample: the same in a thread, the same sample', wholeNumber(0), 1)
    .passThroughOptions()
    .addHelpText(
      'after',
      `
The program keeps its stdin, stdout, stderr, terminal and signals; Ctrl-C ends it, not the recording. Its own exit status
is kept in the trace and said on stderr when it is not 0. Exit codes: 0 recorded, whatever the program made of itself;
1 nothing could be recorded (a static, setuid or foreign program); 2 no such program, or bad usage.

Without this command: LD_PRELOAD=.../native/build/libhakmem-record.so HAKMEM_RECORD_DIR=/some/folder PROGRAM, then --from-raw /some/folder.
Each option has its variable, such as HAKMEM_RECORD_MAX_SIZE=64MiB: docs/RECORDING.md.`,
    )
    .action(async (name: string | undefined, args: string[], options: RecordOptions) => {
      if (options.pid !== undefined) {
        if (name !== undefined) throw new UsageError(`${name}: --pid runs no program`);
        await recordLive(options.pid, options);
      } else if (options.fromRaw !== undefined) {
        if (name !== undefined) throw new UsageError(`${name}: --from-raw runs no program`);
        convertRaw(options.fromRaw, options);
      } else if (name === undefined) {
        throw new UsageError('no program; wanted "hakmem record -- PROGRAM ARGUMENTS", --pid PID or --from-raw FOLDER');
      } else {
        if (options.startOff && options.signal === undefined)
          throw new UsageError('--start-off without --signal would record nothing');
        if (options.startOff && options.after !== undefined)
          throw new UsageError('--start-off and --after: wanted one beginning');
        await record(name, args, options);
      }
    });
}

function signalOption(text: string): string {
  if (!/^(SIG)?(USR[12]|RTMIN(\+([12]?\d|30))?)$/.test(text))
    throw new InvalidArgumentError(`"${text}" is not SIGUSR1, SIGUSR2 or SIGRTMIN to SIGRTMIN+30.`);
  return text;
}

function sampleMean(text: string): number {
  const bytes = sizeOption(text);
  if (bytes < 1 || bytes > 2 ** 40) throw new InvalidArgumentError(`"${text}" is not from 1 byte to 1TiB.`);
  return bytes;
}

function rawSize(text: string): number {
  const bytes = sizeOption(text);
  if (bytes < 2 ** 20) throw new InvalidArgumentError(`"${text}" is less than 1MiB.`);
  return bytes;
}

async function record(name: string, args: readonly string[], options: RecordOptions): Promise<void> {
  const file = findProgram(name);
  const obstacle = obstacleOf(file);
  if (obstacle !== null)
    throw new CheckFailed(`${file}: ${obstacle.says}, so the recorder cannot be preloaded into it`);
  const output = options.output;
  checkWritable(output ?? '.hak');
  const raw = new RawFolder(options.raw);
  const { directory } = raw;
  try {
    const launch = await launchProgram(directory, name, args, options);
    if (launch.failure !== '') throw new UsageError(`${file}: cannot be run: ${launch.failure}`);
    await waitForStragglers(directory, launch);
    const written = writeTraces(directory, launch, null, basename(name), output);
    raw.is_read = true;
    if (written.length === 0)
      throw new CheckFailed(
        `${file}: nothing was recorded: it, or the program it starts, is static, setuid, of another architecture, or clears its environment`,
      );
    report(written, launch, name, options);
  } finally {
    raw.leave();
  }
}

async function recordLive(pid: number, options: RecordOptions): Promise<void> {
  if (process.arch !== 'x64')
    throw new CheckFailed('--pid reads the registers of x86-64, and of no other processor yet');
  checkWritable(options.output ?? '.hak');
  const watcher = nativeFile('hak-attach');
  const raw = new RawFolder(options.raw);
  const limits = [options.for, options.minSize, options.maxSize].map((limit) => String(Math.round(limit ?? 0)));
  const signals = passOnSignals();
  try {
    const child = spawn(watcher, [raw.directory, String(pid), ...limits], { stdio: ['ignore', 2, 'inherit'] });
    signals.to((signal) => child.kill(signal));
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', resolve);
    });
    if (processFolders(raw.directory).length === 0) {
      // It has said why.
      process.exitCode = status ?? exit_codes.failed;
      return;
    }
    const written = writeTraces(raw.directory, null, null, 'program', options.output);
    raw.is_read = true;
    report(written, null, `process ${pid}`, options);
  } finally {
    signals.restore();
    raw.leave();
  }
}

/** Where the recorder writes: thrown away when traces were made of it, kept where they could not be. */
class RawFolder {
  readonly directory: string;
  is_read = false;
  private readonly is_wanted: boolean;
  private readonly onExit = () => this.leave();

  /** Throws UsageError where `wanted` is not a folder to be filled. */
  constructor(wanted: string | undefined) {
    this.is_wanted = wanted !== undefined;
    this.directory = wanted === undefined ? mkdtempSync(join(tmpdir(), 'hakmem-record-')) : emptyFolder(wanted);
    process.once('exit', this.onExit);
  }

  leave(): void {
    process.off('exit', this.onExit);
    if (this.is_wanted) return;
    if (this.is_read || !existsSync(this.directory) || processFolders(this.directory).length === 0)
      rmSync(this.directory, { recursive: true, force: true });
    else say(`the raw recording is kept: hakmem record --from-raw ${this.directory}`);
  }
}

function emptyFolder(path: string): string {
  try {
    if (!existsSync(path)) mkdirSync(path, { mode: 0o700 });
    if (readdirSync(path).length === 0) return resolve(path);
  } catch (error) {
    throw new UsageError(`${path}: cannot hold the raw recording: ${(error as Error).message}`);
  }
  throw new UsageError(`${path}: cannot hold the raw recording: not empty`);
}

function convertRaw(directory: string, options: RecordOptions): void {
  if (!existsSync(directory) || !statSync(directory).isDirectory() || processFolders(directory).length === 0)
    throw new UsageError(`${directory}: no raw recording; wanted a folder with folders of processes such as 1234.0`);
  if (readProcesses(directory).length === 0)
    throw new UsageError(
      `${directory}: no raw recording: the files "process" in ${unreadableProcesses(directory).join(', ')} are missing or damaged`,
    );
  checkWritable(options.output ?? '.hak');
  const launch = readLaunch(directory);
  const written = writeTraces(directory, launch, clocksNow(), 'program', options.output);
  report(written, launch, written.find(({ is_main }) => is_main)?.origin.program ?? 'the program', options);
}

/** Null where the launcher did not come to its end, or there was none. */
function readLaunch(directory: string): Launch | null {
  const report = join(directory, 'report');
  try {
    return JSON.parse(readFileSync(report, 'utf8')) as Launch;
  } catch {
    return null;
  }
}

function clocksNow(): Clocks {
  return JSON.parse(spawnSync(nativeFile('hak-record'), ['--clocks'], { encoding: 'utf8' }).stdout) as Clocks;
}

/** Before the work is done, for afterwards it would have been in vain. Throws UsageError. */
export function checkWritable(output: string): void {
  const folder = dirname(output);
  if (!existsSync(folder)) throw new UsageError(`${output}: cannot be written: there is no folder ${folder}`);
  if (existsSync(output) && !statSync(output).isFile())
    throw new UsageError(`${output}: cannot be written: not a regular file`);
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    throw new UsageError(`${output}: cannot be written: no permission in ${folder}`);
  }
}

async function launchProgram(
  directory: string,
  name: string,
  args: readonly string[],
  options: RecordOptions,
): Promise<Launch> {
  const launcher = nativeFile('hak-record');
  const report = join(directory, 'report');
  const inherited = process.env.LD_PRELOAD;
  const signals = passOnSignals();
  let killed: NodeJS.Signals | null = null;
  try {
    const child = spawn(launcher, [report, name, ...args], {
      stdio: ['inherit', options.json ? 2 : 'inherit', 'inherit'],
      env: {
        ...process.env,
        HAKMEM_RECORD_PRELOAD: preloadable(directory) + (inherited ? `:${inherited}` : ''),
        HAKMEM_RECORD_DIR: directory,
        HAKMEM_RECORD_CLOCK: hasSteadyTsc() ? 'tsc' : 'monotonic',
        HAKMEM_RECORD_STACKS: String(options.stacks),
        HAKMEM_RECORD_MIN_SIZE: String(options.minSize),
        HAKMEM_RECORD_SAMPLE: String(options.sample ?? ''),
        HAKMEM_RECORD_SEED: String(options.seed),
        HAKMEM_RECORD_TOUCH: options.touch ? '1' : '0',
        HAKMEM_RECORD_AFTER: timeText(options.after),
        HAKMEM_RECORD_FOR: timeText(options.for),
        HAKMEM_RECORD_BEGAN_NS: String(process.hrtime.bigint()),
        HAKMEM_RECORD_SIGNAL: options.signal ?? '',
        HAKMEM_RECORD_START_OFF: options.startOff ? '1' : '0',
        HAKMEM_RECORD_MAX_SIZE: String(options.maxSize ?? ''),
        HAKMEM_RECORD_KEEP: String(options.keep ?? ''),
      },
    });
    signals.to((signal) => child.kill(signal));
    await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (_code, signal) => {
        killed = signal;
        resolve(null);
      });
    });
  } finally {
    signals.restore();
  }
  const launch = readLaunch(directory);
  if (launch !== null) return launch;
  throw new CheckFailed(
    killed === null
      ? `the recorder's launcher could not start ${name}`
      : `the recorder's launcher was killed by ${killed}; ${name} may run on, and is still recorded`,
  );
}

function timeText(ns: number | undefined): string {
  return ns === undefined ? '' : `${Math.round(ns)}ns`;
}

/**
 * While the program runs, signals are the program's; those that come before it is there wait for `to`. At no time is a
 * signal without a listener, for then it would end this process, or be lost.
 */
function passOnSignals(): { to: (pass: (signal: NodeJS.Signals) => void) => void; restore: () => void } {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
  const before = signals.map((signal) => process.listeners(signal) as NodeJS.SignalsListener[]);
  const waiting: NodeJS.Signals[] = [];
  let pass = (signal: NodeJS.Signals): void => {
    waiting.push(signal);
  };
  const listener = (signal: NodeJS.Signals) => pass(signal);
  for (const [at, signal] of signals.entries()) {
    process.on(signal, listener);
    for (const other of before[at]) process.off(signal, other);
  }
  return {
    to: (receiver) => {
      pass = receiver;
      for (const signal of waiting) receiver(signal);
    },
    restore: () => {
      for (const [at, signal] of signals.entries()) {
        for (const other of before[at]) process.on(signal, other);
        process.off(signal, listener);
      }
    },
  };
}

/** LD_PRELOAD separates its files with spaces and colons: a path that has either goes by another name. */
function preloadable(directory: string): string {
  const library = nativeFile('libhakmem-record.so');
  if (!/[\s:]/.test(library)) return library;
  const link = join(directory, 'record.so');
  symlinkSync(library, link);
  return link;
}

/** The folder of hakmem itself, whether this runs compiled or from its source. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

function nativeFile(name: string): string {
  const path = join(packageRoot(), 'native', 'build', name);
  if (!existsSync(path)) throw new CheckFailed(`${path} is missing: recording needs a C compiler and "npm run build"`);
  return path;
}

/** Whether the kernel itself trusts the processors' counters to run alike. */
function hasSteadyTsc(): boolean {
  try {
    const clock = readFileSync('/sys/devices/system/clocksource/clocksource0/current_clocksource', 'utf8').trim();
    const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
    return clock === 'tsc' && / constant_tsc( |$)/.test(flags) && / nonstop_tsc( |$)/.test(flags);
  } catch {
    return false;
  }
}

async function waitForStragglers(directory: string, launch: Launch): Promise<void> {
  const deadline = performance.now() + straggler_wait_ms;
  const isRunning = ({ pid, finished }: RecordedProcess) =>
    !finished &&
    pid !== launch.pid &&
    existsSync(`/proc/${pid}/maps`) &&
    readFileSync(`/proc/${pid}/cmdline`).length > 0;
  while (performance.now() < deadline && readProcesses(directory).some(isRunning))
    await new Promise((resolve) => setTimeout(resolve, 10));
}

/** `launch` is null where nobody saw the programs end: then the first is what was asked for. */
function writeTraces(
  directory: string,
  launch: Launch | null,
  clocks: Clocks | null,
  name: string,
  output: string | undefined,
): Written[] {
  const machine = `${cpus()[0]?.model.trim() ?? 'unknown processor'}, Linux ${release()}`;
  const processes = readProcesses(directory);
  const main_pid = launch?.pid ?? processes[0]?.pid;
  const written: Written[] = [];
  for (const folder of unreadableProcesses(directory))
    say(`${join(directory, folder)}: its file "process" is missing or damaged: nothing of this process can be read`);
  for (const recorded of processes) {
    const { pid } = recorded;
    // A program that becomes another by exec stays one process: the last is what was asked for.
    const is_main = pid === main_pid && !recorded.became_another;
    const own_name = pid === launch?.pid ? name : basename(recorded.arguments[0] ?? name);
    const path = pathFor(recorded, is_main, own_name, output);
    const recording = new Recording(recorded, launch, clocks);
    const chunks = recording.chunks();
    const first = chunks.next();
    if (first.done && !is_main && recording.warnings().length === 0) continue;
    const columns = { time: true, sites: true, touch: recorded.touch };
    let origin: Origin | undefined;
    const statistics = writeHak(path, resumed(first, chunks), columns, () => {
      origin = recording.origin(machine);
      return origin;
    });
    written.push({ path, pid, is_main, origin: origin!, statistics, warnings: recording.warnings() });
  }
  return written;
}

function* resumed(first: IteratorResult<Chunk>, rest: Iterable<Chunk>): Generator<Chunk> {
  if (first.done) return;
  yield first.value;
  yield* rest;
}

function pathFor(recorded: RecordedProcess, is_main: boolean, name: string, output: string | undefined): string {
  const process_name = recorded.became_another ? `${recorded.pid}-${recorded.image}` : `${recorded.pid}`;
  if (output !== undefined) return is_main ? output : `${output.replace(/\.hak$/, '')}.${process_name}.hak`;
  return `${name}-${process_name}.hak`;
}

function report(written: readonly Written[], launch: Launch | null, name: string, options: RecordOptions): void {
  const shown = options.progress === true || process.stderr.isTTY === true;
  for (const { path, pid, origin, statistics, warnings } of written) {
    const line = `${path}: ${statistics.events} events of ${origin.program} (${pid})`;
    if (shown) say(line);
    for (const warning of warnings) say(`${path}: ${warning}`);
  }
  if (!written.some(({ is_main }) => is_main)) {
    say(`${name} itself could not be recorded; these are the programs that it started`);
    process.exitCode = exit_codes.failed;
  }
  if (launch !== null && launch.signal !== 0)
    say(`${name} was killed by signal ${launch.signal}; what it did before is recorded`);
  else if (launch !== null && launch.status !== 0) say(`${name} exited with status ${launch.status}`);
  if (!options.json) return;
  printJson({
    program: name,
    exit: exitOf(launch),
    written: written.map(({ path, pid, is_main, origin, statistics }) => ({
      path,
      pid,
      is_main,
      program: origin.program,
      events: statistics.events,
      allocations: statistics.allocations,
      frees: statistics.frees,
      reallocs: statistics.reallocs,
      dropped: origin.dropped,
      threads: statistics.threads,
      sites: origin.sites.length,
      bytes: statSync(path).size,
      process: origin.process,
      notes: origin.notes,
    })),
  });
}

function exitOf(launch: Launch | null): string | number {
  if (launch === null) return 'unknown';
  return launch.signal !== 0 ? `signal ${launch.signal}` : launch.status;
}
