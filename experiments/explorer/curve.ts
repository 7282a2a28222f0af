/** The course of a replay: moments as columns, thinned to a few thousand however long the trace is. */
import type { Moment } from '../../sim/index.ts';

export interface Curve {
  readonly events: Float64Array<ArrayBuffer>;
  readonly time_ns: Float64Array<ArrayBuffer>;
  readonly faults: Float64Array<ArrayBuffer>;
  readonly resident_bytes: Float64Array<ArrayBuffer>;
  readonly mapped_bytes: Float64Array<ArrayBuffer>;
  readonly kept_bytes: Float64Array<ArrayBuffer>;
  readonly heap_bytes: Float64Array<ArrayBuffer>;
}

export const curve_points_max = 2048;

/** Of neighbours that share a point the one with most resident bytes stays, so that a peak is never thinned away. */
export class CurveRecorder {
  private kept: Moment[] = [];
  private stride = 1;
  private waiting: Moment | undefined;
  private waited = 0;
  private last: Moment | undefined;

  add(moment: Moment): void {
    this.last = moment;
    this.waiting = this.waiting === undefined ? moment : higher(this.waiting, moment);
    this.waited += 1;
    if (this.waited < this.stride) return;
    this.kept.push(this.waiting);
    this.waiting = undefined;
    this.waited = 0;
    if (this.kept.length === curve_points_max) this.halve();
  }

  finish(): Curve {
    const { kept, last, waiting } = this;
    const all = [...kept];
    if (waiting !== undefined && waiting !== last) all.push(waiting);
    if (last !== undefined && all.at(-1) !== last) all.push(last);
    const column = (of: (moment: Moment) => number) => Float64Array.from(all, of);
    return {
      events: column((each) => each.events),
      time_ns: column((each) => each.time_ns),
      faults: column((each) => each.faults),
      resident_bytes: column((each) => each.resident_bytes),
      mapped_bytes: column((each) => each.mapped_bytes),
      kept_bytes: column((each) => each.kept_bytes),
      heap_bytes: column((each) => each.heap_bytes),
    };
  }

  private halve(): void {
    const { kept } = this;
    this.kept = Array.from({ length: kept.length / 2 }, (_, at) => higher(kept[2 * at], kept[2 * at + 1]));
    this.stride *= 2;
  }
}

function higher(a: Moment, b: Moment): Moment {
  return b.resident_bytes > a.resident_bytes ? b : a;
}
