/** Sweeps: axes, Sobol points, plans, shards, results, checks, and the commands sweep and query. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { nominalPrices } from '../experiments/calibrate/price-file.ts';
import { crossCheck } from '../experiments/crosscheck.ts';
import { parseAxis, valueAt } from '../experiments/sweep/axes.ts';
import type { Driver } from '../experiments/sweep/driver.ts';
import { failuresOf } from '../experiments/sweep/failures.ts';
import { type Plan, planOf } from '../experiments/sweep/plan.ts';
import { planSchema, readPlanFile } from '../experiments/sweep/plan-file.ts';
import { type Points, pointsOf } from '../experiments/sweep/points.ts';
import { readMeasured, readRows, writeMeasured, writeRows } from '../experiments/sweep/results.ts';
import type { Row } from '../experiments/sweep/row.ts';
import { runSweep, type Swept } from '../experiments/sweep/run.ts';
import { appendToShard, readShard } from '../experiments/sweep/shard.ts';
import { sobol_dimensions_max, sobolPoints } from '../experiments/sweep/sobol.ts';
import { shardPath } from '../experiments/sweep/state.ts';
import { chosenRows } from '../experiments/sweep/verify.ts';
import { type Core, Workbench } from '../experiments/sweep/workbench.ts';
import { replayAll } from '../native/index.ts';
import { boundaries_bytes, default_profile, firstDifference, prices, replay } from '../sim/index.ts';
import { open, SyntheticTrace, writeHak } from '../traces/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const trace = join(folder, 'edges.hak');
const edges = new SyntheticTrace('edges', { events: 800, seed: 5, boundaries_bytes });
writeHak(trace, edges.chunks(), { time: false, sites: true, touch: false }, () => edges.origin);

let places = 0;
const place = (): string => join(folder, `place-${places++}`);

describe('an axis', () => {
  const bytes = fc.integer({ min: 1, max: 2 ** 40 });

  test('a range of bytes has exact ends, n steps, never turns back, and grows by one ratio', () => {
    fc.assert(
      fc.property(bytes, bytes, fc.integer({ min: 2, max: 200 }), (from, to, steps) => {
        const { values } = parseAxis(`mmap_threshold_bytes=${from}:${to}:${steps}`);
        expect(values).toHaveLength(steps);
        expect([values[0], values.at(-1)]).toEqual([from, to]);
        const rising = to >= from ? values : [...values].reverse();
        expect(rising.every((value, at) => Number.isInteger(value) && value >= (rising[at - 1] ?? 0))).toBe(true);
        const ratio = (to / from) ** (1 / (steps - 1));
        for (const [at, value] of values.entries())
          expect(Math.abs(value - from * ratio ** at)).toBeLessThanOrEqual(0.5 + 1e-9 * value);
      }),
    );
  });

  test('a range of counts is linear, and both can be told otherwise', () => {
    expect(parseAxis('bigcache_ways=1:64:4').values).toEqual([1, 22, 43, 64]);
    expect(parseAxis('batch_blocks_max=1:64:4:log').values).toEqual([1, 4, 16, 64]);
    expect(parseAxis('kept_bytes_max=0:8MiB:3:linear').values).toEqual([0, 4 * 2 ** 20, 8 * 2 ** 20]);
    expect(parseAxis('checkpoint_events=1:100:3').values).toEqual([1, 10, 100]);
  });

  test('a list keeps its order; flags, words and modes are lists', () => {
    expect(parseAxis('mmap_threshold_bytes=2MiB,512K').values).toEqual([2097152, 524288]);
    expect(parseAxis('thermal=true,off').values).toEqual([1, 0]);
    expect(parseAxis('thp_policy=auto,off').values).toEqual([2, 0]);
    expect(parseAxis('mode=minimal,FAST').values).toEqual([0, 1]);
  });

  test.each([
    ['nothing', 'wanted param=a,b,c or param=from:to:n'],
    ['treshold=1,2', 'unknown parameter "treshold"'],
    ['mode=SLOW', 'unknown mode "SLOW"; wanted one of MINIMAL'],
    ['thermal=maybe', 'thermal: found "maybe", wanted true or false'],
    ['thermal=false:true:2', 'found a range, wanted a list'],
    ['bigcache_ways=0,1', 'bigcache_ways: found 0, wanted a whole number from 1 to 64'],
    ['bigcache_ways=x', '"x" is not a size'],
    ['mmap_threshold_bytes=1:2', 'wanted from:to:n'],
    ['mmap_threshold_bytes=1:2:3:cubic', 'wanted from:to:n'],
    ['mmap_threshold_bytes=1:2:1', 'found 1 steps'],
    ['mmap_threshold_bytes=1:2:2.5', 'found 2.5 steps'],
    ['mmap_threshold_bytes=0:2MiB:3', 'touches 0'],
  ])('%s is refused in one line', (text, words) => {
    expect(() => parseAxis(text)).toThrow(words);
  });

  test('a share of it falls on every list entry equally, and inside a range', () => {
    const list = parseAxis('mmap_threshold_bytes=1MiB,2MiB,4MiB');
    const seen = Array.from({ length: 300 }, (_, at) => valueAt(list, at / 300));
    expect([1, 2, 4].map((mib) => seen.filter((value) => value === mib * 2 ** 20).length)).toEqual([100, 100, 100]);
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), (share) => {
        const value = valueAt(parseAxis('mmap_threshold_bytes=8MiB:512K:5'), share);
        expect(value >= 524288 && value <= 8388608 && Number.isInteger(value)).toBe(true);
      }),
    );
  });
});

describe('Sobol points', () => {
  test('in every dimension each 2^k points fall one into each interval of 2^-k, whatever the seed', () => {
    const count = 4096;
    for (const seed of [1, 77]) {
      const points = sobolPoints(count, sobol_dimensions_max, seed);
      for (let dimension = 0; dimension < sobol_dimensions_max; dimension += 1)
        for (let size = 1; size <= count; size *= 4)
          for (let from = 0; from < count; from += size) {
            const cells = new Set(points.slice(from, from + size).map((point) => Math.floor(point[dimension] * size)));
            if (cells.size !== size) throw new Error(`dimension ${dimension}, points ${from} to ${from + size}`);
          }
    }
  });

  test('the first two dimensions are a net together: one of 2^2k points in each square of side 2^-k', () => {
    const points = sobolPoints(256, 2, 3);
    expect(new Set(points.map(([x, y]) => `${Math.floor(x * 16)},${Math.floor(y * 16)}`)).size).toBe(256);
  });

  test('no two dimensions of the twenty-one are alike, and another seed gives other points', () => {
    const points = sobolPoints(64, sobol_dimensions_max, 1);
    const columns = points[0].map((_, at) => points.map((point) => Math.floor(point[at] * 8)).join());
    expect(new Set(columns).size).toBe(sobol_dimensions_max);
    expect(sobolPoints(4, 2, 2)).not.toEqual(sobolPoints(4, 2, 1));
    expect(sobolPoints(4, 2, 1)).toEqual(points.slice(0, 4).map((point) => point.slice(0, 2)));
  });
});

describe('the configurations of a sweep', () => {
  const box = { mode: 'BALANCED', set: {}, sobol: null, seed: 1, profile: default_profile } as const;
  const grid = (...axes: string[]): Points => pointsOf({ ...box, axes: axes.map(parseAxis) });

  test('the grid is the product of its axes, and equal configurations are one', () => {
    expect(grid('mmap_threshold_bytes=1MiB,2MiB,4MiB', 'thermal=on,off').points).toHaveLength(6);
    expect(grid('mmap_threshold_bytes=1MiB,1048576').points).toHaveLength(1);
    // FAST and BALANCED are the same row of the spec today, MINIMAL is not.
    const modes = grid('mode=MINIMAL,FAST,BALANCED').points;
    expect(new Set(modes.map(({ hash }) => hash)).size).toBe(modes.length);
    expect(modes).toHaveLength(2);
  });

  test('an impossible combination is skipped and counted; a value that is never possible is an error', () => {
    const { points, skipped, skipped_reason } = grid('warm_from_bytes=1MiB,4MiB', 'cold_from_bytes=2MiB,8MiB');
    expect([points.length, skipped]).toEqual([3, 1]);
    expect(skipped_reason).toMatch(/^warm_from_bytes: found 4194304, wanted at most cold_from_bytes, 2097152$/);
    expect(() => grid('warm_from_bytes=1MiB,4MiB')).toThrow('wanted at most cold_from_bytes');
    expect(() => grid('bigcache_slots=1:64:3')).toThrow('bigcache_slots: found 33, wanted a power of two');
  });

  test('Sobol points are as many as asked for, inside the box, and vary every axis', () => {
    const axes = ['mmap_threshold_bytes=512K:32MiB:2', 'kept_bytes_max=1MiB:64MiB:2', 'thermal=on,off'].map(parseAxis);
    const { points } = pointsOf({ ...box, axes, sobol: 32 });
    expect(points).toHaveLength(32);
    expect(points.every(({ config }) => config.kept_bytes_max >= 2 ** 20 && config.kept_bytes_max <= 2 ** 26)).toBe(
      true,
    );
    expect(points.filter(({ config }) => config.thermal === 1)).toHaveLength(16);
    expect(new Set(points.map(({ config }) => config.mmap_threshold_bytes)).size).toBe(32);
  });

  test('a parameter that is given twice, and a grid beyond reason, are refused', () => {
    expect(() => grid('thermal=on', 'thermal=off')).toThrow('thermal: found more than once');
    expect(() => pointsOf({ ...box, set: { thermal: 1 }, axes: [parseAxis('thermal=on')] })).toThrow('more than once');
    expect(() => grid('mmap_threshold_bytes=1:2MiB:9999', 'kept_bytes_max=1:2MiB:9999')).toThrow('--sobol N');
  });
});

describe('a plan file', () => {
  const written = (json: unknown): string => {
    const path = `${place()}.json`;
    writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json));
    return path;
  };

  test('the published schema is the one that is checked', () => {
    expect(readFileSync('docs/sweep.schema.json', 'utf8')).toBe(planSchema());
  });

  test('is read as it is', () => {
    const plan = {
      traces: ['a.hak'],
      mode: 'FAST',
      set: { batch: false, kept_bytes_max: '8MiB' },
      axes: { mmap_threshold_bytes: { from: '1MiB', to: '8MiB', steps: 4 }, mode: ['FAST'], thermal: [true, 'off'] },
      sobol: 8,
      seed: 3,
    };
    expect(readPlanFile(written(plan))).toEqual(plan);
  });

  test.each([
    [{ axes: { treshold: [1] } }, 'axes'],
    [{ axes: { thermal: [] } }, 'axes.thermal'],
    [{ axes: { thermal: { from: 1, to: 2 } } }, 'axes.thermal'],
    [{ sobol: 0 }, 'sobol'],
    [{ colour: 1 }, 'colour'],
    [{ mode: 'SLOW' }, 'mode'],
    ['{', 'not JSON'],
  ])('%j is refused by file and place', (json, words) => {
    const path = written(json);
    expect(() => readPlanFile(path)).toThrow(`${path}: `);
    expect(() => readPlanFile(path)).toThrow(words);
  });
});

describe('a shard', () => {
  const records = [{ a: 1 }, { a: 'zwei, "é"' }, { a: null }];

  test('gives back what was appended, call by call', () => {
    const path = place();
    const middle = appendToShard(path, 0, records.slice(0, 1));
    const end = appendToShard(path, middle, records.slice(1));
    expect(readShard(path)).toEqual({ records, whole_bytes: end });
    expect(() => appendToShard(path, middle, records)).toThrow('another process writes to it');
  });

  test('cut anywhere, it keeps the lines that are whole', () => {
    const path = place();
    const ends = [0];
    for (const record of records) ends.push(appendToShard(path, ends.at(-1)!, [record]));
    const bytes = readFileSync(path);
    for (let length = 0; length <= bytes.length; length += 1) {
      writeFileSync(path, bytes.subarray(0, length));
      const whole = ends.filter((end) => end <= length).length - 1;
      expect(readShard(path)).toEqual({ records: records.slice(0, whole), whole_bytes: ends[whole] });
    }
  });

  test('any changed byte before the last line is named by file and line', () => {
    const path = place();
    const first = appendToShard(path, 0, records.slice(0, 1));
    appendToShard(path, first, records.slice(1));
    const bytes = readFileSync(path);
    for (let at = 0; at < first - 1; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] ^= 1;
      writeFileSync(path, changed);
      expect(() => readShard(path), String.fromCharCode(bytes[at])).toThrow(`${path}: line 1: its checksum`);
    }
  });
});

describe('result files', () => {
  const rows: Row[] = [
    {
      trace: 'it\'s, a "trace"',
      config_hash: '0e12',
      faults: 2 ** 53 - 1,
      score_total: 1,
      bigcache: true,
      violation: null,
    },
    { trace: 'b', config_hash: '12', faults: 0, score_total: 0.1 + 0.2, bigcache: false, violation: 'x' },
  ];

  test.each(['parquet', 'ndjson'])('rows come back from .%s as they were, to the last bit', async (format) => {
    const path = join(folder, `rows.${format}`);
    expect(await writeRows(path, rows)).toBe(path);
    expect(await readRows(path)).toEqual(rows);
    const before = readFileSync(path);
    await writeRows(path, rows);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test('CSV quotes what needs it', async () => {
    const path = join(folder, 'rows.csv');
    await writeRows(path, rows.slice(0, 1));
    expect(readFileSync(path, 'utf8')).toBe(
      'trace,config_hash,faults,score_total,bigcache,violation\n"it\'s, a ""trace""",0e12,9007199254740991,1,true,\n',
    );
  });

  test('a line that is not JSON is named', async () => {
    const path = join(folder, 'broken.ndjson');
    writeFileSync(path, '{"trace":"a"}\n{"trace":\n');
    await expect(readRows(path)).rejects.toThrow(`${path}: line 2: not JSON`);
    await expect(readRows(join(folder, 'none.parquet'))).rejects.toThrow('no such file');
  });

  test('measured figures stand in a file beside, and none is left where none were measured', () => {
    const path = join(folder, 'rows.parquet');
    const measured = {
      trace: 'a',
      trace_sha256: '0',
      config_hash: '1',
      predicted_ns: 1,
      measured_ns: [2],
      faults: 3,
      resident_peak_bytes: 4,
      verdict: 'agree',
    } as const;
    writeMeasured(path, [measured]);
    expect(readMeasured(path)).toEqual([measured]);
    writeMeasured(path, []);
    expect(readMeasured(path)).toEqual([]);
  });
});

describe('a sweep in this process', () => {
  /** Another driver: it keeps the contract, so everything else holds with it. */
  const inProcess = (core: Core = replayAll): Driver => ({
    run: async (tasks, watch) => {
      const bench = new Workbench(core);
      for (const task of tasks) if (!watch.done(await bench.run(task, watch.rows))) break;
      return [];
    },
    stop: () => {},
  });
  const plan = (jobs = 1, thresholds = '512K:16MiB:5', check: Plan['check'] = 'decisions'): Plan => {
    const axes = [`mmap_threshold_bytes=${thresholds}`, 'mode=MINIMAL,BALANCED'].map(parseAxis);
    const profile = default_profile;
    const { points } = pointsOf({ mode: 'BALANCED', set: {}, axes, sobol: null, seed: 1, profile });
    return planOf({
      traces: [{ trace: open(trace), touch: 'page' }],
      points,
      swept: axes.map(({ name }) => name),
      check,
      seed: 1,
      prices: nominalPrices(),
      profile,
      jobs,
    });
  };
  const sweep = (state: string, more: Partial<Parameters<typeof runSweep>[0]> = {}): Promise<Swept> =>
    runSweep({ plan: plan(), state, restart: false, driver: inProcess(), verify: null, output: null, ...more });

  test('every row is that of a full replay, and agrees with the C core', async () => {
    const { rows, plan: done } = await sweep(place());
    expect(rows).toHaveLength(10);
    for (const point of done.points) {
      const row = rows.find(({ config_hash }) => config_hash === point.hash)!;
      expect(row).toMatchObject({ checked: 'decisions', verdict: 'agree', mode: point.mode, trace, trace_events: 800 });
      const { points } = pointsOf({
        mode: point.mode,
        set: { mmap_threshold_bytes: Number(row.mmap_threshold_bytes) },
        axes: [parseAxis(`mode=${point.mode}`)],
        sobol: null,
        seed: 1,
        profile: default_profile,
      });
      const full = replay(open(trace).chunks(), {
        config: points[0].config,
        prices,
        profile: default_profile,
        touch: 'page',
        seed: 1,
      });
      expect(row).toMatchObject({
        decision_digest: full.decision_digest,
        faults: full.faults,
        score_total: full.score.total,
        time_total_ns: full.time_ns.total,
        resident_mean_bytes: full.resident_bytes.mean,
        latency_p99_ns: full.latency_ns.p99,
      });
    }
  });

  test('the rows are the same however the work is cut into shards', async () => {
    const whole = await sweep(place());
    const cut = await sweep(place(), { plan: plan(7) });
    expect(cut.plan.shards.length).toBeGreaterThan(4);
    expect(cut.rows).toEqual(whole.rows);
  });

  test('a restart simulates nothing that is there, and what is missing once', async () => {
    const state = place();
    const first = await sweep(state, { plan: plan(4) });
    const again = await sweep(state, { plan: plan(4) });
    expect([again.resumed, again.reports.length]).toEqual([10, 0]);
    expect(again.rows).toEqual(first.rows);
    const path = shardPath(state, 1);
    truncateSync(path, readFileSync(path).length - 20);
    const mended = await sweep(state);
    expect([mended.resumed, mended.reports.reduce((sum, { rows }) => sum + rows, 0)]).toEqual([9, 1]);
    expect(mended.rows).toEqual(first.rows);
  });

  test('a shard broken in the middle is named, and the others stay as they were', async () => {
    const state = place();
    await sweep(state, { plan: plan(4) });
    const before = readdirSync(state).map((name) => readFileSync(join(state, name)).toString());
    const path = shardPath(state, 1);
    const bytes = readFileSync(path);
    bytes[200] ^= 1;
    writeFileSync(path, bytes);
    await expect(sweep(state, { plan: plan(4) })).rejects.toThrow(`${path}: line 1: its checksum does not hold`);
    bytes[200] ^= 1;
    writeFileSync(path, bytes);
    expect(readdirSync(state).map((name) => readFileSync(join(state, name)).toString())).toEqual(before);
  });

  test('another plan in the same folder is refused in one line, and --restart throws the first away', async () => {
    const state = place();
    await sweep(state);
    const other = plan(1, '512K:16MiB:4');
    await expect(sweep(state, { plan: other })).rejects.toThrow('its 10 configurations are not the 8 of this one');
    await expect(sweep(state, { plan: { ...plan(), seed: 2 } })).rejects.toThrow('its seed is 1, that of this one 2');
    await expect(sweep(state, { plan: plan(1, '512K:16MiB:5', 'none') })).rejects.toThrow('its check is decisions');
    const { rows, resumed } = await sweep(state, { plan: other, restart: true });
    expect([rows.length, resumed]).toEqual([8, 0]);
  });

  test('a row on which the halves differ ends the sweep, and is named with its event', async () => {
    const state = place();
    let planted = 0;
    // The core gets one configuration wrong: it keeps nothing where it should keep blocks.
    const wrong = <T extends { config: { kept_bytes_max: number } }>(setup: T): T => ({
      ...setup,
      config: { ...setup.config, kept_bytes_max: 0, thermal: 0, bigcache: 0 },
    });
    const core: Core = (chunks, setups, baseline) =>
      replayAll(
        chunks,
        setups.map((setup) => {
          if (planted > 0 || setup.config.thermal === 0) return setup;
          planted += 1;
          return wrong(setup);
        }),
        baseline,
      );
    const swept = await sweep(state, { driver: inProcess(core) });
    const { disagreement, rows } = swept;
    expect(planted).toBe(1);
    expect(disagreement).toMatchObject({ shard: 0, field: expect.stringMatching(/./) });
    expect(rows.map(({ config_hash }) => config_hash)).not.toContain(disagreement!.config_hash);
    expect(rows.length).toBeLessThan(10);
    const lines = await failuresOf(swept, null, async (at, setup, level) => {
      const checked = await crossCheck(at, setup, level);
      const log = { from: 0, to: 800 };
      const difference = firstDifference(
        replay(at.chunks(), { ...setup, log }),
        replay(at.chunks(), { ...wrong(setup), log }),
        'decisions',
      );
      return { ...checked, check: { ...checked.check, first_difference: difference } };
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(new RegExp(`^${trace}, configuration ${disagreement!.config_hash}: event \\d+: `));
    // A resume goes on with the right core.
    expect((await sweep(state)).rows).toHaveLength(10);
  });

  test('where no event differs, the field does', async () => {
    const swept = await sweep(place(), {
      driver: inProcess(async (...args) => {
        const outcomes = await replayAll(...args);
        return outcomes.map((outcome) => ({ ...outcome, faults: outcome.faults + 1 }));
      }),
    });
    expect(swept.disagreement!.field).toBe('faults');
    expect(await failuresOf(swept, null)).toEqual([expect.stringMatching(/faults is \d+ .* no single event differs/)]);
  });

  test('a shard that kills every worker is given up, alone', async () => {
    const lossy: Driver = {
      run: async (tasks, watch) => {
        await inProcess().run(tasks.slice(1), watch);
        return [{ task: tasks[0], reason: 'its worker died' }];
      },
      stop: () => {},
    };
    const state = place();
    await expect(sweep(state, { plan: plan(5), driver: lossy })).rejects.toThrow(
      `${shardPath(state, 0)}: given up: its worker died each time; 1 of 5 shards are unfinished`,
    );
    expect((await sweep(state, { plan: plan(5) })).resumed).toBe(8);
  });

  test('the best rows and a seeded sample go to the real kernel, once', async () => {
    const state = place();
    const output = join(folder, 'verified.ndjson');
    let runs = 0;
    const counted: typeof crossCheck = (...args) => {
      runs += 1;
      return crossCheck(...args);
    };
    const wanted = { output, verify: { best: 2, sample: 1 }, crossCheck: counted };
    const { rows, measured, notes } = await sweep(state, wanted);
    expect([runs, measured.length]).toEqual([3, 3]);
    const best = chosenRows(rows, { best: 1, sample: 0 }, 1)[0];
    expect(rows.every(({ score_total }) => Number(score_total) >= Number(best.score_total))).toBe(true);
    expect(measured.map(({ verdict }) => verdict).filter((verdict) => verdict === 'differ')).toEqual([]);
    expect(rows.filter(({ checked }) => checked === 'kernel')).toHaveLength(3 - notes.length);
    expect(await readRows(output)).toEqual(rows);
    expect(readMeasured(output)).toEqual(measured);
    await sweep(state, wanted);
    expect(runs).toBe(3 + notes.length);
    const drawn = (seed: number): unknown =>
      chosenRows(rows, { best: 1, sample: 3 }, seed).map(({ config_hash }) => config_hash);
    expect(drawn(1)).toEqual(drawn(1));
    expect(drawn(1)).not.toEqual(drawn(2));
  });

  test('a row that differs on the real kernel ends the sweep without a result file', async () => {
    const output = join(folder, 'differs.ndjson');
    const { measured, notes } = await sweep(place(), {
      output,
      verify: { best: 3, sample: 0 },
      crossCheck: async (at, setup) => {
        const checked = await crossCheck(at, setup, 'none');
        const first_difference = { event: 7, field: 'faults', sim: 1, native: 2 };
        return { ...checked, check: { ...checked.check, verdict: 'differ', first_difference } };
      },
    });
    expect(measured).toHaveLength(1);
    expect(notes[0]).toMatch(/configuration [0-9a-f]{16}: event 7: faults is 1 in the simulator and 2 on the real/);
    expect(existsSync(output)).toBe(false);
  });
});

function hakmem(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('node', ['bin/hakmem.js', ...args], { encoding: 'utf8' });
}

describe('hakmem sweep', () => {
  const axis = ['--axis', 'mmap_threshold_bytes=512K:16MiB:4'];

  test('its document has the fields that scripts rely on, its file the rows', async () => {
    const output = `${place()}.parquet`;
    const { status, stdout, stderr } = hakmem('sweep', trace, ...axis, '-o', output, '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const summary = JSON.parse(stdout);
    expect(summary).toMatchObject({
      rows: 4,
      checked_rows: 4,
      disagreements: 0,
      output,
      skipped: 0,
      resumed: 0,
      evaluations: 4,
      kernel: { agree: 4, differ: 0, unchecked: 0 },
      best: { setting: { mmap_threshold_bytes: expect.any(Number) }, score_total: expect.any(Number) },
    });
    for (const name of ['load_s', 'simulate_s', 'check_s', 'events_per_second', 'seconds', 'peak_memory_bytes'])
      expect(summary[name], name).toBeGreaterThan(0);
    const rows = await readRows(output);
    expect(rows.map(({ checked, verdict }) => [checked, verdict])).toEqual(rows.map(() => ['kernel', 'agree']));
    const hashes = rows.map(({ config_hash }) => String(config_hash));
    expect(hashes).toEqual([...hashes].sort());
    expect(Object.keys(rows[0])).toEqual(
      expect.arrayContaining(
        'score_total time_total_ns faults resident_peak_bytes resident_mean_bytes syscalls_mmap decision_digest spec_fingerprint trace_sha256 prices_name kernel_profile machine revision mode mmap_threshold_bytes'.split(
          ' ',
        ),
      ),
    );
    expect(readMeasured(output)).toHaveLength(4);
  });

  test('a plan file says the same as flags, and flags win', async () => {
    const plan = `${place()}.json`;
    const axes = { mmap_threshold_bytes: { from: '512K', to: '16MiB', steps: 4 }, thermal: [false] };
    writeFileSync(plan, JSON.stringify({ traces: [trace], axes, mode: 'MINIMAL', seed: 9, check: 'none' }));
    const [a, b] = [`${place()}.ndjson`, `${place()}.ndjson`];
    expect(hakmem('sweep', '--plan', plan, '--mode', 'FAST', '-o', a).status).toBe(0);
    const flags = [...axis, '--axis', 'thermal=off', '--mode', 'FAST', '--seed', '9', '--check', 'none', '-o', b];
    expect(hakmem('sweep', trace, ...flags).status).toBe(0);
    expect(readFileSync(a, 'utf8')).toBe(readFileSync(b, 'utf8'));
    expect((await readRows(a))[0]).toMatchObject({ mode: 'FAST', seed: 9, checked: 'none', verdict: 'unchecked' });
  });

  test('people read the best setting first, ready to paste', () => {
    const { status, stdout, stderr } = hakmem('sweep', trace, ...axis, '--check', 'decisions');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/mmap_threshold_bytes +alike +score +time/);
    expect(stdout).toMatch(/best for this trace {2}--set mmap_threshold_bytes=\d+(MiB|KiB)? /);
  });

  test.each([
    [['none.hak', ...axis], 'none.hak: no such file'],
    [[trace], 'nothing to sweep over; wanted --axis'],
    [[...axis], 'no trace; wanted one or more'],
    [[trace, '--axis', 'treshold=1,2'], 'unknown parameter "treshold"'],
    [[trace, '--axis', 'thp_policy=auto,sometimes'], 'thp_policy: found "sometimes", wanted one of off on auto'],
    [[trace, '--axis', 'bigcache_ways=1,65'], 'bigcache_ways: found 65, wanted a whole number from 1 to 64'],
    [[trace, ...axis, '--set', 'thermal=perhaps'], 'thermal: found "perhaps"'],
    [[trace, ...axis, '-o', '/nowhere/x.parquet'], '/nowhere/x.parquet: cannot be written'],
    [[trace, ...axis, '-o', '/proc/x.parquet'], '/proc/x.parquet.shards: cannot be made: ENOENT'],
    [[trace, ...axis, '--state', '/proc/a/b'], '/proc/a/b: cannot be made: ENOENT'],
    [[trace, ...axis, '-o', 'x.txt'], 'x.txt: not a result file'],
    [[trace, ...axis, '--jobs', '0'], 'not a whole number from 1'],
    [[trace, ...axis, '--check', 'some'], 'Allowed choices are none, decisions, kernel'],
    [[trace, ...axis, '--state', '/dev/null/x'], '/dev/null/x: cannot be made'],
  ])('%j is one clear line and exit 2', (args, words) => {
    const { status, stdout, stderr } = hakmem('sweep', ...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain(words);
  });

  /** This package without DuckDB, and with or without its native part. */
  function bare(native: boolean): (...args: string[]) => ReturnType<typeof hakmem> {
    const root = place();
    mkdirSync(join(root, 'node_modules'), { recursive: true });
    cpSync('dist', join(root, 'dist'), { recursive: true });
    cpSync('package.json', join(root, 'package.json'));
    if (native) symlinkSync(join(process.cwd(), 'native'), join(root, 'native'));
    // An empty package of that name: one further up must not be found instead.
    mkdirSync(join(root, 'node_modules', '@duckdb', 'node-api'), { recursive: true });
    writeFileSync(join(root, 'node_modules', '@duckdb', 'node-api', 'package.json'), '{ "exports": {} }');
    for (const name of readdirSync('node_modules'))
      if (name !== '@duckdb') symlinkSync(join(process.cwd(), 'node_modules', name), join(root, 'node_modules', name));
    const start = join(root, 'start.mjs');
    const lines = [
      "const { main } = await import(new URL('dist/experiments/cli.js', import.meta.url));",
      "process.exitCode = await main(process.argv.slice(2), '0');",
    ];
    writeFileSync(start, lines.join('\n'));
    return (...args) => spawnSync('node', [start, ...args], { encoding: 'utf8' });
  }

  test('without DuckDB rows are NDJSON, and query says what to install', async () => {
    const without = bare(true);
    const output = `${place()}.parquet`;
    const { status, stdout, stderr } = without('sweep', trace, ...axis, '--check', 'none', '-o', output, '--json');
    const lines = output.replace(/parquet$/, 'ndjson');
    expect({ status, output: JSON.parse(stdout).output }).toEqual({ status: 0, output: lines });
    expect(stderr).toMatch(/^hakmem: rows are in .*\.ndjson: Parquet needs DuckDB.*npm install.*\n$/);
    expect(await readRows(lines)).toHaveLength(4);
    const query = without('query', 'SELECT 1');
    expect({ status: query.status, stdout: query.stdout }).toEqual({ status: 2, stdout: '' });
    expect(query.stderr).toMatch(/^hakmem: query needs DuckDB.*npm install.*\n$/);
  });

  test('without the native part rows are unchecked and the exit code is 1, unless no check was wanted', () => {
    const without = bare(false);
    const checked = without('sweep', trace, ...axis, '--json');
    expect(checked.status).toBe(1);
    expect(checked.stderr).toMatch(/^hakmem: unchecked: there is no C compiler.*\n$/);
    expect(JSON.parse(checked.stdout)).toMatchObject({ rows: 4, checked_rows: 0, kernel: { agree: 0 } });
    expect(without('sweep', trace, ...axis, '--check', 'none')).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('hakmem query', () => {
  test('the queries of docs/SWEEPS.md run as they stand, on the sweep that the page begins with', () => {
    const page = readFileSync('docs/SWEEPS.md', 'utf8');
    const home = place();
    mkdirSync(home);
    cpSync(trace, join(home, 'app.hak'));
    const here = (...args: string[]): ReturnType<typeof hakmem> =>
      spawnSync('node', [join(process.cwd(), 'bin/hakmem.js'), ...args], { encoding: 'utf8', cwd: home });
    const [, command] = /npx hakmem (sweep .*)/.exec(page)!;
    expect(here(...command.split(' '))).toMatchObject({ status: 0, stderr: '' });
    const queries = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql);
    expect(queries).toHaveLength(3);
    for (const sql of queries) {
      const { status, stdout, stderr } = here('query', sql, '--json');
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(JSON.parse(stdout).rows.length).toBeGreaterThan(0);
    }
    const [, plan] = /```json\n([\s\S]*?)```/.exec(page)!;
    const path = join(home, 'plan.json');
    writeFileSync(path, plan);
    expect(readPlanFile(path).axes).toBeDefined();
  });

  const lines = `${place()}.ndjson`;
  writeFileSync(lines, '{"trace":"a","faults":3,"mean":1.5}\n{"trace":"b","faults":40,"mean":null}\n');

  test('prints an aligned table, or rows as JSON', () => {
    const sql = `SELECT trace, faults, mean FROM '${lines}' ORDER BY trace`;
    expect(hakmem('query', sql)).toMatchObject({
      status: 0,
      stderr: '',
      stdout: 'trace  faults  mean\na           3   1.5\nb          40\n',
    });
    expect(JSON.parse(hakmem('query', sql, '--json').stdout)).toEqual({
      rows: [
        { trace: 'a', faults: 3, mean: 1.5 },
        { trace: 'b', faults: 40, mean: null },
      ],
    });
  });

  test('whole numbers are numbers where they are exact; lists, structs and times are JSON', () => {
    const sql = `SELECT 1::BIGINT a, 9007199254740993 b, [1, 2] c, {'x': 1::BIGINT} d, TIMESTAMP '2026-01-02 03:04:05' e`;
    expect(JSON.parse(hakmem('query', sql, '--json').stdout).rows).toEqual([
      { a: 1, b: '9007199254740993', c: [1, 2], d: { x: 1 }, e: expect.stringContaining('2026-01-02') },
    ]);
  });

  test('wrong SQL and a missing file are one line and exit 2', () => {
    for (const sql of ['SELEC 1', "SELECT * FROM 'nowhere.parquet'"]) {
      const { status, stdout, stderr } = hakmem('query', sql);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toMatch(/^hakmem: DuckDB: [^\n]+\n$/);
    }
  });
});
