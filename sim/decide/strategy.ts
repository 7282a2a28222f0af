/** The threshold in force, and the arm it comes from. Mirrors native/core/strategy.c. */
import { type Config, params, shape } from '../spec.ts';

const public_set = params.strategy_set.words!.indexOf('public');
/** The arm of a threshold that was set by hand. */
export const fixed_arm = 255;

export function thresholds(config: Config): readonly number[] {
  return config.strategy_set === public_set ? shape.strategy_public_bytes : shape.strategy_geometric_bytes;
}

export function selectArm(config: Config): number {
  return config.mmap_threshold_bytes > 0 ? fixed_arm : config.strategy;
}

export function thresholdOf(config: Config, arm: number): number {
  return arm === fixed_arm ? config.mmap_threshold_bytes : thresholds(config)[arm];
}
