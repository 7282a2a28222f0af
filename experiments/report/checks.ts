/** The last thing on the page: how far the rows were checked, and everything they were made with. */
import type { Cell, Row } from '../sweep/row.ts';
import { type Html, html } from './html.ts';
import type { Subject } from './subjects.ts';
import { formatCount } from './words.ts';

export function checksSection(subjects: readonly Subject[]): Html {
  const rows = subjects.flatMap((subject) => subject.rows);
  const measured = subjects.flatMap((subject) => subject.measured);
  const levels = tally(rows.map(({ checked, verdict }) => `${checked}: ${verdict}`));
  const real = tally(measured.map(({ verdict }) => verdict));
  const broken = rows.filter(({ violation }) => violation !== null).length;
  const nominal = rows.filter(({ prices_source }) => prices_source !== 'measured').length;
  const facts: readonly (readonly [string, Html])[] = [
    ['rows by level and verdict', list(levels.map(([word, count]) => `${word}, ${formatCount(count)}`))],
    [
      'on a real kernel',
      measured.length === 0 ? html`none` : list(real.map(([word, count]) => `${word}, ${formatCount(count)}`)),
    ],
    ['rows that broke a rule', html`${formatCount(broken)}`],
    [
      'traces',
      list(
        of(rows, (row) => `${row.trace}: ${formatCount(Number(row.trace_events))} events, SHA-256 ${row.trace_sha256}`),
      ),
    ],
    ['spec fingerprint', list(of(rows, ({ spec_fingerprint }) => spec_fingerprint))],
    [
      'prices',
      html`${list(of(rows, (row) => `${row.prices_name} (${row.prices_source}${row.prices_machine === 'this' ? ' on the same machine' : row.prices_machine === 'other' ? ' on another machine' : ''}), SHA-256 ${row.prices_sha256}`))}${
        nominal > 0 ? html`<p class="loud">Nominal: these are typical prices, not measured on your machine.</p>` : null
      }`,
    ],
    ['prices, ns', list(of(rows, ({ prices }) => worded(String(prices))))],
    ['kernel profile', list(of(rows, ({ kernel_profile }) => worded(String(kernel_profile))))],
    ['touches', list(of(rows, ({ touch }) => touch))],
    ['seed', list(of(rows, ({ seed }) => seed))],
    ['made on', list(of(rows, ({ machine }) => machine))],
    ['made by', list(of(rows, ({ revision }) => `hakmem ${revision}`))],
  ];
  return html`<section id="checks"><h2>The checks</h2>
<p><code>decisions</code> means that an independent core in C, given only trace and configuration, came to the same digest of
all decisions and to the same counts. A real kernel is asked for some rows: its system calls, faults and resident pages must be
the same too.</p>
<dl>${facts.map(([name, says]) => html`<dt>${name}</dt><dd>${says}</dd>`)}</dl></section>`;
}

function tally(words: readonly string[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

function of(rows: readonly Row[], words: (row: Row) => Cell): string[] {
  return [...new Set(rows.map((row) => String(words(row) ?? 'not known')))];
}

const list = (lines: readonly string[]): Html =>
  html`${lines.map((line, at) => (at === 0 ? html`${line}` : html`<br>${line}`))}`;

/** One flat JSON object as "name value, name value". */
function worded(json: string): string {
  return Object.entries(JSON.parse(json) as Record<string, Cell>)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}
