/** Studies: verdicts are decided by figures, and a record is written once. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { kendallTauB, meanOf, shareOf } from '../experiments/statistics.ts';
import { blocksOf, judge as judgeBatching } from '../experiments/studies/batching.ts';
import { type FamilyRow, judge as judgeLearners } from '../experiments/studies/elo-or-not.ts';
import { type FreezeRow, judge as judgeFreezing } from '../experiments/studies/freeze.ts';
import { judge as judgeRates } from '../experiments/studies/hit-rate.ts';
import { method } from '../experiments/studies/learned.ts';
import { stay } from '../experiments/studies/made-latencies.ts';
import { findsBest, halvingWindows } from '../experiments/studies/made-windows.ts';
import { attribute, judge as judgeOverhead, partsOf, sitesTrace } from '../experiments/studies/overhead.ts';
import { judge as judgeOrder } from '../experiments/studies/phase-6.6.ts';
import { claimed_ratio, judge as judgeModes } from '../experiments/studies/phase-6.8.ts';
import { judge as judgeSettings } from '../experiments/studies/settings.ts';
import { distinctThresholds, judge as judgeCurves, shapeOf } from '../experiments/studies/thresholds.ts';
import { judge as judgeTuning, rankCorrelation } from '../experiments/studies/tuning.ts';
import { configOf, default_profile, prices, replay } from '../sim/index.ts';

const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-study-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function hakmem(...args: string[]) {
  return spawnSync('node', ['bin/hakmem.js', 'study', ...args], { encoding: 'utf8' });
}

describe('verdicts', () => {
  const curve = (...costs: number[]) => ({ name: 'x', thresholds_bytes: costs.map((_, at) => 2 ** at), costs });

  test('a curve is flat within 1 %, has an optimum only below both ends, or an end is best', () => {
    expect(shapeOf(curve(1, 1.009, 1))).toBe('flat');
    expect(shapeOf(curve(0, 0, 0))).toBe('flat');
    expect(shapeOf(curve(2, 1, 2))).toBe('optimum');
    expect(shapeOf(curve(1, 1.5, 2))).toBe('lowest is best');
    expect(shapeOf(curve(2, 1, 1.005))).toBe('highest is best');
  });

  test('thresholds hold where most have an optimum, and cannot be told where all are flat', () => {
    expect(judgeCurves([curve(2, 1, 2), curve(2, 1, 2), curve(1, 1)]).verdict).toBe('holds');
    expect(judgeCurves([curve(2, 1, 2), curve(1, 2)]).verdict).toBe('does not hold');
    expect(judgeCurves([curve(1, 1)]).verdict).toBe('cannot be told');
  });

  test('tuned settings hold where no rule has less regret and hardly any harm; broken memory is the worst regret', () => {
    const ten = (most: number | null) => [...Array.from({ length: 8 }, () => 0), most, most];
    const judged = (rule: number | null, tuned: number | null, harms: number, cases = 50) =>
      judgeSettings(
        [
          { name: 'rule', regrets: ten(rule) },
          { name: 'tuned', regrets: ten(tuned) },
        ],
        { cases, harms },
      ).verdict;
    expect(judged(0.5, 0.5, 1)).toBe('holds');
    expect(judged(0.5, 0.505, 1)).toBe('holds');
    expect(judged(0.5, 0.52, 0)).toBe('does not hold');
    expect(judged(null, 0.5, 0)).toBe('holds');
    expect(judged(0.5, null, 0)).toBe('does not hold');
    expect(judged(0.5, 0, 2)).toBe('cannot be told');
    expect(judged(0.5, 0, 8)).toBe('does not hold');
    expect(judgeSettings([{ name: 'tuned', regrets: [0] }], { cases: 1, harms: 0 }).verdict).toBe('cannot be told');
  });

  test('a share of nothing found has an interval, and of half lies around it', () => {
    expect(shareOf(0, 50)).toMatchObject({ share: 0, low: 0 });
    expect(shareOf(0, 50).high).toBeCloseTo(0.0713, 3);
    const half = shareOf(10, 20);
    expect((half.low + half.high) / 2).toBeCloseTo(0.5, 12);
    expect(half.low).toBeCloseTo(0.2993, 3);
    expect(shareOf(0, 0)).toEqual({ share: 0, low: 0, high: 1 });
  });

  test('hit rates hold where every sample that asks reaches 99 %', () => {
    const row = (...rates: (number | null)[]) => ({ name: 'x', rates, requests: 1 });
    expect(judgeRates([row(0.99, 0.5), row(null, null)]).verdict).toBe('holds');
    expect(judgeRates([row(0.99, 0.5), row(0.98, 0.5)]).verdict).toBe('does not hold');
    expect(judgeRates([row(null, null)]).verdict).toBe('cannot be told');
  });

  test('batching holds where most sizes surely gain a tenth, fails where most surely do not', () => {
    const at = (low: number, high: number) => ({ median: (low + high) / 2, low, high });
    expect(judgeBatching([0.5], [at(1.2, 1.3)]).verdict).toBe('holds');
    expect(judgeBatching([0.01], [at(0.99, 1.02)]).verdict).toBe('does not hold');
    expect(judgeBatching([0.01], [at(0.9, 1.5)]).verdict).toBe('cannot be told');
    expect(judgeBatching([0.01], []).verdict).toBe('cannot be told');
  });

  test('phase 6.6 holds where the strategy never counted before, always does after, and nothing got dearer', () => {
    const row = (spread_before: number, spread_after: number, score_ratio: number | null, choice = true) => ({
      name: 'x',
      choice,
      spread_before,
      spread_after,
      score_ratio,
    });
    expect(judgeOrder([row(1, 2, 1.02), row(1, 1, null, false)]).verdict).toBe('holds');
    expect(judgeOrder([row(1, 2, 0.5)]).verdict).toBe('holds');
    expect(judgeOrder([row(1, 2, 1.03)]).verdict).toBe('does not hold');
    expect(judgeOrder([row(1.01, 2, 1)]).verdict).toBe('does not hold');
    expect(judgeOrder([row(1, 1, 1)]).verdict).toBe('does not hold');
    expect(judgeOrder([row(1, 1, 1, false)]).verdict).toBe('cannot be told');
  });

  test('phase 6.8 is decided by ten iterations: both touches surely within twice of 13.95, or both surely outside', () => {
    expect(claimed_ratio).toBeCloseTo(13.96, 2);
    const at = (low: number, high: number, iterations = 10, huge = true) =>
      ({ iterations, touch: 'page', huge, ratio: { median: (low + high) / 2, low, high } }) as const;
    expect(judgeModes([at(7, 20), at(15, 27), at(1, 2, 100)], [80]).verdict).toBe('holds');
    expect(judgeModes([at(2, 6.9), at(28, 40), at(13, 15, 10, false)], [80]).verdict).toBe('does not hold');
    expect(judgeModes([at(14, 20), at(3, 4)], [80]).verdict).toBe('cannot be told');
    expect(judgeModes([at(6, 15)], [80]).verdict).toBe('cannot be told');
    expect(judgeModes([at(13, 15, 100)], [80]).verdict).toBe('cannot be told');
  });

  test('overhead holds where freezing and direct indexing both surely save 5 % on most traces', () => {
    const row = (claim: 'frozen' | 'direct', low: number, high: number) => ({
      claim,
      ratio: { median: (low + high) / 2, low, high },
    });
    expect(judgeOverhead([row('frozen', 1.06, 1.2), row('direct', 1.06, 1.1)]).verdict).toBe('holds');
    expect(judgeOverhead([row('frozen', 1.06, 1.2), row('direct', 0.99, 1.01)]).verdict).toBe('does not hold');
    expect(judgeOverhead([row('frozen', 1.06, 1.2), row('direct', 1, 1.1)]).verdict).toBe('cannot be told');
    expect(judgeOverhead([]).verdict).toBe('cannot be told');
  });

  const cell = (name: string, times: number, found: number | null) => ({
    method: name,
    times_best: { mean: times, low: times, high: times },
    times_optimum: null,
    regret: null,
    ends_on_class: found,
    ends_as_good: found,
  });
  const family = (halving: number, elo: number, cost: number, windows = 5, spread = 2): FamilyRow => ({
    family: 'x',
    window_events: 1000,
    windows,
    spread,
    fixed_default: { mean: 1.5, low: 1.5, high: 1.5 },
    by_method: [cell('elo paired', 2, elo), cell('halving paired', cost, halving), cell('at random', 9, 0)],
  });

  test('halving over Elo holds where it finds what Elo does not, and costs less than the default, on most traces', () => {
    expect(judgeLearners([family(1, 0.5, 1.2)]).verdict).toBe('holds');
    expect(judgeLearners([family(1, 0.5, 1.6)]).verdict).toBe('does not hold');
    expect(judgeLearners([family(1, 0.9, 1.2)]).verdict).toBe('does not hold');
    expect(judgeLearners([family(0.9, 0.5, 1.2)]).verdict).toBe('does not hold');
    // Without a window, or where all cost the same, a trace decides nothing.
    expect(judgeLearners([family(1, 0.5, 1.2), family(0, 1, 9, 0), family(0, 1, 9, 5, 1.01)]).verdict).toBe('holds');
    expect(judgeLearners([family(1, 0.5, 1.2, 0)]).verdict).toBe('cannot be told');
  });

  test('freezing is sound where every unchanging trace freezes on as good a strategy, sleeps on, and drift is noticed', () => {
    const row = (changes: Partial<FreezeRow> = {}): FreezeRow => ({
      family: 'vm',
      rule: 'classic',
      learner: 'elo',
      runs: 10,
      frozen: 10,
      as_good: 1,
      woken: 0,
      noticed: null,
      ...changes,
    });
    const drifted = (noticed: number) => row({ family: 'drift', noticed });
    const made = (windows: number, settings = 'classic, histogram') => [
      { stream: 'x', settings, windows, froze: 1, woken: 0 },
    ];
    expect(judgeFreezing([row(), row({ as_good: null }), drifted(1)], made(90)).verdict).toBe('holds');
    expect(judgeFreezing([row({ frozen: 9 }), drifted(1)], made(90)).verdict).toBe('does not hold');
    expect(judgeFreezing([row({ as_good: 0.9 }), drifted(1)], made(90)).verdict).toBe('does not hold');
    expect(judgeFreezing([row({ woken: 1.1 }), drifted(1)], made(90)).verdict).toBe('does not hold');
    expect(judgeFreezing([row(), drifted(0.5)], made(90)).verdict).toBe('does not hold');
    expect(judgeFreezing([row(), row({ rule: 'paired', frozen: 0 }), drifted(1)], made(90)).verdict).toBe('holds');
    expect(judgeFreezing([row(), drifted(1)], made(91)).verdict).toBe('does not hold');
    expect(judgeFreezing([row(), drifted(1)], made(91, 'paired')).verdict).toBe('holds');
    expect(judgeFreezing([row({ family: 'edges' })], made(90)).verdict).toBe('cannot be told');
  });

  test('tuning holds only where nothing is lost', () => {
    expect(judgeTuning([0, 0]).verdict).toBe('holds');
    expect(judgeTuning([0, 0.001]).verdict).toBe('does not hold');
    expect(judgeTuning([0, null]).verdict).toBe('does not hold');
  });
});

test('orders that are alike, reversed and unrelated correlate by 1, -1 and 0', () => {
  expect(rankCorrelation([1, 2, 3], [10, 20, 30])).toBe(1);
  expect(rankCorrelation([1, 2, 3], [3, 2, 1])).toBe(-1);
  expect(rankCorrelation([1, 2, 3], [5, 5, 5])).toBe(0);
});

test("Kendall's tau-b: ties of either count for neither, and constants have none", () => {
  expect(kendallTauB([1, 2, 3], [10, 20, 30])).toBe(1);
  expect(kendallTauB([1, 2, 3], [3, 2, 1])).toBe(-1);
  expect(kendallTauB([1, 1, 2], [5, 5, 7])).toBe(1);
  // 5 pairs in order of 6, one tied in the second: 5 / sqrt(6 * 5).
  expect(kendallTauB([1, 2, 3, 4], [1, 2, 2, 3])).toBeCloseTo(5 / Math.sqrt(30), 12);
  expect(kendallTauB([1, 2, 3], [5, 5, 5])).toBe(Number.NaN);
});

test('a mean has an interval around it, that of one value is the value', () => {
  const { mean, low, high } = meanOf([1, 2, 3, 4, 5], 1);
  expect(mean).toBe(3);
  expect(low).toBeGreaterThan(1);
  expect(high).toBeLessThan(5);
  expect(low).toBeLessThan(high);
  expect(meanOf([7], 1)).toEqual({ mean: 7, low: 7, high: 7 });
});

test('a gap is explained by its largest part, and by none where more than a fifth is left over', () => {
  const part = (name: string, ns: number) => ({ name, ns });
  expect(attribute(100, [part('mmap', 10), part('faults', 70)])).toMatchObject({ residual_ns: 20, cause: 'faults' });
  expect(attribute(100, [part('faults', 79)]).cause).toBe(null);
  expect(attribute(-100, [part('faults', -121)]).cause).toBe(null);
  expect(attribute(0, [part('faults', 1)]).cause).toBe(null);
  expect(attribute(17_638, [part('Elo', 200), part('BigCache', 100), part('header', 50)]).cause).toBe(null);
});

test('parts of a gap are differences in counts times prices, and add up to it where only counted things differ', () => {
  const run = (settings: object) => {
    const config = configOf('BALANCED', settings);
    const setup = { config, prices, profile: default_profile, touch: 'page', seed: 1 } as const;
    return replay(sitesTrace(256).chunks(), setup);
  };
  const [before, after] = [run({}), run({ thp_policy: 0 })];
  const parts = partsOf(before, after, prices);
  expect(parts.map(({ name }) => name)).toEqual(['huge faults', 'small faults']);
  const found = attribute(after.time_ns.total - before.time_ns.total, parts);
  expect(found).toMatchObject({ residual_ns: 0, cause: 'small faults' });
});

test('sites of the trace that searching is timed on have each a slot of their own', () => {
  const run = (bigcache_direct: number) => {
    const config = configOf('BALANCED', { bigcache_direct });
    const setup = { config, prices, profile: default_profile, touch: 'none', seed: 1 } as const;
    return replay(sitesTrace(512).chunks(), setup);
  };
  expect(run(1).bigcache.hits).toBe(192);
  expect(run(0).bigcache.hits).toBe(192);
  expect(run(0).bigcache.probes).toBeGreaterThan(10 * run(1).bigcache.probes);
});

describe('made windows', () => {
  test('one telling all strategies under one noise teaches more than one of them under its own', () => {
    const elo = { settings: method('elo', 'paired').settings, evaluations: 600 };
    const paired = findsBest({ ...elo, telling: 'paired' }, 40, 1);
    const one = findsBest({ ...elo, telling: 'one' }, 40, 1);
    expect(paired).toBeGreaterThan(0.9);
    expect(one).toBeLessThan(0.8);
    expect(findsBest({ ...elo, telling: 'paired' }, 40, 1)).toBe(paired);
  });

  test('halving spends its evaluations: 4 rounds of all, or of 12, 6, 3 and 2 one at a time', () => {
    expect(halvingWindows('paired', 2400)).toBe(50);
    expect(halvingWindows('one', 2400)).toBe(104);
    expect(halvingWindows('paired', 12)).toBe(1);
  });
});

test('on latencies that never change the paired rules freeze at once; the classic ones wait where the p99 is noisy', () => {
  expect(stay('exponential', { rules: 0 }, 300, 20, 5, 1)).toMatchObject({ froze: true, windows: 3, woken: 0 });
  expect(stay('exponential', { rules: 1, quantile: 1 }, 300, 20, 5, 1)).toMatchObject({ froze: false, windows: 20 });
});

test('blocks that wait are taken back only where the trace asks for them again', () => {
  const config = configOf('BALANCED', { bigcache: 0, warm_from_bytes: MiB, cold_from_bytes: MiB });
  const setup = { config, prices, profile: default_profile, touch: 'page', seed: 1 } as const;
  expect(replay(blocksOf(MiB, false).chunks(), setup).batch.withdrawn).toBe(0);
  expect(replay(blocksOf(MiB, true).chunks(), setup).batch.withdrawn).toBeGreaterThan(100);
});

test('two thresholds are one where no request lies between them', () => {
  expect(distinctThresholds(blocksOf(2 * MiB, true), [MiB, 2 * MiB, 4 * MiB, 8 * MiB])).toBe(2);
  expect(distinctThresholds(blocksOf(MiB / 4, true), [MiB, 2 * MiB])).toBe(1);
});

describe('the command', () => {
  const names = [
    'accuracy',
    'batching',
    'elo-or-not',
    'freeze',
    'hit-rate',
    'overhead',
    'phase-6.6',
    'phase-6.8',
    'settings',
    'thresholds',
    'tuning',
  ];

  test('without a name it lists the studies with their questions', () => {
    const { status, stdout } = hakmem('--json');
    expect(status).toBe(0);
    const listed = JSON.parse(stdout);
    expect(listed.map(({ name }: { name: string }) => name)).toEqual(names);
    for (const { question, claim } of listed) expect(question.length * claim.length).toBeGreaterThan(400);
  });

  // The C core has no part in what is held to libraries: test/87 runs accuracy, the next one settings.
  const of_the_core = names.filter((name) => name !== 'accuracy' && name !== 'settings');
  test.each(of_the_core)('%s runs, checked, and leaves a record once', (name) => {
    const path = join(folder, `${name}.md`);
    const { status, stdout, stderr } = hakmem(name, '--quick', '--json', '-o', path);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { checked, verdict } = JSON.parse(stdout);
    expect(checked.rows).toBeGreaterThan(0);
    expect(checked.equal_in_core).toBe(checked.rows);
    const record = readFileSync(path, 'utf8');
    expect(record).toMatch(new RegExp(`^# ${name}: ${verdict}\n`));
    expect(record).toMatch(/\d{4}-\d\d-\d\d, `hakmem study .* Machine: .* Revision: .*equal in the C core/);
    expect(hakmem(name, '--quick', '-o', path)).toMatchObject({ status: 2, stdout: '' });
    expect(readFileSync(path, 'utf8')).toBe(record);
  });

  test('settings runs, held to the library, and leaves a record', () => {
    const path = join(folder, 'settings.md');
    const { status, stdout, stderr } = hakmem('settings', '--quick', '--json', '-o', path);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { checked, verdict } = JSON.parse(stdout);
    expect(checked.rows).toBe(0);
    expect(checked.real_runs).toBeGreaterThan(0);
    expect(readFileSync(path, 'utf8')).toMatch(new RegExp(`^# settings: ${verdict}\n`));
  });

  test('an unknown study is refused in one line that lists them', () => {
    expect(hakmem('luck')).toMatchObject({
      status: 2,
      stdout: '',
      stderr:
        'hakmem: unknown study "luck"; wanted one of accuracy batching elo-or-not freeze hit-rate overhead phase-6.6 phase-6.8 settings thresholds tuning\n',
    });
  });
});
