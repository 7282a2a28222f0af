/** From a mode and settings to a value for every parameter, and back to what people read. */
import {
  type Config,
  defaults,
  type Mode,
  mode_names,
  modes,
  type Param,
  type ParamName,
  param_names,
  params,
} from './spec.ts';

/** A setting that no configuration can have: names the parameter, what was found and what was wanted. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

/** The configuration of `mode` with `settings` over it. Throws ConfigError. */
export function configOf(mode: Mode, settings: Partial<Config> = {}): Config {
  const config = { ...defaults, ...(modes[mode] as Partial<Config>), ...settings };
  for (const name of param_names) {
    const { min, max } = params[name];
    const value = config[name];
    if (!Number.isInteger(value) || value < min || value > max)
      throw new ConfigError(`${name}: found ${value}, wanted a whole number from ${min} to ${max}`);
  }
  if ((config.bigcache_slots & (config.bigcache_slots - 1)) !== 0)
    throw new ConfigError(`bigcache_slots: found ${config.bigcache_slots}, wanted a power of two`);
  if (config.warm_from_bytes > config.cold_from_bytes)
    throw new ConfigError(
      `warm_from_bytes: found ${config.warm_from_bytes}, wanted at most cold_from_bytes, ${config.cold_from_bytes}`,
    );
  if (config.region_bytes % (2 * 2 ** 20) !== 0)
    throw new ConfigError(`region_bytes: found ${config.region_bytes}, wanted a multiple of 2 MiB`);
  return config;
}

/** A mode's name, whatever its case. Throws ConfigError that lists the five. */
export function parseMode(text: string): Mode {
  const mode = text.toUpperCase();
  if (!mode_names.includes(mode as Mode))
    throw new ConfigError(`unknown mode "${text}"; wanted one of ${mode_names.join(' ')}`);
  return mode as Mode;
}

/** Reads one `param=value`; `parseBytes` turns "2MiB" into bytes. Throws ConfigError. */
export function parseSetting(text: string, parseBytes: (text: string) => number): readonly [ParamName, number] {
  const [, name, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new ConfigError(`"${text}" is not a setting; wanted param=value`);
  if (!(name in params)) throw new ConfigError(`unknown parameter "${name}"; known are ${param_names.join(' ')}`);
  const param: Param = params[name as ParamName];
  return [name as ParamName, parseValue(name, param, value, parseBytes)];
}

/** The configuration for people: words for words, true and false for flags. */
export function describeConfig(config: Config): Record<string, number | string | boolean> {
  return Object.fromEntries(
    param_names.map((name) => {
      const { unit, words }: Param = params[name];
      const value = config[name];
      return [name, unit === 'flag' ? value === 1 : unit === 'word' ? words![value] : value];
    }),
  );
}

function parseValue(name: string, param: Param, text: string, parseBytes: (text: string) => number): number {
  if (param.unit === 'flag') {
    if (['true', 'on', '1', 'yes'].includes(text)) return 1;
    if (['false', 'off', '0', 'no'].includes(text)) return 0;
    throw new ConfigError(`${name}: found "${text}", wanted true or false`);
  }
  if (param.unit === 'word') {
    const at = param.words!.indexOf(text.toLowerCase());
    if (at < 0) throw new ConfigError(`${name}: found "${text}", wanted one of ${param.words!.join(' ')}`);
    return at;
  }
  return parseBytes(text);
}
