/**
 * Many configurations over one folded trace come to what a full replay of each comes to, digest and all, in both halves.
 * HAKMEM_RUNS sets how many cases a property tries (default 100).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nativeTrouble, replayAll } from '../native/index.ts';
import { configOf } from '../sim/config.ts';
import { Digest } from '../sim/decide/digest.ts';
import { foldTrace, refold, rowsIn } from '../sim/fold.ts';
import { lowestFloor, simulate, simulateAll, simulateOver } from '../sim/planned.ts';
import { type Moment, Replay, replay, type Setup } from '../sim/replay.ts';
import type { Outcome } from '../sim/result.ts';
import { boundaries_bytes, type Config, default_profile, prices, shape } from '../sim/spec.ts';
import { open } from '../traces/index.ts';
import { readScenario } from '../traces/scenario.ts';
import { SyntheticTrace } from '../traces/synthetic.ts';
import { type Chunk, copyChunk, op } from '../traces/trace.ts';
import { anyConfig, anyIntents, anyProfile, anyTouch, anyUsualConfig, legalTrace } from './arbitrary.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const numRuns = Number(process.env.HAKMEM_RUNS ?? 100);

const setupOf = (settings: Partial<Config> = {}): Setup => ({
  config: configOf('BALANCED', { checkpoint_events: 16, ...settings }),
  prices,
  profile: default_profile,
  touch: 'page',
  seed: 1,
});

/** Bugs of the original break rules in the middle of a trace: then the rest of it must not be counted. */
const anyBug: fc.Arbitrary<Partial<Config>> = fc.constantFrom<Partial<Config>>(
  {},
  {},
  {},
  { legacy_undersized: 1 },
  { legacy_stale_advice: 1 },
  { legacy_order: 1 },
  { legacy_eviction_frees: 1 },
  { legacy_header: 1 },
);

/** Some configurations of one sweep: of one place, and mostly of thresholds that divide what a trace asks for. */
const anySetups: fc.Arbitrary<Setup[]> = fc
  .record({
    configs: fc.array(
      fc
        .record({
          config: fc.oneof(anyConfig, anyUsualConfig),
          bug: anyBug,
          mmap_threshold_bytes: fc.constantFrom(
            0,
            1,
            4096,
            128 * KiB,
            600 * KiB,
            1 * MiB,
            1 * MiB + 1,
            2 * MiB,
            5 * MiB,
          ),
        })
        .map(({ config, bug, mmap_threshold_bytes }) => ({ ...config, ...bug, mmap_threshold_bytes })),
      { minLength: 1, maxLength: 6 },
    ),
    profile: anyProfile,
    touch: anyTouch,
  })
  .map(({ configs, profile, touch }) => configs.map((config) => ({ config, profile, touch, prices, seed: 1 })));

/** Some that most traces fill several times, and fill exactly. */
const anySegmentRows = fc.constantFrom(1, 2, 3, 8, 16384);

function fullReplay(chunks: Iterable<Chunk>, setup: Setup): Outcome {
  const { liveness: _, checkpoints: __, log: ___, ...outcome } = replay(chunks, setup);
  return outcome;
}

describe('one pass for many configurations', () => {
  test('comes to what a full replay of each comes to, violations included', () => {
    let broken = 0;
    fc.assert(
      fc.property(anyIntents, anySetups, fc.constantFrom(1, 7, 4096), anySegmentRows, (intents, setups, cut, rows) => {
        const chunks = legalTrace(intents, cut);
        const wanted = setups.map((setup) => fullReplay(chunks, setup));
        expect(simulateAll(chunks, setups)).toEqual(wanted);
        const folded = foldTrace(chunks, lowestFloor(setups), undefined, rows);
        expect(simulateOver(folded, setups)).toEqual(wanted);
        broken += wanted.filter(({ violation }) => violation !== null).length;
      }),
      { numRuns: numRuns * 4 },
    );
    expect(broken).toBeGreaterThan(0);
  });

  test.skipIf(nativeTrouble() !== null)('so does the C core, which folds by itself', async () => {
    await fc.assert(
      fc.asyncProperty(anyIntents, anySetups, fc.constantFrom(1, 7, 4096), async (intents, setups, chunk_events) => {
        const chunks = legalTrace(intents, chunk_events);
        expect(await replayAll(() => chunks, setups)).toEqual(setups.map((setup) => fullReplay(chunks, setup)));
      }),
      { numRuns },
    );
  });

  test.skipIf(nativeTrouble() !== null)(
    'on a recorded sample and every strategy, in more passes than one',
    async () => {
      const trace = open('traces/samples/r-stacks.hak');
      const setups = [false, true].flatMap((keyed) =>
        Array.from({ length: 36 }, (_, at) =>
          setupOf({
            mmap_threshold_bytes: Math.round(64 * KiB * 2 ** (at / 4)),
            bigcache_site_keyed: keyed ? 1 : 0,
            checkpoint_events: 4096,
          }),
        ),
      );
      const simulated = simulateAll(trace.chunks(), setups);
      expect(await replayAll(() => trace.chunks(), setups)).toEqual(simulated);
      for (const at of [0, 17, 40, 71]) expect(simulated[at]).toEqual(fullReplay(trace.chunks(), setups[at]));
      // Thresholds with no request between them decide alike.
      expect(new Set(simulated.map(({ decision_digest }) => decision_digest)).size).toBeGreaterThan(12);
    },
  );

  test('an empty trace, and one of a single event', () => {
    for (const text of ['', 'alloc A 3MiB\n', 'alloc A 100\n', 'alloc A 100\nfree A\n']) {
      const { trace } = readScenario('short', text);
      const setups = [setupOf(), setupOf({ mmap_threshold_bytes: 1 }), setupOf({ mmap_threshold_bytes: 2 ** 40 })];
      expect(simulateAll(trace.chunks(), setups)).toEqual(setups.map((setup) => fullReplay(trace.chunks(), setup)));
    }
  });

  test('sizes of more than 32 bits on the heap path', () => {
    const { trace } = readScenario('giants', 'alloc A 5GiB\nalloc B 9GiB\nfree A\nalloc C 5GiB\n');
    const setup = setupOf({ mmap_threshold_bytes: 2 ** 40 });
    expect(simulateAll(trace.chunks(), [setup])).toEqual([fullReplay(trace.chunks(), setup)]);
  });

  test('reports setups done, and answers in their order', () => {
    const chunks = [...new SyntheticTrace('churn', { events: 500, seed: 3, boundaries_bytes }).chunks()].map(copyChunk);
    const setups = [8 * MiB, 1, 2 * MiB, 512 * KiB, 2 * MiB].map((bytes) => setupOf({ mmap_threshold_bytes: bytes }));
    const told: number[] = [];
    const outcomes = simulateAll(chunks, setups, (done) => told.push(done));
    expect(told).toEqual([1, 2, 3, 4, 5]);
    expect(outcomes).toEqual(setups.map((setup) => fullReplay(chunks, setup)));
    expect(simulateAll(chunks, [])).toEqual([]);
  });
});

describe('folding', () => {
  test('leaves no event out and none twice', () => {
    fc.assert(
      fc.property(
        anyIntents,
        fc.constantFrom(0, 1, 4096, MiB, 2 ** 47),
        anySegmentRows,
        (intents, floor_bytes, cut) => {
          const chunks = legalTrace(intents);
          const folded = foldTrace(chunks, floor_bytes, undefined, cut);
          const events = chunks.flatMap((chunk) => Array.from(chunk.op.subarray(0, chunk.length)));
          expect(folded.events).toBe(events.length);
          const left = folded.segments.flatMap(({ event, op: kinds }, at) =>
            Array.from({ length: rowsIn(folded, at) }, (_, row) => ({ event: event[row], kind: kinds[row] })),
          );
          expect(left).toHaveLength(folded.rows);
          expect(left.map(({ kind }) => kind)).toEqual(left.map(({ event }) => events[event]));
          expect(left.every(({ event }, at) => at === 0 || event > left[at - 1].event)).toBe(true);
          const kept = new Set(left.map(({ event }) => event));
          const allocations = events.filter((kind, event) => kind !== op.free && !kept.has(event)).length;
          expect(folded.segments.at(-1)!.allocations[folded.rows % cut]).toBe(allocations);
        },
      ),
      { numRuns },
    );
  });

  test('in two steps comes to the same as in one', () => {
    fc.assert(
      fc.property(
        anyIntents,
        fc.constantFrom(1, 4096, 512 * KiB),
        fc.constantFrom(512 * KiB, MiB, MiB + 1, 3 * MiB),
        anySegmentRows,
        (intents, first, last, cut) => {
          const chunks = legalTrace(intents);
          const steps = refold(foldTrace(chunks, first, undefined, cut), last);
          const once = foldTrace(chunks, last, undefined, cut);
          expect(steps.rows).toBe(once.rows);
          expect(steps.segments).toHaveLength(once.segments.length);
          for (const [at, columns] of once.segments.entries())
            for (const name of Object.keys(columns) as (keyof typeof columns)[]) {
              // What stands in the last row is only the stretch after it.
              const after =
                at === once.segments.length - 1 && /^(net|most)_bytes|digest|allocations/.test(name) ? 1 : 0;
              const length = rowsIn(once, at) + after;
              expect(steps.segments[at][name].slice(0, length), name).toEqual(columns[name].slice(0, length));
            }
        },
      ),
      { numRuns },
    );
  });

  test('a trace below every threshold is folded to nothing', () => {
    const trace = new SyntheticTrace('json', { events: 10_000, seed: 1, boundaries_bytes });
    const folded = foldTrace(trace.chunks(), 512 * KiB);
    expect(folded.rows).toBe(0);
    expect(simulate(folded, setupOf())).toEqual(fullReplay(trace.chunks(), setupOf()));
  });

  test('a configuration that maps what was folded is refused', () => {
    const folded = foldTrace(new SyntheticTrace('churn', { events: 100, seed: 1, boundaries_bytes }).chunks(), MiB);
    expect(() => simulate(folded, setupOf({ mmap_threshold_bytes: MiB - 1 }))).toThrow('mapped by no configuration');
    expect(() => simulate(folded, setupOf({ mmap_threshold_bytes: MiB }))).not.toThrow();
  });

  test('the floor of a sweep is its lowest threshold, by hand or by strategy', () => {
    expect(lowestFloor([setupOf({ strategy: 5 }), setupOf({ mmap_threshold_bytes: 2 * MiB })])).toBe(2 * MiB);
    expect(lowestFloor([setupOf({ strategy: 5 })])).toBe(shape.strategy_geometric_bytes[5]);
  });
});

describe('what looks on', () => {
  test('sees at every checkpoint what a full replay shows there', () => {
    const setup = setupOf({ mmap_threshold_bytes: MiB, checkpoint_events: 37 });
    const trace = new SyntheticTrace('mixed', { events: 5000, seed: 2, boundaries_bytes });
    const watch = (): [Moment[], { moment: (moment: Moment) => void }] => {
      const seen: Moment[] = [];
      return [seen, { moment: (moment) => seen.push(moment) }];
    };
    const [full, of_full] = watch();
    const run = new Replay(setup, of_full);
    for (const chunk of trace.chunks()) run.feed(chunk);
    run.finish();
    const [planned, of_planned] = watch();
    simulate(foldTrace(trace.chunks(), MiB), setup, of_planned);
    const exact = ({ heap_bytes, time_ns, ...rest }: Moment) => ({
      ...rest,
      without_heap_ns: time_ns - (heap_bytes / shape.page_bytes) * prices.fault_ns,
    });
    expect(planned.map(exact)).toEqual(full.map(exact));
    expect(planned.at(-1)).toEqual(full.at(-1));
    // Between rows, the heap is as it was at the last one.
    for (const [at, { heap_bytes }] of planned.entries()) expect(heap_bytes).toBeLessThanOrEqual(full[at].heap_bytes);
  });
});

describe('the digest of the heap path', () => {
  test('tells events by their place, kind and size, and stretches may be added in any order', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.nat(2 ** 31), fc.constantFrom(1, 1792), fc.nat(2 ** 20)), {
          minLength: 2,
          maxLength: 40,
          selector: ([event]) => event,
        }),
        fc.nat(),
        (events, pick) => {
          const of = (list: readonly (readonly [number, number, number])[]): string => {
            const digest = new Digest();
            for (const [event, word, size_bytes] of list) digest.add(event, word, size_bytes);
            return digest.hex();
          };
          expect(of([...events].reverse())).toBe(of(events));
          const at = pick % events.length;
          const [event, word, size_bytes] = events[at];
          const other = (changed: [number, number, number]): string =>
            of((events as [number, number, number][]).with(at, changed));
          expect(other([event + 1, word, size_bytes])).not.toBe(of(events));
          expect(other([event, word ^ 1, size_bytes])).not.toBe(of(events));
          expect(other([event, word, size_bytes + 1])).not.toBe(of(events));
          expect(other([event, word, size_bytes + 2 ** 32])).not.toBe(of(events));
        },
      ),
      { numRuns },
    );
  });
});

test('a folded trace serves many sweeps', () => {
  const folded = foldTrace(new SyntheticTrace('mixed', { events: 3000, seed: 5, boundaries_bytes }).chunks(), 64 * KiB);
  const setups = [64 * KiB, 256 * KiB, MiB].map((bytes) => setupOf({ mmap_threshold_bytes: bytes }));
  expect(simulateOver(folded, setups)).toEqual(simulateOver(folded, setups));
});
