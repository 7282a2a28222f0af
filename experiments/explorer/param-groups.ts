/** The parameters of the spec in the groups that the page shows them in. */
import { type Param, type ParamName, param_names, params, shape } from '../../sim/index.ts';

export interface ParamGroup {
  readonly title: string;
  readonly names: readonly ParamName[];
}

const titles: readonly (readonly [RegExp, string])[] = [
  [/^(mmap_threshold|strategy|lifecycle)/, 'Strategy'],
  [/^bigcache/, 'BigCache'],
  [/^(thermal|warm|cold|batch|kept)/, 'Frees'],
  [/^thp/, 'Huge pages'],
  [
    /^(learner|rating|rules|window|switch|explore|elo|halving|ucb1|quantile|freeze|equivalence|drift|relearn|canary)/,
    'Learning, where no threshold is set',
  ],
  [/^legacy/, 'Bugs of the original'],
  [/./, 'Simulation'],
];

/** All but the threshold, which has a place of its own. */
export const param_groups: readonly ParamGroup[] = titles
  .map(([, title], at) => ({
    title,
    names: param_names.filter(
      (name) => name !== 'mmap_threshold_bytes' && titles.findIndex(([pattern]) => pattern.test(name)) === at,
    ),
  }))
  .filter(({ names }) => names.length > 0);

/** The groups with only what a search finds, by name or by what a parameter is for. */
export function searched(text: string): readonly ParamGroup[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = (name: ParamName): boolean => {
    const said = `${name} ${name.replaceAll('_', ' ')} ${params[name].why}`.toLowerCase();
    return words.every((word) => said.includes(word));
  };
  return param_groups
    .map(({ title, names }) => ({ title, names: names.filter(found) }))
    .filter(({ names }) => names.length > 0);
}

/** Steps an octave on a slider of bytes. */
const steps_per_octave = 16;

/** Where a logarithmic slider of bytes begins and ends; 0, where a parameter may be 0, is the step before. */
export interface ByteScale {
  readonly from_bytes: number;
  readonly to_bytes: number;
  readonly snap_bytes: number;
  readonly has_zero: boolean;
}

export function scaleOf(name: ParamName): ByteScale {
  const { min, max, value }: Param = params[name];
  const page_bytes: number = shape.page_bytes;
  const from_bytes = Math.max(min, page_bytes);
  return {
    from_bytes,
    to_bytes: Math.min(max, name === 'mmap_threshold_bytes' ? 2 ** 27 : Math.max(2 ** 30, 4 * value)),
    // A parameter that begins at megabytes is of whole huge-page windows.
    snap_bytes: from_bytes > page_bytes ? page_bytes * shape.window_pages : page_bytes,
    has_zero: min === 0 && name !== 'mmap_threshold_bytes',
  };
}

export function stepsOf({ from_bytes, to_bytes, has_zero }: ByteScale): number {
  return Math.round(Math.log2(to_bytes / from_bytes) * steps_per_octave) + (has_zero ? 1 : 0);
}

export function bytesAt(scale: ByteScale, step: number): number {
  if (scale.has_zero && step === 0) return 0;
  const bytes = scale.from_bytes * 2 ** ((step - (scale.has_zero ? 1 : 0)) / steps_per_octave);
  return Math.round(bytes / scale.snap_bytes) * scale.snap_bytes;
}

export function stepAt(scale: ByteScale, bytes: number): number {
  const first = scale.has_zero ? 1 : 0;
  if (bytes < scale.from_bytes) return bytes === 0 ? 0 : first;
  const step = first + Math.round(Math.log2(bytes / scale.from_bytes) * steps_per_octave);
  return Math.min(step, stepsOf(scale));
}
