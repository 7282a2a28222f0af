/** What `hakmem explore` put into the page besides the page: samples, perhaps a trace, and the kernel it was made on. */
import type { KernelProfile } from '../../sim/index.ts';

export interface BootTrace {
  readonly name: string;
  /** As the command line would name it. */
  readonly path: string;
  readonly says: string;
  readonly bytes: number;
  /** In the page, or fetched from the server that the page came from. */
  readonly from: 'page' | 'server';
}

export interface Boot {
  readonly version: string;
  readonly samples: readonly BootTrace[];
  readonly trace: BootTrace | null;
  readonly profile: KernelProfile;
  readonly profile_source: 'probed' | 'default';
}

/** Elements of the page that carry the data. */
export const boot_id = 'hakmem-boot';
export const traceId = (name: string): string => `hakmem-trace-${name}`;
/** Where the server has the trace it was started with. */
export const served_path = 'trace';
