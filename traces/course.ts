/** What is live over a trace, in a bounded number of points. */
import { type Chunk, op } from './trace.ts';

export interface CoursePoint {
  readonly event: number;
  readonly time_ns: number;
  /** The most since the point before, so that no peak falls between two. */
  readonly live_bytes: number;
  readonly live_blocks: number;
}

export class Course {
  private readonly past: CoursePoint[] = [];
  private readonly every: number;
  private size_of = new Float64Array(1024);
  private live_bytes = 0;
  private live_blocks = 0;
  private most_bytes = 0;
  private most_blocks = 0;
  private last_event = -1;
  private last_time_ns = 0;

  /** At most `points_max` points of a trace of `events`. */
  constructor(events: number, points_max: number) {
    this.every = Math.max(1, Math.ceil(events / points_max));
  }

  add({ op: kinds, object, size_bytes, time_ns, first_event, length }: Chunk): void {
    for (let row = 0; row < length; row += 1) {
      const slot = object[row];
      if (slot >= this.size_of.length) this.grow(slot + 1);
      const kind = kinds[row];
      if (kind === op.free) this.live_blocks -= 1;
      else if (kind !== op.realloc) this.live_blocks += 1;
      const size = kind === op.free ? 0 : size_bytes[row];
      this.live_bytes += size - this.size_of[slot];
      this.size_of[slot] = size;
      if (this.live_bytes > this.most_bytes) this.most_bytes = this.live_bytes;
      if (this.live_blocks > this.most_blocks) this.most_blocks = this.live_blocks;
      this.last_event = first_event + row;
      this.last_time_ns = time_ns[row];
      if ((this.last_event + 1) % this.every === 0) this.endStretch();
    }
  }

  /** In order of events; the last one closes the trace, however far it is from the one before. */
  points(): readonly CoursePoint[] {
    const closed = this.past.at(-1)?.event ?? -1;
    return closed === this.last_event ? this.past : [...this.past, this.now()];
  }

  private now(): CoursePoint {
    const { last_event: event, last_time_ns: time_ns, most_bytes: live_bytes, most_blocks: live_blocks } = this;
    return { event, time_ns, live_bytes, live_blocks };
  }

  private endStretch(): void {
    this.past.push(this.now());
    this.most_bytes = this.live_bytes;
    this.most_blocks = this.live_blocks;
  }

  private grow(objects: number): void {
    const wider = new Float64Array(Math.max(objects, 2 * this.size_of.length));
    wider.set(this.size_of);
    this.size_of = wider;
  }
}
