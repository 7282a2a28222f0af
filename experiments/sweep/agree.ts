/** Whether two outcomes of one configuration are the same, in every figure that both halves have. */
import type { Outcome } from '../../sim/index.ts';

export interface OutcomeDifference {
  readonly field: string;
  readonly sim: unknown;
  readonly native: unknown;
}

/** The first field that differs, depth first; null where none does. */
export function outcomeDifference(sim: Outcome, native: Outcome): OutcomeDifference | null {
  return compare('', sim, native);
}

function compare(field: string, a: unknown, b: unknown): OutcomeDifference | null {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null)
    return Object.is(a, b) ? null : { field, sim: a, native: b };
  for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const found = compare(
      field === '' ? name : `${field}.${name}`,
      (a as Record<string, unknown>)[name],
      (b as Record<string, unknown>)[name],
    );
    if (found !== null) return found;
  }
  return null;
}
