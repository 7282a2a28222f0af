/**
 * Mutation testing of the C core: each operator and constant of native/core changed, one at a time, and the changed core
 * held to the simulator's answers. A change that no case tells from the original is either listed, with the reason why
 * nothing could tell, in equivalent.json, or it is a gap in the cross-check.
 *
 *     node dist/experiments/verify/mutate.js [--share PERMILLE] [--seed N] [--file NAME] [--jobs N] [--before REPORT.json] [--out FILE]
 *         [--update-docs]
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import seedrandom from 'seedrandom';
import { crc32 } from '../../traces/crc32.ts';
import { packageRoot } from '../record.ts';
import { applied, type Mutant, mutantsOf } from './c-mutants.ts';
import { markdownTable, writeBetween } from './markers.ts';
import { type Cases, casesOf, Oracle, writeInputs } from './oracle.ts';
import { leaveNothingBehind, run } from './process.ts';

/** The real kernel, which is measured and not compared, and the command line: another check holds those. */
const left_out = new Set(['real.c', 'probe.c', 'replay_main.c']);

/** Which cases a file's mutants are given: only readers get malformed files, the model's mutants no real kernel. */
function groupOf(file: string): keyof Cases {
  if (file === 'hakfile.c' || file === 'crc32.c') return 'reader';
  return ['pages.c', 'vma.c', 'histogram.c', 'digest.c'].includes(file) ? 'model' : 'policy';
}

export interface Verdict extends Omit<Mutant, 'offset' | 'length' | 'replacement'> {
  readonly outcome: 'caught' | 'equivalent' | 'survived' | 'did not compile';
  /** The case that caught it and what differed there, or why nothing can. */
  readonly why: string;
}

export interface Options {
  /** Of a thousand mutants, how many are tried. */
  readonly share_permille: number;
  readonly seed: number;
  /** Only mutants of this file; null for all. */
  readonly file: string | null;
  /** An earlier report, whose catches stand where the file is what it was; null tries all. */
  readonly before: Report | null;
  /** Whether mutants listed as equivalent go through every case, which takes long, or only through the most telling. */
  readonly thorough: boolean;
  readonly jobs: number;
}

export interface Report {
  readonly seed: number;
  readonly share_permille: number;
  readonly mutants: number;
  /** Checksum of each mutated file. */
  readonly sources: Readonly<Record<string, string>>;
  readonly tried: number;
  readonly verdicts: readonly Verdict[];
  /** Cases in which the core as it is does not answer as the simulator: they took no part. */
  readonly disagreements: readonly { readonly name: string; readonly difference: string }[];
  /** Listed as equivalent, and yet caught or not there: the list is out of date. */
  readonly stale: readonly string[];
}

interface Equivalent {
  readonly file: string;
  readonly function: string;
  readonly text: string;
  readonly mutation: string;
  readonly why: string;
}

/** Tries the mutants in a scratch folder that is gone afterwards. `progress` hears of each. */
export async function mutate(
  options: Options,
  progress: (done: number, of: number, last: Verdict) => void,
): Promise<Report> {
  const root = packageRoot();
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-mutants-'));
  const discard = (): void => rmSync(folder, { recursive: true, force: true });
  leaveNothingBehind(discard);
  try {
    const sources = coreSources(root);
    const every = [...sources].flatMap(([file, source]) => mutantsOf(file, source));
    const random = seedrandom.alea(`mutants/${options.seed}`);
    const drawn = every.map((mutant) => ({ mutant, drawn: random() * 1000 < options.share_permille }));
    const chosen = drawn.filter((each) => each.drawn && (options.file === null || each.mutant.file === options.file));
    const equivalents = readEquivalents(root);
    const sums = Object.fromEntries([...sources].map(([file, source]) => [file, crc32Hex(source)]));
    const standing = catchesThatStand(options.before, sums);
    const shop = await Workshop.open(root, folder);
    const cases = casesOf(writeInputs(folder, root, 1));
    const oracle = new Oracle(shop.sound);
    const verdicts: Verdict[] = [];
    const queue = chosen.map(({ mutant }) => mutant);
    const work = async (job: number): Promise<void> => {
      for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
        const stands = standing.get(keyOf(mutant));
        if (stands !== undefined) {
          verdicts.push({ ...stands, line: mutant.line });
          continue;
        }
        const binary = await shop.build(job, mutant, applied(sources.get(mutant.file)!, mutant));
        const known = equivalents.has(keyOf(mutant)) && !options.thorough;
        const every_case = cases[groupOf(mutant.file)];
        const caught =
          binary === null ? null : await oracle.catches(binary, known ? every_case.slice(0, 4) : every_case);
        const verdict = judge(mutant, binary !== null, caught, equivalents);
        verdicts.push(verdict);
        progress(verdicts.length, chosen.length, verdict);
      }
    };
    await Promise.all(Array.from({ length: options.jobs }, (_, job) => work(job)));
    const order = new Map(chosen.map(({ mutant }, at) => [keyOf(mutant), at]));
    verdicts.sort((a, b) => order.get(keyOf(a))! - order.get(keyOf(b))! || a.line - b.line);
    const survivors = new Set(verdicts.filter((each) => each.outcome === 'equivalent').map(keyOf));
    const tried = new Set(verdicts.map(keyOf));
    const known = new Set(every.map(keyOf));
    const stale = [...equivalents.keys()].filter((key) => !known.has(key) || (tried.has(key) && !survivors.has(key)));
    return {
      seed: options.seed,
      share_permille: options.share_permille,
      sources: sums,
      mutants: every.length,
      tried: verdicts.length,
      verdicts,
      disagreements: oracle.disagreements,
      stale,
    };
  } finally {
    discard();
  }
}

/** The sources that are mutated, by file name. */
function coreSources(root: string): Map<string, string> {
  const folder = join(root, 'native', 'core');
  const names = readdirSync(folder).filter((name) => name.endsWith('.c') && !left_out.has(name));
  return new Map(names.sort().map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

function readEquivalents(root: string): Map<string, Equivalent> {
  const path = join(root, 'experiments', 'verify', 'equivalent.json');
  const list = JSON.parse(readFileSync(path, 'utf8')) as readonly Equivalent[];
  return new Map(list.map((each) => [keyOf(each), each]));
}

/** What an earlier report caught, in files that have not changed since. */
function catchesThatStand(before: Report | null, sums: Readonly<Record<string, string>>): Map<string, Verdict> {
  const caught = (before?.verdicts ?? []).filter(
    ({ file, outcome }) =>
      before?.sources[file] === sums[file] && (outcome === 'caught' || outcome === 'did not compile'),
  );
  return new Map(caught.map((each) => [keyOf(each), each]));
}

const crc32Hex = (text: string): string => crc32(new TextEncoder().encode(text)).toString(16).padStart(8, '0');

/** A mutant by its words, so that it is found again when lines move. */
function keyOf({ file, function: name, text, mutation }: Omit<Equivalent, 'why'>): string {
  return [file, name, text, mutation].join(' | ');
}

function judge(
  { offset: _, length: __, replacement: ___, ...mutant }: Mutant,
  compiled: boolean,
  caught: { case: string; how: string } | null,
  equivalents: ReadonlyMap<string, Equivalent>,
): Verdict {
  if (!compiled) return { ...mutant, outcome: 'did not compile', why: '' };
  if (caught !== null) return { ...mutant, outcome: 'caught', why: `${caught.case}: ${caught.how}` };
  const equivalent = equivalents.get(keyOf(mutant));
  if (equivalent !== undefined) return { ...mutant, outcome: 'equivalent', why: equivalent.why };
  return { ...mutant, outcome: 'survived', why: '' };
}

/** A copy of native/ in which one object at a time is another. */
class Workshop {
  readonly sound: string;
  private readonly native: string;
  private readonly folder: string;
  private readonly objects: readonly string[];
  private readonly compile: readonly string[];

  private constructor(folder: string, native: string, objects: readonly string[], compile: readonly string[]) {
    this.folder = folder;
    this.native = native;
    this.objects = objects;
    this.compile = compile;
    this.sound = join(native, 'build', 'hak-replay');
  }

  /** Builds the core as it is with -O1, and learns from make how. */
  static async open(root: string, folder: string): Promise<Workshop> {
    const native = join(folder, 'native');
    mkdirSync(native);
    // What is built already and fresh is not built again.
    for (const part of ['core', 'Makefile', 'build'].filter((each) => existsSync(join(root, 'native', each))))
      cpSync(join(root, 'native', part), join(native, part), { recursive: true, preserveTimestamps: true });
    const target = 'build/hak-replay';
    const made = await run('make', ['-s', '-j2', '-C', native, 'OPTIMISE=-O1', target]);
    if (made.code !== 0) throw new Error(`the core does not compile: ${made.stderr}`);
    const { stdout } = await run('make', ['-n', '-B', '-C', native, 'OPTIMISE=-O1', target]);
    const line = stdout.split('\n').find((each) => each.includes('core/allocator.c'));
    if (line === undefined) throw new Error('make does not say how it compiles core/allocator.c');
    // The same flags, without warnings and debug information, which change no code and take half the time.
    const compile = line.split(/\s+/).filter((word) => word !== '' && word !== '-g' && !word.startsWith('-W'));
    const objects = readdirSync(join(native, 'build')).filter((name) => name.endsWith('.o'));
    return new Workshop(folder, native, objects, compile.slice(0, compile.indexOf('-c')));
  }

  /** A hak-replay with `source` in the place of one file; null where it does not compile. One at a time a job. */
  async build(job: number, mutant: Mutant, source: string): Promise<string | null> {
    const own = join(this.folder, `job-${job}`);
    mkdirSync(own, { recursive: true });
    const path = join(own, mutant.file);
    const object = join(own, 'mutant.o');
    writeFileSync(path, source);
    const [cc, ...flags] = this.compile;
    const compiled = await run(cc, [...flags, '-w', '-I', join(this.native, 'core'), '-c', path, '-o', object]);
    rmSync(path);
    if (compiled.code !== 0) return null;
    const unchanged = this.objects.filter((name) => name !== mutant.file.replace(/c$/, 'o'));
    const binary = join(own, 'hak-replay');
    const linked = await run(cc, [...unchanged.map((name) => join(this.native, 'build', name)), object, '-o', binary]);
    return linked.code === 0 ? binary : null;
  }
}

const outcomes = ['caught', 'equivalent', 'survived', 'did not compile'] as const;

/** Counts by file, and in all. */
export function table({ verdicts }: Report): string {
  const files = [...new Set(verdicts.map((each) => each.file))];
  const row = (name: string, of: readonly Verdict[]): (string | number)[] => {
    const counts = outcomes.map((outcome) => of.filter((each) => each.outcome === outcome).length);
    const [caught, , survived] = counts;
    const share = caught + survived === 0 ? 100 : Math.floor((1000 * caught) / (caught + survived)) / 10;
    return [name, of.length, ...counts, `${share.toFixed(1)} %`];
  };
  return markdownTable(
    ['file', 'mutants', ...outcomes, 'caught of those that change anything'],
    [
      ...files.map((file) =>
        row(
          file,
          verdicts.filter((each) => each.file === file),
        ),
      ),
      row('all', verdicts),
    ],
  );
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      share: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      file: { type: 'string' },
      before: { type: 'string' },
      jobs: { type: 'string', default: '2' },
      out: { type: 'string' },
      'update-docs': { type: 'boolean', default: false },
    },
  });
  const options: Options = {
    share_permille: Number(values.share),
    seed: Number(values.seed),
    file: values.file ?? null,
    before: values.before === undefined ? null : (JSON.parse(readFileSync(values.before, 'utf8')) as Report),
    thorough: true,
    jobs: Number(values.jobs),
  };
  process.stderr.write(`hakmem: mutants, seed ${options.seed}, ${options.share_permille} of 1000\n`);
  const started = performance.now();
  let survived = 0;
  const report = await mutate(options, (done, of, last) => {
    if (last.outcome === 'survived') {
      survived += 1;
      process.stderr.write(`survived: ${last.file}:${last.line} in ${last.function}: ${last.mutation}: ${last.text}\n`);
    }
    if (done % 25 === 0 || done === of)
      process.stderr.write(
        `hakmem: ${done} of ${of} mutants, ${survived} survived, ${((performance.now() - started) / 1000).toFixed(0)} s\n`,
      );
  });
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(`${table(report)}\n`);
  for (const { name, difference } of report.disagreements)
    process.stderr.write(`took no part, for the core as it is differs there: ${name}: ${difference}\n`);
  for (const key of report.stale) process.stderr.write(`listed as equivalent, but caught or not there: ${key}\n`);
  if (values['update-docs'] && !writeBetween(join(packageRoot(), 'docs', 'METHOD.md'), 'mutants', table(report)))
    process.stderr.write('hakmem: docs/METHOD.md has no place for the table\n');
  if (survived > 0 || report.stale.length > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
