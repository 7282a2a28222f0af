/**
 * The axes that `hakmem tune --target glibc` searches. A candidate is a complete setting: pinning one of the thresholds
 * freezes the others at what they are by default, and the trim threshold that stays at 128 KiB undoes what the mapping
 * threshold was raised for. So a point either pins all of them or, at mapping threshold 0, leaves them all dynamic.
 */
import { type GlibcSettings, glibc_settings } from '../../sim/peers/glibc/settings.ts';
import { parseBytes, UsageError } from '../command.ts';
import type { Axis, Point, Space } from './space.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
/** More than a heap here ever is: as good as never. */
const never_bytes = 16 * GiB;
export const dynamic = 0;
/** Left to the library, which makes eight for each processor. */
const default_arenas = 0;

export const glibc_axis_names = [
  'glibc_mmap_threshold_bytes',
  'glibc_trim_threshold_bytes',
  'glibc_top_pad_bytes',
  'glibc_mmap_max',
  'glibc_arena_max',
] as const;
export type GlibcAxisName = (typeof glibc_axis_names)[number];

const default_space: Readonly<Record<GlibcAxisName, Omit<Axis, 'name'>>> = {
  glibc_mmap_threshold_bytes: {
    values: [
      dynamic,
      ...[128, 256, 512].map((kib) => kib * KiB),
      ...[1, 2, 4, 8, 16, 32, 64, 256].map((mib) => mib * MiB),
      never_bytes,
    ],
    kind: 'choice',
    why: 'from here on blocks are mapped and unmapped one by one; 0 leaves it dynamic, and with it trim, pad and mmap_max',
  },
  glibc_trim_threshold_bytes: {
    values: [128 * KiB, 1 * MiB, 4 * MiB, 16 * MiB, 64 * MiB, 256 * MiB, never_bytes],
    kind: 'choice',
    why: 'what lies free at the end of the heap before it is given back, to be faulted in again',
  },
  glibc_top_pad_bytes: {
    values: [0, 128 * KiB, 1 * MiB, 4 * MiB, 16 * MiB, 64 * MiB],
    kind: 'choice',
    why: 'what the heap grows by at a time, and keeps when it is trimmed',
  },
  glibc_mmap_max: {
    values: [0, glibc_settings.mmap_max.value],
    kind: 'choice',
    why: '0: nothing is mapped, whatever its size',
  },
  // Neither the model nor a replay in the trace's order shows how long threads wait for each other.
  glibc_arena_max: {
    values: [default_arenas],
    kind: 'choice',
    why: 'heaps that threads share: fewer keep less memory, and wait for each other; tried only where asked for',
  },
};

/** `given`: axes from the command line, in place of the default values; the others keep the default setting. */
export function glibcSpace(given: ReadonlyMap<string, readonly number[]> = new Map()): Space {
  return glibc_axis_names.map((name): Axis => {
    const values = given.get(name);
    if (values !== undefined)
      return { name, values: [...new Set(values)].sort((a, b) => a - b), kind: 'choice', why: 'asked for' };
    const axis = { name, ...default_space[name] };
    return given.size === 0 ? axis : { ...axis, values: [glibc_baseline[glibc_axis_names.indexOf(name)]] };
  });
}

/** Reads `glibc_trim_threshold_bytes=1M,64M`. Throws UsageError. */
export function parseGlibcAxis(text: string): readonly [string, readonly number[]] {
  const [, name, words] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || words === undefined) throw new UsageError(`--axis "${text}": wanted param=a,b,c`);
  if (!(glibc_axis_names as readonly string[]).includes(name))
    throw new UsageError(`--axis ${name}: unknown; wanted one of ${glibc_axis_names.join(' ')}`);
  return [name, words.split(',').map((word) => (word === 'dynamic' ? dynamic : parseBytes(word)))];
}

/** Nothing set. */
export const glibc_baseline: Point = [
  dynamic,
  glibc_settings.trim_threshold.value,
  glibc_settings.top_pad.value,
  glibc_settings.mmap_max.value,
  default_arenas,
];

/** Rules of thumb: what people set, and the corners of the space. */
export const glibc_starts: readonly Point[] = [
  glibc_baseline,
  [32 * MiB, 64 * MiB, glibc_settings.top_pad.value, glibc_settings.mmap_max.value, default_arenas],
  [never_bytes, never_bytes, 64 * MiB, 0, default_arenas],
  [128 * KiB, 128 * KiB, 0, glibc_settings.mmap_max.value, default_arenas],
];

export function glibcSettingsAt(point: Point): GlibcSettings {
  const [mmap_threshold, trim_threshold, top_pad, mmap_max, arena_max] = point;
  const pinned = mmap_threshold === dynamic ? {} : { mmap_threshold, trim_threshold, top_pad, mmap_max };
  return arena_max === default_arenas ? pinned : { ...pinned, arena_max };
}
