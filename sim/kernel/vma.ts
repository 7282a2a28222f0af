/**
 * Which page ranges are mapped, as the kernel's own areas: neighbours merge or stay apart by its rules, and a huge page
 * needs its whole window inside one area. Mirrors native/core/vma.c.
 *
 * Two neighbours merge where their flags are equal and their anon_vmas are compatible: equal, or one of them not there
 * yet (Linux mm/vma.c, is_mergeable_anon_vma). An area gets its anon_vma at its first write fault; splitting shares it.
 */
import { assert } from '../assert.ts';

/** Advice an area carries. */
export const area_flag = { plain: 0, huge: 1, no_huge: 2 } as const;

export class Areas {
  count = 0;
  /** Pages [start, end), sorted, disjoint. */
  readonly start: number[] = [];
  readonly end: number[] = [];
  readonly flag: number[] = [];
  /** 0 while the area has no anon_vma. */
  readonly anon: number[] = [];
  private next_anon = 1;

  /** Index of the area that holds `page`, or -1. */
  find(page: number): number {
    const at = this.after(page) - 1;
    return at >= 0 && page < this.end[at] ? at : -1;
  }

  /** Index of the first area that begins beyond `page`. */
  after(page: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.start[middle] <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** mmap of [start, end), which nothing occupies. */
  map(start: number, end: number): void {
    const next = this.after(start);
    const previous = next - 1;
    assert(previous < 0 || this.end[previous] <= start, 'a mapping lies over nothing');
    assert(next === this.count || this.start[next] >= end, 'a mapping lies over nothing');
    const left = previous >= 0 && this.end[previous] === start && this.flag[previous] === area_flag.plain;
    const right =
      next < this.count &&
      this.start[next] === end &&
      this.flag[next] === area_flag.plain &&
      (!left || compatible(this.anon[previous], this.anon[next]));
    if (left && right) {
      this.end[previous] = this.end[next];
      this.anon[previous] = this.anon[previous] || this.anon[next];
      this.remove(next);
    } else if (left) {
      this.end[previous] = end;
    } else if (right) {
      this.start[next] = start;
    } else {
      this.insert(next, start, end, area_flag.plain, 0);
    }
  }

  /** munmap of [start, end): areas are trimmed, split or gone. */
  unmap(start: number, end: number): void {
    let at = this.after(start) - 1;
    if (at < 0 || this.end[at] <= start) at += 1;
    while (at < this.count && this.start[at] < end) {
      if (this.start[at] < start && this.end[at] > end) {
        this.insert(at + 1, end, this.end[at], this.flag[at], this.anon[at]);
        this.end[at] = start;
        return;
      }
      if (this.start[at] < start) {
        this.end[at] = start;
        at += 1;
      } else if (this.end[at] > end) {
        this.start[at] = end;
        return;
      } else {
        this.remove(at);
      }
    }
  }

  /** madvise that changes flags, on [start, end) inside one area. */
  advise(start: number, end: number, flag: number): void {
    const at = this.find(start);
    assert(at >= 0 && this.end[at] >= end, 'advice stays inside one area');
    if (this.flag[at] === flag) return;
    const anon = this.anon[at];
    const previous = at - 1;
    const next = at + 1;
    const left =
      this.start[at] === start &&
      previous >= 0 &&
      this.end[previous] === start &&
      this.flag[previous] === flag &&
      compatible(this.anon[previous], anon);
    const right =
      this.end[at] === end &&
      next < this.count &&
      this.start[next] === end &&
      this.flag[next] === flag &&
      compatible(this.anon[next], anon) &&
      (!left || compatible(this.anon[previous], this.anon[next]));
    if (left && right) {
      this.end[previous] = this.end[next];
      this.anon[previous] = this.anon[previous] || anon || this.anon[next];
      this.remove(next);
      this.remove(at);
    } else if (left) {
      this.end[previous] = end;
      this.anon[previous] = this.anon[previous] || anon;
      if (this.end[at] === end) this.remove(at);
      else this.start[at] = end;
    } else if (right) {
      this.start[next] = start;
      this.anon[next] = this.anon[next] || anon;
      if (this.start[at] === start) this.remove(at);
      else this.end[at] = start;
    } else {
      if (this.end[at] > end) {
        this.insert(next, end, this.end[at], this.flag[at], anon);
        this.end[at] = end;
      }
      if (this.start[at] < start) {
        this.end[at] = start;
        this.insert(next, start, end, flag, anon);
      } else {
        this.flag[at] = flag;
      }
    }
  }

  /** The first write fault of an area. */
  prepareAnon(at: number): void {
    if (this.anon[at] !== 0) return;
    this.anon[at] = this.next_anon;
    this.next_anon += 1;
  }

  /** True where any area reaches into [start, end). */
  overlaps(start: number, end: number): boolean {
    const at = this.after(start) - 1;
    if (at >= 0 && this.end[at] > start) return true;
    return at + 1 < this.count && this.start[at + 1] < end;
  }

  private insert(at: number, start: number, end: number, flag: number, anon: number): void {
    this.start.splice(at, 0, start);
    this.end.splice(at, 0, end);
    this.flag.splice(at, 0, flag);
    this.anon.splice(at, 0, anon);
    this.count += 1;
  }

  private remove(at: number): void {
    this.start.splice(at, 1);
    this.end.splice(at, 1);
    this.flag.splice(at, 1);
    this.anon.splice(at, 1);
    this.count -= 1;
  }
}

function compatible(a: number, b: number): boolean {
  return a === 0 || b === 0 || a === b;
}
