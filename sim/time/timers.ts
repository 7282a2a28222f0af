/**
 * What is due when: a small heap beside the trace. The trace is sorted already and never goes in here, so that the heap stays
 * as small as there are clocks that tick.
 */
import { assert } from '../assert.ts';

export class Timers {
  private count = 0;
  private due = new Float64Array(16);
  private rank = new Float64Array(16);
  private id = new Int32Array(16);
  private added = 0;

  /** Infinity where nothing is due ever. */
  get next_ns(): number {
    return this.count === 0 ? Number.POSITIVE_INFINITY : this.due[0];
  }

  /** `rank` orders those that are due at once. */
  add(due_ns: number, id: number, rank = this.added): void {
    if (this.count === this.due.length) this.grow();
    this.count += 1;
    this.added += 1;
    this.rise(this.count - 1, due_ns, rank, id);
  }

  /** The one due first; of equals, the one of the lowest rank, which is the one added first unless ranks were given. */
  take(): number {
    assert(this.count > 0, 'something is due');
    const first = this.id[0];
    this.count -= 1;
    if (this.count > 0) this.sink(this.due[this.count], this.rank[this.count], this.id[this.count]);
    return first;
  }

  private rise(from: number, due_ns: number, rank: number, id: number): void {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.isBefore(due_ns, rank, above)) break;
      this.move(above, at);
      at = above;
    }
    this.put(at, due_ns, rank, id);
  }

  private sink(due_ns: number, rank: number, id: number): void {
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= this.count) break;
      if (below + 1 < this.count && this.isBefore(this.due[below + 1], this.rank[below + 1], below)) below += 1;
      if (this.isBefore(due_ns, rank, below)) break;
      this.move(below, at);
      at = below;
    }
    this.put(at, due_ns, rank, id);
  }

  private isBefore(due_ns: number, rank: number, other: number): boolean {
    return due_ns < this.due[other] || (due_ns === this.due[other] && rank < this.rank[other]);
  }

  private move(from: number, to: number): void {
    this.put(to, this.due[from], this.rank[from], this.id[from]);
  }

  private put(at: number, due_ns: number, rank: number, id: number): void {
    this.due[at] = due_ns;
    this.rank[at] = rank;
    this.id[at] = id;
  }

  private grow(): void {
    const wider = <T extends Float64Array | Int32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.due = wider(this.due, new Float64Array(2 * this.count));
    this.rank = wider(this.rank, new Float64Array(2 * this.count));
    this.id = wider(this.id, new Int32Array(2 * this.count));
  }
}
