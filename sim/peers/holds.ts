/**
 * Where the models of jemalloc and mimalloc may be relied on: within 5 % of the faults and system calls of the real library,
 * as docs/PEERS.md has it measured. A prediction from elsewhere is one that nobody should act on.
 */
import { type JemallocSettings, settingOr as jemallocSettingOr } from './jemalloc/settings.ts';

/** From here on blocks have extents or slices of their own under every setting that the models know. */
export const peer_large_bytes = 64 * 1024;

/** What of a trace decides it. */
export interface PeerSubject {
  readonly smallest_bytes: number;
  readonly duration_ms: number;
  readonly aligned_max_bytes: number;
}

export interface Hold {
  readonly name: string;
  readonly holds: boolean;
  readonly why: string;
}

/** In a tenth of a decay less than a hundredth of what was freed is due. */
const of_decay = 0.1;

export function jemallocHolds(settings: JemallocSettings, subject: PeerSubject): readonly Hold[] {
  const dirty_ms = jemallocSettingOr(settings, 'dirty_decay_ms');
  return [
    {
      name: 'large blocks',
      holds: subject.smallest_bytes >= peer_large_bytes,
      why: `blocks below ${peer_large_bytes} bytes go through slabs and caches of threads, which are followed but not promised`,
    },
    {
      name: 'retain',
      holds: jemallocSettingOr(settings, 'retain') > 0,
      why: 'without it addresses go back, and which extents lie side by side depends on what else the process has mapped',
    },
    {
      name: 'clock',
      holds: dirty_ms <= 0 || subject.duration_ms <= of_decay * dirty_ms,
      why: 'the library draws when it looks at the clock, about once in a thousand calls: what a decay gives back within the trace is chance',
    },
  ];
}

export function mimallocHolds(subject: PeerSubject): readonly Hold[] {
  const align_max_bytes = 16 * 2 ** 20;
  return [
    {
      name: 'large blocks',
      holds: subject.smallest_bytes >= peer_large_bytes,
      why: `pages of blocks below ${peer_large_bytes} bytes are followed but not promised`,
    },
    {
      name: 'alignment',
      holds: subject.aligned_max_bytes <= align_max_bytes,
      why: `beyond ${align_max_bytes} bytes a block has a segment of its own, which the model does not have`,
    },
  ];
}

export const holdsAll = (holds: readonly Hold[]): boolean => holds.every((hold) => hold.holds);
