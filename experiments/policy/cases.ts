/**
 * What a policy is checked on: small traces in which many windows close, and configurations under which learning freezes,
 * wakes and learns anew within them. fast-check draws phases of intents; a fold makes them a legal trace, so that nothing is
 * thrown away and shrinking keeps working.
 */
import fc from 'fast-check';
import { type Config, configOf, params, shape, type TouchModel } from '../../sim/index.ts';
import { type Chunk, copyChunk, limits, op, TraceBuilder } from '../../traces/index.ts';

export interface Case {
  readonly chunks: readonly Chunk[];
  readonly config: Config;
  readonly touch: TouchModel;
  /** Of the run. */
  readonly seed: number;
}

/** What a program would like to do next. */
interface Intent {
  /** As in `op`; a free or realloc while nothing is live becomes a malloc. */
  readonly kind: number;
  readonly size_bytes: number;
  /** Which live block, modulo how many there are. */
  readonly pick: number;
  readonly align: number;
  readonly site: number;
  readonly touched_pages: number;
}

/** Intents that a program repeats. */
interface Phase {
  readonly times: number;
  readonly intents: readonly Intent[];
}

const KiB = 1024;
const MiB = 1024 * KiB;
const live_max = 24;
const live_bytes_max = 256 * MiB;
/** Enough for a signature of sizes to drift, twice. */
const events_max = 3600;
const unknown = limits.unknown;

/** Cases over `arms_bytes`; `fixed` is set over what is drawn. */
export function anyCase(arms_bytes: readonly number[], fixed: Partial<Config>): fc.Arbitrary<Case> {
  const phased = fc.record({ phases: anyPhases(arms_bytes), waking: fc.constant({}) });
  // A counter-example that does not need it shrinks to none.
  const waking = fc.option(anyWaking, { nil: {}, freq: 20 });
  const drifting = fc.record({ phases: anyDrift(arms_bytes), waking });
  return fc
    .record({
      course: fc.oneof({ arbitrary: phased, weight: 4 }, { arbitrary: drifting, weight: 1 }),
      settings: anySettings,
      touch: fc.constantFrom<TouchModel>('page', 'none', 'first', 'recorded', 'all'),
      seed: fc.integer({ min: 1, max: 1_000_000 }),
    })
    .map(({ course, settings, touch, seed }) => ({
      chunks: legalTrace(course.phases),
      config: configOf('BALANCED', { ...settings, ...course.waking, ...fixed }),
      touch,
      seed,
    }));
}

function anyPhases(arms_bytes: readonly number[]): fc.Arbitrary<Phase[]> {
  const phase = fc.record({
    times: fc.oneof(
      { arbitrary: fc.constant(1), weight: 2 },
      { arbitrary: fc.integer({ min: 1, max: 20 }), weight: 1 },
    ),
    intents: fc.array(anyIntent(arms_bytes), { minLength: 1, maxLength: 16 }),
  });
  return fc.array(phase, { minLength: 1, maxLength: 8, size: 'max' });
}

/** One size again and again, then another: what wakes a frozen policy. */
function anyDrift(arms_bytes: readonly number[]): fc.Arbitrary<Phase[]> {
  // An octave apart and more, so that signatures tell them apart.
  const sizes = [0, 1, 2, 3, 4, 6].map((octaves) => arms_bytes[0] * 2 ** octaves);
  const phase = fc.tuple(fc.constantFrom(...sizes), anyRepeats).map(([size_bytes, times]) => ({
    times,
    intents: [op.malloc, op.free].map((kind) => ({
      kind,
      size_bytes,
      pick: 0,
      align: 16,
      site: 0,
      touched_pages: unknown,
    })),
  }));
  return fc.array(phase, { minLength: 1, maxLength: 6, size: 'max' });
}

/** Mostly enough for a signature, and a counter-example finds the least that will do. */
const anyRepeats = fc
  .noBias(fc.integer({ min: 0, max: 500 }))
  .map((drawn) => 1 + (drawn < 100 ? 2 * drawn : 150 + Math.floor(drawn / 2)));

function anyIntent(arms_bytes: readonly number[]): fc.Arbitrary<Intent> {
  return fc.record({
    kind: fc.constantFrom(op.malloc, op.malloc, op.malloc, op.free, op.free, op.realloc, op.calloc, op.aligned),
    size_bytes: anySize(arms_bytes),
    pick: fc.nat(1000),
    align: fc.constantFrom(16, 4 * KiB, 64 * KiB),
    site: fc.constantFrom(0, 1, 2, 7),
    touched_pages: fc.constantFrom(unknown, 0, 1, 300, 600),
  });
}

/** At each threshold, one byte less and one more; few sizes come often, for caches live on them. */
function anySize(arms_bytes: readonly number[]): fc.Arbitrary<number> {
  const edges = [
    ...arms_bytes.filter((bytes, arm) => arm === 0 || bytes <= 32 * MiB),
    ...shape.bigcache_class_bytes,
    params.warm_from_bytes.value,
    params.cold_from_bytes.value,
  ];
  const usual = [arms_bytes[Math.floor(arms_bytes.length / 2)], 1 * MiB, 3 * MiB].map((each) =>
    Math.min(each, Math.max(32 * MiB, arms_bytes[0])),
  );
  return fc.oneof(
    { arbitrary: fc.constantFrom(...usual), weight: 3 },
    {
      arbitrary: fc.tuple(fc.constantFrom(...edges), fc.constantFrom(0, -1, 1)).map(([bytes, by]) => bytes + by),
      weight: 4,
    },
    { arbitrary: fc.integer({ min: 1, max: 8 * MiB }), weight: 1 },
  );
}

/** The first of each is what a counter-example shrinks to. */
const anySettings: fc.Arbitrary<Partial<Config>> = fc.record({
  lifecycle: fc.constantFrom(...['learn', 'auto', 'auto'].map((word) => params.lifecycle.words!.indexOf(word))),
  strategy_set: fc.constantFrom(0, 1),
  rating: fc.constantFrom(0, 1),
  rules: fc.constantFrom(0, 1),
  quantile: fc.constantFrom(0, 1),
  window_events: fc.constantFrom(1, 5, 20),
  window_samples: fc.constantFrom(1, 3, 10, 70),
  switch_releases: fc.constantFrom(1, 0),
  explore_permille: fc.constantFrom(100, 0, 500, 1000),
  elo_k: fc.constantFrom(32, 1, 256),
  elo_survivors: fc.constantFrom(6, 1, 2),
  elo_survive_games: fc.constantFrom(50, 1, 11),
  halving_windows: fc.constantFrom(3, 1, 2),
  ucb1_hysteresis_permille: fc.constantFrom(80, 0),
  ucb1_hysteresis_windows: fc.constantFrom(3, 1),
  ucb1_cooldown_windows: fc.constantFrom(90, 0, 3),
  freeze_stable_windows: fc.constantFrom(3, 1, 1, 2),
  freeze_after_windows: fc.constantFrom(90, 0, 0, 3),
  freeze_p99_permille: fc.constantFrom(10, 1000, 1000),
  equivalence_permille: fc.constantFrom(10, 1000, 1000),
  drift_permille: fc.constantFrom(250, 50),
  relearn_p99_permille: fc.constantFrom(200, 0, 0),
  relearn_windows: fc.constantFrom(3, 1, 1),
  canary_permille: fc.constantFrom(50, 500, 1000),
  canary_samples: fc.constantFrom(1, 3, 10),
  canary_windows_max: fc.constantFrom(10, 1, 3),
  bigcache: fc.constantFrom(1, 0),
  bigcache_ways: fc.constantFrom(4, 1),
  thermal: fc.constantFrom(1, 1, 0),
  batch: fc.constantFrom(1, 0),
  batch_blocks_max: fc.constantFrom(64, 1, 3),
  kept_bytes_max: fc.constantFrom(64 * MiB, 0, 3 * MiB),
  thp_policy: fc.constantFrom(...['auto', 'off', 'on'].map((word) => params.thp_policy.words!.indexOf(word))),
  checkpoint_events: fc.constantFrom(4096, 7),
});

/** Freezes early, and stays on trial long enough to see the next drift. */
const anyWaking: fc.Arbitrary<Partial<Config>> = fc.record({
  lifecycle: fc.constant(params.lifecycle.words!.indexOf('auto')),
  window_samples: fc.constantFrom(70, 70, 70, 20),
  equivalence_permille: fc.constant(1000),
  freeze_stable_windows: fc.constantFrom(3, 2),
  freeze_after_windows: fc.constant(3),
  freeze_p99_permille: fc.constant(1000),
  canary_permille: fc.constantFrom(50, 500),
  canary_samples: fc.constantFrom(100, 100, 10),
  canary_windows_max: fc.constantFrom(10, 10, 3),
});

/** The events of the phases, legal. */
function legalTrace(phases: readonly Phase[]): Chunk[] {
  const builder = new TraceBuilder(256);
  const live: { name: number; bytes: number }[] = [];
  const chunks: Chunk[] = [];
  let live_bytes = 0;
  let next_name = 0;
  const follow = ({ kind, size_bytes, pick, align, site, touched_pages: touched }: Intent): void => {
    const touched_pages = touched === unknown ? touched : Math.min(touched, Math.ceil(size_bytes / shape.page_bytes));
    const at = live.length > 0 ? pick % live.length : 0;
    const full = live.length >= live_max || live_bytes + size_bytes > live_bytes_max;
    if (live.length > 0 && (kind === op.free || full)) {
      live_bytes -= live[at].bytes;
      builder.free(live[at].name);
      live.splice(at, 1);
    } else if (live.length > 0 && kind === op.realloc) {
      live_bytes += size_bytes - live[at].bytes;
      live[at].bytes = size_bytes;
      builder.reallocate(live[at].name, live[at].name, size_bytes, { site, touched_pages });
    } else {
      const malloc = kind === op.free || kind === op.realloc;
      builder.allocate(malloc ? op.malloc : kind, next_name, size_bytes, { align, site, touched_pages });
      live.push({ name: next_name, bytes: size_bytes });
      live_bytes += size_bytes;
      next_name += 1;
    }
  };
  for (const { times, intents } of phases)
    for (let time = 0; time < times; time += 1)
      for (const intent of intents) {
        if (builder.events >= events_max) break;
        follow(intent);
        chunks.push(...builder.drain().map(copyChunk));
      }
  return [...chunks, ...builder.finish()];
}
