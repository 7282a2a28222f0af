/** From a row back to its configuration, and to the text that sets it. */
import {
  type Config,
  ConfigError,
  configOf,
  describeConfig,
  type Param,
  type ParamName,
  param_names,
  params,
  parseMode,
  parseSetting,
} from '../../sim/index.ts';
import { UsageError } from '../command.ts';
import type { Row } from '../sweep/row.ts';
import { spellValue } from './words.ts';

/** Throws UsageError where a parameter is missing or out of range. */
export function configOfRow(row: Row): Config {
  try {
    const values = param_names.map((name) => [name, paramOf(row, name)] as const);
    return configOf(parseMode(String(row.mode)), Object.fromEntries(values));
  } catch (error) {
    if (error instanceof ConfigError)
      throw new UsageError(`configuration ${String(row.config_hash)}: ${error.message}; wanted a row of hakmem sweep`);
    throw error;
  }
}

/** What differs from the row's mode, as `--mode X --set a=b`: pasted, it gives exactly this configuration. */
export function flagsOf(row: Row): string {
  return [`--mode ${row.mode}`, ...changesOf(row).map((change) => `--set ${change}`)].join(' ');
}

/** The same for programs that are started by others. */
export function environmentOf(row: Row): string {
  return [`HAKMEM_MODE=${row.mode}`, `HAKMEM_SET=${changesOf(row).join(',')}`].join('\n');
}

/** "param=value" for each parameter that the mode does not have so by itself. */
export function changesOf(row: Row): string[] {
  const plain = describeConfig(configOf(parseMode(String(row.mode))));
  return param_names
    .filter((name) => row[name] !== plain[name])
    .map((name) => `${name}=${spellValue(name, row[name])}`);
}

function paramOf(row: Row, name: ParamName): number {
  const { unit }: Param = params[name];
  const value = row[name];
  if (unit === 'flag') return value === true ? 1 : value === false ? 0 : Number.NaN;
  if (unit === 'word') return parseSetting(`${name}=${value}`, Number)[1];
  return typeof value === 'number' ? value : Number.NaN;
}
