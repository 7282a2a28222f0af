/** Who asked for a block, as two recordings can be compared by: call sites by name, or size classes where there are none. */
import type { Chunk, Trace } from '../../traces/index.ts';
import { formatBytes } from '../sizes.ts';

export type GroupKind = 'site' | 'size';

/** Groups by number; a name each. */
export interface Groups {
  readonly kind: GroupKind;
  readonly names: readonly string[];
  /** Of a row with a size. */
  of(chunk: Chunk, row: number): number;
}

/** Sites of both, else sizes: a site cannot be compared with nothing. */
export function kindFor(...traces: readonly Trace[]): GroupKind {
  return traces.every(({ origin }) => origin.has_sites && origin.sites.length > 0) ? 'site' : 'size';
}

export function groupsOf(trace: Trace, kind: GroupKind): Groups {
  return kind === 'site' ? sitesOf(trace) : sizes;
}

/** By name, or by the hash of the frames: numbers are given in the order of each run. */
function sitesOf({ origin }: Trace): Groups {
  const by_name = new Map<string, number>();
  const group_of = origin.sites.map(({ name, hash }) => {
    const text = name ?? hash;
    const group = by_name.get(text) ?? by_name.size;
    by_name.set(text, group);
    return group;
  });
  return { kind: 'site', names: [...by_name.keys()], of: ({ site }, row) => group_of[site[row]] };
}

/** Below each power of two, as `hakmem info` counts sizes. */
const sizes: Groups = {
  kind: 'size',
  names: Array.from({ length: 49 }, (_, power) => `sizes below ${formatBytes(2 ** power)}`),
  of: ({ size_bytes }, row) => bitsOf(size_bytes[row]),
};

function bitsOf(value: number): number {
  const high = Math.floor(value / 2 ** 32);
  return high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(value);
}
