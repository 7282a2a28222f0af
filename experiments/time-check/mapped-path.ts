/**
 * `--check time` of hakmem's own policy: the mapped path on the real kernel. Each of several fresh processes replays with its
 * calls and touches, another without: the difference is what they take.
 */
import { type BareKernel, type BareRun, replayBare } from '../../native/index.ts';
import type { Result, Setup } from '../../sim/index.ts';
import type { Trace } from '../../traces/index.ts';
import type { PriceList } from '../calibrate/price-file.ts';
import { withHakFile } from '../crosscheck.ts';
import { faultsAlike, outcomeOf, slowTouches, type TimeOutcome, undisturbed } from './agreement.ts';
import { predictMapped } from './prediction.ts';

const compares = 'calls and touches of the mapped path';

/** Of a trace whose counts agreed with those of `sim`. Rejects as the native half does. */
export async function timeMappedPath(trace: Trace, setup: Setup, list: PriceList, sim: Result): Promise<TimeOutcome> {
  const predicted = predictMapped(trace, setup, list);
  if (sim.mapped_bytes.peak === 0)
    return { time: null, verdict: 'agree', reason: 'no time to check: nothing was mapped' };
  return withHakFile(trace, async (path) => {
    const { runs, outcome } = await undisturbed(
      (turn) => runPair(path, setup, turn % 2 === 0),
      (pair) => disturbance(sim, pair),
    );
    if (outcome !== null) return outcome;
    const samples_ns = runs.map(({ bare, idle }) => bare.cpu_ns - idle.cpu_ns);
    return outcomeOf(compares, predicted, samples_ns, setup.seed);
  });
}

interface Pair {
  readonly bare: BareRun;
  readonly idle: BareRun;
}

/** Who goes first takes turns, for the machine's sake. */
async function runPair(path: string, setup: Setup, idle_first: boolean): Promise<Pair> {
  const order: readonly BareKernel[] = idle_first ? ['idle', 'bare'] : ['bare', 'idle'];
  const first = await replayBare(path, setup, order[0]);
  const second = await replayBare(path, setup, order[1]);
  return idle_first ? { idle: first, bare: second } : { bare: first, idle: second };
}

/** Why the two do not tell what the calls and touches take; null where they do. */
function disturbance(sim: Result, { bare, idle }: Pair): string | null {
  const faults = bare.faults - idle.faults;
  if (!faultsAlike(sim.faults, faults)) return `${faults} first touches where ${sim.faults} are predicted`;
  if (bare.slow_touches > 0) return slowTouches(bare.slow_touches);
  return bare.decision_digest === sim.decision_digest ? null : 'decisions differ';
}
