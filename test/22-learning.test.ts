/** Learning: windows, ratings, the lifecycle, and that both halves learn the same (I17, I18, I21, I22, I24, I25, I29, I35). */
import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Regrets } from '../experiments/sweep/regrets.ts';
import { replayAll, replayCore } from '../native/index.ts';
import { newLearner } from '../sim/decide/learners.ts';
import { changes, lifecycle } from '../sim/decide/lifecycle.ts';
import { Paired } from '../sim/decide/paired.ts';
import { Tournament } from '../sim/decide/tournament.ts';
import { naturalLog } from '../sim/decide/ucb1.ts';
import {
  boundaries_bytes,
  type Config,
  configOf,
  default_profile,
  equivalenceClasses,
  firstDifference,
  foldTrace,
  hindsight,
  learns,
  params,
  prices,
  Replay,
  regretOf,
  replay,
  type Setup,
  shape,
  silentFeatures,
  simulate,
  type WindowRecord,
} from '../sim/index.ts';
import { type Chunk, copyChunk, op, open, SyntheticTrace, type Trace } from '../traces/index.ts';
import { anyIntents, legalTrace } from './arbitrary.ts';

const learners = params.learner.words!;
const ratings = params.rating.words!;
const auto = params.lifecycle.words!.indexOf('auto');
const policies = learners.flatMap((learner, at) =>
  ratings.map((rating, by) => ({ name: `${learner}, ${rating}`, settings: { learner: at, rating: by, rules: by } })),
);

const setupOf = (settings: Partial<Config>, more: Partial<Setup> = {}): Setup => ({
  config: configOf('LEARNING', { window_events: 1000, ...settings }),
  prices,
  profile: default_profile,
  touch: 'page',
  seed: 1,
  ...more,
});

const chunksOf = (trace: Trace): Chunk[] => [...trace.chunks()].map(copyChunk);
const generated = (name: string, events?: number, seed = 1): Chunk[] =>
  chunksOf(new SyntheticTrace(name, { seed, boundaries_bytes, ...(events === undefined ? {} : { events }) }));
const drift = generated('drift');
const traces: Readonly<Record<string, readonly Chunk[]>> = {
  drift,
  edges: generated('edges'),
  ...Object.fromEntries(
    readdirSync('traces/samples')
      .filter((name) => name.endsWith('.hak'))
      .map((name) => [name, chunksOf(open(`traces/samples/${name}`))]),
  ),
};

/** A run and every window of it. */
function watched(chunks: readonly Chunk[], setup: Setup) {
  const windows: WindowRecord[] = [];
  const run = new Replay(setup, { window: (record) => windows.push(record) });
  for (const chunk of chunks) run.feed(chunk);
  return { result: run.finish(), windows };
}

describe('both halves learn the same, event for event and folded', () => {
  test.each(Object.keys(traces))('%s, under every learner and rating', async (name) => {
    const chunks = traces[name];
    const setups = policies.map(({ settings }) => setupOf({ lifecycle: auto, freeze_after_windows: 6, ...settings }));
    const folded = await replayAll(() => chunks, setups);
    for (const [at, setup] of setups.entries()) {
      const sim = replay(chunks, setup);
      expect(
        firstDifference(sim, { ...sim, ...(await replayCore(chunks, setup)) }, 'kernel'),
        policies[at].name,
      ).toBeNull();
      const { liveness: _, checkpoints: __, log: ___, ...outcome } = sim;
      expect(folded[at], policies[at].name).toEqual(outcome);
      expect(simulate(foldTrace(chunks, setup.config.learner === 1 ? 65536 : 524288), setup)).toEqual(outcome);
    }
  });

  test('over drift they freeze, try, keep, roll back and relearn', async () => {
    const seen = new Set<string>();
    const slow = { window_events: 100, window_samples: 20, canary_windows_max: 100, canary_samples: 300, bigcache: 0 };
    for (const { settings } of policies)
      for (const pace of [slow, { window_events: 500 }]) {
        const setup = setupOf({ lifecycle: auto, ...pace, ...settings });
        const { result, windows } = watched(drift, setup);
        for (const { change } of windows) seen.add(change);
        const { learning, decision_digest } = await replayCore(drift, setup);
        expect({ learning, decision_digest }).toEqual({
          learning: result.learning,
          decision_digest: result.decision_digest,
        });
      }
    expect([...seen].sort()).toEqual([...changes].sort());
  });

  test('elo by the classic rules goes through all of it alone', () => {
    const { windows } = watched(
      drift,
      setupOf({
        lifecycle: auto,
        rating: 1,
        window_events: 100,
        window_samples: 20,
        canary_windows_max: 100,
        canary_samples: 300,
        bigcache: 0,
      }),
    );
    const told = windows.map(({ change }) => change).filter((change) => change !== 'none');
    expect(told).toEqual(['freeze', 'canary', 'rollback', 'canary', 'relearn', 'freeze']);
  });
});

describe('the seed', () => {
  test.each(policies.slice(0, 2))('$name: the same digest again, another with another seed', ({ settings }) => {
    const digest = (seed: number): string => replay(drift, setupOf(settings, { seed })).decision_digest;
    expect(digest(1)).toBe(digest(1));
    expect(digest(2)).not.toBe(digest(1));
  });

  test('the C core draws as the simulator does, whatever the seed', async () => {
    for (const seed of [0, 7, 2 ** 31, 2 ** 40 + 3]) {
      const setup = setupOf({ lifecycle: auto, explore_permille: 500 }, { seed });
      expect((await replayCore(drift, setup)).decision_digest).toBe(replay(drift, setup).decision_digest);
    }
  });
});

describe('windows', () => {
  test('partition the trace: each sample is in one of them or after the last (I29)', () => {
    fc.assert(
      fc.property(anyIntents, fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 5 }), (intents, long, few) => {
        const chunks = legalTrace(intents);
        const setup = setupOf({ window_events: long, window_samples: few });
        const { result, windows } = watched(chunks, setup);
        expect(result.learning.windows).toBe(windows.length);
        expect(windows.map(({ index }) => index)).toEqual(windows.map((_, at) => at));
        let from = 0;
        for (const { event, samples } of windows) {
          expect(samples).toBe(samplesIn(chunks, from, event));
          expect(samples).toBeGreaterThanOrEqual(few);
          expect(event - from).toBeGreaterThanOrEqual(long);
          from = event;
        }
        // What came after the last window is not one: it was too short, or had too few.
        const last = samplesIn(chunks, from, result.events - 1);
        expect(result.events - 1 - from < long || last < few || lastIsNoSample(chunks)).toBe(true);
      }),
    );
  });

  test('cost what they cost whoever acts: strategies that no request lies between cost the same (I35)', () => {
    for (const name of ['vm', 'mixed', 'churn']) {
      const chunks = generated(name, 20_000);
      const classes = equivalenceClasses(foldTrace(chunks, 524288), shape.strategy_geometric_bytes);
      const { windows } = watched(chunks, setupOf({}));
      expect(windows.length).toBeGreaterThan(5);
      expect(new Set(classes).size).toBeLessThan(12);
      for (const { costs } of windows)
        classes.forEach((each, arm) => {
          if (arm > 0 && classes[arm - 1] === each) expect(costs[arm]).toBe(costs[arm - 1]);
        });
    }
  });

  test('strategies of one class decide alike in a whole run', () => {
    const chunks = generated('vm', 4000);
    const classes = equivalenceClasses(foldTrace(chunks, 524288), shape.strategy_geometric_bytes);
    expect(classes).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
    const faults = shape.strategy_geometric_bytes.map(
      (_, strategy) => replay(chunks, setupOf({ lifecycle: 0, strategy })).faults,
    );
    expect(new Set(faults.slice(0, 4)).size).toBe(1);
    expect(new Set(faults.slice(4)).size).toBe(1);
  });
});

describe('ratings', () => {
  test('always sum to 18,000 points, and best() is one of those that are left (I17, I21)', () => {
    for (const rating of [0, 1])
      for (const name of ['drift', 'edges']) {
        const setup = setupOf({ rating, window_events: 200, elo_k: 256, elo_survive_games: 11 });
        const run = new Replay(setup, {
          event: (_, __, ___, { learning }) => {
            const { learner } = learning!;
            expect(learner.isActive!(learner.best())).toBe(true);
          },
          window: ({ ratings: points }) => expect(points!.reduce((sum, each) => sum + each, 0)).toBe(18_000),
        });
        for (const chunk of traces[name]) run.feed({ ...chunk, length: Math.min(chunk.length, 50_000) });
        expect(new Set(run.finish().learning.ratings).size).toBeGreaterThan(3);
      }
  });

  test('and each learner finds the cheapest of exact costs, however they are permuted', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(
          Array.from({ length: 12 }, (_, at) => 1000 + 100 * at),
          { minLength: 12 },
        ),
        (costs) => {
          for (const learner of [0, 2, 3]) {
            const subject = newLearner(configOf('LEARNING', { learner }), 12, 1);
            for (let index = 0; index < 60; index += 1)
              subject.learn({ index, event: index, acted: subject.choose(), costs: Float64Array.from(costs) });
            expect(subject.best(), learners[learner]).toBe(costs.indexOf(1000));
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test('explore one window in ten, within 5 sigma, and exactly as often again with the same seed', () => {
    const explored = (learner: number, seed: number): number => {
      const subject = newLearner(configOf('LEARNING', { learner }), 12, seed);
      for (let index = 0; index < 20_000; index += 1) subject.choose();
      return subject.figures.explorations;
    };
    for (const learner of [0, 2])
      for (const seed of [1, 2, 3]) {
        expect(Math.abs(explored(learner, seed) - 2000)).toBeLessThan(5 * Math.sqrt(20_000 * 0.1 * 0.9));
        expect(explored(learner, seed)).toBe(explored(learner, seed));
      }
  });

  test('of equals stay equal, and the one that acted least comes next: no strategy is pinned', () => {
    const subject = new Tournament(configOf('LEARNING', { explore_permille: 0 }), 12, 1);
    const chosen = Array.from({ length: 24 }, (_, index) => {
      const acted = subject.choose();
      subject.learn({ index, event: index, acted, costs: new Float64Array(12).fill(500) });
      return acted;
    });
    expect(new Set(subject.ratings)).toEqual(new Set([1500 * 65536]));
    expect(new Set(chosen).size).toBe(12);
  });
});

describe('FROZEN', () => {
  test('writes no rating and draws nothing (I18)', () => {
    let frozen = 0;
    for (const { settings } of policies) {
      const setup = setupOf({ lifecycle: auto, window_events: 300, freeze_after_windows: 6, ...settings });
      let before: string | null = null;
      const run = new Replay(setup, {
        event: (_, __, ___, { learning }) => {
          const { learner, lifecycle: cycle } = learning!;
          const now = JSON.stringify([learner.figures, learning!.ratings()]);
          if (cycle.state === lifecycle.frozen && before !== null) {
            frozen += 1;
            if (now !== before) expect(now).toBe(before);
          }
          before = cycle.state === lifecycle.frozen ? now : null;
        },
      });
      for (const chunk of generated('vm', 12_000)) run.feed(chunk);
      run.finish();
    }
    expect(frozen).toBeGreaterThan(10_000);
  });

  test('from the start has no learning in it: the decisions are those of lifecycle=off', async () => {
    const [off, , frozen] = [0, 1, 2].map((state) => setupOf({ lifecycle: state, strategy: 3 }));
    expect(learns(frozen.config)).toBe(false);
    const { learning, ...rest } = replay(drift, frozen);
    const { learning: _, ...same } = replay(drift, off);
    expect(rest).toEqual(same);
    expect(learning).toMatchObject({ state: 'FROZEN', windows: 0, draws: 0, rating_writes: 0, arm: 3 });
    expect((await replayCore(drift, frozen)).learning).toEqual(learning);
  });
});

test('in CANARY the candidate decides exactly the samples that the hash names (I22)', () => {
  let named = 0;
  let samples = 0;
  const setup = setupOf({
    lifecycle: auto,
    rating: 1,
    window_events: 100,
    window_samples: 20,
    canary_windows_max: 100,
    canary_samples: 1000,
    canary_permille: 200,
  });
  let event = -1;
  const run = new Replay(setup, {
    event: (chunk, row, _, { learning, arm }) => {
      event += 1;
      const { lifecycle: cycle, floor_bytes } = learning!;
      const sample = chunk.op[row] !== op.free && chunk.size_bytes[row] >= floor_bytes;
      if (!sample || cycle.state !== lifecycle.canary || cycle.candidate < 0) return;
      const wanted = learning!.isCanary(event) ? cycle.candidate : cycle.confirmed;
      if (arm !== wanted) expect({ event, arm }).toEqual({ event, arm: wanted });
      samples += 1;
      if (arm === cycle.candidate) named += 1;
    },
  });
  for (const chunk of drift) run.feed(chunk);
  expect(run.finish().learning.canaries).toBeGreaterThan(0);
  // 5 sigma around one in five.
  expect(Math.abs(named / samples - 0.2)).toBeLessThan(5 * Math.sqrt((0.2 * 0.8) / samples));
});

test('sizes that change for good are noticed, however few samples there were before', () => {
  for (const before of [260, 400, 1000]) {
    const pair = (size_bytes: number) => [
      { kind: op.malloc, size_bytes, pick: 0, align: 16, site: 0, touched_pages: 1 },
      { kind: op.free, size_bytes: 0, pick: 0, align: 0, site: 0, touched_pages: 0 },
    ];
    const intents = [
      ...Array.from({ length: before }, () => pair(8 * 2 ** 20)),
      ...Array.from({ length: 1000 }, () => pair(2 ** 20)),
    ].flat();
    const { learning } = replay(legalTrace(intents), setupOf({ lifecycle: auto, window_events: 1 }));
    expect(learning.freezes).toBeGreaterThan(0);
    expect(learning.canaries + learning.relearns, `${before} before`).toBeGreaterThan(0);
  }
});

describe('silence', () => {
  test('ratings that never move are named, in both halves', async () => {
    const { result } = watched(drift, setupOf({ legacy_unrated: 1 }));
    expect(silentFeatures(result.liveness).map(({ feature }) => feature)).toEqual(['learning']);
    expect(new Set(result.learning.ratings)).toEqual(new Set([1500]));
    expect((await replayCore(drift, setupOf({ legacy_unrated: 1 }))).learning).toEqual(result.learning);
  });

  test('a strategy that is chosen and not used is named', () => {
    const large = legalTrace([
      { kind: op.malloc, size_bytes: 40 * 2 ** 20, pick: 0, align: 16, site: 0, touched_pages: 1 },
    ]);
    const silent = (legacy_order: number) =>
      silentFeatures(replay(large, setupOf({ legacy_order })).liveness).map(({ feature }) => feature);
    expect(silent(1)).toEqual(['mapping']);
    expect(silent(0)).toEqual([]);
  });
});

describe('regret', () => {
  test('stretches of a fixed strategy sum to its score, and the optimum is not above the best', () => {
    for (const name of ['drift', 'edges', 'python-json.hak', 'numpy-arrays.hak']) {
      const folded = foldTrace(traces[name], 524288);
      const setup = setupOf({});
      const behind = hindsight(folded, setup);
      behind.fixed.forEach(({ score }, arm) => {
        expect(behind.stretches[arm].reduce((sum, each) => sum + each, 0)).toBeCloseTo(score.total, 9);
      });
      const { optimum_score, best_score, regret, score } = regretOf(behind, simulate(folded, setup));
      expect(optimum_score).toBeLessThanOrEqual(best_score + 1e-12);
      expect(regret).toBeCloseTo(score - best_score, 12);
    }
  });

  test('of a sweep: fixed strategies are simulated once for all that differ in learning alone, and not where nothing is learned', () => {
    const folded = foldTrace(traces['python-json.hak'], 65536);
    const regrets = new Regrets(folded);
    for (const settings of [{ learner: 3 }, { elo_k: 8 }, { learner: 2, bigcache: 0 }]) {
      const setup = setupOf(settings);
      const outcome = simulate(folded, setup);
      expect(regrets.of(setup, outcome)).toEqual(regretOf(hindsight(folded, setup), outcome));
    }
    expect(regrets.of(setupOf({ lifecycle: 0 }), simulate(folded, setupOf({ lifecycle: 0 })))).toBeNull();
  });

  test('of a run that holds the best strategy is nothing', () => {
    const folded = foldTrace(drift, 524288);
    const behind = hindsight(folded, setupOf({}));
    const { best_arm } = regretOf(behind, behind.fixed[0]);
    expect(regretOf(behind, simulate(folded, setupOf({ lifecycle: 2, strategy: best_arm }))).regret).toBe(0);
  });
});

describe('figures that rules go by', () => {
  test('means and intervals are those of the textbook', () => {
    const paired = new Paired();
    expect([paired.half(), paired.isPositive(), paired.isWithin(1e9)]).toEqual([
      Number.POSITIVE_INFINITY,
      false,
      false,
    ]);
    for (const value of [10, 12, 14]) paired.add(value);
    expect(paired.mean).toBe(12);
    // t(2, 99 %) = 9.925, standard deviation 2.
    expect(paired.half()).toBeCloseTo((9.925 * 2) / Math.sqrt(3), 9);
    expect([paired.isPositive(), paired.isWithin(23), paired.isWithin(24)]).toEqual([true, false, true]);
  });

  test('the logarithm is within 3e-9 of the true one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (count) => {
        expect(Math.abs(naturalLog(count) - Math.log(count))).toBeLessThan(3e-9);
      }),
    );
  });
});

function samplesIn(chunks: readonly Chunk[], from: number, to: number): number {
  let samples = 0;
  let event = 0;
  for (const { op: kinds, size_bytes, length } of chunks)
    for (let row = 0; row < length; row += 1, event += 1)
      if (event >= from && event < to && kinds[row] !== op.free && size_bytes[row] >= 524288) samples += 1;
  return samples;
}

function lastIsNoSample(chunks: readonly Chunk[]): boolean {
  const last = chunks.at(-1);
  return last === undefined || last.op[last.length - 1] === op.free || last.size_bytes[last.length - 1] < 524288;
}
