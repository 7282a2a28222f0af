/** The axes that `hakmem tune` searches for jemalloc and mimalloc: when free memory goes back, and what is kept for whom. */
import { parseBytes, UsageError } from '../command.ts';
import type { PeerPolicy } from '../peers/policies.ts';
import type { Axis, Point, Space } from './space.ts';

const MiB = 2 ** 20;

interface ClockedSpace {
  readonly axes: Space;
  /** What the library does where nothing is set. */
  readonly baseline: Point;
}

/** In ascending order of what is kept. */
const by_policy: Readonly<Record<string, readonly (Axis & { readonly unset: number })[]>> = {
  jemalloc: [
    axis(
      'jemalloc_dirty_decay_ms',
      10_000,
      [-1, 0, 100, 1000, 10_000, 100_000],
      'how long freed pages are kept; -1: for ever',
    ),
    axis('jemalloc_muzzy_decay_ms', 0, [-1, 0, 1000, 10_000], 'how long after that the kernel may take them'),
    axis('jemalloc_oversize_threshold', 8 * MiB, [0, 8 * MiB, 64 * MiB], 'what is given back as soon as it is freed'),
    axis(
      'jemalloc_lg_extent_max_active_fit',
      6,
      [2, 4, 6, 10],
      'how much larger a stretch may be than what is cut from it',
    ),
    axis('jemalloc_narenas', 0, [0, 1, 2], 'heaps that threads share'),
  ],
  mimalloc: [
    axis('mimalloc_decommit_delay', 25, [0, 25, 250, 2500, 25_000], 'how long freed slices wait to be given back'),
    axis('mimalloc_segment_decommit_delay', 500, [0, 500, 5000, 50_000], 'how long a whole free segment waits'),
    axis('mimalloc_allow_decommit', 1, [0, 1], '0: nothing is given back'),
    axis('mimalloc_eager_commit', 1, [0, 1], '0: segments are made accessible piece by piece'),
  ],
};

/** Reads `--axis jemalloc_dirty_decay_ms=0,1000`: those axes alone, everything else as by default. Throws UsageError. */
export function clockedSpace({ name: policy, parameters }: PeerPolicy, given: readonly string[]): ClockedSpace {
  const all = by_policy[policy];
  if (given.length === 0) return { axes: all, baseline: all.map(({ unset }) => unset) };
  const axes = given.map((text) => {
    const [, name, words] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || words === undefined) throw new UsageError(`--axis "${text}": wanted param=a,b,c`);
    const known = all.find((each) => each.name === name);
    const parameter = parameters.find((each) => each.name === name);
    if (known === undefined || parameter === undefined)
      throw new UsageError(`--axis ${name}: unknown; wanted one of ${all.map((each) => each.name).join(' ')}`);
    const values = words.split(',').map((word) => (/^-\d+$/.test(word) ? Number(word) : parseBytes(word)));
    const outside = values.find((value) => value < parameter.min || value > parameter.max);
    if (outside !== undefined)
      throw new UsageError(`--axis ${name}: found ${outside}, wanted from ${parameter.min} to ${parameter.max}`);
    return { ...known, values: [...new Set(values)].sort((a, b) => a - b) };
  });
  return { axes, baseline: axes.map(({ unset }) => unset) };
}

function axis(name: string, unset: number, values: readonly number[], why: string): Axis & { readonly unset: number } {
  return { name, unset, values, kind: 'choice', why };
}
