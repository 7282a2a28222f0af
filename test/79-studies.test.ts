/** Studies: verdicts are decided by figures, and a record is written once. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { blocksOf, judge as judgeBatching } from '../experiments/studies/batching.ts';
import { judge as judgeRates } from '../experiments/studies/hit-rate.ts';
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
  test('without a name it lists the studies with their questions', () => {
    const { status, stdout } = hakmem('--json');
    expect(status).toBe(0);
    const listed = JSON.parse(stdout);
    expect(listed.map(({ name }: { name: string }) => name)).toEqual(['batching', 'hit-rate', 'thresholds', 'tuning']);
    for (const { question, claim } of listed) expect(question.length * claim.length).toBeGreaterThan(400);
  });

  test.each(['batching', 'hit-rate', 'thresholds', 'tuning'])('%s runs, checked, and leaves a record once', (name) => {
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

  test('an unknown study is refused in one line that lists them', () => {
    expect(hakmem('luck')).toMatchObject({
      status: 2,
      stdout: '',
      stderr: 'hakmem: unknown study "luck"; wanted one of batching hit-rate thresholds tuning\n',
    });
  });
});
