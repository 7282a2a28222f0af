/** Phase 6.8 of the original: MINIMAL against BALANCED on one 2 MiB block at a time, modelled and measured. */
import { type Config, configOf, type Outcome, prices, type Setup, type TouchModel } from '../../sim/index.ts';
import type { Trace } from '../../traces/index.ts';
import { type Interval, ratioOf } from '../statistics.ts';
import { CheckedRows } from './checked.ts';
import { scenarioFamily } from './learned.ts';
import type { Bench, Finding, Study, StudyVerdict } from './study.ts';

const claimed = { minimal_ns: 216_173, balanced_ns: 15_487 } as const;
export const claimed_ratio = claimed.minimal_ns / claimed.balanced_ns;
const block_pages = 512;
/** A ratio between half and twice the claimed one is of its size. */
const of_that_size = 2;
/** The original's benchmark design has its VM scenario at ten. */
const designed_iterations = 10;

export const phase_6_8: Study = {
  name: 'phase-6.8',
  question: 'How many times faster is BALANCED than MINIMAL on 2 MiB blocks, and what is the difference made of?',
  claim: 'MINIMAL 216,173 ns against BALANCED 15,487 ns: 13.95 times (13.96 by its own figures).',
  claimed_by: "the original's summary of its phase 6.8",
  method:
    'Scenario vm: a 2 MiB block allocated, touched and freed, again and again. Modelled time an iteration under both modes, over ' +
    'the whole run (cold) and over its second half (steady); beside it what faults alone predict: the ratio of their prices. ' +
    'Measured: CPU time on the real kernel, the two modes interleaved, ratio with a 95 % interval, once with a byte of every page ' +
    'touched and once with every byte written, and also with huge pages forbidden in BALANCED. The verdict is on ten ' +
    'iterations, as the original designed the scenario: it holds where the ratios of both touches surely lie between half and ' +
    'twice the claimed one, and fails where both surely lie outside.',
  limits: [
    'The documents do not say how many iterations were timed, what was touched, or whether huge pages were on; each of the three moves the ratio more than tenfold.',
    'The rule was first "both surely at least 13.95", and was changed to "within twice" after a full run. Of the two full runs on ' +
      '2026-11-24 both rules say the same of both: cannot be told.',
    'The intervals are of one run. With every page touched, ten iterations took 13.5 [11.0, 15.3] times in one and 124 [97, 137] in the ' +
      'other: what a huge page costs on this guest changes between runs by more than within one.',
    'Modelled times leave out what the program does with its memory, which both modes share and which brings the measured ratio down.',
    'Measured times include what hak-replay itself does for each event: it reads the fault counters around each touch.',
  ],
  run,
};

interface Pair {
  readonly iterations: number;
  readonly minimal: Outcome;
  readonly balanced: Outcome;
  /** Of the first half alone. */
  readonly minimal_half: Outcome;
  readonly balanced_half: Outcome;
}

export interface MeasuredRatio {
  readonly iterations: number;
  readonly touch: TouchModel;
  readonly huge: boolean;
  readonly ratio: Interval;
}

interface MeasuredRow extends MeasuredRatio {
  readonly minimal_ns: number;
  readonly balanced_ns: number;
}

const modes = { minimal: configOf('MINIMAL'), balanced: configOf('BALANCED') } as const;
const small_pages: Config = configOf('BALANCED', { thp_policy: 0 });

async function run(bench: Bench): Promise<Finding> {
  const checked = new CheckedRows(bench);
  const lengths = bench.quick ? [10] : [10, 100, 1000, 10_000];
  const pairs: Pair[] = [];
  for (const iterations of lengths) {
    const [minimal, balanced] = await checked.outcomes(vm(iterations), [modes.minimal, modes.balanced]);
    const [minimal_half, balanced_half] = await checked.outcomes(vm(iterations / 2), [modes.minimal, modes.balanced]);
    pairs.push({ iterations, minimal, balanced, minimal_half, balanced_half });
  }
  const measured = bench.trouble === null ? await measureAll(bench, checked) : [];
  return {
    ...judge(
      measured,
      pairs.map((pair) => coldRatio(pair)),
    ),
    tables: [
      {
        title: 'Modelled, an iteration',
        head: [
          'iterations',
          'MINIMAL ns',
          'BALANCED ns',
          'ratio, cold',
          'ratio, steady',
          'faults',
          'BALANCED faults',
          'faults alone predict',
        ],
        rows: pairs.map((pair) => [
          String(pair.iterations),
          each(pair.minimal, pair.iterations),
          each(pair.balanced, pair.iterations),
          coldRatio(pair).toFixed(1),
          steadyRatio(pair).toFixed(1),
          String(pair.minimal.faults),
          String(pair.balanced.faults),
          (pair.minimal.time_ns.fault! / pair.balanced.time_ns.fault!).toFixed(1),
        ]),
      },
      {
        title: 'Measured on the real kernel, CPU time an iteration',
        head: ['iterations', 'touched', 'huge pages', 'rounds', 'MINIMAL ns', 'BALANCED ns', 'ratio'],
        rows: measured.map(({ iterations, touch, huge, minimal_ns, balanced_ns, ratio }) => [
          String(iterations),
          touch === 'all' ? 'every byte' : 'every page',
          huge ? 'yes' : 'no',
          String(rounds(bench)),
          Math.round(minimal_ns / iterations).toLocaleString('en-US'),
          Math.round(balanced_ns / iterations).toLocaleString('en-US'),
          `${ratio.median.toFixed(2)} [${ratio.low.toFixed(2)}, ${ratio.high.toFixed(2)}]`,
        ]),
      },
      {
        title: "The original's own figures",
        head: ['', 'ns'],
        rows: [
          ['MINIMAL less BALANCED', (claimed.minimal_ns - claimed.balanced_ns).toLocaleString('en-US')],
          [
            `that over the ${block_pages} pages of a block, a page`,
            ((claimed.minimal_ns - claimed.balanced_ns) / block_pages).toFixed(0),
          ],
          ['its estimate of a fault, a page', '100 to 500'],
          ['its estimate of mmap and munmap', '1,000 to 5,000'],
          ['nominal price of a fault here', String(prices.fault_ns)],
        ],
      },
    ],
    checked: checked.counts(),
  };
}

/** On ten iterations, by page and by byte, with BALANCED as it is; the others are reported. */
export function judge(
  measured: readonly MeasuredRatio[],
  modelled: readonly number[],
): { verdict: StudyVerdict; because: string } {
  const range = (values: readonly number[]): string =>
    `${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}`;
  const model = `the model has ${range(modelled)} times over the whole run, more the longer it runs`;
  const told = measured.filter(({ iterations, huge }) => huge && iterations === designed_iterations);
  if (told.length === 0) return { verdict: 'cannot be told', because: `${model}; nothing was measured.` };
  const figures = told.map(
    ({ touch, ratio }) =>
      `${ratio.median.toFixed(1)} [${ratio.low.toFixed(1)}, ${ratio.high.toFixed(1)}] with every ${touch === 'all' ? 'byte written' : 'page touched'}`,
  );
  const because =
    `${model}; measured, ten iterations take ${figures.join(' and ')}, and all lengths together ` +
    `${range(measured.map(({ ratio }) => ratio.median))}. The longer the loop, the larger the ratio: 13.95 is one point of a curve.`;
  const [least, most] = [claimed_ratio / of_that_size, claimed_ratio * of_that_size];
  if (told.every(({ ratio }) => ratio.low >= least && ratio.high <= most)) return { verdict: 'holds', because };
  const outside = told.every(({ ratio }) => ratio.high < least || ratio.low > most);
  return { verdict: outside ? 'does not hold' : 'cannot be told', because };
}

const rounds = ({ quick }: Bench): number => (quick ? 1 : 7);

async function measureAll(bench: Bench, checked: CheckedRows): Promise<MeasuredRow[]> {
  const rows: MeasuredRow[] = [];
  const cases = (bench.quick ? [10] : [10, 100]).flatMap((iterations) =>
    (bench.quick ? (['page'] as const) : (['page', 'all'] as const)).flatMap((touch) =>
      (bench.quick ? [true] : [true, false]).map((huge) => ({ iterations, touch, huge })),
    ),
  );
  for (const [at, { iterations, touch, huge }] of cases.entries()) {
    const trace = vm(iterations);
    const times = { minimal: [] as number[], balanced: [] as number[] };
    const setup: Setup = { ...bench.setupOf(trace), touch };
    const configs = { minimal: modes.minimal, balanced: huge ? modes.balanced : small_pages };
    for (let round = 0; round < rounds(bench); round += 1) {
      const order = round % 2 === 0 ? (['minimal', 'balanced'] as const) : (['balanced', 'minimal'] as const);
      for (const which of order)
        times[which].push((await checked.measured(trace, { ...setup, config: configs[which] })).time_ns.total);
    }
    rows.push({
      iterations,
      touch,
      huge,
      ratio: ratioOf(times.minimal, times.balanced, bench.seed),
      minimal_ns: middle(times.minimal),
      balanced_ns: middle(times.balanced),
    });
    bench.progress('real kernel', at + 1, cases.length);
  }
  return rows;
}

function vm(iterations: number): Trace {
  return scenarioFamily('vm', 2 * iterations).of(0);
}

function coldRatio({ minimal, balanced }: Pair): number {
  return minimal.time_ns.total / balanced.time_ns.total;
}

function steadyRatio({ minimal, balanced, minimal_half, balanced_half }: Pair): number {
  return (minimal.time_ns.total - minimal_half.time_ns.total) / (balanced.time_ns.total - balanced_half.time_ns.total);
}

function each({ time_ns }: Outcome, iterations: number): string {
  return Math.round(time_ns.total / iterations).toLocaleString('en-US');
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
