/**
 * A trace that was read once and folded: each setting then runs over the few events that are left. Decoded events are
 * not kept; a lower threshold, and an explanation, read the bytes again.
 */
import {
  type Folded,
  floorOf,
  foldTrace,
  type LogEntry,
  type Outcome,
  Replay,
  refold,
  type Setup,
  simulate,
} from '../../sim/index.ts';
import { type ByteSource, HakTrace } from '../../traces/hak.ts';
import { importing } from '../../traces/importers.ts';
import { Tally } from '../../traces/tally.ts';
import { type Chunk, large_bytes, type Origin, op, type Statistics, TraceError } from '../../traces/trace.ts';
import { type Curve, CurveRecorder } from './curve.ts';

/** Folded at the highest of these that a setting allows: the smallest threshold of a strategy first, and on demand below. */
export const floors_bytes = [large_bytes, 64 * 1024, 4 * 1024, 0] as const;

/** Fewer checkpoints than this are no curve: then one with more is simulated for its sake. */
const curve_checkpoints_min = 400;
const curve_checkpoints = 1000;

/** The most events of large blocks that are listed, about 20 MB of columns. */
export const listed_max = 2 ** 20;

export interface Answer {
  readonly outcome: Outcome;
  readonly curve: Curve;
  /** Events between two readings of memory, for the figures. */
  readonly checkpoint_events: number;
  /** The same for the curve, before it was thinned. */
  readonly curve_events: number;
  /** Events that were simulated one by one; the others were folded. */
  readonly rows: number;
  /** Whether the trace had to be read again, for a lower threshold than any before. */
  readonly read_again: boolean;
}

/** Events of blocks of `large_bytes` and more; a free has the size of what it frees. */
export interface LargeEvents {
  readonly event: Float64Array<ArrayBuffer>;
  readonly op: Uint8Array<ArrayBuffer>;
  readonly object: Uint32Array<ArrayBuffer>;
  readonly size_bytes: Float64Array<ArrayBuffer>;
  /** How many there are; more than were listed, perhaps. */
  readonly total: number;
}

export class LoadedTrace {
  readonly origin: Origin;
  readonly statistics: Statistics;
  private readonly chunks: () => Iterable<Chunk>;
  /** Highest floor first: the first and the one that was asked for last. */
  private folds: readonly Folded[];
  private readings = 1;

  /** Throws TraceError where `source` is not a legal trace from its first event to its last. */
  constructor(source: ByteSource) {
    const reading = read(source);
    this.chunks = () => reading.chunks();
    this.folds = [foldTrace(reading.counted(), floors_bytes[0])];
    this.origin = reading.origin();
    this.statistics = reading.statistics();
  }

  answer(setup: Setup): Answer {
    const before = this.readings;
    const folded = this.foldFor(floorOf(setup.config));
    const { checkpoint_events } = setup.config;
    const known = { checkpoint_events, rows: folded.rows, read_again: this.readings > before };
    const recorder = new CurveRecorder();
    const outcome = simulate(folded, setup, { moment: (moment) => recorder.add(moment) });
    if (folded.events / checkpoint_events >= curve_checkpoints_min)
      return { outcome, curve: recorder.finish(), curve_events: checkpoint_events, ...known };
    const finer = Math.max(1, Math.ceil(folded.events / curve_checkpoints));
    return { outcome, curve: curveOf(folded, setup, finer), curve_events: finer, ...known };
  }

  largeEvents(): LargeEvents {
    const { rows, segments, segment_rows } = this.folds[0];
    const count = Math.min(rows, listed_max);
    const sizes_bytes = new Map<number, number>();
    const listed = {
      event: new Float64Array(count),
      op: new Uint8Array(count),
      object: new Uint32Array(count),
      size_bytes: new Float64Array(count),
    };
    for (let row = 0; row < count; row += 1) {
      const columns = segments[Math.floor(row / segment_rows)];
      const at = row % segment_rows;
      const object = columns.object[at];
      const freed = columns.op[at] === op.free;
      listed.event[row] = columns.event[at];
      listed.op[row] = columns.op[at];
      listed.object[row] = object;
      listed.size_bytes[row] = freed ? (sizes_bytes.get(object) ?? 0) : columns.size_bytes[at];
      if (freed) sizes_bytes.delete(object);
      else sizes_bytes.set(object, columns.size_bytes[at]);
    }
    return { ...listed, total: rows };
  }

  private foldFor(threshold_bytes: number): Folded {
    const floor_bytes = floors_bytes.find((each) => each <= threshold_bytes)!;
    const known = this.folds.find((each) => each.floor_bytes <= floor_bytes);
    if (known?.floor_bytes === floor_bytes) return known;
    const folded = known === undefined ? this.readAgain(floor_bytes) : refold(known, floor_bytes);
    this.folds = [this.folds[0], folded];
    return folded;
  }

  private readAgain(floor_bytes: number): Folded {
    this.readings += 1;
    // What is held for a threshold of before goes first: both may not fit.
    this.folds = [this.folds[0]];
    return foldTrace(this.chunks(), floor_bytes);
  }
}

/** The decision chain of one event: the trace is replayed up to it. */
export function explain(source: ByteSource, setup: Setup, event: number): LogEntry | null {
  const run = new Replay({ ...setup, log: { from: event, to: event + 1 } });
  for (const chunk of read(source).chunks()) {
    run.feed(chunk);
    if (run.stopped || run.events > event) break;
  }
  return run.finish().log.at(0) ?? null;
}

function curveOf(folded: Folded, setup: Setup, checkpoint_events: number): Curve {
  const recorder = new CurveRecorder();
  simulate(
    folded,
    { ...setup, config: { ...setup.config, checkpoint_events } },
    { moment: (moment) => recorder.add(moment) },
  );
  return recorder.finish();
}

interface Reading {
  chunks(): Iterable<Chunk>;
  /** The same once, counted as they pass where the format does not carry its counts. */
  counted(): Iterable<Chunk>;
  origin(): Origin;
  statistics(): Statistics;
}

/** A trace of any known format, recognised by its content. */
function read(source: ByteSource): Reading {
  if (source.length === 0) throw new TraceError(source.path, '', 'an empty file; wanted a trace');
  if (HakTrace.recognises(source.read(0, Math.min(8, source.length)))) {
    const trace = new HakTrace(source);
    return {
      chunks: () => trace.chunks(),
      counted: () => trace.chunks(),
      origin: () => trace.origin,
      statistics: () => trace.statistics,
    };
  }
  const foreign = importing(source);
  const tally = new Tally();
  return {
    chunks: () => foreign.chunks(),
    *counted() {
      for (const chunk of foreign.chunks()) {
        tally.add(chunk);
        yield chunk;
      }
    },
    origin: () => foreign.origin(),
    statistics() {
      const statistics = tally.statistics();
      if (statistics.events === 0)
        throw new TraceError(source.path, '', 'no allocation and no free in it; wanted a trace');
      return statistics;
    },
  };
}
