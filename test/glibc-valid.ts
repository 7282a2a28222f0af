/** What holds of the model of glibc after every event, seen from inside: for tests. */
import { expect } from 'vitest';
import type { Arena, Cache } from '../sim/peers/glibc/arena.ts';
import { type Chunks, layout, state } from '../sim/peers/glibc/chunks.ts';
import type { System } from '../sim/peers/glibc/system.ts';
import type { Glibc } from '../sim/peers/glibc.ts';

const { nobody } = layout;

interface ArenaInside {
  readonly index: number;
  readonly top: number;
  readonly bin: number;
  readonly binmap: Int32Array;
  readonly fast: Int32Array;
  readonly has_fast: boolean;
}

interface Inside {
  readonly chunks: Chunks;
  readonly system: System;
  readonly arenas: readonly (Arena & ArenaInside)[];
  readonly threads: readonly ({ readonly cache: Cache | null } | undefined)[];
  readonly chunk_of: Int32Array;
}

const bins = 128;
const unsorted = 1;
const large_units = 64;

/** Smallest chunk of each large bin, in units: from 64 on, in steps that grow eightfold. */
function binOf(units: number): number {
  if (units < large_units) return units;
  const steps = [
    [4, 48, 48],
    [32, 91, 20],
    [256, 110, 10],
    [2048, 119, 4],
    [16_384, 124, 2],
  ];
  for (const [step, base, last] of steps) if (Math.floor(units / step) <= last) return base + Math.floor(units / step);
  return 126;
}

/** Throws where a structure is not as it must be. `live` are objects that are allocated. */
export function expectValid(glibc: Glibc, live: Iterable<number>): void {
  const inside = glibc as unknown as Inside;
  const { chunks } = inside;
  const listed = new Map<number, number>();
  for (const arena of inside.arenas) {
    expectBins(chunks, arena, listed);
    expectHeap(chunks, arena);
  }
  for (const thread of inside.threads) if (thread?.cache) expectCache(chunks, thread.cache);
  const own = new Set<number>();
  for (const object of live) {
    const chunk = inside.chunk_of[object];
    expect([state.used, state.mapped]).toContain(chunks.state[chunk]);
    own.add(chunk);
  }
  expect(own.size).toBe([...live].length);
  for (let chunk = 1; chunk < chunks.state.length; chunk += 1)
    if (chunks.state[chunk] === state.free) expect(listed.get(chunk), `free chunk ${chunk} is in a list`).toBe(1);
}

/** Chunks of an arena follow one another without a gap up to its top; no two free ones touch. */
function expectHeap(chunks: Chunks, arena: ArenaInside): void {
  const { at, size, before, after, state: kinds } = chunks;
  for (let chunk = arena.top; chunk !== nobody && before[chunk] !== nobody; chunk = before[chunk]) {
    const below = before[chunk];
    expect(after[below]).toBe(chunk);
    expect(at[below] + size[below]).toBe(at[chunk]);
    expect(kinds[below] === state.free && (kinds[chunk] === state.free || kinds[chunk] === state.top)).toBe(false);
    expect(chunks.arena[below]).toBe(arena.index);
  }
}

function expectBins(chunks: Chunks, arena: ArenaInside, listed: Map<number, number>): void {
  const { fd, bk, size, state: kinds } = chunks;
  for (let bin = unsorted; bin < bins - 1; bin += 1) {
    const list = arena.bin + bin;
    const found: number[] = [];
    for (let chunk = fd[list]; chunk !== list; chunk = fd[chunk]) {
      expect(bk[fd[chunk]]).toBe(chunk);
      expect(kinds[chunk]).toBe(state.free);
      listed.set(chunk, (listed.get(chunk) ?? 0) + 1);
      found.push(chunk);
    }
    if (bin === unsorted) continue;
    if (found.length > 0) expect(arena.binmap[bin >>> 5] & (1 << (bin & 31)), `bin ${bin} is marked`).not.toBe(0);
    for (const chunk of found) expect(binOf(size[chunk])).toBe(bin);
    if (bin >= large_units) expectSorted(chunks, found);
  }
  for (const [at, first] of arena.fast.entries())
    for (let chunk = first; chunk !== nobody; chunk = fd[chunk]) {
      expect(arena.has_fast).toBe(true);
      expect(kinds[chunk]).toBe(state.fast);
      expect(size[chunk]).toBe(at + 2);
    }
}

/** Falling sizes; the first of each size, and no other, in a ring of its own. */
function expectSorted({ size, fd_nextsize, bk_nextsize }: Chunks, found: readonly number[]): void {
  const firsts = found.filter((chunk, at) => at === 0 || size[chunk] !== size[found[at - 1]]);
  for (const [at, chunk] of found.entries()) {
    if (at > 0) expect(size[chunk]).toBeLessThanOrEqual(size[found[at - 1]]);
    if (!firsts.includes(chunk)) expect(fd_nextsize[chunk]).toBe(nobody);
  }
  for (const [at, chunk] of firsts.entries()) {
    const next = firsts[(at + 1) % firsts.length];
    expect(fd_nextsize[chunk]).toBe(next);
    expect(bk_nextsize[next]).toBe(chunk);
  }
}

function expectCache({ fd, size, state: kinds }: Chunks, { head, count }: Cache): void {
  for (const [index, first] of head.entries()) {
    let chunk = first;
    for (let left = count[index]; left > 0; left -= 1) {
      expect(kinds[chunk]).toBe(state.cached);
      expect(size[chunk]).toBe(index + 2);
      chunk = fd[chunk];
    }
  }
}
