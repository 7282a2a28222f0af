/**
 * Random legal traces and settings for the model of glibc: sizes at every edge that malloc.c has, few of them again and
 * again, by one to three threads. fast-check draws intents; a fold makes them legal.
 */
import fc from 'fast-check';
import type { GlibcSettings } from '../sim/peers/glibc/settings.ts';
import type { TouchModel } from '../sim/spec.ts';
import { TraceBuilder } from '../traces/builder.ts';
import { type Chunk, limits, op } from '../traces/trace.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** Bytes live at once, at most: every page of them may be written. */
const live_bytes_max = 160 * MiB;

interface Intent {
  /** Below `malloc_share`, and so on: of a hundred. */
  readonly kind: number;
  /** Index of a familiar size, or one beyond for a size of its own. */
  readonly familiar: number;
  readonly size_bytes: number;
  readonly pick: number;
  readonly align: number;
  readonly thread: number;
  readonly touched_pages: number;
}

export interface GlibcCase {
  readonly settings: GlibcSettings;
  readonly touch: TouchModel;
  readonly threads: number;
  /** Blocks live at once, at most. */
  readonly live_max: number;
  /** Of a hundred events, how many would free. */
  readonly free_share: number;
  /** A free takes the youngest, the oldest, or any. */
  readonly order: 'youngest' | 'oldest' | 'any';
  /** Beyond this a size is taken modulo it. */
  readonly size_max: number;
  readonly familiar: readonly number[];
  readonly intents: readonly Intent[];
}

/**
 * Requests at which something changes: least chunk, fastbins (120, 152), tcache (1032), small bins (1000, 1016), steps of
 * the large bins, consolidation (64 KiB), default thresholds, a heap's first 32 KiB and whole 64 MiB, the dynamic limit.
 */
const edges = [
  ...[24, 40, 56, 88, 104, 120, 136, 152, 168, 504, 1000, 1016, 1032, 1048, 1064, 1080, 3064, 3128, 4088, 10_744],
  ...[
    11_256,
    32 * KiB,
    40 * KiB,
    45 * KiB,
    64 * KiB - 24,
    64 * KiB,
    128 * KiB - 24,
    128 * KiB - 8,
    128 * KiB,
    160 * KiB,
  ],
  ...[132 * KiB, 164 * KiB, 256 * KiB, 512 * KiB, 1 * MiB, 2 * MiB, 8 * MiB, 32 * MiB - 4096, 32 * MiB, 40 * MiB],
  ...[64 * MiB - 132 * KiB, 64 * MiB - 4096, 64 * MiB],
].flatMap((bytes) => [-16, -8, -1, 0, 1, 8].map((by) => bytes + by));

const anySize = fc.oneof(
  { arbitrary: fc.constantFrom(...edges), weight: 4 },
  { arbitrary: fc.integer({ min: 0, max: 200 }), weight: 3 },
  { arbitrary: fc.integer({ min: 0, max: 2000 }), weight: 3 },
  { arbitrary: fc.integer({ min: 1000, max: 70 * KiB }), weight: 3 },
  { arbitrary: fc.integer({ min: 60 * KiB, max: 400 * KiB }), weight: 2 },
  { arbitrary: fc.integer({ min: 1, max: 6 * MiB }), weight: 1 },
);

const anyIntent: fc.Arbitrary<Intent> = fc.record({
  kind: fc.nat(99),
  familiar: fc.nat(11),
  size_bytes: anySize,
  pick: fc.nat(4000),
  align: fc.constantFrom(8, 16, 32, 32, 64, 64, 256, 1024, 4 * KiB, 8 * KiB, 64 * KiB, 2 * MiB),
  thread: fc.nat(2),
  touched_pages: fc.constantFrom(limits.unknown, limits.unknown, 0, 0, 1, 2, 5, 33, 200),
});

const optional = (...values: readonly number[]) =>
  fc.oneof({ arbitrary: fc.constant(undefined), weight: 3 }, { arbitrary: fc.constantFrom(...values), weight: 1 });

export const anySettings: fc.Arbitrary<GlibcSettings> = fc
  .record({
    mmap_threshold: optional(1024, 4096, 16 * KiB, 65_536, 128 * KiB, 1 * MiB, 64 * MiB, 2 ** 40),
    trim_threshold: optional(0, 4096, 64 * KiB, 128 * KiB, 1 * MiB, 64 * MiB, 2 ** 40),
    top_pad: optional(0, 1, 4096, 64 * KiB, 128 * KiB, 1 * MiB, 10 * MiB + 5),
    mmap_max: optional(0, 1, 3, 65_536),
    arena_max: optional(1, 2, 3),
    tcache_count: optional(0, 1, 2, 7, 20, 200),
    tcache_max: optional(0, 24, 25, 100, 1000, 1032),
    mxfast: optional(0, 7, 8, 24, 64, 80, 159, 160),
  })
  .map(
    (drawn) =>
      Object.fromEntries(Object.entries(drawn).filter(([, value]) => value !== undefined)) as unknown as GlibcSettings,
  );

export const anyCase = (events_max: number): fc.Arbitrary<GlibcCase> =>
  fc.record({
    settings: fc.oneof(fc.constant({}), anySettings, anySettings),
    touch: fc.constantFrom<TouchModel>('none', 'first', 'recorded', 'recorded', 'page', 'all'),
    threads: fc.constantFrom(1, 1, 2, 3),
    live_max: fc.constantFrom(1, 3, 12, 60, 300, 1000),
    free_share: fc.constantFrom(10, 35, 45, 48),
    order: fc.constantFrom('youngest', 'oldest', 'any', 'any'),
    size_max: fc.constantFrom(200, 1100, 5000, 70 * KiB, 300 * KiB, 65 * MiB, 65 * MiB),
    familiar: fc.array(anySize, { minLength: 1, maxLength: 8 }),
    intents: fc.array(anyIntent, { minLength: 1, maxLength: events_max, size: 'max' }),
  });

/** The events of a case. Every thread's last one is a realloc that changes nothing, so that no thread ends before. */
export function chunksOf(drawn: GlibcCase): Chunk[] {
  const { settings, threads, live_max, free_share, order, size_max, familiar, intents } = drawn;
  // Where a mapping begins is the kernel's choice, and with it where an alignment beyond a page falls in it.
  const maps = settings.mmap_max !== 0 || size_max > 8 * MiB;
  const builder = new TraceBuilder(4096);
  const live: { name: number; bytes: number }[] = [];
  let live_bytes = 0;
  let next_name = 1;
  const met = new Set([0]);
  builder.allocate(op.malloc, 0, 24);
  for (const intent of intents) {
    const wanted = familiar[intent.familiar] ?? intent.size_bytes;
    const size_bytes = wanted <= size_max ? wanted : wanted % size_max;
    const thread = intent.thread % threads;
    met.add(thread);
    const touched_pages =
      intent.touched_pages === limits.unknown
        ? limits.unknown
        : Math.min(intent.touched_pages, Math.ceil(size_bytes / 4096));
    const at = order === 'any' ? intent.pick % Math.max(1, live.length) : order === 'youngest' ? live.length - 1 : 0;
    const full = live.length >= live_max || live_bytes + size_bytes > live_bytes_max;
    if (live.length > 0 && (full || intent.kind < free_share)) {
      live_bytes -= live[at].bytes;
      builder.free(live[at].name, { thread });
      live.splice(at, 1);
    } else if (live.length > 0 && size_bytes > 0 && intent.kind < free_share + 8) {
      live_bytes += size_bytes - live[at].bytes;
      live[at].bytes = size_bytes;
      builder.reallocate(live[at].name, live[at].name, size_bytes, { thread, touched_pages });
    } else {
      const kind = intent.kind < free_share + 14 ? op.calloc : intent.kind < free_share + 20 ? op.aligned : op.malloc;
      const align = maps ? Math.min(intent.align, 4 * KiB) : intent.align;
      builder.allocate(kind, next_name, size_bytes, { thread, touched_pages, align });
      live.push({ name: next_name, bytes: size_bytes });
      live_bytes += size_bytes;
      next_name += 1;
    }
  }
  // Twice, so that every thread has its arena before the first one ends and leaves its own to the next.
  const closing = [...met].sort((one, other) => other - one);
  for (const thread of [...closing, ...closing]) builder.reallocate(0, 0, 24, { thread, touched_pages: 0 });
  return [...builder.drain(), ...builder.finish()];
}
