/**
 * The scenario `edges`: sizes of every boundary minus one, exactly and plus one, allocated in every way, resized across
 * every boundary, in bursts, on threads and from sites that change. Random sizes alone miss a `>` for a `>=`.
 */
import type { Stage } from './stage.ts';
import { limits, op } from './trace.ts';

const MiB = 1024 * 1024;
const threads = 4;
/** Bounds what a replay with real memory needs. */
const live_bytes_max = 256 * MiB;
const kept_bytes_max = 32 * MiB;
const silent_events_max = 4096;
const sites = { silent: 0, sweep: 1, resize: 2, burst: 3, keep: 5 } as const;
const allocations = [op.malloc, op.calloc, op.aligned] as const;
const alignments = 18;

export function* edges(stage: Stage): Generator<void> {
  const sizes = aroundBoundaries(stage.boundaries_bytes);
  silence(stage);
  yield;
  sweep(stage, sizes);
  yield;
  resize(stage, sizes);
  yield;
  const kept = { bytes: 0, next: 2 ** 32 };
  while (stage.left > 0) {
    burst(stage, sizes, kept);
    yield;
  }
}

/** Every boundary minus one, itself and plus one: ascending, each once. */
export function aroundBoundaries(boundaries_bytes: readonly number[]): number[] {
  const around = boundaries_bytes.flatMap((bytes) => [bytes - 1, bytes, bytes + 1]);
  return [...new Set(around)].filter((bytes) => bytes > 0 && bytes < limits.size_bytes).sort((a, b) => a - b);
}

/** Tiny blocks only: a policy for large ones sees whole windows in which nothing is charged. */
function silence(stage: Stage): void {
  const live = 32;
  const events = Math.min(silent_events_max, Math.floor(stage.events / 10));
  for (let event = 0; event + 2 <= events; event += 2) {
    const block = (event / 2) % live;
    stage.allocate(block, stage.uniform(0, 256), 0, sites.silent);
    stage.free(block, 0);
  }
}

/** Every size by every kind of allocation, one block at a time. */
function sweep(stage: Stage, sizes: readonly number[]): void {
  for (const [turn, size_bytes] of sizes.entries()) {
    for (const kind of allocations) {
      const thread = (turn + kind) % threads;
      stage.allocate(0, size_bytes, thread, sites.sweep, kind, alignment(turn));
      stage.free(0, (thread + (turn % 2)) % threads);
    }
  }
}

/** Every size reached from the one below, from the one above, from a tiny block and from the largest. */
function resize(stage: Stage, sizes: readonly number[]): void {
  const largest = sizes[sizes.length - 1] ?? 1;
  if (sizes.length === 0) return;
  stage.allocate(0, 1, 0, sites.resize);
  for (const size_bytes of sizes) stage.reallocate(0, size_bytes, 0, sites.resize);
  for (const size_bytes of [...sizes].reverse()) stage.reallocate(0, size_bytes, 1, sites.resize);
  for (const size_bytes of sizes) {
    stage.reallocate(0, 1, 2, sites.resize);
    stage.reallocate(0, size_bytes, 2, sites.resize);
    stage.reallocate(0, largest, 3, sites.resize);
    stage.reallocate(0, size_bytes, 3, sites.resize);
  }
  stage.free(0, 0);
}

/** Up to 64 blocks at once, of one size or of many, some resized, freed in one of three orders; now and then one stays. */
function burst(stage: Stage, sizes: readonly number[], kept: { bytes: number; next: number }): void {
  const blocks: number[] = [];
  const size_of = new Map<number, number>();
  let live_bytes = kept.bytes;
  const thread = stage.choose(threads);
  const site = sites.burst + stage.choose(2);
  const one_size = stage.choose(2) === 0;
  const count = 2 ** stage.choose(7);
  const any = (): number => (sizes.length > 0 ? sizes[stage.choose(sizes.length)] : 1);
  const shared_bytes = any();
  for (let block = 1; block <= count; block += 1) {
    const size_bytes = one_size ? shared_bytes : any();
    if (live_bytes + size_bytes > live_bytes_max && blocks.length > 0) break;
    stage.allocate(
      block,
      size_bytes,
      thread,
      site,
      allocations[stage.choose(allocations.length)],
      alignment(stage.choose(alignments)),
    );
    blocks.push(block);
    size_of.set(block, size_bytes);
    live_bytes += size_bytes;
    if (stage.choose(8) > 0) continue;
    const chosen = blocks[stage.choose(blocks.length)];
    const wanted_bytes = any();
    const other_bytes = live_bytes - (size_of.get(chosen) ?? 0);
    if (other_bytes + wanted_bytes > live_bytes_max) continue;
    stage.reallocate(chosen, wanted_bytes, stage.choose(threads), site);
    size_of.set(chosen, wanted_bytes);
    live_bytes = other_bytes + wanted_bytes;
  }
  const order = stage.choose(3);
  if (order === 1) blocks.reverse();
  while (blocks.length > 0) {
    const at = order === 2 ? stage.choose(blocks.length) : 0;
    const [block] = blocks.splice(at, 1);
    stage.free(block, stage.choose(4) === 0 ? stage.choose(threads) : thread);
  }
  const kept_bytes = any();
  if (stage.choose(16) > 0 || kept.bytes + kept_bytes > kept_bytes_max) return;
  stage.allocate(kept.next, kept_bytes, thread, sites.keep);
  kept.bytes += kept_bytes;
  kept.next += 1;
}

/** 16 bytes to 2 MiB, in turn. */
function alignment(turn: number): number {
  return 16 * 2 ** (turn % alignments);
}
