/** What collecting cold frees into one flush saves, by block size: predicted, counted and measured. */
import { type Config, configOf, type Outcome } from '../../sim/index.ts';
import { type Chunk, op, originOf, Tally, type Trace, TraceBuilder } from '../../traces/index.ts';
import { formatBytes } from '../command.ts';
import { type Interval, ratioOf } from '../statistics.ts';
import { CheckedRows } from './checked.ts';
import type { Bench, Finding, Study, StudyVerdict } from './study.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** "Worth a lot" has to mean something: a tenth of the time that large blocks cost. */
export const worth_a_lot = 0.1;

/** Every size is cold and bypasses BigCache, so that every free goes through what is studied. */
const studied = { bigcache: 0, warm_from_bytes: 256 * KiB, cold_from_bytes: 256 * KiB } as const;

export const batching: Study = {
  name: 'batching',
  question: 'What does batching madvise save, by block size?',
  claim: 'Collecting cold frees and advising them in one flush is worth a lot.',
  claimed_by: "the original's design documents",
  method:
    'Traces of one block size (12 live, freed in the order of allocation, then all at once) with every free cold and BigCache ' +
    'off, threshold 256 KiB: batch off, on, and on with one process_madvise a flush. Saved is the share of the time without ' +
    'batch. Then the recorded samples under BALANCED, batch off and on. Prices nominal, touch page for the traces and recorded ' +
    'for the samples; measured is CPU time of interleaved runs on the real kernel, ratio off / on with a 95 % interval.',
  limits: [
    'One thread: what a flush saves in interrupts to other processors is not in it.',
    'A batched block can be taken back before its flush, without a fault: that is part of what is called saved here.',
    '"A lot" is taken as at least a tenth of the time of large blocks.',
  ],
  run,
};

async function run(bench: Bench): Promise<Finding> {
  const checked = new CheckedRows(bench);
  const exponents = bench.quick ? [0, 3] : [0, 1, 2, 3, 4, 5, 6, 7];
  const rounds = bench.quick ? 2 : 7;
  const sizes = exponents.map((exponent) => 256 * KiB * 2 ** exponent);
  const by_size: SizeRow[] = [];
  for (const [at, size_bytes] of sizes.entries()) {
    by_size.push(await ofSize(bench, checked, size_bytes, rounds));
    bench.progress('block sizes', at + 1, sizes.length);
  }
  const by_sample: { name: string; off: Outcome; on: Outcome }[] = [];
  for (const trace of bench.samples) {
    const base = configOf('BALANCED');
    const [off, on] = await checked.outcomes(trace, [{ ...base, batch: 0 }, base]);
    by_sample.push({ name: nameOf(trace), off, on });
  }
  const saved = by_size.map(({ off, on }) => savedShare(off, on));
  const measured = by_size.flatMap((row) => (row.measured === null ? [] : [row.measured]));
  return {
    ...judge(saved, measured),
    tables: [
      {
        title: 'One block size at a time',
        head: ['block', 'calls off', 'on', 'vectored', 'time off ms', 'saved', 'vectored', 'measured off / on'],
        rows: by_size.map(({ size_bytes, off, on, vectored, measured: ratio }) => [
          formatBytes(size_bytes),
          String(calls(off)),
          String(calls(on)),
          vectored === null ? '-' : String(calls(vectored)),
          milliseconds(off.time_ns.total),
          percent(savedShare(off, on)),
          vectored === null ? '-' : percent(savedShare(off, vectored)),
          ratio === null ? '-' : interval(ratio),
        ]),
      },
      {
        title: 'Recorded samples, BALANCED',
        head: ['sample', 'cold frees', 'calls off', 'on', 'time off ms', 'saved'],
        rows: by_sample.map(({ name, off, on }) => [
          name,
          String(on.batch.added),
          String(calls(off)),
          String(calls(on)),
          milliseconds(off.time_ns.total),
          percent(savedShare(off, on)),
        ]),
      },
    ],
    checked: checked.counts(),
  };
}

/** From shares saved in the simulator and ratios off / on for real, a size each. */
export function judge(
  saved: readonly number[],
  measured: readonly Interval[],
): { verdict: StudyVerdict; because: string } {
  const predicted = `predicted savings run from ${percent(Math.min(...saved))} to ${percent(Math.max(...saved))} of the time`;
  if (measured.length === 0) return { verdict: 'cannot be told', because: `${predicted}; nothing was measured.` };
  const needed = 1 / (1 - worth_a_lot);
  const shown = measured.filter(({ low }) => low >= needed).length;
  const refuted = measured.filter(({ high }) => high < needed).length;
  const because =
    `${predicted}; measured, ${shown} of ${measured.length} sizes gain at least ${percent(worth_a_lot)} by the whole interval, ` +
    `${refuted} certainly gain less.`;
  if (shown > measured.length / 2) return { verdict: 'holds', because };
  return { verdict: refuted > measured.length / 2 ? 'does not hold' : 'cannot be told', because };
}

interface SizeRow {
  readonly size_bytes: number;
  readonly off: Outcome;
  readonly on: Outcome;
  /** Null where this kernel has no process_madvise on oneself. */
  readonly vectored: Outcome | null;
  readonly measured: Interval | null;
}

async function ofSize(bench: Bench, checked: CheckedRows, size_bytes: number, rounds: number): Promise<SizeRow> {
  const trace = blocksOf(size_bytes, Math.max(8, Math.min(400, Math.floor((256 * MiB) / size_bytes))));
  const base: Config = { ...configOf('BALANCED', { mmap_threshold_bytes: 256 * KiB }), ...studied };
  const off_config = { ...base, batch: 0 };
  const has_vectored = bench.setupOf(trace).profile.process_madvise;
  const configs = [off_config, base, ...(has_vectored ? [{ ...base, batch_vectored: 1 }] : [])];
  const [off, on, vectored] = await checked.outcomes(trace, configs);
  const times = { off: [] as number[], on: [] as number[] };
  for (let round = 0; bench.trouble === null && round < rounds; round += 1) {
    const order = round % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const);
    for (const which of order) times[which].push(await checked.measure(trace, which === 'off' ? off_config : base));
  }
  const measured = times.off.length > 0 ? ratioOf(times.off, times.on, bench.seed) : null;
  return { size_bytes, off, on, vectored: vectored ?? null, measured };
}

/** So many blocks of one size come and go, 12 live at once; sizes differ by a page, so that few can be reused as they are. */
export function blocksOf(size_bytes: number, blocks: number): Trace {
  const live = Math.min(12, Math.max(2, Math.floor((96 * MiB) / size_bytes)));
  const build = (): Chunk[] => {
    const builder = new TraceBuilder();
    for (let block = 0; block < blocks; block += 1) {
      if (block >= live) builder.free(block - live);
      builder.allocate(op.malloc, block, size_bytes + (block % 5) * 4 * KiB, { site: 0 });
    }
    for (let block = blocks - live; block < blocks; block += 1) builder.free(block);
    return builder.finish();
  };
  const tally = new Tally();
  for (const chunk of build()) tally.add(chunk);
  const origin = originOf('generated', {
    program: 'blocks',
    has_sites: true,
    sites: [{ hash: '0'.repeat(16), name: 'blocks' }],
  });
  return { path: `blocks of ${formatBytes(size_bytes)}`, origin, statistics: tally.statistics(), chunks: build };
}

export function nameOf(trace: Trace): string {
  return trace.path.replace(/^.*\//, '').replace(/\.hak$/, '');
}

export function savedShare(off: Outcome, on: Outcome): number {
  return off.time_ns.total > 0 ? 1 - on.time_ns.total / off.time_ns.total : 0;
}

function calls({ syscalls }: Outcome): number {
  return Object.values(syscalls).reduce((sum, count) => sum + count, 0);
}

function milliseconds(ns: number): string {
  return (ns / 1e6).toFixed(2);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function interval({ median, low, high }: Interval): string {
  return `${median.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
}
