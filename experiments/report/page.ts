/** The whole page: one file, nothing fetched, nothing but its own script allowed to run. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type Advised, adviceSection } from './advice.ts';
import { checksSection } from './checks.ts';
import { columnsOf } from './columns.ts';
import { type Html, html, Html as Markup } from './html.ts';
import { style } from './style.ts';
import type { Axis } from './swept.ts';
import { type Shown, traceSection } from './trace-section.ts';
import { formatCount, formatValue } from './words.ts';

export interface PageOptions {
  /** Result files, as they were given. */
  readonly sources: readonly string[];
  readonly revision: string;
  readonly shown: readonly Shown[];
  readonly axes: readonly Axis[];
}

export function pageOf({ sources, revision, shown, axes }: PageOptions): string {
  const script = scriptText();
  const subjects = shown.map(({ subject }) => subject);
  const rows = subjects.flatMap((subject) => subject.rows);
  const columns = columnsOf(
    rows,
    subjects.map(({ best }) => best),
    axes,
  );
  const title = subjects.length === 1 ? basename(subjects[0].name) : `${subjects.length} traces`;
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash(script)}'; base-uri 'none'; form-action 'none'`;
  const advised: Advised[] = shown.map(({ subject, base }) => ({ subject, base }));
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>hakmem: ${title}</title><style>${new Markup(style)}</style></head>
<body><a class="skip" href="#set">Skip to what to set</a>
<header><h1>What ${title} ${subjects.length === 1 ? 'costs' : 'cost'} under ${formatCount(new Set(rows.map((row) => row.config_hash)).size)} configurations</h1>
<p class="muted">${formatCount(rows.length)} rows from ${sources.join(', ')}. Swept: ${
    axes.length === 0 ? 'nothing' : axes.map(({ name }) => name).join(', ')
  }.</p>
<nav aria-label="Contents"><ul><li><a href="#set">What to set</a></li>${shown.map(
    ({ subject }, at) => html`<li><a href="#t${at}-trace">${basename(subject.name)}</a></li>`,
  )}<li><a href="#all">All rows</a></li><li><a href="#checks">The checks</a></li></ul></nav></header>
<main>
${adviceSection(advised)}
${shown.map((each, at) => traceSection(each, at, axes))}
${rowsSection(columns)}
${checksSection(subjects)}
</main>
<footer><p>Made by hakmem ${revision}: <code>hakmem report</code>. How to read it, and what each bound is: docs/REPORT.md.</p></footer>
<script type="application/json" id="rows-data">${new Markup(JSON.stringify(columns).replaceAll('<', '\\u003c'))}</script>
<script type="module">${new Markup(script)}</script></body></html>
`;
  return page.text;
}

function rowsSection({ rows, columns, constant }: ReturnType<typeof columnsOf>): Html {
  return html`<section id="all"><h2>All rows</h2>
<noscript><p>This table needs the page's own script.</p></noscript>
<div class="tools" hidden><label>Filter <input id="filter" type="search" size="34" placeholder="agree faults&lt;5000 mode=FAST" aria-describedby="filter-help"></label>
<button type="button" id="download">Download as CSV</button></div>
<p class="note" id="filter-help">Words must all occur in the row; <code>column=value</code>, <code>column&lt;number</code> and
<code>column&gt;number</code> ask one column, in bytes and nanoseconds. A heading sorts, and again the other way round. Bold
rows are the best of their trace. The CSV has the rows that the filter leaves, all columns, exact.</p>
<details id="columns"><summary>Columns</summary><fieldset><legend>Shown columns</legend>${columns.map(
    ({ name, shown }) =>
      html`<label><input type="checkbox" value="${name}"${shown ? new Markup(' checked') : null}> ${name}</label>`,
  )}</fieldset></details>
<div class="tools pages" hidden><button type="button" id="previous">Previous</button><button type="button" id="next">Next</button>
<span id="rows-count" role="status">${formatCount(rows)} rows</span></div>
<div id="rows-scroll" tabindex="0" role="group" aria-label="All rows"><table id="rows"><thead><tr id="rows-head"></tr></thead><tbody id="rows-body"></tbody></table></div>
<details><summary>The same in every row</summary><dl>${Object.entries(constant).map(
    ([name, value]) => html`<dt>${name}</dt><dd>${value === null ? 'none' : formatValue(name, value)}</dd>`,
  )}</dl></details></section>`;
}

/** Compiled beside this file; a closing tag inside it would end it. */
function scriptText(): string {
  const text = readFileSync(new URL('table-script.js', import.meta.url), 'utf8');
  return `\n${text.replaceAll('</script', '<\\/script')}`;
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
