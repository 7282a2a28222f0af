/**
 * The pieces that learning is made of: the generator, ratings, quantiles, signatures. Two million steps of each come to
 * the same bits in TypeScript and in C, however C is compiled. HAKMEM_RUNS sets how many cases a property tries.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { afterAll, describe, expect, test } from 'vitest';
import { expected16, matchElo } from '../sim/decide/elo.ts';
import { P2 } from '../sim/decide/p2.ts';
import { Prng } from '../sim/decide/prng.ts';
import { driftPermille, no_test, Signature } from '../sim/decide/signature.ts';
import { Histogram } from '../sim/kernel/histogram.ts';
import { params, shape } from '../sim/spec.ts';
import { countsOf, numerics } from './programs/numerics.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const numRuns = Number(process.env.HAKMEM_RUNS ?? 300);
const { elo_start, elo_unit, elo_reach, strategies } = shape;

/** Made by ourselves: a change of both halves at once shows here, and only here. */
const golden = {
  generator: 'bd040e61',
  expected: 'cec32cf0',
  elo: '6a3c6bcc',
  p2: '43ae45a5',
  histogram: '8377cf22',
  signature: 'da75e181',
};

/** Rejects with what the program said where it ends with another status than 0. */
const run = promisify(execFile);
const native = join(import.meta.dirname, '..', 'native');
const folder = mkdtempSync(join(tmpdir(), 'hakmem-numerics-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.concurrent('two million steps of each piece', () => {
  const sources = [
    join(import.meta.dirname, 'programs', 'numerics.c'),
    ...['prng', 'elo', 'p2', 'histogram', 'signature'].map((name) => join(native, 'core', `${name}.c`)),
  ];
  /** As the core itself is compiled. */
  const [, flags] = /^CFLAGS_CORE := (.*) \$\(COMMON\)$/m.exec(readFileSync(join(native, 'Makefile'), 'utf8'))!;
  const optimised = [['-O0'], ['-O1'], ['-O2'], ['-O3'], ['-O3', '-march=native']];
  const cases = [
    ...optimised.map((options) => ({ compiler: 'gcc', options, runner: [] })),
    ...optimised.map((options) => ({ compiler: 'clang', options, runner: [] })),
    // Where a fused multiply-add is what a compiler would like best; once, for qemu is slow with doubles.
    { compiler: 'aarch64-linux-gnu-gcc', options: ['-O3', '-static'], runner: ['qemu-aarch64-static'] },
  ];
  const missing = (tools: readonly string[]): string[] =>
    tools.filter((tool) => spawnSync(tool, ['--version']).status !== 0);

  test('in TypeScript come to what they always did', () => {
    expect(numerics()).toEqual(golden);
  });

  for (const { compiler, options, runner } of cases) {
    const lacking = missing([compiler, ...runner]);
    const title = [compiler, ...options, ...runner].join(' ');
    const how =
      lacking.length > 0 ? `not compared: ${lacking.join(' and ')} is not installed` : 'come to the same bits';
    test.skipIf(lacking.length > 0)(`with ${title} ${how}`, async () => {
      const program = join(folder, title.replaceAll(/\W+/g, '-'));
      const args = [...flags.split(' '), ...options, '-I', join(native, 'core'), ...sources, '-o', program];
      await run(compiler, args);
      const [command, ...rest] = [...runner, program];
      const { stdout } = await run(command, rest);
      const lines = stdout.trimEnd().split('\n');
      expect(Object.fromEntries(lines.map((line) => line.split(' ')))).toEqual(golden);
    });
  }
});

describe('the generator', () => {
  test('is seedrandom.alea, for any seed', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (seed) => {
        const own = new Prng(seed);
        const other = seedrandom.alea(seed);
        for (let draw = 0; draw < 200; draw += 1) expect(own.next()).toBe(other());
        expect(own.draws).toBe(200);
      }),
      { numRuns },
    );
  });

  test('draws below a count: every number, and none more', () => {
    const prng = new Prng('below');
    const seen = new Set(Array.from({ length: 1000 }, () => prng.below(12)));
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });
});

describe('Elo', () => {
  const anyRating = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  const anyScore = fc.constantFrom<0 | 32768 | 65536>(0, 32768, 65536);
  const equals = (): Int32Array => new Int32Array(strategies).fill(elo_start * elo_unit);
  const sumOf = (ratings: Int32Array): number => ratings.reduce((sum, rating) => sum + rating, 0);

  test('expects 1 / (1 + 10^(d / 400)) up to its reach, within two parts of 65536', () => {
    for (let behind = -elo_reach; behind <= elo_reach; behind += 1 / 7) {
      const found = expected16(0, Math.round(behind * elo_unit));
      expect(Math.abs(found - 65536 / (1 + 10 ** (behind / 400)))).toBeLessThan(2);
    }
    expect(expected16(0, 2000 * elo_unit)).toBe(expected16(0, elo_reach * elo_unit));
  });

  test('I20: what both sides expect adds up to one, exactly, and more points never expect less', () => {
    fc.assert(
      fc.property(anyRating, anyRating, fc.nat(elo_unit), (own, other, more) => {
        expect(expected16(own, other) + expected16(other, own)).toBe(65536);
        expect(expected16(own + more, other)).toBeGreaterThanOrEqual(expected16(own, other));
      }),
      { numRuns: numRuns * 10 },
    );
  });

  test('I17: the sum of ratings stays what it was, exactly, and one gains what the other loses', () => {
    const anyMatch = fc.tuple(
      fc.nat(strategies - 1),
      fc.nat(strategies - 1),
      anyScore,
      fc.integer({ min: 1, max: 256 }),
    );
    fc.assert(
      fc.property(fc.array(anyMatch, { maxLength: 400, size: 'max' }), (matches) => {
        const ratings = equals();
        for (const [a, b, score, k] of matches.filter(([a, b]) => a !== b)) {
          const before = ratings.slice();
          const delta = matchElo(ratings, a, b, score, k);
          expect([ratings[a] - before[a], ratings[b] - before[b]]).toEqual([delta, 0 - delta]);
        }
        expect(sumOf(ratings)).toBe(strategies * elo_start * elo_unit);
      }),
      { numRuns },
    );
  });

  test('I19: a draw of equals moves nothing, and one of others moves the weaker up', () => {
    fc.assert(
      fc.property(
        anyRating,
        fc.integer({ min: 1, max: 2 ** 24 }),
        fc.integer({ min: 1, max: 256 }),
        (rating, more, k) => {
          const same = Int32Array.of(rating, rating);
          expect(matchElo(same, 0, 1, 32768, k)).toBe(0);
          expect([...same]).toEqual([rating, rating]);
          const weaker = Int32Array.of(0, elo_unit + more);
          expect(matchElo(weaker, 0, 1, 32768, k)).toBeGreaterThan(0);
        },
      ),
      { numRuns },
    );
  });

  test('a win of equals moves half of k, and a win that was certain nothing', () => {
    const ratings = equals();
    expect(matchElo(ratings, 0, 1, 65536, 32)).toBe(16 * elo_unit);
    expect(matchElo(ratings, 2, 3, 0, 32)).toBe(-16 * elo_unit);
    const apart = Int32Array.of(0, elo_reach * elo_unit);
    expect(matchElo(apart, 0, 1, 0, 32)).toBe(0);
    expect(matchElo(apart, 1, 0, 65536, 32)).toBe(0);
    expect(matchElo(apart, 0, 1, 65536, 32)).toBe(32 * (65536 - shape.elo_expected16[elo_reach]));
    expect(matchElo(Int32Array.of(0, elo_reach * elo_unit - 1), 1, 0, 65536, 32)).toBeGreaterThan(0);
  });

  test('strategies that always win and always lose stay within the bound that keeps an int32 from overflowing', () => {
    const k = params.elo_k.max;
    const bound = ((strategies - 1) / 2) * (elo_reach + 2 * k) * elo_unit;
    expect(elo_start * elo_unit + bound).toBeLessThan(2 ** 31);
    const ratings = equals();
    for (let round = 0; round < 20_000; round += 1)
      for (let a = 0; a < strategies; a += 1)
        for (let b = a + 1; b < strategies; b += 1) matchElo(ratings, a, b, 65536, k);
    for (const rating of ratings) expect(Math.abs(rating - elo_start * elo_unit)).toBeLessThanOrEqual(bound);
    // So far that the bound is no idle one.
    expect(ratings[0] - elo_start * elo_unit).toBeGreaterThan(bound / 2);
  });
});

describe('P-square', () => {
  const anyValues = fc.array(
    fc.oneof(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), fc.nat(5), fc.nat(10_000)),
    {
      minLength: 1,
      maxLength: 300,
      size: 'max',
    },
  );
  const anyShare = fc.constantFrom(0.01, 0.5, 0.9, 0.99, 0.999);

  test('the example of the paper: five markers after twenty values, to two digits', () => {
    const values = [
      0.02, 0.15, 0.74, 3.39, 0.83, 22.37, 10.15, 15.43, 38.62, 15.92, 34.6, 10.28, 1.47, 0.4, 0.05, 11.39, 0.27, 0.42,
      0.09, 11.37,
    ];
    const p2 = new P2(0.5);
    for (const value of values) p2.add(value);
    expect(Array.from(p2.heights, (height) => height.toFixed(2))).toEqual(['0.02', '0.49', '4.44', '17.20', '38.62']);
    expect([...p2.positions]).toEqual([1, 6, 10, 16, 20]);
    expect(p2.estimate().toFixed(2)).toBe('4.44');
  });

  test('I27: heights ascend from least to greatest, positions from 1 to the count, and are distinct', () => {
    fc.assert(
      fc.property(anyValues, anyShare, (values, p) => {
        const p2 = new P2(p);
        let least = Number.POSITIVE_INFINITY;
        let greatest = 0;
        for (const [at, value] of values.entries()) {
          p2.add(value);
          least = Math.min(least, value);
          greatest = Math.max(greatest, value);
          if (at < 4) continue;
          const heights = [...p2.heights];
          const positions = [...p2.positions];
          const ends = [heights[0], heights[4], positions[0], positions[4], p2.count];
          expect(ends).toEqual([least, greatest, 1, at + 1, at + 1]);
          const pairs = [1, 2, 3, 4].filter(
            (marker) => heights[marker] >= heights[marker - 1] && positions[marker] >= positions[marker - 1] + 1,
          );
          expect(pairs).toHaveLength(4);
        }
      }),
      { numRuns },
    );
  });

  test('a value as high as a marker counts above it', () => {
    const p2 = new P2(0.5);
    for (const value of [1, 2, 3, 4, 5, 3]) p2.add(value);
    expect([...p2.positions]).toEqual([1, 2, 3, 5, 6]);
  });

  test('with less than five values it is exact, and without any there is no answer', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100), { minLength: 1, maxLength: 4 }), anyShare, (values, p) => {
        const p2 = new P2(p);
        expect(p2.estimate()).toBeNaN();
        for (const value of values) p2.add(value);
        const sorted = values.toSorted((a, b) => a - b);
        expect(p2.estimate()).toBe(sorted[Math.ceil(p * values.length) - 1]);
      }),
      { numRuns },
    );
  });

  test('NaN, infinities and negative numbers are counted and change nothing', () => {
    const p2 = new P2(0.99);
    const clean = new P2(0.99);
    for (let at = 0; at < 100; at += 1) {
      for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, -5e-324]) p2.add(wrong);
      p2.add((at * 37) % 101);
      clean.add((at * 37) % 101);
    }
    expect(p2.rejected).toBe(500);
    expect({ ...p2, rejected: 0 }).toEqual({ ...clean });
  });

  test('what was cleared begins anew', () => {
    const p2 = new P2(0.9);
    for (let at = 0; at < 50; at += 1) p2.add(1e6 + at);
    p2.clear();
    expect({ ...p2 }).toEqual({ ...new P2(0.9) });
  });

  test('p99 of 10,000 evenly spread values is told within one part in a hundred', () => {
    const prng = new Prng('spread');
    const p2 = new P2(0.99);
    for (let at = 0; at < 10_000; at += 1) p2.add(1000 * prng.next());
    expect(Math.abs(p2.estimate() - 990)).toBeLessThan(10);
  });
});

describe('histogram', () => {
  const anyValues = fc.array(fc.oneof(fc.nat(100), fc.nat(), fc.maxSafeInteger().map(Math.abs)), { maxLength: 100 });
  const histogramOf = (values: readonly number[]): Histogram => {
    const histogram = new Histogram();
    for (const value of values) histogram.add(value);
    return histogram;
  };

  test('I28: the total is the count, and merged is added one after the other', () => {
    fc.assert(
      fc.property(anyValues, anyValues, (first, second) => {
        const merged = histogramOf(first);
        merged.merge(histogramOf(second));
        expect(merged).toEqual(histogramOf([...first, ...second]));
        expect(merged.total).toBe(first.length + second.length);
        expect(countsOf(merged).reduce((sum, count) => sum + count, 0)).toBe(merged.total);
      }),
      { numRuns },
    );
  });

  test('what was cleared is as new', () => {
    const histogram = histogramOf([1, 2 ** 40]);
    histogram.clear();
    expect(histogram).toEqual(new Histogram());
  });
});

describe('signature of sizes', () => {
  const drift = params.drift_permille.value;
  const signatureOf = (...sizes: readonly [times: number, size_bytes: number][]): Signature => {
    const signature = new Signature();
    for (const [times, size_bytes] of sizes) for (let at = 0; at < times; at += 1) signature.add(size_bytes);
    return signature;
  };
  const classOf = (size_bytes: number): number => signatureOf([1, size_bytes]).counts.indexOf(1);

  test('has four classes an octave, and takes what is smaller or larger into the outer ones', () => {
    const first = shape.signature_from_bytes;
    for (let at = 0; at < shape.signature_classes; at += 1) {
      const from = first * 2 ** Math.floor(at / 4) * (1 + (at % 4) / 4);
      expect([classOf(from - 1), classOf(from)]).toEqual([Math.max(0, at - 1), at]);
    }
    expect([0, 1, 4096].map(classOf)).toEqual([0, 0, 0]);
    expect([128 * MiB, 2 ** 47].map(classOf)).toEqual([43, 43]);
  });

  test('of one kind is at no distance, of nothing in common at 2000, of half at 1000', () => {
    const small = signatureOf([1000, 64 * KiB]);
    const large = signatureOf([777, 3 * MiB]);
    expect(driftPermille(small, small)).toBe(0);
    expect(driftPermille(small, large)).toBe(2000);
    expect(driftPermille(large, small)).toBe(2000);
    const below = 80 * KiB - 1;
    expect(driftPermille(signatureOf([500, below], [500, 80 * KiB]), signatureOf([1000, below]))).toBe(1000);
  });

  test('added up and copied is as if all had been added there', () => {
    const first: [number, number][] = [[3, 5 * MiB]];
    const second: [number, number][] = [
      [2, 64 * KiB],
      [7, 1 * MiB],
    ];
    const both = signatureOf(...first);
    both.addAll(signatureOf(...second));
    expect(both).toEqual(signatureOf(...first, ...second));
    const copy = signatureOf(...second);
    copy.copyFrom(both);
    expect(copy).toEqual(both);
    copy.clear();
    expect([copy, both.samples]).toEqual([new Signature(), 12]);
  });

  test('of nothing in common is at 2000 however the shares are rounded', () => {
    const anyTimes = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 11, maxLength: 11 });
    fc.assert(
      fc.property(anyTimes, anyTimes, (first, second) => {
        const octaves = (times: readonly number[], from: number): Signature =>
          signatureOf(...times.map((each, at): [number, number] => [each, from * 2 ** at]));
        const found = driftPermille(octaves(first, 64 * KiB), octaves(second, 96 * KiB));
        expect([no_test, 2000]).toContain(found);
      }),
      { numRuns },
    );
  });

  test('is not compared below 100 samples for each class that it has itself', () => {
    expect(driftPermille(signatureOf(), signatureOf())).toBe(no_test);
    expect(driftPermille(signatureOf([200, MiB]), signatureOf([99, MiB]))).toBe(no_test);
    expect(driftPermille(signatureOf([99, MiB]), signatureOf([200, MiB]))).toBe(no_test);
    expect(driftPermille(signatureOf([100, MiB]), signatureOf([100, MiB]))).toBe(0);
    expect(driftPermille(signatureOf([100, MiB]), signatureOf([100, 2 * MiB], [99, 4 * MiB]))).toBe(no_test);
    // A reference of one class needs no more because the other has spread.
    expect(driftPermille(signatureOf([100, MiB]), signatureOf([100, 2 * MiB], [100, 4 * MiB]))).toBe(2000);
  });

  test('by bytes tells what the count does not, unless few blocks make up the bytes', () => {
    // Shares of 64 and 80 against 4 and 80: twice (80/84 - 80/144).
    const before = signatureOf([500, 64 * KiB], [500, 80 * KiB]);
    expect(driftPermille(before, signatureOf([500, 4 * KiB], [500, 80 * KiB]))).toBe(793);
    const same = signatureOf([1000, 64 * KiB]);
    const one_more = signatureOf([1000, 64 * KiB], [1, 128 * MiB]);
    expect([driftPermille(same, one_more), driftPermille(one_more, same)]).toEqual([1, 1]);
  });

  describe.each([
    ['Zipf, small ones most often', (rank: number) => 1 / (1 + rank), 1],
    ['Zipf, over twice the octaves', (rank: number) => 1 / (1 + rank), 2],
    ['all alike', () => 1, 1],
  ] as const)('no false alarm: %s', (_, weight, apart) => {
    test.each([
      [8, 100],
      [20, 100],
      [20, 500],
    ])('%i classes, %i samples of each', (kinds, each) => {
      const weights = Array.from({ length: kinds }, (_, rank) => weight(rank));
      const total = weights.reduce((sum, one) => sum + one, 0);
      const drawn = (prng: Prng): Signature => {
        const signature = new Signature();
        for (let at = 0; at < kinds * each; at += 1) {
          let left = prng.next() * total;
          let rank = 0;
          while (rank < kinds - 1 && left >= weights[rank]) left -= weights[rank++];
          const quarter = rank * apart;
          signature.add(shape.signature_from_bytes * 2 ** Math.floor(quarter / 4) * (1 + (quarter % 4) / 4));
        }
        return signature;
      };
      const distances = Array.from({ length: 200 }, (_, seed) => {
        const prng = new Prng(`${kinds} ${each} ${seed}`);
        return driftPermille(drawn(prng), drawn(prng));
      });
      expect(Math.min(...distances)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...distances)).toBeLessThan(drift);
    });
  });
});
