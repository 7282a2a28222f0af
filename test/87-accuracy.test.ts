/** How wrong predicted times are: the figures of the study are what they say, and the study runs. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { nominalPrices } from '../experiments/calibrate/price-file.ts';
import { kendallTauB } from '../experiments/statistics.ts';
import { knobs, planned_subjects, trains } from '../experiments/studies/accuracy/plan.ts';
import { coverageOf, errorsOf, noiseOf, rankedPairs, regretOf, tauOf } from '../experiments/studies/accuracy/scores.ts';
import { subjectOf } from '../experiments/studies/accuracy/subjects.ts';
import { judge, reachedBy } from '../experiments/studies/accuracy.ts';
import { predict } from '../experiments/time-check/prediction.ts';
import { glibcTrouble } from '../experiments/tune/glibc.ts';
import { curveFrom, type LibraryPrices, prices, timedPeer } from '../sim/index.ts';
import { touchIndex } from '../sim/kernel/touch.ts';
import { Glibc, glibc_machine } from '../sim/peers/glibc.ts';
import { nominal_machine } from '../sim/time/machine.ts';
import { op, TraceBuilder } from '../traces/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-accuracy-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('figures', () => {
  test('errors are parts of what was measured, and bias keeps their sign', () => {
    const { mape, median, max, bias } = errorsOf([110, 90, 150], [100, 100, 100]);
    expect([mape, median, max, bias].map((value) => value.toFixed(4))).toEqual([
      '0.2333',
      '0.1000',
      '0.5000',
      '0.1667',
    ]);
  });

  test('pairs within the margin are not ranked, and predicted ties count against the rank', () => {
    expect(rankedPairs([1, 2, 3], [[100, 105, 200]], 0.1)).toEqual({ pairs: 2, tied: 0, score: 2 });
    expect(tauOf([rankedPairs([3, 2, 1], [[100, 150, 200]], 0.1)])).toBe(-1);
    expect(tauOf([rankedPairs([1, 1, 2], [[100, 150, 200]], 0.1)])).toBeCloseTo(2 / Math.sqrt(6), 12);
    expect(tauOf([rankedPairs([1, 2], [[100, 101]], 0.1)])).toBeNull();
    expect(
      rankedPairs(
        [1, 2],
        [
          [100, 150],
          [150, 100],
        ],
        0.1,
      ).pairs,
    ).toBe(0);
    expect(
      rankedPairs(
        [1, 2],
        [
          [100, 150],
          [100, 120],
        ],
        0.1,
      ).pairs,
    ).toBe(1);
  });

  test('where every pair counts it is the tau-b that statistics have', () => {
    const different = fc.uniqueArray(fc.integer({ min: 1, max: 1000 }), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(different, fc.infiniteStream(fc.nat(9)), (measured, stream) => {
        const predicted = measured.map(() => stream.next().value as number);
        const expected = kendallTauB(predicted, measured);
        const found = tauOf([rankedPairs(predicted, [measured], 0)]);
        if (Number.isNaN(expected)) expect(found).toBeNull();
        else expect(found).toBeCloseTo(expected, 12);
      }),
    );
  });

  test('regret is what the choice costs on rounds that did not choose the best', () => {
    const slow = [20, 20, 20, 20];
    const fast = [10, 10, 10, 10];
    expect(regretOf([1, 2], [slow, fast])).toEqual({ mean: 1, least: 1, tied: 1 });
    expect(regretOf([2, 1], [slow, fast]).mean).toBe(0);
    expect(regretOf([1, 1.005], [slow, fast])).toEqual({ mean: 0.5, least: 0.5, tied: 2 });
    // Each half finds another one best, which is worse in the other half: nothing to gain.
    expect(
      regretOf(
        [1, 2, 3],
        [
          [10, 10, 10, 10],
          [9, 12, 9, 12],
          [12, 9, 12, 9],
        ],
      ).mean,
    ).toBeLessThan(0);
  });

  test('noise is how far halves differ, and an interval covers its ends', () => {
    expect(
      noiseOf([
        [10, 10, 10, 10],
        [9, 11, 9, 11],
      ]),
    ).toBeCloseTo(0.1, 12);
    expect(
      coverageOf(
        [
          { low: 1, high: 2 },
          { low: 1, high: 2 },
        ],
        [2, 2.1],
      ),
    ).toBe(0.5);
  });

  const score = (mape: number, lost: number, noise: number) => {
    const errors = { mape, median: mape / 2, max: 1, bias: 0 };
    const regret = { mean: lost, least: lost, tied: 1 };
    const ranked = [{ pairs: 3, tied: 0, score: 3 }];
    return {
      name: 'x',
      errors,
      noise,
      ranked,
      repeated: ranked,
      regret,
      peak: { ...errors, mape: 0 },
    };
  };

  test('the claim holds where every target is met; a regret within noise is a tie', () => {
    const verdict = (mape: number, regret: number, noise: number) => {
      const one = score(mape, regret, noise);
      return judge(reachedBy(one, [one])).verdict;
    };
    expect(verdict(0.1, 0.02, 0)).toBe('holds');
    expect(verdict(0.11, 0.02, 0)).toBe('does not hold');
    expect(verdict(0.1, 0.04, 0)).toBe('does not hold');
    expect(verdict(0.1, 0.04, 0.05)).toBe('holds');
    expect(judge([]).verdict).toBe('cannot be told');
  });
});

describe('the plan', () => {
  test('trains on two subjects under the default alone, and holds out 22 settings of the rest', () => {
    expect(knobs).toHaveLength(22);
    const training = planned_subjects.flatMap((subject) =>
      knobs.filter((knob) => trains(subject, knob)).map((knob) => `${subject.name} ${knob.name}`),
    );
    expect(training).toEqual(['vm default', 'json default']);
  });

  test('a subject is the beginning of its trace, and is predicted to the same nanosecond twice', () => {
    const planned = { name: 'json', recorded: false, events: 100, trains: false };
    const subject = subjectOf(planned, [], folder, 1)!;
    expect(subject.trace.statistics.events).toBe(100);
    const makePeer = () => new Glibc({}, glibc_machine, touchIndex('page'));
    const replayed = { trace: subject.trace, touch: 'page', makePeer } as const;
    const at = (event_ns: number) => predict(replayed, { list: nominalPrices(), event_ns });
    expect(at(5).cpu_ns).toBe(at(5).cpu_ns);
    expect(at(5).cpu_ns - at(0).cpu_ns).toBe(500);
    expect(at(0).faults).toBeGreaterThan(100);
    // Certain prices: the interval is a point. One uncertain price widens it by what is bought of it.
    expect(at(0).cpu_interval_ns).toEqual({ low: at(0).cpu_ns, high: at(0).cpu_ns });
    const { curves } = nominalPrices();
    const fault_ns = curves.fault_ns.map(({ x, ns }) => ({ x, ns, low: ns - 100, high: ns + 200 }));
    const list = { ...nominalPrices(), curves: { ...curves, fault_ns, fresh_fault_ns: fault_ns } };
    const { cpu_ns, faults, cpu_interval_ns } = predict(replayed, { list, event_ns: 0 });
    expect(cpu_interval_ns).toEqual({ low: cpu_ns - 100 * faults, high: cpu_ns + 200 * faults });
    expect(subjectOf({ ...planned, recorded: true }, [], folder, 1)).toBeNull();
  });
});

test('the way through the library has its own price where it was measured', () => {
  const builder = new TraceBuilder();
  for (let pair = 0; pair < 10; pair += 1) {
    builder.allocate(op.malloc, 0, 100);
    builder.free(0);
  }
  const chunks = builder.finish();
  const library: LibraryPrices = { cached_ns: 3, listed_ns: 5, searched_allocate_ns: 700, searched_free_ns: 1100 };
  const spent = (measured: boolean): number => {
    const time = {
      prices: { flat: prices, curves: curveFrom(prices), ...(measured ? { library } : {}) },
      machine: { ...nominal_machine, thinks: false },
      memory_limit_bytes: Number.POSITIVE_INFINITY,
    };
    return timedPeer(chunks, () => new Glibc({}, glibc_machine, 0), time).by_cause.library;
  };
  // The first one is cut from the top, the others come from the thread's cache.
  expect(spent(true)).toBe(700 + 19 * 3);
  expect(spent(false)).toBe(20 * prices.heap_call_ns + prices.lookup_ns);
});

const trouble = glibcTrouble();

test.skipIf(trouble !== null)(
  `the study runs and leaves a record once${trouble === null ? '' : ` (${trouble})`}`,
  () => {
    const path = join(folder, 'accuracy.md');
    const ran = spawnSync('node', ['bin/hakmem.js', 'study', 'accuracy', '--quick', '--json', '-o', path], {
      encoding: 'utf8',
    });
    expect({ status: ran.status, stderr: ran.stderr }).toEqual({ status: 0, stderr: '' });
    const { verdict, tables, checked } = JSON.parse(ran.stdout);
    expect(['holds', 'does not hold', 'cannot be told']).toContain(verdict);
    expect(ran.stdout).not.toMatch(/NaN|Infinity/);
    const [targets] = tables;
    expect(targets.rows).toHaveLength(6);
    for (const row of targets.rows) expect(row[3]).toMatch(/^(met$|missed, because .)/);
    expect(checked.real_runs).toBe(checked.rows);
    // Faults are exact: errors of time are errors of prices.
    expect(checked.equal_for_real).toBe(checked.rows);
    expect(readFileSync(path, 'utf8')).toMatch(new RegExp(`^# accuracy: ${verdict}\n`));
  },
);
