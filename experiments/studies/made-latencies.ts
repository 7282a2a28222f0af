/** The real lifecycle on made latencies: how long its rules take to freeze where nothing ever changes, and what wakes them. */
import seedrandom from 'seedrandom';
import { Lifecycle, lifecycle } from '../../sim/decide/lifecycle.ts';
import { type Config, configOf, type Learner } from '../../sim/index.ts';
import { automatic } from './learned.ts';

const size_bytes = 2 ** 21;

/** Stationary streams of latencies in nanoseconds. */
export const streams: Readonly<Record<string, (random: () => number) => number>> = {
  exponential: (random) => -10_000 * Math.log(1 - random()),
  'lognormal, sigma 1': (random) =>
    10_000 * Math.exp(Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())),
  '1 % misses': (random) => (random() < 0.01 ? 93_000 : 100),
  '5 % misses': (random) => (random() < 0.05 ? 93_000 : 100),
};

export interface Stay {
  /** Windows until FROZEN, as many as it was given where it never came. */
  readonly windows: number;
  readonly froze: boolean;
  /** Times that it left FROZEN in the windows after. */
  readonly woken: number;
}

/**
 * Two strategies, the first always cheaper by 5 % on the same window: there is nothing left to learn, and nothing changes.
 * Every window has `samples` latencies.
 */
export function stay(
  stream: string,
  settings: Partial<Config>,
  samples: number,
  windows_max: number,
  frozen_windows: number,
  seed: number,
): Stay {
  const config = configOf('LEARNING', { ...automatic, freeze_after_windows: 0, ...settings });
  const cycle = new Lifecycle(config, 2);
  const random = seedrandom.alea(`latencies/${stream}/${seed}`);
  const draw = streams[stream];
  const costs = new Float64Array(2);
  let windows = 0;
  let frozen_at = -1;
  while (frozen_at < 0 ? windows < windows_max : windows < frozen_at + frozen_windows) {
    for (let sample = 0; sample < samples; sample += 1) cycle.add(size_bytes, Math.round(draw(random)), false);
    const noise = 1 + 0.15 * (random() - 0.5);
    costs[0] = Math.round(1e7 * noise);
    costs[1] = Math.round(1.05e7 * noise * (1 + 0.02 * (random() - 0.5)));
    cycle.close({ index: windows, event: windows * samples, acted: 0, costs }, first, costs[0]);
    windows += 1;
    if (frozen_at < 0 && cycle.state === lifecycle.frozen) frozen_at = windows;
  }
  return { windows: frozen_at < 0 ? windows : frozen_at, froze: frozen_at >= 0, woken: cycle.canaries };
}

/** Holds the first strategy best, whatever it is told. */
const first: Learner = {
  learn() {},
  choose: () => 0,
  best: () => 0,
  reset() {},
  figures: { matches: 0, explorations: 0, rating_writes: 0, draws: 0 },
};
