/**
 * The most that any allocator setting could remove from the recorded program: what the baseline costs beyond the unavoidable,
 * as a share of what the process spent. Prices are those of the search, so shares of CPU are as good as they are.
 */
import type { Figures } from './objective.ts';
import type { Subject } from './target.ts';

export interface Ceiling {
  readonly share_of_cpu: number | null;
  readonly share_of_faults: number | null;
  /** Why a share is not known, or what limits it. */
  readonly reason: string | null;
}

/** Over all traces that say what their process spent. */
export function ceilingOf(subjects: readonly Subject[], baseline: readonly Figures[]): Ceiling {
  let removable_ns = 0;
  let removable_faults = 0;
  let spent_ns = 0;
  let spent_faults = 0;
  for (const [at, subject] of subjects.entries()) {
    const { process: spent } = subject.trace.origin;
    if (spent === null) continue;
    const bound = subject.unavoidable();
    removable_ns += Math.max(0, baseline[at].time_ns - bound.time_ns);
    removable_faults += Math.max(0, baseline[at].faults - bound.faults);
    spent_ns += spent.user_ns + spent.sys_ns;
    spent_faults += spent.faults;
  }
  if (spent_ns === 0)
    return { share_of_cpu: null, share_of_faults: null, reason: 'no trace says what its process spent' };
  return {
    share_of_cpu: Math.min(1, removable_ns / spent_ns),
    share_of_faults: spent_faults > 0 ? Math.min(1, removable_faults / spent_faults) : null,
    reason: null,
  };
}
