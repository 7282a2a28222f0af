/** A policy of your own: the template, the contract and its check, and what replay, sweep and tune do with a module. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { nominalPrices } from '../experiments/calibrate/price-file.ts';
import { crossCheck } from '../experiments/crosscheck.ts';
import { anyCase } from '../experiments/policy/cases.ts';
import { checkPolicy, type PolicyReport } from '../experiments/policy/check.ts';
import { readCase, writeCase } from '../experiments/policy/counter-example.ts';
import { loadPolicy, policyId } from '../experiments/policy/module.ts';
import { type Broken, PolicyError } from '../experiments/policy/policy-error.ts';
import { rules, rulesFor } from '../experiments/policy/rules.ts';
import { setupOf, subjectOf } from '../experiments/policy/subject.ts';
import { template } from '../experiments/policy/template.ts';
import { choose } from '../experiments/setup.ts';
import { parseAxis } from '../experiments/sweep/axes.ts';
import type { Driver } from '../experiments/sweep/driver.ts';
import { type Plan, planOf } from '../experiments/sweep/plan.ts';
import { pointsOf } from '../experiments/sweep/points.ts';
import { runSweep, type Swept } from '../experiments/sweep/run.ts';
import { Workbench } from '../experiments/sweep/workbench.ts';
import { KeyMaker } from '../experiments/tune/hakmem-key.ts';
import { replay as replayInC } from '../native/index.ts';
import { Epsilon } from '../sim/decide/epsilon.ts';
import { Heap } from '../sim/decide/heap.ts';
import { Learning } from '../sim/decide/learning.ts';
import { Ledger } from '../sim/decide/ledger.ts';
import { Lifecycle } from '../sim/decide/lifecycle.ts';
import { Tournament } from '../sim/decide/tournament.ts';
import {
  boundaries_bytes,
  configOf,
  default_profile,
  foldTrace,
  params,
  prices,
  replay,
  type Setup,
  simulate,
} from '../sim/index.ts';
import { type Chunk, copyChunk, open, SyntheticTrace, writeHak } from '../traces/index.ts';
import { readScenario, writeScenario } from '../traces/scenario.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-own-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

let places = 0;
function place(): string {
  places += 1;
  return mkdtempSync(join(folder, `${places}-`));
}

/** A module file of this text. */
function moduleOf(text: string, name = 'mine.mjs'): string {
  const path = join(place(), name);
  writeFileSync(path, text);
  return path;
}

/** Parts of a policy that is right but for them. */
interface Parts {
  readonly before?: string;
  readonly policy?: string;
  readonly create?: string;
  readonly choose?: string;
  readonly learn?: string;
  readonly learner?: string;
}

function policyOf({ before = '', policy = '', create = '', choose = 'return 0;', learn = '', learner = '' }: Parts) {
  return moduleOf(`${before}
export default {
  name: 'mine', ${policy}
  create({ arms_bytes, random, seed }) {
    ${create}
    return { choose() { ${choose} }, learn(window) { ${learn} }, ${learner} };
  },
};
`);
}

const good = moduleOf(template);
const check = async (policy: string, runs: number, rule?: string): Promise<PolicyReport> => {
  const into = place();
  const some = rule === undefined ? {} : { rules: [rule] };
  return checkPolicy(await subjectOf(policy), { runs, seed: 2, folder: () => into, ...some });
};
const failed = ({ rules: all }: PolicyReport): string[] => all.filter(({ ok }) => ok === false).map(({ rule }) => rule);

describe('the template', () => {
  test('runs as it is, keeps every rule of the contract, and names its file by what is in it', async () => {
    const report = await check(good, 12);
    expect(failed(report)).toEqual([]);
    expect(report).toMatchObject({ verdict: 'holds', seed: 2, runs: 12 });
    expect(report.policy).toMatch(/^follow-the-leader@[0-9a-f]{64}$/);
    expect(report.rules.map(({ rule }) => rule)).toEqual(
      rules.filter((rule) => rule.of !== 'built-in').map(({ name }) => name),
    );
    expect(Math.min(report.reached.windows, report.reached.freezes, report.reached.canaries)).toBeGreaterThan(0);
  });

  test('learns: it comes to act on an arm that costs least', async () => {
    const { own } = await loadPolicy(good);
    const learner = own.make(
      [1, 2, 3].map((pages) => pages * 4096),
      1,
    );
    for (let index = 0; index < 50; index += 1)
      learner.learn({ index, event: index, acted: 0, costs: Float64Array.of(9, 3, 5) });
    expect(learner.best()).toBe(1);
    const chosen = Array.from({ length: 100 }, () => learner.choose());
    expect(chosen.filter((arm) => arm === 1).length).toBeGreaterThan(80);
    expect(new Set(chosen).size).toBe(3);
  });
});

describe('a module that breaks the contract is caught by the rule for it', () => {
  test.each<[string, string, Parts, RegExp]>([
    ['answers 12', 'choice', { choose: 'return 12;' }, /choose\(\) answered 12/],
    ['answers NaN', 'choice', { choose: 'return NaN;' }, /choose\(\) answered NaN/],
    ['answers a text', 'choice', { choose: "return '1';" }, /choose\(\) answered "1"/],
    ['answers later', 'choice', { choose: 'return Promise.resolve(0);' }, /choose\(\) answered a Promise/],
    ['holds -1 best', 'choice', { learner: 'best: () => -1' }, /best\(\) answered -1/],
    [
      'throws at window 3',
      'answers',
      { learn: "if (window.index === 3) throw new Error('three\\nlines');" },
      /learn\(\) threw Error.*: three lines/,
    ],
    ['creates a learner only for some seeds', 'answers', { create: 'if (seed > 1) return {};' }, /create\(\) answered/],
    ['writes to what it is handed', 'window', { learn: 'window.costs[0] = 0;' }, /a window that learn\(\) has written/],
    ['sorts what it is handed', 'window', { learn: 'window.costs.sort();' }, /a window that learn\(\) has written/],
    [
      'calls Math.random',
      'same-seed',
      { choose: 'return Math.random() < 0.5 ? 0 : 1;' },
      /choose\(\) called Math.random/,
    ],
    [
      'has kept Math.random',
      'same-seed',
      { before: 'const { random: any } = Math;', choose: 'return Math.floor(any() * arms_bytes.length);' },
      /arm \d+ again/,
    ],
    [
      'goes on where the run before was',
      'same-seed',
      { before: 'let turns = 0;', choose: 'return (turns += 1) % arms_bytes.length;' },
      /arm \d+ again/,
    ],
    [
      'shares what it learns with another run',
      'apart',
      { before: 'let turns = 0;', create: 'turns = 0;', choose: 'return (turns += 1) % arms_bytes.length;' },
      /arm \d+ beside another run/,
    ],
  ])('%s: %s', async (_, rule, parts, found) => {
    const path = policyOf(parts);
    const report = await check(path, 15, rule);
    const broken = report.rules.find((each) => each.rule === rule)!;
    expect(report.verdict).toBe('broken');
    expect(broken).toMatchObject({ ok: false, fails_again: true, event: expect.any(Number) });
    expect(broken.found).toMatch(found);
    // Shrunk to what a person reads, and the file fails by itself.
    expect(broken.shrunk_events).toBeLessThan(20);
    const text = readFileSync(broken.scenario!, 'utf8');
    expect(text).toMatch(new RegExp(`^# hakmem check .*: rule ${rule}`));
    expect(text).toMatch(/^# seed \d+$/m);
    const subject = await subjectOf(path);
    const again = await checkPolicy(subject, { runs: 1, seed: 1, folder: place, only: readCase(broken.scenario!) });
    expect(failed(again)).toContain(rule);
  });

  test('where one rule ends every run, the others are not said to hold', async () => {
    const { rules: all } = await check(policyOf({ choose: 'return -1;' }), 3);
    expect(all.filter(({ ok }) => ok === true)).toEqual([]);
    expect(all.find(({ rule }) => rule === 'frozen')).toMatchObject({
      ok: null,
      found: 'every run was ended by rule choice',
    });
  });

  test('a module cannot reach the columns of the simulator: what it keeps and changes later is its own', async () => {
    const path = policyOf({
      create: 'const kept = [];',
      learn: 'kept.push(window); for (const each of kept.slice(0, -1)) each.costs.fill(0);',
    });
    expect(failed(await check(path, 10))).toEqual([]);
  });

  test('without best and reset, the least mean cost leads, and create is called again', async () => {
    const { own } = await loadPolicy(
      policyOf({ create: 'let learned = 0;', choose: 'return learned;', learn: 'learned += 1;' }),
    );
    const learner = own.make([4096, 8192, 12288], 1);
    learner.learn({ index: 0, event: 5, acted: 0, costs: Float64Array.of(9, 3, 5) });
    expect([learner.choose(5), learner.best()]).toEqual([1, 1]);
    learner.reset(9);
    expect(learner.choose(9)).toBe(0);
    expect(learner.figures.rating_writes).toBe(1);
  });
});

describe('a file that is no policy is one clear line', () => {
  test.each<[string, () => string, RegExp]>([
    ['no file', () => join(folder, 'none.mjs'), /none\.mjs: no such file/],
    ['another kind of file', () => moduleOf('', 'mine.txt'), /not a policy module; wanted \.js, \.mjs or \.ts/],
    ['a missing import', () => moduleOf('import "./none.mjs";'), /cannot be imported: .*none\.mjs/],
    ['a throw while it is imported', () => moduleOf('\nnull.x();'), /cannot be imported: TypeError.*: /],
    ['another export', () => moduleOf('export const policy = {};'), /default export: found none, but policy, wanted/],
    ['no object', () => moduleOf('export default 7;'), /default export: found 7/],
    ['no name', () => moduleOf('export default { create() {} };'), /name: found undefined/],
    ['a name of ours', () => moduleOf("export default { name: 'hakmem', create() {} };"), /name: found "hakmem"/],
    ['no create', () => moduleOf("export default { name: 'x' };"), /create: found undefined, wanted a function/],
    [
      'a create that throws',
      () => policyOf({ create: 'return none.x;' }),
      /create\(\) threw ReferenceError.*: none is not defined/,
    ],
    ['no learner', () => policyOf({ create: 'return { choose() {} };' }), /an object whose learn is undefined/],
    ['arms that fall', () => policyOf({ policy: 'arms_bytes: [8192, 4096],' }), /arms_bytes: found 4096 after 8192/],
    ['arms of half pages', () => policyOf({ policy: 'arms_bytes: [6144],' }), /arms_bytes: found 6144, wanted 1 to 12/],
    ['no arms', () => policyOf({ policy: 'arms_bytes: [],' }), /arms_bytes: found 0 of them/],
    [
      '13 arms',
      () => policyOf({ policy: 'arms_bytes: Array.from({ length: 13 }, (_, at) => 4096 * (at + 1)),' }),
      /13 of/,
    ],
  ])('%s', async (_, make, words) => {
    const path = make();
    const error = await loadPolicy(path).then(
      () => null,
      (reason: Error) => reason,
    );
    expect(error).toMatchObject({ name: 'UsageError', message: expect.stringMatching(words) });
    expect(error!.message).toMatch(new RegExp(`^${path}: `));
    expect(error!.message.split('\n')).toHaveLength(1);
  });

  test('TypeScript runs where this Node takes types off, else it says so', async () => {
    const path = moduleOf(
      template.replace('create({', 'create({').concat('const typed: number = 1;\nvoid typed;\n'),
      'mine.ts',
    );
    const strips = typeof (process.features as { typescript?: unknown }).typescript === 'string';
    const loaded = loadPolicy(path).then(({ name }) => name);
    if (strips) await expect(loaded).resolves.toBe('follow-the-leader');
    else await expect(loaded).rejects.toThrow(/mine\.ts: this Node, v[\d.]+, runs no TypeScript; wanted/);
  });

  test('CommonJS is as good, and what is imported anew is what is in the file now', async () => {
    const text = template.replace('export default', 'module.exports =');
    expect((await loadPolicy(moduleOf(text, 'mine.js'))).name).toBe('follow-the-leader');
    const path = moduleOf(template);
    const before = await loadPolicy(path);
    writeFileSync(path, template.replace('follow-the-leader', 'another'));
    const after = await loadPolicy(path);
    expect([before.name, after.name]).toEqual(['follow-the-leader', 'another']);
    expect(after.sha256).not.toBe(before.sha256);
    await expect(loadPolicy(path, before.sha256)).rejects.toThrow('changed since the sweep began');
  });
});

describe('every built-in learner', () => {
  test.each(['elo', 'elo-classic', 'ucb1', 'ucb1-classic', 'epsilon', 'epsilon-classic', 'halving', 'halving-classic'])(
    '%s keeps every rule, and the C core decides the same',
    async (policy) => {
      const report = await check(policy, 8);
      expect(report.rules.filter(({ ok }) => ok !== true)).toEqual([]);
      expect(report.rules.map(({ rule }) => rule)).toContain('native');
      expect(report.reached.windows).toBeGreaterThan(5);
    },
  );
});

describe('each rule can fail', () => {
  /** What is planted into the simulator, so that the rule is broken. */
  const plants: [string, string, () => void][] = [
    [
      'one-learn',
      good,
      () => {
        const close = Lifecycle.prototype.close;
        vi.spyOn(Lifecycle.prototype, 'close').mockImplementation(function (this: Lifecycle, window, learner, cost) {
          if (window.index === 1) learner.learn(window);
          return close.call(this, window, learner, cost);
        });
      },
    ],
    [
      'frozen',
      'epsilon',
      () => {
        const close = Lifecycle.prototype.close;
        vi.spyOn(Lifecycle.prototype, 'close').mockImplementation(function (this: Lifecycle, window, learner, cost) {
          if (this.state === 2) learner.figures.draws += 1;
          return close.call(this, window, learner, cost);
        });
      },
    ],
    [
      'canary',
      'epsilon-classic',
      () => {
        const decide = Learning.prototype.decide;
        vi.spyOn(Learning.prototype, 'decide').mockImplementation(function (this: Learning, event, site) {
          const arm = decide.call(this, event, site);
          return this.lifecycle.candidate >= 0 ? this.arm : arm;
        });
      },
    ],
    [
      'equals',
      'epsilon-paired',
      () => {
        const cost = Ledger.prototype.cost;
        vi.spyOn(Ledger.prototype, 'cost').mockImplementation(function (this: Ledger, arm) {
          return cost.call(this, arm) + arm;
        });
      },
    ],
    [
      'partition',
      'halving',
      () => {
        const decide = Learning.prototype.decide;
        vi.spyOn(Learning.prototype, 'decide').mockImplementation(function (this: Learning, event, site) {
          const arm = decide.call(this, event, site);
          if (event % 5 === 4) this.samples += 1;
          return arm;
        });
      },
    ],
    [
      'elo-sum',
      'elo',
      () => {
        const learn = Tournament.prototype.learn;
        vi.spyOn(Tournament.prototype, 'learn').mockImplementation(function (this: Tournament, window) {
          learn.call(this, window);
          if (window.index === 2) this.ratings[0] += 1;
        });
      },
    ],
    ['survivors', 'elo', () => vi.spyOn(Tournament.prototype, 'isActive').mockReturnValue(false)],
    ['native', 'epsilon', () => vi.spyOn(Epsilon.prototype, 'best').mockReturnValue(3)],
    ['folded', 'halving', () => vi.spyOn(Heap.prototype, 'fold').mockImplementation(() => {})],
    [
      'onlookers',
      'halving',
      () => {
        // Ratings are asked for where somebody looks on.
        const ratings = Learning.prototype.ratings;
        vi.spyOn(Learning.prototype, 'ratings').mockImplementation(function (this: Learning) {
          this.lifecycle.freezes += 1;
          return ratings.call(this);
        });
      },
    ],
  ];

  test.each(plants)('%s, of %s', async (rule, policy, plant) => {
    const subject = await subjectOf(policy);
    const [{ broken }] = rulesFor(subject, [rule]);
    const cases = fc.sample(anyCase(subject.arms_bytes, subject.fixed), { seed: 2, numRuns: 60 });
    plant();
    let found: Broken | null = null;
    for (const one of cases) found ??= await broken(subject, one);
    expect(found).not.toBeNull();
  });
});

describe('a counter-example', () => {
  test('comes back from its file as it was written', async () => {
    const subject = await subjectOf('elo-classic');
    const into = place();
    fc.assert(
      fc.property(anyCase(subject.arms_bytes, subject.fixed), (one) => {
        const path = writeCase(into, subject, 'choice', one, { event: 1, found: 'this', wanted: 'that' });
        const read = readCase(path);
        expect(read).toMatchObject({ config: one.config, touch: one.touch, seed: one.seed });
        expect(rowsOf(read.chunks)).toEqual(rowsOf(one.chunks));
        expect(replay(read.chunks, setupOf(subject, read)).decision_digest).toBe(
          replay(one.chunks, setupOf(subject, one)).decision_digest,
        );
      }),
      { numRuns: 30 },
    );
  });

  test('what is written of events is read as the same events, sizes near round numbers too', () => {
    const sizes = [1, 15, 16, 17, 1023, 1024, 4096, 524287, 524288, 524289, 1 << 20, (1 << 20) + 4096, 3 * 2 ** 40 + 1];
    const text = sizes
      .map((bytes, at) => `alloc A${at} ${bytes} site ${at} touched ${Math.min(at, Math.ceil(bytes / 4096))}\n`)
      .join('');
    const { trace } = readScenario('sizes', text);
    const written = writeScenario(trace.chunks());
    expect(written).toContain('alloc A8 512KiB site 8');
    expect(written).toContain('alloc A9 512KiB+1 site 9');
    expect(rowsOf([...readScenario('again', written).trace.chunks()])).toEqual(rowsOf([...trace.chunks()]));
  });

  test('a scenario that is none is one line', async () => {
    const path = moduleOf('mode BALANCED\nfrob 1\n\nalloc A 1MiB\n', 'wrong.txt');
    expect(() => readCase(path)).toThrow(`${path}: unknown parameter "frob"`);
    expect(() => readCase(join(folder, 'none.txt'))).toThrow('none.txt: no such file; wanted a scenario');
  });

  function rowsOf(chunks: readonly Chunk[]): unknown {
    const columns = ['op', 'object', 'size_bytes', 'align', 'site', 'touched_pages'] as const;
    return columns.map((name) => chunks.flatMap((chunk) => Array.from(copyChunk(chunk)[name])));
  }
});

const trace = join(folder, 'edges.hak');
const edges = new SyntheticTrace('edges', { events: 1200, seed: 5, boundaries_bytes });
writeHak(trace, edges.chunks(), { time: false, sites: true, touch: false }, () => edges.origin);
const learn = params.lifecycle.words!.indexOf('learn');
const learning = { lifecycle: learn, window_events: 20, window_samples: 2 };
const setup: Setup = {
  config: configOf('BALANCED', learning),
  prices,
  profile: default_profile,
  touch: 'page',
  seed: 1,
};

describe('a module in a run', () => {
  test('has arms of its own, and what it decides is checked by nobody', async () => {
    const path = policyOf({ policy: 'arms_bytes: [4096, 1048576],', choose: 'return 1;' });
    const { own } = await loadPolicy(path);
    const ours = { ...setup, policy: own };
    const held = replay(open(trace).chunks(), ours);
    const fixed = configOf('BALANCED', { mmap_threshold_bytes: 2 ** 20 });
    const plain = replay(open(trace).chunks(), { ...setup, config: fixed });
    expect([held.syscalls, held.faults, held.bigcache]).toEqual([plain.syscalls, plain.faults, plain.bigcache]);
    expect(held.learning.windows).toBeGreaterThan(5);
    expect(held.learning.rating_writes).toBe(held.learning.windows);
    const { check: unasked } = await crossCheck(open(trace), ours, 'none');
    expect(unasked).toMatchObject({
      verdict: 'unchecked',
      reason: 'not cross-checked: policy mine is a module of yours',
    });
    const { check: asked, native } = await crossCheck(open(trace), ours, 'decisions');
    expect([asked.verdict, native]).toEqual(['unchecked', null]);
    expect(asked.reason).toMatch(/none of it in the C core; --check none says that you know/);
    await expect(replayInC(open(trace).chunks(), ours)).rejects.toThrow('there is none of it in the C core');
  });

  test('a rule that it breaks names file, event, found and wanted', async () => {
    const path = policyOf({ choose: 'return (this.at = (this.at ?? -1) + 1) < 3 ? 0 : 12;' });
    const { own } = await loadPolicy(path);
    const wrong = (): unknown => replay(open(trace).chunks(), { ...setup, policy: own });
    expect(wrong).toThrow(PolicyError);
    expect(wrong).toThrow(
      new RegExp(
        `^${path}: event \\d+: rule choice: found choose\\(\\) answered 12, wanted a whole number from 0 to 11$`,
      ),
    );
  });
});

describe('a sweep with a module', () => {
  const inProcess = (): Driver => ({
    run: async (tasks, watch) => {
      const bench = new Workbench();
      for (const task of tasks) if (!watch.done(await bench.run(task, watch.rows))) break;
      return [];
    },
    stop: () => {},
  });
  const plan = async (path: string, jobs = 1): Promise<Plan> => {
    const axes = [parseAxis('window_events=10,40,160'), parseAxis('bigcache=on,off')];
    const { points } = pointsOf({
      mode: 'BALANCED',
      set: { lifecycle: learn, window_samples: 2 },
      axes,
      sobol: null,
      seed: 1,
      profile: default_profile,
    });
    return planOf({
      traces: [{ trace: open(trace), touch: 'page' }],
      points,
      swept: axes.map(({ name }) => name),
      check: 'none',
      policy: await loadPolicy(path),
      seed: 1,
      prices: nominalPrices(),
      profile: default_profile,
      jobs,
    });
  };
  const sweep = async (state: string, path: string, jobs = 1): Promise<Swept> =>
    runSweep({ plan: await plan(path, jobs), state, restart: false, driver: inProcess(), verify: null, output: null });

  test('has rows of that module, unchecked, each as a replay by itself', async () => {
    const path = moduleOf(template);
    const policy = await loadPolicy(path);
    const { rows, plan: done } = await sweep(place(), path);
    expect(rows).toHaveLength(6);
    for (const row of rows) {
      expect(row).toMatchObject({
        policy: policyId(policy),
        checked: 'none',
        verdict: 'unchecked',
        lifecycle: 'learn',
      });
      const config = configOf('BALANCED', {
        lifecycle: learn,
        window_samples: 2,
        window_events: Number(row.window_events),
        bigcache: row.bigcache === true ? 1 : 0,
      });
      const alone = replay(open(trace).chunks(), { ...setup, config, policy: policy.own });
      expect(row).toMatchObject({ decision_digest: alone.decision_digest, score_total: alone.score.total });
    }
    expect(new Set(rows.map(({ decision_digest }) => decision_digest)).size).toBeGreaterThan(3);
    expect(done.policy).toEqual({ name: 'follow-the-leader', file: path, sha256: policy.sha256 });
  });

  test('goes on where it was, and not with another module nor with another text of this one', async () => {
    const path = moduleOf(template);
    const state = place();
    const first = await sweep(state, path, 3);
    rmSync(join(state, '000001.ndjson'));
    const again = await sweep(state, path, 3);
    expect([again.resumed, again.rows.length]).toEqual([4, 6]);
    expect(again.rows).toEqual(first.rows);
    await expect(sweep(state, policyOf({}), 3)).rejects.toThrow(
      /its policy is follow-the-leader@\w+, that of this one mine@/,
    );
    rmSync(join(state, '000001.ndjson'));
    writeFileSync(path, template.replace('explore = 0.1', 'explore = 0.2'));
    await expect(sweep(state, path, 3)).rejects.toThrow(/its policy is follow-the-leader@\w+, that of this one follow/);
    // A worker that comes to it later sees the same.
    await expect(new Workbench().run({ state, shard: 1 }, () => {})).rejects.toThrow('changed since the sweep began');
  });
});

test('configurations of one key have the same figures where strategies are learned, and a list of thresholds is told from another', () => {
  const folded = foldTrace(open(trace).chunks(), 4096);
  const figures = new Map<string, string>();
  for (const own of [null, [4096, 2 ** 20], [8192, 2 ** 20]])
    for (const strategy_set of [0, 1])
      for (const learner of [0, 1, 2, 3])
        for (const bigcache_from_bytes of [512, 513, 600].map((kib) => kib * 1024)) {
          if (own !== null && learner !== 0) continue;
          const config = configOf('BALANCED', { ...learning, strategy_set, learner, bigcache_from_bytes });
          const policy =
            own === null ? {} : { policy: { name: 'first', arms_bytes: own, make: () => new Epsilon(config, 2, 1) } };
          const key = new KeyMaker(folded, own).key(config);
          const { decision_digest, time_ns } = simulate(folded, { ...setup, config, ...policy });
          const found = `${decision_digest} ${time_ns.total}`;
          expect(figures.get(`${own === null} ${key}`) ?? found).toBe(found);
          figures.set(`${own === null} ${key}`, found);
        }
  expect(figures.size).toBeGreaterThan(8);
});

function hakmem(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('node', ['bin/hakmem.js', ...args], { encoding: 'utf8' });
}

describe('on the command line', () => {
  // A .js file, and none says that it is a module: Node's remark on that is not for stderr.
  const home = place();
  writeFileSync(join(home, 'package.json'), '{}');
  writeFileSync(join(home, 'good.js'), template);
  const own = ['--policy', join(home, 'good.js'), '--set', 'window_events=20', '--set', 'window_samples=2'];
  const id = expect.stringMatching(/^follow-the-leader@[0-9a-f]{64}$/);

  test('policy new prints the template', () => {
    expect(hakmem('policy', 'new')).toEqual(expect.objectContaining({ status: 0, stdout: template, stderr: '' }));
  });

  test('check: one line a rule, exit code 1 and a scenario where one fails; JSON for programs that search', () => {
    const into = place();
    const path = policyOf({ choose: 'return NaN;' });
    const { status, stdout, stderr } = hakmem('check', path, '--runs', '3', '-o', into, '--json');
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `hakmem: ${path}: event 0: rule choice: found choose() answered NaN, wanted a whole number from 0 to 11\n`,
    });
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ policy: expect.stringMatching(/^mine@/), seed: 1, runs: 3, verdict: 'broken' });
    expect(report.rules.find(({ rule }: { rule: string }) => rule === 'choice')).toMatchObject({
      ok: false,
      event: 0,
      scenario: join(into, 'choice.txt'),
      shrunk_events: 1,
      fails_again: true,
    });
    const again = hakmem('check', path, '--scenario', join(into, 'choice.txt'));
    expect(again.status).toBe(1);
    expect(again.stdout).toMatch(/FAILED {2}choice +choose and best answer/);
    expect(hakmem('check', 'halving', '--runs', '3')).toMatchObject({
      status: 0,
      stderr: '',
      stdout: expect.stringMatching(/ok +native +the C core decides the same \(I24\)\n[\s\S]*verdict: holds\n$/),
    });
  });

  test('replay exits 1 with one line, unless no check was wanted; the document names module and SHA-256', () => {
    const checked = hakmem('replay', trace, ...own);
    expect(checked.status).toBe(1);
    expect(checked.stderr).toBe(
      'hakmem: unchecked: policy follow-the-leader is a module of yours: there is none of it in the C core; --check none says that you know\n',
    );
    const { status, stdout, stderr } = hakmem('replay', trace, ...own, '--check', 'none', '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      policy: id,
      config: { lifecycle: 'learn' },
      native: null,
      check: { verdict: 'unchecked', reason: 'not cross-checked: policy follow-the-leader is a module of yours' },
    });
  });

  test('explain has the half that there is', () => {
    const { status, stdout, stderr } = hakmem('explain', trace, '700', ...own, '--kernel', 'none', '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ policy: id, sim: { event: 700 }, native: null, same: null });
  });

  test('sweep in worker processes, and tune', () => {
    const output = join(place(), 'rows.ndjson');
    const axes = ['--axis', 'bigcache=on,off', '--axis', 'mode=MINIMAL,LEARNING'];
    const swept = hakmem('sweep', trace, ...own, ...axes, '--check', 'none', '-o', output);
    expect(swept).toMatchObject({ status: 0, stderr: '' });
    expect(swept.stdout).toMatch(/^policy {4}not cross-checked: policy follow-the-leader is a module of yours/m);
    const rows = readFileSync(output, 'utf8').trim().split('\n');
    expect(rows.map((row) => JSON.parse(row))).toEqual(
      rows.map(() => expect.objectContaining({ policy: id, lifecycle: 'learn', verdict: 'unchecked' })),
    );
    const tuned = hakmem('tune', trace, ...own, '--axis', 'bigcache=on,off', '--json');
    expect(tuned.status).toBe(1);
    expect(tuned.stderr).toMatch(/^hakmem: unchecked: policy follow-the-leader is a module of yours: .*\n$/);
    expect(JSON.parse(tuned.stdout)).toMatchObject({ policy: id, verified: null, cost: { checked_rows: 0 } });
  });

  test.each([
    [{ policy: 'jemalloc', set: [] }, /unknown policy "jemalloc"; wanted hakmem, a module of yours/],
    [{ policy: good, set: ['lifecycle=frozen'] }, /^lifecycle: found frozen, wanted learn or auto/],
    [{ policy: good, set: ['learner=ucb1'] }, /^learner: found ucb1, wanted none/],
    [{ policy: good, set: ['mmap_threshold_bytes=2MiB'] }, /^mmap_threshold_bytes: found 2097152, wanted 0/],
  ])('%j is refused', async (options, words) => {
    await expect(choose(open(trace), { seed: 1, ...options })).rejects.toThrow(words);
  });

  test('a module learns in every mode, and a lifecycle that is asked for is kept', async () => {
    const state = async (...set: string[]): Promise<number> =>
      (await choose(open(trace), { seed: 1, mode: 'MINIMAL', policy: good, set })).setup.config.lifecycle;
    expect(await state()).toBe(learn);
    expect(await state('lifecycle=auto')).toBe(params.lifecycle.words!.indexOf('auto'));
  });

  test.each([
    [['sweep', trace, '--policy', good, '--axis', 'mmap_threshold_bytes=1MiB,2MiB'], 2, /found 2097152, wanted 0/],
    [['sweep', trace, '--policy', policyOf({ choose: 'return 12;' }), '--axis', 'batch=on'], 1, /event 0: rule choice/],
    [
      ['replay', trace, '--policy', moduleOf('const a = 1;\nconst = 2;\n')],
      2,
      /mine\.mjs: line 2: cannot be imported: Sy/,
    ],
    [
      ['replay', trace, ...own.slice(2), '--policy', policyOf({ learn: 'none.x;' })],
      1,
      /mine\.mjs: event \d+: rule answers: found learn\(\) threw ReferenceError at line 6: none is not defined, wanted an answer/,
    ],
  ] as [string[], number, RegExp][])('%j is one line', (args, wanted, words) => {
    const { status, stdout, stderr } = hakmem(...args);
    expect({ status, stdout }).toEqual({ status: wanted, stdout: '' });
    expect(stderr).toMatch(words);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('check refuses what is no policy, no rule and no folder', async () => {
    await expect(subjectOf('thompson')).rejects.toThrow(
      'unknown policy "thompson"; wanted one of elo ucb1 epsilon halving',
    );
    await expect(check('elo', 1, 'window')).rejects.toThrow(
      'rule: found "window", wanted one of elo: choice same-seed',
    );
    expect(hakmem('check', 'elo', '-o', '/nowhere')).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringMatching(/^hakmem: \/nowhere: .*wanted a folder[^\n]*\n$/),
    });
  });
});
