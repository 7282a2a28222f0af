/**
 * What a sample taken by the recorder says of all blocks: each allocation counts for the inverse of the probability with
 * which it was drawn (Horvitz, Thompson, 1952), so that sums are unbiased.
 */
import { type Chunk, type Origin, op, type Sampling, type SizeClassCount } from './trace.ts';

/** Of one size class; the errors are standard deviations, estimated from the sample too. */
export interface ClassEstimate {
  /** Exclusive, a power of two. */
  readonly below_bytes: number;
  readonly sampled: number;
  readonly allocations: number;
  readonly allocations_error: number;
  readonly bytes: number;
  readonly bytes_error: number;
}

/** The probability that a block of `size_bytes` is in the sample. */
export function drawnProbability({ mean_bytes, whole_bytes }: Sampling, size_bytes: number): number {
  return size_bytes >= whole_bytes ? 1 : -Math.expm1(-Math.max(1, size_bytes) / mean_bytes);
}

/** The sentence of the notes that says what a trace is a sample of; null where it is none. */
export function sampleNote({ notes }: Origin): string | null {
  return notes.find((note) => /^(A sample: |Filtered: .*a sample of )/.test(note)) ?? null;
}

/** For a part of a trace: the exact counts were of all of it. */
export function withoutCounts<Kind extends Origin>(origin: Kind): Kind {
  return origin.sampling === undefined ? origin : { ...origin, sampling: { ...origin.sampling, counts: [] } };
}

/** What is known exactly beside what the sample makes of it. */
export interface SampledClass extends ClassEstimate {
  /** Null where the trace is a part of what was counted. */
  readonly exact: SizeClassCount | null;
}

export class SampleEstimate {
  private readonly sampling: Sampling;
  private readonly classes = new Map<
    number,
    { sampled: number; blocks: number; variance: number; bytes: number; bytes_variance: number }
  >();

  constructor(sampling: Sampling) {
    this.sampling = sampling;
  }

  add({ op: kinds, size_bytes, length }: Chunk): void {
    for (let row = 0; row < length; row += 1) {
      if (kinds[row] === op.free) continue;
      const size = size_bytes[row];
      const probability = drawnProbability(this.sampling, size);
      const sums = this.classOf(size);
      const variance = (1 - probability) / probability ** 2;
      sums.sampled += 1;
      sums.blocks += 1 / probability;
      sums.variance += variance;
      sums.bytes += size / probability;
      sums.bytes_variance += variance * size ** 2;
    }
  }

  private estimates(): ClassEstimate[] {
    return [...this.classes]
      .sort(([a], [b]) => a - b)
      .map(([below_bytes, { sampled, blocks, variance, bytes, bytes_variance }]) => ({
        below_bytes,
        sampled,
        allocations: blocks,
        allocations_error: Math.sqrt(variance),
        bytes,
        bytes_error: Math.sqrt(bytes_variance),
      }));
  }

  /** Smallest first: classes that were counted or have something in the sample. */
  classesBesideCounts(): SampledClass[] {
    const { counts } = this.sampling;
    const estimated = this.estimates();
    const bounds = new Set([...counts, ...estimated].map(({ below_bytes }) => below_bytes));
    return [...bounds]
      .sort((a, b) => a - b)
      .map((below_bytes) => ({
        ...(estimated.find((each) => each.below_bytes === below_bytes) ?? nothingOf(below_bytes)),
        exact: counts.find((each) => each.below_bytes === below_bytes) ?? null,
      }));
  }

  private classOf(size_bytes: number) {
    const below_bytes = 2 ** (Math.floor(Math.log2(Math.max(1, size_bytes))) + 1);
    let sums = this.classes.get(below_bytes);
    if (sums === undefined) {
      sums = { sampled: 0, blocks: 0, variance: 0, bytes: 0, bytes_variance: 0 };
      this.classes.set(below_bytes, sums);
    }
    return sums;
  }
}

function nothingOf(below_bytes: number): ClassEstimate {
  return { below_bytes, sampled: 0, allocations: 0, allocations_error: 0, bytes: 0, bytes_error: 0 };
}
