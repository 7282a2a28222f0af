/** What every subcommand shares: sizes, one-line errors with their exit code, and where words and documents go. */
import { type Command, InvalidArgumentError } from 'commander';
import { TraceError } from '../traces/trace.ts';
import { notBytes, readBytes } from './sizes.ts';

export { formatBytes } from './sizes.ts';

/** The command line's mistake: one line on stderr, exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** A check that did not hold: one line on stderr, exit code 1. */
export class CheckFailed extends Error {
  override name = 'CheckFailed';
}

export const exit_codes = { holds: 0, failed: 1, bad_input: 2, interrupted: 130 } as const;

/** The exit code an error stands for; undefined where it is a bug of ours and deserves its stack. */
export function exitCodeOf(error: unknown): number | undefined {
  if (error instanceof TraceError || error instanceof UsageError) return exit_codes.bad_input;
  if (error instanceof CheckFailed) return exit_codes.failed;
  return undefined;
}

/** Bytes from "2MiB", "512K", "33554432". Throws UsageError. */
export function parseBytes(text: string): number {
  const bytes = readBytes(text);
  if (bytes === undefined) throw new UsageError(notBytes(text));
  return bytes;
}

/** For commander: an option's whole number within [min, max]. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`"${text}" is not a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** For commander: a size option. */
export function sizeOption(text: string): number {
  try {
    return parseBytes(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

const time_units: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 };

/** For commander: a time option, in nanoseconds. */
export function timeOption(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ns|us|ms|s)$/.exec(text) ?? [];
  if (number === undefined)
    throw new InvalidArgumentError(`"${text}" is not a time; wanted such as 250ms, 1.5s, 40us or 7ns.`);
  return Number(number) * time_units[unit];
}

/** One JSON document on stdout. */
export function printJson(document: unknown): void {
  process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
}

/** Lines on stdout. */
export function print(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Words on stderr. */
export function say(line: string): void {
  process.stderr.write(`hakmem: ${line}\n`);
}

/**
 * Progress on stderr, one rewritten line, when stderr is a terminal or `--progress` was given; silent otherwise.
 * `total` 0 means not known.
 */
export class Progress {
  private readonly shown: boolean;
  private readonly label: string;
  private readonly started = performance.now();
  private last = 0;

  constructor(label: string, forced: boolean) {
    this.label = label;
    this.shown = forced || process.stderr.isTTY === true;
  }

  update(done: number, total: number): void {
    const now = performance.now();
    if (!this.shown || (now - this.last < 200 && done < total)) return;
    this.last = now;
    const seconds = (now - this.started) / 1000;
    const rate = seconds > 0 ? done / seconds : 0;
    const left = rate > 0 && total > 0 ? `, ${Math.ceil((total - done) / rate)} s left` : '';
    const share = total > 0 ? `${Math.floor((100 * done) / total)} % of ${total}` : `${done}`;
    const end = process.stderr.isTTY ? '\r' : '\n';
    process.stderr.write(`hakmem: ${this.label}: ${share}, ${Math.round(rate)} a second${left}   ${end}`);
  }

  finish(): void {
    if (this.shown && process.stderr.isTTY) process.stderr.write('\n');
  }
}

/** What stands behind `--`; commander hands it on among the other arguments. */
export function programAfterDashes(command: Command): readonly string[] {
  const words = (command.parent as Command & { readonly rawArgs: readonly string[] }).rawArgs;
  const dashes = words.indexOf('--');
  return dashes < 0 ? [] : words.slice(dashes + 1);
}
