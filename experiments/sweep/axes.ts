/** Axes: what is swept over. A parameter's list of values, or a range in steps, from the command line or from a plan. */
import {
  ConfigError,
  mode_names,
  type Param,
  type ParamName,
  params,
  parseMode,
  parseSetting,
} from '../../sim/index.ts';
import { parseBytes, UsageError } from '../command.ts';

/** Modes are swept like a parameter; their values are indexes into mode_names. */
export type AxisName = ParamName | 'mode';
export const scales = ['log', 'linear'] as const;
export type Scale = (typeof scales)[number];

export interface Axis {
  readonly name: AxisName;
  /** In the order given: lists as they were, ranges from end to end. */
  readonly values: readonly number[];
  /** Null for a list. */
  readonly range: null | { readonly from: number; readonly to: number; readonly scale: Scale };
}

/** How a plan writes an axis down. */
export type AxisWords =
  | readonly (string | number | boolean)[]
  | {
      readonly from: string | number;
      readonly to: string | number;
      readonly steps: number;
      readonly scale?: Scale | undefined;
    };

const steps_max = 100_000;

/** Reads `param=a,b,c` or `param=from:to:n` with `:log` or `:linear` after it. Throws UsageError. */
export function parseAxis(text: string): Axis {
  const [, name, words] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || words === undefined)
    throw new UsageError(`--axis "${text}": wanted param=a,b,c or param=from:to:n`);
  if (!words.includes(':')) return axisOf(name, words.split(','));
  const [from, to, steps, scale, ...rest] = words.split(':');
  if (steps === undefined || rest.length > 0 || (scale !== undefined && !scales.includes(scale as Scale)))
    throw new UsageError(
      `--axis ${name}: found "${words}", wanted from:to:n, with :log or :linear after it if need be`,
    );
  if (!/^\d+$/.test(steps))
    throw new UsageError(`--axis ${name}: found ${steps} steps, wanted a whole number from 2 on`);
  return axisOf(name, { from, to, steps: Number(steps), scale: scale as Scale | undefined });
}

/** Throws UsageError where there is no such parameter, or a value it cannot have. */
export function axisOf(name: string, words: AxisWords): Axis {
  if (Array.isArray(words)) {
    if (words.length === 0) throw new UsageError(`--axis ${name}: found no value, wanted one or more`);
    const values = (words as (string | number | boolean)[]).map((word) => readValue(name, String(word)));
    return { name: name as AxisName, values, range: null };
  }
  const { from: low, to: high, steps, scale: wanted } = words as Exclude<AxisWords, readonly unknown[]>;
  const from = readValue(name, String(low));
  const to = readValue(name, String(high));
  const { unit }: Param =
    name === 'mode' ? { unit: 'word', value: 0, min: 0, max: 0, why: '' } : params[name as ParamName];
  if (unit === 'flag' || unit === 'word')
    throw new UsageError(`--axis ${name}: found a range, wanted a list: its values are words`);
  if (steps < 2 || steps > steps_max)
    throw new UsageError(`--axis ${name}: found ${steps} steps, wanted a whole number from 2 to ${steps_max}`);
  const scale = wanted ?? (unit === 'bytes' || unit === 'events' ? 'log' : 'linear');
  if (scale === 'log' && Math.min(from, to) === 0)
    throw new UsageError(`--axis ${name}: found a range that touches 0, wanted one above it, or :linear after it`);
  const range = { from, to, scale };
  const values = Array.from({ length: steps }, (_, at) => within(range, at / (steps - 1)));
  return { name: name as AxisName, values, range };
}

/** The value at share [0, 1] of the axis: of a range in proportion, of a list the entry that stands there. */
export function valueAt(axis: Axis, share: number): number {
  const { values, range } = axis;
  return range === null ? values[Math.min(values.length - 1, Math.floor(share * values.length))] : within(range, share);
}

/** A setting's value as a number, within the parameter's own limits. Throws UsageError. */
export function readValue(name: string, text: string): number {
  try {
    if (name === 'mode') return mode_names.indexOf(parseMode(text));
    const [, value] = parseSetting(`${name}=${text}`, parseBytes);
    const { min, max, unit }: Param = params[name as ParamName];
    if (value < min || value > max)
      throw new ConfigError(
        `${name}: found ${text}, wanted ${unit === 'bytes' ? 'bytes' : 'a whole number'} from ${min} to ${max}`,
      );
    return value;
  } catch (error) {
    if (error instanceof ConfigError) throw new UsageError(error.message);
    if (error instanceof UsageError) throw new UsageError(`${name}: ${error.message}`);
    throw error;
  }
}

/** Both ends are exact, everything between a whole number. */
function within({ from, to, scale }: NonNullable<Axis['range']>, share: number): number {
  if (share === 0) return from;
  if (share === 1) return to;
  const exact = scale === 'log' ? from * (to / from) ** share : from + (to - from) * share;
  return Math.min(Math.max(from, to), Math.max(Math.min(from, to), Math.round(exact)));
}
