/** A sampled recording: unbiased, whole for large blocks, with exact counts, on programs whose calls are known. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { open } from '../traces/index.ts';
import { drawnProbability } from '../traces/sample-estimate.ts';
import { op, type Sampling, type Trace } from '../traces/trace.ts';
import { refusedIn, run } from './command-line.ts';

const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-sample-'));
const program = join(folder, 'samples');
const rounds = 20000;
const large = 70000;

beforeAll(() => {
  const source = join(root, 'test', 'programs', 'samples.c');
  const { status, stderr } = spawnSync('cc', ['-O1', '-w', '-fno-builtin', '-pthread', '-o', program, source], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
});
afterAll(() => rmSync(folder, { recursive: true }));

function recorded(mode: string, options: readonly string[]): { main: Trace; others: Trace[]; path: string } {
  const output = mkdtempSync(join(folder, 'out-'));
  const path = join(output, 'x.hak');
  run(folder, ['record', '-o', path, ...options, '--', program, mode]);
  const others = readdirSync(output).filter((name) => name !== 'x.hak');
  return { main: open(path), others: others.map((name) => open(join(output, name))), path };
}

/** Calls by kind and size. */
function tallied(trace: Trace): Map<string, number> {
  const calls = new Map<string, number>();
  for (const chunk of trace.chunks())
    for (let row = 0; row < chunk.length; row += 1) {
      const call = `${chunk.op[row]}/${chunk.size_bytes[row]}`;
      calls.set(call, (calls.get(call) ?? 0) + 1);
    }
  return calls;
}

const counted = (trace: Trace, size: number, kinds: readonly number[] = [op.malloc, op.calloc, op.realloc]): number => {
  const calls = tallied(trace);
  return kinds.reduce((sum, kind) => sum + (calls.get(`${kind}/${size}`) ?? 0), 0);
};

/** In standard deviations of the binomial distribution. */
function distance(sampled: number, blocks: number, probability: number): number {
  return Math.abs(sampled - blocks * probability) / Math.sqrt(blocks * probability * (1 - probability));
}

const total = (sampling: Sampling, of: 'allocations' | 'allocated_bytes' | 'ends') =>
  sampling.counts.reduce((sum, each) => sum + each[of], 0);

describe('the sample', () => {
  test.each([1, 2])('with seed %d each size is drawn as often as its bytes say, within 5 sigma', (seed) => {
    const { main } = recorded('known', ['--sample', '16KiB', '--seed', String(seed)]);
    expect(main.origin.sampling).toMatchObject({ mean_bytes: 16384, seed, whole_bytes: 65536 });
    for (const size of [101, 1003, 2005]) {
      const probability = 1 - Math.exp(-size / 16384);
      expect(drawnProbability(main.origin.sampling!, size)).toBeCloseTo(probability, 12);
      expect(distance(counted(main, size), rounds, probability)).toBeLessThan(5);
    }
    // A realloc enters the sample as an allocation where its old block was not in it.
    const grown = 1 - Math.exp(-5007 / 16384);
    expect(distance(counted(main, 5007), rounds, grown)).toBeLessThan(5);
    const both = grown * (1 - Math.exp(-2005 / 16384));
    expect(distance(counted(main, 5007, [op.realloc]), rounds, both)).toBeLessThan(5);
  });

  test('half of the blocks that are never freed stay live in it', () => {
    const { main } = recorded('known', ['--sample', '16KiB']);
    const sampled = counted(main, 1003);
    expect(distance(main.statistics.unfreed, sampled, 0.5)).toBeLessThan(5);
  });

  test('has every block of 64 KiB and more, also with a mean that draws no other', () => {
    const { main } = recorded('known', ['--sample', '1TiB']);
    expect([...tallied(main)]).toEqual([
      [`${op.malloc}/${large}`, rounds / 100],
      [`${op.free}/0`, rounds / 100],
    ]);
  });

  test('is the same again for the same seed, and another for another', () => {
    const sizes = (seed: string) => [...tallied(recorded('known', ['--sample', '64KiB', '--seed', seed]).main)];
    const first = sizes('7');
    expect(sizes('7')).toEqual(first);
    expect(sizes('8')).not.toEqual(first);
  });

  test('has the frees of its blocks by whichever thread', () => {
    const { main } = recorded('across', ['--sample', '2000']);
    expect(counted(main, large)).toBe(200);
    expect(distance(counted(main, 901), 1800, 1 - Math.exp(-901 / 2000))).toBeLessThan(5);
    // What the C library holds of the thread itself may stay.
    expect(main.statistics.unfreed).toBeLessThan(5);
    expect(main.origin.dropped).toBe(0);
  });

  test('follows blocks that grow into it and shrink out of it, and no failed realloc', () => {
    const { main } = recorded('resizes', ['--sample', '1TiB']);
    expect(Object.fromEntries(tallied(main))).toEqual({
      [`${op.malloc}/${large}`]: 500,
      [`${op.realloc}/${large + 1}`]: 500,
      [`${op.free}/0`]: 500,
    });
    const small = recorded('resizes', ['--sample', '100']).main;
    expect(small.statistics.unfreed).toBe(0);
    expect(small.statistics.reallocs).toBeGreaterThanOrEqual(500);
    expect(small.origin.dropped).toBe(0);
  });

  test('is not misled by addresses that are given out again', () => {
    const { main } = recorded('reuses', ['--sample', '1TiB']);
    expect(main.statistics).toMatchObject({ allocations: 10000, frees: 10000, unfreed: 0, objects: 1 });
    expect(main.origin.notes.filter((note) => /missing|dropped/.test(note))).toEqual([]);
  });

  test('of a forked child has no frees of what it inherited', () => {
    const { main, others } = recorded('forks', ['--sample', '1TiB']);
    expect(main.statistics).toMatchObject({ allocations: 2000, frees: 0 });
    expect(
      others.map(({ statistics, origin }) => [statistics.events, statistics.largest_bytes, origin.dropped]),
    ).toEqual([[2, large + 7, 0]]);
    expect(total(others[0].origin.sampling!, 'ends')).toBeGreaterThanOrEqual(2001);
  });

  test('has the touched pages of its large blocks', () => {
    const { main } = recorded('known', ['--sample', '1MiB', '--touch']);
    expect(counted(main, large)).toBe(rounds / 100);
    expect(total(main.origin.sampling!, 'allocations')).toBeGreaterThanOrEqual(rounds * 4);
  });
});

describe('the counts', () => {
  test.each(['known', 'across', 'resizes'])('are those of a whole recording: %s', (mode) => {
    const { main: whole } = recorded(mode, []);
    const { main } = recorded(mode, ['--sample', '1MiB']);
    const { allocations, reallocs, frees, total_bytes } = whole.statistics;
    const sampling = main.origin.sampling!;
    expect(total(sampling, 'allocations')).toBe(allocations + reallocs);
    expect(total(sampling, 'allocated_bytes')).toBe(total_bytes);
    expect(total(sampling, 'ends')).toBe(frees + reallocs);
    expect(sampling.reallocs).toBe(reallocs);
    const histogram = new Map<number, number>();
    for (const [call, calls] of tallied(whole)) {
      const [kind, size] = call.split('/').map(Number);
      if (kind === op.free) continue;
      const below = 2 ** (Math.floor(Math.log2(Math.max(1, size))) + 1);
      histogram.set(below, (histogram.get(below) ?? 0) + calls);
    }
    const counts = sampling.counts.filter((each) => each.allocations > 0);
    expect(counts.map(({ below_bytes, allocations: blocks }) => [below_bytes, blocks])).toEqual(
      [...histogram].sort(([a], [b]) => a - b),
    );
  });

  test('lose nothing when the process is killed', () => {
    const { main: whole } = recorded('known', ['--sample', '1MiB']);
    const { main: killed } = recorded('killed', ['--sample', '1MiB']);
    expect(killed.origin.process!.exit).toBe('signal 9');
    for (const of of ['allocations', 'allocated_bytes', 'ends'] as const)
      expect(total(killed.origin.sampling!, of)).toBe(total(whole.origin.sampling!, of));
  });

  test('stand in info beside what the sample estimates, and large blocks agree exactly', () => {
    const { path, main } = recorded('known', ['--sample', '16KiB']);
    const page = join(folder, 'page.html');
    const { sampling } = JSON.parse(run(folder, ['info', '--json', '--html', page, path]).stdout);
    for (const { below_bytes, allocations, allocations_error, exact } of sampling.classes) {
      if (below_bytes === 2 * 65536)
        expect({ allocations, allocations_error }).toEqual({ allocations: exact.allocations, allocations_error: 0 });
      if (exact.allocations < rounds) continue;
      // Of the binomial distribution at the smallest size of the class: the worst case.
      const probability = drawnProbability(main.origin.sampling!, below_bytes / 2);
      const sigma = Math.sqrt((exact.allocations * (1 - probability)) / probability);
      expect(Math.abs(allocations - exact.allocations)).toBeLessThan(5 * sigma);
    }
    expect(run(folder, ['info', path]).stdout).toMatch(/below 128 B +\d+ +[\d ]+ ± [\d ]+ +20 0/);
    expect(readFileSync(page, 'utf8')).toContain('estimated from the sample and counted');
  });
});

describe('a result of a sample', () => {
  test('says that it is one, and a part of it has no counts', () => {
    const { path } = recorded('resizes', ['--sample', '1MiB']);
    const replayed = run(folder, ['replay', '--json', '--check', 'none', path]);
    expect(replayed.stderr).toContain(`${path}: A sample: all blocks of 65536 bytes and more`);
    expect(JSON.parse(replayed.stdout).trace.sample).toMatch(/^A sample: /);
    const part = join(folder, 'part.hak');
    run(folder, ['filter', '--size', '70000:70000', '-o', part, path]);
    expect(open(part).origin.sampling).toMatchObject({ mean_bytes: 2 ** 20, counts: [] });
    expect(run(folder, ['info', part]).stdout).toMatch(/below 128 KiB +1 000 +1 000 +- /);
  });

  test('a whole recording says nothing of the kind', () => {
    const { path, main } = recorded('resizes', []);
    expect(main.origin.sampling).toBeUndefined();
    expect(JSON.parse(run(folder, ['info', '--json', path]).stdout).sampling).toBeNull();
  });
});

test('--sample beside --min-size and means beyond all measure are refused', () => {
  for (const options of [
    ['--sample', '1MiB', '--min-size', '64KiB'],
    ['--sample', '0'],
    ['--sample', '2TiB'],
    ['--sample', 'x'],
  ]) {
    expect(refusedIn(folder, ['record', ...options, '--', program, 'known'])).toContain('--sample');
  }
});
