/**
 * The model of glibc beside the library itself: one trace, one setting, the same touches, compared after every event in
 * where the block lies, whether it is mapped, how large it came out, where the break is, and how many faults there were.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ReplayerRun, runReplayer } from '../../native/replayer.ts';
import { type KernelProfile, prices, type TouchModel } from '../../sim/index.ts';
import { touchIndex } from '../../sim/kernel/touch.ts';
import type { GlibcSettings } from '../../sim/peers/glibc/settings.ts';
import { Glibc, type GlibcMachine } from '../../sim/peers/glibc.ts';
import { call } from '../../sim/peers/meter.ts';
import { PeerReplay, type PeerResult } from '../../sim/peers/replay.ts';
import { type Chunk, type HakTrace, op } from '../../traces/index.ts';
import { glibcMachine } from './glibc-machine.ts';
import { tunablesEnv } from './tunables.ts';

/** Words of the log: a header, then so many for each event. native/replayer/run.c writes them. */
const header_words = 8;
const event_words = 5;
const word_bytes = 8;
const other_heap_bytes = 64 * 2 ** 20;

export interface GlibcDifference {
  readonly event: number;
  readonly field: 'mapped' | 'offset' | 'usable' | 'break' | 'faults';
  readonly model: number | boolean;
  readonly real: number | boolean;
}

export interface GlibcBeside {
  readonly model: PeerResult;
  readonly real: ReplayerRun;
  readonly first_difference: GlibcDifference | null;
  /** Events that were compared: beyond the end of a thread the library goes its own way. */
  readonly compared_events: number;
  /** Allocations among them that lie elsewhere than in the library. */
  readonly misplaced: number;
  /** Mapped blocks that grew: of them, those that moved here and stayed there. Other mappings of the process may differ. */
  readonly growths: { readonly all: number; readonly differ: number };
}

/** `trace` must lie in a `.hak` file. Rejects as runReplayer does. */
export async function besideGlibc(
  trace: HakTrace,
  settings: GlibcSettings,
  profile: KernelProfile,
  touch: TouchModel = 'recorded',
  signal?: AbortSignal,
): Promise<GlibcBeside> {
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-beside-'));
  try {
    const log = join(folder, 'log');
    const real = await runReplayer(trace.path, {
      allocator: 'glibc',
      env: tunablesEnv(settings),
      touch,
      log,
      ...(signal === undefined ? {} : { signal }),
    });
    const file = openSync(log, 'r');
    try {
      return {
        real,
        ...compared(trace, settings, glibcMachine(profile, trace.statistics.threads), touch, new Log(file)),
      };
    } finally {
      closeSync(file);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compared(
  trace: HakTrace,
  settings: GlibcSettings,
  machine: GlibcMachine,
  touch: TouchModel,
  log: Log,
): Omit<GlibcBeside, 'real'> {
  const main_base_bytes = log.break_at_start - new Glibc(settings, machine, touchIndex(touch)).system.main_bytes;
  const start_bytes = log.first_block - 16 - main_base_bytes;
  const glibc = new Glibc(settings, { ...machine, main_base_bytes, start_bytes }, touchIndex(touch));
  const replay = new PeerReplay(glibc, { prices, checkpoint_events: 4096 });
  const compared_events = untilThreadEnds(trace);
  const beside = new Beside(glibc, log, main_base_bytes, compared_events);
  replay.watch = (chunk, row) => beside.see(chunk, row);
  for (const chunk of trace.chunks()) {
    log.read(chunk.length);
    replay.feed(chunk);
  }
  return {
    model: replay.finish(),
    first_difference: beside.first,
    compared_events,
    misplaced: beside.misplaced,
    growths: beside.growths,
  };
}

/**
 * Events up to the last one of the first thread to have no more. It ends then, some time during the events of others, and
 * what it had in its cache goes back to the arenas (tcache_thread_shutdown); the first thread of all outlives the trace.
 */
function untilThreadEnds(trace: HakTrace): number {
  const last_of: number[] = [];
  let first = -1;
  let events = 0;
  for (const { thread, length } of trace.chunks())
    for (let row = 0; row < length; row += 1) {
      if (events === 0) first = thread[row];
      events += 1;
      last_of[thread[row]] = events;
    }
  return last_of.reduce((least, last, thread) => (thread === first ? least : Math.min(least, last)), events);
}

class Beside {
  first: GlibcDifference | null = null;
  misplaced = 0;
  readonly growths = { all: 0, differ: 0 };
  private readonly address_of: number[] = [];
  private faults = 0;
  private readonly glibc: Glibc;
  private readonly log: Log;
  private readonly main_base_bytes: number;
  private readonly compared_events: number;

  constructor(glibc: Glibc, log: Log, main_base_bytes: number, compared_events: number) {
    this.glibc = glibc;
    this.log = log;
    this.main_base_bytes = main_base_bytes;
    this.compared_events = compared_events;
  }

  see(chunk: Chunk, row: number): void {
    const { glibc, log } = this;
    const { meter, system } = glibc;
    this.faults += meter.faults + meter.zero_faults;
    if (chunk.first_event + row >= this.compared_events) return;
    if (chunk.op[row] !== op.free) this.seePlace(chunk, row);
    this.hold(chunk, row, 'break', system.main_bytes, log.at(row, 3) - this.main_base_bytes);
    this.hold(chunk, row, 'faults', this.faults, log.at(row, 4));
  }

  private seePlace(chunk: Chunk, row: number): void {
    const { log, main_base_bytes } = this;
    const place = this.glibc.placeOf(chunk.object[row]);
    const address = log.at(row, 0);
    const flags = log.at(row, 2);
    const mapped = (flags & 1) !== 0;
    this.seeGrowth(chunk.object[row], address);
    const offset_bytes = (flags & 2) !== 0 ? address % other_heap_bytes : address - main_base_bytes;
    const placed =
      this.hold(chunk, row, 'mapped', place.mapped, mapped) &&
      (mapped || this.hold(chunk, row, 'offset', place.offset_bytes, offset_bytes)) &&
      this.hold(chunk, row, 'usable', place.usable_bytes, log.at(row, 1));
    if (!placed) this.misplaced += 1;
  }

  private seeGrowth(object: number, address: number): void {
    const { meter } = this.glibc;
    const before = this.address_of[object];
    this.address_of[object] = address;
    const kind = meter.calls === 1 ? meter.call[0] : -1;
    if (kind !== call.mremap && kind !== call.mremap_grow) return;
    this.growths.all += 1;
    if ((address === before) !== (kind === call.mremap_grow)) this.growths.differ += 1;
  }

  private hold(
    chunk: Chunk,
    row: number,
    field: GlibcDifference['field'],
    model: number | boolean,
    real: number | boolean,
  ): boolean {
    if (model === real) return true;
    this.first ??= { event: chunk.first_event + row, field, model, real };
    return false;
  }
}

class Log {
  readonly break_at_start: number;
  readonly first_block: number;
  private readonly file: number;
  private words = new BigUint64Array(0);

  constructor(file: number) {
    this.file = file;
    this.fill(header_words);
    this.break_at_start = Number(this.words[2]);
    this.first_block = Number(this.words[3]);
  }

  /** The next rows. */
  read(rows: number): void {
    this.fill(rows * event_words);
  }

  at(row: number, word: number): number {
    return Number(this.words[row * event_words + word]);
  }

  private fill(words: number): void {
    if (this.words.length < words) this.words = new BigUint64Array(words);
    const bytes = new Uint8Array(this.words.buffer, 0, words * word_bytes);
    for (let done = 0; done < bytes.length; ) {
      const got = readSync(this.file, bytes, done, bytes.length - done, null);
      if (got === 0) throw new Error('the log of hak-replayer ends before its trace');
      done += got;
    }
  }
}
