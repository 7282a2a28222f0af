/** The settings under which the models of allocators are held to the real libraries. */

import { touchIndex } from '../../sim/kernel/touch.ts';
import { type JemallocSettings, mallocConfText } from '../../sim/peers/jemalloc/settings.ts';
import { Jemalloc, jemalloc_machine } from '../../sim/peers/jemalloc.ts';
import type { TouchModel } from '../../sim/spec.ts';
import type { PeerSetting } from './peer-check.ts';

const touch = touchIndex('recorded' satisfies TouchModel);

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

export const peer_settings: readonly PeerSetting[] = jemalloc.map(jemallocSetting);

function jemallocSetting(settings: JemallocSettings): PeerSetting {
  const [name, value] = parts(mallocConfText(settings));
  return {
    allocator: 'jemalloc',
    name: value === '' ? 'defaults' : value,
    env: value === '' ? {} : { [name]: value },
    model: (clock, threads) =>
      new Jemalloc(
        settings,
        { ...jemalloc_machine, gap_pages: replayer_pages, threads_before: threads - 1, clock },
        touch,
      ),
  };
}

/** Of "NAME=VALUE". */
function parts(line: string): [string, string] {
  const at = line.indexOf('=');
  return at < 0 ? ['', ''] : [line.slice(0, at), line.slice(at + 1)];
}
