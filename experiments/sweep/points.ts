/** From a mode, settings and axes to the configurations of a sweep: a grid, or Sobol points over the same box. */
import {
  type Config,
  ConfigError,
  configOf,
  type KernelProfile,
  type Mode,
  mode_names,
  type ParamName,
} from '../../sim/index.ts';
import { UsageError } from '../command.ts';
import { type Axis, valueAt } from './axes.ts';
import { hashOfConfig } from './row.ts';
import { sobol_dimensions_max, sobolPoints } from './sobol.ts';

export interface Point {
  readonly hash: string;
  readonly mode: Mode;
  readonly config: Config;
}

export interface Points {
  /** By hash; configurations that are equal are one. */
  readonly points: readonly Point[];
  /** Combinations that no configuration can have. */
  readonly skipped: number;
  /** Why the first of them was skipped. */
  readonly skipped_reason: string | null;
}

export interface Box {
  readonly mode: Mode;
  readonly set: Partial<Config>;
  readonly axes: readonly Axis[];
  /** This many points instead of the full grid. */
  readonly sobol: number | null;
  readonly seed: number;
  readonly profile: KernelProfile;
}

export const points_max = 1_000_000;

/**
 * Throws UsageError for an axis value that is impossible whatever the others are; single combinations that are
 * impossible, such as warm_from_bytes above cold_from_bytes, are counted.
 */
export function pointsOf(box: Box): Points {
  const { axes } = box;
  const names = axes.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at || (name !== 'mode' && name in box.set));
  if (twice !== undefined)
    throw new UsageError(`${twice}: found more than once, wanted one --axis or one --set for it`);
  const points = new Map<string, Point>();
  const fate: Fates = axes.map(() => new Map());
  let skipped = 0;
  let skipped_reason: string | null = null;
  for (const values of combinations(box)) {
    const made = pointOf(box, values);
    const failed = typeof made === 'string' ? made : null;
    values.forEach((value, at) => {
      const before = fate[at].get(value);
      fate[at].set(value, failed === null || before === null ? null : (before ?? failed));
    });
    if (typeof made !== 'string') points.set(made.hash, points.get(made.hash) ?? made);
    else {
      skipped += 1;
      skipped_reason ??= made;
    }
  }
  const hopeless = box.sobol === null ? fate.flatMap((each) => [...each.values()]).find((each) => each !== null) : null;
  if (hopeless !== null && hopeless !== undefined) throw new UsageError(hopeless);
  if (points.size === 0) throw new UsageError(skipped_reason!);
  const sorted = [...points.values()].sort((a, b) => (a.hash < b.hash ? -1 : 1));
  return { points: sorted, skipped, skipped_reason };
}

/** For each axis, by value: null where some combination with it is possible, else why the first was not. */
type Fates = readonly Map<number, string | null>[];

function pointOf({ mode, set, axes, profile }: Box, values: readonly number[]): Point | string {
  let chosen = mode;
  const settings: Partial<Record<ParamName, number>> = { ...set };
  axes.forEach(({ name }, at) => {
    if (name === 'mode') chosen = mode_names[values[at]];
    else settings[name] = values[at];
  });
  try {
    const config = configOf(chosen, settings);
    if (config.batch_vectored === 1 && !profile.process_madvise)
      return 'batch_vectored: found true, but this kernel profile has no process_madvise on oneself; wanted false';
    return { hash: hashOfConfig(config), mode: chosen, config };
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}

/** A value for every axis, combination by combination. */
function* combinations({ axes, sobol, seed }: Box): Generator<readonly number[]> {
  const count = sobol ?? axes.reduce((product, { values }) => product * values.length, 1);
  if (count > points_max)
    throw new UsageError(`${count} configurations; wanted at most ${points_max}: fewer values, or --sobol N`);
  if (sobol !== null) {
    if (axes.length > sobol_dimensions_max)
      throw new UsageError(`--sobol: found ${axes.length} axes, wanted at most ${sobol_dimensions_max}`);
    for (const point of sobolPoints(sobol, axes.length, seed)) yield axes.map((axis, at) => valueAt(axis, point[at]));
    return;
  }
  for (let index = 0; index < count; index += 1) {
    let rest = index;
    yield axes.map(({ values }) => {
      const value = values[rest % values.length];
      rest = Math.floor(rest / values.length);
      return value;
    });
  }
}
