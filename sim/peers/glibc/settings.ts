/**
 * Settings of glibc's malloc, as its tunables and environment variables name them, and what they default to (glibc 2.36,
 * malloc/malloc.c and malloc/arena.c). What is not set is left to the library.
 */
const KiB = 1024;
const MiB = 1024 * KiB;

export interface GlibcSettings {
  readonly mmap_threshold?: number;
  readonly trim_threshold?: number;
  readonly top_pad?: number;
  readonly mmap_max?: number;
  readonly arena_max?: number;
  readonly tcache_count?: number;
  readonly tcache_max?: number;
  readonly mxfast?: number;
}

export type GlibcSetting = keyof GlibcSettings;

interface Described {
  readonly unit: 'bytes' | 'count';
  readonly value: number;
  readonly max: number;
  /** Setting it, to whatever value, switches the dynamic mmap threshold off. */
  readonly pins: boolean;
  readonly why: string;
}

/** In the order in which a GLIBC_TUNABLES line is written. */
export const glibc_settings: Readonly<Record<GlibcSetting, Described>> = {
  mmap_threshold: described(
    'bytes',
    128 * KiB,
    2 ** 47,
    true,
    'requests from here on are mapped where the heap has no room',
  ),
  trim_threshold: described('bytes', 128 * KiB, 2 ** 47, true, 'a free top of this size is given back'),
  top_pad: described('bytes', 128 * KiB, 2 ** 47, true, 'what the heap grows by beyond a request, and keeps in a trim'),
  mmap_max: described('count', 65_536, 2 ** 31 - 1, true, 'mapped blocks at a time'),
  arena_max: described('count', 0, 2 ** 16, false, 'arenas that threads share; 0: eight for each processor'),
  tcache_count: described('count', 7, 65_535, false, 'blocks of a size that a thread keeps to itself'),
  tcache_max: described('bytes', 1032, 1032, false, 'the largest request that it keeps'),
  mxfast: described('bytes', 128, 160, false, 'the largest request of a fastbin'),
};

export const glibc_setting_names = Object.keys(glibc_settings) as GlibcSetting[];

/** What differs between versions, by the release that brought it. */
export interface GlibcVersion {
  /** 2.26. */
  readonly tcache: boolean;
  /** 2.37: a realloc that its chunk has room for changes nothing, by 2.38 only where it grows, or spares a page at most. */
  readonly realloc_keeps: 'never' | 'with_room' | 'growing';
  /** 2.38: an aligned block may come from the tcache, and what is cut off of one merges at once. */
  readonly aligned_merges: boolean;
  /** 2.41. */
  readonly calloc_takes_from_tcache: boolean;
  /** 2.41: a freed chunk below 1 KiB goes to the bin of its size, not through the unsorted ones. */
  readonly small_to_bins: boolean;
}

/** Of "2.36". What is older than 2.26 or newer than 2.41 is taken for the nearest of them. */
export function glibcVersion(version: string): GlibcVersion {
  const minor = Number(version.split('.')[1]);
  return {
    tcache: minor >= 26,
    realloc_keeps: minor < 37 ? 'never' : minor < 38 ? 'with_room' : 'growing',
    aligned_merges: minor >= 38,
    calloc_takes_from_tcache: minor >= 41,
    small_to_bins: minor >= 41,
  };
}

export const pinsDynamic = (settings: GlibcSettings): boolean =>
  glibc_setting_names.some((name) => settings[name] !== undefined && glibc_settings[name].pins);

export const settingOr = (settings: GlibcSettings, name: GlibcSetting): number =>
  settings[name] ?? glibc_settings[name].value;

/** The line to paste; empty where nothing is set. */
export function tunablesText(settings: GlibcSettings): string {
  const set = glibc_setting_names.filter((name) => settings[name] !== undefined);
  if (set.length === 0) return '';
  return `GLIBC_TUNABLES=${set.map((name) => `glibc.malloc.${name}=${settings[name]}`).join(':')}`;
}

/** 32 MiB on 64 bits (DEFAULT_MMAP_THRESHOLD_MAX): a freed mapped block of less moves the dynamic threshold up to itself. */
export const dynamic_threshold_max_bytes = 32 * MiB;

function described(unit: Described['unit'], value: number, max: number, pins: boolean, why: string): Described {
  return { unit, value, max, pins, why };
}
