/**
 * Settings of mimalloc that the model follows, as its environment variables name them, and what they default to (mimalloc
 * 2.0.9, src/options.c). What is not set is left to the library. `large_os_pages` is not among them: the model has no huge
 * pages.
 */
export interface MimallocSettings {
  readonly eager_commit?: number;
  readonly eager_commit_delay?: number;
  readonly allow_decommit?: number;
  readonly decommit_delay?: number;
  readonly decommit_extend_delay?: number;
  readonly segment_decommit_delay?: number;
  readonly page_reset?: number;
}

export type MimallocSetting = keyof MimallocSettings;

interface Described {
  readonly unit: 'milliseconds' | 'count' | 'switch';
  readonly value: number;
  readonly max: number;
  readonly why: string;
}

/** In the order in which the variables are written. */
export const mimalloc_settings: Readonly<Record<MimallocSetting, Described>> = {
  eager_commit: described('switch', 1, 1, 'segments are made accessible whole; 0: piece by piece'),
  eager_commit_delay: described('count', 1, 2 ** 31, 'so many segments of each thread but the first are not'),
  allow_decommit: described('switch', 1, 1, 'freed slices are given back'),
  decommit_delay: described('milliseconds', 25, 2 ** 31, 'how long freed slices wait for that; 0: not at all'),
  decommit_extend_delay: described(
    'milliseconds',
    1,
    2 ** 31,
    'each further free makes the others wait so much longer',
  ),
  segment_decommit_delay: described('milliseconds', 500, 2 ** 31, 'how long a whole free segment waits'),
  page_reset: described('switch', 0, 1, 'freed pages are left to the kernel to take (MADV_FREE)'),
};

export const mimalloc_setting_names = Object.keys(mimalloc_settings) as MimallocSetting[];

export const settingOr = (settings: MimallocSettings, name: MimallocSetting): number =>
  settings[name] ?? mimalloc_settings[name].value;

/** By name: the variables to set. */
export function mimallocEnv(settings: MimallocSettings): Readonly<Record<string, string>> {
  const set = mimalloc_setting_names.filter((name) => settings[name] !== undefined);
  return Object.fromEntries(set.map((name) => [`MIMALLOC_${name.toUpperCase()}`, String(settings[name])]));
}

/** The text to paste before a command; empty where nothing is set. */
export function mimallocText(settings: MimallocSettings): string {
  return Object.entries(mimallocEnv(settings))
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

function described(unit: Described['unit'], value: number, max: number, why: string): Described {
  return { unit, value, max, why };
}
