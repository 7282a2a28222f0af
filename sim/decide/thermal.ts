/** Hot, warm or cold: a function of the requested size alone, as the original has it. Mirrors native/core/thermal.c. */
import { type Config, enums } from '../spec.ts';

const hot = enums.thermal.indexOf('hot');
const warm = enums.thermal.indexOf('warm');
const cold = enums.thermal.indexOf('cold');

export function thermalClass(config: Config, size_bytes: number): number {
  if (size_bytes >= config.cold_from_bytes) return cold;
  return size_bytes >= config.warm_from_bytes ? warm : hot;
}
