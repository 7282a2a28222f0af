/** What targets share whose settings are tried in the model of an allocator that people run. */
import { type Setup, shape } from '../../sim/index.ts';
import type { PeerResult } from '../../sim/peers/replay.ts';
import type { Score } from '../../sim/score.ts';
import type { Trace } from '../../traces/index.ts';
import type { Figures } from './objective.ts';
import type { Unavoidable } from './target.ts';
import { unavoidable } from './unavoidable.ts';

/** Blocks from here on count as used only where the trace says so: below, the heap touches them with their neighbours. */
const floor_bytes = 128 * 1024;

export function figuresOf({ time_ns, resident_bytes, faults, score }: PeerResult): Figures {
  return figuresWith(time_ns.total, resident_bytes.peak, faults, score);
}

export function figuresWith(time_ns: number, memory_bytes: number, faults: number, score: Score): Figures {
  return {
    time_ns,
    memory_bytes,
    faults,
    score: score.total,
    score_of_time: score.total > 0 ? shape.score_cpu * score.cpu : 0,
  };
}

/** None of them asks for huge pages. */
export function peerUnavoidable(trace: Trace, setup: Setup): Unavoidable {
  const profile = { ...setup.profile, thp_kernel: 'never' } as const;
  return unavoidable(trace.chunks(), { ...setup, profile }, floor_bytes);
}
