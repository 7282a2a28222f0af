/** Where a synthetic scenario puts its events, and the seeded streams that it draws from. */
import seedrandom from 'seedrandom';
import type { TraceBuilder } from './builder.ts';
import { large_bytes, op } from './trace.ts';

export interface GenerateOptions {
  readonly seed: number;
  readonly events?: number | undefined;
  /** Of a thousand blocks, how many have 512 KiB or more; a scenario's own share where it is not given. */
  readonly large_permille?: number | undefined;
  /** Sizes at which some policy changes its answer: what `edges` straddles. */
  readonly boundaries_bytes: readonly number[];
}

/** What comes after the last event falls away: a scenario need not count. */
export class Stage {
  readonly events: number;
  readonly boundaries_bytes: readonly number[];
  private readonly builder: TraceBuilder;
  private readonly sizes: () => number;
  private readonly choices: () => number;
  private readonly large_permille: number | undefined;

  constructor(name: string, events: number, options: GenerateOptions, builder: TraceBuilder) {
    this.events = events;
    this.builder = builder;
    this.boundaries_bytes = options.boundaries_bytes;
    this.large_permille = options.large_permille;
    // One stream for each purpose: a scenario that chooses more often still has the same sizes.
    this.sizes = seedrandom.alea(`${name}/sizes/${options.seed}`);
    this.choices = seedrandom.alea(`${name}/choices/${options.seed}`);
  }

  get left(): number {
    return this.events - this.builder.events;
  }

  get progress(): number {
    return this.builder.events / this.events;
  }

  /** A whole number in [from, to], from the stream of sizes. */
  uniform(from: number, to: number): number {
    return from + Math.floor(this.sizes() * (to - from + 1));
  }

  /** A whole number in [0, of), from the stream of choices. */
  choose(of: number): number {
    return Math.floor(this.choices() * of);
  }

  /** A size from `draw`, but large as often as was asked for. */
  sizeFrom(draw: (stage: Stage) => number): number {
    if (this.large_permille === undefined) return draw(this);
    const large = this.choose(1000) < this.large_permille;
    for (let tries = 0; tries < 64; tries += 1) {
      const size_bytes = draw(this);
      if (size_bytes >= large_bytes === large) return size_bytes;
    }
    // The scenario has none of that kind.
    return large ? churnSize(this) : this.uniform(16, 64 * 1024);
  }

  allocate(block: number, size_bytes: number, thread = 0, site = 0, kind: number = op.malloc, align = 16): void {
    if (this.left > 0) this.builder.allocate(kind, block, size_bytes, { thread, site, align });
  }

  reallocate(block: number, size_bytes: number, thread = 0, site = 0): void {
    if (this.left > 0) this.builder.reallocate(block, block, size_bytes, { thread, site });
  }

  free(block: number, thread = 0): void {
    if (this.left > 0) this.builder.free(block, { thread });
  }
}

/** Each octave alike: close to log-uniform, and without a logarithm, whose last bit differs between machines. */
export function churnSize(stage: Stage): number {
  const octave_bytes = large_bytes * 2 ** stage.uniform(0, 3);
  return stage.uniform(octave_bytes, octave_bytes * 2 - 1);
}
