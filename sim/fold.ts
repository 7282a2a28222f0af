/**
 * A trace with what no configuration can treat differently added up. Mirrors native/core/fold.c.
 *
 * Blocks that stay below every threshold of a sweep go the heap path under every configuration of it: each costs one heap
 * call, moves the heap's ledger by its size, and is added to the digest's sums. A stretch of such events is kept as four
 * sums and the most that was live in it. The events that are left are rows: an object is left from the moment when it is
 * `floor_bytes` or larger until it is freed, for a mapped block that shrinks may stay where it is.
 */
import { type Chunk, op } from '../traces/trace.ts';
import { heap_words } from './decide/allocator.ts';
import { heapHigh, heapLow } from './decide/digest.ts';
import { chunkBytes } from './decide/heap.ts';
import { Baseline } from './score.ts';
import { shape } from './spec.ts';

/**
 * A segment of the events that are left, and the stretch of folded events before each: `segment_rows` of them, in the last
 * one as many as there are and one row more, which is what comes after the last event. Growing by segments copies nothing, and
 * memory that one fold gave back serves the next without new page faults.
 */
export interface FoldedColumns {
  readonly event: Float64Array;
  readonly op: Uint8Array;
  readonly object: Uint32Array;
  readonly size_bytes: Float64Array;
  readonly align: Uint32Array;
  readonly site: Uint32Array;
  readonly touched_pages: Uint32Array;
  /** Size of the object before this realloc, where it was folded until now; -1 elsewhere. */
  readonly before_bytes: Float64Array;
  /** Heap bytes, chunk by chunk, that the stretch leaves live, and the most that were live in it; both relative. */
  readonly net_bytes: Float64Array;
  readonly most_bytes: Float64Array;
  /** Allocations and reallocs folded from the start of the trace up to the row; frees are what is left of `event`. */
  readonly allocations: Float64Array;
  /** Sums of their hashes, for the two lanes of the digest. */
  readonly digest_low: Int32Array;
  readonly digest_high: Int32Array;
}

export interface Folded {
  /** A configuration may run over it if it maps nothing below this. */
  readonly floor_bytes: number;
  readonly events: number;
  readonly rows: number;
  readonly segments: readonly FoldedColumns[];
  readonly segment_rows: number;
  /** Of the whole trace. */
  readonly baseline: Baseline;
}

const usual_segment_rows = 2 ** 14;

/**
 * Folds a trace. Memory is that of the events left and of one entry an object slot. `progress` is called after each chunk.
 */
export function foldTrace(
  chunks: Iterable<Chunk>,
  floor_bytes: number,
  progress?: (events: number) => void,
  segment_rows: number = usual_segment_rows,
): Folded {
  // The baseline of the score is of blocks of 512 KiB and more: they have to be seen once.
  const lower_bytes = Math.min(floor_bytes, shape.strategy_geometric_bytes[0]);
  const folder = new Folder(lower_bytes, segment_rows);
  let events = 0;
  for (const chunk of chunks) {
    folder.add(chunk);
    events += chunk.length;
    progress?.(events);
  }
  const baseline = new Baseline();
  const segments = folder.finish();
  const folded = { floor_bytes: lower_bytes, events, rows: folder.rows, segments, segment_rows, baseline };
  for (const [at, columns] of segments.entries()) baseline.add({ ...columns, length: rowsIn(folded, at) });
  return floor_bytes > lower_bytes ? refold(folded, floor_bytes) : folded;
}

/** The same trace folded further: `floor_bytes` must not be below that of `folded`. */
export function refold(folded: Folded, floor_bytes: number): Folded {
  if (floor_bytes === folded.floor_bytes) return folded;
  const folder = new Folder(floor_bytes, folded.segment_rows);
  folder.addFolded(folded);
  const segments = folder.finish();
  return { ...folded, floor_bytes, rows: folder.rows, segments };
}

/** Rows of segment `at`; the one that follows the last event is none of them. */
export function rowsIn({ rows, segment_rows }: Pick<Folded, 'rows' | 'segment_rows'>, at: number): number {
  return Math.min(segment_rows, rows - at * segment_rows);
}

class Folder {
  rows = 0;
  private readonly floor_bytes: number;
  private readonly segments: FoldedColumns[] = [];
  /** The last segment, and the next row in it. */
  private columns: FoldedColumns;
  private at = 0;
  private readonly segment_rows: number;
  /** By object slot: its size, and whether it is left. */
  private size_of = new Float64Array(1024);
  private left = new Uint8Array(1024);
  /** Of the stretch since the last row. */
  private live_bytes = 0;
  private most_bytes = 0;
  /** From the start, and what of it was folded before this. */
  private allocations = 0;
  private digest_low = 0;
  private digest_high = 0;
  private base_allocations = 0;
  private base_low = 0;
  private base_high = 0;

  constructor(floor_bytes: number, segment_rows: number) {
    this.floor_bytes = floor_bytes;
    this.segment_rows = segment_rows;
    this.columns = this.nextSegment();
  }

  /** Each branch is spelled out: this loop runs once an event of the whole trace. */
  add(chunk: Chunk): void {
    const { floor_bytes } = this;
    const { op: kinds, object, size_bytes, first_event, length } = chunk;
    let { size_of, left } = this;
    for (let row = 0; row < length; row += 1) {
      const slot = object[row];
      if (slot >= size_of.length) {
        this.grow(slot + 1);
        ({ size_of, left } = this);
      }
      const kind = kinds[row];
      const event = first_event + row;
      if (left[slot] === 1) {
        if (kind === op.free) left[slot] = 0;
        this.keep(chunk, row, event, -1);
      } else if (kind === op.free) {
        this.free(event, size_of[slot]);
      } else {
        const bytes = size_bytes[row];
        if (bytes >= floor_bytes) {
          left[slot] = 1;
          this.keep(chunk, row, event, kind === op.realloc ? size_of[slot] : -1);
        } else {
          this.allocate(event, bytes, kind === op.realloc ? chunkBytes(size_of[slot]) : 0);
        }
        size_of[slot] = bytes;
      }
    }
  }

  addFolded(folded: Folded): void {
    const { segments, rows, segment_rows } = folded;
    for (const [at, columns] of segments.entries()) this.addSegment(columns, rowsIn(folded, at));
    this.addStretch(segments[segments.length - 1], rows % segment_rows);
  }

  private addSegment(columns: FoldedColumns, rows: number): void {
    const { op: kinds, object, size_bytes, event, before_bytes } = columns;
    for (let row = 0; row < rows; row += 1) {
      this.addStretch(columns, row);
      const slot = object[row];
      if (slot >= this.size_of.length) this.grow(slot + 1);
      const kind = kinds[row];
      if (before_bytes[row] >= 0) this.size_of[slot] = before_bytes[row];
      if (this.left[slot] === 1) {
        if (kind === op.free) this.left[slot] = 0;
        this.keep(columns, row, event[row], -1);
      } else if (kind === op.free) {
        this.free(event[row], this.size_of[slot]);
      } else {
        const bytes = size_bytes[row];
        const before = kind === op.realloc ? this.size_of[slot] : -1;
        if (bytes >= this.floor_bytes) {
          this.left[slot] = 1;
          this.keep(columns, row, event[row], before);
        } else {
          this.allocate(event[row], bytes, before >= 0 ? chunkBytes(before) : 0);
        }
        this.size_of[slot] = bytes;
      }
    }
  }

  finish(): FoldedColumns[] {
    this.closeStretch();
    return this.segments;
  }

  private allocate(event: number, bytes: number, freed_bytes: number): void {
    this.live_bytes += chunkBytes(bytes) - freed_bytes;
    if (this.live_bytes > this.most_bytes) this.most_bytes = this.live_bytes;
    this.allocations += 1;
    const low = heapLow(event, heap_words.allocate, bytes);
    this.digest_low = (this.digest_low + low) | 0;
    this.digest_high = (this.digest_high + heapHigh(event, low)) | 0;
  }

  private free(event: number, bytes: number): void {
    this.live_bytes -= chunkBytes(bytes);
    const low = heapLow(event, heap_words.free, 0);
    this.digest_low = (this.digest_low + low) | 0;
    this.digest_high = (this.digest_high + heapHigh(event, low)) | 0;
  }

  private addStretch(from: FoldedColumns, row: number): void {
    const most = this.live_bytes + from.most_bytes[row];
    if (most > this.most_bytes) this.most_bytes = most;
    this.live_bytes += from.net_bytes[row];
    this.base_allocations = from.allocations[row];
    this.base_low = from.digest_low[row];
    this.base_high = from.digest_high[row];
  }

  private keep(
    from: Pick<FoldedColumns, 'op' | 'object' | 'size_bytes' | 'align' | 'site' | 'touched_pages'>,
    row: number,
    event: number,
    before_bytes: number,
  ): void {
    this.closeStretch();
    const { columns, at } = this;
    columns.event[at] = event;
    columns.op[at] = from.op[row];
    columns.object[at] = from.object[row];
    columns.size_bytes[at] = from.size_bytes[row];
    columns.align[at] = from.align[row];
    columns.site[at] = from.site[row];
    columns.touched_pages[at] = from.touched_pages[row];
    columns.before_bytes[at] = before_bytes;
    this.at = at + 1;
    this.rows += 1;
  }

  private closeStretch(): void {
    if (this.at === this.segment_rows) this.columns = this.nextSegment();
    const { columns, at } = this;
    columns.net_bytes[at] = this.live_bytes;
    columns.most_bytes[at] = this.most_bytes;
    columns.allocations[at] = this.allocations + this.base_allocations;
    columns.digest_low[at] = this.digest_low + this.base_low;
    columns.digest_high[at] = this.digest_high + this.base_high;
    this.live_bytes = 0;
    this.most_bytes = 0;
  }

  private nextSegment(): FoldedColumns {
    const columns = newColumns(this.segment_rows);
    this.segments.push(columns);
    this.at = 0;
    return columns;
  }

  private grow(objects: number): void {
    const length = Math.max(objects, this.size_of.length * 2);
    const sizes = new Float64Array(length);
    sizes.set(this.size_of);
    this.size_of = sizes;
    const left = new Uint8Array(length);
    left.set(this.left);
    this.left = left;
  }
}

function newColumns(rows: number): FoldedColumns {
  return {
    event: new Float64Array(rows),
    op: new Uint8Array(rows),
    object: new Uint32Array(rows),
    size_bytes: new Float64Array(rows),
    align: new Uint32Array(rows),
    site: new Uint32Array(rows),
    touched_pages: new Uint32Array(rows),
    before_bytes: new Float64Array(rows),
    net_bytes: new Float64Array(rows),
    most_bytes: new Float64Array(rows),
    allocations: new Float64Array(rows),
    digest_low: new Int32Array(rows),
    digest_high: new Int32Array(rows),
  };
}
