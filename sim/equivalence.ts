/** Thresholds that no request lies between: they are one strategy, and must tie. */
import { op } from '../traces/trace.ts';
import { type Folded, rowsIn } from './fold.ts';

/**
 * By threshold, the number of its class, from 0 in rising order. The trace must not be folded beyond the lowest threshold;
 * thresholds rise.
 */
export function equivalenceClasses(folded: Folded, thresholds_bytes: readonly number[]): number[] {
  const between = new Uint8Array(thresholds_bytes.length + 1);
  for (const [at, { op: kinds, size_bytes }] of folded.segments.entries()) {
    const rows = rowsIn(folded, at);
    for (let row = 0; row < rows; row += 1) {
      if (kinds[row] === op.free) continue;
      let above = 0;
      while (above < thresholds_bytes.length && size_bytes[row] >= thresholds_bytes[above]) above += 1;
      between[above] = 1;
    }
  }
  let name = 0;
  return thresholds_bytes.map((_, arm) => {
    if (arm > 0 && between[arm] === 1) name += 1;
    return name;
  });
}
