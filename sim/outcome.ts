/** From the state of a replay to what it came to. */
import type { Allocator } from './decide/allocator.ts';
import type { Learning } from './decide/learning.ts';
import { lifecycle } from './decide/lifecycle.ts';
import { lifecycles, selectArm } from './decide/strategy.ts';
import type { Histogram } from './kernel/histogram.ts';
import type { PageModel } from './kernel/pages.ts';
import type { Outcome, Result } from './result.ts';
import type { Baseline } from './score.ts';
import { type Config, enums, type Prices, shape } from './spec.ts';

/** Residency over the checkpoints. */
export interface Residency {
  readonly mean_bytes: number;
  readonly peak_bytes: number;
  readonly areas_peak: number;
}

export function outcomeOf(
  setup: { readonly config: Config; readonly prices: Prices },
  events: number,
  allocator: Allocator,
  kernel: PageModel,
  latency: Histogram,
  baseline: Baseline,
  residency: Residency,
): Outcome {
  const { heap, cache, batch, kept } = allocator;
  const fault_ns = allocator.fault_ns + heapFaultNs(allocator, setup.prices);
  const total_ns = allocator.allocate_ns + allocator.free_ns + fault_ns;
  const memory_bytes = residency.mean_bytes + heap.resident_peak_bytes;
  return {
    events,
    decision_digest: allocator.digest.hex(),
    syscalls: { ...kernel.syscalls },
    faults: kernel.faults,
    huge_faults: kernel.huge_faults,
    resident_bytes: {
      mean: residency.mean_bytes,
      peak: residency.peak_bytes,
      end: kernel.resident_pages * shape.page_bytes,
    },
    mapped_bytes: {
      peak: kernel.mapped_pages_peak * shape.page_bytes,
      end: kernel.mapped_pages * shape.page_bytes,
    },
    areas: { peak: residency.areas_peak, end: kernel.areas.count },
    heap: { faults: heap.faults, resident_peak_bytes: heap.resident_peak_bytes },
    bigcache: {
      hits: cache.hits,
      misses: cache.misses,
      evictions: cache.evictions,
      undersized: cache.undersized,
      probes: cache.probes,
    },
    batch: {
      added: batch.added,
      withdrawn: batch.withdrawn,
      flushes: batch.flushes,
      bytes_flushed: batch.bytes_flushed,
      pending: batch.waiting.length,
    },
    thermal: {
      hot: allocator.thermal_frees[0],
      warm: allocator.thermal_frees[1],
      cold: allocator.thermal_frees[2],
    },
    kept: { blocks: kept.count, bytes: kept.bytes, reused: allocator.kept_reused },
    learning: learningOf(setup.config, allocator.learning),
    time_ns: {
      total: total_ns,
      allocate: allocator.allocate_ns,
      free: allocator.free_ns,
      fault: fault_ns,
      wait: 0,
    },
    latency_ns: {
      p50: latency.quantile(5000),
      p95: latency.quantile(9500),
      p99: latency.quantile(9900),
      p999: latency.quantile(9990),
      max: latency.max,
    },
    score: baseline.score(setup.prices, total_ns, kernel.faults + heap.faults, memory_bytes),
    violation: allocator.violation === 0 ? null : { event: events - 1, rule: enums.violation[allocator.violation] },
  };
}

/** First touches of what the heap grew by; which event made it grow is not told, so latencies leave them out. */
export function heapFaultNs({ heap }: Allocator, prices: Prices): number {
  return heap.faults * prices.fault_ns;
}

/** What was learned, and how often the lifecycle moved. */
export function learningOf(config: Config, learning: Learning | null): Result['learning'] {
  const counted = learning?.learner.figures;
  const cycle = learning?.lifecycle;
  const fixed = config.lifecycle === lifecycles.frozen ? lifecycle.frozen : lifecycle.off;
  return {
    state: enums.lifecycle_state[cycle?.state ?? fixed],
    ratings: learning?.ratings() ?? Array.from({ length: shape.strategies }, () => shape.elo_start),
    matches: counted?.matches ?? 0,
    explorations: counted?.explorations ?? 0,
    windows: learning?.windows ?? 0,
    p99_ns: cycle === undefined || learning!.windows === 0 ? null : cycle.p99_ns,
    arm: learning?.arm ?? selectArm(config),
    rating_writes: counted?.rating_writes ?? 0,
    draws: counted?.draws ?? 0,
    freezes: cycle?.freezes ?? 0,
    canaries: cycle?.canaries ?? 0,
    promotions: cycle?.promotions ?? 0,
    rollbacks: cycle?.rollbacks ?? 0,
    relearns: cycle?.relearns ?? 0,
  };
}
