/** A replay that is watched window by window: what the rules of a policy are held to. */
import type { Allocator } from '../../sim/decide/allocator.ts';
import type { Learning } from '../../sim/decide/learning.ts';
import { lifecycle } from '../../sim/decide/lifecycle.ts';
import { first_step_arm } from '../../sim/decide/strategy.ts';
import { Tournament } from '../../sim/decide/tournament.ts';
import { learnsSites, Replay, type Result, type Setup, shape, type WindowRecord } from '../../sim/index.ts';
import { type Chunk, op } from '../../traces/index.ts';
import type { Broken } from './policy-error.ts';

/** A window that closed, and what the learner showed then. */
export interface Seen extends WindowRecord {
  /** Of the lifecycle, before the window closed. */
  readonly state_before: number;
  readonly rating_writes: number;
  readonly draws: number;
}

/** An arm that decides from `event` on, until the next. */
export interface Decided {
  readonly event: number;
  readonly arm: number;
}

export interface Witnessed {
  readonly result: Result;
  readonly windows: readonly Seen[];
  readonly decided: readonly Decided[];
  readonly thresholds_bytes: readonly number[];
  /** The first place where a rule was seen broken, by rule. */
  readonly broken: ReadonlyMap<string, Broken>;
}

/** Feed chunks in order, then finish. Throws PolicyError. */
export class Witness {
  private readonly windows: Seen[] = [];
  private readonly decided: Decided[] = [];
  private readonly broken = new Map<string, Broken>();
  private readonly replay: Replay;
  private readonly first_arm: number;
  private learning: Learning | null = null;
  private state = lifecycle.learn;

  constructor(setup: Setup) {
    this.first_arm = setup.policy === undefined && learnsSites(setup.config) ? first_step_arm : 0;
    this.replay = new Replay(setup, {
      event: (chunk, row, _, allocator) => this.saw(chunk, row, allocator),
      window: (record) => this.closed(record),
    });
  }

  feed(chunk: Chunk): void {
    this.replay.feed(chunk);
  }

  finish(): Witnessed {
    const { windows, decided, broken } = this;
    const thresholds_bytes = this.learning?.thresholds_bytes ?? [];
    return { result: this.replay.finish(), windows, decided, thresholds_bytes, broken };
  }

  /** Windows close within events, the first of them after the first event. */
  private saw({ first_event, op: kinds, size_bytes }: Chunk, row: number, allocator: Allocator): void {
    this.learning ??= allocator.learning;
    const { learning } = this;
    if (learning === null || kinds[row] === op.free || size_bytes[row] < learning.floor_bytes) return;
    const event = first_event + row;
    const { state, candidate } = learning.lifecycle;
    const on_trial = state === lifecycle.canary && candidate >= 0 && learning.isCanary(event);
    const wanted = on_trial ? candidate : learning.arm;
    const found = allocator.arm - this.first_arm;
    if (this.decided.at(-1)?.arm !== found) this.decided.push({ event, arm: found });
    if (found !== wanted)
      this.note('canary', event, `arm ${found}`, `arm ${wanted}, which ${on_trial ? 'is on trial' : 'is in force'}`);
  }

  private closed(record: WindowRecord): void {
    const { learner } = this.learning!;
    const { rating_writes, draws } = learner.figures;
    this.windows.push({ ...record, state_before: this.state, rating_writes, draws });
    this.state = record.state;
    if (learner instanceof Tournament) {
      const sum = learner.ratings.reduce((total, rating) => total + rating, 0);
      const wanted = learner.ratings.length * shape.elo_start * shape.elo_unit;
      if (sum !== wanted)
        this.note('elo-sum', record.event, `ratings that sum to ${sum}`, `${wanted}, in 2^-16 points`);
    }
    if (learner.isActive?.(learner.best()) === false)
      this.note(
        'survivors',
        record.event,
        `leader ${learner.best()} among those that were dropped`,
        'it among the rest',
      );
  }

  private note(rule: string, event: number, found: string, wanted: string): void {
    if (!this.broken.has(rule)) this.broken.set(rule, { event, found, wanted });
  }
}

export function witness(chunks: Iterable<Chunk>, setup: Setup): Witnessed {
  const run = new Witness(setup);
  for (const chunk of chunks) run.feed(chunk);
  return run.finish();
}
