/** From the options that replay and explain share to everything a replay depends on. */
import { type Command, InvalidArgumentError } from 'commander';
import { probeProfile } from '../native/index.ts';
import {
  type Config,
  ConfigError,
  configOf,
  default_profile,
  enums,
  type KernelProfile,
  learns,
  type Mode,
  mode_names,
  type ParamName,
  params,
  parseMode,
  parseSetting,
  type Setup,
  type TouchModel,
} from '../sim/index.ts';
import type { Trace } from '../traces/index.ts';
import { nominalPrices, type PriceList, readPrices } from './calibrate/price-file.ts';
import { parseBytes, UsageError, wholeNumber } from './command.ts';
import { check, readJson } from './json-file.ts';
import { type LoadedPolicy, loadPolicy, namesModule } from './policy/module.ts';

export interface SetupOptions {
  /** Without the flag, HAKMEM_MODE; without that, BALANCED. */
  readonly mode?: string;
  readonly set: readonly string[];
  readonly policy: string;
  readonly prices?: string;
  readonly profile?: string;
  readonly touch?: string;
  readonly seed: number;
}

export interface ChosenProfile {
  readonly source: 'probed' | 'default' | 'file';
  readonly profile: KernelProfile;
}

export interface Chosen {
  readonly mode: Mode;
  readonly setup: Setup;
  /** A module of yours; null for hakmem's own. */
  readonly policy: LoadedPolicy | null;
  readonly prices: PriceList;
  readonly profile: ChosenProfile;
}

/** Adds the shared options to a subcommand. */
export function addSetupOptions(command: Command): Command {
  return command
    .option('--mode <mode>', `one of ${mode_names.join(' ')}; HAKMEM_MODE unless given, else BALANCED`)
    .option('--set <param=value>', 'a parameter over the mode and over HAKMEM_SET; may be given again', collect, [])
    .option(
      '--policy <policy>',
      'hakmem, or a module of yours, such as ./mine.mjs: docs/OWN-POLICY.md; for replay glibc, jemalloc, mimalloc too',
      'hakmem',
    )
    .option(
      '--prices <file>',
      'prices, JSON, or "measured": those that calibrate kept for this machine; nominal unless given',
    )
    .option('--profile <file>', 'kernel profile, JSON; that of this machine unless given')
    .option('--touch <model>', `one of ${enums.touch.join(' ')}; recorded where the trace has it, else page`)
    .option('--seed <n>', 'seed of every random choice', wholeNumber(0), 1);
}

/** Throws UsageError where an option or a file it names is not what it should be. */
export async function choose(trace: Trace, options: SetupOptions): Promise<Chosen> {
  const policy = await choosePolicy(options.policy);
  const { mode, config } = chooseConfig(options, policy);
  const prices = options.prices === undefined ? nominalPrices() : await readPrices(options.prices);
  const profile = options.profile === undefined ? machineProfile() : await readProfile(options.profile);
  if (config.batch_vectored === 1 && !profile.profile.process_madvise)
    throw new UsageError(
      'batch_vectored: found true, but this kernel profile has no process_madvise on oneself; wanted false',
    );
  return {
    mode,
    policy,
    prices,
    profile,
    setup: {
      config,
      prices: prices.prices,
      profile: profile.profile,
      touch: chooseTouch(trace, options.touch),
      seed: options.seed,
      ...(policy === null ? {} : { policy: policy.own }),
    },
  };
}

/** Null for hakmem's own. */
async function choosePolicy(text: string): Promise<LoadedPolicy | null> {
  if (text === 'hakmem') return null;
  if (namesModule(text)) return loadPolicy(text);
  throw new UsageError(
    `unknown policy "${text}"; wanted hakmem, a module of yours such as ./mine.mjs, or for replay glibc, jemalloc, mimalloc`,
  );
}

/** A module that is never asked is a mistake, and so is a learner beside it. */
export function refuseUnasked(name: string, values: readonly number[]): void {
  const { learner, lifecycle } = params;
  if (name === 'learner')
    throw new UsageError(`learner: found ${learner.words![values[0]]}, wanted none: the policy is a module of yours`);
  if (name === 'mmap_threshold_bytes' && values.some((value) => value > 0))
    throw new UsageError(
      `mmap_threshold_bytes: found ${Math.max(...values)}, wanted 0: a policy module chooses the threshold`,
    );
  const found = values.map((value) => lifecycle.words![value]).find((word) => word === 'off' || word === 'frozen');
  if (name === 'lifecycle' && found !== undefined)
    throw new UsageError(`lifecycle: found ${found}, wanted learn or auto: or the policy module is never asked`);
}

/** Of a module, where neither the mode nor a setting says otherwise. */
export const learn_for_ever = params.lifecycle.words!.indexOf('learn');

/** Flags win over HAKMEM_MODE and HAKMEM_SET, which are what `hakmem tune` prints to paste. */
function chooseConfig(options: SetupOptions, policy: LoadedPolicy | null): { mode: Mode; config: Config } {
  const { HAKMEM_MODE = '', HAKMEM_SET = '' } = process.env;
  const read = (text: string): readonly [string, number] => parseSetting(text.trim(), parseBytes);
  const pasted = HAKMEM_SET.split(',').filter((text) => text.trim() !== '');
  const inherited = Object.fromEntries(named('HAKMEM_SET', () => pasted.map(read)));
  const flags = Object.fromEntries(named(null, () => options.set.map(read)));
  const mode =
    options.mode === undefined && HAKMEM_MODE !== ''
      ? named('HAKMEM_MODE', () => parseMode(HAKMEM_MODE))
      : named(null, () => parseMode(options.mode ?? 'BALANCED'));
  const blames = (parameter: string): boolean => parameter in inherited && !(parameter in flags);
  const settings = { ...inherited, ...flags };
  const config = named(blames, () => configOf(mode, settings));
  if (policy === null) return { mode, config };
  named(blames, () => {
    for (const name of Object.keys(settings)) refuseUnasked(name, [config[name as ParamName]]);
  });
  return { mode, config: learns(config) ? config : { ...config, lifecycle: learn_for_ever } };
}

/**
 * What `read` gives; where it refuses, one line that names the environment variable: the one given, none, or HAKMEM_SET
 * where it is to blame for the parameter that the refusal begins with.
 */
function named<T>(variable: string | null | ((parameter: string) => boolean), read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof UsageError)) throw error;
    const { message } = error;
    const name = typeof variable === 'function' ? (variable(message.split(':')[0]) ? 'HAKMEM_SET' : null) : variable;
    throw new UsageError(name === null ? message : `${name}: ${message}`);
  }
}

export function chooseTouch(trace: Trace, wanted: string | undefined): TouchModel {
  if (wanted === undefined) return trace.statistics.large_blocks_touched > 0 ? 'recorded' : 'page';
  if (!(enums.touch as readonly string[]).includes(wanted))
    throw new UsageError(`unknown touch model "${wanted}"; wanted one of ${enums.touch.join(' ')}`);
  return wanted as TouchModel;
}

function machineProfile(): ChosenProfile {
  const profile = probeProfile();
  return profile === null ? { source: 'default', profile: default_profile } : { source: 'probed', profile };
}

async function readProfile(path: string): Promise<ChosenProfile> {
  const { json } = readJson(path);
  const { z } = await import('zod');
  const schema = z.object({
    page_bytes: z.literal(4096),
    thp_kernel: z.enum(enums.thp_kernel),
    pt_reclaim: z.boolean(),
    huge_zero_write: z.enum(enums.huge_zero_write),
    read_maps_zero: z.boolean(),
    split_maps_zero: z.boolean(),
    process_madvise: z.boolean(),
  });
  return { source: 'file', profile: check(path, schema.safeParse(json)) };
}

function collect(text: string, before: readonly string[]): readonly string[] {
  if (!text.includes('=')) throw new InvalidArgumentError(`"${text}" is not a setting; wanted param=value.`);
  return [...before, text];
}
