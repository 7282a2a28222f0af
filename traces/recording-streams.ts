/**
 * Reads what native/record.c wrote: a folder for each process, a file for each stream of events, and all streams of a
 * process merged into one order. docs/RECORDING.md has the layout.
 */
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import {
  type RecordedControl,
  readControl,
  readRing,
  type Segment,
  segment_header_bytes,
} from './recording-control.ts';
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
  /** 0: everything was recorded. */
  readonly sample_mean_bytes: number;
  readonly sample_seed: number;
  readonly sample_whole_bytes: number;
  readonly lost_events: number;
  readonly start_ticks: number;
  readonly elapsed_ticks: number;
  readonly elapsed_ns: number;
  readonly user_ns: number;
  readonly sys_ns: number;
  readonly faults: number;
  readonly resident_peak_bytes: number;
  /** How its recording ended, where it was watched from outside and ran before. */
  readonly attached: (typeof attached_ends)[number] | null;
  readonly start_ns: number;
  readonly parent: number;
  readonly control: RecordedControl | undefined;
  readonly control_is_damaged: boolean;
  readonly arguments: readonly string[];
}

const process_magic = 'HAKPROC1';
const stream_magic = 'HAKSTRM1';
const process_file_bytes = 176;
const buffer_bytes_max = 2 ** 20;
const version = 1;
/** Mirror of `enum attached`. */
const attached_ends = [null, 'let go', 'exit', 'exec', 'full'] as const;
const small_size_bits = 17;
const read_bytes = 256 * 1024;
const snapshot_attempts = 1000;
/** Mirror of STACK_FRAMES_MAX. */
const stack_frames_max = 64;
/** Mirror of RECORD_WORDS_MAX. */
const record_bytes_max = 80 * 8;
const align_power_max = 31;
/** A hundred days; what is later is no time. */
const ticks_max = 2 ** 50;
const known_kinds = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15]);

/** Names of the folders in `directory` that processes wrote into. */
export function processFolders(directory: string): string[] {
  return readdirSync(directory).filter((name) => /^\d+\.\d+$/.test(name));
}

/** Names of the process's files of streams. */
export function streamFiles({ folder }: RecordedProcess): string[] {
  return readdirSync(folder).filter((name) => /^stream\.\d+$/.test(name));
}

/** The processes that wrote into `directory`, in the order in which they began. */
export function readProcesses(directory: string): RecordedProcess[] {
  const names = processFolders(directory);
  return names
    .flatMap((name) => {
      const [pid, image] = name.split('.').map(Number);
      return readProcess(join(directory, name), image, names.includes(`${pid}.${image + 1}`)) ?? [];
    })
    .sort((a, b) => a.start_ticks - b.start_ticks || a.pid - b.pid || a.image - b.image);
}

/** The folders in `directory` of processes of which nothing can be read: their first file is cut off or missing. */
export function unreadableProcesses(directory: string): string[] {
  return processFolders(directory)
    .filter((name) => readProcess(join(directory, name), 0, false) === undefined)
    .sort();
}

/** Undefined where the process was killed before it had written so much as its header. */
function readProcess(folder: string, image: number, became_another: boolean): RecordedProcess | undefined {
  const bytes = readOrNothing(join(folder, 'process'));
  if (bytes.length < process_file_bytes || bytes.toString('latin1', 0, 8) !== process_magic) return undefined;
  const word = (index: number) => bytes.readUInt32LE(8 + index * 4);
  const long = (index: number) => Number(bytes.readBigUInt64LE(64 + index * 8));
  if (word(0) !== version)
    throw new TraceError(folder, 'process', `layout ${word(0)}; this hakmem reads layout ${version}`);
  // What is true of every recording of this layout; else the file was damaged.
  const numbers = Array.from({ length: 10 }, (_, index) => long(index));
  if (word(4) > 8 || word(5) !== 4096 || word(6) !== 4096 || word(7) % 8 !== 0 || word(7) > buffer_bytes_max)
    return undefined;
  if (!numbers.every(Number.isSafeInteger) || long(4) < long(2) || long(5) < long(3)) return undefined;
  const control = readControl(readOrNothing(join(folder, 'control')));
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
    attached: attached_ends[long(13)] ?? null,
    start_ns: long(3),
    sample_mean_bytes: long(10),
    sample_seed: long(11),
    sample_whole_bytes: long(12),
    parent: word(2),
    control,
    control_is_damaged: control === undefined && existsSync(join(folder, 'control')),
    arguments: readOrNothing(join(folder, 'cmdline')).toString().split('\0').slice(0, -1),
  };
}

/** The text of /proc/PID/maps, as often as the process noted it, one after another. */
export function readMaps(recorded: RecordedProcess): string {
  return readOrNothing(join(recorded.folder, 'maps')).toString();
}

/** A stretch of records without gaps: of a file, or a copy of a buffer. */
interface Stretch {
  readonly source: string | Buffer;
  offset: number;
  left: number;
  /** A buffer ends at its first zero word; what was flushed has none. */
  readonly is_buffer: boolean;
  readonly segment?: Segment;
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
  /** Its file does not even have its header. */
  is_lost = false;
  /** What should be there and is not, or is no record. */
  missing_bytes = 0;
  /** Segments of it were overwritten by newer ones; what is left begins at `first_ticks`. */
  is_suffix = false;
  first_ticks: number | undefined;
  private readonly path: string;
  private readonly recorded: RecordedProcess;
  private readonly stacks: Map<number, readonly number[]>;
  private readonly stretches: Stretch[] = [];
  private bytes = Buffer.alloc(0);
  private words = new Uint32Array(0);
  private at = 0;
  private end = 0;

  constructor(
    path: string,
    index: number,
    recorded: RecordedProcess,
    stacks: Map<number, readonly number[]>,
    segments: readonly Segment[],
  ) {
    this.path = path;
    this.index = index;
    this.recorded = recorded;
    this.stacks = stacks;
    const { buffer_offset, data_offset } = recorded;
    const start = this.readStart();
    if (start.length < 24 || start.toString('latin1', 0, 8) !== stream_magic) {
      this.is_lost = true;
      return;
    }
    const file_bytes = fileBytes(path);
    const flushed = Number(start.readBigUInt64LE(8));
    const pending = Number(start.readBigUInt64LE(16));
    const buffer = start.subarray(buffer_offset);
    let buffer_bytes = usedBytes(buffer);
    if ((recorded.control?.keep_bytes ?? 0) > 0) {
      const own = segments.filter(({ stream }) => stream === index);
      const counted = own.filter(({ number }) => number !== pending);
      this.is_suffix = segments[0]?.number !== 1 && counted.reduce((sum, { bytes }) => sum + bytes, 0) < flushed;
      for (const segment of own) {
        const { offset, bytes } = segment;
        this.stretches.push({ source: ringOf(recorded), offset, left: bytes, is_buffer: false, segment });
      }
      // The flush came to its end, and the buffer was perhaps being cleared.
      if (own.some(({ number }) => number === pending)) buffer_bytes = 0;
    } else {
      // A flush that was cut off left the buffer whole; one that was not may have begun to clear it.
      const flush_is_whole = pending > 0 && file_bytes - data_offset >= flushed + pending;
      const left = flushed + (flush_is_whole ? pending : 0);
      if (left > 0) this.stretches.push({ source: path, offset: data_offset, left, is_buffer: false });
      if (flush_is_whole) buffer_bytes = 0;
    }
    if (buffer_bytes > 0) this.stretches.push({ source: buffer, offset: 0, left: buffer_bytes, is_buffer: true });
    // Records follow one another without a gap: where zeros stand before the cut, none was behind it.
    if (buffer_bytes > buffer.length - record_bytes_max)
      this.missing_bytes += Math.max(0, data_offset - Math.max(file_bytes, buffer_offset));
  }

  advance(): boolean {
    for (;;) {
      if (!this.has(2)) {
        if (this.nextStretch()) continue;
        return false;
      }
      const { words, at } = this;
      const low = words[at];
      const high = words[at + 1];
      const kind = low & 15;
      if (kind === 0 || !known_kinds.has(kind)) {
        const left_bytes = this.stretches[0].left + (this.end - at) * 4;
        if (kind !== 0 || !this.stretches[0].is_buffer || left_bytes > record_bytes_max) this.lose();
        else this.stretches[0].left = this.at = this.end = 0;
      } else if (kind === record_kind.time) {
        const ticks = Number((BigInt(high) << 28n) | BigInt(low >>> 4)) - this.recorded.start_ticks;
        if (ticks > ticks_max) {
          this.lose();
          continue;
        }
        this.ticks = ticks;
        this.first_ticks ??= ticks;
        this.at += 2;
      } else if (kind === record_kind.thread) {
        this.thread = high * 2 ** 28 + (low >>> 4);
        this.at += 2;
      } else if (kind === record_kind.stack) {
        const count = low >>> 4;
        if (count > stack_frames_max || !this.has(4 + count * 2)) {
          this.lose();
          continue;
        }
        this.stacks.set(
          this.long(2),
          Array.from({ length: count }, (_, frame) => this.long(4 + frame * 2)),
        );
        this.at += 4 + count * 2;
      } else {
        const words_wanted = recordWords(kind);
        if (!this.has(words_wanted) || (kind <= record_kind.realloc && !this.isBlock(kind))) {
          this.lose();
          continue;
        }
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

  /** Header and buffer as they were at one moment: the process may be flushing just now. */
  private readStart(): Buffer {
    for (let attempt = 1; ; attempt += 1) {
      const start = Buffer.alloc(this.recorded.data_offset);
      const read = this.readAt(this.path, start, 0, 0, start.length);
      const header = Buffer.alloc(24);
      this.readAt(this.path, header, 0, 0, header.length);
      if (start.subarray(0, 24).equals(header) || attempt === snapshot_attempts) return start.subarray(0, read);
    }
  }

  /** What is left of the stretch is no record. */
  private lose(): void {
    const [stretch] = this.stretches;
    this.missing_bytes += stretch.left + (this.end - this.at) * 4;
    stretch.left = this.at = this.end = 0;
  }

  /** Every stretch can be read by itself: it begins with the time and the thread. */
  private nextStretch(): boolean {
    if (this.stretches.length === 0) return false;
    if (this.end > this.at) this.lose();
    this.stretches.shift();
    return this.stretches.length > 0;
  }

  private readSmall(): void {
    const { words, at } = this;
    const low = words[at + 2];
    this.size_bytes = low & (2 ** small_size_bits - 1);
    this.site = words[at + 3] * 2 ** (32 - small_size_bits) + (low >>> small_size_bits);
    this.align = 0;
  }

  /** Whether size and alignment are such as the recorder writes. */
  private isBlock(kind: number): boolean {
    const high = this.words[this.at + 3];
    const power = high >>> 24;
    return (high & 0xffffff) < 2 ** 15 && (kind === record_kind.aligned ? power <= align_power_max : power === 0);
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

  /** Whether `count` 32-bit words of the stretch can be read from `at` on, after reading more of it where need be. */
  private has(count: number): boolean {
    while (this.end - this.at < count) {
      const [stretch] = this.stretches;
      if (stretch === undefined || stretch.left === 0) return false;
      const kept = (this.end - this.at) * 4;
      const wanted = Math.min(stretch.left, read_bytes);
      const bytes = Buffer.from(new ArrayBuffer(Math.ceil((kept + wanted) / 8) * 8));
      bytes.set(this.bytes.subarray(this.at * 4, this.end * 4));
      const read = this.readStretch(stretch, bytes, kept, wanted);
      stretch.offset += read;
      stretch.left = read < wanted ? 0 : stretch.left - read;
      this.bytes = bytes;
      this.words = new Uint32Array(bytes.buffer);
      this.at = 0;
      this.end = Math.floor((kept + read) / 8) * 2;
    }
    return true;
  }

  private readStretch(stretch: Stretch, bytes: Buffer, at: number, wanted: number): number {
    const { source, offset, segment } = stretch;
    if (typeof source !== 'string') return source.copy(bytes, at, offset, offset + wanted);
    let read = this.readAt(source, bytes, at, offset, wanted);
    if (segment !== undefined) {
      const header = Buffer.alloc(8);
      this.readAt(source, header, 0, segment.offset - segment_header_bytes, header.length);
      // Overwritten while we read, by a process that runs on.
      if (Number(header.readBigUInt64LE(0)) !== segment.number) read = 0;
    }
    if (read < wanted) this.missing_bytes += stretch.left - read;
    return read;
  }

  /** Opened for each piece: there may be more streams than descriptors. */
  private readAt(path: string, bytes: Buffer, at: number, offset: number, length: number): number {
    const descriptor = openSync(path, 'r');
    try {
      return readSync(descriptor, bytes, at, length, offset);
    } finally {
      closeSync(descriptor);
    }
  }
}

function ringOf(recorded: RecordedProcess): string {
  return join(recorded.folder, 'ring');
}

/** Without the zeros at the end of the buffer. */
function usedBytes(buffer: Buffer): number {
  let end = buffer.length;
  while (end > 0 && buffer[end - 1] === 0) end -= 1;
  return Math.ceil(end / 8) * 8;
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
  /** What came before is not known of all threads, for the oldest segments were overwritten; 0 where it is. */
  readonly begin_ticks: number;
  private readonly recorded: RecordedProcess;
  private readonly ring_missing_bytes: number;
  private readonly streams: readonly Stream[];
  /** A binary heap, the next event on top. */
  private readonly heap: Stream[] = [];

  constructor(recorded: RecordedProcess) {
    this.recorded = recorded;
    const { folder, data_offset, buffer_offset, control } = recorded;
    const { segments, missing_bytes } = readRing(folder, data_offset - buffer_offset, control);
    this.ring_missing_bytes = missing_bytes;
    this.streams = streamFiles(recorded).map(
      (name) => new Stream(join(recorded.folder, name), Number(name.slice(7)), recorded, this.stacks, segments),
    );
    const started = this.streams.filter((stream) => stream.advance());
    const overwritten = this.streams.filter(({ is_suffix, is_lost }) => is_suffix && !is_lost);
    this.begin_ticks = overwritten.reduce((latest, { first_ticks = 0 }) => Math.max(latest, first_ticks), 0);
    for (const stream of started) {
      if (!this.skipToBegin(stream)) continue;
      this.heap.push(stream);
      for (let at = this.heap.length - 1; at > 0 && comesBefore(this.heap[at], this.heap[(at - 1) >> 1]); ) {
        const parent = (at - 1) >> 1;
        [this.heap[at], this.heap[parent]] = [this.heap[parent], this.heap[at]];
        at = parent;
      }
    }
  }

  private skipToBegin(stream: Stream): boolean {
    while (stream.ticks < this.begin_ticks) if (!stream.advance()) return false;
    return true;
  }

  /** Bytes of records that should be there and are not, or are none. */
  get missing_bytes(): number {
    return this.streams.reduce((sum, { missing_bytes }) => sum + missing_bytes, this.ring_missing_bytes);
  }

  /** Files of streams that are not there, or have no header. */
  get lost_streams(): number {
    const lost = this.streams.filter(({ is_lost }) => is_lost).length;
    return this.recorded.control === undefined
      ? lost
      : Math.max(0, this.recorded.control.streams - this.streams.length + lost);
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
