/** How long events took, by operation and size: what callers of the allocator waited, with the touches that follow. */
import { op_names } from '../../traces/trace.ts';
import { Histogram } from '../kernel/histogram.ts';

const KiB = 1024;
/** Upper bounds, exclusive: what caches of threads hold, what heaps hold, and where thresholds lie. */
const class_below_bytes = [1 * KiB, 32 * KiB, 512 * KiB, 2048 * KiB, Number.POSITIVE_INFINITY] as const;
export const size_class_names = ['< 1 KiB', '< 32 KiB', '< 512 KiB', '< 2 MiB', '2 MiB and more'] as const;
const classes = class_below_bytes.length;
/** By the bits that a size takes, for all bounds are powers of two: random sizes would be guessed wrong at every comparison. */
const class_by_bits = Uint8Array.from({ length: 32 }, (_, bits) =>
  class_below_bytes.findIndex((below_bytes) => 2 ** bits <= below_bytes),
);
/** Latencies below this are counted by themselves and go into the histogram at the end: nearly all are. */
const short_ns = 256;

export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface LatencyRow extends Quantiles {
  readonly operation: string;
  readonly size: string;
  readonly events: number;
}

export class Latencies {
  private readonly histograms = Array.from({ length: op_names.length * classes }, () => new Histogram());
  private readonly short = new Float64Array(op_names.length * classes * short_ns);

  add(kind: number, size_bytes: number, latency_ns: number): void {
    const cell = kind * classes + classOf(size_bytes);
    if (latency_ns < short_ns) this.short[cell * short_ns + latency_ns] += 1;
    else this.histograms[cell].add(latency_ns);
  }

  /** One row for each operation and size that came up, and all of them together. */
  finish(): { readonly all: Quantiles; readonly rows: readonly LatencyRow[] } {
    const all = new Histogram();
    const rows: LatencyRow[] = [];
    for (const [cell, histogram] of this.histograms.entries()) {
      for (let ns = 0; ns < short_ns; ns += 1) {
        histogram.addMany(ns, this.short[cell * short_ns + ns]);
        this.short[cell * short_ns + ns] = 0;
      }
      if (histogram.total === 0) continue;
      all.merge(histogram);
      rows.push({
        operation: op_names[Math.floor(cell / classes)],
        size: size_class_names[cell % classes],
        events: histogram.total,
        ...quantilesOf(histogram),
      });
    }
    return { all: quantilesOf(all), rows };
  }
}

export function classOf(size_bytes: number): number {
  return size_bytes < 2 ** 31 ? class_by_bits[32 - Math.clz32(size_bytes)] : classes - 1;
}

function quantilesOf(histogram: Histogram): Quantiles {
  return {
    p50: histogram.quantile(5000),
    p95: histogram.quantile(9500),
    p99: histogram.quantile(9900),
    p999: histogram.quantile(9990),
    max: histogram.max,
  };
}
