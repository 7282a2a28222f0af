/** What a person has chosen: the trace's name and one or two settings. It lives in the address, so that a link shows it again. */
import {
  type Config,
  ConfigError,
  configOf,
  describeConfig,
  enums,
  type KernelProfile,
  type Mode,
  type ParamName,
  param_names,
  parseMode,
  parseSetting,
  prices,
  type Setup,
  type TouchModel,
} from '../../sim/index.ts';
import { notBytes, readBytes } from '../sizes.ts';

export interface Setting {
  readonly mode: Mode;
  /** null: recorded where the trace has it, else page, as on the command line. */
  readonly touch: TouchModel | null;
  /** Parameters set over the mode. */
  readonly over: Partial<Config>;
}

export const charts = ['memory', 'time', 'faults'] as const;
export type ChartName = (typeof charts)[number];

export interface View {
  /** Name of a sample or of a file that was opened; null where none was. */
  readonly trace: string | null;
  readonly a: Setting;
  readonly b: Setting | null;
  readonly chart: ChartName;
  /** The event that is explained. */
  readonly event: number | null;
}

export const first_setting: Setting = { mode: 'BALANCED', touch: null, over: {} };
export const first_view: View = { trace: null, a: first_setting, b: null, chart: 'memory', event: null };

/** Everything a replay depends on. Throws ConfigError. */
export function setupOf(setting: Setting, has_touch: boolean, profile: KernelProfile): Setup {
  const config = configOf(setting.mode, setting.over);
  if (config.batch_vectored === 1 && !profile.process_madvise)
    throw new ConfigError('batch_vectored: found true, but this kernel profile has no process_madvise on oneself');
  return { config, prices, profile, touch: touchOf(setting, has_touch), seed: 1 };
}

export function touchOf(setting: Setting, has_touch: boolean): TouchModel {
  return setting.touch ?? (has_touch ? 'recorded' : 'page');
}

/** The setting with one parameter set, or left to the mode again. */
export function withParam(setting: Setting, name: ParamName, value: number | undefined): Setting {
  const { [name]: _, ...others } = setting.over;
  const same = value === undefined || value === configOf(setting.mode)[name];
  return { ...setting, over: same ? others : { ...others, [name]: value } };
}

/** The view as the part of an address after `#`. */
export function writeView({ trace, a, b, chart, event }: View): string {
  const pairs: [string, string][] = [
    ...(trace === null ? [] : [['trace', trace] as [string, string]]),
    ...writeSetting('', a),
    ...(b === null ? [] : writeSetting('b.', b)),
    ...(chart === first_view.chart ? [] : [['chart', chart] as [string, string]]),
    ...(event === null ? [] : [['event', String(event)] as [string, string]]),
  ];
  return new URLSearchParams(pairs).toString();
}

/** Reads what `writeView` wrote. What cannot be read is left out and named in `problems`. */
export function readView(text: string): { view: View; problems: string[] } {
  const problems: string[] = [];
  const pairs = [...new URLSearchParams(text.replace(/^#/, ''))];
  const own = pairs.filter(([name]) => !name.startsWith('b.'));
  const others = pairs
    .filter(([name]) => name.startsWith('b.'))
    .map(([name, value]) => [name.slice(2), value] as const);
  let view: View = {
    ...first_view,
    a: readSetting(own, problems),
    b: others.length > 0 ? readSetting(others, problems) : null,
  };
  for (const [name, value] of own) {
    if (name === 'trace') view = { ...view, trace: value };
    else if (name === 'chart' && (charts as readonly string[]).includes(value))
      view = { ...view, chart: value as ChartName };
    else if (name === 'event' && /^\d{1,15}$/.test(value)) view = { ...view, event: Number(value) };
    else if (name === 'chart' || name === 'event') problems.push(`${name}: found "${value}"`);
  }
  return { view, problems };
}

/** The command that simulates the same and checks it, ready to paste. */
export function commandOf(path: string, setting: Setting): string {
  const words = ['npx', 'hakmem', 'replay', path, '--mode', setting.mode];
  if (setting.touch !== null) words.push('--touch', setting.touch);
  for (const [name, value] of settingsInWords(setting)) words.push('--set', `${name}=${value}`);
  return words.map(quoted).join(' ');
}

function writeSetting(prefix: string, setting: Setting): [string, string][] {
  return [
    [`${prefix}mode`, setting.mode],
    ...(setting.touch === null ? [] : [[`${prefix}touch`, setting.touch] as [string, string]]),
    ...settingsInWords(setting).map(([name, value]) => [`${prefix}${name}`, value] as [string, string]),
  ];
}

function settingsInWords({ over }: Setting): [string, string][] {
  const words = describeConfig({ ...configOf('BALANCED'), ...over });
  return param_names.filter((name) => over[name] !== undefined).map((name) => [name, String(words[name])]);
}

function readSetting(pairs: readonly (readonly [string, string])[], problems: string[]): Setting {
  let setting: Setting = first_setting;
  for (const [name, value] of pairs) {
    try {
      if (name === 'mode') setting = { ...setting, mode: parseMode(value) };
      else if (name === 'touch') setting = { ...setting, touch: readTouch(value) };
      else if (!['trace', 'chart', 'event'].includes(name)) {
        const [param, number] = parseSetting(`${name}=${value}`, wholeBytes);
        setting = { ...setting, over: { ...setting.over, [param]: number } };
      }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(error.message);
    }
  }
  return setting;
}

function readTouch(text: string): TouchModel {
  if (!(enums.touch as readonly string[]).includes(text))
    throw new ConfigError(`unknown touch model "${text}"; wanted one of ${enums.touch.join(' ')}`);
  return text as TouchModel;
}

function wholeBytes(text: string): number {
  const bytes = readBytes(text);
  if (bytes === undefined) throw new ConfigError(notBytes(text));
  return bytes;
}

/** As a shell takes it for one word. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
