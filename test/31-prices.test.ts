/** Prices as curves: reading between points, moving within intervals, and what becomes of files that say so. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { combine, type Pass } from '../experiments/calibrate/combine.ts';
import { isThisMachine, type Machine, nameOf, thisMachine } from '../experiments/calibrate/machine.ts';
import {
  nominalPrices,
  type PriceDocument,
  priceList,
  pricesInWords,
  readPrices,
} from '../experiments/calibrate/price-file.ts';
import { UsageError } from '../experiments/command.ts';
import {
  type CurveName,
  curve_names,
  curveFrom,
  curves,
  default_profile,
  type PriceCurve,
  point_limits,
  priceAt,
  prices,
  referenceOf,
  scaled,
} from '../sim/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-prices-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const curveOf = (points: readonly (readonly [number, number])[]): PriceCurve =>
  points.map(([x, ns]) => ({ x, ns, low: ns, high: ns }));

/** Ascending, up to the limits that keep interpolation exact. */
const anyCurve = fc
  .uniqueArray(fc.integer({ min: 1, max: point_limits.x }), { minLength: 1, maxLength: 8 })
  .chain((xs) =>
    fc
      .array(fc.integer({ min: 0, max: point_limits.ns }), { minLength: xs.length, maxLength: xs.length })
      .map((all) => curveOf([...xs].sort((a, b) => a - b).map((x, at) => [x, all[at]]))),
  );
const anyX = fc.oneof(fc.integer({ min: 1, max: 2 * point_limits.x }), fc.integer({ min: 1, max: 600 }));

describe('the price at a number of pages', () => {
  const curve = curveOf([
    [1, 100],
    [33, 740],
    [34, 40],
    [8192, 200],
  ]);

  test.each([
    [1, 100],
    [17, 420],
    [33, 740],
    [34, 40],
    [35, 40],
    [4113, 120],
    [8192, 200],
    [100_000, 200],
  ])('of %i pages is %i', (x, ns) => expect(priceAt(curve, x)).toBe(ns));

  test('halves are rounded up, on the way up and on the way down', () => {
    expect(
      [2, 3].map((x) =>
        priceAt(
          curveOf([
            [1, 0],
            [3, 1],
          ]),
          x,
        ),
      ),
    ).toEqual([1, 1]);
    expect(
      priceAt(
        curveOf([
          [1, 1],
          [3, 0],
        ]),
        2,
      ),
    ).toBe(1);
  });

  test('is exactly that of BigInt arithmetic, whatever the points', () => {
    fc.assert(
      fc.property(anyCurve, anyX, (points, x) => {
        const right = points.findIndex((point) => point.x >= x);
        const wanted = ((): number => {
          if (right <= 0) return points.at(right)!.ns;
          const [a, b] = [points[right - 1], points[right]];
          const width = BigInt(b.x - a.x);
          const sum = BigInt(a.ns) * BigInt(b.x - x) + BigInt(b.ns) * BigInt(x - a.x);
          return Number((2n * sum + width) / (2n * width));
        })();
        expect(priceAt(points, x)).toBe(wanted);
      }),
    );
  });

  test('lies between those of the points beside it, and is theirs at them', () => {
    fc.assert(
      fc.property(anyCurve, anyX, (points, x) => {
        const left = points.findLast((point) => point.x <= x) ?? points[0];
        const right = points.find((point) => point.x >= x) ?? points.at(-1)!;
        const ns = priceAt(points, x);
        expect(ns).toBeGreaterThanOrEqual(Math.min(left.ns, right.ns));
        expect(ns).toBeLessThanOrEqual(Math.max(left.ns, right.ns));
        for (const point of points) expect(priceAt(points, point.x)).toBe(point.ns);
      }),
    );
  });

  test('never falls when the price of a point rises', () => {
    fc.assert(
      fc.property(anyCurve, anyX, fc.nat(), fc.integer({ min: 1, max: 1000 }), (points, x, which, by) => {
        const raised = points.map((point, at) =>
          at === which % points.length ? { ...point, ns: Math.min(point_limits.ns, point.ns + by) } : point,
        );
        expect(priceAt(raised, x)).toBeGreaterThanOrEqual(priceAt(points, x));
      }),
    );
  });

  test('goes one way between two points', () => {
    fc.assert(
      fc.property(anyCurve, anyX, (points, x) => {
        const left = points.findLast((point) => point.x <= x);
        const right = points.find((point) => point.x >= x + 1);
        fc.pre(left !== undefined && right !== undefined);
        expect(
          Math.sign(priceAt(points, x + 1) - priceAt(points, x)) * Math.sign(right!.ns - left!.ns),
        ).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe('curves of flat prices', () => {
  test('are the flat price at any number of pages, and nothing where flat prices know of none', () => {
    const all = curveFrom(prices);
    for (const name of curve_names) {
      const { flat } = curves[name];
      for (const x of [1, referenceOf(name), 100_000])
        expect(priceAt(all[name], x)).toBe(flat === null ? 0 : prices[flat]);
    }
  });

  test('every flat price that a kernel is asked for has a curve of its own name', () => {
    const of_kernel = Object.keys(prices).filter((name) => !['heap_call_ns', 'lookup_ns', 'probe_ns'].includes(name));
    expect(of_kernel.filter((name) => !(curve_names as readonly string[]).includes(name))).toEqual([]);
    expect(curve_names.filter((name) => name in prices).map((name) => curves[name].flat)).toEqual(
      curve_names.filter((name) => name in prices),
    );
  });
});

describe('the ends of the intervals', () => {
  const all = { ...curveFrom(prices), fault_ns: [{ x: 16, ns: 1000, low: 900, high: 1400 }] };
  const at = (quantile: number): number => scaled(all, quantile).fault_ns[0].ns;

  test('0.025 is the low one, 0.5 the median, 0.975 the high one, and there is nothing beyond', () => {
    expect([0, 0.025, 0.5, 0.975, 1].map(at)).toEqual([900, 900, 1000, 1400, 1400]);
    expect(at(0.7375)).toBe(1200);
  });

  test('a price never falls as the quantile rises, and keeps to its interval', () => {
    const quantile = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(quantile, quantile, (a, b) => {
        expect(at(Math.min(a, b))).toBeLessThanOrEqual(at(Math.max(a, b)));
        expect(at(a)).toBeGreaterThanOrEqual(900);
        expect(at(a)).toBeLessThanOrEqual(1400);
      }),
    );
  });
});

/** A pass in which everything costs its number of pages and something that is the pass's own. */
function passOf(own: number, more: Partial<Pass> = {}): Pass {
  const pages = [1, 16, 512, 8192];
  const curve = curve_names.flatMap((name) =>
    pages.map((at) => ({ group: 'curve' as const, name, variant: '', at, ns: at + own })),
  );
  const contention = ['alone', 'unrelated', 'beside', 'both', 'both_wall'].map((variant, at) => ({
    group: 'contention' as const,
    name: 'dontneed',
    variant,
    at: 16,
    ns: 100 * at + own,
  }));
  const pairs = [24, 100].map((at) => ({
    group: 'library' as const,
    name: 'cached_pair_ns',
    variant: '',
    at,
    ns: 2 * own,
  }));
  const clock = { group: 'clock' as const, name: 'syscall_ns', variant: '', at: 0, ns: own };
  return {
    huge: true,
    contention: true,
    cold_huge_faults: 2,
    fallen_back_huge_faults: 1,
    cpu_s: 1,
    figures: [...curve, ...contention, ...pairs, clock],
    ...more,
  };
}

const circumstances = {
  machine: thisMachine(),
  profile: default_profile,
  measured_at: '2026-11-24T00:00:00.000Z',
  others_busy: 0,
};

describe('passes combined', () => {
  const document = combine([passOf(3), passOf(1), passOf(2.4)], circumstances);

  test('are medians of passes in whole nanoseconds, in an interval', () => {
    expect(document.curves.fault_ns).toEqual([
      [1, 3, 2, 4],
      [16, 18, 17, 19],
      [512, 514, 513, 515],
      [8192, 8194, 8193, 8195],
    ]);
    expect(document.runs).toBe(3);
    expect(document.left_out).toEqual({ cold_huge_faults: 6, fallen_back_huge_faults: 3 });
  });

  test('a flat price is that of 512 pages, of vectored calls of 16 ranges; a heap call is half a pair', () => {
    expect(document.prices).toMatchObject({ fault_ns: 514, mmap_ns: 514, process_madvise_ns: 18, heap_call_ns: 2 });
    expect(document.intervals.fault_ns).toEqual({ low: 513, high: 515 });
  });

  test('what no machine has is nominal and said to be', () => {
    const { lookup_ns, probe_ns } = document.prices;
    expect({ lookup_ns, probe_ns }).toEqual({ lookup_ns: prices.lookup_ns, probe_ns: prices.probe_ns });
    expect(Object.keys(document.not_measured)).toEqual(['lookup_ns', 'probe_ns']);
  });

  test('a shootdown is what a thread adds to a process, pass by pass', () => {
    expect(document.contention!.dontneed_ns).toEqual([
      {
        pages: 16,
        alone: { ns: 2, low: 1, high: 3 },
        unrelated: { ns: 102, low: 101, high: 103 },
        beside: { ns: 202, low: 201, high: 203 },
        beside_adds: { ns: 100, low: 100, high: 100 },
        both: { ns: 302, low: 301, high: 303 },
        both_wall: { ns: 402, low: 401, high: 403 },
      },
    ]);
  });

  test('nor is it less than nothing where it was told by itself, though its interval may be', () => {
    const shootdown = (ns: number) => ({
      group: 'shootdown' as const,
      name: 'beside_adds_ns',
      variant: '',
      at: 64,
      ns,
    });
    const passes = [-30, 5, -10].map((ns) => passOf(1, { figures: [...passOf(1).figures, shootdown(ns)] }));
    const told = combine(passes, circumstances);
    expect(told.shootdown).toEqual({ ns: -10, low: -30, high: 5 });
    expect(priceList(told, '').shootdown_ns).toBe(0);
    expect(combine(passes.slice(1, 2), circumstances).shootdown!.ns).toBe(5);
    expect(document.shootdown).toBeNull();
  });

  test('differences below the noise cost a nanosecond, not less', () => {
    const { curves: points } = combine([passOf(-20_000)], circumstances);
    expect(points.release_page_ns!.every(([, ns, low, high]) => ns === 1 && low === 1 && high === 1)).toBe(true);
  });

  test('without huge pages and a second CPU, both are missing with a reason, and flat prices stay nominal', () => {
    const figures = passOf(1).figures.filter(({ group, name }) => group !== 'contention' && !/huge|small/.test(name));
    const bare = combine([passOf(1, { huge: false, contention: false, figures })], circumstances);
    expect(bare.contention).toBeNull();
    expect(bare.prices.huge_fault_ns).toBe(prices.huge_fault_ns);
    expect(bare.curves.huge_fault_ns).toBeUndefined();
    expect(bare.not_measured).toMatchObject({
      huge_fault_ns: expect.stringContaining('no huge pages'),
      advise_small_ns: expect.stringContaining('no huge pages'),
      contention: expect.stringContaining('one CPU'),
    });
  });
});

describe('price files', () => {
  const document = combine([passOf(1), passOf(2)], circumstances);
  const written = (text: unknown): string => {
    const path = join(folder, 'prices.json');
    writeFileSync(path, typeof text === 'string' ? text : JSON.stringify(text));
    return path;
  };
  const changed = (change: (document: Mutable<PriceDocument>) => void): string => {
    const copy = structuredClone(document) as Mutable<PriceDocument>;
    change(copy);
    return written(copy);
  };

  test('what is written is read: prices, curves, and that they are of this machine', async () => {
    const read = await readPrices(written(document));
    expect(read).toMatchObject({ source: 'measured', machine: 'this', machine_name: nameOf(thisMachine()) });
    expect(read.prices).toEqual(document.prices);
    for (const name of curve_names)
      expect(read.curves[name].map(({ x, ns, low, high }) => [x, ns, low, high])).toEqual(document.curves[name]);
    expect(pricesInWords(read)).toBe('prices measured on this machine');
  });

  test('a file from before fresh memory had a curve has it faulted like memory that is cycled', async () => {
    const older = changed(({ curves }) => {
      delete curves.fresh_fault_ns;
    });
    const { curves } = await readPrices(older);
    expect(curves.fresh_fault_ns).toEqual(curves.fault_ns);
  });

  test("the library's calls by their way and the shootdown are taken where they were measured", async () => {
    const read = await readPrices(written(document));
    expect(read.shootdown_ns).toBe(100);
    // Without bins and joining no way but one is known.
    expect(read.library).toBeNull();
    const whole = changed(({ library }) => {
      library.bin_pair_ns = [
        [24, 10, 8, 12],
        [1000, 31, 20, 40],
      ];
      library.joined_malloc_ns = [[65_536, 40, 30, 50]];
      library.joined_free_ns = [[65_536, 60, 50, 70]];
      library.cached_pair_ns = [[24, 6, 6, 6]];
    });
    expect((await readPrices(whole)).library).toEqual({
      cached_ns: 3,
      listed_ns: 10,
      searched_allocate_ns: 40,
      searched_free_ns: 60,
    });
    const told = changed((copy) => {
      copy.shootdown = { ns: 7, low: -1, high: 9 };
    });
    expect((await readPrices(told)).shootdown_ns).toBe(7);
    const alone = await readPrices(
      changed((copy) => {
        copy.contention = null;
      }),
    );
    expect(alone.shootdown_ns).toBeNull();
    expect(nominalPrices()).toMatchObject({ library: null, shootdown_ns: null });
  });

  test('prices of another id, or of a machine that its id is not of, are of another machine', async () => {
    const forged = changed(({ machine }) => {
      machine.id = '0123456789abcdef';
    });
    expect(pricesInWords(await readPrices(forged))).toMatch(/^prices of ANOTHER machine \(/);
    const renamed = changed(({ machine }) => {
      machine.cpu = 'Abacus';
    });
    const read = await readPrices(renamed);
    expect(read.machine).toBe('other');
    expect(pricesInWords(read)).toContain('Abacus, ');
  });

  test.each<[string, (machine: Mutable<Machine>) => void]>([
    [
      'processor',
      (machine) => {
        machine.cpu += '!';
      },
    ],
    [
      'number of processors',
      (machine) => {
        machine.cpus += 1;
      },
    ],
    [
      'memory',
      (machine) => {
        machine.memory_bytes += 2 ** 32;
      },
    ],
    [
      'kernel',
      (machine) => {
        machine.kernel += '-next';
      },
    ],
    [
      'huge page setting',
      (machine) => {
        machine.thp.enabled = 'always';
      },
    ],
    [
      'C library',
      (machine) => {
        machine.glibc = 'glibc 9.9';
      },
    ],
  ])('a machine with another %s is another machine', (_, change) => {
    const other = structuredClone(thisMachine()) as Mutable<Machine>;
    expect(isThisMachine(other)).toBe(true);
    change(other);
    expect(isThisMachine(other)).toBe(false);
  });

  test('a flat list of an earlier version is read, of an unknown machine, with flat curves', async () => {
    const { probe_ns: _, ...old } = { ...prices, fault_ns: 77 };
    const read = await readPrices(written({ name: 'old', prices: old }));
    expect(read).toMatchObject({ name: 'old', source: 'measured', machine: 'unknown', machine_name: null });
    expect(read.prices).toEqual({ ...prices, fault_ns: 77 });
    expect(priceAt(read.curves.refault_ns, 5)).toBe(77);
    expect(pricesInWords(read)).toBe('prices of a file that names no machine');
    expect(pricesInWords(nominalPrices())).toBe('nominal prices');
  });

  test('a curve that is missing is flat at its price', async () => {
    const read = await readPrices(
      changed(({ curves: points }) => {
        Reflect.deleteProperty(points, 'huge_fault_ns');
      }),
    );
    expect(priceAt(read.curves.huge_fault_ns, 8192)).toBe(document.prices.huge_fault_ns);
  });

  const curve =
    (points: unknown) =>
    (copy: Mutable<PriceDocument>): void => {
      (copy.curves as Record<CurveName, unknown>).fault_ns = points;
    };
  test.each<[string, (copy: Mutable<PriceDocument>) => void, RegExp]>([
    ['a fraction of a nanosecond', curve([[16, 1.5, 1, 2]]), /prices\.json: curves\.fault_ns\.0\.1: /],
    ['a price outside its interval', curve([[16, 5, 1, 2]]), /curves\.fault_ns\.0: .*outside its interval/],
    [
      'points that do not ascend',
      curve([
        [16, 1, 1, 1],
        [16, 1, 1, 1],
      ]),
      /curves\.fault_ns: .*ascend/,
    ],
    ['a curve without points', curve([]), /curves\.fault_ns: /],
    ['more pages than interpolation is exact for', curve([[2 ** 22 + 1, 1, 1, 1]]), /curves\.fault_ns\.0\.0: /],
    [
      'no machine',
      (copy) => {
        Reflect.deleteProperty(copy, 'machine');
      },
      /prices\.json: machine: /,
    ],
    [
      'an unknown format',
      (copy) => {
        (copy as { format: string }).format = 'hakmem-prices 2';
      },
      /prices\.json: format: /,
    ],
  ])('refuses %s, naming the field', async (_, change, words) => {
    const refused = readPrices(changed(change));
    await expect(refused).rejects.toThrow(UsageError);
    await expect(refused).rejects.toThrow(words);
  });
});

type Mutable<T> = { -readonly [key in keyof T]: T[key] extends object ? Mutable<T[key]> : T[key] };
