/**
 * The workload of glibc's trace-utils (`trace_run`): a header, then each thread's events together. What a thread does to a
 * block that another one touched last waits for it: the other signals after all that it did so far. A thread begins when the
 * first one has come to where it began. Numbers are groups of
 * 7 bits, highest first, the high bit set on all but the last byte. Pointer 0 is NULL.
 */
import { interruptible } from '../interruptible.ts';
import { op } from '../trace.ts';
import { wl_code } from '../wl.ts';
import type { Spool, TraceExporter } from './exporter.ts';

/** Of a thread's events, before they are put aside. */
const piece_bytes = 16 * 1024;

export const wl: TraceExporter = {
  says: 'workload of glibc trace-utils',
  async write(trace, sink, spool) {
    const pieces = new Pieces(spool);
    const threads = new Map<number, Thread>();
    let last_thread = new Float64Array(1024).fill(-1);
    let syncs = 0;
    let first: Thread | undefined;
    const waitFor = (other: Thread, thread: Thread): void => {
      syncs += 1;
      other.add(wl_code.sync_w, syncs);
      thread.add(wl_code.sync_r, syncs);
    };
    const threadOf = (number: number): Thread => {
      const known = threads.get(number);
      if (known !== undefined) return known;
      const thread = new Thread(pieces);
      threads.set(number, thread);
      if (first !== undefined) waitFor(first, thread);
      first ??= thread;
      return thread;
    };
    for await (const { op: kinds, thread: numbers, object, size_bytes, align, length } of interruptible(trace.chunks()))
      for (let row = 0; row < length; row += 1) {
        const slot = object[row];
        const thread = threadOf(numbers[row]);
        if (slot >= last_thread.length) {
          const wider = new Float64Array(Math.max(slot + 1, 2 * last_thread.length)).fill(-1);
          wider.set(last_thread);
          last_thread = wider;
        }
        const before = last_thread[slot];
        if (before >= 0 && before !== numbers[row]) waitFor(threadOf(before), thread);
        last_thread[slot] = numbers[row];
        const pointer = slot + 1;
        const size = size_bytes[row];
        if (kinds[row] === op.free) thread.add(wl_code.free, pointer);
        else if (kinds[row] === op.realloc) thread.add(wl_code.realloc, pointer, pointer, size);
        else if (kinds[row] === op.aligned) thread.add(wl_code.memalign, pointer, align[row], size);
        else thread.add(kinds[row] === op.calloc ? wl_code.calloc : wl_code.malloc, pointer, size);
      }
    for (const thread of threads.values()) thread.end();
    sink.append(headerOf([...threads.values()], trace.statistics.objects, syncs));
    for (const thread of threads.values())
      for (const { offset, length } of thread.kept) sink.append(spool.read(offset, length));
  },
};

/** Where its threads begin depends on how long it is, and that on where they begin. */
function headerOf(threads: readonly Thread[], objects: number, syncs: number): Uint8Array {
  for (let length = 0; ; ) {
    let offset = length;
    const starts = threads.flatMap(({ bytes }) => {
      const at = offset;
      offset += bytes;
      return [wl_code.start_thread, ...numberBytes(at)];
    });
    const header = Uint8Array.from([
      wl_code.alloc_ptrs,
      ...numberBytes(objects + 1),
      wl_code.alloc_syncs,
      ...numberBytes(syncs + 1),
      wl_code.n_threads,
      ...numberBytes(threads.length),
      ...starts,
      wl_code.done,
    ]);
    if (header.length === length) return header;
    length = header.length;
  }
}

class Pieces {
  readonly spool: Spool;
  private offset = 0;

  constructor(spool: Spool) {
    this.spool = spool;
  }

  keep(bytes: Uint8Array): { readonly offset: number; readonly length: number } {
    const kept = { offset: this.offset, length: bytes.length };
    this.spool.append(bytes);
    this.offset += bytes.length;
    return kept;
  }
}

class Thread {
  readonly kept: { readonly offset: number; readonly length: number }[] = [];
  bytes = 0;
  private readonly pieces: Pieces;
  private waiting: number[] = [];

  constructor(pieces: Pieces) {
    this.pieces = pieces;
  }

  add(code: number, ...values: readonly number[]): void {
    this.waiting.push(code);
    for (const value of values) this.waiting.push(...numberBytes(value));
    if (this.waiting.length >= piece_bytes) this.flush();
  }

  end(): void {
    this.waiting.push(wl_code.done);
    this.flush();
  }

  private flush(): void {
    this.kept.push(this.pieces.keep(Uint8Array.from(this.waiting)));
    this.bytes += this.waiting.length;
    this.waiting = [];
  }
}

function numberBytes(value: number): number[] {
  const bytes = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift((rest % 128) + 128);
  return bytes;
}
