/**
 * Signature of the sizes that a program asks for, by count and by bytes, and how far two are apart: what drift is told by.
 * Mirrors native/core/signature.c.
 */
import { shape } from '../spec.ts';

const { page_bytes, signature_classes: classes, signature_from_bytes: from_bytes } = shape;
const first_exponent = 31 - Math.clz32(from_bytes / page_bytes);
const most_units = 2 ** (first_exponent + classes / 4) - 1;

/** Answer of `driftPermille` where one of the two has too few samples to tell a drift from chance. */
export const no_test = -1;

export class Signature {
  readonly counts = new Float64Array(classes);
  readonly bytes = new Float64Array(classes);
  samples = 0;
  total_bytes = 0;

  add(size_bytes: number): void {
    const at = classOf(size_bytes);
    this.counts[at] += 1;
    this.bytes[at] += size_bytes;
    this.samples += 1;
    this.total_bytes += size_bytes;
  }

  addAll(other: Signature): void {
    for (let at = 0; at < classes; at += 1) {
      this.counts[at] += other.counts[at];
      this.bytes[at] += other.bytes[at];
    }
    this.samples += other.samples;
    this.total_bytes += other.total_bytes;
  }

  clear(): void {
    this.counts.fill(0);
    this.bytes.fill(0);
    this.samples = 0;
    this.total_bytes = 0;
  }

  copyFrom(other: Signature): void {
    this.counts.set(other.counts);
    this.bytes.set(other.bytes);
    this.samples = other.samples;
    this.total_bytes = other.total_bytes;
  }
}

/**
 * L1 distance of the two, from 0 to 2000 (nothing in common): by count, or by bytes where that is more and can be told; or
 * no_test. A few large blocks make up most bytes of many programs, and their number is chance: by bytes, samples count as
 * what they are worth.
 */
export function driftPermille(reference: Signature, now: Signature): number {
  const [own, other] = [wantedSamples(reference), wantedSamples(now)];
  if (reference.samples < own || now.samples < other) return no_test;
  let most = distance(reference.counts, reference.samples, now.counts, now.samples);
  if (effectiveSamples(reference) >= own && effectiveSamples(now) >= other)
    most = Math.max(most, distance(reference.bytes, reference.total_bytes, now.bytes, now.total_bytes));
  // 2^-20 permille more, so that the rounding of shares takes no whole permille off.
  return Math.floor(1000 * most + 2 ** -20);
}

/**
 * So many for each class that it has itself: if the other's counted too, a reference of few classes could never be held
 * against sizes that spread.
 */
function wantedSamples({ counts }: Signature): number {
  let in_use = 0;
  for (let at = 0; at < classes; at += 1) if (counts[at] > 0) in_use += 1;
  return shape.signature_samples_a_class * Math.max(1, in_use);
}

/** Kish's effective sample size: as many samples of one size would tell the shares of bytes as well (Survey Sampling, 1965). */
function effectiveSamples({ counts, bytes, total_bytes }: Signature): number {
  let squares = 0;
  for (let at = 0; at < classes; at += 1) if (counts[at] > 0) squares += (bytes[at] * bytes[at]) / counts[at];
  return squares === 0 ? 0 : (total_bytes * total_bytes) / squares;
}

function distance(own: Float64Array, own_total: number, other: Float64Array, other_total: number): number {
  let sum = 0;
  for (let at = 0; at < classes; at += 1) sum += Math.abs(own[at] / own_total - other[at] / other_total);
  return sum;
}

/** Quarter octaves of whole pages; what is smaller than the first class or larger than the last goes there. */
function classOf(size_bytes: number): number {
  const units = Math.min(Math.floor(size_bytes / page_bytes), most_units);
  if (units < 2 ** first_exponent) return 0;
  const exponent = 31 - Math.clz32(units);
  return (exponent - first_exponent) * 4 + ((units >>> (exponent - 2)) & 3);
}
