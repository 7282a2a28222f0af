/** Synthetic traces: the same bytes for the same seed, and each scenario the shape that its name promises. */
import { describe, expect, test } from 'vitest';
import { boundaries_bytes } from '../sim/spec.ts';
import {
  type GenerateOptions,
  HakTrace,
  HakWriter,
  large_bytes,
  op,
  SyntheticTrace,
  scenario_names,
  Tally,
} from '../traces/index.ts';
import { MemorySink, type Row, rowsOf, sourceOf } from './memory-file.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

function made(name: string, options: Partial<GenerateOptions> = {}): SyntheticTrace {
  return new SyntheticTrace(name, { seed: 0, boundaries_bytes, ...options });
}

function rows(name: string, options: Partial<GenerateOptions> = {}): Row[] {
  return rowsOf(made(name, options).chunks());
}

function bytes(name: string, options: Partial<GenerateOptions> = {}): Uint8Array {
  const trace = made(name, options);
  const sink = new MemorySink();
  const writer = new HakWriter(name, sink, trace.columns);
  for (const chunk of trace.chunks()) writer.add(chunk);
  writer.finish(trace.origin);
  return sink.bytes;
}

function sizes(name: string, options: Partial<GenerateOptions> = {}): number[] {
  return rows(name, options)
    .filter((row) => row.op < op.realloc)
    .map((row) => row.size_bytes);
}

/** Blocks live at once, at most. */
function mostLive(trace: readonly Row[]): number {
  let live = 0;
  return trace.reduce((most, row) => {
    live += row.op < op.realloc ? 1 : row.op === op.free ? -1 : 0;
    return Math.max(most, live);
  }, 0);
}

const share = (all: readonly number[], holds: (value: number) => boolean): number =>
  all.filter(holds).length / all.length;

describe('every scenario', () => {
  test('is one of the nine', () => {
    expect(scenario_names).toEqual(['vm-cold', 'vm', 'vm4', 'json', 'mir', 'mixed', 'churn', 'edges', 'drift']);
    expect(() => made('vn')).toThrow(/no scenario "vn"; there are vm-cold, vm/);
  });

  for (const name of scenario_names) {
    test(`${name} has the same bytes for the same seed`, () => {
      expect(Buffer.compare(bytes(name, { events: 3000 }), bytes(name, { events: 3000 }))).toBe(0);
    });

    test(`${name} has exactly the events that were asked for, few or many`, () => {
      for (const events of [1, 2, 3, 7, 100, 999, 5000]) {
        const tally = new Tally();
        for (const chunk of made(name, { events }).chunks()) tally.add(chunk);
        expect(tally.statistics().events).toBe(events);
      }
    });

    test(`${name} is a legal trace, with sites and without recorded time`, () => {
      const trace = new HakTrace(sourceOf(bytes(name)));
      expect(rowsOf(trace.chunks())).toEqual(rows(name));
      expect(trace.origin).toMatchObject({ source: 'generated', program: name, has_time: false, has_sites: true });
      trace.verify(made(name).statistics);
    });
  }

  test('draws the sizes that it always drew, from a stream that choices do not disturb', () => {
    expect(sizes('churn', { events: 10 })).toEqual([3189791, 7027642, 3533395, 1362415, 3516394]);
    expect(sizes('json', { events: 10 })).toEqual([55901, 79130, 56990, 58095, 80361]);
  });

  test('with a random shape differs from seed to seed', () => {
    for (const name of ['json', 'mir', 'mixed', 'churn', 'drift', 'edges'])
      expect(sizes(name, { seed: 1, events: 2000 })).not.toEqual(sizes(name, { seed: 2, events: 2000 }));
  });

  test('but edges frees all it allocated when its events are even', () => {
    for (const name of scenario_names.filter((each) => each !== 'edges')) expect(made(name).statistics.unfreed).toBe(0);
  });

  test('can be made a million events long without keeping them', () => {
    const tally = new Tally();
    for (const chunk of made('mixed', { events: 2_500_000 }).chunks()) tally.add(chunk);
    expect(tally.statistics()).toMatchObject({ events: 2_500_000, objects: 16, unfreed: 0 });
  });
});

describe('the shape', () => {
  test('of vm-cold is ten times 2 MiB, one at a time', () => {
    expect(sizes('vm-cold')).toEqual(Array(10).fill(2 * MiB));
    expect(rows('vm-cold')).toHaveLength(20);
    expect(mostLive(rows('vm-cold'))).toBe(1);
  });

  test('of vm and vm4 is 2 MiB, one live and four live on four threads', () => {
    for (const [name, live] of [
      ['vm', 1],
      ['vm4', 4],
    ] as const) {
      expect(new Set(sizes(name))).toEqual(new Set([2 * MiB]));
      expect(mostLive(rows(name))).toBe(live);
      expect(made(name).statistics.threads).toBe(live);
    }
  });

  test('of json is 48 to 80 KiB with 16 live, of mir 192 to 320 KiB with 8 live', () => {
    for (const [name, low, high, live] of [
      ['json', 48, 80, 16],
      ['mir', 192, 320, 8],
    ] as const) {
      const all = sizes(name);
      expect(Math.min(...all)).toBeGreaterThanOrEqual(low * KiB);
      expect(Math.max(...all)).toBeLessThanOrEqual(high * KiB);
      expect(share(all, (size_bytes) => size_bytes > ((low + high) / 2) * KiB)).toBeCloseTo(0.5, 1);
      expect(mostLive(rows(name))).toBe(live);
    }
  });

  test('of mixed is half small, a twentieth and a half large, 16 live, on threads that free for each other', () => {
    const all = sizes('mixed');
    expect(share(all, (size_bytes) => size_bytes <= 4 * KiB)).toBeCloseTo(0.5, 1);
    expect(share(all, (size_bytes) => size_bytes === 64 * KiB)).toBeCloseTo(0.3, 1);
    expect(share(all, (size_bytes) => size_bytes === 256 * KiB)).toBeCloseTo(0.13, 1);
    expect(share(all, (size_bytes) => size_bytes >= MiB && size_bytes < 2 * MiB)).toBeCloseTo(0.04, 1);
    expect(share(all, (size_bytes) => size_bytes === 2 * MiB)).toBeCloseTo(0.03, 1);
    expect(mostLive(rows('mixed'))).toBe(16);
    const thread_of = new Map<number, number>();
    let elsewhere = 0;
    for (const row of rows('mixed')) {
      if (row.op === op.malloc) thread_of.set(row.block, row.thread);
      else if (thread_of.get(row.block) !== row.thread) elsewhere += 1;
    }
    expect(elsewhere).toBeGreaterThan(1000);
  });

  test('of churn is 512 KiB to 8 MiB, each octave a quarter, 12 live, several sites', () => {
    const all = sizes('churn');
    expect(Math.min(...all)).toBeGreaterThanOrEqual(512 * KiB);
    expect(Math.max(...all)).toBeLessThan(8 * MiB);
    for (const octave of [0.5, 1, 2, 4])
      expect(share(all, (size_bytes) => size_bytes >= octave * MiB && size_bytes < 2 * octave * MiB)).toBeCloseTo(
        0.25,
        1,
      );
    expect(mostLive(rows('churn'))).toBe(12);
    expect(new Set(rows('churn').map((row) => row.site)).size).toBe(4);
  });

  test('of drift is json at first, vm next, mir then and churn at last, and passes gradually', () => {
    const all = sizes('drift');
    const phase = (at: number): number[] => all.slice((at * all.length) / 4, ((at + 0.7) * all.length) / 4);
    expect(share(phase(0), (size_bytes) => size_bytes <= 80 * KiB)).toBe(1);
    expect(share(phase(1), (size_bytes) => size_bytes === 2 * MiB)).toBe(1);
    expect(share(phase(2), (size_bytes) => size_bytes >= 192 * KiB && size_bytes <= 320 * KiB)).toBe(1);
    expect(share(phase(3), (size_bytes) => size_bytes >= 512 * KiB)).toBe(1);
    const passing = all.slice(all.length * 0.2, all.length * 0.24);
    const ahead = share(passing, (size_bytes) => size_bytes === 2 * MiB);
    expect(ahead).toBeGreaterThan(0.2);
    expect(ahead).toBeLessThan(0.8);
  });

  test('has as many large blocks as --large-permille says, in any scenario', () => {
    for (const name of ['mixed', 'json', 'vm', 'churn'])
      for (const large_permille of [0, 100, 1000]) {
        const all = sizes(name, { large_permille, events: 20_000 });
        const large = share(all, (size_bytes) => size_bytes >= large_bytes);
        expect(Math.abs(large - large_permille / 1000)).toBeLessThan(0.02);
      }
  });
});

describe('edges', () => {
  const trace = rows('edges');
  const around = [...new Set(boundaries_bytes.flatMap((bytes_at) => [bytes_at - 1, bytes_at, bytes_at + 1]))];
  const asked = (kind: number): Set<number> =>
    new Set(trace.filter((row) => row.op === kind).map((row) => row.size_bytes));

  test('asks for every boundary minus one, itself and plus one, by every operation', () => {
    for (const kind of [op.malloc, op.calloc, op.aligned, op.realloc]) {
      const sizes_asked = asked(kind);
      expect(around.filter((size_bytes) => !sizes_asked.has(size_bytes))).toEqual([]);
    }
  });

  test('resizes across every boundary, up and down', () => {
    const size_of = new Map<number, number>();
    const ups = new Set<number>();
    const downs = new Set<number>();
    for (const row of trace) {
      const before = size_of.get(row.block) ?? 0;
      if (row.op === op.realloc)
        for (const boundary of boundaries_bytes) {
          if (before === boundary - 1 && row.size_bytes === boundary) ups.add(boundary);
          if (before === boundary && row.size_bytes === boundary - 1) downs.add(boundary);
        }
      size_of.set(row.block, row.size_bytes);
    }
    expect([...ups].sort((a, b) => a - b)).toEqual([...boundaries_bytes]);
    expect([...downs].sort((a, b) => a - b)).toEqual([...boundaries_bytes]);
  });

  test('uses every alignment from 16 bytes to 2 MiB', () => {
    const used = new Set(trace.filter((row) => row.op === op.aligned).map((row) => row.align));
    expect([...used].sort((a, b) => a - b)).toEqual(Array.from({ length: 18 }, (_, at) => 16 * 2 ** at));
  });

  test('is silent for its first 4096 events: tiny blocks only', () => {
    expect(Math.max(...trace.slice(0, 4096).map((row) => row.size_bytes))).toBeLessThanOrEqual(256);
    expect(trace[4096].size_bytes).toBeGreaterThan(256);
  });

  test('comes in bursts, on four threads and from several sites, keeps some blocks, and stays below 256 MiB', () => {
    const { threads, unfreed, peak_live_bytes, objects } = made('edges').statistics;
    expect(threads).toBe(4);
    expect(unfreed).toBeGreaterThan(5);
    expect(objects).toBeGreaterThan(60);
    expect(peak_live_bytes).toBeLessThanOrEqual(256 * MiB);
    expect(new Set(trace.map((row) => row.site)).size).toBe(6);
  });

  test('follows the boundaries that it is given', () => {
    const given = sizes('edges', { boundaries_bytes: [1_000_003] }).filter((size_bytes) => size_bytes > 256);
    expect([...new Set(given)].sort()).toEqual([1_000_002, 1_000_003, 1_000_004]);
  });
});
