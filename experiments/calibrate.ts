/** `hakmem calibrate`: what memory costs on this machine, measured by several processes, kept for `--prices measured`. */
import { mkdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { probeProfile } from '../native/index.ts';
import { writeAtomically } from '../traces/index.ts';
import { combine, type Pass } from './calibrate/combine.ts';
import { thisMachine } from './calibrate/machine.ts';
import { calibrationPass, calibrationTrouble } from './calibrate/pass.ts';
import { cachedPath } from './calibrate/price-file.ts';
import { tableOf } from './calibrate/table.ts';
import { CheckFailed, Progress, print, printJson, UsageError, wholeNumber } from './command.ts';
import { checkWritable } from './record.ts';

interface Options {
  readonly output?: string;
  readonly quick?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

/** On a slow machine fewer passes are made rather than more time taken. */
const efforts = {
  full: { passes: 7, passes_least: 2, seconds: 85 },
  quick: { passes: 3, passes_least: 2, seconds: 14 },
} as const;

export function addCalibrate(program: Command): void {
  program
    .command('calibrate')
    .description("measure this machine's prices of memory, with their uncertainty, and probe its kernel")
    .option('-o, --output <file>', 'where the prices go, JSON; kept for --prices measured unless given')
    .option('--quick', 'fewer sizes and runs: a sixth of the time, wider intervals')
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .option('--seed <n>', 'taken by every command; nothing here is random', wholeNumber(0))
    .addHelpText(
      'after',
      `
Takes about a minute, a quarter with --quick, on one CPU and for a moment on two; what else runs makes intervals wider.
Needs no root. Prices are those of warm memory that nobody else uses: docs/PRICES.md says how each is measured.`,
    )
    .action(calibrate);
}

async function calibrate(options: Options): Promise<void> {
  const path = options.output ?? cachedPath();
  if (options.output === undefined) makeFolder(dirname(path));
  checkWritable(path);
  const trouble = calibrationTrouble();
  const profile = probeProfile();
  if (trouble !== null || profile === null) throw new CheckFailed(trouble ?? 'the kernel cannot be probed');
  const measured_at = new Date().toISOString();
  const before = busySeconds();
  const started = performance.now();
  const passes = await measure(options);
  const others_busy = shareOfOthers(busySeconds() - before, (performance.now() - started) / 1000, passes);
  const document = combine(passes, { machine: thisMachine(), profile, measured_at, others_busy });
  const text = `${JSON.stringify(document, null, 1)}\n`;
  writeAtomically(path, (sink) => sink.append(new TextEncoder().encode(text)));
  if (options.json) printJson({ path, ...document });
  else print(...tableOf(document), '', `prices are in ${path}; use them with --prices ${usage(options)}`);
}

function usage({ output }: Options): string {
  return output ?? 'measured';
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new UsageError(`${folder}: cannot be made: ${(error as Error).message}; wanted a cache folder, or -o FILE`);
  }
}

/** CPU time of everything on this machine. */
function busySeconds(): number {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) / 1000;
}

/** Of the CPUs that were not ours; null where there is no other. */
function shareOfOthers(busy_s: number, elapsed_s: number, passes: readonly Pass[]): number | null {
  const others = cpus().length - 1;
  if (others === 0) return null;
  const own_s = passes.reduce((sum, { cpu_s }) => sum + cpu_s, 0);
  return Math.min(1, Math.max(0, (busy_s - own_s) / (elapsed_s * others)));
}

/** One process after another, each measuring everything: what disturbs for a while disturbs all prices alike. */
async function measure(options: Options): Promise<Pass[]> {
  const { passes: wanted, passes_least, seconds } = efforts[options.quick === true ? 'quick' : 'full'];
  const progress = new Progress('calibrating', options.progress === true);
  const started = performance.now();
  const passes: Pass[] = [];
  while (passes.length < wanted) {
    const spent_s = (performance.now() - started) / 1000;
    if (passes.length >= passes_least && spent_s + spent_s / passes.length > seconds) break;
    progress.update(passes.length, wanted);
    const left_s = passes.length < passes_least ? Number.POSITIVE_INFINITY : seconds - spent_s;
    const pass = await calibrationPass(options.quick === true, left_s);
    if (pass === null) break;
    passes.push(pass);
  }
  progress.update(wanted, wanted);
  progress.finish();
  return passes;
}
