/** How much a run's time depends on which order its threads happened to run in: many legal orders, each served afresh. */
import type { Chunk } from '../../traces/trace.ts';
import { Orders } from './perturbed.ts';
import { type TimeSetup, timed } from './timed.ts';
import type { Work } from './work.ts';

export interface Perturbation {
  readonly runs: number;
  readonly seed: number;
  /** The time between two events of a thread is drawn within this much of the recorded one, evenly. */
  readonly jitter_permille: number;
}

export interface PerturbedResult extends Perturbation {
  /** In the order of the runs, of which the first has no jitter: the recorded order. */
  readonly run_ns: readonly number[];
  readonly quantiles_ns: {
    readonly min: number;
    readonly p5: number;
    readonly p50: number;
    readonly p95: number;
    readonly max: number;
  };
}

/** What is decided depends on the order, so each order gets someone new who serves it. */
export function perturb(
  chunks: Iterable<Chunk>,
  makeWork: () => Work,
  time: TimeSetup,
  { runs, seed, jitter_permille }: Perturbation,
): PerturbedResult {
  const orders = new Orders(chunks);
  const run_ns = Array.from(
    { length: runs },
    (_, run) => timed(orders.perturbed(run === 0 ? 0 : jitter_permille, seed + run), makeWork, time).run_ns,
  );
  const sorted = [...run_ns].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  return {
    runs,
    seed,
    jitter_permille,
    run_ns,
    quantiles_ns: { min: at(0), p5: at(0.05), p50: at(0.5), p95: at(0.95), max: at(1) },
  };
}
