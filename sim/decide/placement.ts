/**
 * Where blocks lie in the region: first fit by address, on the alignment asked for. Mirrors native/core/placement.c.
 * The core places blocks itself because the kernel's choice differs from run to run, and with it which windows can be huge.
 */
import { assert } from '../assert.ts';

export class Placement {
  /** Free stretches, sorted, never touching. */
  private readonly start: number[] = [0];
  private readonly pages: number[];

  constructor(region_pages: number) {
    this.pages = [region_pages];
  }

  /** First page of the lowest free stretch that fits, now taken; -1 where none does. */
  take(pages: number, align_pages: number): number {
    for (let at = 0; at < this.start.length; at += 1) {
      const free_start = this.start[at];
      const placed = Math.ceil(free_start / align_pages) * align_pages;
      const before = placed - free_start;
      const after = this.pages[at] - before - pages;
      if (after < 0) continue;
      if (before === 0 && after === 0) {
        this.start.splice(at, 1);
        this.pages.splice(at, 1);
      } else if (before === 0) {
        this.start[at] = placed + pages;
        this.pages[at] = after;
      } else {
        this.pages[at] = before;
        if (after > 0) {
          this.start.splice(at + 1, 0, placed + pages);
          this.pages.splice(at + 1, 0, after);
        }
      }
      return placed;
    }
    return -1;
  }

  give(start: number, pages: number): void {
    const next = this.after(start);
    const previous = next - 1;
    assert(previous < 0 || this.start[previous] + this.pages[previous] <= start, 'what is given back was taken');
    assert(next === this.start.length || start + pages <= this.start[next], 'what is given back was taken');
    const left = previous >= 0 && this.start[previous] + this.pages[previous] === start;
    const right = next < this.start.length && start + pages === this.start[next];
    if (left && right) {
      this.pages[previous] += pages + this.pages[next];
      this.start.splice(next, 1);
      this.pages.splice(next, 1);
    } else if (left) {
      this.pages[previous] += pages;
    } else if (right) {
      this.start[next] = start;
      this.pages[next] += pages;
    } else {
      this.start.splice(next, 0, start);
      this.pages.splice(next, 0, pages);
    }
  }

  /** True where no part of [start, start + pages) is taken. */
  isFree(start: number, pages: number): boolean {
    const at = this.after(start) - 1;
    return at >= 0 && start + pages <= this.start[at] + this.pages[at];
  }

  private after(page: number): number {
    let low = 0;
    let high = this.start.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.start[middle] <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
