/**
 * jemalloc and mimalloc as targets: what they give back, and when, tried in their models by the trace's own time. Winner
 * and baseline then run on the library under a clock that gives every event the trace's mean time, for in a replay no time
 * passes for a decay to come to anything.
 */
import type { Setup } from '../../sim/index.ts';
import { type PeerResult, replayPeer } from '../../sim/peers/replay.ts';
import type { HakTrace, Trace } from '../../traces/index.ts';
import { CheckFailed } from '../command.ts';
import { compared } from '../peers/held.ts';
import type { ConfiguredPeer, Held, PeerPlace, PeerPolicy } from '../peers/policies.ts';
import type { Figures } from './objective.ts';
import { figuresOf, peerUnavoidable } from './peer-figures.ts';
import { moved, type Point, type Space } from './space.ts';
import type { Measured, Subject, Target, Unavoidable } from './target.ts';

/** Settings that are compared with the library: the cheapest, for each is a replay. */
const checked_at_most = 4;

export class ClockedTarget implements Target {
  readonly name: string;
  readonly engine = 'sim';
  readonly checker = 'the library';
  readonly space: Space;
  /** What the library does where nothing is set. */
  readonly baseline: Point;
  readonly starts: readonly Point[];
  private readonly policy: PeerPolicy;
  private readonly setupOf: (trace: Trace) => Promise<Setup>;
  private readonly fileOf: (trace: Trace) => HakTrace;

  constructor(
    policy: PeerPolicy,
    space: Space,
    baseline: Point,
    setupOf: (trace: Trace) => Promise<Setup>,
    fileOf: (trace: Trace) => HakTrace,
  ) {
    this.name = policy.name;
    this.policy = policy;
    this.space = space;
    this.baseline = baseline;
    this.setupOf = setupOf;
    this.fileOf = fileOf;
    // The ends of each axis by themselves: everything at once, and never.
    this.starts = [
      baseline,
      ...space.flatMap(({ values }, axis) => [moved(baseline, axis, values[0]), moved(baseline, axis, values.at(-1)!)]),
    ];
  }

  legal(): boolean {
    return true;
  }

  async subject(trace: Trace): Promise<Subject> {
    return new ClockedSubject(this, this.fileOf(trace), await this.setupOf(trace));
  }

  describe(point: Point): Readonly<Record<string, number | string | boolean>> {
    return Object.fromEntries(this.space.map(({ name }, axis) => [name, point[axis]]));
  }

  settingText(point: Point): string {
    return this.configured(point).setting;
  }

  /** What is as by default is not set. */
  configured(point: Point): ConfiguredPeer {
    const values = this.space.flatMap(({ name }, axis) =>
      point[axis] === this.baseline[axis] ? [] : [[name, point[axis]] as const],
    );
    return this.policy.configured(new Map(values));
  }
}

class ClockedSubject implements Subject {
  readonly trace: HakTrace;
  readonly live_share = 1;
  readonly rows_most: number;
  private readonly target: ClockedTarget;
  private readonly setup: Setup;
  private readonly place: PeerPlace;
  private readonly results = new Map<string, PeerResult>();

  constructor(target: ClockedTarget, trace: HakTrace, setup: Setup) {
    this.target = target;
    this.trace = trace;
    this.setup = setup;
    this.rows_most = trace.statistics.events;
    this.place = { profile: setup.profile, touch: setup.touch, threads: trace.statistics.threads };
  }

  key(point: Point): string {
    return point.join(' ');
  }

  rows(): number {
    return this.rows_most;
  }

  figures(point: Point): Figures {
    return figuresOf(this.modelled(point));
  }

  /** Never smaller: what is kept depends on everything that is freed. */
  sample(): Subject {
    return this;
  }

  part(trace: Trace): Subject {
    return new ClockedSubject(this.target, trace as HakTrace, this.setup);
  }

  unavoidable(): Unavoidable {
    return peerUnavoidable(this.trace, this.setup);
  }

  async check(points: readonly Point[], progress: (done: number) => void): Promise<number> {
    const cheapest_first = [...points].sort((a, b) => this.figures(a).time_ns - this.figures(b).time_ns);
    let promised = 0;
    for (const [at, point] of cheapest_first.slice(0, checked_at_most).entries()) {
      const { verdict, held } = compared('kernel', await this.held(point));
      if (verdict === 'differ')
        throw new CheckFailed(`${this.trace.path}: ${this.target.settingText(point)}: ${countsOf(held!)}`);
      if (verdict === 'agree') promised += 1;
      progress(at + 1);
    }
    progress(points.length);
    return promised;
  }

  async measure(point: Point): Promise<Measured> {
    const held = await this.held(point);
    const { verdict, reason } = compared('kernel', held);
    return {
      time_ns: held.real.cpu_ns,
      memory_bytes: held.real.resident_peak_bytes,
      faults: held.real.faults,
      level: 'kernel',
      verdict,
      reason: verdict === 'differ' ? countsOf(held) : reason,
    };
  }

  private held(point: Point): Promise<Held> {
    return this.target.configured(point).hold(this.trace, this.place);
  }

  private modelled(point: Point): PeerResult {
    const key = this.key(point);
    const known = this.results.get(key);
    if (known !== undefined) return known;
    const { config, prices } = this.setup;
    const result = replayPeer(this.trace.chunks(), this.target.configured(point).model(this.place), {
      prices,
      checkpoint_events: config.checkpoint_events,
    });
    this.results.set(key, result);
    return result;
  }
}

function countsOf({ model, real }: Held): string {
  return (
    `${model.faults} faults and a resident peak of ${model.resident_bytes.peak} bytes in the model, ` +
    `${real.faults} and ${real.resident_peak_bytes} in the library`
  );
}
