/** `hakmem verify-setting -- PROGRAM`: is a setting of glibc's malloc live in the program, to its end, and if not, why? */
import type { Command } from 'commander';
import { group } from 'd3-array';
import { NotStartedError } from '../native/measure.ts';
import { paint } from './color.ts';
import { exit_codes, print, printJson, say, UsageError, wholeNumber } from './command.ts';
import { isGlibcVariable } from './glibc-tunables.ts';
import {
  type Proof,
  type ProvenImage,
  type ProvenSetting,
  proveSetting,
  type SettingVerdict,
} from './setting-proof.ts';
import { parseVariables } from './subject-setting.ts';

interface Options {
  readonly setting?: string;
  readonly json?: boolean;
}

export function addVerifySetting(program: Command): void {
  program
    .command('verify-setting')
    .description("proves that a setting of glibc's malloc is live in a program, or says why it is not")
    .argument('<program>', 'the program; put -- before it')
    .argument('[arguments...]', 'its arguments')
    .option('--setting <variables>', 'GLIBC_TUNABLES=... or MALLOC_..._=...; by default what the environment has')
    .option('--json', "print one JSON document on stdout; the program's own stdout then goes to stderr")
    .option('--seed <n>', 'taken by every command; nothing here is random', wholeNumber(0))
    .passThroughOptions()
    .addHelpText(
      'after',
      `
The program runs once, to its end, with a library preloaded that tries its malloc in forked children at the start and at
the end. Exit codes: 0 all that was asked for is live to the end in every process; 1 it is not, or cannot be shown;
2 bad usage. docs/SETTINGS.md says what proves what.`,
    )
    .action(verifySetting);
}

async function verifySetting(name: string, args: readonly string[], options: Options): Promise<void> {
  const setting = options.setting === undefined ? settingOfEnvironment() : parseVariables(options.setting, '--setting');
  const proof = await prove([name, ...args], setting, options.json === true);
  if (options.json) printJson(documentOf(proof, setting));
  else print(...linesOf(proof, setting));
  if (proof.spent !== null && proof.spent.signal !== 0) say(`${name} was killed by signal ${proof.spent.signal}`);
  else if (proof.spent !== null && proof.spent.status !== 0) say(`${name} exited with status ${proof.spent.status}`);
  if (!proof.live) process.exitCode = exit_codes.failed;
}

async function prove(argv: readonly string[], setting: Record<string, string>, to_stderr: boolean): Promise<Proof> {
  try {
    return await proveSetting(argv, {
      env: { ...process.env, ...setting },
      setting,
      input: 'inherit',
      output: 'inherit',
      output_to: to_stderr ? 2 : 1,
    });
  } catch (error) {
    if (error instanceof NotStartedError) throw new UsageError(error.message);
    throw error;
  }
}

function settingOfEnvironment(): Record<string, string> {
  const found = Object.entries(process.env).filter(([name]) => isGlibcVariable(name)) as [string, string][];
  if (found.length === 0)
    throw new UsageError('no setting: found neither --setting nor GLIBC_TUNABLES or MALLOC_..._ in the environment');
  // Misspelt variables are to be told of, whoever set them.
  const others = Object.entries(process.env).filter(([name]) => name.startsWith('MALLOC_')) as [string, string][];
  return Object.fromEntries([...found, ...others]);
}

function documentOf(proof: Proof, setting: Record<string, string>): unknown {
  const { spent } = proof;
  return {
    program: proof.program,
    setting,
    verdict: proof.verdict,
    mistakes: proof.mistakes,
    notes: proof.notes,
    images: proof.images.map((image) => ({
      ...image,
      settings: image.settings.map((each) => ({ ...each, value: plain(each.value) })),
    })),
    exit: spent === null ? null : spent.signal !== 0 ? `signal ${spent.signal}` : spent.status,
  };
}

/** Numbers of 64 bits are text where a number would be rounded. */
function plain(value: bigint): number | string {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
}

const paints: Readonly<Record<SettingVerdict, (text: string) => string>> = {
  live: paint.green,
  'not live': paint.red,
  changed: paint.red,
  unproven: paint.yellow,
};

function linesOf(proof: Proof, setting: Record<string, string>): string[] {
  return [
    Object.entries(setting)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
    ...proof.mistakes.map((text) => `  ${paint.red('mistake')}   ${text}`),
    ...proof.notes.map((text) => `  note      ${text}`),
    ...alike(proof.images).flatMap(imageLines),
    paints[proof.verdict](
      proof.live
        ? 'live to the end in every process'
        : `${proof.verdict}${proof.spent === null ? '; the program was not run' : ''}`,
    ),
  ];
}

/** A build or a shell script runs the same program many times: those of equal verdicts and reasons are shown once. */
function alike(images: readonly ProvenImage[]): ProvenImage[][] {
  const key = ({ path, reasons, settings, mallopt_calls }: ProvenImage): string =>
    JSON.stringify([path, reasons, mallopt_calls, settings.map(({ verdict, to, by }) => [verdict, to, by])]);
  return [...group(images, key).values()];
}

function imageLines(images: readonly ProvenImage[]): string[] {
  const [image] = images;
  const libc = image.libc_version === null ? [] : [`glibc ${image.libc_version}`];
  const pid =
    image.pid === 0 ? [] : [images.length === 1 ? `${image.pid}` : `${images.length} times, first ${image.pid}`];
  const about = [...pid, ...libc].join(', ');
  return [
    `${image.path}${about === '' ? '' : ` (${about})`}`,
    ...image.reasons.map((text) => `  because   ${text}`),
    ...image.settings.map((each) => settingLine(each, image)),
    ...image.mallopt_calls.map((text) => `  called    ${text}`),
  ];
}

function settingLine({ verdict, name, value, from, to, reasons, evidence }: ProvenSetting, image: ProvenImage): string {
  const own = reasons.filter((text) => !image.reasons.includes(text));
  const moved = verdict === 'changed' && to !== null ? `: from ${from ?? value} to ${to}` : '';
  const shown = verdict === 'changed' ? evidence.end : evidence.start;
  const why = [...own, ...(shown === null ? [] : [shown])].join('; ');
  return `  ${paints[verdict](verdict.padEnd(9))} ${name}=${value}${moved}${why === '' ? '' : `: ${why}`}`;
}
