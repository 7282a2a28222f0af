/** What a tuning says: one JSON document, or lines to read. What to set stands first. */
import { describePrices, type PriceList, pricesInWords } from '../calibrate/price-file.ts';
import { formatBytes } from '../command.ts';
import { policyId, uncheckable } from '../policy/module.ts';
import type { Interval } from '../statistics.ts';
import type { Evaluated } from './evaluator.ts';
import { type Figures, mostOf } from './objective.ts';
import { type HeldOut, hasSetting, type Tuned } from './tune.ts';
import type { Verified } from './verify.ts';

const pareto_shown = 8;

export function documentOf(tuned: Tuned, prices: PriceList): unknown {
  const { target, method, objective, searched, verified, worth, impossible, ceiling, seconds } = tuned;
  const { winner, baseline, cost } = searched;
  return {
    target: target.name,
    policy: policyId(target.module ?? null),
    method: method.name,
    engine: target.engine,
    objective: objective.says,
    traces: tuned.subjects.map(({ trace }) => trace.path),
    prices: describePrices(prices),
    evaluations: cost.evaluations,
    seconds: seconds.search + seconds.check + seconds.verify,
    best: target.describe(winner.evaluated.point),
    setting: settingOf(tuned),
    predicted: {
      ...figuresOf(winner.evaluated),
      cost_ratio: winner.standing.cost,
      traces: byTrace(tuned, winner.evaluated),
    },
    predicted_baseline: { ...figuresOf(baseline), traces: byTrace(tuned, baseline) },
    baseline:
      verified === null ? { ...figuresOf(baseline), measured: false } : { ...verified.baseline, measured: true },
    verified: verified === null ? null : withoutBaseline(verified),
    over_cap: tuned.over_cap.map(({ point, ...bytes }) => ({ setting: target.settingText(point), ...bytes })),
    gain: worth.gain,
    program: tuned.program,
    held_out: tuned.held_out.map((each) => heldOut(tuned, each)),
    ceiling: ceiling.share_of_cpu === null && ceiling.share_of_faults === null ? null : ceiling,
    ceiling_reason: ceiling.reason,
    impossible: impossible === null ? null : { ...impossible, least: target.settingText(impossible.least) },
    pareto: searched.pareto.map((at) => {
      const { evaluated } = searched.tried[at];
      return { setting: target.settingText(evaluated.point), ...figuresOf(evaluated) };
    }),
    tried: {
      configurations: searched.configurations,
      distinct: searched.distinct,
      considered: searched.considered,
      on_whole_traces: searched.tried.length,
      space: target.space.map(({ name, values, why }) => ({ name, values, why })),
      notes: searched.notes,
    },
    cost: {
      ...cost,
      grid_rows: searched.grid_rows,
      times_less_than_grid: timesLess(tuned),
      checked_rows: tuned.checked_rows,
      search_s: seconds.search,
      check_s: seconds.check,
      verify_s: seconds.verify,
    },
    unchecked: tuned.unchecked,
  };
}

export function linesOf(tuned: Tuned, prices: PriceList): string[] {
  const { target, objective, searched, verified, impossible } = tuned;
  const { winner, baseline, cost } = searched;
  const setting = settingOf(tuned);
  return [
    ...(impossible === null ? [setting === '' ? nothingToSet(tuned) : `set   ${setting}`] : impossibleLines(tuned)),
    `goal  ${objective.says}`,
    ...(target.module ? [`with  --policy ${target.module.path}; ${uncheckable(target.module)}`] : []),
    '',
    ...table([
      ['', 'time', 'faults', 'resident peak', 'score'],
      row(setting === '' ? 'best tried' : 'with it', winner.evaluated),
      row('as it is', baseline),
    ]),
    `  at ${pricesInWords(prices)}`,
    ...realLines(verified),
    ...tuned.over_cap.map(
      ({ point, predicted_bytes, resident_peak_bytes }) =>
        `above the cap for real: ${target.settingText(point)}, ${formatBytes(resident_peak_bytes)} where ${formatBytes(predicted_bytes)} was predicted`,
    ),
    ...programLines(tuned),
    ...tuned.held_out.flatMap((each) => heldOutLines(tuned, each)),
    ...ceilingLines(tuned),
    '',
    `time against memory, cheapest first (${searched.pareto.length} of ${searched.tried.length} tried on whole traces)`,
    ...table(
      searched.pareto.slice(0, pareto_shown).map((at) => {
        const { evaluated } = searched.tried[at];
        return row(target.settingText(evaluated.point).replace(/^HAKMEM_MODE=\w+ ?/, '') || 'as it is', evaluated);
      }),
    ),
    '',
    `${tuned.method.name}: ${searched.configurations} configurations, ${searched.distinct} that these traces tell apart` +
      `${searched.considered < searched.distinct ? `, ${searched.considered} of them within the budget` : ''}; ` +
      `${cost.runs} runs, ${cost.rows} rows in ${tuned.seconds.search.toFixed(1)} s` +
      `${timesLess(tuned) === null ? '' : `, ${timesLess(tuned)!.toFixed(1)} times less than all of them on whole traces`}`,
    ...searched.notes.map((note) => `  ${note}`),
    tuned.checked_rows > 0
      ? `checked: ${tuned.checked_rows} rows of whole traces equal in ${target.checker} (${tuned.seconds.check.toFixed(1)} s)`
      : `checked: nothing${tuned.unchecked === null ? '' : `: ${tuned.unchecked}`}`,
  ];
}

function settingOf(tuned: Tuned): string {
  return hasSetting(tuned) ? tuned.target.settingText(tuned.searched.winner.evaluated.point) : '';
}

function nothingToSet({ verified, rss_max_bytes, program }: Tuned): string {
  if (program !== null) return 'leave it as it is: what was found does no good on the program itself';
  if (verified === null || rss_max_bytes === undefined || verified.resident_peak_bytes <= rss_max_bytes)
    return 'leave it as it is: nothing tried is better beyond noise';
  const found = formatBytes(verified.resident_peak_bytes);
  return `nothing to set: for real the best that was tried takes ${found}, above the cap of ${formatBytes(rss_max_bytes)}`;
}

function impossibleLines({ impossible, target }: Tuned): string[] {
  const { rss_max_bytes, live_bytes, live_exceeds, least, least_bytes } = impossible!;
  const cap = formatBytes(rss_max_bytes);
  return [
    live_exceeds
      ? `impossible: live bytes exceed it: ${formatBytes(live_bytes)} are in use at once, the cap is ${cap}`
      : `impossible: no setting tried stays below ${cap}; ${formatBytes(live_bytes)} are in use at once`,
    `least memory: ${formatBytes(least_bytes)} with ${target.settingText(least)}`,
  ];
}

function realLines(verified: Verified | null): string[] {
  if (verified === null) return ['', 'not run for real'];
  const { speedup, verdict, check, rounds, baseline } = verified;
  const line = (name: string, { ns, faults, resident_peak_bytes }: typeof baseline): string[] => [
    name,
    milliseconds(ns),
    String(faults),
    formatBytes(resident_peak_bytes),
  ];
  return [
    '',
    ...table([
      ['for real', 'CPU time', 'faults', 'resident peak'],
      line('with it', verified),
      line('as it is', baseline),
    ]),
    `real kernel, ${rounds} interleaved rounds: ${times(speedup)} as fast, ${verdict}; counts ${check}`,
  ];
}

function programLines({ program }: Tuned): string[] {
  if (program === null) return [];
  const { metrics, runs, harms, differences } = program;
  const words = (['cpu', 'faults', 'resident_peak'] as const).map(
    (name) => `${name.replace('_', ' ')} ${times(metrics[name].ratio)}, ${metrics[name].verdict}`,
  );
  return [
    '',
    `on the program, ${runs} runs each in turns, as it is against the setting: ${words.join('; ')}`,
    ...(harms ? ['it harms the program: leave it as it is'] : []),
    ...differences,
  ];
}

function heldOutLines({ objective }: Tuned, { subject, loss, verified }: HeldOut): string[] {
  const lost =
    loss === null ? 'breaks the condition there' : `costs ${(100 * loss).toFixed(1)} % more than the best tried there`;
  const real = verified === null ? '' : `; real kernel ${times(verified.speedup)} as fast, ${verified.verdict}`;
  return ['', `held out ${subject.trace.path}: ${lost} (${objective.name})${real}`];
}

function ceilingLines({ ceiling }: Tuned): string[] {
  const { share_of_cpu, share_of_faults, reason } = ceiling;
  if (share_of_cpu === null) return ['', `ceiling: not known: ${reason}`];
  const faults = share_of_faults === null ? '' : ` and ${(100 * share_of_faults).toFixed(1)} % of its page faults`;
  return [
    '',
    `ceiling: no setting can remove more than ${(100 * share_of_cpu).toFixed(1)} % of the program's CPU time${faults}, against "as it is"`,
  ];
}

function heldOut({ target }: Tuned, { subject, winner, baseline, best, loss, verified }: HeldOut): unknown {
  return {
    trace: subject.trace.path,
    predicted: named(winner),
    predicted_baseline: named(baseline),
    best_tried: { setting: target.settingText(best.point), ...named(best.figures) },
    loss,
    verified: verified === null ? null : withoutBaseline(verified),
    baseline: verified?.baseline ?? null,
  };
}

function withoutBaseline({ baseline: _, ...rest }: Verified): Omit<Verified, 'baseline'> {
  return rest;
}

/** Times what the search cost, as against every configuration on every whole trace; null where nothing had to be run. */
function timesLess({ searched }: Tuned): number | null {
  return searched.cost.rows > 0 ? searched.grid_rows / searched.cost.rows : null;
}

function byTrace({ subjects }: Tuned, { figures }: Evaluated): unknown {
  return subjects.map(({ trace }, at) => ({ trace: trace.path, ...named(figures[at]) }));
}

/** All traces together: times and faults in sum, the most memory and the mean score of one. */
function figuresOf({ figures }: Evaluated): { ns: number; faults: number; resident_peak_bytes: number; score: number } {
  return {
    ns: figures.reduce((sum, { time_ns }) => sum + time_ns, 0),
    faults: figures.reduce((sum, { faults }) => sum + faults, 0),
    resident_peak_bytes: mostOf(figures),
    score: figures.reduce((sum, { score }) => sum + score, 0) / figures.length,
  };
}

function named({ time_ns, faults, memory_bytes, score }: Figures): Record<string, number> {
  return { ns: time_ns, faults, resident_peak_bytes: memory_bytes, score };
}

function row(name: string, evaluated: Evaluated): string[] {
  const { ns, faults, resident_peak_bytes, score } = figuresOf(evaluated);
  return [name, milliseconds(ns), String(faults), formatBytes(resident_peak_bytes), score.toFixed(3)];
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((cells) => cells[at].length)));
  return rows.map(
    ([name, ...cells]) =>
      `  ${name.padEnd(widths[0])}  ${cells.map((cell, at) => cell.padStart(widths[at + 1])).join('  ')}`,
  );
}

function times({ median, low, high }: Interval): string {
  return `${median.toFixed(2)} times [${low.toFixed(2)} to ${high.toFixed(2)}]`;
}

function milliseconds(ns: number): string {
  return `${(ns / 1e6).toFixed(1)} ms`;
}
