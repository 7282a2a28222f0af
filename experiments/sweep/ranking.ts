/** Which rows are better, and the one setting that is best over all traces. */
import type { Cell, Row } from './row.ts';

/** Cheapest first: no rule broken, then score, then time, then memory, then the hash, so that the order is total. */
export function compareCost(a: Row, b: Row): number {
  return (
    Number(a.violation !== null) - Number(b.violation !== null) ||
    Number(a.score_total) - Number(b.score_total) ||
    Number(a.time_total_ns) - Number(b.time_total_ns) ||
    Number(a.resident_mean_bytes) - Number(b.resident_mean_bytes) ||
    (String(a.config_hash) < String(b.config_hash) ? -1 : 1)
  );
}

export interface Best {
  readonly config_hash: string;
  /** What was swept, with the value to set. */
  readonly setting: { readonly [param: string]: Cell };
  /** Mean over the traces. */
  readonly score_total: number;
  /** Sums over the traces, and the highest peak. */
  readonly time_total_ns: number;
  readonly faults: number;
  readonly resident_peak_bytes: number;
  readonly traces: number;
}

/** The configuration with the lowest mean score over all traces; null without rows. */
export function bestOverall(rows: readonly Row[], swept: readonly string[]): Best | null {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const hash = String(row.config_hash);
    groups.set(hash, [...(groups.get(hash) ?? []), row]);
  }
  const traces = Math.max(0, ...[...groups.values()].map((group) => group.length));
  const whole = [...groups.values()].filter((group) => group.length === traces);
  const candidates = whole.filter((group) => group.every(({ violation }) => violation === null));
  return (
    (candidates.length > 0 ? candidates : whole)
      .map((group) => summed(group, swept))
      .sort(
        (a, b) =>
          a.score_total - b.score_total ||
          a.time_total_ns - b.time_total_ns ||
          (a.config_hash < b.config_hash ? -1 : 1),
      )[0] ?? null
  );
}

function summed(group: readonly Row[], swept: readonly string[]): Best {
  const sum = (name: string): number => group.reduce((total, row) => total + Number(row[name]), 0);
  return {
    config_hash: String(group[0].config_hash),
    setting: settingOf(group[0], swept),
    score_total: sum('score_total') / group.length,
    time_total_ns: sum('time_total_ns'),
    faults: sum('faults'),
    resident_peak_bytes: Math.max(...group.map((row) => Number(row.resident_peak_bytes))),
    traces: group.length,
  };
}

export function settingOf(row: Row, swept: readonly string[]): { readonly [param: string]: Cell } {
  return Object.fromEntries(swept.map((name) => [name, row[name]]));
}
