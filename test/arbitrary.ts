/**
 * Random legal traces and configurations, from the spec: sizes at every boundary, one byte less and one byte more.
 * fast-check draws intents; a fold makes them legal, so that nothing is ever thrown away and shrinking keeps working.
 */
import fc from 'fast-check';
import { configOf } from '../sim/config.ts';
import {
  boundaries_bytes,
  type Config,
  default_profile,
  defaults,
  enums,
  type KernelProfile,
  type Param,
  type ParamName,
  param_names,
  params,
  type TouchModel,
} from '../sim/spec.ts';
import { TraceBuilder } from '../traces/builder.ts';
import { type Chunk, copyChunk, limits, op } from '../traces/trace.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

/** What a program would like to do next. */
export interface Intent {
  /** Kinds as in `op`; a free or realloc while nothing is live becomes a malloc. */
  readonly kind: number;
  readonly size_bytes: number;
  /** Which live block, counted modulo how many there are. */
  readonly pick: number;
  readonly align: number;
  readonly site: number;
  readonly touched_pages: number;
}

/** Blocks live at once, at most: an intent beyond frees one. */
export const live_max = 24;
/** Bytes live at once, at most, so that a real kernel is not asked for more than there is. */
const live_bytes_max = 192 * MiB;

/** The events of `intents`, legal: in chunks of `chunk_events`. */
export function legalTrace(intents: readonly Intent[], chunk_events = 4096): Chunk[] {
  const builder = new TraceBuilder(chunk_events);
  const live: { name: number; bytes: number }[] = [];
  const chunks: Chunk[] = [];
  let live_bytes = 0;
  let next_name = 0;
  for (const { kind, size_bytes, pick, align, site, touched_pages: touched } of intents) {
    const touched_pages = touched === limits.unknown ? touched : Math.min(touched, Math.ceil(size_bytes / 4096));
    const at = live.length > 0 ? pick % live.length : 0;
    const full = live.length >= live_max || live_bytes + size_bytes > live_bytes_max;
    if (live.length > 0 && (kind === op.free || full)) {
      live_bytes -= live[at].bytes;
      builder.free(live[at].name);
      live.splice(at, 1);
    } else if (live.length > 0 && kind === op.realloc) {
      const bytes = Math.max(1, size_bytes);
      live_bytes += bytes - live[at].bytes;
      live[at].bytes = bytes;
      builder.reallocate(live[at].name, live[at].name, bytes, { site, touched_pages });
    } else {
      const malloc = kind === op.free || kind === op.realloc;
      builder.allocate(malloc ? op.malloc : kind, next_name, size_bytes, { align, site, touched_pages });
      live.push({ name: next_name, bytes: size_bytes });
      live_bytes += size_bytes;
      next_name += 1;
    }
    chunks.push(...builder.drain().map(copyChunk));
  }
  return [...chunks, ...builder.finish()];
}

const edge = fc
  .tuple(fc.constantFrom(...boundaries_bytes.filter((bytes) => bytes <= 32 * MiB)), fc.constantFrom(-1, 0, 1))
  .map(([bytes, by]) => bytes + by);

/** Few sizes come again and again: that is what caches live on. */
const familiar = fc.constantFrom(600 * KiB, 1 * MiB, 1 * MiB + 4096, 1500 * KiB, 2 * MiB, 3 * MiB, 5 * MiB);

export const anySize: fc.Arbitrary<number> = fc.oneof(
  { arbitrary: familiar, weight: 4 },
  { arbitrary: edge, weight: 4 },
  { arbitrary: fc.integer({ min: 1, max: 6 * MiB }), weight: 3 },
  { arbitrary: fc.integer({ min: 0, max: 64 * KiB }), weight: 1 },
);

const anyTouched = fc.oneof(fc.constantFrom(limits.unknown, 0, 1, 256, 512, 513), fc.integer({ min: 0, max: 1500 }));

export const anyIntent: fc.Arbitrary<Intent> = fc.record({
  kind: fc.constantFrom(op.malloc, op.malloc, op.malloc, op.calloc, op.aligned, op.realloc, op.free, op.free, op.free),
  size_bytes: anySize,
  pick: fc.nat(1000),
  align: fc.constantFrom(16, 64, 4 * KiB, 8 * KiB, 64 * KiB, 2 * MiB, 4 * MiB),
  site: fc.constantFrom(0, 1, 2, 7),
  touched_pages: anyTouched,
});

export const anyIntents: fc.Arbitrary<Intent[]> = fc.array(anyIntent, { maxLength: 120, size: 'max' });

/** Any value of a parameter that can matter to a short trace; the bugs of the original stay off. */
function anyValue(name: ParamName): fc.Arbitrary<number> {
  const { unit, value, min, max }: Param = params[name];
  if (name.startsWith('legacy_')) return fc.constant(0);
  if (name === 'bigcache_slots') return fc.constantFrom(1, 2, 8, 64);
  if (name === 'bigcache_ways') return fc.integer({ min: 1, max: 5 });
  if (name === 'batch_blocks_max') return fc.constantFrom(1, 2, 3, 8, 64);
  if (name === 'checkpoint_events') return fc.integer({ min: 1, max: 50 });
  // Rarely so small that it is exhausted.
  // Short traces have windows too.
  if (name === 'window_events') return fc.constantFrom(value, 1, 5, 20);
  if (name === 'window_samples') return fc.constantFrom(value, 1, 3);
  if (name === 'elo_survive_games') return fc.constantFrom(value, 1, 11);
  if (name === 'canary_samples' || name === 'canary_windows_max') return fc.integer({ min: 1, max: 3 });
  if (name === 'freeze_stable_windows' || name === 'relearn_windows') return fc.integer({ min: 1, max: 3 });
  if (name === 'freeze_after_windows' || name === 'ucb1_cooldown_windows') return fc.constantFrom(value, 0, 3);
  if (name === 'ucb1_hysteresis_windows' || name === 'halving_windows') return fc.integer({ min: 1, max: 2 });
  if (name === 'explore_permille' || name === 'canary_permille') return fc.constantFrom(value, 1, 500, 1000);
  if (name === 'elo_k') return fc.constantFrom(value, 1, 256);
  if (unit === 'permille') return fc.constantFrom(value, 0, 50, max);
  if (name === 'region_bytes') return fc.constantFrom(value, value, value, value, 1024 * MiB, 64 * MiB);
  if (name === 'batch_flush_bytes') return fc.constantFrom(value, 1, 2 * MiB, 5 * MiB, 64 * MiB);
  if (name === 'kept_bytes_max') return fc.constantFrom(value, 0, 1 * MiB, 3 * MiB, 8 * MiB, 2 ** 47);
  if (name === 'mmap_threshold_bytes') return fc.constantFrom(0, 0, 0, 1, 4096, 128 * KiB, 1 * MiB, 2 * MiB);
  if (unit === 'bytes')
    return fc.oneof(fc.constant(value), edge, edge).map((bytes) => Math.min(max, Math.max(min, bytes)));
  if (unit === 'flag' || unit === 'word' || max <= 16) return fc.oneof(fc.constant(value), fc.integer({ min, max }));
  return fc.constant(value);
}

export const anyConfig: fc.Arbitrary<Config> = fc
  .record(
    Object.fromEntries(param_names.map((name) => [name, anyValue(name)])) as Record<ParamName, fc.Arbitrary<number>>,
  )
  .map((drawn) =>
    configOf('BALANCED', {
      ...drawn,
      warm_from_bytes: Math.min(drawn.warm_from_bytes, drawn.cold_from_bytes),
      region_bytes: drawn.region_bytes - (drawn.region_bytes % (2 * MiB)),
    }),
  );

/** `anyConfig`, or the defaults: what most people run. */
export const anyUsualConfig: fc.Arbitrary<Config> = fc.oneof(fc.constant(configOf('BALANCED', {})), anyConfig);

export const anyTouch: fc.Arbitrary<TouchModel> = fc.constantFrom(...enums.touch);

/** Every yes or no of a profile, drawn; a kernel without process_madvise is not modelled. */
export const anyProfile: fc.Arbitrary<KernelProfile> = fc
  .record({
    thp_kernel: fc.constantFrom(...enums.thp_kernel),
    huge_zero_write: fc.constantFrom(...enums.huge_zero_write),
    flags: fc.record(
      Object.fromEntries(
        Object.entries(default_profile)
          .filter(([name, value]) => typeof value === 'boolean' && name !== 'process_madvise')
          .map(([name]) => [name, fc.boolean()]),
      ),
    ),
  })
  .map(({ flags, ...words }) => ({ ...default_profile, ...words, ...flags }));

/** A configuration that says only what is not the default, for messages. */
export function unusual(config: Config): Partial<Config> {
  return Object.fromEntries(
    param_names.filter((name) => config[name] !== defaults[name]).map((name) => [name, config[name]]),
  );
}
