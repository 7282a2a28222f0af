/**
 * Which configurations a trace cannot tell apart. A boundary is a comparison with a size: two values of it with no size of
 * the trace between them decide alike; and what a switched-off part would do changes nothing.
 */
import { bisectLeft } from 'd3-array';
import {
  type Config,
  type Folded,
  floorOf,
  learns,
  learnsSites,
  type ParamName,
  param_names,
  params,
  rowsIn,
  shape,
  thresholds,
} from '../../sim/index.ts';
import { pagesOf } from '../../sim/kernel/touch.ts';
import { op } from '../../traces/index.ts';

const auto = params.thp_policy.words!.indexOf('auto');
const off = params.thp_policy.words!.indexOf('off');
const compared_with_sizes: readonly ParamName[] = [
  'bigcache_from_bytes',
  'warm_from_bytes',
  'cold_from_bytes',
  'thp_from_bytes',
];
/** What decides the threshold: only the threshold itself counts. */
const of_threshold: readonly ParamName[] = ['mmap_threshold_bytes', 'strategy_set', 'strategy'];

export class KeyMaker {
  /** Every number that a boundary is compared with: sizes asked for, whole pages of them, and their classes. */
  private readonly sizes: Float64Array;
  private readonly largest_bytes: number;
  private readonly own_arms_bytes: readonly number[] | null;

  /** `own_arms_bytes` are those of a policy module. */
  constructor(folded: Folded, own_arms_bytes: readonly number[] | null = null) {
    this.own_arms_bytes = own_arms_bytes;
    const sizes = new Set<number>();
    let largest_bytes = 0;
    for (const [at, columns] of folded.segments.entries())
      for (let row = 0; row < rowsIn(folded, at); row += 1) {
        if (columns.op[row] === op.free) continue;
        const size_bytes = columns.size_bytes[row];
        largest_bytes = Math.max(largest_bytes, size_bytes);
        sizes.add(size_bytes);
        sizes.add(pagesOf(size_bytes) * shape.page_bytes);
      }
    for (const size_bytes of shape.bigcache_class_bytes) sizes.add(size_bytes);
    this.sizes = Float64Array.from(sizes).sort();
    this.largest_bytes = largest_bytes;
  }

  /** Equal for configurations whose figures are equal on this trace. */
  key(config: Config): string {
    const mapped_from = this.thresholdsOf(config);
    if (mapped_from[0] > this.largest_bytes) return 'heap only';
    const ranks = mapped_from.map((bytes) => this.rank(bytes)).join(',');
    const values = param_names
      .filter((name) => !of_threshold.includes(name) && this.matters(name, config))
      .map((name) => `${name}=${compared_with_sizes.includes(name) ? this.rank(config[name]) : config[name]}`);
    return [`threshold ${ranks}`, ...values].join(' ');
  }

  /** Those that may be in force. */
  private thresholdsOf(config: Config): readonly number[] {
    if (!learns(config)) return [floorOf(config)];
    return this.own_arms_bytes ?? (learnsSites(config) ? shape.ucb1_step_bytes : thresholds(config));
  }

  private matters(name: ParamName, config: Config): boolean {
    if (name.startsWith('bigcache_')) return config.bigcache === 1 || config.legacy_undersized === 1;
    if (name === 'thp_from_bytes') return config.thp_policy === auto;
    if (name === 'thp_advice') return config.thp_policy === off;
    const frees_by_size = ['warm_from_bytes', 'cold_from_bytes', 'kept_bytes_max', 'batch'];
    if (frees_by_size.includes(name)) return config.thermal === 1;
    if (name.startsWith('batch_'))
      return config.thermal === 1 && config.batch === 1 && config.cold_from_bytes <= this.largest_bytes;
    return true;
  }

  /** Sizes below the boundary. */
  private rank(boundary_bytes: number): number {
    return bisectLeft(this.sizes, boundary_bytes);
  }
}
