/**
 * Which group of one recording is which of another. Names that are equal are the same. A call site's name has the offset
 * of its code in the module, and another build moves all of them at once, but hardly ever past each other: so the sites
 * of a module whose names are left over are aligned in their order, like with like.
 */
import type { Use } from './uses.ts';

export interface Pair {
  readonly base: Use | null;
  readonly head: Use | null;
}

/** Beyond so many pairs to try, what is left over stays apart. */
const cells_max = 4e6;
/** Sites less alike than this are not the same: see `likeness`. */
const likeness_min = 0.2;

export function matchUses(base: readonly Use[], head: readonly Use[]): Pair[] {
  const by_name = new Map(base.map((use) => [use.name, use]));
  const pairs: Pair[] = [];
  const new_uses: Use[] = [];
  for (const use of head) {
    const before = by_name.get(use.name);
    by_name.delete(use.name);
    if (before === undefined) new_uses.push(use);
    else pairs.push({ base: before, head: use });
  }
  const gone = byModule([...by_name.values()]);
  const added = byModule(new_uses);
  for (const module of new Set([...gone.keys(), ...added.keys()]))
    pairs.push(...align(gone.get(module) ?? [], added.get(module) ?? []));
  return pairs;
}

/** In the order of their offsets. What is not `module+0xoffset` has no place in an order and is in a module of its own name. */
function byModule(uses: readonly Use[]): Map<string, Use[]> {
  const places = uses.map((use) => {
    const frames = use.name.split(' < ').map((frame) => /^(.+)\+0x([0-9a-f]+)$/.exec(frame));
    return {
      use,
      module: frames[0]?.[1] ?? use.name,
      offsets: frames.map((frame) => Number.parseInt(frame?.[2] ?? '0', 16)),
    };
  });
  const modules = new Map<string, Use[]>();
  for (const { use, module } of places.sort((a, b) => compareOffsets(a.offsets, b.offsets)))
    modules.set(module, [...(modules.get(module) ?? []), use]);
  return modules;
}

function compareOffsets(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((offset, frame) => offset !== b[frame]);
  return at < 0 ? a.length - b.length : a[at] - (b[at] ?? -1);
}

/** The pairs in order whose likeness adds up to most. */
function align(base: readonly Use[], head: readonly Use[]): Pair[] {
  const rest = (): Pair[] => [
    ...base.map((use) => ({ base: use, head: null })),
    ...head.map((use) => ({ base: null, head: use })),
  ];
  if (base.length * head.length === 0 || base.length * head.length > cells_max) return rest();
  const width = head.length + 1;
  const best = new Float64Array((base.length + 1) * width);
  const gain = (a: number, b: number): number => {
    const like = likeness(base[a], head[b]);
    return like < likeness_min ? -1 : like;
  };
  for (let a = base.length - 1; a >= 0; a -= 1)
    for (let b = head.length - 1; b >= 0; b -= 1)
      best[a * width + b] = Math.max(
        best[(a + 1) * width + b],
        best[a * width + b + 1],
        best[(a + 1) * width + b + 1] + gain(a, b),
      );
  const pairs: Pair[] = [];
  let [a, b] = [0, 0];
  while (a < base.length && b < head.length) {
    const here = best[a * width + b];
    if (here === best[(a + 1) * width + b]) pairs.push({ base: base[a++], head: null });
    else if (here === best[a * width + b + 1]) pairs.push({ base: null, head: head[b++] });
    else pairs.push({ base: base[a++], head: head[b++] });
  }
  for (; a < base.length; a += 1) pairs.push({ base: base[a], head: null });
  for (; b < head.length; b += 1) pairs.push({ base: null, head: head[b] });
  return pairs;
}

/** 1 for the same calls and bytes a call, 1/2 where together they differ by a factor of two. */
function likeness(a: Use, b: Use): number {
  const calls = (use: Use): number => use.allocations + use.reallocs;
  const doublings = (x: number, y: number): number => Math.abs(Math.log2((x + 1) / (y + 1)));
  return 1 / (1 + doublings(calls(a), calls(b)) + doublings(a.bytes / calls(a), b.bytes / calls(b)));
}
