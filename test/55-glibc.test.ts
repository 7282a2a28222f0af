/**
 * The model of glibc's malloc: what the library is known to do, on the model alone; and model and library side by side,
 * event by event, where this process runs on glibc.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { besideGlibc, type GlibcBeside } from '../experiments/peers/glibc-beside.ts';
import { runningGlibc } from '../experiments/peers/glibc-machine.ts';
import { tunablesEnv } from '../experiments/peers/tunables.ts';
import { compare, markdownOf, subjectsIn, thresholdGrid } from '../experiments/verify/glibc.ts';
import { nativeTrouble, probeProfile } from '../native/index.ts';
import { replayerTrouble } from '../native/replayer.ts';
import { touchIndex } from '../sim/kernel/touch.ts';
import type { GlibcSettings } from '../sim/peers/glibc/settings.ts';
import { Glibc, type GlibcMachine, glibc_machine, type Place } from '../sim/peers/glibc.ts';
import { call_names } from '../sim/peers/meter.ts';
import { ModelLimit } from '../sim/peers/peer.ts';
import { replayPeer } from '../sim/peers/replay.ts';
import { prices, type TouchModel } from '../sim/spec.ts';
import { TraceBuilder } from '../traces/builder.ts';
import { FileSource, writeHak } from '../traces/file.ts';
import { HakTrace } from '../traces/hak.ts';
import { type Chunk, limits, op, originOf } from '../traces/trace.ts';
import { anyCase, chunksOf } from './glibc-arbitrary.ts';
import { expectValid } from './glibc-valid.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-glibc-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const runs = Number(process.env.HAKMEM_RUNS ?? 40);
const profile = probeProfile();

/** Why the library cannot be asked here; null where it can. */
const trouble =
  nativeTrouble() ??
  replayerTrouble() ??
  (runningGlibc() === null ? 'this process does not run on glibc' : null) ??
  (profile?.thp_kernel === 'always' ? 'transparent huge pages are set to always' : null);

/** A program, call by call, on the model. Blocks are named by the numbers that allocations return. */
class Program {
  readonly glibc: Glibc;
  private next = 0;

  constructor(settings: GlibcSettings = {}, touch: TouchModel = 'none', machine: Partial<GlibcMachine> = {}) {
    this.glibc = new Glibc(settings, { ...glibc_machine, ...machine }, touchIndex(touch));
  }

  malloc(size_bytes: number, thread = 0): number {
    return this.allocate(op.malloc, size_bytes, 0, thread);
  }

  calloc(size_bytes: number, thread = 0): number {
    return this.allocate(op.calloc, size_bytes, 0, thread);
  }

  aligned(align: number, size_bytes: number, thread = 0): number {
    return this.allocate(op.aligned, size_bytes, align, thread);
  }

  realloc(block: number, size_bytes: number, thread = 0): void {
    this.glibc.run(op.realloc, thread, block, size_bytes, 0, limits.unknown);
  }

  free(block: number, thread = 0): void {
    this.glibc.run(op.free, thread, block, 0, 0, limits.unknown);
  }

  place(block: number): Place {
    return this.glibc.placeOf(block);
  }

  offset(block: number): number {
    return this.place(block).offset_bytes;
  }

  get faults(): number {
    return this.glibc.meter.faults;
  }

  /** What the last call asked of the kernel. */
  get calls(): string[] {
    const { calls, call } = this.glibc.meter;
    return Array.from(call.subarray(0, calls), (kind) => call_names[kind]);
  }

  private allocate(kind: number, size_bytes: number, align: number, thread: number): number {
    const object = this.next;
    this.next += 1;
    this.glibc.run(kind, thread, object, size_bytes, align, limits.unknown);
    return object;
  }
}

/** Neither cache nor fastbins: every free merges. */
const plain: GlibcSettings = { tcache_count: 0, mxfast: 0 };

describe('mapped blocks', () => {
  /** Faults of each round of malloc, write, free. */
  function rounds(settings: GlibcSettings, size_bytes: number): number[] {
    const program = new Program(settings, 'page');
    return Array.from({ length: 4 }, () => {
      const block = program.malloc(size_bytes);
      const { faults } = program;
      program.free(block);
      return faults;
    });
  }

  test('the first 2 MiB are mapped, and once given back the next ones come from the heap and stay there', () => {
    const program = new Program();
    const first = program.malloc(2 * MiB);
    expect(program.place(first).mapped).toBe(true);
    expect(program.calls).toEqual(['mmap']);
    program.free(first);
    expect(program.calls).toEqual(['munmap']);
    const second = program.malloc(2 * MiB);
    expect(program.place(second).mapped).toBe(false);
    program.free(second);
    expect(program.calls).toEqual([]);
  });

  // 512 pages, and one more for the header: a mapping's first page holds it, in a heap the last page is the next chunk's.
  test('they fault in twice, or each time where any of the four settings is pinned, to whatever value', () => {
    expect(rounds({}, 2 * MiB)).toEqual([513, 512, 0, 0]);
    for (const pinned of [{ mmap_threshold: 128 * KiB }, { top_pad: 0 }, { mmap_max: 65_536 }, { trim_threshold: 1 }])
      expect(rounds(pinned, 2 * MiB), JSON.stringify(pinned)).toEqual([513, 513, 513, 513]);
  });

  test('a mapping of 32 MiB is made every time, one of a page less moves the threshold', () => {
    const largest_bytes = 32 * MiB - 4096 - 24;
    expect(rounds({}, largest_bytes).slice(2)).toEqual([0, 0]);
    expect(rounds({}, largest_bytes + 1)).toEqual([8191, 8191, 8191, 8191]);
  });

  test('mmap_max bounds how many are mapped at a time', () => {
    const program = new Program({ mmap_max: 1 });
    const first = program.malloc(1 * MiB);
    expect(program.place(first).mapped).toBe(true);
    expect(program.place(program.malloc(1 * MiB)).mapped).toBe(false);
    program.free(first);
    expect(program.place(program.malloc(4 * MiB)).mapped).toBe(true);
  });

  test('a realloc keeps the pages that are there', () => {
    const program = new Program({}, 'page');
    const block = program.malloc(1 * MiB);
    program.realloc(block, 2 * MiB);
    expect(program.calls).toEqual(['mremap']);
    expect(program.faults).toBe(256);
    program.realloc(block, 1 * MiB);
    expect(program.calls).toEqual(['mremap_shrink']);
    expect(program.faults).toBe(0);
    expect(program.place(block).mapped).toBe(true);
  });
});

describe('mapped blocks that grow', () => {
  const pinned: GlibcSettings = { mmap_threshold: 128 * KiB };

  test('one has another above it and moves, and then grows where it is, into the room that it left', () => {
    const program = new Program(pinned, 'page');
    const block = program.malloc(1 * MiB);
    const grown = [1.25, 1.5, 1.75, 2.5, 2.75].map((size) => {
      program.realloc(block, size * MiB);
      return program.calls;
    });
    expect(grown).toEqual([['mremap'], ['mremap_grow'], ['mremap_grow'], ['mremap'], ['mremap_grow']]);
  });

  test('one whose neighbour above was freed, or gave its end away, grows by as much and no more', () => {
    for (const frees of [true, false]) {
      const program = new Program(pinned, 'none');
      const above = program.malloc(1 * MiB);
      const block = program.malloc(1 * MiB);
      const below = program.malloc(1 * MiB);
      if (frees) program.free(above);
      else program.realloc(below, 512 * KiB);
      const grows = frees ? block : below;
      program.realloc(grows, (frees ? 2 : 1) * MiB);
      expect(program.calls).toEqual(['mremap_grow']);
      program.realloc(grows, 2 * MiB + 8 * KiB);
      expect(program.calls).toEqual(['mremap']);
    }
  });

  test('what moved is priced as a move, what stayed as growth, and what went by its pages', () => {
    const program = new Program(pinned, 'page');
    const noted = (): [string, number] => [program.calls[0], program.glibc.meter.pages[0]];
    const block = program.malloc(1 * MiB);
    program.realloc(block, 2 * MiB);
    expect(noted()).toEqual(['mremap', 257]);
    program.realloc(block, 1 * MiB);
    expect(noted()).toEqual(['mremap_shrink', 256]);
    program.realloc(block, 1.5 * MiB);
    expect(noted()).toEqual(['mremap_grow', 257]);
  });
});

describe('caches and fastbins', () => {
  test('a thread keeps seven of a size, the last first; the eighth waits in a fastbin', () => {
    const program = new Program();
    const blocks = Array.from({ length: 8 }, () => program.malloc(24));
    const offsets = blocks.map((block) => program.offset(block));
    for (const block of blocks) program.free(block);
    const again = blocks.map(() => program.offset(program.malloc(24)));
    expect(again).toEqual([6, 5, 4, 3, 2, 1, 0, 7].map((at) => offsets[at]));
  });

  test('a request of 1,032 bytes is cached, one byte more is not', () => {
    for (const [size_bytes, cached] of [
      [1032, true],
      [1033, false],
    ] as const) {
      const program = new Program();
      const block = program.malloc(size_bytes);
      const offset = program.offset(block);
      program.free(block);
      // What is not cached went back to the top, from which a smaller one is cut.
      expect(program.offset(program.malloc(600)) !== offset).toBe(cached);
    }
  });

  test('neighbours of 120 bytes wait unmerged, of 121 they merge', () => {
    for (const [size_bytes, merged] of [
      [120, false],
      [121, true],
    ] as const) {
      const program = new Program({ tcache_count: 0 });
      const [first, second] = [program.malloc(size_bytes), program.malloc(size_bytes)];
      program.malloc(24);
      const offset = program.offset(first);
      program.free(first);
      program.free(second);
      expect(program.offset(program.malloc(2 * size_bytes)) === offset).toBe(merged);
    }
  });

  test('a free chunk of 64 KiB makes the fastbins merge, one of 16 bytes less does not', () => {
    for (const [chunk_bytes, merged] of [
      [64 * KiB, true],
      [64 * KiB - 16, false],
    ] as const) {
      const program = new Program({ tcache_count: 0 });
      const [first, second] = [program.malloc(24), program.malloc(24)];
      program.malloc(24);
      const large = program.malloc(chunk_bytes - 8);
      program.malloc(24);
      const offset = program.offset(first);
      program.free(first);
      program.free(second);
      program.free(large);
      expect(program.offset(program.malloc(56)) === offset).toBe(merged);
    }
  });
});

describe('bins', () => {
  test('the last remainder serves small requests on, and only while a chunk lies where its pointer says', () => {
    const program = new Program(plain);
    const blocks = [2000, 24, 1200, 24, 400, 24].map((size_bytes) => program.malloc(size_bytes));
    const [large, , rival, , small] = blocks;
    const offsets = blocks.map((block) => program.offset(block));
    // The small one is sorted, the large one split: what is left of it is the last remainder, and serves the next.
    program.free(small);
    program.malloc(3000);
    program.free(large);
    expect(program.offset(program.malloc(500))).toBe(offsets[0]);
    const rest = program.malloc(100);
    expect(program.offset(rest)).toBe(offsets[0] + 512);
    // Taken whole and given back it still lies there: it goes before the small one, which would fit better.
    const whole = program.malloc(2016 - 512 - 112 - 8);
    expect(program.offset(whole)).toBe(offsets[0] + 624);
    program.free(whole);
    const from_rest = program.malloc(300);
    expect(program.offset(from_rest)).toBe(offsets[0] + 624);
    program.free(from_rest);
    program.malloc(2016 - 512 - 112 - 8);
    // Another chunk, alone among the unsorted, is not it.
    program.free(rival);
    expect(program.offset(program.malloc(300))).toBe(offsets[4]);
  });

  test('a large bin stays sorted after its smallest chunk has left', () => {
    const program = new Program(plain);
    const blocks = [3600, 4000, 3800, 3700].map((size_bytes) => {
      const block = program.malloc(size_bytes);
      program.malloc(24);
      return block;
    });
    const last = program.offset(blocks[3]);
    const sort = () => program.malloc(5000);
    program.free(blocks[0]);
    program.free(blocks[1]);
    sort();
    program.malloc(3600);
    program.free(blocks[3]);
    sort();
    program.free(blocks[2]);
    sort();
    expectValid(program.glibc, []);
    // From the bin above, the smallest serves.
    expect(program.offset(program.malloc(500))).toBe(last);
  });

  test('equal ones of a large bin stand behind their first, which goes last', () => {
    const program = new Program(plain);
    const blocks = [0, 1, 2].map(() => {
      const block = program.malloc(3600);
      program.malloc(24);
      return block;
    });
    const offsets = blocks.map((block) => program.offset(block));
    for (const block of blocks) {
      program.free(block);
      program.malloc(5000);
      expectValid(program.glibc, []);
    }
    expect(blocks.map(() => program.offset(program.malloc(3600)))).toEqual([offsets[2], offsets[1], offsets[0]]);
  });

  test('a freed small chunk is sorted at once from 2.41 on', () => {
    for (const [version, first] of [
      ['2.40', false],
      ['2.41', true],
    ] as const) {
      const program = new Program(plain, 'none', { version });
      const [small, , large] = [300, 24, 2000, 24].map((size_bytes) => program.malloc(size_bytes));
      const offset = program.offset(large);
      program.free(large);
      program.malloc(1000);
      program.free(small);
      // The rest of the large one is the last remainder: it serves where nothing else is unsorted.
      expect(program.offset(program.malloc(100)) === offset + 1008).toBe(first);
    }
  });
});

describe('calloc and aligned blocks', () => {
  test('calloc clears its chunk, and of what came from a top that grew only what had been there before', () => {
    const program = new Program({ mmap_max: 0 });
    const block = program.malloc(100);
    const top_bytes = program.glibc.system.main_bytes - (program.offset(block) - 16 + 112);
    program.calloc(300 * KiB);
    expect(program.glibc.meter.cleared_bytes).toBe(top_bytes);
    program.calloc(1000);
    expect(program.glibc.meter.cleared_bytes).toBe(1008);
  });

  test('calloc takes from the cache from 2.41 on', () => {
    for (const [version, takes] of [
      ['2.40', false],
      ['2.41', true],
    ] as const) {
      const program = new Program({}, 'none', { version });
      const block = program.malloc(24);
      program.malloc(24);
      const offset = program.offset(block);
      program.free(block);
      expect(program.offset(program.calloc(24)) === offset).toBe(takes);
    }
  });

  test('an aligned block asks for its size, its alignment and a header more', () => {
    for (const [chunk_bytes, serves] of [
      [144, true],
      [128, false],
    ] as const) {
      const program = new Program(plain);
      const hole = program.malloc(chunk_bytes - 8);
      program.malloc(24);
      const offset = program.offset(hole);
      program.free(hole);
      const block = program.offset(program.aligned(64, 24));
      expect(block % 64).toBe(0);
      expect(block < offset + chunk_bytes).toBe(serves);
    }
  });

  test('what is cut off an aligned block is cached until 2.37 and merges from 2.38 on', () => {
    for (const [version, merges] of [
      ['2.37', false],
      ['2.38', true],
    ] as const) {
      const program = new Program({}, 'none', { version });
      const tail = program.aligned(64, 24);
      const next = program.offset(program.malloc(200));
      expect(next === program.offset(tail) + 32, version).toBe(merges);
    }
  });
});

describe('arenas', () => {
  const arenasOf = (settings: GlibcSettings, threads: number): number[] => {
    const program = new Program(settings);
    return Array.from({ length: threads }, (_, thread) => program.place(program.malloc(24, thread)).arena);
  };

  test('every thread has its own until there are enough; then they are shared from the main one to the newest and on down', () => {
    expect(arenasOf({}, 6)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(arenasOf({ arena_max: 1 }, 4)).toEqual([0, 0, 0, 0]);
    expect(arenasOf({ arena_max: 2 }, 6)).toEqual([0, 1, 0, 1, 0, 1]);
    expect(arenasOf({ arena_max: 3 }, 7)).toEqual([0, 1, 2, 0, 2, 1, 0]);
  });

  test('a heap of 64 MiB that empties is unmapped, and the one before serves again', () => {
    const program = new Program({ mmap_max: 0 });
    program.malloc(24);
    const first = program.malloc(20 * MiB, 1);
    const second = program.malloc(50 * MiB, 1);
    expect(program.place(second).arena).toBe(1);
    expect(program.calls).toContain('mmap');
    program.free(second, 1);
    expect(program.calls).toEqual(['munmap']);
    program.free(first, 1);
    expect(program.calls).toEqual(['dontneed']);
  });

  test('a heap whose old top is large goes away as soon as it is made, and the main arena serves', () => {
    const program = new Program({ mmap_max: 0 });
    program.malloc(24);
    const kept = program.malloc(1700, 1);
    program.free(program.malloc(160 * KiB, 1), 1);
    const block = program.malloc(64 * MiB - 4088, 1);
    expect(program.calls).toEqual(['mmap', 'munmap', 'mprotect', 'munmap', 'brk_grow']);
    expect(program.place(block)).toMatchObject({ arena: 0, mapped: false });
    expectValid(program.glibc, [kept, block]);
  });
});

describe('pages', () => {
  test('a read of pages that nobody wrote maps the zero page where the kernel has it, and makes them resident elsewhere', () => {
    for (const read_maps_zero of [true, false]) {
      const program = new Program(plain, 'none', { read_maps_zero });
      const block = program.malloc(100 * KiB);
      program.malloc(24);
      program.realloc(block, 120 * KiB);
      const { faults, zero_faults, copied_bytes } = program.glibc.meter;
      expect(copied_bytes).toBe(100 * KiB + 8);
      // The source's 24 pages between its first and its last, which hold headers; as many are written at the other place.
      expect(zero_faults).toBe(read_maps_zero ? 24 : 0);
      expect(faults).toBeGreaterThanOrEqual(read_maps_zero ? 25 : 49);
    }
  });

  test('a heap beyond what the model holds is refused rather than wrong', () => {
    const program = new Program({ mmap_max: 0 });
    program.malloc(8 * 2 ** 30);
    expect(() => program.malloc(8 * 2 ** 30)).toThrow(ModelLimit);
  });
});

describe('after every event of random traces', () => {
  test('chunks follow one another, free ones never touch, bins hold their sizes in order, every free chunk once', () => {
    fc.assert(
      fc.property(anyCase(150), fc.constantFrom('2.36', '2.38', '2.41'), (drawn, version) => {
        const glibc = new Glibc(drawn.settings, { ...glibc_machine, version }, touchIndex(drawn.touch));
        const live = new Set<number>();
        for (const { op: kinds, thread, object, size_bytes, align, touched_pages, length } of chunksOf(drawn))
          for (let row = 0; row < length; row += 1) {
            glibc.run(kinds[row], thread[row], object[row], size_bytes[row], align[row], touched_pages[row]);
            if (kinds[row] === op.free) live.delete(object[row]);
            else live.add(object[row]);
            if (row % 5 === 0 || row === length - 1) expectValid(glibc, live);
          }
      }),
      { numRuns: 60 },
    );
  });

  test('what one thread has freed is all top again where nothing is cached, and nothing stays mapped', () => {
    fc.assert(
      fc.property(anyCase(150), (drawn) => {
        const settings = { ...drawn.settings, ...plain };
        const glibc = new Glibc(settings, glibc_machine, touchIndex(drawn.touch));
        const fresh = new Glibc(settings, glibc_machine, touchIndex(drawn.touch));
        const live = new Set<number>();
        for (const { op: kinds, object, size_bytes, align, touched_pages, length } of chunksOf(drawn))
          for (let row = 0; row < length; row += 1) {
            glibc.run(kinds[row], 0, object[row], size_bytes[row], align[row], touched_pages[row]);
            if (kinds[row] === op.free) live.delete(object[row]);
            else live.add(object[row]);
          }
        for (const object of live) glibc.run(op.free, 0, object, 0, 0, limits.unknown);
        const next = (peer: Glibc): number => {
          peer.run(op.malloc, 0, 0, 24, 0, limits.unknown);
          return peer.placeOf(0).offset_bytes;
        };
        expect(glibc.system.mapped_pages).toBe(0);
        expect(next(glibc)).toBe(next(fresh));
      }),
      { numRuns: 60 },
    );
  });

  test('equal traces come to equal results, and the residency of the end is what faulted and never went', () => {
    fc.assert(
      fc.property(anyCase(150), (drawn) => {
        const setup = { prices, checkpoint_events: 64 };
        const [one, other] = [0, 1].map(() =>
          replayPeer(chunksOf(drawn), new Glibc(drawn.settings, glibc_machine, touchIndex(drawn.touch)), setup),
        );
        expect(one).toEqual(other);
        expect(one.resident_bytes.end).toBeLessThanOrEqual(one.faults * 4096);
        expect(one.resident_bytes.end).toBeLessThanOrEqual(one.resident_bytes.peak);
      }),
      { numRuns: 40 },
    );
  });
});

/** Model and library over the same events. */
async function beside(
  chunks: readonly Chunk[],
  settings: GlibcSettings = {},
  touch: TouchModel = 'recorded',
): Promise<GlibcBeside> {
  const path = join(folder, 'trace.hak');
  writeHak(path, chunks, { time: false, sites: false, touch: true }, () => originOf('generated', {}));
  const source = new FileSource(path);
  try {
    return await besideGlibc(new HakTrace(source), settings, profile!, touch);
  } finally {
    source.close();
  }
}

const atMost = (most: number) => expect.toSatisfy((count: number) => count <= most);

/** Every event alike, and in the whole run every fault and every call by kind. */
function expectAlike({ real, model, first_difference }: GlibcBeside): void {
  expect(first_difference).toBeNull();
  const [round] = real.rounds;
  const { mmap, munmap, mremap, brk, mprotect, madvise } = round.syscalls!;
  const { madvise_dontneed, madvise_free: _, ...calls } = model.syscalls;
  const alone = real.trace.threads === 1;
  // A thread that ends frees its cache, and that may trim its arena: the model does not know that it ends.
  expect({ faults: model.faults, ...calls, madvise: madvise_dontneed }).toEqual({
    ...{ faults: round.faults, mmap, mremap, mprotect },
    munmap: alone ? munmap : atMost(munmap),
    brk: alone ? brk : atMost(brk),
    madvise: alone ? madvise : atMost(madvise),
  });
}

describe.skipIf(trouble !== null)(`beside the library${trouble === null ? '' : ` (skipped: ${trouble})`}`, () => {
  test('random traces under random settings come out alike in every event', async () => {
    await fc.assert(
      fc.asyncProperty(anyCase(300), async (drawn) => {
        expectAlike(await beside(chunksOf(drawn), drawn.settings, drawn.touch));
      }),
      { numRuns: runs },
    );
  });

  test('mapped blocks move, or grow where they are, as they do on this kernel', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(9), fc.nat(99), fc.integer({ min: 33, max: 500 })), { size: '+2' }),
        async (steps) => {
          const builder = new TraceBuilder(4096);
          const live: number[] = [];
          for (const [at, [kind, pick, pages]] of steps.entries()) {
            const size_bytes = pages * 4096;
            const chosen = pick % Math.max(1, live.length);
            if (live.length < 4 || kind < 2) {
              builder.allocate(op.malloc, at, size_bytes);
              live.push(at);
            } else if (kind < 8) builder.reallocate(live[chosen], live[chosen], size_bytes);
            else builder.free(live.splice(chosen, 1)[0]);
          }
          const { growths, first_difference } = await beside(builder.finish(), { mmap_threshold: 128 * KiB });
          expect({ first_difference, differ: growths.differ }).toEqual({ first_difference: null, differ: 0 });
        },
      ),
      { numRuns: Math.ceil(runs / 4) },
    );
  });

  test('a large bin whose smallest chunk left, and a heap that goes away at once, come out alike', async () => {
    const builder = new TraceBuilder(4096);
    const malloc = (name: number, size_bytes: number, thread = 0): void =>
      builder.allocate(op.malloc, name, size_bytes, { thread });
    for (const [at, size_bytes] of [3600, 4000, 3800, 3700].entries()) {
      malloc(at, size_bytes);
      malloc(10 + at, 24);
    }
    builder.free(0);
    builder.free(1);
    malloc(20, 5000);
    malloc(21, 3600);
    builder.free(3);
    malloc(22, 5000);
    builder.free(2);
    malloc(23, 5000);
    malloc(24, 500);
    malloc(29, 1700, 1);
    malloc(30, 160 * KiB, 1);
    builder.free(30, { thread: 1 });
    malloc(31, 64 * MiB - 4088, 1);
    builder.free(31, { thread: 1 });
    malloc(32, 24, 1);
    expectAlike(await beside(builder.finish(), { ...plain, mmap_max: 0 }, 'none'));
  });

  test('threads share arenas in the order of the library', async () => {
    const builder = new TraceBuilder(4096);
    for (let name = 0; name < 21; name += 1) builder.allocate(op.malloc, name, 100 * (1 + name), { thread: name % 7 });
    for (const arena_max of [1, 2, 3]) expectAlike(await beside([...chunksAgain(builder)], { arena_max }));
  });

  test('a payload of 1 MiB faults a thousand times as often where mmap_threshold alone is raised', async () => {
    const builder = new TraceBuilder(1 << 14);
    for (let name = 0; name < 2350; name += 1) {
      builder.allocate(op.malloc, `small ${name}`, 100);
      builder.allocate(op.malloc, `payload ${name}`, 1 * MiB);
      builder.free(`payload ${name}`);
      builder.free(`small ${name}`);
    }
    const chunks = [...chunksAgain(builder)];
    const faults: number[] = [];
    for (const settings of [{}, { mmap_threshold: 64 * MiB }, { mmap_threshold: 64 * MiB, trim_threshold: 64 * MiB }]) {
      const found = await beside(chunks, settings);
      expectAlike(found);
      faults.push(found.real.rounds[0].faults);
    }
    const [untouched, one_pinned, both_pinned] = faults;
    expect(one_pinned).toBeGreaterThan(1000 * untouched);
    expect(both_pinned).toBeLessThan(2 * untouched);
  });

  test('the quick comparison of verify:glibc covers every scenario and finds no difference', async () => {
    const comparisons = [];
    for (const subject of subjectsIn(folder, true)) comparisons.push(await compare(subject, profile!));
    expect(comparisons.flatMap(({ differing }) => differing)).toEqual([]);
    expect(comparisons.map(({ misplaced, faults_error }) => misplaced + faults_error)).toEqual(
      comparisons.map(() => 0),
    );
    expect(markdownOf(comparisons).split('\n').length).toBe(2 + comparisons.length);
  });
});

function chunksAgain(builder: TraceBuilder): Chunk[] {
  return [...builder.drain(), ...builder.finish()];
}

test('the grid of verify:glibc is 12 thresholds by 6, and its table stands in the page', () => {
  const grid = thresholdGrid();
  expect(grid.length).toBe(72);
  expect(grid[0]).toEqual({ mmap_threshold: 512 * KiB, trim_threshold: 128 * KiB });
  expect(grid.at(-1)).toEqual({ mmap_threshold: 32 * MiB, trim_threshold: 128 * MiB });
  const page = readFileSync(join(root, 'docs/GLIBC.md'), 'utf8');
  for (const name of ['vm', 'vm4', 'json', 'mir', 'mixed', 'churn', 'sqlite', 'threads'])
    expect(page, name).toMatch(new RegExp(`^\\| ${name} \\|`, 'm'));
});

describe.skipIf(trouble !== null)('a program of its own', () => {
  const program = join(folder, 'rounds');

  beforeAll(() => {
    const { status, stderr } = spawnSync('cc', ['-O1', '-fno-builtin', '-o', program, 'test/programs/rounds.c'], {
      cwd: root,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
  });

  /** The same calls on the model: faults of each round. */
  function inModel(size_bytes: number, settings: GlibcSettings): number[] {
    const glibc = new Glibc(settings, glibc_machine, touchIndex('recorded'));
    const run = (kind: number, object: number, size: number, touched: number): number => {
      glibc.run(kind, 0, object, size, 0, touched);
      return glibc.meter.faults + glibc.meter.zero_faults;
    };
    run(op.malloc, 0, 24, 1);
    run(op.free, 0, 0, 0);
    run(op.malloc, 0, 64 * MiB, 0);
    run(op.realloc, 0, 65 * MiB, 0);
    run(op.free, 0, 0, 0);
    return Array.from({ length: 10 }, () => run(op.malloc, 0, size_bytes, size_bytes / 4096) + run(op.free, 0, 0, 0));
  }

  for (const settings of [{}, { mmap_threshold: 128 * KiB }, { top_pad: 0 }] as const)
    test(`has the model's faults in every round, with ${JSON.stringify(settings)}`, () => {
      for (const size_bytes of [2 * MiB, 4 * MiB, ...(Object.keys(settings).length === 0 ? [32 * MiB] : [])]) {
        const { stdout } = spawnSync(program, [String(size_bytes)], { encoding: 'utf8', env: tunablesEnv(settings) });
        expect(stdout.trim().split('\n').map(Number), `${size_bytes}`).toEqual(inModel(size_bytes, settings));
      }
    });

  test('reads the older variables as the model reads settings', () => {
    for (const [name, settings] of [
      ['MALLOC_MMAP_THRESHOLD_=131072', { mmap_threshold: 131_072 }],
      ['MALLOC_TOP_PAD_=0', { top_pad: 0 }],
    ] as const) {
      const [variable, value] = name.split('=');
      const { stdout } = spawnSync(program, [String(2 * MiB)], { encoding: 'utf8', env: { [variable]: value } });
      expect(stdout.trim().split('\n').map(Number), name).toEqual(inModel(2 * MiB, settings));
    }
  });
});
