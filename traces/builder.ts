/**
 * Turns calls on named blocks into rows, by the rules of counting: a realloc of nothing or of an unknown block is an
 * allocation, a realloc to zero bytes is a free, a free of an unknown block is dropped and counted.
 *
 * Importers and generators write into it. Full chunks wait in `ready`; `drain()` takes them, so a generator function
 * around it streams a trace of any length.
 */
import { type BlockName, Names } from './names.ts';
import { Slots } from './slots.ts';
import { type Chunk, copyWithRoom, limits, newChunk, op } from './trace.ts';

export type { BlockName } from './names.ts';

export interface Details {
  readonly thread?: number;
  readonly align?: number;
  readonly site?: number;
  /** Recorded time; without it one event is one microsecond. Clamped so that it never decreases. */
  readonly time_ns?: number | undefined;
  readonly touched_pages?: number;
}

const none: Details = {};

/** Room for the first events; most traces of tests and scenarios need no more, and a whole chunk is 37 MiB. */
const first_rows = 4096;

export class TraceBuilder {
  /** Frees of unknown blocks, which are no events. */
  dropped = 0;
  /** Blocks handed out again while their free was missing: the free is inserted before. */
  repaired = 0;
  events = 0;
  private readonly slots = new Slots();
  private readonly live = new Names();
  private readonly chunk_events: number;
  private chunk: Chunk;
  private ready: Chunk[] = [];
  private spare: Chunk | undefined;
  private last_time_ns = 0;

  constructor(chunk_events: number = limits.chunk_events) {
    this.chunk_events = chunk_events;
    this.chunk = newChunk(Math.min(first_rows, chunk_events));
  }

  allocate(kind: number, name: BlockName, size_bytes: number, details: Details = none): void {
    if (this.live.get(name) >= 0) {
      this.repaired += 1;
      this.free(name, details);
    }
    const slot = this.slots.take();
    this.live.add(name, slot);
    this.push(kind, slot, size_bytes, details);
  }

  /** Moves block `name` to `new_name` (the same name where it stayed in place). */
  reallocate(name: BlockName | null, new_name: BlockName, size_bytes: number, details: Details = none): void {
    const slot = name === null ? -1 : this.live.get(name);
    if (slot < 0 || name === null) {
      this.allocate(op.malloc, new_name, size_bytes, details);
      return;
    }
    if (size_bytes === 0) {
      this.free(name, details);
      return;
    }
    if (new_name !== name) {
      this.live.remove(name);
      if (this.live.get(new_name) >= 0) {
        this.repaired += 1;
        this.free(new_name, details);
      }
      this.live.add(new_name, slot);
    }
    this.push(op.realloc, slot, size_bytes, details);
  }

  /** The block is on its way to another address, in a realloc that other threads may overtake: no event. */
  rename(name: BlockName, new_name: BlockName): void {
    const slot = this.live.remove(name);
    if (slot >= 0) this.live.add(new_name, slot);
  }

  free(name: BlockName, details: Details = none): void {
    const slot = this.live.remove(name);
    if (slot < 0) {
      this.dropped += 1;
      return;
    }
    this.slots.give(slot);
    this.push(op.free, slot, 0, details);
  }

  isLive(name: BlockName): boolean {
    return this.live.get(name) >= 0;
  }

  /** Best yielded at once: another chunk need not be begun, whose memory costs page faults. */
  get has_full(): boolean {
    return this.ready.length > 0;
  }

  /** The chunks that are full. */
  drain(): Chunk[] {
    const full = this.ready;
    this.ready = [];
    return full;
  }

  /** Yields the full chunks, each valid until the next: their buffers are filled again, for fresh ones cost page faults. */
  *full(): Generator<Chunk> {
    for (const chunk of this.drain()) {
      yield chunk;
      this.spare = chunk;
    }
  }

  /** The chunks that are left, the last one as full as it is. */
  finish(): Chunk[] {
    if (this.chunk.length > 0 && this.chunk.length < this.chunk_events) this.ready.push(this.chunk);
    this.chunk = newChunk(1);
    return this.drain();
  }

  private push(kind: number, slot: number, size_bytes: number, details: Details): void {
    if (this.chunk.length === this.chunk.op.length) this.makeRoom();
    const { chunk } = this;
    const row = chunk.length;
    const time_ns = Math.max(this.last_time_ns, details.time_ns ?? this.events * 1000);
    this.last_time_ns = time_ns;
    chunk.op[row] = kind;
    chunk.thread[row] = details.thread ?? 0;
    chunk.object[row] = slot;
    chunk.size_bytes[row] = size_bytes;
    chunk.align[row] = kind === op.aligned ? (details.align ?? 16) : 0;
    chunk.site[row] = kind === op.free ? 0 : (details.site ?? 0);
    chunk.time_ns[row] = time_ns;
    chunk.touched_pages[row] = details.touched_pages ?? limits.unknown;
    chunk.length = row + 1;
    this.events += 1;
    if (row + 1 === this.chunk_events) this.ready.push(chunk);
  }

  private makeRoom(): void {
    const { length } = this.chunk;
    if (length < this.chunk_events) {
      this.chunk = copyWithRoom(this.chunk, Math.min(length * 4, this.chunk_events));
      return;
    }
    this.chunk = this.spare ?? newChunk(this.chunk_events);
    this.spare = undefined;
    this.chunk.length = 0;
    this.chunk.first_event = this.events;
  }
}
