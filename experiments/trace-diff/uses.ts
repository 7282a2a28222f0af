/** What each group of a trace did: calls, bytes, what it left, what it held at the peak, how long its blocks lived. */
import { type Chunk, interruptible, op, type Trace } from '../../traces/index.ts';
import type { Groups } from './groups.ts';

export interface Use {
  readonly name: string;
  readonly allocations: number;
  readonly reallocs: number;
  readonly frees: number;
  readonly bytes: number;
  readonly unfreed: number;
  readonly unfreed_bytes: number;
  /** Live when the bytes live of all groups together were most. */
  readonly live: number;
  /** Half of the freed blocks lived for fewer events than this power of two; null where none was freed. */
  readonly lifetime_events: number | null;
  /** What a replay charged its events with, frees by the group that allocated. */
  readonly faults: number;
  readonly syscalls: number;
}

const powers = 54;

export class Uses {
  /** The group that each row of the last chunk belongs to; of a free that of its block. */
  row_groups = new Uint32Array(0);
  /** Of all groups: the most bytes live, after which event, and what was live at the end. */
  peak_live_bytes = 0;
  peak_event = 0;
  readonly faults: Float64Array;
  readonly syscalls: Float64Array;
  private readonly groups: Groups;
  private readonly counts: Float64Array;
  private readonly reallocs: Float64Array;
  private readonly frees: Float64Array;
  private readonly bytes: Float64Array;
  private readonly blocks: Float64Array;
  private readonly held: Float64Array;
  private readonly lifetimes: Float64Array;
  private readonly blocks_of = new Blocks();
  private live_bytes = 0;

  constructor(groups: Groups) {
    const columns = (): Float64Array => new Float64Array(Math.max(1, groups.names.length));
    this.groups = groups;
    this.counts = columns();
    this.reallocs = columns();
    this.frees = columns();
    this.bytes = columns();
    this.blocks = columns();
    this.held = columns();
    this.faults = columns();
    this.syscalls = columns();
    this.lifetimes = new Float64Array(columns().length * powers);
  }

  add(chunk: Chunk): void {
    const { groups, blocks_of, counts, reallocs, frees, bytes, blocks, held } = this;
    const { op: kinds, object, size_bytes, first_event, length } = chunk;
    if (this.row_groups.length < length) this.row_groups = new Uint32Array(length);
    for (let row = 0; row < length; row += 1) {
      const slot = object[row];
      const kind = kinds[row];
      const event = first_event + row;
      blocks_of.fit(slot);
      if (kind === op.free || kind === op.realloc) {
        const before = blocks_of.group[slot];
        blocks[before] -= 1;
        held[before] -= blocks_of.bytes[slot];
        this.live_bytes -= blocks_of.bytes[slot];
        if (kind === op.free) {
          frees[before] += 1;
          this.lifetimes[before * powers + powerOf(event - blocks_of.born[slot])] += 1;
          this.row_groups[row] = before;
          continue;
        }
      }
      const group = groups.of(chunk, row);
      const size = size_bytes[row];
      this.row_groups[row] = group;
      if (kind === op.realloc) reallocs[group] += 1;
      else {
        counts[group] += 1;
        blocks_of.born[slot] = event;
      }
      bytes[group] += size;
      blocks[group] += 1;
      held[group] += size;
      blocks_of.group[slot] = group;
      blocks_of.bytes[slot] = size;
      this.live_bytes += size;
      if (this.live_bytes > this.peak_live_bytes) {
        this.peak_live_bytes = this.live_bytes;
        this.peak_event = event;
      }
    }
  }

  /** Of all groups together. */
  get unfreed_bytes(): number {
    return this.live_bytes;
  }

  /** Groups that did anything. Reads `trace` once more, up to its peak. */
  async uses(trace: Trace): Promise<Use[]> {
    const live = await liveAt(trace, this.groups, this.peak_event);
    return this.groups.names.flatMap((name, group) =>
      this.counts[group] + this.reallocs[group] === 0
        ? []
        : [
            {
              name,
              allocations: this.counts[group],
              reallocs: this.reallocs[group],
              frees: this.frees[group],
              bytes: this.bytes[group],
              unfreed: this.blocks[group],
              unfreed_bytes: this.held[group],
              live: live[group],
              lifetime_events: this.medianLifetime(group),
              faults: this.faults[group],
              syscalls: this.syscalls[group],
            },
          ],
    );
  }

  /** Of all groups: [upper bound in events (exclusive), freed blocks]. */
  lifetimeHistogram(): [number, number][] {
    const counts = new Float64Array(powers);
    for (const [at, count] of this.lifetimes.entries()) counts[at % powers] += count;
    return [...counts].flatMap((count, power) => (count > 0 ? [[2 ** power, count] as [number, number]] : []));
  }

  private medianLifetime(group: number): number | null {
    const histogram = this.lifetimes.subarray(group * powers, (group + 1) * powers);
    const half = histogram.reduce((sum, count) => sum + count, 0) / 2;
    if (half === 0) return null;
    let power = 0;
    for (let passed = histogram[0]; passed < half; passed += histogram[power]) power += 1;
    return 2 ** power;
  }
}

/** Bytes live by group after event `last`. */
async function liveAt(trace: Trace, groups: Groups, last: number): Promise<Float64Array> {
  const live = new Float64Array(Math.max(1, groups.names.length));
  const blocks = new Blocks();
  for await (const chunk of interruptible(trace.chunks())) {
    const end = Math.min(chunk.length, last + 1 - chunk.first_event);
    for (let row = 0; row < end; row += 1) {
      const slot = chunk.object[row];
      blocks.fit(slot);
      live[blocks.group[slot]] -= blocks.bytes[slot];
      blocks.bytes[slot] = 0;
      if (chunk.op[row] === op.free) continue;
      blocks.group[slot] = groups.of(chunk, row);
      blocks.bytes[slot] = chunk.size_bytes[row];
      live[blocks.group[slot]] += blocks.bytes[slot];
    }
    if (end < chunk.length) break;
  }
  return live;
}

/** Blocks by slot. */
class Blocks {
  group = new Uint32Array(1024);
  bytes = new Float64Array(1024);
  born = new Float64Array(1024);

  fit(slot: number): void {
    if (slot < this.bytes.length) return;
    const length = Math.max(slot + 1, 2 * this.bytes.length);
    const widened = (narrow: Float64Array): Float64Array<ArrayBuffer> => {
      const wide = new Float64Array(length);
      wide.set(narrow);
      return wide;
    };
    const group = new Uint32Array(length);
    group.set(this.group);
    this.group = group;
    this.bytes = widened(this.bytes);
    this.born = widened(this.born);
  }
}

/** The least power of two above. */
function powerOf(events: number): number {
  return Math.min(powers - 1, Math.floor(Math.log2(events)) + 1);
}
