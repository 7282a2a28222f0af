/** `hakmem symbols TRACE -o FILE.hak`: names for call sites that a recording has as offsets in files, on any machine. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { readElf } from '../traces/elf.ts';
import { type Module, type Origin, open, type Site, writeLongHak } from '../traces/index.ts';
import { Progress, print, printJson, UsageError, wholeNumber } from './command.ts';
import { columnsOf, reported } from './import.ts';

export function addSymbols(program: Command): void {
  program
    .command('symbols')
    .description('functions and lines for the call sites of a recording, from the files of the same build')
    .argument('<trace>', 'a .hak file of hakmem record')
    .requiredOption('-o, --output <file>', 'where to write the .hak file')
    .option('--debug-dir <folder...>', 'files, or .build-id/xx/rest.debug, to look in before the usual places', [])
    .option('--seed <n>', 'accepted as everywhere; nothing here is random', wholeNumber(0))
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(symbols);
}

interface Options {
  readonly output: string;
  readonly debugDir: readonly string[];
  readonly progress?: boolean;
  readonly json?: boolean;
}

const debug_folders = ['/usr/lib/debug'];
const frame_pattern = /^(.+)\+0x([0-9a-f]+)$/;

async function symbols(path: string, options: Options): Promise<void> {
  for (const folder of options.debugDir)
    if (!existsSync(folder)) throw new UsageError(`--debug-dir: ${folder}: no such folder`);
  const trace = open(path);
  const { modules } = trace.origin;
  if (modules === undefined)
    throw new UsageError(`${path}: its sites are no offsets in files; wanted a trace of hakmem record`);
  const found = modules.map((module) => look(module, modules, [...options.debugDir, ...debug_folders]));
  const names = namesOf(trace.origin.sites, found);
  const sites = trace.origin.sites.map((site) => named(site, names));
  const notes = found.flatMap(({ module, problem }) =>
    problem === null ? [] : [`Sites in ${module.name} stay offsets: ${problem}.`],
  );
  const origin: Origin = { ...trace.origin, sites, notes: [...trace.origin.notes, ...notes] };
  const progress = new Progress(`writing ${options.output}`, options.progress === true);
  const chunks = reported(trace.chunks(), progress, trace.statistics.events);
  await writeLongHak(options.output, chunks, columnsOf(trace), () => origin);
  progress.finish();
  const frames = new Set(trace.origin.sites.flatMap(framesOf)).size;
  if (options.json) printJson({ path, output: options.output, frames, named: names.size, notes });
  else print([`${options.output}: ${names.size} of ${frames} different frames have names`, ...notes].join('\n'));
}

interface Found {
  readonly module: Module;
  /** The file to ask, and the address of its offset 0. */
  readonly file: string;
  readonly first_address: number;
  /** Why there is none. */
  readonly problem: string | null;
}

/** The file of the same build, or one of its symbols. Never another build's: its names would be wrong and look right. */
function look(module: Module, all: readonly Module[], folders: readonly string[]): Found {
  const { name, path, build_id } = module;
  const none = (problem: string): Found => ({ module, file: '', first_address: 0, problem });
  if (all.some((other) => other.name === name && other !== module)) return none('two files have this name');
  if (build_id === null) return none('the recording has no build id of it');
  const by_id = join('.build-id', build_id.slice(0, 2), `${build_id.slice(2)}.debug`);
  const candidates = [
    ...folders.flatMap((folder) => [
      join(folder, by_id),
      join(folder, path),
      join(folder, name),
      join(folder, `${name}.debug`),
    ]),
    path,
  ];
  const built = new Set<string>();
  for (const file of candidates) {
    const elf = readElf(file);
    if (elf?.build_id === build_id) return { module, file, first_address: elf.first_address, problem: null };
    if (elf !== null) built.add(elf.build_id ?? 'without an id');
  }
  const others = built.size > 0 ? `, only of ${[...built].map((id) => id.slice(0, 12)).join(', ')}` : '';
  return none(`no file of its build ${build_id.slice(0, 12)} was found${others}`);
}

function framesOf({ name }: Site): string[] {
  return name === null ? [] : name.split(' < ').filter((frame) => frame_pattern.test(frame));
}

/** "function at file:line" by frame, for those that a file knows. */
function namesOf(sites: readonly Site[], found: readonly Found[]): Map<string, string> {
  const names = new Map<string, string>();
  const frames = [...new Set(sites.flatMap(framesOf))];
  for (const { module, file, first_address, problem } of found) {
    const own = problem === null ? frames.filter((frame) => frame_pattern.exec(frame)![1] === module.name) : [];
    if (own.length === 0) continue;
    // A site is where a call returns to: the call itself ends one byte before.
    const addresses = own.map((frame) => Number.parseInt(frame_pattern.exec(frame)![2], 16) + first_address - 1);
    for (const [at, name] of ask(file, addresses).entries()) if (name !== null) names.set(own[at], name);
  }
  return names;
}

/** addr2line of binutils prints two lines an address: function, and file:line; "??" for what it does not know. */
function ask(file: string, addresses: readonly number[]): (string | null)[] {
  const input = addresses.map((address) => `0x${address.toString(16)}\n`).join('');
  const { stdout, error, status } = spawnSync('addr2line', ['-f', '-C', '-e', file], {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (error !== undefined || status !== 0)
    throw new UsageError(`addr2line: ${error?.message ?? `exit ${status} on ${file}`}; wanted that of binutils`);
  const lines = stdout.split('\n');
  return addresses.map((_, at) => {
    const [name, place] = [lines[at * 2], lines[at * 2 + 1]];
    if (name === undefined || name === '??') return null;
    const [, line] = /([^/]+:\d+)(?: \(discriminator \d+\))?$/.exec(place ?? '') ?? [];
    return (line === undefined ? name : `${name} at ${line}`).replaceAll(' < ', '<');
  });
}

/** The hash stays: two recordings are compared by it, with names or without. */
function named(site: Site, names: ReadonlyMap<string, string>): Site {
  if (site.name === null) return site;
  const name = site.name
    .split(' < ')
    .map((frame) => (names.has(frame) ? `${names.get(frame)} (${frame})` : frame))
    .join(' < ');
  return { hash: site.hash, name };
}
