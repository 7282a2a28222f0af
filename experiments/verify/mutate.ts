/**
 * Mutation testing of the C core: each operator and constant of native/core changed, one at a time, and the changed core
 * held to the simulator's answers. A change that no case tells from the original is either listed, with the reason why
 * nothing could tell, in equivalent.json, or it is a gap in the cross-check.
 *
 *     node dist/experiments/verify/mutate.js [--share PERMILLE] [--seed N] [--file NAME[,NAME]] [--jobs N] [--before REPORT.json] [--quick]
 *         [--out FILE] [--update-docs]
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import seedrandom from 'seedrandom';
import { naturalLog } from '../../sim/decide/ucb1.ts';
import { crc32 } from '../../traces/crc32.ts';
import { packageRoot } from '../record.ts';
import { applied, type Mutant, mutantsOf } from './c-mutants.ts';
import { markdownTable, writeBetween } from './markers.ts';
import { type Cases, casesOf, Oracle, writeInputs } from './oracle.ts';
import { type Ended, leaveNothingBehind, run } from './process.ts';

/** The real kernel, which is measured and not compared, and the command line: another check holds those. */
const left_out = new Set(['real.c', 'bare.c', 'probe.c', 'replay_main.c']);

/** What runs only where something is learned. */
const learning_files = new Set(
  [
    ...['arms', 'elo', 'epsilon', 'halving', 'learner', 'learning', 'ledger', 'lifecycle', 'p2', 'paired', 'prng'],
    ...['signature', 'tournament', 'ucb1'],
  ].map((name) => `${name}.c`),
);

/** What test/programs/numerics.c drives through two million steps, bit for bit as test/21 has it of the simulator. */
const pieces = ['elo', 'histogram', 'p2', 'prng', 'signature'];

/**
 * Which cases a file's mutants are given: only readers get malformed files, the model's mutants no real kernel, and what
 * folds or learns is reached by no other case.
 */
function groupOf(file: string): keyof Cases {
  if (learning_files.has(file)) return 'learning';
  if (file === 'fold.c' || file === 'planned.c') return 'folding';
  if (file === 'hakfile.c' || file === 'crc32.c') return 'reader';
  return ['pages.c', 'vma.c', 'histogram.c', 'digest.c'].includes(file) ? 'model' : 'policy';
}

export interface Verdict extends Omit<Mutant, 'offset' | 'length' | 'replacement'> {
  readonly outcome: 'caught' | Excused['kind'] | 'survived' | 'did not compile';
  /** The case that caught it and what differed there, or why nothing does. */
  readonly why: string;
}

export interface Options {
  /** Of a thousand mutants, how many are tried. */
  readonly share_permille: number;
  readonly seed: number;
  /** Only mutants of this file, or of these, between commas; null for all. */
  readonly file: string | null;
  /** An earlier report, whose catches stand where the file is what it was; null tries all. */
  readonly before: Report | null;
  /** Whether mutants listed in equivalent.json go through every case, which takes long, or through the most telling. */
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
  /** Listed as not to be caught, and yet caught or not there: the list is out of date. */
  readonly stale: readonly string[];
}

/**
 * Why a mutant is not caught: it changes nothing that any input shows; it weakens a check of our own, which holds; or it is
 * a gap that is known.
 */
interface Excused {
  readonly kind: 'equivalent' | 'weaker check' | 'known gap';
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
    const files = options.file?.split(',') ?? [...sources.keys()];
    const chosen = drawn.filter((each) => each.drawn && files.includes(each.mutant.file));
    const excused = readExcused(root);
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
        const known = excused.has(keyOf(mutant)) && !options.thorough;
        const every_case = cases[groupOf(mutant.file)];
        let caught = null;
        if (binary !== null) {
          caught = await oracle.catches(binary, every_case.slice(0, most_telling));
          caught ??= await shop.stepsDiffer(job, mutant);
          if (!known) caught ??= await oracle.catches(binary, every_case.slice(most_telling));
        }
        if (binary !== null && caught === null && !known) {
          const watched = await shop.buildWatched(job, mutant, applied(sources.get(mutant.file)!, mutant));
          caught = await oracle.catchesWatched(watched, every_case);
        }
        const verdict = judge(mutant, binary !== null, caught, excused);
        verdicts.push(verdict);
        progress(verdicts.length, chosen.length, verdict);
      }
    };
    await Promise.all(Array.from({ length: options.jobs }, (_, job) => work(job)));
    const order = new Map(chosen.map(({ mutant }, at) => [keyOf(mutant), at]));
    verdicts.sort((a, b) => order.get(keyOf(a))! - order.get(keyOf(b))! || a.line - b.line);
    const survivors = new Set(verdicts.filter(({ outcome }) => excuses.includes(outcome)).map(keyOf));
    const tried = new Set(verdicts.map(keyOf));
    const known = new Set(every.map(keyOf));
    const stale = [...excused.keys()].filter((key) => !known.has(key) || (tried.has(key) && !survivors.has(key)));
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

function readExcused(root: string): Map<string, Excused> {
  const path = join(root, 'experiments', 'verify', 'equivalent.json');
  const list = JSON.parse(readFileSync(path, 'utf8')) as readonly Excused[];
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

/** The simulator's logarithm is held to the core's of one to this. */
const logarithms = 4096;

/** How many cases stand for all where a mutant is listed and there is no time. */
const most_telling = 4;

const crc32Hex = (text: string): string => crc32(new TextEncoder().encode(text)).toString(16).padStart(8, '0');

/** A mutant by its words, so that it is found again when lines move. */
function keyOf({ file, function: name, text, mutation }: Omit<Excused, 'kind' | 'why'>): string {
  return [file, name, text, mutation].join(' | ');
}

function judge(
  { offset: _, length: __, replacement: ___, ...mutant }: Mutant,
  compiled: boolean,
  caught: { case: string; how: string } | null,
  excused: ReadonlyMap<string, Excused>,
): Verdict {
  if (!compiled) return { ...mutant, outcome: 'did not compile', why: '' };
  if (caught !== null) return { ...mutant, outcome: 'caught', why: `${caught.case}: ${caught.how}` };
  const reason = excused.get(keyOf(mutant));
  if (reason !== undefined) return { ...mutant, outcome: reason.kind, why: reason.why };
  return { ...mutant, outcome: 'survived', why: '' };
}

/** A copy of native/ in which one object at a time is another. */
class Workshop {
  readonly sound: string;
  private readonly root: string;
  private readonly native: string;
  private readonly folder: string;
  private readonly plain: Way;
  private watched: Promise<Way> | undefined;
  private steps: Promise<string> | undefined;

  private constructor(root: string, folder: string, native: string, plain: Way) {
    this.root = root;
    this.folder = folder;
    this.native = native;
    this.plain = plain;
    this.sound = join(native, 'build', 'hak-replay');
  }

  /** Builds the core as it is, where it is not built already. */
  static async open(root: string, folder: string): Promise<Workshop> {
    const native = join(folder, 'native');
    mkdirSync(native);
    for (const part of ['core', 'Makefile', 'build'].filter((each) => existsSync(join(root, 'native', each))))
      cpSync(join(root, 'native', part), join(native, part), { recursive: true, preserveTimestamps: true });
    return new Workshop(root, folder, native, await wayOf(native, 'build', '-O1', []));
  }

  /** A hak-replay with `source` in the place of one file; null where it does not compile. One at a time a job. */
  build(job: number, mutant: Mutant, source: string): Promise<string | null> {
    return this.make(this.plain, job, mutant, source);
  }

  /**
   * The same, under sanitizers: it ends where it leaves an array or does what C does not define. Not optimised, for a
   * compiler that sees a loop leave its array may shorten the loop, and so undo the mutant.
   */
  async buildWatched(job: number, mutant: Mutant, source: string): Promise<string> {
    this.watched ??= wayOf(this.native, 'build-sanitize', '-O0', [
      'SANITIZE=address,undefined -fno-sanitize-recover=all',
      'BUILD=build-sanitize',
    ]);
    const binary = await this.make(await this.watched, job, mutant, source);
    if (binary === null) throw new Error(`${mutant.file} compiles, but not under sanitizers`);
    return binary;
  }

  /** Where the mutant that was built last in `job` is of a piece: whether the piece's steps come to something else. */
  async stepsDiffer(job: number, { file }: Mutant): Promise<{ case: string; how: string } | null> {
    const name = file.slice(0, -'.c'.length);
    if (name === 'ucb1') return this.logarithmsDiffer(job);
    if (!pieces.includes(name)) return null;
    this.steps ??= this.stepsOf('numerics', []).then(({ stdout }) => stdout);
    const sound = await this.steps;
    const { code, stdout } = await this.stepsOf(
      `job-${job}/numerics`,
      [name],
      join(this.folder, `job-${job}`, 'mutant.o'),
    );
    if (stdout === sound && code === 0) return null;
    return { case: 'numerics', how: code === 0 ? 'other steps' : code === 'SIGXCPU' ? 'no end' : `ended with ${code}` };
  }

  /** What sites are chosen by is too coarse to tell a logarithm from one that is off in the ninth place. */
  private async logarithmsDiffer(job: number): Promise<{ case: string; how: string } | null> {
    const { compile, link, folder, objects } = this.plain;
    const [cc, ...flags] = compile;
    const own = join(this.folder, `job-${job}`);
    const source = join(own, 'logarithms.c');
    const body = `for (int count = 1; count <= ${logarithms}; count += 1) printf("%.17g\\n", hak_natural_log(count));`;
    writeFileSync(source, `#include "hak.h"\nint main(void) { ${body} }\n`);
    const sound = objects.filter((name) => !['ucb1.o', 'real.o', 'bare.o', 'probe.o', 'replay_main.o'].includes(name));
    const parts = [source, ...sound.map((name) => join(folder, name)), join(own, 'mutant.o'), ...link];
    const path = join(own, 'logarithms');
    const built = await run(cc, [...flags, '-w', '-I', join(this.native, 'core'), ...parts, '-o', path]);
    if (built.code !== 0) throw new Error(`the logarithms do not compile: ${built.stderr}`);
    const { code, stdout } = await run(path, [], { cpu_seconds: 20 });
    if (code !== 0) return { case: 'logarithms', how: `ended with ${code}` };
    const differs = stdout
      .trim()
      .split('\n')
      .findIndex((line, at) => Number(line) !== naturalLog(at + 1));
    return differs < 0 ? null : { case: 'logarithms', how: `of ${differs + 1}` };
  }

  private async stepsOf(binary: string, without: readonly string[], ...objects: readonly string[]): Promise<Ended> {
    const { compile, link, folder } = this.plain;
    const [cc, ...flags] = compile;
    const program = join(this.root, 'test', 'programs', 'numerics.c');
    const sound = pieces.filter((name) => !without.includes(name)).map((name) => join(folder, `${name}.o`));
    const path = join(this.folder, binary);
    const core = join(this.native, 'core');
    const built = await run(cc, [...flags, '-w', '-I', core, program, ...sound, ...objects, ...link, '-o', path]);
    if (built.code !== 0) throw new Error(`test/programs/numerics.c does not compile: ${built.stderr}`);
    return run(path, [], { cpu_seconds: 20 });
  }

  private async make({ compile, link, objects, folder }: Way, job: number, mutant: Mutant, source: string) {
    const own = join(this.folder, `job-${job}`);
    mkdirSync(own, { recursive: true });
    const path = join(own, mutant.file);
    const object = join(own, 'mutant.o');
    writeFileSync(path, source);
    const [cc, ...flags] = compile;
    const compiled = await run(cc, [...flags, '-w', '-I', join(this.native, 'core'), '-c', path, '-o', object]);
    rmSync(path);
    if (compiled.code !== 0) return null;
    const unchanged = objects.filter((name) => name !== mutant.file.replace(/c$/, 'o'));
    const binary = join(own, 'hak-replay');
    const parts = [...unchanged.map((name) => join(folder, name)), object];
    const linked = await run(cc, [...parts, ...link, '-o', binary]);
    // No mutant takes a name away: where linking fails, it fails for all, and none would be tried.
    if (linked.code !== 0) throw new Error(`${mutant.file} compiles, but does not link: ${linked.stderr}`);
    return binary;
  }
}

/** How make compiles and links, and the objects it made. */
interface Way {
  readonly compile: readonly string[];
  readonly link: readonly string[];
  readonly objects: readonly string[];
  readonly folder: string;
}

async function wayOf(native: string, build: string, optimise: string, settings: readonly string[]): Promise<Way> {
  const options = ['-C', native, `OPTIMISE=${optimise}`, ...settings, `${build}/hak-replay`];
  const made = await run('make', ['-s', '-j2', ...options]);
  if (made.code !== 0) throw new Error(`the core does not compile: ${made.stderr}`);
  const { stdout } = await run('make', ['-n', '-B', ...options]);
  const line = stdout.split('\n').find((each) => each.includes('core/allocator.c'));
  if (line === undefined) throw new Error('make does not say how it compiles core/allocator.c');
  // The same flags, without warnings and debug information, which change no code and take half the time.
  const words = line.split(/\s+/).filter((word) => word !== '' && word !== '-g' && !word.startsWith('-W'));
  const compile = words.slice(0, words.indexOf('-c'));
  const folder = join(native, build);
  // Every case says what the kernel is like. To find out anyway takes longer than most replays.
  const unprobed = join(native, `${build}-unprobed.o`);
  const source = join(native, 'unprobed.c');
  writeFileSync(source, '#include "real.h"\nhak_profile __wrap_hak_probe(void) { return (hak_profile){0}; }\n');
  const [cc, ...flags] = compile;
  const stub = await run(cc, [...flags, '-I', join(native, 'core'), '-c', source, '-o', unprobed]);
  if (stub.code !== 0) throw new Error(`the stub of the probe does not compile: ${stub.stderr}`);
  return {
    compile,
    link: [...compile.filter((word) => word.startsWith('-fsanitize')), unprobed, '-Wl,--wrap=hak_probe', '-lm'],
    // Of hak-replay: the replayer of other allocators is built beside it.
    objects: readdirSync(folder).filter((name) => name.endsWith('.o') && !name.startsWith('replayer-')),
    folder,
  };
}

const excuses: readonly string[] = ['equivalent', 'weaker check', 'known gap'];
const outcomes = ['caught', 'equivalent', 'weaker check', 'known gap', 'survived', 'did not compile'] as const;

/** Counts by file, and in all. */
export function table({ verdicts }: Report): string {
  const files = [...new Set(verdicts.map((each) => each.file))];
  const row = (name: string, of: readonly Verdict[]): (string | number)[] => {
    const counts = outcomes.map((outcome) => of.filter((each) => each.outcome === outcome).length);
    const [caught, , , gaps, survived] = counts;
    const share = caught === 0 ? 0 : Math.floor((1000 * caught) / (caught + gaps + survived)) / 10;
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
      quick: { type: 'boolean', default: false },
      'update-docs': { type: 'boolean', default: false },
    },
  });
  const options: Options = {
    share_permille: Number(values.share),
    seed: Number(values.seed),
    file: values.file ?? null,
    before: values.before === undefined ? null : (JSON.parse(readFileSync(values.before, 'utf8')) as Report),
    thorough: !values.quick,
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
