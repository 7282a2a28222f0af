/** The policy that two recordings are replayed under: the same, on the same kernel, at the same prices, on any machine. */
import type { Command } from 'commander';
import { default_profile, mode_names } from '../../sim/index.ts';
import { ModelLimit } from '../../sim/peers/peer.ts';
import type { Trace } from '../../traces/index.ts';
import { UsageError, wholeNumber } from '../command.ts';
import { openTrace } from '../open-trace.ts';
import { peerPolicy, settingsOf } from '../peer-replay.ts';
import { choose, chooseTouch } from '../setup.ts';
import type { Under } from './figures.ts';

export interface UnderOptions {
  readonly policy: string;
  readonly mode?: string;
  readonly set: readonly string[];
  readonly touch?: string;
  readonly seed: number;
}

export function addUnderOptions(command: Command): Command {
  return command
    .option('--policy <policy>', 'replayed under: glibc, jemalloc, mimalloc, hakmem, or a module of yours', 'glibc')
    .option('--mode <mode>', `with --policy hakmem, one of ${mode_names.join(' ')}`)
    .option(
      '--set <param=value>',
      'a parameter of the policy; may be given again',
      (text, all: string[]) => [...all, text],
      [],
    )
    .option('--touch <model>', 'pages touched: recorded where both traces have it, else page')
    .option('--seed <n>', 'seed of every random choice', wholeNumber(0), 1);
}

export interface Chosen {
  readonly under: Under;
  /** In words, for the report. */
  readonly policy: string;
  readonly touch: string;
}

/** Throws UsageError. */
export async function chooseUnder(base: Trace, head: Trace, options: UnderOptions): Promise<Chosen> {
  const both = chooseTouch(base, options.touch) === chooseTouch(head, options.touch);
  const touch = both ? chooseTouch(base, options.touch) : 'page';
  const peer = peerPolicy(options.policy);
  if (peer === undefined) {
    const { setup, mode } = await choose(base, { ...options, touch });
    const policy = `${options.policy}, mode ${mode}${options.set.map((each) => `, ${each}`).join('')}`;
    return { under: { peer: null, setup: { ...setup, profile: default_profile } }, policy, touch };
  }
  if (options.mode !== undefined) throw new UsageError(`--mode: found it with --policy ${peer.name}, wanted none`);
  const configured = peer.configured(settingsOf(peer, options.set));
  const { setup } = await choose(base, { policy: 'hakmem', set: [], seed: options.seed, touch });
  return {
    under: { peer: configured, setup, touch: setup.touch, profile: default_profile },
    policy: [peer.name, ...options.set].join(', '),
    touch,
  };
}

/** Throws UsageError. */
export function openSome(path: string): Trace {
  const trace = openTrace(path);
  if (trace.statistics.events === 0) throw new UsageError(`${path}: no events; wanted a trace with some`);
  return trace;
}

/** A model that does not reach so far is no regression: the error names the trace. */
export async function withinModel<T>(path: string, policy: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof ModelLimit) throw new UsageError(`${path}: ${error.message} is beyond the model of ${policy}`);
    throw error;
  }
}
