/** What collecting cold frees into one flush saves, by block size: predicted, counted and measured. */
import { type Config, configOf, type Outcome } from '../../sim/index.ts';
import { type Chunk, op, originOf, Tally, type Trace, TraceBuilder } from '../../traces/index.ts';
import { formatBytes } from '../command.ts';
import { type Interval, ratioOf } from '../statistics.ts';
import { CheckedRows } from './checked.ts';
import type { Bench, Finding, Study, StudyVerdict, Table } from './study.ts';

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
    'Traces of one block size, with every free cold, BigCache off and the threshold at 256 KiB: batch off, on, and on with one ' +
    'process_madvise a flush. Once so that no waiting block is asked for again: then batching saves system calls and nothing ' +
    'else. Once so that waiting blocks are: then they come back with their pages, without a fault. Then the recorded samples ' +
    'under BALANCED, batch off and on. Saved is the share of the time without batch, at nominal prices; measured is CPU time of ' +
    'interleaved runs on the real kernel, ratio off / on with a 95 % interval. The verdict is on the first series.',
  limits: [
    'The split in two series was made after a first design, in which waiting blocks came back as well, could not tell the two ' +
      'savings apart; that calls alone decide is our reading of the claim.',
    'One thread: what a flush saves in interrupts to other processors is not in it.',
    '"A lot" is taken as at least a tenth of the time of large blocks, on most sizes.',
    'Measured times include writing every page, which the prices count too.',
  ],
  run,
};

async function run(bench: Bench): Promise<Finding> {
  const checked = new CheckedRows(bench);
  const exponents = bench.quick ? [0, 3] : [0, 1, 2, 3, 4, 5, 6, 7];
  const rounds = bench.quick ? 2 : 7;
  const sizes = exponents.map((exponent) => 256 * KiB * 2 ** exponent);
  const series = { apart: [] as SizeRow[], again: [] as SizeRow[] };
  for (const [at, size_bytes] of sizes.entries()) {
    series.apart.push(await ofSize(bench, checked, blocksOf(size_bytes, false), size_bytes, rounds));
    series.again.push(await ofSize(bench, checked, blocksOf(size_bytes, true), size_bytes, rounds));
    bench.progress('block sizes', at + 1, sizes.length);
  }
  const by_sample: { name: string; off: Outcome; on: Outcome }[] = [];
  for (const trace of bench.samples) {
    const base = configOf('BALANCED');
    const [off, on] = await checked.outcomes(trace, [{ ...base, batch: 0 }, base]);
    by_sample.push({ name: nameOf(trace), off, on });
  }
  const saved = series.apart.map(({ off, on }) => savedShare(off, on));
  const measured = series.apart.flatMap((row) => (row.measured === null ? [] : [row.measured]));
  return {
    ...judge(saved, measured),
    tables: [
      sizeTable('No waiting block is asked for again: calls alone', series.apart),
      sizeTable('Waiting blocks are asked for again: calls and faults', series.again),
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

function sizeTable(title: string, rows: readonly SizeRow[]): Table {
  return {
    title,
    head: [
      'block',
      'calls off',
      'on',
      'vectored',
      'faults off',
      'on',
      'time off ms',
      'saved',
      'vectored',
      'measured off / on',
    ],
    rows: rows.map(({ size_bytes, off, on, vectored, measured: ratio }) => [
      formatBytes(size_bytes),
      String(calls(off)),
      String(calls(on)),
      vectored === null ? '-' : String(calls(vectored)),
      String(off.faults),
      String(on.faults),
      milliseconds(off.time_ns.total),
      percent(savedShare(off, on)),
      vectored === null ? '-' : percent(savedShare(off, vectored)),
      ratio === null ? '-' : interval(ratio),
    ]),
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

async function ofSize(
  bench: Bench,
  checked: CheckedRows,
  trace: Trace,
  size_bytes: number,
  rounds: number,
): Promise<SizeRow> {
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

/** More rounds than a batch waits: by then a block of the same size has been flushed. */
const sizes_in_turn = 16;

/**
 * Blocks of one size, to within a few pages, in rounds: up to 12 are allocated, used and freed. Where they come `again`, each
 * round asks for the same sizes as the one before, while its blocks wait; else for a page more, in turn.
 */
export function blocksOf(size_bytes: number, again: boolean): Trace {
  const live = Math.min(12, Math.max(2, Math.floor((96 * MiB) / size_bytes)));
  const rounds = Math.max(3, Math.min(40, Math.floor((512 * MiB) / (live * size_bytes))));
  const build = (): Chunk[] => {
    const builder = new TraceBuilder();
    for (let round = 0; round < rounds; round += 1) {
      const more_pages = again ? 0 : round % sizes_in_turn;
      for (let block = 0; block < live; block += 1)
        builder.allocate(op.malloc, block, size_bytes + more_pages * 4 * KiB, { site: 0 });
      for (let block = 0; block < live; block += 1) builder.free(block);
    }
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
