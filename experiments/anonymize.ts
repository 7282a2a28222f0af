/** `hakmem anonymize TRACE -o FILE.hak`: a trace to hand on, without names. docs/TRACES.md says what remains. */
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { type Chunk, limits, type Origin, op, open, originOf, type Site, writeLongHak } from '../traces/index.ts';
import { Progress, print, printJson, sizeOption, UsageError, wholeNumber } from './command.ts';
import { columnsOf, reported } from './import.ts';

export function addAnonymize(program: Command): void {
  program
    .command('anonymize')
    .description('a trace to hand on: names, command and program replaced by keyed hashes')
    .argument('<trace>', 'a .hak file, or any format that import reads')
    .requiredOption('-o, --output <file>', 'where to write the .hak file')
    .option(
      '--key-file <file>',
      'the key, 16 bytes or more: traces under one key can be compared; a random one unless given',
    )
    .option('--round-sizes <size>', 'round sizes up to whole multiples of this', sizeOption)
    .option('--without-times', 'leave out when things happened, their order remains')
    .option('--seed <n>', 'accepted as everywhere; nothing that a seed may decide is random here', wholeNumber(0))
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(anonymize);
}

interface Options {
  readonly output: string;
  readonly keyFile?: string;
  readonly roundSizes?: number;
  readonly withoutTimes?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

const key_bytes_min = 16;

async function anonymize(path: string, options: Options): Promise<void> {
  const { output, roundSizes: multiple, withoutTimes: without_times = false } = options;
  if (multiple === 0) throw new UsageError('--round-sizes: found 0, wanted 1 byte or more');
  const key = options.keyFile === undefined ? randomBytes(32) : readKey(options.keyFile);
  const trace = open(path);
  const progress = new Progress(`anonymizing ${path}`, options.progress === true);
  const chunks = multiple === undefined ? trace.chunks() : rounded(trace.chunks(), multiple);
  const columns = columnsOf(trace);
  const origin = anonymous(trace.origin, key, multiple, without_times);
  const statistics = await writeLongHak(
    output,
    reported(chunks, progress, trace.statistics.events),
    { ...columns, time: columns.time && !without_times },
    () => origin,
  );
  progress.finish();
  const { sites } = origin;
  if (options.json) printJson({ path, output, sites: sites.length, notes: origin.notes, ...statistics });
  else print(`${output}: ${statistics.events} events and ${sites.length} call sites from ${path}, without names`);
}

function readKey(path: string): Buffer {
  let key: Buffer;
  try {
    key = readFileSync(path);
  } catch (error) {
    throw new UsageError(`--key-file: ${path}: ${(error as Error).message}`);
  }
  if (key.length < key_bytes_min)
    throw new UsageError(`--key-file: ${path}: found ${key.length} bytes, wanted ${key_bytes_min} or more`);
  return key;
}

/** Made of named fields alone, so that a field which is added to traces later does not slip through. */
function anonymous(origin: Origin, key: Buffer, multiple: number | undefined, without_times: boolean): Origin {
  const hash = (text: string): string => createHmac('sha256', key).update(text).digest('hex').slice(0, 16);
  const { source, page_bytes, has_time, has_sites, process, sites, dropped, notes } = origin;
  const said = [
    ...(multiple === undefined ? [] : [`Sizes are rounded up to multiples of ${multiple} bytes.`]),
    ...(without_times ? ['Times were left out.'] : []),
    ...(notes.length > 0 ? [`${notes.length} notes of the original were left out.`] : []),
  ];
  return originOf(source, {
    format: origin.format,
    program: hash(origin.program),
    command: origin.command === '' ? '' : hash(origin.command),
    page_bytes,
    has_time: has_time && !without_times,
    has_sites,
    process: process === null || without_times ? null : process,
    sites: sites.map((site) => anonymousSite(site, hash)),
    dropped,
    notes: ['Anonymised: names are keyed hashes.', ...said],
  });
}

/** Frame by frame: which stacks share frames is still to be seen. */
function anonymousSite(site: Site, hash: (text: string) => string): Site {
  const name = site.name === null ? null : site.name.split(' < ').map(hash).join(' < ');
  return { hash: hash(site.hash), name };
}

function* rounded(chunks: Iterable<Chunk>, multiple: number): Generator<Chunk> {
  const most = limits.size_bytes - 1;
  for (const chunk of chunks) {
    const size_bytes = chunk.size_bytes.map((size, row) =>
      chunk.op[row] === op.free ? 0 : Math.min(most, Math.ceil(size / multiple) * multiple),
    );
    yield { ...chunk, size_bytes };
  }
}
