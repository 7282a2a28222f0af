/**
 * Log-linear histogram of integer nanoseconds: 32 buckets an octave, error at most 1/64 (the idea of HdrHistogram).
 * Mirrors native/core/histogram.c.
 */
import { shape } from '../spec.ts';

const { histogram_sub_bits: sub_bits, histogram_buckets: buckets } = shape;
const sub_buckets = 2 ** sub_bits;

export class Histogram {
  total = 0;
  max = 0;
  private readonly counts = new Float64Array(buckets);

  add(value: number): void {
    this.counts[bucketOf(value)] += 1;
    this.total += 1;
    if (value > this.max) this.max = value;
  }

  /** The same value so many times. */
  addMany(value: number, times: number): void {
    if (times === 0) return;
    this.counts[bucketOf(value)] += times;
    this.total += times;
    if (value > this.max) this.max = value;
  }

  /** As if everything that `other` was given had been added here. */
  merge(other: Histogram): void {
    for (let bucket = 0; bucket < buckets; bucket += 1) this.counts[bucket] += other.counts[bucket];
    this.total += other.total;
    if (other.max > this.max) this.max = other.max;
  }

  clear(): void {
    this.counts.fill(0);
    this.total = 0;
    this.max = 0;
  }

  /** Values in buckets above that of `value`. */
  above(value: number): number {
    let above = 0;
    for (let bucket = bucketOf(value) + 1; bucket < buckets; bucket += 1) above += this.counts[bucket];
    return above;
  }

  /** The middle of the bucket that holds the `permyriad`/10,000 quantile; 0 while empty. */
  quantile(permyriad: number): number {
    if (this.total === 0) return 0;
    const rank = Math.max(1, Math.ceil((this.total * permyriad) / 10_000));
    let seen = 0;
    for (let bucket = 0; bucket < buckets; bucket += 1) {
      seen += this.counts[bucket];
      if (seen >= rank) return Math.min(this.max, middleOf(bucket));
    }
    return this.max;
  }
}

/** Values below 2^sub_bits have a bucket each; every octave above has 2^sub_bits. */
export function bucketOf(value: number): number {
  if (value < sub_buckets) return value;
  if (value < 2 ** 32) {
    const exponent = 31 - Math.clz32(value) - sub_bits;
    return exponent * sub_buckets + (value >>> exponent);
  }
  const exponent = 63 - Math.clz32(Math.floor(value / 2 ** 32)) - sub_bits;
  return exponent * sub_buckets + Math.floor(value / 2 ** exponent);
}

function middleOf(bucket: number): number {
  if (bucket < 2 * sub_buckets) return bucket;
  const exponent = Math.floor(bucket / sub_buckets) - 1;
  const low = (bucket - exponent * sub_buckets) * 2 ** exponent;
  return low + Math.floor(2 ** exponent / 2);
}
