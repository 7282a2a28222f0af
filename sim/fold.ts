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
import { selectArm, thresholdOf } from './decide/strategy.ts';
import { Baseline } from './score.ts';
import { type Config, shape } from './spec.ts';

/**
 * The events that are left, and the stretch of folded events before each; row `rows` is what comes after the last.
 * Columns may be longer than that.
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
  /** Allocations and reallocs, and frees, folded from the start of the trace up to the row. */
  readonly allocations: Float64Array;
  readonly frees: Float64Array;
  /** Sums of their hashes, for the two lanes of the digest. */
  readonly digest_low: Int32Array;
  readonly digest_high: Int32Array;
}

export interface Folded {
  /** A configuration may run over it if it maps nothing below this. */
  readonly floor_bytes: number;
  readonly events: number;
  readonly rows: number;
  readonly columns: FoldedColumns;
  /** Of the whole trace. */
  readonly baseline: Baseline;
}

/** The lowest size that a configuration maps. */
export function floorOf(config: Config): number {
  return thresholdOf(config, selectArm(config));
}

/**
 * Folds a trace. Memory is that of the events left and of one entry an object slot. `progress` is called after each chunk.
 */
export function foldTrace(chunks: Iterable<Chunk>, floor_bytes: number, progress?: (events: number) => void): Folded {
  // The baseline of the score is of blocks of 512 KiB and more: they have to be seen once.
  const lower_bytes = Math.min(floor_bytes, shape.strategy_geometric_bytes[0]);
  const folder = new Folder(lower_bytes, 4096);
  let events = 0;
  for (const chunk of chunks) {
    folder.add(chunk);
    events += chunk.length;
    progress?.(events);
  }
  const baseline = new Baseline();
  const columns = folder.finish();
  baseline.add({ ...columns, length: folder.rows });
  const folded = { floor_bytes: lower_bytes, events, rows: folder.rows, columns, baseline };
  return floor_bytes > lower_bytes ? refold(folded, floor_bytes) : folded;
}

/** The same trace folded further: `floor_bytes` must not be below that of `folded`. */
export function refold(folded: Folded, floor_bytes: number): Folded {
  if (floor_bytes === folded.floor_bytes) return folded;
  const folder = new Folder(floor_bytes, folded.rows + 1);
  folder.addFolded(folded);
  const columns = folder.finish();
  return { floor_bytes, events: folded.events, rows: folder.rows, columns, baseline: folded.baseline };
}

class Folder {
  rows = 0;
  private readonly floor_bytes: number;
  private columns: FoldedColumns;
  /** By object slot: its size, and whether it is left. */
  private size_of = new Float64Array(1024);
  private left = new Uint8Array(1024);
  /** Of the stretch since the last row. */
  private live_bytes = 0;
  private most_bytes = 0;
  /** From the start. */
  private allocations = 0;
  private frees = 0;
  private digest_low = 0;
  private digest_high = 0;
  /** What was folded before, and how far into it this is. */
  private base: FoldedColumns | null = null;
  private base_row = 0;

  constructor(floor_bytes: number, room: number) {
    this.floor_bytes = floor_bytes;
    this.columns = newColumns(room);
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
    const { columns, rows } = folded;
    const { op: kinds, object, size_bytes, event, before_bytes } = columns;
    this.base = columns;
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
    this.addStretch(columns, rows);
  }

  finish(): FoldedColumns {
    this.closeStretch();
    return this.columns;
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
    this.frees += 1;
    const low = heapLow(event, heap_words.free, 0);
    this.digest_low = (this.digest_low + low) | 0;
    this.digest_high = (this.digest_high + heapHigh(event, low)) | 0;
  }

  private addStretch(from: FoldedColumns, row: number): void {
    const most = this.live_bytes + from.most_bytes[row];
    if (most > this.most_bytes) this.most_bytes = most;
    this.live_bytes += from.net_bytes[row];
    this.base_row = row;
  }

  private keep(
    from: Pick<FoldedColumns, 'op' | 'object' | 'size_bytes' | 'align' | 'site' | 'touched_pages'>,
    row: number,
    event: number,
    before_bytes: number,
  ): void {
    this.closeStretch();
    const { columns, rows } = this;
    columns.event[rows] = event;
    columns.op[rows] = from.op[row];
    columns.object[rows] = from.object[row];
    columns.size_bytes[rows] = from.size_bytes[row];
    columns.align[rows] = from.align[row];
    columns.site[rows] = from.site[row];
    columns.touched_pages[rows] = from.touched_pages[row];
    columns.before_bytes[rows] = before_bytes;
    this.rows += 1;
  }

  private closeStretch(): void {
    if (this.rows === this.columns.event.length) this.widen();
    const { columns, rows } = this;
    columns.net_bytes[rows] = this.live_bytes;
    columns.most_bytes[rows] = this.most_bytes;
    const { base, base_row } = this;
    columns.allocations[rows] = this.allocations + (base?.allocations[base_row] ?? 0);
    columns.frees[rows] = this.frees + (base?.frees[base_row] ?? 0);
    columns.digest_low[rows] = this.digest_low + (base?.digest_low[base_row] ?? 0);
    columns.digest_high[rows] = this.digest_high + (base?.digest_high[base_row] ?? 0);
    this.live_bytes = 0;
    this.most_bytes = 0;
  }

  private widen(): void {
    const wider = newColumns(this.columns.event.length * 2);
    for (const name of Object.keys(wider) as (keyof FoldedColumns)[]) wider[name].set(this.columns[name]);
    this.columns = wider;
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
    frees: new Float64Array(rows),
    digest_low: new Int32Array(rows),
    digest_high: new Int32Array(rows),
  };
}
