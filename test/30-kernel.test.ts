/**
 * The page model, row by row: what each call does to pages, windows and areas, counted. And the small parts that both halves
 * share: histogram, digest, hash. Property and scenario tests hold the same model to the C core and to the real kernel.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { replay as replayCore } from '../native/index.ts';
import { configOf } from '../sim/config.ts';
import { Digest, mix32 } from '../sim/decide/digest.ts';
import { Heap } from '../sim/decide/heap.ts';
import { Placement } from '../sim/decide/placement.ts';
import { Histogram } from '../sim/kernel/histogram.ts';
import { PageModel } from '../sim/kernel/pages.ts';
import { pagesOf, touchedPages, touchIndex } from '../sim/kernel/touch.ts';
import { Areas, area_flag } from '../sim/kernel/vma.ts';
import { replay, type Setup } from '../sim/replay.ts';
import { default_profile, type KernelProfile, prices, shape } from '../sim/spec.ts';
import { readScenario } from '../traces/scenario.ts';
import { limits } from '../traces/trace.ts';

const runs = Number(process.env.HAKMEM_RUNS ?? 60);
const window = shape.window_pages;

/** A kernel with `windows` whole windows mapped from 0 on, told to use huge pages or not. */
function kernel(windows: number, huge: boolean, profile: Partial<KernelProfile> = {}): PageModel {
  const model = new PageModel({ ...default_profile, ...profile }, prices);
  model.map(0, windows * window);
  if (huge) model.adviseHuge(0, windows * window);
  return model;
}

/** Faults, huge faults and resident pages of what `act` does. */
function of(model: PageModel, act: () => number): { faults: number; huge: number; resident: number; price: number } {
  const { faults, huge_faults } = model;
  const price = act();
  return {
    faults: model.faults - faults,
    huge: model.huge_faults - huge_faults,
    resident: model.resident_pages,
    price,
  };
}

describe('a write', () => {
  test('to an untouched page is one fault; to a touched one is none', () => {
    const model = kernel(1, false);
    expect(of(model, () => model.touch(3, 2))).toEqual({ faults: 2, huge: 0, resident: 2, price: 2 * prices.fault_ns });
    expect(of(model, () => model.touch(3, 2))).toEqual({ faults: 0, huge: 0, resident: 2, price: 0 });
    expect(of(model, () => model.touch(4, 2))).toMatchObject({ faults: 1, resident: 3 });
  });

  test('after a read is a second fault', () => {
    const model = kernel(1, false);
    expect(of(model, () => model.read(0, 4))).toEqual({
      faults: 4,
      huge: 0,
      resident: 0,
      price: 4 * prices.zero_fault_ns,
    });
    expect(of(model, () => model.read(0, 4))).toMatchObject({ faults: 0 });
    expect(of(model, () => model.touch(0, 4))).toMatchObject({ faults: 4, resident: 4 });
  });

  test('to an untouched window that asked for huge pages is one fault, and all of it resident', () => {
    const model = kernel(2, true);
    expect(of(model, () => model.touch(7, 1))).toEqual({
      faults: 1,
      huge: 1,
      resident: window,
      price: prices.huge_fault_ns,
    });
    expect(of(model, () => model.touch(0, window))).toMatchObject({ faults: 0 });
    expect(of(model, () => model.touch(window - 1, 2))).toMatchObject({ faults: 1, huge: 1, resident: 2 * window });
    expect(model.huge_pages).toBe(2 * window);
  });

  test('to a window that has a page table stays small, even of one page ever touched', () => {
    const model = new PageModel(default_profile, prices);
    model.map(0, window);
    model.touch(0, 1);
    model.adviseHuge(0, window);
    expect(of(model, () => model.touch(0, window))).toMatchObject({ faults: window - 1, huge: 0 });
  });

  test('to a window that its area does not fill stays small', () => {
    const model = new PageModel(default_profile, prices);
    model.map(0, window - 1);
    model.adviseHuge(0, window - 1);
    expect(of(model, () => model.touch(0, window - 1))).toMatchObject({ faults: window - 1, huge: 0 });
  });

  test.each([
    ['never', false, 0],
    ['never', true, 0],
    ['madvise', false, 0],
    ['madvise', true, 1],
    ['always', false, 1],
    ['always', true, 1],
  ] as const)('THP %s, asked for: %s -> %i huge pages', (thp_kernel, asked, huge_faults) => {
    const model = kernel(1, asked, { thp_kernel });
    model.touch(0, window);
    expect(model.huge_faults).toBe(huge_faults);
  });

  test('after MADV_NOHUGEPAGE is small whatever the kernel gives', () => {
    const model = new PageModel({ ...default_profile, thp_kernel: 'always' }, prices);
    model.map(0, window);
    model.adviseNoHuge(0, window);
    model.touch(0, window);
    expect([model.faults, model.huge_faults]).toEqual([window, 0]);
  });
});

describe('a read', () => {
  test('of an untouched huge window maps the huge zero page: one fault, nothing resident', () => {
    const model = kernel(1, true);
    expect(of(model, () => model.read(5, 100))).toMatchObject({ faults: 1, huge: 1, resident: 0 });
    expect(of(model, () => model.read(0, window))).toMatchObject({ faults: 0 });
  });

  test.each([
    ['huge', { faults: 1, huge: 1, resident: window }],
    ['split', { faults: 3, huge: 0, resident: 3 }],
  ] as const)('then a write to three pages of it, huge_zero_write %s', (huge_zero_write, wanted) => {
    const model = kernel(1, true, { huge_zero_write });
    model.read(0, 1);
    expect(of(model, () => model.touch(9, 3))).toMatchObject(wanted);
  });

  test('where the zero page is forbidden, gives memory at the price of a write, and a write finds it there', () => {
    const small = kernel(1, false, { read_maps_zero: false });
    expect(of(small, () => small.read(5, 100))).toMatchObject({ faults: 100, resident: 100, huge: 0 });
    expect(of(small, () => small.touch(0, 105))).toMatchObject({ faults: 5, resident: 105 });
    expect(kernel(1, false, { read_maps_zero: false }).read(0, 7)).toBe(7 * prices.fault_ns);
    const large = kernel(1, true, { read_maps_zero: false });
    expect(of(large, () => large.read(5, 1))).toMatchObject({ faults: 1, huge: 1, resident: window });
    expect(of(large, () => large.touch(0, window))).toMatchObject({ faults: 0 });
    expect(kernel(1, true, { read_maps_zero: false }).read(0, window)).toBe(prices.huge_fault_ns);
  });

  test('where the zero page is forbidden, still is no write: a page freed lazily stays so, and what was written stays known', () => {
    const model = kernel(1, true, { read_maps_zero: false });
    model.touch(0, 1);
    model.read(0, window);
    // Splitting sends the 511 pages that hold zeroes to the zero page, of which one is freed; the page that was written stays.
    expect(of(model, () => model.free(1, 1))).toMatchObject({ resident: 1 });
  });
});

describe('MADV_DONTNEED', () => {
  test('of touched pages gives them back; of untouched ones does nothing', () => {
    const model = kernel(2, false);
    model.touch(0, 10);
    expect(of(model, () => model.dontneed(5, 20))).toEqual({
      faults: 0,
      huge: 0,
      resident: 5,
      price: prices.madvise_ns + 5 * prices.release_page_ns,
    });
    expect(of(model, () => model.touch(0, 10))).toMatchObject({ faults: 5 });
  });

  test('of a whole huge window empties it, so the next touch is huge again', () => {
    const model = kernel(1, true);
    model.touch(0, window);
    expect(of(model, () => model.dontneed(0, window)).resident).toBe(0);
    expect(of(model, () => model.touch(0, window))).toMatchObject({ faults: 1, huge: 1 });
  });

  test('of a part splits it: the rest stays in small pages', () => {
    const model = kernel(1, true);
    model.touch(0, window);
    expect(of(model, () => model.dontneed(0, 1)).resident).toBe(window - 1);
    expect(model.huge_pages).toBe(0);
    expect(of(model, () => model.touch(0, window))).toMatchObject({ faults: 1, huge: 0 });
  });

  test.each([
    [true, 1],
    [false, window],
  ])('of a whole window in one call, pt_reclaim %s: the next touch is %i faults', (pt_reclaim, faults) => {
    const model = kernel(1, true, { pt_reclaim });
    model.touch(0, window);
    model.dontneed(0, 1);
    model.dontneed(0, window);
    expect(of(model, () => model.touch(0, window))).toMatchObject({ faults });
  });

  test('of both halves in two calls leaves the page table: 512 faults', () => {
    const model = kernel(1, true);
    model.touch(0, window);
    model.dontneed(0, window / 2);
    model.dontneed(window / 2, window / 2);
    expect(of(model, () => model.touch(0, window))).toMatchObject({ faults: window, huge: 0, resident: window });
  });

  test('over two areas in one call does not give back the page table between them', () => {
    const model = new PageModel(default_profile, prices);
    model.map(0, window / 2);
    model.adviseHuge(0, window / 2);
    model.touch(0, window / 2);
    model.map(window / 2, window / 2);
    model.touch(window / 2, window / 2);
    expect(model.areas.count).toBe(2);
    model.dontneed(0, window);
    expect(of(model, () => model.touch(0, 1))).toMatchObject({ faults: 1, huge: 0, resident: 1 });
  });

  test('as a vector is one call for all its ranges', () => {
    const model = kernel(4, true);
    model.touch(0, 4 * window);
    const price = model.dontneedVector([
      [0, window],
      [2 * window, window],
    ]);
    expect(model.resident_pages).toBe(2 * window);
    expect(price).toBe(prices.process_madvise_ns + 2 * prices.release_huge_ns);
    expect([model.syscalls.process_madvise, model.syscalls.madvise_dontneed]).toEqual([1, 0]);
  });
});

describe('MADV_FREE', () => {
  test('leaves pages resident, and the next write takes them back without a fault', () => {
    const model = kernel(1, false);
    model.touch(0, 10);
    expect(of(model, () => model.free(0, 10))).toEqual({
      faults: 0,
      huge: 0,
      resident: 10,
      price: prices.madvise_ns + 10 * prices.lazy_free_page_ns,
    });
    expect(of(model, () => model.free(0, 10)).price).toBe(prices.madvise_ns);
    expect(of(model, () => model.touch(0, 10))).toMatchObject({ faults: 0, resident: 10 });
    expect(of(model, () => model.free(0, 10)).price).toBe(prices.madvise_ns + 10 * prices.lazy_free_page_ns);
  });

  test('of a whole huge page keeps it huge, of a part of it splits it', () => {
    const model = kernel(2, true);
    model.touch(0, 2 * window);
    model.free(0, window);
    expect(model.huge_pages).toBe(2 * window);
    model.free(window, 1);
    expect(model.huge_pages).toBe(window);
    expect(of(model, () => model.touch(0, 2 * window))).toMatchObject({ faults: 0, resident: 2 * window });
  });

  test('leaves pages of the zero page, and untouched ones, as they are', () => {
    const model = kernel(1, false);
    model.read(0, 5);
    expect(of(model, () => model.free(0, 10)).price).toBe(prices.madvise_ns);
    expect(of(model, () => model.touch(0, 5))).toMatchObject({ faults: 5 });
  });

  test('then MADV_DONTNEED gives all of it back', () => {
    const model = kernel(2, true);
    model.touch(0, window + 3);
    model.free(0, 2 * window);
    model.dontneed(0, 2 * window);
    expect([model.resident_pages, model.huge_pages]).toEqual([0, 0]);
  });
});

describe('munmap', () => {
  test('of everything leaves nothing: no page, no area, no page table', () => {
    const model = kernel(2, true);
    model.touch(0, window + 5);
    model.unmap(0, 2 * window);
    expect([model.resident_pages, model.huge_pages, model.mapped_pages, model.areas.count]).toEqual([0, 0, 0, 0]);
    expect(model.mapped_pages_peak).toBe(2 * window);
    model.map(0, window);
    model.adviseHuge(0, window);
    expect(of(model, () => model.touch(0, 1))).toMatchObject({ faults: 1, huge: 1 });
  });

  test('of a part splits a huge page and the area', () => {
    const model = kernel(1, true);
    model.touch(0, window);
    model.unmap(100, 10);
    expect([model.resident_pages, model.huge_pages, model.areas.count]).toEqual([window - 10, 0, 2]);
  });

  test('keeps the page table while a neighbour in the window lives', () => {
    const model = kernel(1, false);
    model.touch(0, window);
    model.unmap(0, window / 2);
    model.map(0, window / 2);
    model.adviseHuge(0, window);
    expect(of(model, () => model.touch(0, window / 2))).toMatchObject({ faults: window / 2, huge: 0 });
  });
});

describe('areas', () => {
  const shapeOf = (areas: Areas) => areas.start.map((start, at) => [start, areas.end[at], areas.flag[at]]);

  test('that touch and are alike are one', () => {
    const areas = new Areas();
    areas.map(0, 10);
    areas.map(20, 30);
    expect(areas.count).toBe(2);
    areas.map(10, 20);
    expect(shapeOf(areas)).toEqual([[0, 30, area_flag.plain]]);
  });

  test('that were written before they met stay apart; what lies between joins the lower', () => {
    const areas = new Areas();
    areas.map(0, 10);
    areas.prepareAnon(0);
    areas.map(20, 30);
    areas.prepareAnon(1);
    areas.map(10, 20);
    expect(shapeOf(areas)).toEqual([
      [0, 20, area_flag.plain],
      [20, 30, area_flag.plain],
    ]);
  });

  test('that came from one share what they had, and meet again', () => {
    const areas = new Areas();
    areas.map(0, 30);
    areas.prepareAnon(0);
    areas.unmap(10, 20);
    expect(areas.anon[0]).toBe(areas.anon[1]);
    areas.map(10, 20);
    expect(areas.count).toBe(1);
  });

  test('split by advice on their middle, and merge again when told alike', () => {
    const areas = new Areas();
    areas.map(0, 30);
    areas.advise(10, 20, area_flag.huge);
    expect(shapeOf(areas)).toEqual([
      [0, 10, area_flag.plain],
      [10, 20, area_flag.huge],
      [20, 30, area_flag.plain],
    ]);
    areas.advise(20, 30, area_flag.huge);
    areas.advise(0, 10, area_flag.huge);
    expect(shapeOf(areas)).toEqual([[0, 30, area_flag.huge]]);
  });

  test('do not merge with an area of other advice', () => {
    const areas = new Areas();
    areas.map(0, 10);
    areas.advise(0, 10, area_flag.no_huge);
    areas.map(10, 20);
    expect(areas.count).toBe(2);
  });

  test('under any maps, unmaps and advice hold every page once, with the advice it had last', () => {
    const step = fc.record({
      kind: fc.constantFrom('map', 'unmap', 'advise'),
      at: fc.nat(30),
      flag: fc.constantFrom(1, 2),
      faults: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const areas = new Areas();
        const flags = new Map<number, number>();
        for (const { kind, at, flag, faults } of steps) {
          const [start, end] = [at * 4, at * 4 + 4];
          if (kind === 'map' && !flags.has(at)) {
            areas.map(start, end);
            flags.set(at, area_flag.plain);
          } else if (kind === 'unmap') {
            areas.unmap(start, end);
            flags.delete(at);
          } else if (kind === 'advise' && flags.has(at)) {
            areas.advise(start, end, flag);
            flags.set(at, flag);
          }
          if (faults && flags.has(at)) areas.prepareAnon(areas.find(start));
          for (let page = 0; page < 128; page += 1) {
            const area = areas.find(page);
            const wanted = flags.get(Math.floor(page / 4));
            expect(area < 0 ? undefined : areas.flag[area]).toBe(wanted);
          }
          for (let each = 1; each < areas.count; each += 1) {
            const touching = areas.end[each - 1] === areas.start[each] && areas.flag[each - 1] === areas.flag[each];
            if (touching) expect(areas.anon[each - 1] !== areas.anon[each] || areas.anon[each] === 0).toBe(true);
          }
        }
      }),
      { numRuns: runs },
    );
  });
});

describe('placement', () => {
  test('is first fit by address, on the alignment asked for, and joins what is given back', () => {
    const placement = new Placement(100);
    expect([placement.take(10, 1), placement.take(10, 16), placement.take(6, 1)]).toEqual([0, 16, 10]);
    placement.give(0, 10);
    placement.give(10, 6);
    expect(placement.isFree(0, 16)).toBe(true);
    expect(placement.isFree(0, 17)).toBe(false);
    expect([placement.take(16, 1), placement.take(74, 1), placement.take(1, 1)]).toEqual([0, 26, -1]);
  });

  test('what is given back twice is caught', () => {
    const placement = new Placement(100);
    placement.take(10, 1);
    placement.give(0, 10);
    expect(() => placement.give(0, 10)).toThrow('assertion failed');
  });
});

describe('the histogram', () => {
  test('is off by 1/64 at most, for any value up to 2^53', () => {
    const value = fc.oneof(
      fc.integer({ min: 0, max: 4096 }),
      fc.integer({ min: 0, max: 2 ** 31 }),
      fc.maxSafeNat(),
      fc.integer({ min: 5, max: 52 }).chain((bits) => fc.constantFrom(2 ** bits - 1, 2 ** bits, 2 ** bits + 1)),
    );
    fc.assert(
      fc.property(value, (of_value) => {
        const histogram = new Histogram();
        histogram.add(of_value);
        // A larger value so that the largest does not stand in for the middle.
        histogram.add(Number.MAX_SAFE_INTEGER);
        expect(Math.abs(histogram.quantile(5000) - of_value)).toBeLessThanOrEqual(of_value / 64);
      }),
      { numRuns: runs * 10 },
    );
  });

  test('answers the rank of a quantile exactly, where values have a bucket each', () => {
    const histogram = new Histogram();
    expect(histogram.quantile(5000)).toBe(0);
    for (let value = 1; value <= 20; value += 1) histogram.add(value);
    expect([1, 500, 501, 5000, 5001, 9500, 9501, 10_000].map((each) => histogram.quantile(each))).toEqual([
      1, 1, 2, 10, 11, 19, 20, 20,
    ]);
    expect([histogram.total, histogram.max]).toEqual([20, 20]);
  });

  test('counts every value once, and its quantiles never decrease', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(10_000_000), { minLength: 1 }), (values) => {
        const histogram = new Histogram();
        for (const value of values) histogram.add(value);
        expect(histogram.total).toBe(values.length);
        expect(histogram.max).toBe(Math.max(...values));
        const quantiles = [1, 100, 5000, 9000, 9900, 10_000].map((each) => histogram.quantile(each));
        expect(quantiles).toEqual([...quantiles].sort((a, b) => a - b));
        expect(quantiles.at(-1)!).toBeLessThanOrEqual(histogram.max);
      }),
      { numRuns: runs },
    );
  });
});

describe('the digest and the hash', () => {
  test('are the numbers they have always been: C has the same', () => {
    const digest = new Digest();
    expect(digest.hex()).toBe('85a308d3243f6a88');
    for (const word of [0, 1, 0xffffffff, 0x12345678]) digest.mix(word);
    expect(digest.hex()).toMatchInlineSnapshot(`"de02d3ae16f9ea67"`);
    expect([0, 1, 2, 0xffffffff, 0x9e3779b9].map(mix32)).toEqual([0, 0x514e28b7, 0x30f4c306, 0x81f16f39, 0x92ca2f0e]);
  });

  test('one bit of one event changes the digest, in both halves alike', async () => {
    const of = async (size: number): Promise<string[]> => {
      const { trace } = readScenario('digest', `alloc A ${size}\nfree A\n`);
      const setup: Setup = { config: configOf('BALANCED'), prices, profile: default_profile, touch: 'none', seed: 1 };
      return [replay(trace.chunks(), setup).decision_digest, (await replayCore(trace.chunks(), setup)).decision_digest];
    };
    const digests = await Promise.all([100, 101, 2 ** 20, 2 ** 20 + 1, 2 ** 33, 2 ** 33 + 2 ** 32].map(of));
    for (const [sim, core] of digests) expect(core).toBe(sim);
    expect(new Set(digests.map(([sim]) => sim)).size).toBe(digests.length);
  });

  test('an empty trace has the digest of nothing', async () => {
    const setup: Setup = { config: configOf('BALANCED'), prices, profile: default_profile, touch: 'none', seed: 1 };
    expect(replay([], setup).decision_digest).toBe('85a308d3243f6a88');
    expect((await replayCore([], setup)).decision_digest).toBe('85a308d3243f6a88');
  });
});

describe('touch models', () => {
  test.each([
    ['none', 10_000, 7, 0],
    ['first', 10_000, 7, 1],
    ['first', 0, 7, 0],
    ['page', 10_000, 7, 3],
    ['all', 8192, 7, 2],
    ['recorded', 10_000, 2, 2],
    ['recorded', 10_000, 7, 3],
    ['recorded', 10_000, limits.unknown, 3],
  ] as const)('%s of %i bytes with %i recorded touches %i pages', (model, bytes, recorded, pages) => {
    expect(touchedPages(touchIndex(model), bytes, recorded)).toBe(pages);
  });

  test('a page holds 1 to 4096 bytes', () => {
    expect([0, 1, 4096, 4097].map(pagesOf)).toEqual([0, 1, 1, 2]);
  });
});

describe('the heap ledger', () => {
  test('counts chunks as the C library cuts them: header, 16-byte steps, 32 bytes at least', () => {
    const faultsOf = (size: number, count: number): number => {
      const heap = new Heap();
      for (let at = 0; at < count; at += 1) heap.allocate(size);
      return heap.faults;
    };
    // 0 to 24 bytes take 32; 25 take 48.
    expect([0, 24, 25].map((size) => faultsOf(size, 4096 * 2))).toEqual([64, 64, 96]);
  });

  test('never shrinks, and reuses what was freed', () => {
    const heap = new Heap();
    heap.allocate(100_000);
    const { faults } = heap;
    heap.free(100_000);
    heap.allocate(100_000);
    expect(heap.faults).toBe(faults);
    expect(heap.resident_peak_bytes).toBe(faults * 4096);
  });
});
