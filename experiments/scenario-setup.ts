/** From the settings of a scenario file to everything its replay depends on, and back. */
import {
  type Config,
  configOf,
  default_profile,
  describeConfig,
  enums,
  type KernelProfile,
  type Mode,
  param_names,
  parseMode,
  parseSetting,
  prices,
  type Setup,
  type TouchModel,
} from '../sim/index.ts';
import { type ScenarioLine, scenarioBytes } from '../traces/scenario.ts';
import { UsageError } from './command.ts';

/** The settings of a scenario over the profile of this machine, or a usual one. `more` is set over the file's own. */
export function scenarioSetup(
  lines: readonly ScenarioLine[],
  events: number,
  probed: KernelProfile | null,
  more: Partial<Config> = {},
): Setup {
  let mode = 'BALANCED';
  let touch: TouchModel = 'page';
  let profile = probed ?? default_profile;
  const settings: [string, number][] = [];
  for (const { name, value } of lines.filter((line) => line.kind === 'setting')) {
    if (name === 'mode') mode = value;
    else if (name === 'touch' && enums.touch.includes(value as TouchModel)) touch = value as TouchModel;
    else if (name === 'profile') profile = { ...profile, ...profilePart(value) };
    else if (name !== 'show') settings.push([...parseSetting(`${name}=${value}`, bytesOf)]);
  }
  const config = configOf(parseMode(mode), { ...Object.fromEntries(settings), ...more });
  return { config, prices, profile, touch, seed: 1, log: { from: 0, to: events } };
}

/** The lines that `scenarioSetup` reads back: the mode, the touch model, and what is not as the mode has it. */
export function scenarioSettings(mode: Mode, config: Config, touch: TouchModel): string {
  const plain = configOf(mode);
  const words = describeConfig(config);
  const set = param_names.filter((name) => config[name] !== plain[name]).map((name) => `${name} ${words[name]}\n`);
  return [`mode ${mode}\n`, `touch ${touch}\n`, ...set].join('');
}

function bytesOf(text: string): number {
  const bytes = scenarioBytes(text);
  if (bytes === undefined) throw new UsageError(`"${text}" is not a size; wanted one such as 3MiB or 4097`);
  return bytes;
}

function profilePart(text: string): Partial<KernelProfile> {
  const [name, value] = text.split(' ');
  return { [name]: value === 'true' ? true : value === 'false' ? false : value };
}
