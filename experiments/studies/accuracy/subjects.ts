/** The planned subjects as `.hak` files: scenarios, and the first events of recorded samples. */
import { basename, join } from 'node:path';
import { boundaries_bytes, type TouchModel } from '../../../sim/index.ts';
import { type Chunk, type HakTrace, open, SyntheticTrace, type Trace, writeHak } from '../../../traces/index.ts';
import { chooseTouch } from '../../setup.ts';
import type { PlannedSubject } from './plan.ts';

export interface Subject {
  readonly planned: PlannedSubject;
  readonly name: string;
  readonly path: string;
  readonly trace: HakTrace;
  readonly touch: TouchModel;
}

/** Null where a sample of that name is not there. */
export function subjectOf(
  planned: PlannedSubject,
  samples: readonly Trace[],
  folder: string,
  seed: number,
): Subject | null {
  const { name, events } = planned;
  const sample = samples.find(({ path }) => basename(path, '.hak') === name);
  if (planned.recorded && sample === undefined) return null;
  const whole = sample ?? new SyntheticTrace(name, { seed, events, boundaries_bytes });
  const path = join(folder, `${name}.hak`);
  const trace = written(path, whole, events);
  return { planned, name, path, trace, touch: chooseTouch(trace, undefined) };
}

/** The first `events` of `trace` as a file. */
export function written(path: string, trace: Trace, events = Number.POSITIVE_INFINITY): HakTrace {
  const { has_time, has_sites } = trace.origin;
  const touch = trace.statistics.large_blocks_touched > 0;
  writeHak(path, beginning(trace.chunks(), events), { time: has_time, sites: has_sites, touch }, () => trace.origin);
  return open(path) as HakTrace;
}

function* beginning(chunks: Iterable<Chunk>, events: number): Generator<Chunk> {
  for (const chunk of chunks) {
    if (chunk.first_event + chunk.length <= events) {
      yield chunk;
      continue;
    }
    if (chunk.first_event < events) yield { ...chunk, length: events - chunk.first_event };
    return;
  }
}
