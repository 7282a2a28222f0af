/** What was learned up to an event, for `hakmem explain`: every change of the lifecycle, and the window that decided last. */
import { enums, type LogEntry, Replay, type Setup, type WindowRecord } from '../sim/index.ts';
import type { Trace } from '../traces/index.ts';

export interface Story {
  readonly entry: LogEntry | null;
  /** Windows that closed up to and with the event at which the log begins. */
  readonly windows: readonly WindowRecord[];
}

/** Replays the trace with `setup.log` and watches the windows close. */
export function storyOf(trace: Trace, setup: Setup): Story {
  const windows: WindowRecord[] = [];
  const until = setup.log?.from ?? Number.POSITIVE_INFINITY;
  const run = new Replay(setup, {
    window: (record) => {
      if (record.event <= until) windows.push(record);
    },
  });
  for (const chunk of trace.chunks()) run.feed(chunk);
  return { entry: run.finish().log.at(0) ?? null, windows };
}

/** Nothing where nothing closed. */
export function storyLines(windows: readonly WindowRecord[]): string[] {
  const last = windows.at(-1);
  if (last === undefined) return [];
  const changes = windows.filter(({ change }) => change !== 'none');
  const shown = changes.slice(-changes_shown);
  const hidden = changes.length - shown.length;
  return [
    `learned over ${windows.length} windows, ${enums.lifecycle_state[last.state]} since:`,
    ...(hidden > 0 ? [`  ${''.padEnd(13)}${hidden} changes before`] : []),
    ...shown.map(
      (record) => `  ${record.change.padEnd(13)}at event ${record.event}, window ${record.index}: ${changeIn(record)}`,
    ),
    `  ${'last window'.padEnd(13)}closed at event ${last.event}: ${costsOf(last)}; p99 ${last.p99_ns} ns`,
    ...(last.ratings === null
      ? []
      : [`  ${'ratings'.padEnd(13)}${last.ratings.map((each) => each.toFixed(0)).join(' ')}`]),
    '',
  ];
}

const changes_shown = 8;

function changeIn({ change, arm, candidate }: WindowRecord): string {
  if (change === 'canary') return `strategy ${arm} is in doubt${candidate >= 0 ? `, ${candidate} is tried` : ''}`;
  if (change === 'relearn') return 'the sizes moved on: learning begins anew';
  if (change === 'rollback') return `strategy ${arm} stays`;
  return `strategy ${arm} from here on`;
}

function costsOf({ acted, costs }: WindowRecord): string {
  const known = costs.map((cost, arm) => ({ cost, arm })).filter(({ cost }) => cost > 0);
  const cheapest = known.reduce((best, each) => (each.cost < best.cost ? each : best), known[0]);
  if (known.length < 2) return `strategy ${acted} acted; no other was priced`;
  const own = costs[acted];
  return `strategy ${acted} acted, ${(own / cheapest.cost).toFixed(2)} times the cheapest, ${cheapest.arm}`;
}
