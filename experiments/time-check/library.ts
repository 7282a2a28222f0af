/**
 * `--check time` of an allocator that people run: hak-replayer with the library itself, bare, in several fresh processes, and
 * beside each what it takes for an event that the thread's cache serves.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ReplayerRound, runReplayer } from '../../native/replayer.ts';
import type { TouchModel } from '../../sim/index.ts';
import type { TimedPeer } from '../../sim/time/work.ts';
import type { HakTrace } from '../../traces/index.ts';
import type { PriceList } from '../calibrate/price-file.ts';
import { faultsAlike, outcomeOf, slowTouches, type TimeOutcome, timed_runs, undisturbed } from './agreement.ts';
import { cachedEvent, cachedTraces, eventOf, type ReplayedLibrary } from './cached-event.ts';
import { type Predicted, predict } from './prediction.ts';

const compares = 'the whole replay on the library';

export interface LibraryReplay {
  readonly trace: HakTrace;
  readonly touch: TouchModel;
  readonly library: ReplayedLibrary;
  /** The model, in a replay in which every event takes so long. */
  replayed(event_ns: number): TimedPeer;
  /** By how much the model's first touches may differ from the library's. */
  readonly tolerance: number;
  readonly list: PriceList;
  readonly seed: number;
}

/** Of a trace whose counts agreed. Rejects as runReplayer does. */
export async function timeLibrary(replay: LibraryReplay): Promise<TimeOutcome> {
  const { trace, touch, library, list, tolerance, seed } = replay;
  const predicted = predictReplay(replay, eventOf(await cachedEvents(library), list));
  const { runs, outcome } = await undisturbed(
    async () => {
      const { rounds } = await runReplayer(trace.path, { ...library, touch, bare: true });
      return rounds[0];
    },
    (round) => disturbance(predicted, round, tolerance),
  );
  if (outcome !== null) return outcome;
  const samples_ns = runs.map(({ cpu_ns }) => cpu_ns);
  return outcomeOf(compares, predicted, samples_ns, seed);
}

async function cachedEvents(library: ReplayedLibrary): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-time-'));
  try {
    const cached_ns: number[] = [];
    const paths = cachedTraces(folder);
    for (let run = 0; run < timed_runs; run += 1)
      for (const path of paths) cached_ns.push(await cachedEvent(path, library));
    return cached_ns;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Some allocators go by the clock: theirs passes as fast as a first prediction says. */
function predictReplay({ trace, touch, replayed, list }: LibraryReplay, event_ns: number): Predicted {
  const at = (clock_ns: number): Predicted =>
    predict({ trace, touch, makePeer: () => replayed(clock_ns) }, { list, event_ns });
  return at(Math.max(1, Math.round(at(1).cpu_ns / trace.statistics.events)));
}

/** Why the run is not the one that was predicted; null where it is. */
function disturbance({ faults }: Predicted, round: ReplayerRound, tolerance: number): string | null {
  if (!faultsAlike(faults, round.faults, tolerance))
    return `${round.faults} first touches where ${faults} are predicted`;
  return round.slow_touches > 0 ? slowTouches(round.slow_touches) : null;
}
