/**
 * The spec: every number with a meaning, once. `npm run gen` writes native/core/spec.gen.h from it; a test regenerates
 * and compares, and both native programs carry its fingerprint.
 *
 * Decisions use integers, so that TypeScript and C agree to the last bit.
 */
const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export type Unit = 'bytes' | 'events' | 'blocks' | 'count' | 'permille' | 'flag' | 'word';

export interface Param {
  readonly unit: Unit;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  /** The words of a `word` parameter; its value is an index into them. */
  readonly words?: readonly string[];
  readonly why: string;
}

/** Swept at run time: a field of `Config` here and of `hak_config` in C, in this order. */
export const params = {
  mmap_threshold_bytes: param('bytes', 0, 0, 2 ** 47, 'blocks from here on are mapped; 0 lets the strategy decide'),
  strategy_set: word(['geometric', 'public'], 'geometric', 'the list of thresholds that strategies stand for'),
  strategy: param('count', 0, 0, 11, 'the strategy in use while nothing is learned; 0 has the smallest threshold'),
  lifecycle: word(
    ['off', 'learn', 'frozen', 'auto'],
    'off',
    'off, frozen: the fixed strategy; learn: for ever; auto: LEARN, FROZEN, CANARY',
  ),
  learner: word(['elo', 'ucb1', 'epsilon', 'halving'], 'elo', 'what chooses the strategy of the next window'),
  rating: word(
    ['paired', 'classic'],
    'paired',
    'paired: a window tells what each strategy would have cost; classic: only the one that acted',
  ),
  window_events: param('events', 10_000, 1, 2 ** 32, 'a window is at least this long'),
  window_samples: param('count', 50, 1, 2 ** 20, 'and has at least this many allocations that some strategy maps'),
  switch_releases: flag(1, 'a new strategy gives back the free blocks that nothing it maps can use'),
  explore_permille: param('permille', 100, 0, 1000, 'windows in which elo and epsilon try a strategy at random'),
  elo_k: param('count', 32, 1, 256, 'points that a match of equals moves, twice over'),
  elo_survivors: param('count', 6, 1, 12, 'strategies that elo keeps, and all that may still be the best'),
  elo_survive_games: param('count', 50, 1, 2 ** 20, 'matches of each strategy before elo drops any'),
  halving_windows: param('count', 3, 1, 2 ** 16, 'windows of a round of halving'),
  ucb1_hysteresis_permille: param(
    'permille',
    80,
    0,
    1000,
    'ucb1 moves a site only where another step is better by this',
  ),
  ucb1_hysteresis_windows: param('count', 3, 1, 1000, 'in so many windows on end'),
  ucb1_cooldown_windows: param('count', 90, 0, 2 ** 20, 'and leaves it alone for so long; 180 s of 2 s windows'),
  rules: word(
    ['paired', 'classic'],
    'paired',
    'paired: freezes and relearns on evidence; classic, and always with rating=classic: on p99 and elapsed windows',
  ),
  quantile: word(['histogram', 'p2'], 'histogram', 'what estimates the p99 of a window'),
  freeze_stable_windows: param('count', 3, 1, 1000, 'windows in which nothing changed before LEARN ends'),
  freeze_after_windows: param('count', 90, 0, 2 ** 20, 'classic: LEARN takes at least so long; 180 s of 2 s windows'),
  freeze_p99_permille: param('permille', 10, 0, 1000, 'classic: a p99 that moved less has not changed'),
  equivalence_permille: param('permille', 10, 0, 1000, 'paired: costs surely within this are as good as equal'),
  drift_permille: param('permille', 250, 0, 2000, 'L1 distance of two signatures that is a drift'),
  relearn_p99_permille: param('permille', 200, 0, 10_000, 'classic: a p99 worse by this'),
  relearn_windows: param('count', 3, 1, 1000, 'in so many windows on end leaves FROZEN'),
  canary_permille: param('permille', 50, 1, 1000, 'samples that the candidate decides in CANARY'),
  canary_samples: param('count', 100, 1, 2 ** 20, 'samples of the candidate before a verdict'),
  canary_windows_max: param('count', 10, 1, 1000, 'windows without a verdict before CANARY is rolled back'),
  bigcache: flag(1, 'keep freed blocks by (site, size class)'),
  bigcache_slots: param('count', 64, 1, 4096, 'site slots of BigCache, a power of two; sites share them by hash'),
  bigcache_ways: param('blocks', 4, 1, 64, 'blocks one (site, class) keeps; the oldest gives way'),
  bigcache_site_keyed: flag(1, 'off: all sites share one slot'),
  bigcache_direct: flag(1, 'find a site slot by its hash; off: search the slots one by one'),
  bigcache_round: flag(1, 'round a request up to its class; off: put floors, get probes two classes'),
  bigcache_from_bytes: param(
    'bytes',
    512 * KiB,
    1,
    8 * MiB,
    'smaller requests bypass BigCache: rounding at most doubles',
  ),
  thermal: flag(1, 'hot, warm, cold frees; off: every free unmaps'),
  warm_from_bytes: param('bytes', 1 * MiB, 1, 2 ** 47, 'a free from here on is MADV_FREEd'),
  cold_from_bytes: param('bytes', 2 * MiB, 1, 2 ** 47, 'a free from here on joins the batch'),
  batch: flag(1, 'collect cold frees; off: MADV_DONTNEED at once'),
  batch_blocks_max: param('blocks', 64, 1, 256, 'the batch is flushed when it holds this many blocks'),
  batch_flush_bytes: param('bytes', 16 * MiB, 1, 2 ** 47, 'the batch is flushed when it holds this much'),
  batch_vectored: flag(0, 'one process_madvise a flush instead of one madvise a range'),
  kept_bytes_max: param('bytes', 64 * MiB, 0, 2 ** 47, 'kept blocks beyond this are unmapped, oldest first'),
  thp_policy: word(['off', 'on', 'auto'], 'auto', 'huge pages for no block, every block, or large blocks'),
  thp_advice: flag(1, 'whether thp_policy=off says MADV_NOHUGEPAGE; without it, nothing is said'),
  thp_from_bytes: param('bytes', 2 * MiB, 1, 2 ** 47, 'thp_policy=auto asks for huge pages from here on'),
  checkpoint_events: param('events', 4096, 1, 2 ** 32, 'residency is read every so many events, and at the end'),
  region_bytes: param('bytes', 1024 * GiB, 4 * MiB, 4096 * GiB, 'address space that blocks are placed in'),
  legacy_order: flag(0, 'bug of the original: the old policy decides before the strategy is asked'),
  legacy_eviction_frees: flag(0, 'bug of the original: BigCache unmaps what it evicts instead of batching it'),
  legacy_undersized: flag(0, 'bug of the original: BigCache does not compare the size of what it returns'),
  legacy_stale_advice: flag(0, 'bug of the original: a batched range is unmapped while it waits'),
  legacy_unrated: flag(0, 'bug of the original: windows close and nothing is rated; every strategy stays at 1500'),
  legacy_header: flag(0, 'the original kept metadata in a page before the block'),
} as const satisfies Record<string, Param>;

export type ParamName = keyof typeof params;
/** A value for every parameter, as numbers: flags are 0 or 1, words are indexes. */
export type Config = { readonly [name in ParamName]: number };
export const param_names = Object.keys(params) as ParamName[];

/** Fixed at build time: array bounds and tables that both halves compile in. */
export const shape = {
  page_bytes: 4 * KiB,
  window_pages: 512,
  strategies: 12,
  bigcache_classes: 4,
  bigcache_class_bytes: [1 * MiB, 2 * MiB, 4 * MiB, 8 * MiB],
  /** Without rounding, blocks from here on are not cached. */
  bigcache_floor_below_bytes: 16 * MiB,
  /** 512 KiB to 32 MiB in geometric progression, ratio 64^(1/11), rounded to whole pages. */
  strategy_geometric_bytes: Array.from(
    { length: 12 },
    (_, at) => Math.round((512 * KiB * 2 ** ((6 * at) / 11)) / (4 * KiB)) * 4 * KiB,
  ),
  /** The list that the original started from. */
  strategy_public_bytes: [0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32].map((mib) => mib * MiB),
  /** A moving realloc is avoided while the block fits and fills at least one part in so many of its mapping. */
  realloc_fill_divisor: 2,
  /** Guard gaps at both ends of the region. */
  guard_bytes: 2 * MiB,
  /** glibc 2.36 on 64 bits: bytes of a chunk's header, its alignment and least size. */
  heap_header_bytes: 8,
  heap_align_bytes: 16,
  heap_chunk_min_bytes: 32,
  /** What hak-replay pins in the C library, so that it grows by brk alone and never shrinks. */
  heap_top_pad_bytes: 64 * MiB,
  /** The most blocks a batch can be told to hold. */
  batch_index_max: 256,
  /** process_madvise takes at most this many ranges here. */
  vectored_ranges_max: 64,
  /** Latency histogram: 2^5 buckets an octave, error at most 1/64. */
  histogram_sub_bits: 5,
  histogram_buckets: 1568,
  /** Ratings are whole numbers of 2^-16 points, so that their sum is conserved to the last bit. */
  elo_start: 1500,
  elo_unit: 65536,
  /** Beyond this difference in points the expected score stays what it is. */
  elo_reach: 800,
  /** Expected score of the stronger's opponent, in 2^-16, by whole points of difference: 1 / (1 + 10^(d / 400)). */
  elo_expected16: Array.from({ length: 801 }, (_, points) => Math.round(65536 / (1 + 10 ** (points / 400)))),
  /** Costs within one part in so many are a draw. */
  elo_draw_divisor: 1000,
  /** Thresholds that UCB1 of the original's phases 1 to 5 chooses among, for each call site. */
  ucb1_steps: 6,
  ucb1_step_bytes: [64, 128, 256, 512, 1024, 2048].map((kib) => kib * KiB),
  /** Site slots of UCB1, a power of two; sites share them by hash. */
  ucb1_sites: 64,
  /** Signature of sizes: four classes an octave, from 64 KiB on, eleven octaves. */
  signature_classes: 44,
  signature_from_bytes: 64 * KiB,
  /** Samples that each signature needs for every class in use before two are compared. */
  signature_samples_a_class: 100,
  /** Quantiles of Student's t, two-sided 99 %, by degrees of freedom from 1; beyond, the normal one. */
  t99: [
    63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.25, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947, 2.921,
    2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.75,
  ],
  t99_normal: 2.576,
  /** One-sided 99 % and 99.9 % points of z, squared: a canary is worse, a frozen strategy has become slow. */
  z99_squared: 5.41,
  z999_squared: 9.55,
  /** A sample is slow where its price is above this quantile at the freeze, in permyriad. */
  slow_permyriad: 9500,
  /** Bins of free blocks that the ledger keeps for each strategy: BigCache's classes, then page counts by hash. */
  ledger_bins: 64,
  /** Composite score: shares of CPU, faults and memory. */
  score_cpu: 0.4,
  score_faults: 0.3,
  score_memory: 0.3,
} as const;

/** Orders shared with C. */
export const enums = {
  /** Where an allocation was served from, or where a free went to. */
  route: [
    'none',
    'heap',
    'cache',
    'batch',
    'kept',
    'map',
    'in_place',
    'free_heap',
    'free_cache',
    'free_hot',
    'free_warm',
    'free_cold',
    'free_unmap',
  ],
  /** What was done to the kernel's view, in order. */
  action: [
    'map',
    'unmap',
    'hugepage',
    'nohugepage',
    'dontneed',
    'free',
    'process_madvise',
    'touch',
    'zero',
    'read',
    'evict',
    'withdraw',
  ],
  thermal: ['hot', 'warm', 'cold'],
  touch: ['none', 'first', 'page', 'all', 'recorded'],
  thp_kernel: ['never', 'madvise', 'always'],
  huge_zero_write: ['split', 'huge'],
  /** The ways in which a replay can catch itself breaking a rule. */
  /** Of learning; off and frozen configurations stay in theirs. */
  lifecycle_state: ['OFF', 'LEARN', 'FROZEN', 'CANARY'],
  violation: ['none', 'undersized', 'unmapped_advice', 'live_advice', 'region_exhausted', 'contents', 'kernel'],
} as const;

export type TouchModel = (typeof enums.touch)[number];

/** Nominal prices in integer nanoseconds; `--prices FILE` replaces them. Sources: docs/METHOD.md, "Nominal prices". */
export const prices = {
  heap_call_ns: 20,
  lookup_ns: 30,
  probe_ns: 1,
  mmap_ns: 1400,
  munmap_ns: 1600,
  madvise_ns: 1100,
  process_madvise_ns: 1500,
  advise_huge_ns: 1900,
  release_page_ns: 180,
  lazy_free_page_ns: 190,
  release_huge_ns: 6300,
  fault_ns: 1360,
  zero_fault_ns: 820,
  huge_fault_ns: 93000,
  fill_page_ns: 150,
} as const;

export type PriceName = keyof typeof prices;
export type Prices = { readonly [name in PriceName]: number };

/** What of the kernel decides counts; `hak-replay --probe` fills it in. */
export interface KernelProfile {
  readonly page_bytes: number;
  readonly thp_kernel: (typeof enums.thp_kernel)[number];
  /** MADV_DONTNEED of a whole window gives its page table back (6.14 and later). */
  readonly pt_reclaim: boolean;
  /** A write to the huge zero page yields a huge page (6.13 and later), or splits it. */
  readonly huge_zero_write: (typeof enums.huge_zero_write)[number];
  /** A read of a page never touched maps the shared zero page; where that is forbidden, it gets a page of its own. */
  readonly read_maps_zero: boolean;
  /** Splitting a huge page maps those of its pages that hold only zeroes to the zero page (6.12 and later). */
  readonly split_maps_zero: boolean;
  readonly process_madvise: boolean;
}

/** A recent kernel on x86-64 with THP on request: used where no kernel can be probed. */
export const default_profile: KernelProfile = {
  page_bytes: 4096,
  thp_kernel: 'madvise',
  pt_reclaim: true,
  huge_zero_write: 'huge',
  read_maps_zero: true,
  split_maps_zero: true,
  process_madvise: true,
};

/** Modes are rows over params; what a row does not name keeps its default. */
export const modes = {
  MINIMAL: row({ bigcache: 'off', batch: 'off', thermal: 'off', thp_policy: 'off', thp_advice: 'off' }),
  FAST: row({ thp_policy: 'auto', lifecycle: 'frozen' }),
  BALANCED: row({ thp_policy: 'auto', lifecycle: 'frozen' }),
  LEARNING: row({ thp_policy: 'auto', lifecycle: 'learn' }),
  RESEARCH: row({ thp_policy: 'on', lifecycle: 'learn' }),
} as const satisfies Record<string, Partial<Config>>;

export type Mode = keyof typeof modes;
export const mode_names = Object.keys(modes) as Mode[];

/**
 * When a feature that is on has work to do: rules on the trace and the configuration alone, evaluated by
 * sim/liveness.ts without the code that acts. A feature with eligible events and no action fails the run by name.
 */
export const features = {
  mapping: 'an allocation at or above every threshold that may be in force',
  bigcache: 'an allocation whose site slot and class saw a free of that class that no later allocation used up',
  batch: 'a cold free of a mapped block that BigCache does not take or evicts',
  hot: 'a hot free of a mapped block that BigCache does not take or evicts',
  warm: 'a warm free of a mapped block that BigCache does not take or evicts',
  kept: 'an allocation of as many pages as an uncached block freed before, with at most kept_bytes_max freed between',
  thp: 'a block mapped at a size for which thp_policy asks for huge pages',
  learning: 'a window that closed, in LEARN from the start',
} as const;

export type Feature = keyof typeof features;

/** Every size at which some rule changes its answer: what edge traces straddle. */
export const boundaries_bytes: readonly number[] = [
  ...new Set([
    shape.page_bytes,
    ...shape.strategy_geometric_bytes,
    ...shape.strategy_public_bytes,
    ...shape.bigcache_class_bytes,
    shape.bigcache_floor_below_bytes,
    ...Object.values(params)
      .filter((each) => each.unit === 'bytes' && each.value > 0 && each.value <= 64 * MiB)
      .map((each) => each.value),
  ]),
].sort((a, b) => a - b);

export const defaults: Config = Object.fromEntries(
  Object.entries(params).map(([name, { value }]) => [name, value]),
) as Config;

function param(unit: Unit, value: number, min: number, max: number, why: string): Param {
  return { unit, value, min, max, why };
}

function flag(value: 0 | 1, why: string): Param {
  return { unit: 'flag', value, min: 0, max: 1, why };
}

function word(words: readonly string[], value: string, why: string): Param {
  return { unit: 'word', value: words.indexOf(value), min: 0, max: words.length - 1, words, why };
}

/** Settings in words, as a mode's row has them. */
function row(settings: { readonly [name in ParamName]?: string }): Partial<Config> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, text]) => {
      const { words }: Param = params[name as ParamName];
      return [name, (words ?? ['off', 'on']).indexOf(text)];
    }),
  );
}
