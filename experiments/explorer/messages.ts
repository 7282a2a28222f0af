/** What the page and its worker say to one another. One worker holds one trace, or explains one event. */
import type { LogEntry, Setup } from '../../sim/index.ts';
import type { Origin, Statistics } from '../../traces/trace.ts';
import type { Answer, LargeEvents } from './loaded.ts';

export type Request =
  | { readonly kind: 'open'; readonly blob: Blob; readonly path: string }
  | { readonly kind: 'simulate'; readonly id: number; readonly setup: Setup }
  | {
      readonly kind: 'explain';
      readonly blob: Blob;
      readonly path: string;
      readonly setup: Setup;
      readonly event: number;
    };

export type Reply =
  | { readonly kind: 'progress'; readonly share: number }
  | {
      readonly kind: 'opened';
      readonly origin: Origin;
      readonly statistics: Statistics;
      readonly large: LargeEvents;
      readonly load_ms: number;
    }
  | { readonly kind: 'simulated'; readonly id: number; readonly answer: Answer; readonly ms: number }
  | { readonly kind: 'explained'; readonly entry: LogEntry | null }
  | { readonly kind: 'failed'; readonly id: number | null; readonly message: string };
