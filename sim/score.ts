/**
 * The composite score, 40 % CPU + 30 % faults + 30 % memory, against a fixed baseline of the trace: a program that maps
 * every large block, touches it whole and unmaps it. A fixed baseline makes scores a total order; normalising by the
 * larger of a pair does not (1.4 % of triples came out cyclic when that was tried).
 */
import { type Chunk, op } from '../traces/trace.ts';
import { pagesOf } from './kernel/touch.ts';
import { type Prices, shape } from './spec.ts';

const large_from_bytes = shape.strategy_geometric_bytes[0];

export interface Score {
  readonly total: number;
  readonly cpu: number;
  readonly faults: number;
  readonly memory: number;
}

/** Of one trace; whatever the configuration and the prices. */
export class Baseline {
  private blocks = 0;
  private faults = 0;
  private live_bytes = 0;
  private peak_bytes = 0;
  private size_of = new Float64Array(1024);

  /** Rows of a trace, or those of them that matter here: of every object that ever is large. */
  add(chunk: Pick<Chunk, 'op' | 'object' | 'size_bytes' | 'length'>): void {
    const { op: kinds, object, size_bytes, length } = chunk;
    for (let row = 0; row < length; row += 1) {
      const slot = object[row];
      if (slot >= this.size_of.length) this.grow(slot + 1);
      if (this.size_of[slot] > 0) {
        this.live_bytes -= this.size_of[slot];
        this.size_of[slot] = 0;
      }
      if (kinds[row] === op.free || size_bytes[row] < large_from_bytes) continue;
      const pages = pagesOf(size_bytes[row]);
      this.size_of[slot] = size_bytes[row];
      this.live_bytes += size_bytes[row];
      if (this.live_bytes > this.peak_bytes) this.peak_bytes = this.live_bytes;
      this.faults += pages;
      this.blocks += 1;
    }
  }

  /** Parts whose baseline is zero are dropped and the weights of the others grow to 1; without any, 0. */
  score(prices: Prices, cpu_ns: number, faults: number, memory_bytes: number): Score {
    const { mmap_ns, munmap_ns, fault_ns, release_page_ns } = prices;
    const baseline_ns = this.blocks * (mmap_ns + munmap_ns) + this.faults * (fault_ns + release_page_ns);
    const parts = [
      { weight: shape.score_cpu, share: cpu_ns / baseline_ns, known: baseline_ns > 0 },
      { weight: shape.score_faults, share: faults / this.faults, known: this.faults > 0 },
      { weight: shape.score_memory, share: memory_bytes / this.peak_bytes, known: this.peak_bytes > 0 },
    ];
    const known = parts.filter((part) => part.known);
    const weights = known.reduce((sum, part) => sum + part.weight, 0);
    const total = known.reduce((sum, part) => sum + part.weight * part.share, 0);
    const [cpu, share_faults, memory] = parts.map((part) => (part.known ? part.share : 0));
    return { total: weights > 0 ? total / weights : 0, cpu, faults: share_faults, memory };
  }

  private grow(objects: number): void {
    const wider = new Float64Array(Math.max(objects, this.size_of.length * 2));
    wider.set(this.size_of);
    this.size_of = wider;
  }
}
