/**
 * Reads what native/record.c wrote: a folder for each process, a file for each stream of events, and all streams of a
 * process merged into one order. docs/RECORDING.md has the layout.
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { TraceError } from './trace.ts';

/** Kinds of records; mirror of `enum kind`. Of an allocation: its operation, plus one. */
export const record_kind = {
  malloc: 1,
  calloc: 2,
  aligned: 3,
  realloc: 4,
  free: 5,
  move: 6,
  time: 7,
  thread: 8,
  stack: 9,
  touched: 10,
  /** Added to an allocation's kind: site and size share a word. */
  small: 11,
} as const;

/** Mirror of `struct process_file`: what the process said of itself. */
export interface RecordedProcess {
  readonly folder: string;
  readonly pid: number;
  /** How many programs the process had been before, by exec. */
  readonly image: number;
  /** It became another program afterwards. */
  readonly became_another: boolean;
  readonly uses_tsc: boolean;
  readonly tick_shift: number;
  readonly page_bytes: number;
  readonly data_offset: number;
  readonly buffer_offset: number;
  readonly stacks: number;
  readonly touch: boolean;
  /** It came to its own end: what it spent is final, and `exit_status` is known. */
  readonly finished: boolean;
  readonly forked: boolean;
  readonly stop_errno: number;
  readonly exit_status: number;
  readonly min_size_bytes: number;
  readonly lost_events: number;
  readonly start_ticks: number;
  readonly elapsed_ticks: number;
  readonly elapsed_ns: number;
  readonly user_ns: number;
  readonly sys_ns: number;
  readonly faults: number;
  readonly resident_peak_bytes: number;
  readonly arguments: readonly string[];
}

const process_magic = 'HAKPROC1';
const stream_magic = 'HAKSTRM1';
const process_file_bytes = 144;
const version = 1;
const small_size_bits = 17;
const read_bytes = 256 * 1024;

/** The processes that wrote into `directory`, in the order in which they began. */
export function readProcesses(directory: string): RecordedProcess[] {
  const names = readdirSync(directory).filter((name) => /^\d+\.\d+$/.test(name));
  return names
    .flatMap((name) => {
      const [pid, image] = name.split('.').map(Number);
      return readProcess(join(directory, name), image, names.includes(`${pid}.${image + 1}`)) ?? [];
    })
    .sort((a, b) => a.start_ticks - b.start_ticks || a.pid - b.pid || a.image - b.image);
}

/** Undefined where the process was killed before it had written so much as its header. */
function readProcess(folder: string, image: number, became_another: boolean): RecordedProcess | undefined {
  const bytes = readOrNothing(join(folder, 'process'));
  if (bytes.length < process_file_bytes || bytes.toString('latin1', 0, 8) !== process_magic) return undefined;
  const word = (index: number) => bytes.readUInt32LE(8 + index * 4);
  const long = (index: number) => Number(bytes.readBigUInt64LE(64 + index * 8));
  if (word(0) !== version)
    throw new TraceError(folder, 'process', `layout ${word(0)}; this hakmem reads layout ${version}`);
  return {
    folder,
    pid: word(1),
    image,
    became_another,
    uses_tsc: word(3) === 1,
    tick_shift: word(4),
    page_bytes: word(5),
    buffer_offset: word(6),
    data_offset: word(6) + word(7),
    stacks: word(8),
    touch: word(9) !== 0,
    finished: word(10) !== 0,
    stop_errno: word(11),
    exit_status: word(12),
    forked: word(13) !== 0,
    min_size_bytes: long(0),
    lost_events: long(1),
    start_ticks: long(2),
    elapsed_ticks: long(4) - long(2),
    elapsed_ns: long(5) - long(3),
    user_ns: long(6),
    sys_ns: long(7),
    faults: long(8),
    resident_peak_bytes: long(9),
    arguments: readOrNothing(join(folder, 'cmdline')).toString().split('\0').slice(0, -1),
  };
}

/** The text of /proc/PID/maps, as often as the process noted it, one after another. */
export function readMaps(recorded: RecordedProcess): string {
  return readOrNothing(join(recorded.folder, 'maps')).toString();
}

/** One stream's records; after `advance` returned true the fields are those of the next event. */
export class Stream {
  readonly index: number;
  kind = 0;
  /** Since the process began. */
  ticks = 0;
  thread = 0;
  block = 0;
  size_bytes = 0;
  align = 0;
  /** A return address, or with more than one frame the key of a stack in `stacks`. */
  site = 0;
  pages = 0;
  /** The stream ends in the midst of a record, or in what is none. */
  is_broken = false;
  private readonly path: string;
  private readonly recorded: RecordedProcess;
  private readonly stacks: Map<number, readonly number[]>;
  /** Stretches of the file that hold records, in order: [offset, length]. */
  private readonly stretches: (readonly [number, number])[] = [];
  private bytes = Buffer.alloc(0);
  private words = new Uint32Array(0);
  private at = 0;
  private end = 0;

  constructor(path: string, index: number, recorded: RecordedProcess, stacks: Map<number, readonly number[]>) {
    this.path = path;
    this.index = index;
    this.recorded = recorded;
    this.stacks = stacks;
    const { buffer_offset, data_offset } = recorded;
    const header = Buffer.alloc(24);
    const file_bytes = this.readAt(header, 0, 0, header.length) < header.length ? 0 : fileBytes(path);
    if (file_bytes < data_offset || header.toString('latin1', 0, 8) !== stream_magic) return;
    const flushed = Number(header.readBigUInt64LE(8));
    const pending = Number(header.readBigUInt64LE(16));
    // A flush that was cut off left the buffer whole; one that was not may have begun to clear it.
    const flush_is_whole = pending > 0 && file_bytes - data_offset >= flushed + pending;
    this.stretches.push([data_offset, flushed + (flush_is_whole ? pending : 0)]);
    if (!flush_is_whole) this.stretches.push([buffer_offset, pending > 0 ? pending : data_offset - buffer_offset]);
  }

  advance(): boolean {
    for (;;) {
      if (!this.has(2)) return this.stop(this.end > this.at);
      const { words, at } = this;
      const low = words[at];
      const high = words[at + 1];
      const kind = low & 15;
      if (kind === 0) {
        // The rest of the buffer is unused; what was flushed has no gaps.
        if (this.stretches.length > 0) return this.stop(true);
        return this.stop(false);
      }
      if (kind === record_kind.time) {
        this.ticks = Number((BigInt(high) << 28n) | BigInt(low >>> 4)) - this.recorded.start_ticks;
        this.at += 2;
      } else if (kind === record_kind.thread) {
        this.thread = high * 2 ** 28 + (low >>> 4);
        this.at += 2;
      } else if (kind === record_kind.stack) {
        const count = low >>> 4;
        if (!this.has(4 + count * 2)) return this.stop(true);
        this.stacks.set(
          this.long(2),
          Array.from({ length: count }, (_, frame) => this.long(4 + frame * 2)),
        );
        this.at += 4 + count * 2;
      } else {
        const words_wanted = recordWords(kind);
        if (!this.has(words_wanted)) return this.stop(true);
        this.kind = kind < record_kind.small ? kind : kind - record_kind.small;
        this.ticks += (low >>> 4) & 0xffff;
        this.block = high * 2 ** 16 + (low >>> 20) * 16;
        if (kind > record_kind.small) this.readSmall();
        else if (kind <= record_kind.realloc) this.readBlock(kind);
        else if (kind === record_kind.touched) this.pages = this.long(2);
        this.at += words_wanted;
        return true;
      }
    }
  }

  private readSmall(): void {
    const { words, at } = this;
    const low = words[at + 2];
    this.size_bytes = low & (2 ** small_size_bits - 1);
    this.site = words[at + 3] * 2 ** (32 - small_size_bits) + (low >>> small_size_bits);
    this.align = 0;
  }

  private readBlock(kind: number): void {
    const { words, at } = this;
    const high = words[at + 3];
    this.size_bytes = (high & 0xffff) * 2 ** 32 + words[at + 2];
    this.align = kind === record_kind.aligned ? 2 ** (high >>> 24) : 0;
    this.site = this.long(4);
  }

  private long(word: number): number {
    return this.words[this.at + word + 1] * 2 ** 32 + this.words[this.at + word];
  }

  private stop(is_broken: boolean): false {
    if (is_broken) this.is_broken = true;
    this.at = this.end = 0;
    this.stretches.length = 0;
    return false;
  }

  /** Whether `count` 32-bit words can be read from `at` on, after reading more of the file where need be. */
  private has(count: number): boolean {
    while (this.end - this.at < count) {
      const [stretch] = this.stretches;
      if (stretch === undefined) return false;
      const [offset, length] = stretch;
      const left = (this.end - this.at) * 4;
      const wanted = Math.min(length, read_bytes);
      const bytes = Buffer.from(new ArrayBuffer(left + wanted));
      bytes.set(this.bytes.subarray(this.at * 4, this.end * 4));
      const read = this.readAt(bytes, left, offset, wanted);
      if (read < wanted || wanted === length) this.stretches.shift();
      else this.stretches[0] = [offset + read, length - read];
      this.bytes = bytes;
      this.words = new Uint32Array(bytes.buffer);
      this.at = 0;
      this.end = Math.floor((left + read) / 8) * 2;
    }
    return true;
  }

  /** Opened for each piece: there may be more streams than descriptors. */
  private readAt(bytes: Buffer, at: number, offset: number, length: number): number {
    const descriptor = openSync(this.path, 'r');
    try {
      return readSync(descriptor, bytes, at, length, offset);
    } finally {
      closeSync(descriptor);
    }
  }
}

/** Length of a record of an event, in 32-bit words. */
function recordWords(kind: number): number {
  if (kind === record_kind.free || kind === record_kind.move) return 2;
  return kind >= record_kind.touched ? 4 : 6;
}

/** All streams of a process in one order: by time, and at the same time what gives an address back comes first. */
export class MergedStreams {
  /** Frames behind each site, where more than one was recorded. */
  readonly stacks = new Map<number, readonly number[]>();
  private readonly streams: readonly Stream[];
  /** A binary heap, the next event on top. */
  private readonly heap: Stream[] = [];

  constructor(recorded: RecordedProcess) {
    this.streams = readdirSync(recorded.folder)
      .filter((name) => /^stream\.\d+$/.test(name))
      .map((name) => new Stream(join(recorded.folder, name), Number(name.slice(7)), recorded, this.stacks));
    for (const stream of this.streams) {
      if (!stream.advance()) continue;
      this.heap.push(stream);
      for (let at = this.heap.length - 1; at > 0 && comesBefore(this.heap[at], this.heap[(at - 1) >> 1]); ) {
        const parent = (at - 1) >> 1;
        [this.heap[at], this.heap[parent]] = [this.heap[parent], this.heap[at]];
        at = parent;
      }
    }
  }

  get broken_streams(): number {
    return this.streams.filter((stream) => stream.is_broken).length;
  }

  /** The stream whose event is next; undefined at the end. Call `pop` when done with it. */
  top(): Stream | undefined {
    return this.heap[0];
  }

  pop(): void {
    const { heap } = this;
    const [stream] = heap;
    if (!stream.advance()) {
      const last = heap.pop()!;
      if (heap.length === 0) return;
      heap[0] = last;
    }
    for (let at = 0; ; ) {
      const left = at * 2 + 1;
      if (left >= heap.length) return;
      const child = left + 1 < heap.length && comesBefore(heap[left + 1], heap[left]) ? left + 1 : left;
      if (!comesBefore(heap[child], heap[at])) return;
      [heap[child], heap[at]] = [heap[at], heap[child]];
      at = child;
    }
  }
}

function comesBefore(a: Stream, b: Stream): boolean {
  if (a.ticks !== b.ticks) return a.ticks < b.ticks;
  const a_gives = a.kind === record_kind.free || a.kind === record_kind.move;
  const b_gives = b.kind === record_kind.free || b.kind === record_kind.move;
  if (a_gives !== b_gives) return a_gives;
  return a.index < b.index;
}

function fileBytes(path: string): number {
  const descriptor = openSync(path, 'r');
  try {
    return fstatSync(descriptor).size;
  } finally {
    closeSync(descriptor);
  }
}

function readOrNothing(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}
