/** hakmem's own policy as a target: tried in the simulator over folded traces, checked by the C core, run on the real kernel. */
import { nativeTrouble, replayAll } from '../../native/index.ts';
import {
  type Config,
  ConfigError,
  configOf,
  describeConfig,
  type Folded,
  floorOfSetup,
  foldTrace,
  type Mode,
  mode_names,
  type Outcome,
  type ParamName,
  param_names,
  refold,
  type Setup,
  shape,
  simulate,
} from '../../sim/index.ts';
import type { Trace } from '../../traces/index.ts';
import { SampledTrace } from '../../traces/sampled.ts';
import { CheckFailed, formatBytes } from '../command.ts';
import { crossCheck } from '../crosscheck.ts';
import type { LoadedPolicy } from '../policy/module.ts';
import { outcomeDifference } from '../sweep/agree.ts';
import { KeyMaker } from './hakmem-key.ts';
import type { Figures } from './objective.ts';
import { grid, type Point, type Space } from './space.ts';
import type { Measured, ModelSubject, Target, Unavoidable } from './target.ts';
import { unavoidable } from './unavoidable.ts';

/** Limits on what may lie about in all: a sample, which has less of everything, gets its part of them. */
const limits_in_all: readonly ParamName[] = ['kept_bytes_max', 'batch_flush_bytes', 'batch_blocks_max'];
/** The C core is asked for so many configurations at a time: between them signals are heard. */
const checked_at_once = 64;

export class HakmemTarget implements Target {
  readonly name = 'hakmem';
  readonly engine = 'sim';
  readonly checker = 'the C core';
  readonly space: Space;
  readonly baseline: Point;
  readonly starts: readonly Point[];
  readonly module: LoadedPolicy | null;
  private readonly mode: Mode;
  private readonly base: Config;
  private readonly setupOf: (trace: Trace) => Promise<Setup>;
  /** What the base says over its mode. */
  private readonly settings: Partial<Config>;
  private lowest_bytes: number | undefined;

  /** `setupOf` says what a replay of a trace depends on besides the configuration. */
  constructor(
    mode: Mode,
    base: Config,
    space: Space,
    setupOf: (trace: Trace) => Promise<Setup>,
    module: LoadedPolicy | null = null,
  ) {
    this.mode = mode;
    this.base = base;
    this.space = space;
    this.setupOf = setupOf;
    this.module = module;
    // A module learns under every mode.
    const lifecycle = module === null ? {} : { lifecycle: base.lifecycle };
    this.settings = { ...changes(base, configOf(mode)), ...lifecycle };
    this.baseline = space.map(({ name }) => (name === 'mode' ? mode_names.indexOf(mode) : base[name as ParamName]));
    this.starts = [this.baseline];
  }

  legal(point: Point): boolean {
    try {
      this.configAt(point);
      return true;
    } catch (error) {
      if (error instanceof ConfigError) return false;
      throw error;
    }
  }

  async subject(trace: Trace): Promise<ModelSubject> {
    const setup = await this.setupOf(trace);
    return new HakmemSubject(this, trace, setup, 1);
  }

  describe(point: Point): Readonly<Record<string, number | string | boolean>> {
    return { mode: this.modeAt(point), ...describeConfig(this.configAt(point)) };
  }

  settingText(point: Point): string {
    const mode = this.modeAt(point);
    const config = this.configAt(point);
    const words = describeConfig(config);
    const set = Object.keys(changes(config, configOf(mode))).map((name) => `${name}=${word(name, words[name])}`);
    return `HAKMEM_MODE=${mode}${set.length > 0 ? ` HAKMEM_SET=${set.join(',')}` : ''}`;
  }

  /** Throws ConfigError where no configuration is like this. */
  configAt(point: Point): Config {
    const named = this.space.map(({ name }, axis) => [name, point[axis]] as const).filter(([name]) => name !== 'mode');
    return configOf(this.modeAt(point), { ...this.settings, ...Object.fromEntries(named) });
  }

  /** The lowest size that the baseline or a point of the grid maps. */
  lowestFloor(): number {
    if (this.lowest_bytes === undefined) {
      let lowest = this.floorOf(this.base);
      for (const point of grid(this.space))
        if (this.legal(point)) lowest = Math.min(lowest, this.floorOf(this.configAt(point)));
      this.lowest_bytes = lowest;
    }
    return this.lowest_bytes;
  }

  floorOf(config: Config): number {
    return floorOfSetup({ config, ...(this.module === null ? {} : { policy: this.module.own }) });
  }

  private modeAt(point: Point): Mode {
    const axis = this.space.findIndex(({ name }) => name === 'mode');
    return axis < 0 ? this.mode : mode_names[point[axis]];
  }
}

class HakmemSubject implements ModelSubject {
  readonly trace: Trace;
  readonly live_share: number;
  private readonly target: HakmemTarget;
  private readonly setup: Setup;
  private readonly folded: Folded;
  /** Folded further, for configurations of a higher threshold. */
  private readonly folded_to = new Map<number, Folded>();
  private readonly keys: KeyMaker;

  constructor(target: HakmemTarget, trace: Trace, setup: Setup, live_share: number) {
    this.target = target;
    this.trace = trace;
    this.setup = setup;
    this.live_share = live_share;
    this.folded = foldTrace(trace.chunks(), target.lowestFloor());
    this.keys = new KeyMaker(this.folded, setup.policy?.arms_bytes ?? null);
  }

  key(point: Point): string {
    return this.keys.key(this.configAt(point));
  }

  rows(point: Point): number {
    return this.foldedFor(this.configAt(point)).rows;
  }

  get rows_most(): number {
    return this.folded.rows;
  }

  figures(point: Point): Figures {
    return figuresOf(this.outcome(point));
  }

  sample(share: number, seed: number): ModelSubject {
    const trace = new SampledTrace(this.trace, share, seed, 'object');
    return this.part(trace);
  }

  part(trace: Trace): ModelSubject {
    const whole_bytes = this.trace.statistics.peak_live_bytes;
    const live_share = whole_bytes > 0 ? trace.statistics.peak_live_bytes / whole_bytes : 1;
    return new HakmemSubject(this.target, trace, this.setup, live_share);
  }

  unavoidable(): Unavoidable {
    return unavoidable(this.trace.chunks(), this.setup, this.target.lowestFloor());
  }

  async check(points: readonly Point[], progress: (done: number) => void): Promise<number> {
    for (let from = 0; from < points.length; from += checked_at_once) {
      const some = points.slice(from, from + checked_at_once);
      const setups = some.map((point) => ({ ...this.setup, config: this.configAt(point) }));
      const native = await replayAll(() => this.trace.chunks(), setups);
      for (const [at, point] of some.entries()) await this.compare(point, this.outcome(point), native[at]);
      progress(Math.min(from + checked_at_once, points.length));
    }
    return points.length;
  }

  async measure(point: Point): Promise<Measured> {
    const setup = { ...this.setup, config: this.configAt(point) };
    const { sim, native, check } = await crossCheck(this.trace, setup, 'kernel');
    const result = native ?? sim;
    const differs = check.first_difference;
    return {
      ...figuresOf(result),
      level: check.level,
      verdict: check.verdict,
      reason:
        check.reason ??
        (differs === null
          ? null
          : `event ${differs.event}: ${differs.field} is ${differs.sim} in the simulator and ${differs.native} for real`),
    };
  }

  private async compare(point: Point, sim: Outcome, native: Outcome): Promise<void> {
    const coarse = outcomeDifference(sim, native);
    if (coarse === null) return;
    const setup = { ...this.setup, config: this.configAt(point) };
    const exact = (await crossCheck(this.trace, setup, 'decisions')).check.first_difference;
    const place = exact === null ? '' : `event ${exact.event}, `;
    const { field, sim: a, native: b } = exact ?? coarse;
    throw new CheckFailed(
      `${this.trace.path}: simulator and C core differ under ${this.target.settingText(point)}: ` +
        `${place}${field} is ${a} and ${b}`,
    );
  }

  private outcome(point: Point): Outcome {
    const config = this.configAt(point);
    return simulate(this.foldedFor(config), { ...this.setup, config });
  }

  /** A sample's part of the limits in all; never 0 where the whole has some. */
  private configAt(point: Point): Config {
    const config = this.target.configAt(point);
    if (this.live_share === 1) return config;
    const scaled = limits_in_all.map((name) => [name, Math.ceil(config[name] * this.live_share)]);
    return { ...config, ...Object.fromEntries(scaled) };
  }

  private foldedFor(config: Config): Folded {
    const floor_bytes = this.target.floorOf(config);
    const known = this.folded_to.get(floor_bytes);
    if (known !== undefined) return known;
    const folded = refold(this.folded, floor_bytes);
    this.folded_to.set(floor_bytes, folded);
    return folded;
  }
}

/** Why nothing can be checked or measured here; null where it can. */
export const hakmemTrouble = nativeTrouble;

function figuresOf({ time_ns, resident_bytes, heap, faults, score }: Outcome): Figures {
  return {
    time_ns: time_ns.total,
    memory_bytes: resident_bytes.peak + heap.resident_peak_bytes,
    faults: faults + heap.faults,
    score: score.total,
    score_of_time: score.total > 0 ? shape.score_cpu * score.cpu : 0,
  };
}

/** Parameters in which a configuration is not like another. */
function changes(config: Config, from: Config): Partial<Config> {
  return Object.fromEntries(
    param_names.filter((name) => config[name] !== from[name]).map((name) => [name, config[name]]),
  );
}

/** As `--set` reads it: sizes in units where they are whole ones. */
function word(name: string, value: number | string | boolean): string {
  if (typeof value !== 'number' || !name.includes('bytes')) return String(value);
  const text = formatBytes(value).replace(' ', '');
  return text.includes('.') || value < 1024 ? String(value) : text;
}
