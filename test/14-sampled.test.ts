/** Samples of traces: whole sites or objects evenly from each, with all that becomes of a block, the same for a seed. */
import { describe, expect, test } from 'vitest';
import { boundaries_bytes } from '../sim/index.ts';
import { type Chunk, op, open, originOf, SyntheticTrace, Tally, type Trace, TraceBuilder } from '../traces/index.ts';
import { SampledTrace } from '../traces/sampled.ts';
import { type Row, rowsOf } from './memory-file.ts';

const r_stacks = open('traces/samples/r-stacks.hak');
const edges = new SyntheticTrace('edges', { events: 4000, seed: 3, boundaries_bytes });

function sample(trace: Trace, share: number, by?: 'site' | 'object', seed = 1): SampledTrace {
  return new SampledTrace(trace, share, seed, by);
}

const allocates = (row: Row): boolean => row.op !== op.free && row.op !== op.realloc;

/** Rows by block, each with the site that allocated it first. */
function blocks(rows: readonly Row[]): Map<number, { site: number; rows: Row[] }> {
  const all = new Map<number, { site: number; rows: Row[] }>();
  for (const row of rows) {
    if (allocates(row)) all.set(row.block, { site: row.site, rows: [] });
    all.get(row.block)!.rows.push(row);
  }
  return all;
}

/** What happened to each block, whatever its number and the time. */
function lives(rows: readonly Row[]): string[] {
  return [...blocks(rows).values()].map(({ rows: life }) =>
    life
      .map((row) => [row.op, row.thread, row.size_bytes, row.align, row.site, row.touched_pages].join(' '))
      .join('; '),
  );
}

function* withoutSites(trace: Trace): Generator<Chunk> {
  for (const chunk of trace.chunks()) {
    chunk.site.fill(0);
    yield chunk;
  }
}

describe('by site', () => {
  test('a site is there with all its blocks and all their events, or not at all', () => {
    for (const trace of [r_stacks, edges]) {
      const whole = blocks(rowsOf(trace.chunks()));
      const part = rowsOf(sample(trace, 1 / 3).chunks());
      const sites = new Set([...blocks(part).values()].map(({ site }) => site));
      const expected = [...whole.values()].filter(({ site }) => sites.has(site)).flatMap(({ rows }) => rows);
      expect(sites.size).toBeGreaterThan(0);
      expect(sites.size).toBeLessThan(new Set([...whole.values()].map(({ site }) => site)).size);
      expect(lives(part)).toEqual(lives(expected.sort((a, b) => a.time_ns - b.time_ns)));
    }
  });

  test('about the share of many sites is kept', () => {
    const sites = new Set(
      rowsOf(r_stacks.chunks())
        .filter(allocates)
        .map(({ site }) => site),
    ).size;
    const kept = new Set(
      rowsOf(sample(r_stacks, 1 / 9).chunks())
        .filter(allocates)
        .map(({ site }) => site),
    ).size;
    expect(kept / sites).toBeGreaterThan(1 / 14);
    expect(kept / sites).toBeLessThan(1 / 6);
  });

  test('a realloc at another site does not move a block', () => {
    const builder = new TraceBuilder();
    for (let site = 0; site < 20; site += 1) {
      builder.allocate(op.malloc, site, 100 + site, { site });
      builder.reallocate(site, site, 1000, { site: 20 });
      builder.free(site);
    }
    const chunks = builder.finish();
    const sites = Array.from({ length: 21 }, (_, at) => ({ hash: `${at}`, name: null }));
    const origin = originOf('generated', { has_sites: true, sites });
    const part = sample({ path: 'resized', origin, statistics: edges.statistics, chunks: () => chunks }, 1 / 2);
    const lived = [...blocks(rowsOf(part.chunks())).values()].map(({ rows }) => rows.map((row) => row.op));
    expect(lived.length).toBeGreaterThan(4);
    expect(lived.length).toBeLessThan(16);
    expect(new Set(lived.map(String))).toEqual(new Set([String([op.malloc, op.realloc, op.free])]));
  });
});

describe('by object', () => {
  test('every site gives its share, to within one object', () => {
    const count = (rows: readonly Row[]): Map<number, number> => {
      const counts = new Map<number, number>();
      for (const { site } of rows.filter(allocates)) counts.set(site, (counts.get(site) ?? 0) + 1);
      return counts;
    };
    const whole = count(rowsOf(r_stacks.chunks()));
    const part = count(rowsOf(sample(r_stacks, 1 / 3, 'object').chunks()));
    // Steps of the golden ratio fill an interval to within a little more than one.
    for (const [site, objects] of whole) expect(Math.abs((part.get(site) ?? 0) - objects / 3)).toBeLessThan(2.5);
  });

  test('it is used where no sites are known, and says so', () => {
    const origin = { ...edges.origin, has_sites: false, sites: [] };
    const nameless: Trace = { path: 'x', origin, statistics: edges.statistics, chunks: () => withoutSites(edges) };
    const part = sample(nameless, 1 / 4);
    expect(part.by).toBe('object');
    expect(part.origin.notes.at(-1)).toMatch(/0\.250 of the objects/);
    expect(part.statistics.allocations / edges.statistics.allocations).toBeCloseTo(1 / 4, 2);
  });
});

test.each(['site', 'object'] as const)('by %s: a smaller share is part of a larger one, and 1 is all', (by) => {
  const lives_of = (share: number): string[] => lives(rowsOf(sample(r_stacks, share, by).chunks()));
  const [few, more, all] = [lives_of(1 / 9), lives_of(1 / 3), lives_of(1)];
  const count = (of: readonly string[]): Map<string, number> => {
    const counts = new Map<string, number>();
    for (const each of of) counts.set(each, (counts.get(each) ?? 0) + 1);
    return counts;
  };
  for (const [small, large] of [
    [few, more],
    [more, all],
  ]) {
    const within = count(large);
    expect(small.length).toBeGreaterThan(0);
    expect([...count(small)].filter(([life, times]) => times > (within.get(life) ?? 0))).toEqual([]);
  }
  expect(all).toEqual(lives(rowsOf(r_stacks.chunks())));
});

test('the same seed draws the same sample, another seed another one', () => {
  const rows = (seed: number): Row[] => rowsOf(sample(r_stacks, 1 / 3, 'object', seed).chunks());
  expect(rows(1)).toEqual(rows(1));
  expect(rows(2)).not.toEqual(rows(1));
});

test('its statistics are those of its own events, and what the process spent is not claimed', () => {
  const part = sample(r_stacks, 1 / 3, 'object');
  const tally = new Tally();
  for (const chunk of part.chunks()) tally.add(chunk);
  expect(part.statistics).toEqual(tally.statistics());
  expect(part.statistics.events).toBeLessThan(r_stacks.statistics.events / 2);
  expect(r_stacks.origin.process).not.toBeNull();
  expect(part.origin.process).toBeNull();
});

test('a share of nothing, or of more than all, is refused', () => {
  for (const share of [0, -1, 1.01, Number.NaN]) expect(() => sample(edges, share)).toThrow(RangeError);
});
