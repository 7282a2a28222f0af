/**
 * How many kept pages an arena still may have: each interval's share shrinks along a smooth curve over 200 intervals.
 * Follows src/decay.c and include/jemalloc/internal/smoothstep.h of jemalloc 5.3.0.
 */
import { mix32 } from '../../decide/digest.ts';

const steps = 200;
const one = 2 ** 24;

/** 6x^5 - 15x^4 + 10x^3 at each step, in 24 bits after the point. */
const curve: readonly number[] = Array.from({ length: steps }, (_, at) => {
  const x = (at + 1) / steps;
  return Math.floor(x * x * x * (x * (6 * x - 15) + 10) * one + 1e-6);
});

export class Decay {
  /** 0: at once; below: never. */
  readonly ms: number;
  limit_pages = 0;
  private readonly interval_ns: number;
  private readonly backlog = new Float64Array(steps);
  private unpurged = 0;
  private epoch_ns: number;
  private deadline_ns = 0;
  private draws: number;

  constructor(ms: number, now_ns: number, seed: number) {
    this.ms = ms;
    this.interval_ns = Math.floor((ms * 1e6) / steps);
    this.epoch_ns = now_ns;
    this.draws = seed;
    this.setDeadline();
  }

  /** True where an interval has ended: then `limit_pages` is new. */
  advance(now_ns: number, pages: number): boolean {
    if (now_ns < this.deadline_ns) return false;
    const intervals = Math.floor((now_ns - this.epoch_ns) / this.interval_ns);
    this.epoch_ns += intervals * this.interval_ns;
    this.setDeadline();
    const { backlog } = this;
    if (intervals >= steps) {
      backlog.fill(0);
    } else {
      backlog.copyWithin(0, intervals);
      backlog.fill(0, steps - intervals);
    }
    backlog[steps - 1] = Math.max(0, pages - this.unpurged);
    this.limit_pages = Math.floor(backlog.reduce((sum, each, at) => sum + each * curve[at], 0) / one);
    this.unpurged = Math.max(this.limit_pages, pages);
    return true;
  }

  /** Anywhere within the next interval but one, so that arenas do not purge together. */
  private setDeadline(): void {
    this.draws += 1;
    const jitter = mix32(this.draws) / 2 ** 32;
    this.deadline_ns = this.epoch_ns + this.interval_ns * (1 + jitter);
  }
}
