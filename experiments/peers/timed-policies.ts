/**
 * jemalloc and mimalloc as policies of a replay: `--set jemalloc_dirty_decay_ms=0`. Both do things by the clock, which
 * passes while a program thinks and not while its trace is replayed. So the model goes by the trace's time, and it is held
 * to the library under a clock that gives every event the same time, in both.
 */
import { availableParallelism } from 'node:os';
import { touchIndex } from '../../sim/kernel/touch.ts';
import { type Hold, holdsAll, jemallocHolds, mimallocHolds, type PeerSubject } from '../../sim/peers/holds.ts';
import {
  type JemallocSettings,
  jemalloc_setting_names,
  jemalloc_settings,
  mallocConfText,
} from '../../sim/peers/jemalloc/settings.ts';
import { Jemalloc, jemalloc_machine } from '../../sim/peers/jemalloc.ts';
import {
  type MimallocSettings,
  mimalloc_setting_names,
  mimalloc_settings,
  mimallocText,
} from '../../sim/peers/mimalloc/settings.ts';
import { Mimalloc, mimalloc_machine } from '../../sim/peers/mimalloc.ts';
import type { TimedPeer } from '../../sim/time/work.ts';
import { type HakTrace, op } from '../../traces/index.ts';
import { comparePeer, event_ns, type PeerSetting } from './peer-check.ts';
import { jemallocSetting, mimallocSetting } from './peer-settings.ts';
import type { ConfiguredPeer, PeerParameter, PeerPlace, PeerPolicy } from './policies.ts';

/** What docs/PEERS.md found the models to hold to, where they are promised at all. */
const tolerance = 0.05;

/** Of what the library draws: any does. */
const first_seed = 1;

interface Described {
  readonly unit: string;
  readonly min?: number;
  readonly max: number;
  readonly why: string;
}

export const jemallocPolicy = policyOf<JemallocSettings>(
  'jemalloc',
  jemalloc_setting_names,
  jemalloc_settings,
  (settings) => ({
    text: mallocConfText(settings),
    model: ({ threads }, touch) =>
      new Jemalloc(
        settings,
        { ...jemalloc_machine, processors: availableParallelism(), threads_before: threads - 1 },
        touch,
      ),
    compared: (touch) => jemallocSetting(settings, touch),
    holds: (subject) => jemallocHolds(settings, subject),
  }),
);

export const mimallocPolicy = policyOf<MimallocSettings>(
  'mimalloc',
  mimalloc_setting_names,
  mimalloc_settings,
  (settings) => ({
    text: mimallocText(settings),
    model: ({ threads }, touch) => new Mimalloc(settings, { ...mimalloc_machine, threads_before: threads - 1 }, touch),
    compared: (touch) => mimallocSetting(settings, touch),
    holds: (subject) => mimallocHolds(subject),
  }),
);

interface Parts {
  readonly text: string;
  model(place: PeerPlace, touch: number): TimedPeer;
  compared(touch: number): PeerSetting;
  holds(subject: PeerSubject): readonly Hold[];
}

function policyOf<Settings>(
  name: string,
  names: readonly (string & keyof Settings)[],
  described: Readonly<Record<string, Described>>,
  parts: (settings: Settings) => Parts,
): PeerPolicy {
  return {
    name,
    parameters: names.map((setting): PeerParameter => {
      const { unit, min = 0, max, why } = described[setting];
      return { name: `${name}_${setting}`, unit, min, max, why };
    }),
    configured(values) {
      const entries = names.flatMap((setting) => {
        const value = values.get(`${name}_${setting}`);
        return value === undefined ? [] : [[setting, value] as const];
      });
      return configured(parts(Object.fromEntries(entries) as Settings));
    },
  };
}

function configured(parts: Parts): ConfiguredPeer {
  const { allocator, env } = parts.compared(touchIndex('recorded'));
  return {
    setting: parts.text,
    library: { allocator, env },
    replayed: ({ touch, threads }, event_ns) =>
      parts.compared(touchIndex(touch)).model({ start_ns: 0, event_ns }, threads, first_seed),
    model: (place) => parts.model(place, touchIndex(place.touch)),
    async hold(trace, { touch }) {
      const { statistics, path } = trace;
      const subject = subjectOf(trace);
      const step_ns = Math.max(1, Math.round((subject.duration_ms * 1e6) / statistics.events)) || event_ns;
      const { model, real } = await comparePeer(parts.compared(touchIndex(touch)), path, trace, step_ns);
      const holds = parts.holds(subject);
      return {
        model,
        real: real.rounds[0],
        version: real.allocator.version,
        decisions_equal: null,
        first_difference: null,
        tolerance,
        unpromised: holdsAll(holds)
          ? null
          : holds
              .filter((hold) => !hold.holds)
              .map(({ why }) => why)
              .join('; '),
      };
    },
  };
}

function subjectOf(trace: HakTrace): PeerSubject {
  let smallest_bytes = Number.POSITIVE_INFINITY;
  let aligned_max_bytes = 0;
  let first_ns = Number.POSITIVE_INFINITY;
  let last_ns = 0;
  for (const { op: kinds, size_bytes, align, time_ns, length } of trace.chunks())
    for (let row = 0; row < length; row += 1) {
      if (time_ns[row] < first_ns) first_ns = time_ns[row];
      if (time_ns[row] > last_ns) last_ns = time_ns[row];
      if (kinds[row] === op.free) continue;
      if (size_bytes[row] < smallest_bytes) smallest_bytes = size_bytes[row];
      if (align[row] > aligned_max_bytes) aligned_max_bytes = align[row];
    }
  return { smallest_bytes, aligned_max_bytes, duration_ms: Math.max(0, last_ns - first_ns) / 1e6 };
}
