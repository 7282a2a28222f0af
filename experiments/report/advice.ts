/** The first thing on the page: what to set, what it buys, and whether that is more than a flat curve. */
import { basename } from 'node:path';
import { median } from 'd3-array';
import { formatBytes } from '../sizes.ts';
import { bestOverall } from '../sweep/ranking.ts';
import type { Measured, Row } from '../sweep/row.ts';
import { margin } from '../tune/verify.ts';
import { type Html, html } from './html.ts';
import { environmentOf, flagsOf } from './setting.ts';
import { memoryOf, type Subject } from './subjects.ts';
import { formatChange, formatCount, formatNs, short } from './words.ts';

/** A subject with the default's row, from the results or simulated for this page; null where neither was possible. */
export interface Advised {
  readonly subject: Subject;
  readonly base: Row | null;
}

/** Figures of one configuration over the traces: score as a mean, time and faults as sums, memory as the highest. */
interface Figures {
  readonly score: number;
  readonly time_ns: number;
  readonly faults: number;
  readonly memory_bytes: number;
}

export type Worth = 'set' | 'leave' | 'flat' | 'unknown' | 'broken';

export function worthOf(best: Row, base: Row | null, rows: readonly Row[]): Worth {
  if (best.violation !== null) return 'broken';
  const scores = rows.map((row) => Number(row.score_total));
  if (base === null) return spreadOf(scores) <= margin ? 'flat' : 'unknown';
  const [after, before] = [Number(best.score_total), Number(base.score_total)];
  // A trace without a mapped block costs nothing to compare by: 0 is not 1 % less than 0.
  if (after < before && after <= before * (1 - margin)) return 'set';
  return spreadOf([...scores, before]) <= margin ? 'flat' : 'leave';
}

export function adviceSection(advised: readonly Advised[]): Html {
  const common = advised.length > 1 ? commonOf(advised) : null;
  const alone = advised.length === 1 ? advised[0] : null;
  return html`<section id="set"><h2>What to set, and what it buys</h2>
${doubts(advised)}
${alone === null ? null : headline(alone.subject.rows, [alone.subject.best], alone.base === null ? null : [alone.base], checkedWords(alone.subject))}
${common === null ? null : commonPart(advised, common)}
${alone === null ? html`<h3>Trace by trace</h3>${tableOf(advised, common)}` : null}
<p class="note">Best is by score: ${'40 % time, 30 % faults, 30 % memory'}, as shares of a fixed baseline of the trace. A gain below
${short(100 * margin)} % is called none: no setting is worth carrying for it. Simulated figures have no noise: the same
input gives the same figures anywhere; how near they are to a machine is below, under Measured.</p>
</section>`;
}

function headline(rows: readonly Row[], best: readonly Row[], base: readonly Row[] | null, checked: string): Html {
  const worth = worthOf(joined(best), base === null ? null : joined(base), rows);
  const [after, before] = [figuresOf(best), base === null ? null : figuresOf(base)];
  const [row] = best;
  const paste = worth === 'broken' || worth === 'leave' || worth === 'flat' ? null : settingBlock(row);
  return html`<p class="verdict">${sentences[worth](after, before)}</p>
${paste}
${before === null ? against(rows, after) : changes(before, after)}
<p>${checked}</p>
${paste === null ? html`<details><summary>The best row all the same</summary>${settingBlock(row)}</details>` : null}`;
}

const gain = (after: Figures, before: Figures | null): string =>
  before === null ? '' : formatChange(before.score, after.score);

const sentences: Record<Worth, (after: Figures, before: Figures | null) => string> = {
  set: (after, before) => `Set this: score ${short(before!.score)} to ${short(after.score)}, ${gain(after, before)}.`,
  leave: (after, before) =>
    `Leave it as it is: the best row scores ${short(after.score)}, the default ${short(before!.score)} (${gain(after, before)}).`,
  flat: () => 'Leave it as it is: the curve is flat. All rows score the same within 1 %.',
  unknown: (after) => `The best row scores ${short(after.score)}; what the default would score is not known here.`,
  broken: () => 'Nothing to set: every row broke a rule of the policy.',
};

function settingBlock(row: Row): Html {
  const id = `setting-${row.config_hash}-${String(row.trace_sha256).slice(0, 8)}-${row.touch}-${String(row.prices_sha256).slice(0, 6)}`;
  const flags = flagsOf(row);
  return html`<div class="setting"><pre id="${id}" tabindex="0">${flags}</pre>
<span class="tools" hidden><button type="button" class="copy" data-copies="${id}">Copy</button></span></div>
<details><summary>As environment variables</summary><pre tabindex="0">${environmentOf(row)}</pre></details>`;
}

function changes(before: Figures, after: Figures): Html {
  const lines: readonly (readonly [string, string, string, string])[] = [
    ['score', short(before.score), short(after.score), formatChange(before.score, after.score)],
    ['time', formatNs(before.time_ns), formatNs(after.time_ns), formatChange(before.time_ns, after.time_ns)],
    ['faults', formatCount(before.faults), formatCount(after.faults), formatChange(before.faults, after.faults)],
    [
      'resident at the most',
      formatBytes(before.memory_bytes),
      formatBytes(after.memory_bytes),
      formatChange(before.memory_bytes, after.memory_bytes),
    ],
  ];
  return html`<div class="wide" tabindex="0" role="group" aria-label="Best against default"><table><thead><tr><th scope="col">figure</th><th scope="col">default</th>
<th scope="col">best</th><th scope="col">change</th></tr></thead><tbody>${lines.map(
    ([name, old, now, change]) =>
      html`<tr><th scope="row">${name}</th><td>${old}</td><td>${now}</td><td>${change}</td></tr>`,
  )}</tbody></table></div>
<p class="note">Default is mode BALANCED as it is. Faults and memory include the heap.</p>`;
}

/** Without the default, the rows are all there is to compare with. */
function against(rows: readonly Row[], after: Figures): Html {
  const scores = rows.map((row) => Number(row.score_total));
  return html`<p>The default is not among the rows, and the trace is not here to simulate it. Against the rows: median
${short(median(scores)!)} (${formatChange(median(scores)!, after.score)}), worst ${short(Math.max(...scores))}
(${formatChange(Math.max(...scores), after.score)}).</p>`;
}

function doubts(advised: readonly Advised[]): Html[] {
  const rows = advised.flatMap(({ subject }) => subject.rows);
  const count = (verdict: string): number => rows.filter((row) => row.verdict === verdict).length;
  const lines: string[] = [];
  if (count('differ') > 0)
    lines.push(
      `${formatCount(count('differ'))} rows differ between simulator and C core: do not use this page before that is explained.`,
    );
  if (count('unchecked') > 0)
    lines.push(
      `${formatCount(count('unchecked'))} of ${formatCount(rows.length)} rows are unchecked: nobody but the simulator says so.`,
    );
  if (rows.some(({ prices_source }) => prices_source !== 'measured'))
    lines.push('Prices are nominal: typical nanoseconds, not those of your machine. Orders hold better than times.');
  const strangers = new Set(
    rows
      .filter(({ prices_machine }) => prices_machine === 'other')
      .map(({ prices_machine_name }) => prices_machine_name),
  );
  for (const name of strangers)
    lines.push(
      `Prices are those of another machine (${name}), not of the one that simulated. Orders hold better than times.`,
    );
  return lines.map((line) => html`<p class="loud">${line}</p>`);
}

function checkedWords({ best, measured }: Subject): string {
  const real = measured.find(({ config_hash }) => config_hash === best.config_hash);
  return `${coreWords(best)} ${realWords(real)}`;
}

function coreWords({ verdict }: Row): string {
  if (verdict === 'agree') return 'Checked: the C core made the same decisions and counts, event for event.';
  return verdict === 'differ' ? 'The C core came to something else.' : 'Unchecked.';
}

function realWords(real: Measured | undefined): string {
  if (real === undefined) return 'It was not run on a real kernel.';
  if (real.verdict === 'agree') return 'A real kernel counted the same system calls, faults and resident pages.';
  return real.verdict === 'differ'
    ? 'A real kernel counted something else.'
    : 'The run on a real kernel was disturbed: unchecked.';
}

/** One configuration for all traces: its rows, one a subject. */
function commonOf(advised: readonly Advised[]): Row[] | null {
  const rows = advised.flatMap(({ subject }) => subject.rows);
  const best = bestOverall(rows, []);
  if (best === null || best.traces < advised.length) return null;
  return advised.map(({ subject }) => subject.rows.find(({ config_hash }) => config_hash === best.config_hash)!);
}

function commonPart(advised: readonly Advised[], common: readonly Row[]): Html {
  const base = advised.map((each) => each.base);
  const known = base.every((row) => row !== null) ? (base as Row[]) : null;
  const checked = common.filter(({ verdict }) => verdict === 'agree').length;
  const words = `Checked against the C core on ${checked} of ${common.length} traces.`;
  const means = meansOf(advised);
  return html`<h3>One setting for all ${advised.length} traces</h3>${headline(means, common, known, words)}`;
}

/** By configuration that every trace has: a row with its mean score. */
function meansOf(advised: readonly Advised[]): Row[] {
  const groups = new Map<string, Row[]>();
  for (const row of advised.flatMap(({ subject }) => subject.rows)) {
    const group = groups.get(String(row.config_hash));
    if (group === undefined) groups.set(String(row.config_hash), [row]);
    else group.push(row);
  }
  return [...groups.values()].filter((group) => group.length === advised.length).map(joined);
}

function tableOf(advised: readonly Advised[], common: readonly Row[] | null): Html {
  const words: Record<Worth, string> = {
    set: 'worth setting',
    leave: 'leave it as it is',
    flat: 'flat: leave it as it is',
    unknown: 'default not known',
    broken: 'every row broke a rule',
  };
  const names = advised.map(({ subject }) => subject.name);
  // Without their folder, where that still tells them apart.
  const apart = new Set(names.map((name) => basename(name))).size === names.length;
  const brief = (name: string): string => (apart ? basename(name) : name);
  return html`<div class="wide" tabindex="0" role="group" aria-label="Best of each trace"><table class="brief"><thead><tr>
<th scope="col" class="words">trace</th><th scope="col" class="words">so</th><th scope="col" class="words">best setting</th>
<th scope="col">best score</th><th scope="col">default</th><th scope="col">change</th><th scope="col">common setting</th>
<th scope="col">time</th><th scope="col">resident</th><th scope="col">row is</th></tr></thead><tbody>${advised.map(
    (
      { subject: { name, rows, best }, base },
      at,
    ) => html`<tr><th scope="row" class="words" title="${name}">${brief(name)}</th>
<td class="words">${words[worthOf(best, base, rows)]}</td>
<td class="setting-cell">${flagsOf(best)
      .split(/ (?=--set)/)
      .map((flag) => html`<code>${flag}</code>`)}</td>
<td>${short(Number(best.score_total))}</td><td>${base === null ? '?' : short(Number(base.score_total))}</td>
<td>${base === null ? '?' : formatChange(Number(base.score_total), Number(best.score_total))}</td>
<td>${common === null ? '?' : short(Number(common[at].score_total))}</td>
<td>${formatNs(Number(best.time_total_ns))}</td><td>${formatBytes(memoryOf(best))}</td>
<td>${rowIs[String(best.verdict)] ?? String(best.verdict)}</td></tr>`,
  )}</tbody></table></div>
<p class="note">Scores: of the best row, of the default, and of the one setting for all traces.</p>`;
}

const rowIs: Record<string, string> = { agree: 'checked', differ: 'in dispute', unchecked: 'unchecked' };

function figuresOf(rows: readonly Row[]): Figures {
  const sum = (of: (row: Row) => number): number => rows.reduce((total, row) => total + of(row), 0);
  return {
    score: sum((row) => Number(row.score_total)) / rows.length,
    time_ns: sum((row) => Number(row.time_total_ns)),
    faults: sum((row) => Number(row.faults) + Number(row.heap_faults)),
    memory_bytes: Math.max(...rows.map(memoryOf)),
  };
}

/** As one row: the mean score, and a violation where one of them has one. */
function joined(rows: readonly Row[]): Row {
  const broken = rows.find(({ violation }) => violation !== null);
  return { ...rows[0], score_total: figuresOf(rows).score, violation: broken?.violation ?? null };
}

function spreadOf(scores: readonly number[]): number {
  const [least, most] = [scores.reduce((a, b) => Math.min(a, b)), scores.reduce((a, b) => Math.max(a, b))];
  return least > 0 ? most / least - 1 : most > 0 ? Number.POSITIVE_INFINITY : 0;
}
