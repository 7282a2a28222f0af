/** `hakmem filter TRACE -o FILE.hak`: part of a trace, as a trace. */
import { type Command, InvalidArgumentError } from 'commander';
import { filtered, type Wanted } from '../traces/filtered.ts';
import { open, type Trace, writeLongHak } from '../traces/index.ts';
import { withoutCounts } from '../traces/sample-estimate.ts';
import { SampledTrace } from '../traces/sampled.ts';
import { Progress, parseBytes, print, printJson, timeOption, UsageError, wholeNumber } from './command.ts';
import { columnsOf, reported, someOf } from './import.ts';

export function addFilter(program: Command): void {
  program
    .command('filter')
    .description(
      'part of a trace: blocks by size, thread, call site or sample, with all that becomes of them; a window of time',
    )
    .argument('<trace>', 'a .hak file, or any format that import reads')
    .requiredOption('-o, --output <file>', 'where to write the .hak file')
    .option('--size <range>', 'blocks allocated with so many bytes: 64K:2MiB, 4096: or :4096, ends included', sizeRange)
    .option('--thread <n>', 'blocks that this thread allocated; may be given again', eachThread, [])
    .option(
      '--site <text>',
      'blocks of call sites that have this in their name or hash; may be given again',
      eachText,
      [],
    )
    .option('--from <time>', 'from this time of the trace on, such as 250ms; us, ms, s or ns', timeOption)
    .option('--to <time>', 'until before this time', timeOption)
    .option('--sample <share>', 'a share of the call sites, or of the blocks where none are known, such as 0.1', share)
    .option('--seed <n>', 'of the sample', wholeNumber(0), 1)
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(filter);
}

interface Options {
  readonly output: string;
  readonly size?: readonly [number, number];
  readonly thread: readonly number[];
  readonly site: readonly string[];
  readonly from?: number;
  readonly to?: number;
  readonly sample?: number;
  readonly seed: number;
  readonly progress?: boolean;
  readonly json?: boolean;
}

async function filter(path: string, options: Options): Promise<void> {
  const { output, sample, seed } = options;
  const whole = open(path);
  const wanted = wantedOf(whole, options);
  const part: Trace = {
    path,
    origin: whole.origin,
    statistics: whole.statistics,
    chunks: () => filtered(whole, wanted),
  };
  // Drawn from what is wanted: without recorded time a sample has another clock than its trace.
  const trace = sample === undefined ? part : new SampledTrace(part, sample, seed);
  const progress = new Progress(`filtering ${path}`, options.progress === true);
  const chunks = someOf(path, trace.chunks(), 'no event that is wanted; wanted one at least');
  const origin = {
    ...withoutCounts(whole.origin),
    // What the program spent was for all it did.
    process: null,
    notes: [...whole.origin.notes, `Filtered: ${said(options)}.`],
  };
  const statistics = await writeLongHak(output, reported(chunks, progress, 0), columnsOf(whole), () => origin);
  progress.finish();
  const { events } = whole.statistics;
  if (options.json) printJson({ path, output, filter: said(options), events_before: events, ...statistics });
  else print(`${output}: ${statistics.events} of ${events} events from ${path}, ${said(options)}`);
}

function wantedOf({ path, origin }: Trace, { size, thread, site, from, to }: Options): Wanted {
  if (site.length > 0 && !origin.has_sites)
    throw new UsageError(`--site: ${path} has no call sites; wanted a trace with some`);
  const from_ns = from ?? 0;
  const to_ns = to ?? Number.POSITIVE_INFINITY;
  if (from_ns >= to_ns) throw new UsageError('--to: found a time that is not after --from; wanted a later one');
  const has = (text: string): boolean => site.some((wanted) => text.includes(wanted));
  const sites = Uint8Array.from(origin.sites, ({ name, hash }) => (has(name ?? hash) || has(hash) ? 1 : 0));
  if (site.length > 0 && !sites.includes(1))
    throw new UsageError(
      `--site: no call site of ${path} has ${site.join(' or ')} in its name; hakmem info lists them`,
    );
  return {
    size_bytes: size ?? [0, Number.POSITIVE_INFINITY],
    threads: thread.length > 0 ? new Set(thread) : null,
    sites: site.length > 0 ? sites : null,
    window_ns: [from_ns, to_ns],
  };
}

/** In words, for the note that the trace keeps. */
function said({ size, thread, site, from, to, sample, seed }: Options): string {
  const parts = [
    size === undefined ? '' : `blocks of ${size[0]} to ${size[1]} bytes`,
    thread.length > 0 ? `threads ${thread.join(', ')}` : '',
    site.length > 0 ? `call sites with ${site.join(' or ')}` : '',
    from === undefined && to === undefined
      ? ''
      : `from ${from ?? 0} ns${to === undefined ? '' : ` to before ${to} ns`}`,
    sample === undefined ? '' : `a sample of ${sample}, seed ${seed}`,
  ].filter((part) => part !== '');
  return parts.length > 0 ? parts.join('; ') : 'everything';
}

function sizeRange(text: string): readonly [number, number] {
  const [, low, high] = /^([^:]*):([^:]*)$/.exec(text) ?? [];
  if (low === undefined || `${low}${high}` === '')
    throw new InvalidArgumentError(`"${text}" is not a range; wanted 64K:2MiB, 4096: or :4096.`);
  try {
    const range = [low === '' ? 0 : parseBytes(low), high === '' ? 2 ** 47 : parseBytes(high)] as const;
    if (range[0] <= range[1]) return range;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
  throw new InvalidArgumentError(`"${text}" ends before it begins; wanted the smaller size first.`);
}

function share(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError(`"${text}" is not a share above 0 and at most 1.`);
  return value;
}

function eachThread(text: string, before: readonly number[]): readonly number[] {
  return [...before, wholeNumber(0, 2 ** 32 - 1)(text)];
}

function eachText(text: string, before: readonly string[]): readonly string[] {
  if (text === '') throw new InvalidArgumentError('"" is in every name; wanted some text.');
  return [...before, text];
}
