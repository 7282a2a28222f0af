/**
 * `--check time`: when predicted and measured times agree, what is predicted of a replay, and who is refused. A false prediction
 * is caught here; no test asks that a true one be within, for that is for the machine to say.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { thisMachine } from '../experiments/calibrate/machine.ts';
import { nominalPrices, price_format } from '../experiments/calibrate/price-file.ts';
import {
  faultsAlike,
  model_error,
  outcomeOf,
  overlap,
  timed_runs,
  timeInWords,
  undisturbed,
  widened,
} from '../experiments/time-check/agreement.ts';
import { predictMapped } from '../experiments/time-check/prediction.ts';
import { glibcTrouble } from '../experiments/tune/glibc.ts';
import { nativeTrouble, replayBare } from '../native/index.ts';
import { configOf, default_profile, prices, replay, type Setup } from '../sim/index.ts';
import { op, open, originOf, type Trace, TraceBuilder, writeHak } from '../traces/index.ts';

const KiB = 2 ** 10;
const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-time-check-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function written(name: string, builder: TraceBuilder): Trace {
  const path = join(folder, `${name}.hak`);
  writeHak(path, builder.finish(), { time: false, sites: false, touch: false }, () => originOf('generated', {}));
  return open(path);
}

describe('the rule', () => {
  const times = fc.double({ min: 1, max: 1e12, noNaN: true });
  const certain = (cpu_ns: number) => ({ cpu_ns, cpu_interval_ns: { low: cpu_ns, high: cpu_ns } });
  const within = (predicted_ns: number, measured_ns: number): boolean =>
    outcomeOf('x', certain(predicted_ns), Array(timed_runs).fill(measured_ns), 1).time!.within;

  test('certain predictions of certain times are within as far as the model is off in the mean, and no further', () => {
    fc.assert(
      fc.property(times, fc.double({ min: -0.9, max: 3, noNaN: true }), (measured_ns, error) => {
        fc.pre(Math.abs(Math.abs(error) - model_error) > 1e-9);
        expect(within(measured_ns * (1 + error), measured_ns)).toBe(Math.abs(error) < model_error);
      }),
    );
  });

  test('the same times in another unit come to the same', () => {
    fc.assert(
      fc.property(times, times, fc.integer({ min: -8, max: 8 }), (predicted_ns, measured_ns, power) => {
        const unit = 2 ** power;
        expect(within(predicted_ns * unit, measured_ns * unit)).toBe(within(predicted_ns, measured_ns));
      }),
    );
  });

  test('a wider interval of either side never turns within into outside', () => {
    const range = fc.tuple(times, times).map(([a, b]) => ({ low: Math.min(a, b), high: Math.max(a, b) }));
    fc.assert(
      fc.property(range, range, times, times, (predicted, measured, less, more) => {
        const wider = ({ low, high }: typeof predicted) => ({ low: low - less, high: high + more });
        if (!overlap(widened(predicted), measured)) return;
        expect(overlap(widened(wider(predicted)), measured)).toBe(true);
        expect(overlap(widened(predicted), wider(measured))).toBe(true);
      }),
    );
  });

  test('the record has the median of the runs, its interval, and the error as a part of what was measured', () => {
    const { time, verdict } = outcomeOf('work', certain(150), [100, 100, 90, 100, 110, 100, 100], 1);
    expect(time).toMatchObject({
      compares: 'work',
      predicted_ns: 150,
      predicted_interval_ns: { low: 150, high: 150 },
      model_error,
      measured_ns: { median: 100 },
      runs: 7,
      error: 0.5,
      within: false,
    });
    expect(time!.measured_ns.low).toBeGreaterThanOrEqual(90);
    expect(time!.measured_ns.high).toBeLessThanOrEqual(110);
    expect(verdict).toBe('differ');
    expect(timeInWords(time!)).toMatch(
      /^time of work: predicted [^\n]* measured [^\n]* over 7 runs, [^\n]*\+50\.0 % off: outside$/,
    );
  });

  test('of times that are lost in noise there is no error', () => {
    const { time, verdict } = outcomeOf('x', certain(0), [-3, -2, -1, -1, 0, 1, 2], 1);
    expect(time).toMatchObject({ error: null, within: true });
    expect(verdict).toBe('agree');
  });
});

describe('disturbed runs', () => {
  test('are made again, and do not count', async () => {
    const found = await undisturbed(
      async (turn) => turn,
      (run) => (run % 2 === 1 ? 'odd' : null),
    );
    expect(found).toEqual({ runs: [0, 2, 4, 6, 8, 10, 12], outcome: null });
  });

  test('leave it unchecked where too many are', async () => {
    const { outcome } = await undisturbed(
      async (turn) => turn,
      (run) => (run < 8 ? `run ${run}` : null),
    );
    expect(outcome).toEqual({
      time: null,
      verdict: 'unchecked',
      reason: '8 of 14 timed runs were disturbed: run 7',
    });
  });

  test('a fault or two, or one in a thousand, are none; more are', () => {
    expect([faultsAlike(10, 12), faultsAlike(10, 13)]).toEqual([true, false]);
    expect([faultsAlike(10_010, 10_000), faultsAlike(10_011, 10_000)]).toEqual([true, false]);
    expect([faultsAlike(10_500, 10_000, 0.05), faultsAlike(10_501, 10_000, 0.05)]).toEqual([true, false]);
  });
});

const setup: Setup = {
  config: configOf('BALANCED', { thp_policy: 0 }),
  prices,
  profile: default_profile,
  touch: 'page',
  seed: 1,
};

describe('what is predicted of the mapped path', () => {
  test('is its calls and first touches, and not the heap path', () => {
    const builder = new TraceBuilder();
    for (let object = 0; object < 50; object += 1) builder.allocate(op.malloc, object, 100);
    builder.allocate(op.malloc, 50, 8 * MiB);
    const { cpu_ns, faults, by_cause } = predictMapped(written('first', builder), setup, nominalPrices());
    expect(faults).toBe(2048);
    const { mmap_ns, advise_huge_ns, fault_ns } = prices;
    expect(by_cause).toMatchObject({ mmap: mmap_ns, madvise_nohugepage: advise_huge_ns, fault: 2048 * fault_ns });
    expect(cpu_ns).toBe(mmap_ns + advise_huge_ns + 2048 * fault_ns);
  });

  const { curves } = nominalPrices();
  const visiting = (points: readonly (readonly [number, number])[]) => ({
    ...nominalPrices(),
    curves: { ...curves, resident_touch_ns: points.map(([x, ns]) => ({ x, ns, low: ns, high: ns })) },
  });

  test('visits to pages that are there cost what the pages visited meanwhile make them cost', () => {
    const builder = new TraceBuilder();
    builder.allocate(op.malloc, 0, 4 * MiB);
    builder.free(0);
    builder.allocate(op.malloc, 0, 4 * MiB);
    const again = written('again', builder);
    const sim = replay(again.chunks(), setup);
    expect([sim.faults, sim.bigcache.hits]).toEqual([1024, 1]);
    expect(predictMapped(again, setup, visiting([[1, 7]])).by_cause.library).toBe(1024 * 7);
    // The block's own pages alone were visited since.
    const rising = visiting([
      [1, 0],
      [1_000_001, 1_000_000],
    ]);
    expect(predictMapped(again, setup, rising).by_cause.library).toBe(1024 * 1023);
  });

  test('where every byte is written, pages are filled', () => {
    const builder = new TraceBuilder();
    builder.allocate(op.malloc, 0, 4 * MiB);
    const { by_cause } = predictMapped(written('filled', builder), { ...setup, touch: 'all' }, nominalPrices());
    expect(by_cause.library).toBe(1024 * prices.fill_page_ns);
  });
});

/** Blocks of 25 pages that are mapped and given back one after the other: too small to be huge, or to wait for the host. */
function smallBlocks(): Trace {
  const builder = new TraceBuilder();
  for (let object = 0; object < 320; object += 1) builder.allocate(op.malloc, object, 100 * KiB);
  for (let object = 0; object < 320; object += 1) builder.free(object);
  return written('small', builder);
}
const trace = smallBlocks();
const maps = { mmap_threshold_bytes: 64 * KiB };

const trouble = nativeTrouble();
const skipped = trouble === null ? '' : ` (skipped: ${trouble})`;

describe.skipIf(trouble !== null)(`the kernels bare and idle${skipped}`, () => {
  test('decide as ever; the one touches what the simulator says, and the other nothing', async () => {
    const mapping: Setup = { ...setup, config: configOf('BALANCED', { ...maps, thp_policy: 0 }) };
    const sim = replay(trace.chunks(), mapping);
    const bare = await replayBare(trace.path, mapping, 'bare');
    const idle = await replayBare(trace.path, mapping, 'idle');
    expect([bare.decision_digest, idle.decision_digest]).toEqual([sim.decision_digest, sim.decision_digest]);
    expect(sim.faults).toBe(320 * 25);
    expect(faultsAlike(sim.faults, bare.faults - idle.faults)).toBe(true);
    expect([bare.slow_touches, idle.slow_touches]).toEqual([0, 0]);
    for (const { cpu_ns } of [bare, idle]) expect(cpu_ns).toBeGreaterThan(0);
  });
});

function hakmem(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['bin/hakmem.js', 'replay', trace.path, ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** A file that says it is of this machine, with all nominal prices so many times as high. */
function pricesTimes(factor: number, machine = thisMachine()): string {
  const path = join(folder, `prices-${factor}-${machine.id}.json`);
  const times = Object.fromEntries(Object.entries(prices).map(([name, ns]) => [name, ns * factor]));
  writeFileSync(path, JSON.stringify({ format: price_format, name: 'false', machine, prices: times, curves: {} }));
  return path;
}

const set = ['--set', 'mmap_threshold_bytes=64KiB'];

describe('refused in one line', () => {
  const other = { ...thisMachine(), id: '0123456789abcdef' };
  test.each([
    ['nominal prices', [], /found nominal prices, wanted those of this machine: run hakmem calibrate/],
    ['prices of another machine', ['--prices', pricesTimes(1, other)], /found prices of ANOTHER machine/],
    ['nominal prices of a peer', ['--policy', 'glibc'], /found nominal prices, wanted those of this machine/],
  ])('%s', (_, args, words) => {
    const { status, stdout, stderr } = hakmem('--check', 'time', ...args);
    expect(stderr).toMatch(words);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  });
});

describe.skipIf(trouble !== null)(`a false prediction${skipped}`, () => {
  const library_trouble = glibcTrouble();
  const subjects = [
    ['hakmem', set, null],
    ['glibc', ['--policy', 'glibc', '--set', 'glibc_mmap_threshold_bytes=64KiB'], library_trouble],
  ] as const;

  for (const [policy, args, why] of subjects)
    test.skipIf(why !== null)(
      `of ${policy}, a thousand times too high, is outside, while all counts agree${why === null ? '' : ` (${why})`}`,
      () => {
        const { status, stdout, stderr } = hakmem(...args, '--check', 'time', '--prices', pricesTimes(1000), '--json');
        const { check, sim } = JSON.parse(stdout);
        const agreed = { level: 'time', first_difference: null, faults_equal: true, reason: null };
        expect(check).toMatchObject({ ...agreed, verdict: 'differ' });
        const { time } = check;
        expect(Object.keys(time)).toEqual(
          'compares predicted_ns predicted_interval_ns model_error measured_ns runs error within'.split(' '),
        );
        expect(time).toMatchObject({ runs: timed_runs, model_error, within: false });
        expect(time.predicted_ns).toBeGreaterThanOrEqual(sim.faults * prices.fault_ns * 1000);
        const { median, low, high } = time.measured_ns;
        expect([low, median, high]).toEqual([low, median, high].sort((a, b) => a - b));
        expect(time.error).toBeGreaterThan(0);
        expect(stderr).toMatch(/^hakmem: time of [^\n]*: predicted [^\n]*; measured [^\n]*: outside\n$/);
        expect(status).toBe(1);
      },
    );

  test('of nothing at all is outside too, and the text says so', () => {
    const { status, stdout, stderr } = hakmem(...set, '--check', 'time', '--prices', pricesTimes(0));
    expect(stdout).toMatch(
      / {2}CPU time of calls and touches of the mapped path\n {4}predicted .*\n {4}measured .*: outside\n/,
    );
    expect(stdout).toMatch(/^verdict: differ \(level time\)/m);
    expect(stderr).toMatch(/: outside\n$/);
    expect(status).toBe(1);
  });
});

test.skipIf(trouble !== null)('where nothing is mapped there is no time to check, and counts agree', () => {
  const args = ['--set', 'mmap_threshold_bytes=1GiB', '--check', 'time', '--prices', pricesTimes(1)];
  const { status, stdout, stderr } = hakmem(...args, '--json');
  expect(stderr).toBe('');
  expect(JSON.parse(stdout).check).toMatchObject({
    verdict: 'agree',
    time: null,
    reason: expect.stringContaining('nothing was mapped'),
  });
  expect(status).toBe(0);
});
