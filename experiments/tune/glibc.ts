/**
 * glibc as a target: settings are tried in the model of it, or by replaying the trace against the library itself, and what
 * is found is run on the library either way.
 */
import { median } from 'd3-array';
import { type ReplayerRound, replayerTrouble, runReplayer } from '../../native/replayer.ts';
import type { Setup } from '../../sim/index.ts';
import { touchIndex } from '../../sim/kernel/touch.ts';
import { tunablesText } from '../../sim/peers/glibc/settings.ts';
import { Glibc, type GlibcMachine } from '../../sim/peers/glibc.ts';
import { type PeerResult, replayPeer } from '../../sim/peers/replay.ts';
import { Baseline } from '../../sim/score.ts';
import type { HakTrace, Trace } from '../../traces/index.ts';
import { CheckFailed } from '../command.ts';
import { glibcMachine, runningGlibc } from '../peers/glibc-machine.ts';
import { tunablesEnv } from '../peers/tunables.ts';
import { GlibcKeys } from './glibc-key.ts';
import { dynamic, glibc_baseline, glibc_starts, glibcSettingsAt } from './glibc-space.ts';
import type { Figures } from './objective.ts';
import { figuresOf, figuresWith, peerUnavoidable } from './peer-figures.ts';
import type { Point, Space } from './space.ts';
import type { Engine, Measured, Subject, Target, Unavoidable } from './target.ts';

/** Settings that are compared with the library, count by count: the cheapest, for each is a replay. */
const checked_at_most = 4;
/** Faults of model and library may differ by this much before the model is not to be believed. */
const faults_tolerance = 0.01;
/** The kernel counts resident pages in batches for each processor. */
const resident_tolerance_bytes = 1 << 20;
/** Replays that the engine takes the median time of. */
const engine_rounds = 3;

export class GlibcTarget implements Target {
  readonly name = 'glibc';
  readonly baseline = glibc_baseline;
  readonly checker = 'the library';
  readonly engine: Engine;
  readonly space: Space;
  readonly starts: readonly Point[];
  private readonly setupOf: (trace: Trace) => Promise<Setup>;
  private readonly fileOf: (trace: Trace) => HakTrace;

  /** `fileOf` gives the trace as a `.hak` file, which the replayer reads. */
  constructor(
    engine: Engine,
    space: Space,
    setupOf: (trace: Trace) => Promise<Setup>,
    fileOf: (trace: Trace) => HakTrace,
  ) {
    this.engine = engine;
    this.space = space;
    this.setupOf = setupOf;
    this.fileOf = fileOf;
    this.starts = glibc_starts.filter((point) => this.onGrid(point));
  }

  legal(): boolean {
    return true;
  }

  async subject(trace: Trace): Promise<Subject> {
    return new GlibcSubject(this.engine, this.fileOf(trace), await this.setupOf(trace));
  }

  describe(point: Point): Readonly<Record<string, number | string | boolean>> {
    const settings = glibcSettingsAt(point);
    const { mmap_threshold, trim_threshold, top_pad, mmap_max, arena_max } = settings;
    return {
      glibc_mmap_threshold_bytes: mmap_threshold ?? 'dynamic',
      glibc_trim_threshold_bytes: trim_threshold ?? 'dynamic',
      glibc_top_pad_bytes: top_pad ?? 'default',
      glibc_mmap_max: mmap_max ?? 'default',
      glibc_arena_max: arena_max ?? 'default',
    };
  }

  settingText(point: Point): string {
    return tunablesText(glibcSettingsAt(point));
  }

  /** Where an axis was given by hand, a rule of thumb may lie off it. */
  private onGrid(point: Point): boolean {
    return point === glibc_baseline || this.space.every(({ values }, axis) => values.includes(point[axis]));
  }
}

class GlibcSubject implements Subject {
  readonly trace: HakTrace;
  readonly live_share = 1;
  readonly rows_most: number;
  private readonly engine: Engine;
  private readonly setup: Setup;
  private readonly machine: GlibcMachine;
  private readonly keys: GlibcKeys;
  private readonly results = new Map<string, PeerResult>();
  private readonly counted = new Map<string, ReplayerRound>();
  private scored: Baseline | null = null;

  constructor(engine: Engine, trace: HakTrace, setup: Setup) {
    this.engine = engine;
    this.trace = trace;
    this.setup = setup;
    this.machine = glibcMachine(setup.profile, trace.statistics.threads);
    this.rows_most = trace.statistics.events;
    this.keys = new GlibcKeys(trace.chunks());
  }

  key(point: Point): string {
    return this.keys.key(point);
  }

  rows(): number {
    return this.rows_most;
  }

  async figures(point: Point): Promise<Figures> {
    return this.engine === 'sim' ? figuresOf(this.modelled(point)) : this.replayed(point);
  }

  /** Never smaller: a heap is not like a part of it. */
  sample(): Subject {
    return this;
  }

  part(trace: Trace): Subject {
    return new GlibcSubject(this.engine, trace as HakTrace, this.setup);
  }

  unavoidable(): Unavoidable {
    return peerUnavoidable(this.trace, this.setup);
  }

  async check(points: readonly Point[], progress: (done: number) => void): Promise<number> {
    if (this.engine === 'replay') return 0;
    const cheapest_first = [...points].sort((a, b) => this.modelled(a).time_ns.total - this.modelled(b).time_ns.total);
    const some = cheapest_first.slice(0, checked_at_most);
    for (const [at, point] of some.entries()) {
      const reason = difference(this.modelled(point), await this.countsOf(point));
      if (reason !== null) throw new CheckFailed(`${this.trace.path}: ${nameOf(point)}: ${reason}`);
      progress(at + 1);
    }
    progress(points.length);
    return some.length;
  }

  async measure(point: Point): Promise<Measured> {
    const counts = await this.countsOf(point);
    const time_ns = (await this.timed(point, 1))[0];
    const reason = this.engine === 'replay' ? null : difference(this.modelled(point), counts);
    return {
      time_ns,
      memory_bytes: counts.resident_peak_bytes,
      faults: counts.faults,
      level: 'kernel',
      verdict: reason === null ? 'agree' : 'differ',
      reason,
    };
  }

  private modelled(point: Point): PeerResult {
    const key = this.key(point);
    const known = this.results.get(key);
    if (known !== undefined) return known;
    const { config, prices, touch } = this.setup;
    const glibc = new Glibc(glibcSettingsAt(point), this.machine, touchIndex(touch));
    const result = replayPeer(this.trace.chunks(), glibc, { prices, checkpoint_events: config.checkpoint_events });
    this.results.set(key, result);
    return result;
  }

  private async replayed(point: Point): Promise<Figures> {
    const counts = await this.countsOf(point);
    const time_ns = median(await this.timed(point, engine_rounds))!;
    const { faults, resident_peak_bytes } = counts;
    const score = this.baseline().score(this.setup.prices, time_ns, faults, resident_peak_bytes);
    return figuresWith(time_ns, resident_peak_bytes, faults, score);
  }

  /** Of the trace, whatever the setting. */
  private baseline(): Baseline {
    if (this.scored === null) {
      this.scored = new Baseline();
      for (const chunk of this.trace.chunks()) this.scored.add(chunk);
    }
    return this.scored;
  }

  /** Counts are the same in every run: one is enough. */
  private async countsOf(point: Point): Promise<ReplayerRound> {
    const key = this.key(point);
    const known = this.counted.get(key);
    if (known !== undefined) return known;
    const { rounds } = await this.run(point, false);
    this.counted.set(key, rounds[0]);
    return rounds[0];
  }

  /** Nanoseconds of CPU, each in a fresh process: the trace is a program's whole life. */
  private async timed(point: Point, times: number): Promise<number[]> {
    const taken: number[] = [];
    for (let at = 0; at < times; at += 1) taken.push((await this.run(point, true)).rounds[0].cpu_ns);
    return taken;
  }

  private run(point: Point, bare: boolean): ReturnType<typeof runReplayer> {
    const { touch } = this.setup;
    return runReplayer(this.trace.path, {
      allocator: 'glibc',
      env: tunablesEnv(glibcSettingsAt(point)),
      touch,
      bare,
    });
  }
}

/** Why nothing can be checked or run here; null where it can. */
export function glibcTrouble(): string | null {
  return runningGlibc() === null ? 'this machine has another C library than glibc' : replayerTrouble();
}

function nameOf(point: Point): string {
  return point[0] === dynamic ? 'nothing set' : tunablesText(glibcSettingsAt(point));
}

/** Where the model and the library come to other counts, in words; null where they agree. */
function difference(model: PeerResult, real: ReplayerRound): string | null {
  if (Math.abs(model.faults - real.faults) > faults_tolerance * real.faults)
    return `${model.faults} faults in the model and ${real.faults} in the library`;
  const { peak } = model.resident_bytes;
  const off_bytes = Math.abs(peak - real.resident_peak_bytes);
  return off_bytes > Math.max(resident_tolerance_bytes, faults_tolerance * peak)
    ? `a resident peak of ${peak} bytes in the model and ${real.resident_peak_bytes} in the library`
    : null;
}
