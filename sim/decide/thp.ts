/** Which huge-page advice a new mapping gets. Mirrors native/core/thp.c. */
import { type Config, params } from '../spec.ts';

const off = params.thp_policy.words!.indexOf('off');
const on = params.thp_policy.words!.indexOf('on');

/** True where the block is told to use huge pages, and is therefore placed on a window boundary if it fills one. */
export function wantsHuge(config: Config, mapped_bytes: number): boolean {
  if (config.thp_policy === off) return false;
  return config.thp_policy === on || mapped_bytes >= config.thp_from_bytes;
}

/** True where the block is told to use none. */
export function forbidsHuge(config: Config): boolean {
  return config.thp_policy === off && config.thp_advice === 1;
}
