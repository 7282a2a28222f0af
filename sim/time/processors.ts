/** Processors that threads take turns on: each works for one thread at a time, until that thread has to wait or is done. */
import { Lock } from './locks.ts';

export class Processors {
  readonly count: number;
  private readonly busy: Lock[];

  constructor(count: number) {
    this.count = count;
    this.busy = Array.from({ length: count }, () => new Lock());
  }

  /** A thread could run from `ready_ns` on and works for `work_ns`; returns when it begins, where that is soonest. */
  begin(ready_ns: number, work_ns: number): number {
    if (work_ns === 0) return ready_ns;
    let best = 0;
    let best_ns = Number.POSITIVE_INFINITY;
    for (let at = 0; at < this.count && best_ns > ready_ns; at += 1) {
      const turn_ns = this.busy[at].turnOf(ready_ns, work_ns, true);
      if (turn_ns >= best_ns) continue;
      best = at;
      best_ns = turn_ns;
    }
    return this.busy[best].acquire(ready_ns, work_ns, true);
  }
}
