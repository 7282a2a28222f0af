/**
 * A share of a trace: some of its call sites, with everything that becomes of the blocks they allocate. Policies keep
 * blocks by call site, so whole sites keep their reuse; single objects do not, and a prefix of the trace has only the
 * program's beginning. Where no sites are known, or too few for some of them to stand for all, objects are drawn instead,
 * evenly from every site, and `by` says so.
 *
 * The same seed gives the same sample, and a smaller share is part of a larger one.
 */
import seedrandom from 'seedrandom';
import { TraceBuilder } from './builder.ts';
import { withoutCounts } from './sample-estimate.ts';
import { Tally } from './tally.ts';
import { type Chunk, type Origin, op, type Statistics, type Trace } from './trace.ts';

const golden_ratio = (Math.sqrt(5) - 1) / 2;

export class SampledTrace implements Trace {
  readonly path: string;
  readonly origin: Origin;
  readonly by: 'site' | 'object';
  private readonly trace: Trace;
  private readonly share: number;
  private readonly seed: number;
  private counted: Statistics | undefined;

  /** By objects where `by` says so or no sites are known. Throws RangeError where `share` is not above 0 and at most 1. */
  constructor(trace: Trace, share: number, seed: number, by: 'site' | 'object' = 'site') {
    if (!(share > 0 && share <= 1)) throw new RangeError(`found a share of ${share}, wanted above 0 and at most 1`);
    this.trace = trace;
    this.share = share;
    this.seed = seed;
    this.by = by === 'site' && trace.origin.has_sites ? 'site' : 'object';
    this.path = `${trace.path} (${share.toPrecision(3)} of its ${this.by}s)`;
    const of = this.by === 'site' ? 'call sites' : 'objects of every call site';
    const note = `A sample: ${share.toPrecision(3)} of the ${of}, seed ${seed}.`;
    this.origin = { ...withoutCounts(trace.origin), process: null, notes: [...trace.origin.notes, note] };
  }

  get statistics(): Statistics {
    if (this.counted === undefined) {
      const tally = new Tally();
      for (const chunk of this.chunks()) tally.add(chunk);
      this.counted = tally.statistics();
    }
    return this.counted;
  }

  /** A block belongs to the site of its first allocation; a realloc elsewhere does not move it. */
  *chunks(): Generator<Chunk> {
    const builder = new TraceBuilder();
    const draws = this.drawing();
    const has_time = this.origin.has_time;
    for (const chunk of this.trace.chunks()) {
      for (let row = 0; row < chunk.length; row += 1) {
        const kind = chunk.op[row];
        const slot = chunk.object[row];
        const allocates = kind !== op.free && kind !== op.realloc;
        if (allocates ? !draws(chunk.site[row]) : !builder.isLive(slot)) continue;
        const details = {
          thread: chunk.thread[row],
          align: chunk.align[row],
          site: chunk.site[row],
          time_ns: has_time ? chunk.time_ns[row] : undefined,
          touched_pages: chunk.touched_pages[row],
        };
        if (allocates) builder.allocate(kind, slot, chunk.size_bytes[row], details);
        else if (kind === op.free) builder.free(slot, details);
        else builder.reallocate(slot, slot, chunk.size_bytes[row], details);
      }
      yield* builder.full();
    }
    yield* builder.finish();
  }

  /** Whether an allocation of a site is in the sample. */
  private drawing(): (site: number) => boolean {
    const phases = Array.from({ length: Math.max(1, this.origin.sites.length) }, (_, site) =>
      seedrandom.alea(`sample/${this.seed}/${this.origin.sites[site]?.hash ?? ''}`)(),
    );
    if (this.by === 'site') return (site) => phases[site] < this.share;
    // Steps of the golden ratio, modulo 1, spread evenly however many there are, and follow no period of the program's.
    return (site) => {
      const drawn = phases[site] < this.share;
      phases[site] = (phases[site] + golden_ratio) % 1;
      return drawn;
    };
  }
}
