/** What can be tuned: an allocator, the axes of its settings, and how a setting is tried on a trace. */
import type { Trace } from '../../traces/index.ts';
import type { CheckLevel } from '../crosscheck.ts';
import type { LoadedPolicy } from '../policy/module.ts';
import type { Figures } from './objective.ts';
import type { Point, Space } from './space.ts';

/** In a model, or by replaying traces against the allocator itself. */
export const engines = ['sim', 'replay'] as const;
export type Engine = (typeof engines)[number];

export interface Target {
  readonly name: string;
  /** How a setting's figures are found while searching. */
  readonly engine: Engine;
  /** A policy module of yours that runs under every setting: nothing is cross-checked then. */
  readonly module?: LoadedPolicy | null;
  /** What a checked row was compared with, in words. */
  readonly checker: string;
  readonly space: Space;
  /** What runs where nothing is set; need not lie on the grid. */
  readonly baseline: Point;
  /** Settings that people use, the baseline among them: where a climb begins. */
  readonly starts: readonly Point[];
  legal(point: Point): boolean;
  subject(trace: Trace): Promise<Subject>;
  /** Every setting in words. */
  describe(point: Point): Readonly<Record<string, number | string | boolean>>;
  /** What a user pastes. */
  settingText(point: Point): string;
}

/** One trace, or a sample of it, ready to try settings on. */
export interface Subject {
  readonly trace: Trace;
  /** Part of the whole trace's peak of live bytes that this one has: 1 for a whole trace. */
  readonly live_share: number;
  /** Points of equal keys have equal figures: nothing in the trace can tell them apart. */
  key(point: Point): string;
  /** What trying the point costs, in rows that have to be run. */
  rows(point: Point): number;
  /** The most that a point takes. */
  readonly rows_most: number;
  figures(point: Point): Figures | Promise<Figures>;
  sample(share: number, seed: number): Subject;
  /** The same for a sample that was drawn otherwise. */
  part(trace: Trace): Subject;
  unavoidable(): Unavoidable;
  /** Compares the figures of these points with an independent core, or with the allocator; throws CheckFailed at the first
   * difference. Returns how many it compared: all, or the first where each is dear. */
  check(points: readonly Point[], progress: (done: number) => void): Promise<number>;
  /** Runs the point for real, once. */
  measure(point: Point): Promise<Measured>;
}

/** Tried in a model: its figures are there at once. */
export interface ModelSubject extends Subject {
  figures(point: Point): Figures;
  sample(share: number, seed: number): ModelSubject;
  part(trace: Trace): ModelSubject;
}

/** What no setting can avoid. */
export interface Unavoidable {
  readonly time_ns: number;
  readonly faults: number;
  /** Bytes that the program has in use at once: allocated and touched. */
  readonly memory_bytes: number;
}

export interface Measured {
  readonly time_ns: number;
  readonly memory_bytes: number;
  readonly faults: number;
  readonly verdict: 'agree' | 'differ' | 'unchecked';
  readonly level: CheckLevel;
  /** What differs, or why it could not be checked; null where all is equal. */
  readonly reason: string | null;
}
