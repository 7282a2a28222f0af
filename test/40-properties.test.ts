/**
 * The policy over random traces and configurations: what must hold after every event, and that the C core and the real
 * kernel agree. HAKMEM_RUNS sets how many cases a property tries (default 100).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { probeProfile, replay as replayCore, replayReal } from '../native/index.ts';
import { configOf } from '../sim/config.ts';
import { thermalClass } from '../sim/decide/thermal.ts';
import { Replay, replay, type Setup } from '../sim/replay.ts';
import { firstDifference, type Result, silentFeatures } from '../sim/result.ts';
import { type Config, default_profile, enums, mode_names, params, prices } from '../sim/spec.ts';
import { writeHak } from '../traces/file.ts';
import { open } from '../traces/index.ts';
import { readScenario } from '../traces/scenario.ts';
import { type Chunk, copyChunk, op, originOf } from '../traces/trace.ts';
import {
  anyConfig,
  anyIntents,
  anyProfile,
  anySize,
  anyTouch,
  anyUsualConfig,
  legalTrace,
  unusual,
} from './arbitrary.ts';
import { Checked } from './invariants.ts';

const MiB = 2 ** 20;
const numRuns = Number(process.env.HAKMEM_RUNS ?? 100);
const probed = probeProfile();
const temporary = mkdtempSync(join(tmpdir(), 'hakmem-properties-'));
afterAll(() => rmSync(temporary, { recursive: true }));

const anySetup: fc.Arbitrary<Setup> = fc
  .record({ config: anyUsualConfig, profile: anyProfile, touch: anyTouch })
  .map((drawn) => ({ ...drawn, prices, seed: 1 }));

const setupOf = (settings: Partial<Config> = {}): Setup => ({
  config: configOf('BALANCED', settings),
  prices,
  profile: default_profile,
  touch: 'page',
  seed: 1,
});

describe('after every event of any trace, under any configuration', () => {
  test('blocks, pages, areas, batch and placement are what a plain recount says (I1-I12, I15, I16, I23, I30, I34, I42)', () => {
    let finished = 0;
    fc.assert(
      fc.property(anyIntents, anySetup, (intents, setup) => {
        if (new Checked(setup).run(legalTrace(intents))) finished += 1;
      }),
      { numRuns },
    );
    expect(finished).toBeGreaterThan(numRuns / 2);
  });

  test('every feature that had work did some (I36, I41)', () => {
    fc.assert(
      fc.property(anyIntents, anySetup, (intents, setup) => {
        const result = replay(legalTrace(intents), setup);
        if (result.violation === null) expect(silentFeatures(result.liveness)).toEqual([]);
      }),
      { numRuns: numRuns * 4 },
    );
  });

  test('counts add up at the end (I12, I28, I34)', () => {
    fc.assert(
      fc.property(anyIntents, anySetup, (intents, setup) => {
        const chunks = legalTrace(intents);
        const result = replay(chunks, setup);
        if (result.violation !== null) return;
        expect(result.events).toBe(chunks.reduce((total, { length }) => total + length, 0));
        expect(result.batch.pending).toBe(0);
        expect(result.batch.added - result.batch.withdrawn >= result.batch.flushes).toBe(true);
        const resident = result.checkpoints.map(({ resident_bytes }) => resident_bytes);
        expect(result.resident_bytes.peak).toBe(Math.max(...resident));
        expect(result.resident_bytes.end).toBe(resident.at(-1));
        expect(result.resident_bytes.peak).toBeLessThanOrEqual(result.mapped_bytes.peak);
        expect(result.time_ns.total).toBe(result.time_ns.allocate! + result.time_ns.free! + result.time_ns.fault!);
        expect(result.latency_ns.p50!).toBeLessThanOrEqual(result.latency_ns.p99!);
        expect(result.latency_ns.p999!).toBeLessThanOrEqual(result.latency_ns.max!);
      }),
      { numRuns },
    );
  });
});

describe('the same trace and configuration', () => {
  test('give the same result again, whatever the chunks, the log, who watches, and the seed where nothing is drawn (I24, I25)', () => {
    fc.assert(
      fc.property(anyIntents, anySetup, fc.integer({ min: 1, max: 40 }), (intents, setup, chunk_events) => {
        const once = replay(legalTrace(intents), setup);
        expect(replay(legalTrace(intents), setup)).toEqual(once);
        if (once.learning.draws + once.learning.canaries === 0)
          expect(replay(legalTrace(intents), { ...setup, seed: 99 })).toEqual(once);
        const watched: number[] = [];
        const logged = replay(legalTrace(intents, chunk_events), { ...setup, log: { from: 3, to: 9 } }, (events) =>
          watched.push(events),
        );
        expect(comparable({ ...logged, log: [] })).toEqual(comparable(once));
        expect(logged.log.map(({ event }) => event)).toEqual([3, 4, 5, 6, 7, 8].filter((event) => event < once.events));
      }),
      { numRuns },
    );
  });

  test('survive the way through a .hak file (I38)', () => {
    fc.assert(
      fc.property(anyIntents, (intents) => {
        const chunks = legalTrace(intents);
        if (chunks.length === 0) return;
        const read = [...open(written(chunks)).chunks()].map(copyChunk);
        for (const column of ['op', 'object', 'size_bytes', 'align', 'site', 'touched_pages'] as const)
          expect(read[0][column]).toEqual(copyChunk(chunks[0])[column]);
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
  });
});

describe('the C core with the counted kernel', () => {
  test('takes the same decisions and counts the same, for any profile, touch model and configuration (I24, I31-I33)', async () => {
    await fc.assert(
      fc.asyncProperty(anyIntents, anySetup, async (intents, setup) => {
        const chunks = legalTrace(intents);
        expect(firstDifference(replay(chunks, setup), await replayCore(chunks, setup), 'kernel')).toBeNull();
      }),
      { numRuns: numRuns * 5 },
    );
  });

  test('prices every call alike: the whole result is equal', async () => {
    await fc.assert(
      fc.asyncProperty(anyIntents, anySetup, async (intents, setup) => {
        const chunks = legalTrace(intents, 16);
        const logged = { ...setup, log: { from: 0, to: 500 } };
        expect(comparable(await replayCore(chunks, logged))).toEqual(comparable(replay(chunks, logged)));
      }),
      { numRuns },
    );
  });

  test.each([
    'legacy_order',
    'legacy_eviction_frees',
    'legacy_undersized',
    'legacy_stale_advice',
    'legacy_header',
  ] as const)('has the same bug under %s', async (bug) => {
    await fc.assert(
      fc.asyncProperty(anyIntents, anySetup, async (intents, setup) => {
        const chunks = legalTrace(intents);
        const buggy = { ...setup, config: { ...setup.config, [bug]: 1 } };
        expect(firstDifference(replay(chunks, buggy), await replayCore(chunks, buggy), 'kernel')).toBeNull();
      }),
      { numRuns },
    );
  });
});

describe.skipIf(probed === null)('the real kernel', () => {
  test('does what the page model says, fault for fault and page for page (I14, I15, I31-I33)', async () => {
    await fc.assert(
      fc.asyncProperty(anyIntents, anyConfig, anyTouch, async (intents, config, touch) => {
        const chunks = legalTrace(intents);
        if (chunks.length === 0) return;
        const setup: Setup = { config, prices, profile: probed!, touch, seed: 1 };
        const real = await replayReal(written(chunks), chunks, setup);
        expect(
          firstDifference(replay(chunks, setup), real.result, 'kernel'),
          JSON.stringify(unusual(config)),
        ).toBeNull();
      }),
      { numRuns: Math.ceil(numRuns / 2) },
    );
  });
});

describe('a feature that is not used changes nothing (I26)', () => {
  test('MINIMAL makes no call but mmap and munmap, one for each block (I23)', () => {
    fc.assert(
      fc.property(anyIntents, anyTouch, (intents, touch) => {
        const { syscalls, batch, bigcache, mapped_bytes } = replay(legalTrace(intents), {
          ...setupOf(),
          config: configOf('MINIMAL', {}),
          touch,
        });
        const { mmap, munmap, ...rest } = syscalls;
        expect(Object.values(rest).every((count) => count === 0)).toBe(true);
        expect(munmap).toBeLessThanOrEqual(mmap);
        expect([batch.added, bigcache.hits, bigcache.misses]).toEqual([0, 0, 0]);
        expect(mmap === munmap).toBe(mapped_bytes.end === 0);
      }),
      { numRuns },
    );
  });

  test('how a flush is made leaves everything but the calls as it was', () => {
    fc.assert(
      fc.property(anyIntents, anySetup, (intents, setup) => {
        const of = (batch_vectored: number) =>
          replay(legalTrace(intents), { ...setup, config: { ...setup.config, batch_vectored } });
        const [loop, vector] = [of(0), of(1)];
        for (const field of [
          'bigcache',
          'batch',
          'thermal',
          'kept',
          'faults',
          'resident_bytes',
          'areas',
          'violation',
        ] as const)
          expect(vector[field]).toEqual(loop[field]);
        expect(vector.syscalls.process_madvise).toBeLessThanOrEqual(vector.batch.flushes * 4);
        expect(vector.syscalls.mmap).toBe(loop.syscalls.mmap);
      }),
      { numRuns },
    );
  });

  test('huge pages change neither what is cached nor what is batched nor what is kept', () => {
    fc.assert(
      fc.property(anyIntents, anySetup, (intents, setup) => {
        const of = (thp_policy: number) =>
          replay(legalTrace(intents), {
            ...setup,
            // What huge pages cost is learned from.
            config: { ...setup.config, thp_policy, region_bytes: params.region_bytes.value, lifecycle: 0 },
          });
        const [off, on] = [of(0), of(1)];
        for (const field of ['bigcache', 'batch', 'thermal', 'kept', 'heap', 'mapped_bytes'] as const)
          expect(on[field]).toEqual(off[field]);
      }),
      { numRuns },
    );
  });
});

describe('thermal classes (I30)', () => {
  test('are a function of the size alone, and each begins at its own byte', () => {
    const { config } = setupOf();
    const of = (bytes: number) => enums.thermal[thermalClass(config, bytes)];
    expect([MiB - 1, MiB, 2 * MiB - 1, 2 * MiB].map(of)).toEqual(['hot', 'warm', 'warm', 'cold']);
    fc.assert(
      fc.property(anySize, anySize, (a, b) => {
        expect(thermalClass(config, Math.min(a, b))).toBeLessThanOrEqual(thermalClass(config, Math.max(a, b)));
      }),
      { numRuns: numRuns * 4 },
    );
  });
});

describe('every mode', () => {
  test.each(mode_names)('%s agrees with the C core and breaks no rule', async (mode) => {
    await fc.assert(
      fc.asyncProperty(anyIntents, anyTouch, async (intents, touch) => {
        const chunks = legalTrace(intents);
        const setup = { ...setupOf(), config: configOf(mode, { checkpoint_events: 10 }), touch };
        new Checked(setup).run(chunks);
        expect(firstDifference(replay(chunks, setup), await replayCore(chunks, setup), 'kernel')).toBeNull();
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
  });
});

describe('a replay in steps', () => {
  test('partitions the trace: no event is lost or counted twice (I29)', () => {
    fc.assert(
      fc.property(anyIntents, anySetup, fc.integer({ min: 1, max: 30 }), (intents, setup, chunk_events) => {
        const run = new Replay(setup);
        for (const chunk of legalTrace(intents, chunk_events)) run.feed(chunk);
        const result = run.finish();
        const { checkpoint_events } = setup.config;
        const marks = result.checkpoints.slice(0, -1).map(({ events }) => events);
        expect(marks).toEqual(marks.map((_, at) => (at + 1) * checkpoint_events));
        expect(result.checkpoints.at(-1)!.events).toBe(result.events);
      }),
      { numRuns },
    );
  });
});

/**
 * What one would like to believe of more, on traces of allocations and frees alone. The true ones follow from independence:
 * without BigCache every page count is a list of its own, and a ring is a bounded stack, whose larger one contains the
 * smaller. The false ones stand with the shortest trace that a random search found.
 */
describe('monotonicity', () => {
  const without_reallocs = anyIntents.map((intents) =>
    intents.map((intent) => ({ ...intent, kind: intent.kind === op.free ? op.free : op.malloc })),
  );
  const mmaps = (chunks: readonly Chunk[], settings: Partial<Config>): number =>
    replay(chunks, { ...setupOf(settings), touch: 'none' }).syscalls.mmap;
  const mmapsOf = (text: string, settings: Partial<Config>): number =>
    mmaps([...readScenario('more', text.replaceAll('; ', '\n')).trace.chunks()], settings);
  const nothing_kept = { kept_bytes_max: 0, batch: 0 } as const;

  test.each([
    ['nothing is reused', { bigcache: 0, thermal: 0 }],
    ['all is kept', { bigcache: 0, kept_bytes_max: 2 ** 47 }],
  ])('TRUE: a higher threshold makes no more mmaps, where %s', (_, settings) => {
    fc.assert(
      fc.property(without_reallocs, anySize, anySize, (intents, a, b) => {
        const chunks = legalTrace(intents);
        const of = (mmap_threshold_bytes: number) => mmaps(chunks, { ...settings, mmap_threshold_bytes });
        expect(of(Math.max(a, b, 1))).toBeLessThanOrEqual(of(Math.max(1, Math.min(a, b))));
      }),
      { numRuns },
    );
  });

  test('TRUE: more ways make no more mmaps, where nothing else is kept and a lookup is one probe', () => {
    fc.assert(
      fc.property(without_reallocs, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), (intents, a, b) => {
        const chunks = legalTrace(intents);
        const of = (bigcache_ways: number) => mmaps(chunks, { ...nothing_kept, bigcache_ways });
        expect(of(Math.max(a, b))).toBeLessThanOrEqual(of(Math.min(a, b)));
      }),
      { numRuns },
    );
  });

  test('FALSE: a higher threshold makes no more mmaps, where a lookup probes two classes', () => {
    const text = 'alloc A 2MiB; alloc B 3MiB; free B; free A; alloc C 1300KiB; alloc D 3MiB';
    const of = (mib: number) =>
      mmapsOf(text, { ...nothing_kept, bigcache_round: 0, bigcache_ways: 2, mmap_threshold_bytes: mib * MiB });
    expect([of(1), of(1.5)]).toEqual([2, 3]);
  });

  test('FALSE: more ways make no more mmaps: a block cached for one site is not there for another', () => {
    const text = 'alloc A 1500KiB site 1; alloc B 1500KiB site 1; free B; free A; alloc C 1500KiB site 0';
    expect([1, 2].map((bigcache_ways) => mmapsOf(text, { bigcache_ways }))).toEqual([2, 3]);
  });

  test('FALSE: more ways make no more mmaps, where a lookup probes two classes', () => {
    const text =
      'alloc A 1100KiB; free A; alloc B 1300KiB; free B; alloc C 3MiB; free C; alloc D 1300KiB; alloc E 1100KiB; ' +
      'free D; free E; alloc F 3MiB; alloc G 1300KiB';
    const of = (bigcache_ways: number) => mmapsOf(text, { ...nothing_kept, bigcache_round: 0, bigcache_ways });
    expect([of(1), of(2)]).toEqual([3, 4]);
  });

  test('FALSE: more slots make no more mmaps: sites that shared one no longer do', () => {
    const text = 'alloc A 1900KiB site 0; free A; alloc B 1900KiB site 1';
    expect([1, 64].map((bigcache_slots) => mmapsOf(text, { ...nothing_kept, bigcache_slots }))).toEqual([1, 2]);
  });
});

/** What is counted from the trace alone goes to the end of a chunk, whose end lies elsewhere after a rule was broken. */
function comparable(result: Result): Partial<Result> {
  if (result.violation === null) return result;
  const { liveness: _liveness, score: _score, ...rest } = result;
  return rest;
}

function written(chunks: readonly Chunk[]): string {
  const path = join(temporary, 'trace.hak');
  const sites = Array.from({ length: 8 }, (_, at) => ({ hash: `${at}`.padStart(16, '0'), name: null }));
  writeHak(path, chunks, { time: false, sites: true, touch: true }, () =>
    originOf('generated', { has_sites: true, sites }),
  );
  return path;
}
