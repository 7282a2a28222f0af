/** The threshold in force, and the arm it comes from. Mirrors native/core/strategy.c. */
import { type Config, params, shape } from '../spec.ts';

const public_set = params.strategy_set.words!.indexOf('public');
const [off, learn, frozen, auto] = params.lifecycle.words!.map((_, at) => at);
const ucb1 = params.learner.words!.indexOf('ucb1');
/** The arm of a threshold that was set by hand. */
export const fixed_arm = 255;
/** The arm of a site's first step, as the digest and the log have it; strategies are below. */
export const first_step_arm = 32;
export const lifecycles = { off, learn, frozen, auto } as const;

export function thresholds(config: Config): readonly number[] {
  return config.strategy_set === public_set ? shape.strategy_public_bytes : shape.strategy_geometric_bytes;
}

/** The strategy of a configuration that learns nothing. */
export function selectArm(config: Config): number {
  return config.mmap_threshold_bytes > 0 ? fixed_arm : config.strategy;
}

export function thresholdOf(config: Config, arm: number): number {
  if (arm === fixed_arm) return config.mmap_threshold_bytes;
  if (arm >= first_step_arm) return shape.ucb1_step_bytes[arm - first_step_arm];
  return thresholds(config)[arm];
}

/** True where strategies are chosen anew; a threshold set by hand stays, and FROZEN from the start has no learning in it. */
export function learns(config: Config): boolean {
  return config.mmap_threshold_bytes === 0 && (config.lifecycle === learn || config.lifecycle === auto);
}

export function learnsSites(config: Config): boolean {
  return learns(config) && config.learner === ucb1;
}

/** The lowest size that the configuration may map. */
export function floorOf(config: Config): number {
  if (!learns(config)) return thresholdOf(config, selectArm(config));
  return learnsSites(config) ? shape.ucb1_step_bytes[0] : thresholds(config)[0];
}

/** The highest threshold that may be in force. */
export function ceilingOf(config: Config): number {
  if (!learns(config)) return floorOf(config);
  return learnsSites(config) ? shape.ucb1_step_bytes[shape.ucb1_steps - 1] : thresholds(config)[shape.strategies - 1];
}
