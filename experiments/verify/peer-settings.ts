/** The settings under which the models of allocators are held to the real libraries. */

import { touchIndex } from '../../sim/kernel/touch.ts';
import { type JemallocSettings, mallocConfText } from '../../sim/peers/jemalloc/settings.ts';
import { Jemalloc, jemalloc_machine } from '../../sim/peers/jemalloc.ts';
import { type MimallocSettings, mimallocEnv, mimallocText } from '../../sim/peers/mimalloc/settings.ts';
import { Mimalloc, mimalloc_machine } from '../../sim/peers/mimalloc.ts';
import type { TouchModel } from '../../sim/spec.ts';
import type { PeerSetting } from './peer-check.ts';

const touch = touchIndex('recorded' satisfies TouchModel);

/** Seeds of the model where the library draws when it looks at the clock. */
const chances = 5;

/** The replayer reserves 64 GiB to read the trace into. */
const replayer_pages = 2 ** 24;

const jemalloc: readonly JemallocSettings[] = [
  {},
  { dirty_decay_ms: 0 },
  { dirty_decay_ms: -1 },
  { dirty_decay_ms: 1e9 },
  { dirty_decay_ms: 50 },
  { dirty_decay_ms: 20, muzzy_decay_ms: 20 },
  { dirty_decay_ms: 1e9, retain: 0 },
  { dirty_decay_ms: 1e9, oversize_threshold: 0 },
  { dirty_decay_ms: 1e9, tcache: 0 },
  { dirty_decay_ms: 1e9, lg_extent_max_active_fit: 2 },
];

const mimalloc: readonly MimallocSettings[] = [
  {},
  { decommit_delay: 0, segment_decommit_delay: 0 },
  { decommit_delay: 1e6, segment_decommit_delay: 1e6 },
  { allow_decommit: 0 },
  { allow_decommit: 0, eager_commit: 0 },
  { allow_decommit: 0, page_reset: 1 },
];

export const peer_settings: readonly PeerSetting[] = [
  ...jemalloc.map(jemallocSetting),
  ...mimalloc.map(mimallocSetting),
];

function mimallocSetting(settings: MimallocSettings): PeerSetting {
  const text = mimallocText(settings);
  return {
    allocator: 'mimalloc',
    name: text === '' ? 'defaults' : text,
    env: mimallocEnv(settings),
    chances: 1,
    model: (clock, threads) =>
      new Mimalloc(settings, { ...mimalloc_machine, threads_before: threads - 1, clock }, touch),
  };
}

function jemallocSetting(settings: JemallocSettings): PeerSetting {
  const [name, value] = parts(mallocConfText(settings));
  return {
    allocator: 'jemalloc',
    name: value === '' ? 'defaults' : value,
    env: value === '' ? {} : { [name]: value },
    chances: decays(settings) ? chances : 1,
    model: (clock, threads, seed) =>
      new Jemalloc(
        settings,
        { ...jemalloc_machine, gap_pages: replayer_pages, threads_before: threads - 1, seed, clock },
        touch,
      ),
  };
}

/** Whether a decay ends within a replay. */
function decays({ dirty_decay_ms = 10_000 }: JemallocSettings): boolean {
  return dirty_decay_ms > 0 && dirty_decay_ms < 1e6;
}

/** Of "NAME=VALUE". */
function parts(line: string): [string, string] {
  const at = line.indexOf('=');
  return at < 0 ? ['', ''] : [line.slice(0, at), line.slice(at + 1)];
}
