/** Allocators that people run, as policies of a replay: their settings by name, their model, and what holds it to the library. */
import type { ReplayerRound } from '../../native/replayer.ts';
import type { KernelProfile, TouchModel } from '../../sim/index.ts';
import type { PeerResult } from '../../sim/peers/replay.ts';
import type { TimedPeer } from '../../sim/time/work.ts';
import type { HakTrace } from '../../traces/index.ts';
import type { ReplayedLibrary } from '../time-check/cached-event.ts';
import { glibcPolicy } from './glibc-policy.ts';
import { jemallocPolicy, mimallocPolicy } from './timed-policies.ts';

export interface PeerParameter {
  readonly name: string;
  readonly unit: string;
  readonly min: number;
  readonly max: number;
  readonly why: string;
}

/** What a replay of it depends on besides the trace. */
export interface PeerPlace {
  readonly profile: KernelProfile;
  readonly touch: TouchModel;
  readonly threads: number;
}

export interface PeerDifference {
  readonly event: number;
  readonly field: string;
  readonly sim: unknown;
  readonly native: unknown;
}

/** The model beside the library itself. */
export interface Held {
  readonly model: PeerResult;
  readonly real: ReplayerRound;
  readonly version: string | null;
  /** Null where they cannot be compared. */
  readonly decisions_equal: boolean | null;
  readonly first_difference: PeerDifference | null;
  /** By how much counts may differ before the model is not to be believed; 0 for one that is exact. */
  readonly tolerance: number;
  /** Why the model promises nothing for this trace and setting; null where it does. */
  readonly unpromised: string | null;
}

/** One of its settings, complete. */
export interface ConfiguredPeer {
  /** To paste; empty where nothing is set. */
  readonly setting: string;
  /** The library itself under this setting. */
  readonly library: ReplayedLibrary;
  model(place: PeerPlace): TimedPeer;
  /** The model in a replay without pauses, in which every event takes so long. */
  replayed(place: PeerPlace, event_ns: number): TimedPeer;
  /** Rejects as runReplayer does. */
  hold(trace: HakTrace, place: PeerPlace): Promise<Held>;
}

export interface PeerPolicy {
  readonly name: string;
  readonly parameters: readonly PeerParameter[];
  configured(values: ReadonlyMap<string, number>): ConfiguredPeer;
}

export const peer_policies: readonly PeerPolicy[] = [glibcPolicy, jemallocPolicy, mimallocPolicy];
