/**
 * The same wrong idea in both halves: planted in TypeScript and C together, in a copy of the sources, so that the halves
 * agree with each other. Then traces run on the real kernel, and each idea is caught there or it is not.
 *
 *     node dist/experiments/verify/wrong-ideas.js [--idea WORDS] [--out FILE] [--update-docs]
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { probeProfile } from '../../native/index.ts';
import { holdKhugepaged } from '../../native/khugepaged.ts';
import type { KernelProfile } from '../../sim/spec.ts';
import { packageRoot } from '../record.ts';
import type { Held, Inputs, NamedCase } from './hold-to-kernel.ts';
import { type Edit, type Idea, ideas } from './ideas.ts';
import { copySamples, writeFolios, writeScenario } from './inputs.ts';
import { markdownTable, writeBetween } from './markers.ts';
import { leaveNothingBehind, run } from './process.ts';

const MiB = 2 ** 20;

export interface Outcome {
  readonly name: string;
  readonly about: Idea['about'];
  readonly why: string;
  readonly catchable: boolean;
  /** The case and the difference by which the real kernel caught it, or null. */
  readonly caught: { readonly case: string; readonly how: string } | null;
  /** What the simulator's own assertions and rules said first, or null. */
  readonly noticed: string | null;
  /** The halves must agree, or the idea was not planted alike: how they differ, or null. */
  readonly halves: string | null;
  readonly cases: number;
}

export interface IdeasReport {
  readonly profile: KernelProfile;
  readonly outcomes: readonly Outcome[];
  /** Cases in which even the sources as they are differ from the kernel: left out. */
  readonly unsound: readonly Held[];
}

/** Plants each of `chosen` and asks the kernel, in the first `cases_max` cases. */
export async function tryIdeas(
  chosen: readonly Idea[],
  progress: (outcome: Outcome) => void,
  cases_max = Number.POSITIVE_INFINITY,
): Promise<IdeasReport> {
  // Its work in the background would be taken for an objection.
  const wake = holdKhugepaged();
  const root = packageRoot();
  const profile = probeProfile();
  if (profile === null) throw new Error('no native part here: nothing can be held to the kernel');
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-ideas-'));
  const discard = (): void => rmSync(folder, { recursive: true, force: true });
  leaveNothingBehind(discard);
  try {
    const copy = new Copy(root, folder);
    await copy.build();
    const every = { profile, cases: namedCases(folder, root).slice(0, cases_max) };
    const unsound = (await copy.hold(every, true)).filter((held) => held.halves !== null || held.kernel !== null);
    const bad = new Set(unsound.map(({ name }) => name));
    const inputs = { profile, cases: every.cases.filter(({ name }) => !bad.has(name)) };
    const outcomes: Outcome[] = [];
    for (const idea of chosen) {
      const undo = copy.plant(idea.edits);
      await copy.build();
      outcomes.push(outcomeOf(idea, await copy.hold(inputs, false)));
      undo();
      progress(outcomes.at(-1)!);
    }
    return { profile, outcomes, unsound };
  } finally {
    wake?.();
    discard();
  }
}

/** The edits that do not fit the sources as they are, in words. */
export function misfits(): string[] {
  const root = packageRoot();
  return ideas.flatMap(({ name, edits }) =>
    edits
      .map(({ file, find }) => ({ file, times: readFileSync(join(root, file), 'utf8').split(find).length - 1 }))
      .filter(({ times }) => times !== 1)
      .map(({ file, times }) => `${name}: what it changes in ${file} is there ${times} times`),
  );
}

function outcomeOf({ name, about, why, catchable }: Idea, held: readonly Held[]): Outcome {
  const caught = held.find((each) => each.kernel !== null);
  const noticed = held.find((each) => each.sim !== null);
  const halves = held.find((each) => each.halves !== null);
  return {
    name,
    about,
    why,
    catchable,
    caught: caught === undefined ? null : { case: caught.name, how: caught.kernel! },
    noticed: noticed?.sim ?? null,
    halves: halves === undefined ? null : `${halves.name}: ${halves.halves}`,
    cases: held.length,
  };
}

function namedCases(folder: string, root: string): NamedCase[] {
  const edges = writeScenario(folder, 'edges', 2500, 1);
  const churn = writeScenario(folder, 'churn', 3000, 1);
  const mixed = writeScenario(folder, 'mixed', 6000, 1);
  const usual = { settings: {}, mode: 'BALANCED', touch: 'page' } as const;
  return [
    { name: 'edges', path: edges, ...usual },
    { name: 'edges, first page touched', path: edges, ...usual, touch: 'first' },
    { name: 'edges, RESEARCH', path: edges, ...usual, mode: 'RESEARCH' },
    { name: 'edges, RESEARCH, no BigCache', path: edges, ...usual, mode: 'RESEARCH', settings: { bigcache: 0 } },
    {
      name: 'edges, RESEARCH, cold from 64 KiB',
      path: edges,
      ...usual,
      mode: 'RESEARCH',
      settings: {
        bigcache: 0,
        mmap_threshold_bytes: 65536,
        warm_from_bytes: 65536,
        cold_from_bytes: 65536,
        batch_blocks_max: 2,
      },
    },
    { name: 'edges, cache that does not round', path: edges, ...usual, settings: { bigcache_round: 0 } },
    {
      name: 'edges, warm from 1 byte',
      path: edges,
      ...usual,
      settings: { bigcache: 0, warm_from_bytes: 1, cold_from_bytes: 64 * MiB },
    },
    {
      name: 'a huge page shared by two blocks',
      path: writeFolios(folder)[0],
      ...usual,
      touch: 'recorded',
      settings: {
        ...{ mmap_threshold_bytes: 4096, bigcache: 0, thp_policy: 1, checkpoint_events: 1, cold_from_bytes: 2 ** 40 },
        ...{ kept_bytes_max: 511 * 4096, warm_from_bytes: 511 * 4096 - 10 },
      },
    },
    { name: 'churn', path: churn, ...usual },
    { name: 'churn, no BigCache', path: churn, ...usual, settings: { bigcache: 0 } },
    { name: 'mixed', path: mixed, ...usual },
    ...copySamples(folder, root, MiB / 4).map((path) => ({
      name: path.slice(path.lastIndexOf('/') + 1),
      path,
      ...usual,
      touch: 'recorded' as const,
    })),
  ];
}

/** The sources, where they may be spoilt. */
class Copy {
  private readonly folder: string;

  constructor(root: string, folder: string) {
    this.folder = join(folder, 'copy');
    mkdirSync(this.folder);
    for (const part of [
      'sim',
      'native',
      'traces',
      'experiments',
      'package.json',
      'tsconfig.json',
      'tsconfig.build.json',
    ])
      cpSync(join(root, part), join(this.folder, part), {
        recursive: true,
        preserveTimestamps: true,
        filter: (path) => !path.endsWith('/samples'),
      });
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'));
  }

  /** Applies `edits` and returns what takes them back. Throws where one does not fit exactly once. */
  plant(edits: readonly Edit[]): () => void {
    const before = new Map<string, string>();
    for (const { file, find, replace } of edits) {
      const path = join(this.folder, file);
      const source = readFileSync(path, 'utf8');
      const times = source.split(find).length - 1;
      if (times !== 1) throw new Error(`${file}: found ${times} times, wanted once: ${JSON.stringify(find)}`);
      if (!before.has(path)) before.set(path, source);
      writeFileSync(
        path,
        source.replace(find, () => replace),
      );
    }
    return () => {
      for (const [path, source] of before) writeFileSync(path, source);
    };
  }

  async build(): Promise<void> {
    const tsc = join(this.folder, 'node_modules', '.bin', 'tsc');
    await this.must(tsc, ['-p', 'tsconfig.build.json']);
    await this.must('make', ['-s', '-j2', '-C', 'native', 'build/hak-replay']);
  }

  async hold(inputs: Inputs, all: boolean): Promise<Held[]> {
    const path = join(this.folder, 'inputs.json');
    writeFileSync(path, JSON.stringify(inputs));
    const script = join('dist', 'experiments', 'verify', 'hold-to-kernel.js');
    const stdout = await this.must(process.execPath, [script, path, ...(all ? ['--all'] : [])]);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Held);
  }

  private async must(program: string, args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await run(program, args, {}, this.folder);
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${stdout.slice(-2000)}${stderr.slice(-2000)}`);
    return stdout;
  }
}

/** One row for each idea. */
export function ideasTable({ outcomes }: IdeasReport): string {
  return markdownTable(
    ['wrong idea, in both halves', 'what is so', 'does the real kernel object?'],
    outcomes.map(({ name, why, caught, noticed, catchable, cases }) => {
      const first = noticed === null ? '' : `; the simulator alone says ${noticed}`;
      const found =
        caught === null
          ? `no, in ${cases} runs${catchable ? '' : '; it cannot'}`
          : `yes: ${caught.how} (${caught.case})`;
      return [name, why, `${found}${first}`];
    }),
  );
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      idea: { type: 'string' },
      out: { type: 'string' },
      'update-docs': { type: 'boolean', default: false },
    },
  });
  const chosen = ideas.filter(({ name }) => values.idea === undefined || name.includes(values.idea));
  const report = await tryIdeas(chosen, ({ name, caught, halves }) => {
    process.stderr.write(`hakmem: ${name}: ${caught === null ? 'not caught' : `${caught.how} (${caught.case})`}\n`);
    if (halves !== null) process.stderr.write(`hakmem: not planted alike: ${halves}\n`);
  });
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(`${ideasTable(report)}\n`);
  for (const { name, halves, kernel } of report.unsound)
    process.stderr.write(`took no part, for the sources as they are differ there: ${name}: ${halves ?? kernel}\n`);
  if (
    values['update-docs'] &&
    !writeBetween(join(packageRoot(), 'docs', 'METHOD.md'), 'wrong-ideas', ideasTable(report))
  )
    process.stderr.write('hakmem: docs/METHOD.md has no place for the table\n');
  const wrong = report.outcomes.filter(
    ({ catchable, caught, halves }) => catchable === (caught === null) || halves !== null,
  );
  if (wrong.length > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
