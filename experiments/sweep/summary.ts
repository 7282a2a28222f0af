/** A sweep in short: the document that scripts read, and the table that people do. */

import { type Param, params } from '../../sim/index.ts';
import { describePrices, pricesInWords } from '../calibrate/price-file.ts';
import { paint } from '../color.ts';
import { formatBytes } from '../command.ts';
import { policyId, uncheckable } from '../policy/module.ts';
import type { ShardReport } from './driver.ts';
import { bestOverall, compareCost, settingOf } from './ranking.ts';
import { measuredPath } from './results.ts';
import type { Cell, Row } from './row.ts';
import type { Swept } from './run.ts';
import { byTrace } from './verify.ts';

export type Summary = ReturnType<typeof summaryOf>;

export interface Circumstances {
  readonly seconds: number;
  readonly skipped: number;
  readonly skipped_reason: string | null;
  readonly jobs: number;
  /** Null where nothing is kept. */
  readonly state: string | null;
}

/** load_s, simulate_s and check_s are sums over workers; the share of checking is of these three. */
export function summaryOf(swept: Swept, { seconds, skipped, skipped_reason, jobs, state }: Circumstances) {
  const { plan, rows, measured, resumed, reports, disagreement, output } = swept;
  const sum = (name: 'events' | 'load_s' | 'simulate_s' | 'check_s'): number =>
    reports.reduce((total, report) => total + report[name], 0);
  const [load_s, simulate_s, check_s] = [sum('load_s'), sum('simulate_s'), sum('check_s')];
  // By the rows that are there: the report of a worker that died is lost, what it had written is not.
  const evaluations = rows.length - resumed;
  const worked_s = load_s + simulate_s + check_s;
  const kernel = { agree: 0, differ: 0, unchecked: 0 };
  for (const { verdict } of measured) kernel[verdict] += 1;
  const events = sum('events');
  return {
    rows: rows.length,
    policy: policyId(plan.policy),
    prices: describePrices(plan.prices),
    load_s,
    simulate_s,
    check_s,
    kernel_s: swept.kernel_s,
    seconds,
    events_per_second: simulate_s > 0 ? events / simulate_s : 0,
    rows_per_second: seconds > 0 ? evaluations / seconds : 0,
    check_share: worked_s > 0 ? check_s / worked_s : 0,
    checked_rows: rows.filter(({ verdict }) => verdict === 'agree').length,
    disagreements: (disagreement === null ? 0 : 1) + kernel.differ,
    skipped,
    skipped_reason,
    resumed,
    evaluations,
    configurations: plan.points.length,
    traces: plan.traces.length,
    swept: plan.swept,
    jobs,
    peak_memory_bytes: process.resourceUsage().maxRSS * 1024 + workersBytes(reports, jobs),
    kernel,
    notes: swept.notes,
    best: bestOverall(rows, plan.swept),
    best_by_trace: byTrace(rows).map((of_trace) => {
      const [row] = [...of_trace].sort(compareCost);
      const { trace, config_hash, score_total, time_total_ns, faults, resident_peak_bytes } = row;
      const setting = settingOf(row, plan.swept);
      return { trace, config_hash, setting, score_total, time_total_ns, faults, resident_peak_bytes };
    }),
    output,
    measured: output !== null && measured.length > 0 ? measuredPath(output) : null,
    state,
  };
}

/** At most `jobs` workers live at once: the largest of them. */
function workersBytes(reports: readonly ShardReport[], jobs: number): number {
  const peaks = new Map<string, number>();
  for (const { worker, memory_bytes } of reports) peaks.set(worker, Math.max(peaks.get(worker) ?? 0, memory_bytes));
  return [...peaks.values()]
    .sort((a, b) => b - a)
    .slice(0, jobs)
    .reduce((total, bytes) => total + bytes, 0);
}

const shown_rows = 8;

/** The best rows of each trace first, what to set, and what it took. */
export function tableOf(swept: Swept, summary: Summary): string[] {
  const { plan, rows } = swept;
  const { best } = summary;
  const lines = byTrace(rows).flatMap((of_trace) => [...traceTable(of_trace, plan.swept), '']);
  if (best !== null) {
    const where = best.traces > 1 ? `over all ${best.traces} traces` : 'for this trace';
    lines.push(`${paint.bold(`best ${where}`)}  ${settings(best.setting)}  (score ${best.score_total.toPrecision(4)})`);
  }
  return [...lines, ...took(swept, summary)];
}

/** Configurations that decide alike, event for event, are one line. */
function traceTable(rows: readonly Row[], swept: readonly string[]): string[] {
  const ranked = [...rows].sort(compareCost);
  const groups = new Map<string, Row[]>();
  for (const row of ranked) {
    const alike = `${row.decision_digest} ${row.score_total}`;
    groups.set(alike, [...(groups.get(alike) ?? []), row]);
  }
  const head = [...swept, 'alike', 'score', 'time', 'faults', 'memory peak', 'checked'];
  const body = [...groups.values()].slice(0, shown_rows).map((group) => {
    const [row] = group;
    return [
      ...swept.map((name) => cell(name, row[name])),
      group.length > 1 ? `and ${group.length - 1}` : '',
      Number(row.score_total).toPrecision(4),
      `${(Number(row.time_total_ns) / 1e6).toFixed(2)} ms`,
      // Of both paths: what is mapped, and what the heap grew to.
      String(Number(row.faults) + Number(row.heap_faults)),
      formatBytes(Number(row.resident_peak_bytes) + Number(row.heap_resident_peak_bytes)),
      row.violation === null ? String(row.checked) : String(row.violation),
    ];
  });
  const [{ trace, trace_events }] = ranked;
  const more = groups.size > shown_rows ? [`  ... and ${groups.size - shown_rows} more outcomes`] : [];
  return [
    `${paint.bold(String(trace))}  ${trace_events} events, ${ranked.length} configurations, ${groups.size} outcomes`,
    ...aligned([head, ...body]).map((line, at) => (at === 0 ? paint.dim(`  ${line}`) : `  ${line}`)),
    ...more,
  ];
}

function took({ plan: { policy, prices }, resumed, notes }: Swept, summary: Summary): string[] {
  const { rows, checked_rows, skipped, skipped_reason, evaluations, events_per_second, seconds, output } = summary;
  const { kernel, check_share, peak_memory_bytes } = summary;
  const lines = [
    `rows      ${rows}, of them ${resumed} were there already; ${checked_rows} agree with the C core, ${kernel.agree} with the real kernel`,
    `speed     ${evaluations} rows in ${seconds.toFixed(2)} s, ${Math.round(events_per_second / 1e6)} million events a second while simulating; ${Math.round(100 * check_share)} % of the work was checking; ${formatBytes(peak_memory_bytes)} at most`,
  ];
  lines.push(`prices    ${pricesInWords(prices)}`);
  if (skipped > 0) lines.push(`skipped   ${skipped} impossible combinations; the first: ${skipped_reason}`);
  if (policy !== null) lines.push(`policy    ${uncheckable(policy)}, ${policy.file}`);
  lines.push(...notes.map((note) => `${paint.yellow('note')}      ${note}`));
  if (output !== null) lines.push(`output    ${output}`);
  return lines;
}

const settings = (setting: { readonly [param: string]: Cell }): string =>
  Object.entries(setting)
    .map(([name, value]) => (name === 'mode' ? `--mode ${value}` : `--set ${name}=${spelled(name, value)}`))
    .join(' ');

function cell(name: string, value: Cell): string {
  const { unit } = name in params ? (params as Record<string, Param>)[name] : { unit: 'word' };
  return unit === 'bytes' && typeof value === 'number' ? formatBytes(value) : String(value);
}

/** Exact, and short where it can be: 2097152 is 2MiB. */
function spelled(name: string, value: Cell): string {
  const short = cell(name, value).replace(' ', '');
  return /^\d+(?:[KMGT]iB|B)?$/.test(short) ? short : String(value);
}

/** Columns side by side. */
function aligned(lines: readonly (readonly string[])[]): string[] {
  const widths = lines[0].map((_, at) => Math.max(...lines.map((line) => line[at].length)));
  return lines.map((line) =>
    line
      .map((text, at) => text.padEnd(widths[at]))
      .join('  ')
      .trimEnd(),
  );
}
