/**
 * Settings of jemalloc that the model follows, as MALLOC_CONF names them, and what they default to (jemalloc 5.3.0 as
 * Debian builds it). What is not set is left to the library. `thp` is not among them, the
 * model has no huge pages; nor is `cache_oblivious`, which 5.3.0 does not read.
 */
const KiB = 1024;
const MiB = 1024 * KiB;

export interface JemallocSettings {
  readonly dirty_decay_ms?: number;
  readonly muzzy_decay_ms?: number;
  readonly oversize_threshold?: number;
  readonly narenas?: number;
  readonly retain?: number;
  readonly lg_extent_max_active_fit?: number;
  readonly tcache?: number;
  readonly lg_tcache_max?: number;
}

export type JemallocSetting = keyof JemallocSettings;

interface Described {
  readonly unit: 'milliseconds' | 'bytes' | 'count' | 'switch' | 'power of two';
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly why: string;
}

/** In the order in which a MALLOC_CONF line is written. */
export const jemalloc_settings: Readonly<Record<JemallocSetting, Described>> = {
  dirty_decay_ms: described(
    'milliseconds',
    10_000,
    -1,
    2 ** 31,
    'how long freed pages are kept; 0: given back at once, -1: never',
  ),
  muzzy_decay_ms: described(
    'milliseconds',
    0,
    -1,
    2 ** 31,
    'how long they are kept after that, free for the kernel to take; 0: given back at once, -1: never',
  ),
  oversize_threshold: described(
    'bytes',
    8 * MiB,
    0,
    2 ** 47,
    'requests from here on have an arena of their own and are given back as soon as they are freed; 0: none',
  ),
  narenas: described('count', 0, 0, 4095, 'arenas that threads share; 0: four for each processor'),
  retain: described('switch', 1, 0, 1, 'addresses are kept when pages go, and grow by ever larger steps; 0: unmapped'),
  lg_extent_max_active_fit: described(
    'power of two',
    6,
    0,
    63,
    'how many times larger a kept stretch may be than the request that is cut from it',
  ),
  tcache: described('switch', 1, 0, 1, 'threads keep blocks to themselves'),
  lg_tcache_max: described('power of two', 15, 3, 23, 'the largest block that they keep'),
};

export const jemalloc_setting_names = Object.keys(jemalloc_settings) as JemallocSetting[];

export const settingOr = (settings: JemallocSettings, name: JemallocSetting): number =>
  settings[name] ?? jemalloc_settings[name].value;

/** The line to paste; empty where nothing is set. */
export function mallocConfText(settings: JemallocSettings): string {
  const set = jemalloc_setting_names.filter((name) => settings[name] !== undefined);
  if (set.length === 0) return '';
  return `MALLOC_CONF=${set.map((name) => `${name}:${valueText(name, settings[name] as number)}`).join(',')}`;
}

function valueText(name: JemallocSetting, value: number): string {
  if (jemalloc_settings[name].unit !== 'switch') return String(value);
  return value === 0 ? 'false' : 'true';
}

function described(unit: Described['unit'], value: number, min: number, max: number, why: string): Described {
  return { unit, value, min, max, why };
}
