/** Replays of all points, and prices of the same minutes: in each round a calibration, then every point once, in drawn order. */
import seedrandom from 'seedrandom';
import { runReplayer } from '../../../native/replayer.ts';
import type { Pass } from '../../calibrate/combine.ts';
import { calibrationPass } from '../../calibrate/pass.ts';
import { tunablesEnv } from '../../peers/tunables.ts';
import { cachedEvent, cachedTraces } from '../../time-check/cached-event.ts';
import type { Knob } from './plan.ts';
import type { Subject } from './subjects.ts';

export interface Point {
  readonly subject: Subject;
  readonly knob: Knob;
}

/** By round. */
export interface Measured {
  readonly cpu_ns: readonly number[];
  readonly resident_peak_bytes: readonly number[];
  readonly faults: readonly number[];
}

export interface Measurements {
  readonly points: readonly Measured[];
  readonly passes: Pass[];
  /** An event that the thread's cache serves, replayed with nothing touched: the library's part and the replayer's. */
  readonly cached_event_ns: readonly number[];
}

export interface Effort {
  readonly rounds: number;
  readonly seed: number;
  /** Of a calibration. */
  readonly quick: boolean;
  readonly folder: string;
  readonly progress: (done: number, total: number) => void;
}

export async function measurePoints(points: readonly Point[], effort: Effort): Promise<Measurements> {
  const { rounds, seed, quick, folder, progress } = effort;
  const random = seedrandom.alea(`accuracy/${seed}`);
  const measured = points.map(() => ({
    cpu_ns: [] as number[],
    resident_peak_bytes: [] as number[],
    faults: [] as number[],
  }));
  const cached = cachedTraces(folder);
  const cached_ns: number[] = [];
  const passes: Pass[] = [];
  for (let round = 0; round < rounds; round += 1) {
    passes.push(await calibrationPass(quick));
    for (const path of cached) cached_ns.push(await cachedEvent(path, { allocator: 'glibc', env: {} }));
    for (const [done, at] of shuffled(points.length, random).entries()) {
      const { subject, knob } = points[at];
      const run = await runReplayer(subject.path, {
        allocator: 'glibc',
        env: tunablesEnv(knob.settings),
        touch: subject.touch,
        bare: true,
      });
      const [{ cpu_ns, resident_peak_bytes, faults }] = run.rounds;
      measured[at].cpu_ns.push(cpu_ns);
      measured[at].resident_peak_bytes.push(resident_peak_bytes);
      measured[at].faults.push(faults);
      progress(round * points.length + done + 1, rounds * points.length);
    }
  }
  passes.push(await calibrationPass(quick));
  return { points: measured, passes, cached_event_ns: cached_ns };
}

function shuffled(count: number, random: () => number): number[] {
  const order = Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [order[at], order[other]] = [order[other], order[at]];
  }
  return order;
}
