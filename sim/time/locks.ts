/**
 * A lock over time, first come, first served, with readers beside each other. Who asks is asked in the order of the trace, which
 * is nearly but not quite the order of the threads' clocks: someone who asked earlier than those who have it already is
 * served before them where that takes nothing from them, else behind them.
 */

/** Holds that are remembered: what lies further back has long ended. */
const held_max = 64;

export class Lock {
  private readonly asked = new Float64Array(held_max);
  private readonly from = new Float64Array(held_max);
  private readonly to = new Float64Array(held_max);
  private readonly writes = new Uint8Array(held_max);
  private count = 0;
  private next = 0;
  private last_to_ns = 0;

  /** Asked for at `asked_ns`, for `hold_ns`; returns when it is held. */
  acquire(asked_ns: number, hold_ns: number, write: boolean): number {
    const from_ns = this.turnOf(asked_ns, hold_ns, write);
    this.hold(asked_ns, from_ns, from_ns + hold_ns, write);
    return from_ns;
  }

  /** When it could be held. */
  turnOf(asked_ns: number, hold_ns: number, write: boolean): number {
    if (asked_ns >= this.last_to_ns) return asked_ns;
    let turn_ns = asked_ns;
    for (let at = 0; at < this.count; at += 1) {
      if (this.asked[at] > asked_ns) continue;
      const after_ns = write || this.writes[at] === 1 ? this.to[at] : this.from[at];
      if (after_ns > turn_ns) turn_ns = after_ns;
    }
    for (let at = this.blocker(asked_ns, turn_ns, hold_ns, write); at >= 0; ) {
      turn_ns = this.to[at];
      at = this.blocker(asked_ns, turn_ns, hold_ns, write);
    }
    return turn_ns;
  }

  /** A hold that follows on one: a writer that goes on as a reader. */
  hold(asked_ns: number, from_ns: number, to_ns: number, write: boolean): void {
    const at = this.next;
    this.asked[at] = asked_ns;
    this.from[at] = from_ns;
    this.to[at] = to_ns;
    this.writes[at] = write ? 1 : 0;
    this.next = (at + 1) % held_max;
    if (this.count < held_max) this.count += 1;
    if (to_ns > this.last_to_ns) this.last_to_ns = to_ns;
  }

  /** One who asked later, has its time already, and would be in the way; -1 where there is none. */
  private blocker(asked_ns: number, from_ns: number, hold_ns: number, write: boolean): number {
    for (let at = 0; at < this.count; at += 1) {
      if (this.asked[at] <= asked_ns || !(write || this.writes[at] === 1)) continue;
      if (from_ns < this.to[at] && from_ns + hold_ns > this.from[at]) return at;
    }
    return -1;
  }
}
