/** Whether `hakmem tune` finds by its default method what every combination would show, with how much less work. */
import { boundaries_bytes, configOf } from '../../sim/index.ts';
import { SyntheticTrace, type Trace } from '../../traces/index.ts';
import { SampledTrace } from '../../traces/sampled.ts';
import { HakmemTarget } from '../tune/hakmem.ts';
import { defaultSpace } from '../tune/hakmem-space.ts';
import type { Method } from '../tune/method.ts';
import { methods } from '../tune/methods.ts';
import { cheapestUnder, leastMemoryWithin, type Objective, weightedScore } from '../tune/objective.ts';
import { type Searched, search } from '../tune/search.ts';
import { grid, type Space } from '../tune/space.ts';
import type { ModelSubject } from '../tune/target.ts';
import { lossOf } from '../tune/tune.ts';
import { nameOf } from './batching.ts';
import type { Bench, Finding, Study, StudyVerdict, Table } from './study.ts';

export const tuning: Study = {
  name: 'tuning',
  question:
    'Does the default method of tune find what every combination would show, how much work does it save, and how well does its winner do elsewhere?',
  claim: 'The same winner as the exhaustive grid, or one that ties with it, on every sample, for less work.',
  claimed_by: 'this project',
  method:
    'Default space of `hakmem tune`, BALANCED, each recorded sample alone; three goals: least score, least time with 1.3 times ' +
    'the peak of live bytes resident, least memory at most 10 % slower than the cheapest. Then the same on generated traces, on ' +
    'which nothing was chosen. Loss: cost of the winner beyond the ' +
    "grid's. Work: rows run (after folding). Held out: tuned for all other samples, loss against the best of the grid there. " +
    'Samples: Kendall rank correlation of scores on a part of a trace with those on the whole, and loss of what is best there.',
  limits: [
    'The constants of the default method were chosen on these samples, over about a dozen variants: "holds" says that it fits ' +
      'them. The second table has traces that no constant was chosen on.',
    'Rows are not seconds: a run has a cost of its own, so that seconds are saved less than rows.',
    'Simulated figures at nominal prices.',
  ],
  run,
};

interface Compared {
  readonly name: string;
  readonly goal: string;
  readonly grid: Searched;
  readonly found: readonly { readonly method: string; readonly searched: Searched; readonly loss: number | null }[];
}

async function run(bench: Bench): Promise<Finding> {
  const base = configOf('BALANCED');
  const whole = defaultSpace(base);
  const space = bench.quick ? whole.map((axis) => ({ ...axis, values: axis.values.slice(0, 3) })) : whole;
  const target = new HakmemTarget('BALANCED', base, space, async (trace) => bench.setupOf(trace));
  const subjects: ModelSubject[] = [];
  for (const trace of bench.samples) subjects.push(await target.subject(trace));
  let rows = 0;
  const compareOn = async (some: readonly ModelSubject[], label: string): Promise<Compared[]> => {
    const compared: Compared[] = [];
    for (const [at, subject] of some.entries()) {
      for (const objective of goals(subject)) {
        const each = await compare(target, subject, objective, bench.seed);
        compared.push(each);
        if (objective.name !== 'score') continue;
        const tried = each.grid.evaluator.triedOn(0);
        rows += tried.length;
        if (bench.trouble === null) await subject.check(tried, () => {});
      }
      bench.progress(label, at + 1, some.length);
    }
    return compared;
  };
  const compared = await compareOn(subjects, 'samples');
  const generated: ModelSubject[] = [];
  for (const trace of strangers(bench.quick)) generated.push(await target.subject(trace));
  const unfitted = await compareOn(generated, 'generated traces');
  const elsewhere = await leaveOneOut(target, subjects, compared, bench);
  return {
    ...judge(
      compared.flatMap(({ found }) => found.filter(({ method }) => method === methods[0].name).map(({ loss }) => loss)),
    ),
    tables: [
      againstGrid('Against the grid', compared),
      againstGrid('Against the grid, on traces that no constant was chosen on', unfitted),
      {
        title: `Held out (${methods[0].name}, least score, tuned for all other samples)`,
        head: [
          'held out',
          'as it is',
          'with the setting of the others',
          'its own best',
          'loss',
          'setting of the others',
        ],
        rows: elsewhere,
      },
      {
        title: 'How a part of a trace ranks the configurations (mean of 3 seeds; loss of what is best there)',
        head: ['sample', ...parts.map(({ by, share }) => `${by} 1/${Math.round(1 / share)}`)],
        rows: subjects
          .filter((subject) => subject.rows_most > 0)
          .map((subject) => [
            nameOf(subject.trace),
            ...parts.map((part) => rankings(target, space, subject, part, bench)),
          ]),
      },
    ],
    checked: { rows, equal_in_core: bench.trouble === null ? rows : 0, real_runs: 0, equal_for_real: 0 },
  };
}

/** Generated traces of four shapes. */
function strangers(quick: boolean): Trace[] {
  const shapes = { churn: 3000, mixed: 30_000, drift: 10_000, edges: 2500 } as const;
  return Object.entries(shapes)
    .slice(0, quick ? 1 : undefined)
    .map(([name, events], at) => new SyntheticTrace(name, { events, seed: 100 + at, boundaries_bytes }));
}

function againstGrid(title: string, compared: readonly Compared[]): Table {
  return {
    title,
    head: [
      'trace',
      'goal',
      'configurations',
      'distinct',
      ...others.flatMap(({ name }) => [`${name} loss`, 'x less', 'x less than distinct']),
      'seconds less',
    ],
    rows: compared.map(({ name, goal, grid: all, found }) => [
      name,
      goal,
      String(all.configurations),
      String(all.distinct),
      ...found.flatMap(({ searched, loss }) => [
        percent(loss),
        times(all.grid_rows, searched.cost.rows),
        times(all.cost.rows, searched.cost.rows),
      ]),
      times(all.seconds, found[0].searched.seconds),
    ]),
  };
}

/** From what the default method lost against the grid, a search each; null: it broke the condition. */
export function judge(losses: readonly (number | null)[]): { verdict: StudyVerdict; because: string } {
  const tied = losses.filter((loss) => loss !== null && loss <= 1e-9).length;
  const worst = losses.reduce<number>((most, loss) => Math.max(most, loss ?? Number.POSITIVE_INFINITY), 0);
  const because = `${tied} of ${losses.length} searches end at the grid's winner or a tie; the greatest loss is ${percent(worst)}.`;
  if (losses.length === 0) return { verdict: 'cannot be told', because: 'nothing was searched.' };
  return { verdict: tied === losses.length ? 'holds' : 'does not hold', because };
}

/** Compared with the grid: the default, and refinement, which promises less. */
const others: readonly Method[] = methods.filter(({ name }) => name === methods[0].name || name === 'refine');
const exhaustive = methods.find(({ name }) => name === 'grid')!;

function goals(subject: ModelSubject): Objective[] {
  const cap = Math.max(1, 1.3 * subject.trace.statistics.peak_live_bytes);
  return [weightedScore(), cheapestUnder(cap), leastMemoryWithin(10)];
}

async function compare(
  target: HakmemTarget,
  subject: ModelSubject,
  objective: Objective,
  seed: number,
): Promise<Compared> {
  const all = await search(target, [subject], exhaustive, objective, { seed });
  const found = [];
  for (const method of others) {
    const searched = await search(target, [subject], method, objective, { seed });
    found.push({ method: method.name, searched, loss: lossOf(searched.winner.standing, all.winner.standing) });
  }
  return { name: nameOf(subject.trace), goal: objective.name, grid: all, found };
}

async function leaveOneOut(
  target: HakmemTarget,
  subjects: readonly ModelSubject[],
  compared: readonly Compared[],
  bench: Bench,
): Promise<string[][]> {
  const rows: string[][] = [];
  for (const [at, subject] of subjects.entries()) {
    const rest = subjects.filter((other) => other !== subject);
    if (rest.length === 0) continue;
    const { winner } = await search(target, rest, methods[0], weightedScore(), { seed: bench.seed });
    const own = compared.find(({ name, goal }) => name === nameOf(subject.trace) && goal === 'score')!.grid;
    const here = subject.figures(winner.evaluated.point);
    const best = own.winner.evaluated.figures[0];
    const loss = best.score > 0 ? here.score / best.score - 1 : 0;
    rows.push([
      nameOf(subject.trace),
      subject.figures(target.baseline).score.toFixed(3),
      here.score.toFixed(3),
      best.score.toFixed(3),
      percent(loss),
      target.settingText(winner.evaluated.point).replace(/^HAKMEM_MODE=\w+ ?(HAKMEM_SET=)?/, ''),
    ]);
    bench.progress('held out', at + 1, subjects.length);
  }
  return rows;
}

interface Part {
  readonly by: 'site' | 'object';
  readonly share: number;
}

const parts: readonly Part[] = (['site', 'object'] as const).flatMap((by) =>
  [1 / 9, 1 / 3].map((share) => ({ by, share })),
);
/** Pairs of configurations grow as the square of them. */
const every_so_many = 17;

function rankings(
  target: HakmemTarget,
  space: Space,
  subject: ModelSubject,
  { by, share }: Part,
  bench: Bench,
): string {
  const points = [...grid(space)].filter((point, at) => at % every_so_many === 0 && target.legal(point));
  const whole = points.map((point) => subject.figures(point).score);
  const least = Math.min(...whole);
  const seeds = bench.quick ? [1] : [1, 2, 3];
  const found = seeds.map((seed) => {
    const sample = subject.part(new SampledTrace(subject.trace, share, seed, by));
    const part = points.map((point) => sample.figures(point).score);
    const best = part.indexOf(Math.min(...part));
    return { tau: rankCorrelation(whole, part), loss: least > 0 ? whole[best] / least - 1 : 0 };
  });
  const mean = (of: 'tau' | 'loss'): number => found.reduce((sum, each) => sum + each[of], 0) / found.length;
  return `${mean('tau').toFixed(2)}; ${percent(mean('loss'))}`;
}

/** Of pairs that differ in the first, how many more the second puts in the same order than in the other. */
export function rankCorrelation(a: readonly number[], b: readonly number[]): number {
  let pairs = 0;
  let agreed = 0;
  for (let one = 1; one < a.length; one += 1)
    for (let other = 0; other < one; other += 1) {
      if (a[one] === a[other]) continue;
      pairs += 1;
      agreed += Math.sign(a[one] - a[other]) * Math.sign(b[one] - b[other]);
    }
  return pairs > 0 ? agreed / pairs : 1;
}

function percent(share: number | null): string {
  return share === null ? 'breaks it' : `${(100 * share).toFixed(2)} %`;
}

function times(many: number, few: number): string {
  return few > 0 ? (many / few).toFixed(1) : '-';
}
