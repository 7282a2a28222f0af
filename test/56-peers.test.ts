/** The models of jemalloc and mimalloc: what sequences come to, what always holds, and what the real libraries do. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  comparePeer,
  difference,
  type EventClock,
  makeEventClock,
  type PeerComparison,
} from '../experiments/verify/peer-check.ts';
import { peer_settings } from '../experiments/verify/peer-settings.ts';
import { type AllocatorName, allocators, installLine, libraryOf } from '../native/allocators.ts';
import { replayerTrouble } from '../native/replayer.ts';
import { touchIndex } from '../sim/kernel/touch.ts';
import { holdsAll, jemallocHolds, mimallocHolds } from '../sim/peers/holds.ts';
import {
  alignedBytes,
  classBytes,
  classOf,
  pageClassOf,
  pageClassPages,
  slab_classes,
} from '../sim/peers/jemalloc/classes.ts';
import { Decay } from '../sim/peers/jemalloc/decay.ts';
import { type JemallocSettings, mallocConfText } from '../sim/peers/jemalloc/settings.ts';
import { Jemalloc, jemalloc_machine } from '../sim/peers/jemalloc.ts';
import { call } from '../sim/peers/meter.ts';
import { type MimallocSettings, mimallocText } from '../sim/peers/mimalloc/settings.ts';
import { Mimalloc, mimalloc_machine } from '../sim/peers/mimalloc.ts';
import { ModelLimit, type Peer } from '../sim/peers/peer.ts';
import { replayPeer } from '../sim/peers/replay.ts';
import { prices } from '../sim/spec.ts';
import { op, open, originOf, TraceBuilder, writeHak } from '../traces/index.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const page_bytes = 4096;
const touch_all = touchIndex('all');
/** Where pages matter less than places. */
const touch_first = touchIndex('first');
const ms = 1e6;

type Placing = Peer & { placeOf(object: number): { readonly from_bytes: number; readonly usable_bytes: number } };

const jemalloc = (settings: JemallocSettings = {}, touch = touch_all): Jemalloc =>
  new Jemalloc(settings, jemalloc_machine, touch);
const mimalloc = (settings: MimallocSettings = {}, touch = touch_all): Mimalloc =>
  new Mimalloc(settings, mimalloc_machine, touch);

/** Runs one event by thread 0 and returns its calls and faults. */
class Driver {
  time_ns = 0;
  readonly peer: Placing;
  constructor(peer: Placing) {
    this.peer = peer;
  }

  do(
    kind: number,
    object: number,
    size_bytes = 0,
    { align = 0, thread = 0 } = {},
  ): { calls: string[]; faults: number } {
    this.peer.run(kind, thread, object, size_bytes, align, 0xffffffff, this.time_ns);
    const { meter } = this.peer;
    const names = Object.keys(call);
    const calls = Array.from(meter.call.subarray(0, meter.calls), (at) => names[at]);
    return { calls, faults: meter.faults + meter.zero_faults };
  }
}

describe('size classes of jemalloc', () => {
  test('there are four to a doubling, and none is smaller than what it holds', () => {
    expect([1, 8, 9, 129, 14 * KiB, 14 * KiB + 1, 64 * KiB + 1].map((bytes) => classBytes(classOf(bytes)))).toEqual([
      8,
      8,
      16,
      160,
      14 * KiB,
      16 * KiB,
      80 * KiB,
    ]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 40 }), (bytes) => {
        const index = classOf(bytes);
        expect(classBytes(index)).toBeGreaterThanOrEqual(bytes);
        if (index > 0) expect(classBytes(index - 1)).toBeLessThan(bytes);
      }),
    );
  });

  test('page classes are the classes that are whole pages', () => {
    for (let index = 0; index < 60; index += 1) {
      expect(pageClassOf(pageClassPages(index))).toBe(index);
      expect(classBytes(classOf(pageClassPages(index) * page_bytes))).toBe(pageClassPages(index) * page_bytes);
    }
  });

  test('a slab ends where its last region ends, and has no more regions than 512', () => {
    for (const { bytes, pages, regions } of slab_classes) {
      expect(regions * bytes).toBe(pages * page_bytes);
      expect(regions).toBeLessThanOrEqual(512);
    }
  });

  test('a small aligned request gets a class that is aligned by itself', () => {
    expect(alignedBytes(100, 64)).toBe(128);
    expect(alignedBytes(5000, 4096)).toBe(8192);
    expect(alignedBytes(100, 8192)).toBe(16 * KiB);
  });
});

describe('jemalloc', () => {
  test('a freed block is used again without a fault, where decay has not come', () => {
    const run = new Driver(jemalloc());
    expect(run.do(op.malloc, 0, MiB).faults).toBeGreaterThanOrEqual(256);
    run.do(op.free, 0);
    // The pad of another block may be touched for the first time.
    expect(run.do(op.malloc, 0, MiB).faults).toBeLessThanOrEqual(1);
  });

  test('with a decay of 0 every freed large block is given back at once', () => {
    const run = new Driver(jemalloc({ dirty_decay_ms: 0 }));
    run.do(op.malloc, 0, MiB);
    expect(run.do(op.free, 0).calls).toEqual(['dontneed']);
    expect(run.do(op.malloc, 0, MiB).faults).toBeGreaterThanOrEqual(256);
  });

  test('a block of oversize_threshold is given back as it is freed, one of a class less is kept', () => {
    const run = new Driver(jemalloc());
    run.do(op.malloc, 0, 8 * MiB);
    expect(run.do(op.free, 0).calls).toEqual(['dontneed']);
    run.do(op.malloc, 0, 7 * MiB);
    // Together with what was free beside it it may be as large: a neighbour keeps them apart.
    expect(run.do(op.free, 0).calls).toEqual([]);
  });

  test('with a decay of -1 nothing is ever given back', () => {
    const run = new Driver(jemalloc({ dirty_decay_ms: -1 }));
    for (let object = 0; object < 20; object += 1) run.do(op.malloc, object, 3 * MiB);
    run.time_ns = 1e12;
    const calls = Array.from({ length: 20 }, (_, object) => run.do(op.free, object).calls).flat();
    expect(calls).toEqual([]);
  });

  test('addresses grow by ever larger steps, and without retain by each block', () => {
    const mapped = (settings: JemallocSettings): number => {
      const run = new Driver(jemalloc(settings));
      return Array.from({ length: 40 }, (_, object) => run.do(op.malloc, object, MiB).calls)
        .flat()
        .filter((name) => name === 'mmap').length;
    };
    expect(mapped({})).toBeLessThan(15);
    expect(mapped({ retain: 0 })).toBe(40);
  });

  test('a large block grows in place into what is free behind it, and moves where that is taken', () => {
    const run = new Driver(jemalloc());
    run.do(op.malloc, 0, MiB);
    run.do(op.realloc, 0, 2 * MiB - 300 * KiB);
    expect(run.peer.meter.copied_bytes).toBe(0);
    run.do(op.malloc, 1, 64 * KiB);
    run.do(op.realloc, 0, 4 * MiB);
    expect(run.peer.meter.copied_bytes).toBeGreaterThan(MiB);
  });

  test('a cleared block of used memory takes zeros from the kernel', () => {
    const run = new Driver(jemalloc());
    run.do(op.malloc, 0, MiB);
    run.do(op.free, 0);
    expect(run.do(op.calloc, 0, MiB).calls).toEqual(['dontneed']);
  });

  test('a muzzy decay frees lazily before it gives back', () => {
    const run = new Driver(jemalloc({ dirty_decay_ms: 10, muzzy_decay_ms: 10 }));
    const seen = new Set<string>();
    for (let turn = 0; turn < 20_000; turn += 1) {
      run.time_ns += ms;
      for (const name of run.do(op.malloc, 0, 64 * KiB + (turn % 40) * 64 * KiB).calls) seen.add(name);
      for (const name of run.do(op.free, 0).calls) seen.add(name);
    }
    expect([...seen].sort()).toEqual(['dontneed', 'free', 'mmap']);
  });

  test('the curve of decay keeps less with every interval, and in the end nothing', () => {
    const decay = new Decay(200, 0, 1);
    let limit = 1000;
    expect(decay.advance(3 * ms, 1000)).toBe(true);
    for (let at = 6; at < 230; at += 3) {
      decay.advance(at * ms, limit);
      expect(decay.limit_pages).toBeLessThanOrEqual(limit);
      limit = Math.min(limit, decay.limit_pages);
    }
    expect(limit).toBe(0);
  });
});

describe('mimalloc', () => {
  test('a block above 16 MiB has a mapping of its own, and one of 16 MiB has not', () => {
    const run = new Driver(mimalloc());
    expect(run.do(op.malloc, 0, 16 * MiB + 1).calls).toEqual(['mmap']);
    expect(run.do(op.free, 0).calls).toEqual(['munmap']);
    run.do(op.malloc, 1, 16 * MiB);
    expect(run.do(op.free, 1).calls).toEqual([]);
  });

  test('freed slices are given back when the next large page is taken after decommit_delay, not before', () => {
    for (const [waited_ms, given] of [
      [24, false],
      [60, true],
    ] as const) {
      const run = new Driver(mimalloc());
      run.do(op.malloc, 0, MiB);
      run.do(op.malloc, 1, 4 * MiB);
      run.do(op.malloc, 2, MiB);
      run.do(op.free, 1);
      run.time_ns = waited_ms * ms;
      // Elsewhere: what is taken out of them again waits anew.
      expect(run.do(op.malloc, 3, 8 * MiB).calls.includes('dontneed')).toBe(given);
    }
  });

  test('without a delay a freed block is given back at once, and made accessible again', () => {
    const run = new Driver(mimalloc({ decommit_delay: 0 }));
    run.do(op.malloc, 0, MiB);
    run.do(op.malloc, 1, 4 * MiB);
    run.do(op.malloc, 2, MiB);
    expect(run.do(op.free, 1).calls).toEqual(['dontneed']);
    expect(run.do(op.malloc, 1, 4 * MiB).calls).toEqual(['mprotect']);
  });

  test('without allow_decommit nothing is given back', () => {
    const run = new Driver(mimalloc({ allow_decommit: 0 }));
    for (let object = 0; object < 40; object += 1) run.do(op.malloc, object, 4 * MiB);
    run.time_ns = 1e12;
    const calls = Array.from({ length: 40 }, (_, object) => run.do(op.free, object).calls).flat();
    expect(calls).toEqual([]);
  });

  test('a block freed by another thread is free once its own thread asks for more', () => {
    const run = new Driver(mimalloc());
    run.do(op.malloc, 0, 4 * MiB);
    const [before] = [run.peer.placeOf(0).from_bytes];
    run.do(op.malloc, 1, 64, { thread: 1 });
    run.do(op.free, 0, 0, { thread: 1 });
    run.do(op.malloc, 2, 4 * MiB);
    expect(run.peer.placeOf(2).from_bytes).toBe(before);
  });

  test('a realloc stays while it fits and wastes no more than half', () => {
    const run = new Driver(mimalloc());
    run.do(op.malloc, 0, 4 * MiB);
    const { from_bytes } = run.peer.placeOf(0);
    run.do(op.realloc, 0, 2 * MiB);
    expect(run.peer.placeOf(0).from_bytes).toBe(from_bytes);
    run.do(op.realloc, 0, 2 * MiB - 1);
    expect(run.peer.placeOf(0).from_bytes).not.toBe(from_bytes);
  });

  test('an alignment that needs a segment of its own is beyond the model', () => {
    const run = new Driver(mimalloc());
    expect(() => run.do(op.aligned, 0, MiB, { align: 64 * MiB })).toThrow(ModelLimit);
  });
});

describe('settings', () => {
  test('are written as the libraries read them', () => {
    expect(mallocConfText({})).toBe('');
    expect(mallocConfText({ dirty_decay_ms: -1, retain: 0 })).toBe('MALLOC_CONF=dirty_decay_ms:-1,retain:false');
    expect(mimallocText({ decommit_delay: 0, eager_commit: 1 })).toBe(
      'MIMALLOC_EAGER_COMMIT=1 MIMALLOC_DECOMMIT_DELAY=0',
    );
  });

  test('a model holds for large blocks alone, and jemalloc not where a decay comes to something within the trace', () => {
    const large = { smallest_bytes: 64 * KiB, duration_ms: 1001, aligned_max_bytes: 0 };
    expect(holdsAll(jemallocHolds({ dirty_decay_ms: 0 }, large))).toBe(true);
    expect(holdsAll(jemallocHolds({ dirty_decay_ms: 0 }, { ...large, smallest_bytes: 64 * KiB - 1 }))).toBe(false);
    expect(holdsAll(jemallocHolds({}, large))).toBe(false);
    expect(holdsAll(jemallocHolds({ dirty_decay_ms: 0, retain: 0 }, large))).toBe(false);
    expect(holdsAll(jemallocHolds({}, { ...large, duration_ms: 1000 }))).toBe(true);
    expect(holdsAll(mimallocHolds(large))).toBe(true);
    expect(holdsAll(mimallocHolds({ ...large, aligned_max_bytes: 32 * MiB }))).toBe(false);
  });
});

/** Every event names what is live: sizes lie at the borders of classes, kinds and pages. */
const borders = [1, 8, 1024, 14 * KiB, 16 * KiB, 32 * KiB, 128 * KiB, 512 * KiB, MiB, 8 * MiB, 16 * MiB, 17 * MiB];
const step = fc.record({
  kind: fc.constantFrom(op.malloc, op.malloc, op.calloc, op.aligned, op.realloc, op.free, op.free),
  object: fc.nat(11),
  size_bytes: fc
    .tuple(fc.constantFrom(...borders), fc.constantFrom(-1, 0, 1))
    .map(([bytes, off]) => Math.max(1, bytes + off)),
  align: fc.constantFrom(16, 64, 4096, 65_536),
  thread: fc.nat(2),
  wait_ms: fc.constantFrom(0, 0, 1, 30, 600, 20_000),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Legal events only; calls `each` after every one, with what is live. */
function play(peer: Placing, steps: readonly Step[], each: (live: ReadonlyMap<number, number>) => void): void {
  const live = new Map<number, number>();
  let time_ns = 0;
  for (const { kind, object, size_bytes, align, thread, wait_ms } of steps) {
    time_ns += wait_ms * ms;
    const is_live = live.has(object);
    if (is_live !== (kind === op.free || kind === op.realloc)) continue;
    peer.run(kind, thread, object, kind === op.free ? 0 : size_bytes, align, 0xffffffff, time_ns);
    if (kind === op.free) live.delete(object);
    else live.set(object, size_bytes);
    each(live);
  }
  for (const object of [...live.keys()]) {
    peer.run(op.free, 0, object, 0, 0, 0xffffffff, time_ns);
    live.delete(object);
    each(live);
  }
}

const models: readonly (readonly [string, () => Placing])[] = [
  ['jemalloc', () => jemalloc({}, touch_first)],
  ['jemalloc that gives back at once', () => jemalloc({ dirty_decay_ms: 0 }, touch_first)],
  ['jemalloc with muzzy pages', () => jemalloc({ dirty_decay_ms: 20, muzzy_decay_ms: 20 }, touch_first)],
  ['jemalloc without retain', () => jemalloc({ retain: 0 }, touch_first)],
  ['jemalloc without caches', () => jemalloc({ tcache: 0 }, touch_first)],
  ['mimalloc', () => mimalloc({}, touch_first)],
  ['mimalloc that gives back at once', () => mimalloc({ decommit_delay: 0, segment_decommit_delay: 0 }, touch_first)],
  ['mimalloc piece by piece', () => mimalloc({ eager_commit: 0 }, touch_first)],
];

describe.each(models)('%s', (_, make) => {
  test('live blocks never overlap, hold what was asked, are aligned, and what is resident is mapped', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const peer = make();
        play(peer, steps, (live) => {
          const places = [...live].map(([object, size_bytes]) => ({ ...peer.placeOf(object), size_bytes }));
          for (const { usable_bytes, size_bytes, from_bytes } of places) {
            expect(usable_bytes).toBeGreaterThanOrEqual(size_bytes);
            expect(from_bytes % 8).toBe(0);
          }
          places.sort((a, b) => a.from_bytes - b.from_bytes);
          for (let at = 1; at < places.length; at += 1)
            expect(places[at].from_bytes).toBeGreaterThanOrEqual(places[at - 1].from_bytes + places[at - 1].size_bytes);
          expect(peer.resident_pages).toBeGreaterThanOrEqual(0);
          const { meter } = peer;
          for (let at = 0; at < meter.calls; at += 1) expect(meter.pages[at]).toBeGreaterThanOrEqual(0);
        });
      }),
      { numRuns: 25 },
    );
  });

  test('the same events come to the same places and counts', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const record = (): number[] => {
          const peer = make();
          const seen: number[] = [];
          play(peer, steps, () => seen.push(peer.placed, peer.meter.faults, peer.meter.calls, peer.resident_pages));
          return seen;
        };
        expect(record()).toEqual(record());
      }),
      { numRuns: 8 },
    );
  });
});

test('once all is freed and given back, only metadata is resident', () => {
  for (const peer of [
    jemalloc({ dirty_decay_ms: 0, tcache: 0 }),
    mimalloc({ decommit_delay: 0, segment_decommit_delay: 0 }),
  ]) {
    const run = new Driver(peer);
    for (let object = 0; object < 30; object += 1) run.do(op.malloc, object, 256 * KiB * (object + 1));
    expect(peer.resident_pages).toBeGreaterThan(20_000);
    for (let object = 0; object < 30; object += 1) run.do(op.free, object);
    expect(peer.resident_pages).toBeLessThan(120);
  }
});

describe.each(['jemalloc', 'mimalloc'] as const)('%s against the real library', (name: AllocatorName) => {
  const trouble =
    replayerTrouble() ?? (libraryOf(allocators[name]) === undefined ? installLine(allocators[name]) : null);
  let folder = '';
  let clock: EventClock;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'hakmem-peers-'));
    if (trouble === null) clock = makeEventClock(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  // Those that the model is promised for: no chance, and no addresses of the kernel's choice.
  const settings = peer_settings.filter(
    ({ allocator, chances, name: setting }) => allocator === name && chances === 1 && !setting.includes('retain:false'),
  );
  test.skipIf(trouble !== null).each(settings.map((setting) => [setting.name, setting] as const))(
    `large blocks under %s: faults, calls and residency within 5 %%${trouble === null ? '' : ` (skipped: ${trouble})`}`,
    async (_, setting) => {
      const found: PeerComparison = await comparePeer(setting, 'large', open(largeTrace(folder)), clock);
      expect(difference(found, 'faults'), JSON.stringify(found)).toBeLessThan(0.05);
      expect(difference(found, 'calls'), JSON.stringify(found)).toBeLessThan(0.05);
      expect(difference(found, 'resident_peak_bytes'), JSON.stringify(found)).toBeLessThan(0.05);
    },
  );
});

/** Blocks of 64 KiB to 20 MiB, some of them reallocated, cleared or aligned, on one thread. */
function largeTrace(folder: string): string {
  const builder = new TraceBuilder(4096);
  const live: number[] = [];
  let state = 12345;
  const choose = (of: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * of);
  };
  for (let name = 0; builder.events < 450; name += 1) {
    const bytes = 64 * KiB * 2 ** choose(7) + choose(64 * KiB) + (choose(60) === 0 ? 12 * MiB : 0);
    builder.allocate([op.malloc, op.malloc, op.calloc, op.aligned][choose(4)], name, bytes, {
      align: 4096 << choose(3),
    });
    live.push(name);
    if (choose(5) === 0) builder.reallocate(name, name, bytes + choose(MiB));
    while (live.length > 20 + choose(6)) builder.free(live.splice(choose(live.length), 1)[0]);
  }
  const path = join(folder, 'large.hak');
  const chunks = [...builder.drain(), ...builder.finish()];
  writeHak(path, chunks, { time: false, sites: false, touch: false }, () => originOf('generated', { program: 'test' }));
  return path;
}

test('a replay counts what the events come to', () => {
  const builder = new TraceBuilder(64);
  for (let name = 0; name < 20; name += 1) builder.allocate(op.malloc, name, MiB);
  for (let name = 0; name < 20; name += 1) builder.free(name);
  const result = replayPeer(builder.finish(), jemalloc({ dirty_decay_ms: 0 }), { prices, checkpoint_events: 10 });
  expect(result.syscalls.madvise_dontneed).toBe(20);
  expect(result.faults).toBeGreaterThanOrEqual(20 * 256);
  expect(result.resident_bytes.peak).toBeGreaterThanOrEqual(20 * MiB);
});
