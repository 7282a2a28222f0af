/** Programs that most machines have, each with a small workload, recorded by the study that needs them. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { measureProgram } from '../../native/measure.ts';
import { type HakTrace, open } from '../../traces/index.ts';
import { packageRoot } from '../record.ts';

export interface RecordedProgram {
  readonly name: string;
  readonly argv: readonly string[];
  readonly trace: HakTrace;
}

export interface RecordedPrograms {
  readonly recorded: readonly RecordedProgram[];
  /** By name, with the reason. */
  readonly left_out: readonly string[];
}

/** Fewer say nothing of an allocator; of more, every replay takes seconds. */
const events_least = 1000;
const events_most = 250_000;

interface Listed {
  readonly name: string;
  /** Null where what it needs is not there. */
  readonly argv: readonly string[] | null;
  readonly options?: readonly string[];
}

/** Records into `folder`, which also takes what the programs need. */
export async function recordPrograms(
  folder: string,
  most: number,
  progress: (done: number, total: number) => void,
): Promise<RecordedPrograms> {
  const listed = programs(folder).slice(0, most);
  const recorded: RecordedProgram[] = [];
  const left_out: string[] = [];
  for (const [at, { name, argv, options = [] }] of listed.entries()) {
    const found = argv === null ? 'not there' : await record(join(folder, `${name}.hak`), argv, options);
    if (typeof found === 'string') left_out.push(`${name}: ${found}`);
    else recorded.push({ name, argv: argv!, trace: found });
    progress(at + 1, listed.length);
  }
  return { recorded, left_out };
}

async function record(path: string, argv: readonly string[], options: readonly string[]): Promise<HakTrace | string> {
  const hakmem = join(packageRoot(), 'bin', 'hakmem.js');
  const { status } = await measureProgram([
    process.execPath,
    hakmem,
    ...['record', '--touch', ...options, '-o', path, '--', ...argv],
  ]);
  if (status !== 0 || !existsSync(path)) return 'could not be recorded';
  const trace = open(path) as HakTrace;
  const { events } = trace.statistics;
  if (trace.origin.process?.exit !== 0) return `ended with ${trace.origin.process?.exit}`;
  return events < events_least || events > events_most ? `${events} events` : trace;
}

function programs(folder: string): Listed[] {
  const root = packageRoot();
  const made = (name: string): string => join(root, 'experiments', 'studies', 'workloads', name);
  const sample = (name: string): string => join(root, 'traces', 'samples', 'workloads', name);
  const built = (name: string): string => join(root, 'native', 'build', name);
  const listed = (name: string, program: string, ...args: readonly string[]): Listed => {
    const file = which(program);
    return { name, argv: file === null ? null : [file, ...args] };
  };
  const python = (name: string): Listed => listed(`python-${name}`, '/usr/bin/python3', made(`${name}.py`));
  return [
    python('growing'),
    listed('perl-growing', 'perl', made('growing.pl')),
    python('words'),
    python('trees'),
    python('parse'),
    listed('perl-words', 'perl', made('words.pl')),
    listed('awk', 'awk', '-f', made('words.awk')),
    listed('bc', 'bc', '-l', made('pi.bc')),
    listed('jq', 'jq', '-f', made('query.jq'), join(root, 'package-lock.json')),
    compiler(folder, join(root, 'native', 'measure.c')),
    listed('clang', 'clang', '-O1', '-c', join(root, 'native', 'measure.c'), '-o', '/dev/null'),
    listed('git-log', 'git', '-C', root, '--no-pager', 'log', '--stat', '-30'),
    listed('git-diff', 'git', '-C', root, '--no-pager', 'diff', 'HEAD~40', 'HEAD'),
    listed('find', 'find', '-L', root, '-name', '*.ts', '-size', '+1k'),
    listed('make', 'make', '-n', '-p', '-C', join(root, 'native')),
    listed('tar', 'tar', '-cf', '-', '-C', root, 'docs', 'experiments'),
    listed('nm', 'nm', '-C', built('hak-measure')),
    listed('readelf', 'readelf', '-wi', built('hak-replayer')),
    listed('gdb', 'gdb', '-batch', '-ex', 'info functions hak_', built('hak-replayer')),
    listed('dpkg-query', 'dpkg-query', '-W'),
    listed('openssl', 'openssl', 'list', '-commands', '-cipher-algorithms'),
    { ...listed('node', process.execPath, made('parse.mjs')), options: ['--min-size', '4K'] },
    { name: 'threads', argv: threads(folder, sample('threads.cc')) },
  ];
}

/** The compiler proper: its driver would be recorded instead. */
function compiler(folder: string, source: string): Listed {
  const [text, cc1] = [join(folder, 'source.i'), said('cc', '-print-prog-name=cc1')];
  const there = cc1 !== null && existsSync(cc1) && said('cc', '-E', source, '-o', text) !== null;
  return { name: 'cc1', argv: there ? [cc1, '-quiet', '-fpreprocessed', '-O1', text, '-o', '/dev/null'] : null };
}

function threads(folder: string, source: string): readonly string[] | null {
  const program = join(folder, 'threads');
  return said('c++', '-O2', '-std=c++17', '-pthread', source, '-o', program) === null ? null : [program, '6'];
}

function which(program: string): string | null {
  return program.startsWith('/') ? (existsSync(program) ? program : null) : said('sh', '-c', `command -v ${program}`);
}

/** What a short command prints; null where it fails. */
function said(command: string, ...args: readonly string[]): string | null {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? stdout.trim() : null;
}
