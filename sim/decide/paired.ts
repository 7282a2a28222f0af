/** Paired differences, window by window: mean and interval by Welford's sums. Mirrors native/core/paired.c. */
import { shape } from '../spec.ts';

const { t99, t99_normal } = shape;

export class Paired {
  count = 0;
  mean = 0;
  private squares = 0;

  add(value: number): void {
    this.count += 1;
    const before = value - this.mean;
    this.mean += before / this.count;
    this.squares += before * (value - this.mean);
  }

  clear(): void {
    this.count = 0;
    this.mean = 0;
    this.squares = 0;
  }

  /** Half the width of the 99 % interval of the mean: Student's t, for as many windows as there are. Infinite below two. */
  half(): number {
    const { count } = this;
    if (count < 2) return Number.POSITIVE_INFINITY;
    const t = count - 2 < t99.length ? t99[count - 2] : t99_normal;
    return t * Math.sqrt(this.squares / (count - 1) / count);
  }

  /** The mean is surely above zero. */
  isPositive(): boolean {
    return this.mean - this.half() > 0;
  }

  /** The mean is surely within `band` of zero. */
  isWithin(band: number): boolean {
    return Math.abs(this.mean) + this.half() <= band;
  }
}

/** True where `hits` of `of` are surely more than the reference's share: two proportions, z squared. */
export function isMore(hits: number, of: number, reference_hits: number, reference_of: number, z_squared: number) {
  if (of === 0 || reference_of === 0) return false;
  const difference = hits / of - reference_hits / reference_of;
  if (difference <= 0) return false;
  const pooled = (hits + reference_hits) / (of + reference_of);
  const variance = pooled * (1 - pooled) * (1 / of + 1 / reference_of);
  return difference * difference > z_squared * variance;
}
