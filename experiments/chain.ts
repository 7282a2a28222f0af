/** One event's decision chain in words: what `hakmem explain` prints and the explorer shows. Nothing of Node. */
import { first_step_arm, fixed_arm, type LogEntry } from '../sim/index.ts';
import { formatBytes } from './sizes.ts';

export interface Link {
  readonly link: string;
  readonly says: string;
}

export function titleOf({ event, op, object, size_bytes, site }: LogEntry): string {
  return `event ${event}: ${op} of object ${object}, ${size_bytes} bytes${op === 'free' ? '' : `, site ${site}`}`;
}

export function chainOf(entry: LogEntry): Link[] {
  const allocates = entry.op !== 'free';
  return [
    ...(allocates ? decision(entry) : []),
    ...(entry.released === 'none' ? [] : [{ link: 'release', says: release(entry, allocates) }]),
    ...entry.actions.map(({ name, offset_bytes, bytes }) => ({
      link: 'action',
      says: `${name} ${bytes} bytes at offset ${offset_bytes}`,
    })),
    { link: 'then', says: stateAfter(entry) },
  ];
}

function decision({ arm, threshold_bytes, size_bytes, route, usable_bytes, offset_bytes }: LogEntry): Link[] {
  const learned = arm >= first_step_arm ? `step ${arm - first_step_arm} of the site` : `strategy ${arm}`;
  const chosen = arm === fixed_arm ? 'threshold set by hand' : learned;
  const place = route === 'heap' ? '' : ` at offset ${offset_bytes} of the region`;
  return [
    { link: '1 select', says: `${chosen}: threshold ${formatBytes(threshold_bytes)}` },
    { link: '2 threshold', says: `${size_bytes} ${size_bytes >= threshold_bytes ? '>=' : '<'} ${threshold_bytes}` },
    { link: '3 route', says: `${route}: ${usable_bytes} usable bytes${place}` },
  ];
}

function release({ released, usable_bytes, offset_bytes }: LogEntry, allocates: boolean): string {
  return allocates || usable_bytes === 0
    ? released
    : `${released}: ${usable_bytes} usable bytes at offset ${offset_bytes}`;
}

function stateAfter({ state }: LogEntry): string {
  return (
    `${state.faults} faults (${state.huge_faults ?? 'unknown'} huge), ${formatBytes(state.resident_bytes)} resident in ` +
    `${state.areas} areas; cache ${state.cached_blocks}, batch ${state.batch_blocks} (${formatBytes(state.batch_bytes)}), ` +
    `kept ${state.kept_blocks} (${formatBytes(state.kept_bytes)}); digest ${state.digest}`
  );
}
