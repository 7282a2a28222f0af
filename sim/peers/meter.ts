/**
 * What one event made an allocator and the kernel do: filled by the allocator's model while it serves the event, read by
 * whoever prices it.
 */

/** System calls of an allocator; what `pages` of a noted call means stands beside each. */
export const call = {
  /** Pages mapped. */
  mmap: 0,
  /** Resident pages that went with the mapping. */
  munmap: 1,
  /** Resident pages that moved. */
  mremap: 2,
  /** Pages gained. */
  brk_grow: 3,
  /** Resident pages lost. */
  brk_shrink: 4,
  /** Pages made accessible. */
  mprotect: 5,
  /** Resident pages given back. */
  dontneed: 6,
  /** Resident pages made lazily free. */
  free: 7,
  /** Pages that may become huge from now on, or may not. */
  advise_huge: 8,
  advise_small: 9,
  /** Resident pages given back, of several ranges. */
  dontneed_vector: 10,
  /** mremap into free room above: resident pages of the block. And of what was its end: resident pages that went. */
  mremap_grow: 11,
  mremap_shrink: 12,
} as const;
export const call_names = Object.keys(call) as (keyof typeof call)[];

/** The way through the library: how much of its own work an event was. */
export const path = {
  /** A cache of the thread's own. */
  cached: 0,
  /** The first block of a list of equals. */
  listed: 1,
  /** A search, a split, a merge. */
  searched: 2,
  /** Straight to the kernel. */
  mapped: 3,
} as const;

/** Most events make none, a realloc that moves between heaps six; a purge makes one for every stretch that it gives back. */
const calls_at_first = 64;

export class Meter {
  path: number = path.cached;
  /** Blocks looked at in a search. */
  steps = 0;
  /** First touches, and reads of pages that nobody had written. */
  faults = 0;
  zero_faults = 0;
  /** First touches that gave a huge page each; not among `faults`. */
  huge_faults = 0;
  copied_bytes = 0;
  cleared_bytes = 0;
  /** Lazily free pages that the kernel took for want of memory. */
  reclaimed_pages = 0;
  /** The arena whose lock the library held; -1 where it needed none. */
  arena = -1;
  calls = 0;
  call = new Uint8Array(calls_at_first);
  pages = new Float64Array(calls_at_first);
  /** Huge pages that went whole, not among `pages`; and ranges that the call is about. */
  huge_pages = new Float64Array(calls_at_first);
  ranges = new Float64Array(calls_at_first);

  begin(): void {
    this.path = path.cached;
    this.steps = 0;
    this.faults = 0;
    this.zero_faults = 0;
    this.huge_faults = 0;
    this.copied_bytes = 0;
    this.cleared_bytes = 0;
    this.reclaimed_pages = 0;
    this.arena = -1;
    this.calls = 0;
  }

  /** Nothing but the library's own way: its price is that of the path alone. */
  get quiet(): boolean {
    return (
      (this.calls | this.faults | this.zero_faults | this.huge_faults | this.reclaimed_pages) === 0 &&
      this.copied_bytes === 0 &&
      this.cleared_bytes === 0
    );
  }

  note(kind: number, pages: number, huge_pages = 0, ranges = 1): void {
    if (this.calls === this.call.length) this.widen();
    this.call[this.calls] = kind;
    this.pages[this.calls] = pages;
    this.huge_pages[this.calls] = huge_pages;
    this.ranges[this.calls] = ranges;
    this.calls += 1;
  }

  private widen(): void {
    this.call = widened(this.call, new Uint8Array(2 * this.calls));
    this.pages = widened(this.pages, new Float64Array(2 * this.calls));
    this.huge_pages = widened(this.huge_pages, new Float64Array(2 * this.calls));
    this.ranges = widened(this.ranges, new Float64Array(2 * this.calls));
  }
}

function widened<T extends Uint8Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
