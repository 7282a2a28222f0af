/**
 * Where the kernel lays mapped chunks: as high as one fits below those that came before it, in the highest hole that is large
 * enough (`vm_unmapped_area` from the top, Linux mm/mmap.c). What decides whether a block can grow where it is: only into a
 * hole right above it. Other mappings of the process, heaps among them, are taken to lie elsewhere.
 */

/** Places are in pages below the first mapping's upper end: what is higher has a lower number. */
export class Mappings {
  /** Upper ends of the holes between mappings, ascending, and their lower ends. */
  private readonly hole_from: number[] = [];
  private readonly hole_to: number[] = [];
  /** Below it nothing is mapped. */
  private lowest = 0;
  /** Of a chunk: its upper end. */
  private end = new Float64Array(64);

  add(chunk: number, pages: number): void {
    if (chunk >= this.end.length) this.widen(chunk + 1);
    this.end[chunk] = this.take(pages);
  }

  remove(chunk: number, pages: number): void {
    this.giveBack(this.end[chunk], this.end[chunk] + pages);
  }

  /** False where the room above does not do: then it moves to where all of it fits. */
  grow(chunk: number, pages: number, to_pages: number): boolean {
    const end = this.end[chunk];
    const above = this.firstFrom(end) - 1;
    const top = end + pages - to_pages;
    if (above >= 0 && this.hole_to[above] === end && this.hole_from[above] <= top) {
      if (this.hole_from[above] === top) this.close(above);
      else this.hole_to[above] = top;
      this.end[chunk] = top;
      return true;
    }
    // The old place is free only when all of it has moved.
    this.end[chunk] = this.take(to_pages);
    this.giveBack(end, end + pages);
    return false;
  }

  /** What lies above goes. */
  shrink(chunk: number, pages: number, to_pages: number): void {
    const end = this.end[chunk];
    this.end[chunk] = end + pages - to_pages;
    this.giveBack(end, this.end[chunk]);
  }

  private take(pages: number): number {
    const { hole_from, hole_to } = this;
    for (let at = 0; at < hole_from.length; at += 1) {
      if (hole_to[at] - hole_from[at] < pages) continue;
      const from = hole_from[at];
      if (hole_to[at] - from === pages) this.close(at);
      else hole_from[at] = from + pages;
      return from;
    }
    const from = this.lowest;
    this.lowest += pages;
    return from;
  }

  private giveBack(from: number, to: number): void {
    const { hole_from, hole_to } = this;
    const at = this.firstFrom(from);
    const joins_above = at > 0 && hole_to[at - 1] === from;
    if (to === this.lowest) {
      this.lowest = joins_above ? hole_from[at - 1] : from;
      if (joins_above) this.close(at - 1);
      return;
    }
    const joins_below = at < hole_from.length && hole_from[at] === to;
    if (joins_above && joins_below) {
      hole_to[at - 1] = hole_to[at];
      this.close(at);
    } else if (joins_above) hole_to[at - 1] = to;
    else if (joins_below) hole_from[at] = from;
    else {
      hole_from.splice(at, 0, from);
      hole_to.splice(at, 0, to);
    }
  }

  private close(hole: number): void {
    this.hole_from.splice(hole, 1);
    this.hole_to.splice(hole, 1);
  }

  /** The first hole whose upper end lies at `place` or below. */
  private firstFrom(place: number): number {
    let [low, high] = [0, this.hole_from.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.hole_from[middle] < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private widen(chunks: number): void {
    const wider = new Float64Array(Math.max(chunks, 2 * this.end.length));
    wider.set(this.end);
    this.end = wider;
  }
}
