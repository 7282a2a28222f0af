/** What allocators are compared on: a trace, or a scenario of a few thousand events, as a `.hak` file either way. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { boundaries_bytes, type TouchModel } from '../../sim/index.ts';
import { HakTrace, open, SyntheticTrace, scenario_names, type Trace, writeHak } from '../../traces/index.ts';
import { chooseTouch } from '../setup.ts';

export interface Subject {
  readonly name: string;
  /** A `.hak` file. */
  readonly path: string;
  readonly trace: Trace;
  readonly events: number;
  readonly touch: TouchModel;
}

/**
 * Long enough that every allocator has settled, short enough that twelve rounds of them all take some minutes where a
 * fault costs 20 microseconds, as in a virtual machine inside another.
 */
const events_of: Readonly<Record<string, number>> = {
  vm: 4000,
  vm4: 4000,
  json: 4000,
  mir: 4000,
  mixed: 4000,
  churn: 300,
};
/** Of the other scenarios, at most. */
const events_else_max = 4000;

export const default_subjects = Object.keys(events_of);

export interface SubjectOptions {
  readonly seed: number;
  readonly events?: number | undefined;
  readonly touch?: string | undefined;
}

/** A file of that name wins over a scenario. Files that are not `.hak` are written as such into `folder`. */
export function openSubject(name: string, at: number, folder: string, options: SubjectOptions): Subject {
  const trace = !existsSync(name) && scenario_names.includes(name) ? scenario(name, options) : open(name);
  const touch = chooseTouch(trace, options.touch);
  const { origin, statistics } = trace;
  if (trace instanceof HakTrace) return { name, path: trace.path, trace, events: statistics.events, touch };
  const path = join(folder, `${at}.hak`);
  const columns = { time: origin.has_time, sites: origin.has_sites, touch: statistics.large_blocks_touched > 0 };
  writeHak(path, trace.chunks(), columns, () => origin);
  return { name, path, trace, events: statistics.events, touch };
}

function scenario(name: string, { seed, events }: SubjectOptions): SyntheticTrace {
  const own = new SyntheticTrace(name, { seed, boundaries_bytes }).events;
  const usual = Object.hasOwn(events_of, name) ? events_of[name] : Math.min(own, events_else_max);
  return new SyntheticTrace(name, { seed, events: events ?? usual, boundaries_bytes });
}
