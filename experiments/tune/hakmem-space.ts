/**
 * The axes that `hakmem tune` searches for its own policy unless told otherwise: what the studies show to matter, each with
 * a few values, and why. The rest follows the mode. docs/TUNING.md has the same table.
 */
import { type Config, type Param, params, shape } from '../../sim/index.ts';
import type { Axis as GivenAxis } from '../sweep/axes.ts';
import type { Axis, Space } from './space.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** No size reaches it: a boundary that is never met. */
const never_bytes = 2 ** 47;

/** `base` says which set of thresholds is in use. A policy module chooses the threshold itself. */
export function defaultSpace(base: Config, by_module = false): Space {
  const [threshold, ...others] = wholeSpace(base);
  return by_module ? others : [threshold, ...others];
}

function wholeSpace(base: Config): Space {
  const thresholds =
    base.strategy_set === params.strategy_set.words!.indexOf('public')
      ? shape.strategy_public_bytes
      : shape.strategy_geometric_bytes;
  return [
    {
      name: 'mmap_threshold_bytes',
      values: thresholds,
      kind: 'log',
      why: 'what is mapped at all: below, the heap keeps memory and faults once; above, policy gives it back',
    },
    {
      name: 'bigcache',
      values: [0, 1],
      kind: 'choice',
      why: 'reuse without a system call, at the price of rounding up to 1, 2, 4 or 8 MiB',
    },
    {
      name: 'thp_policy',
      values: [0, 1, 2],
      kind: 'choice',
      why: 'a huge page is one fault for 512, and resident whole',
    },
    {
      name: 'kept_bytes_max',
      values: [0, 16 * MiB, 64 * MiB, never_bytes],
      kind: 'choice',
      why: 'how much freed address space stays mapped: memory against mapping and faulting again',
    },
    {
      name: 'warm_from_bytes',
      values: [512 * KiB, 1 * MiB, never_bytes],
      kind: 'choice',
      why: 'from here on a free gives pages up lazily; below, they stay resident',
    },
    {
      name: 'cold_from_bytes',
      values: [512 * KiB, 2 * MiB, never_bytes],
      kind: 'choice',
      why: 'from here on a free discards its pages: least memory, most faults',
    },
    {
      name: 'batch_flush_bytes',
      values: [4 * MiB, 16 * MiB],
      kind: 'choice',
      why: 'how long what is discarded may wait, resident, for a block of its size',
    },
  ];
}

/** Axes from the command line: sizes have values between those given, flags and words have none. */
export function givenSpace(axes: readonly GivenAxis[]): Space {
  return axes.map(({ name, values }): Axis => {
    const unit = name === 'mode' ? 'word' : (params[name] as Param).unit;
    return {
      name,
      values: [...new Set(values)].sort((a, b) => a - b),
      kind: unit === 'bytes' ? 'log' : 'choice',
      why: 'asked for',
    };
  });
}
