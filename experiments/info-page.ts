/** What a trace holds, as one page: nothing fetched, no script. */
import { basename } from 'node:path';
import type { Course } from '../traces/course.ts';
import type { Statistics, Trace } from '../traces/index.ts';
import type { Contents } from './info.ts';
import { type Html, html, Html as Markup } from './report/html.ts';
import { figure, font, ink, Plot } from './report/plot.ts';
import { style } from './report/style.ts';
import { sample_head, sampleRows } from './sample-table.ts';
import { formatBytes } from './sizes.ts';
import { count } from './words.ts';

type Histogram = readonly (readonly [number, number])[];

const MiB = 2 ** 20;
const shared = {
  width: 640,
  height: 300,
  marginLeft: 62,
  marginRight: 24,
  marginTop: 28,
  marginBottom: 60,
  style: font,
};

export function infoPage(contents: Contents): string {
  const { trace, sha256, statistics, profile, course, large, sample, top } = contents;
  const title = basename(trace.path);
  const policy = `default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'`;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>hakmem: ${title}</title><style>${new Markup(style)}</style></head>
<body><header><h1>What ${title} holds</h1>
<p class="muted">${trace.origin.program}; ${count(statistics.events)} events; threads: ${count(statistics.threads)}; SHA-256 ${sha256}.</p></header>
<main>
<section><h2>Counts</h2>${counts(statistics)}</section>
<section><h2>Live bytes over the trace</h2><figure>${liveFigure(course)}</figure></section>
<section><h2>Sizes and lifetimes</h2><div class="figures">
<figure>${histogramFigure('sizes', 'sizes of allocations and reallocs', statistics.size_histogram, formatBytes)}<figcaption>Sizes of allocations and reallocs</figcaption></figure>
<figure>${histogramFigure('lifetimes', 'lifetimes of freed blocks, in events', profile.lifetimeHistogram(), count)}<figcaption>Lifetimes of freed blocks, in events</figcaption></figure></div></section>
${sample === null ? null : html`<section><h2>All blocks, estimated from the sample and counted</h2>${tableOf('All blocks', sample_head, sampleRows(sample))}</section>`}
${large.sizeClasses().length > 0 ? largeBlocks(contents) : null}
${trace.origin.has_sites ? sites(contents) : null}
${trace.origin.notes.length > 0 ? notes(trace) : null}
</main>
<footer><p>Made by <code>hakmem info --html --top ${top}</code>: docs/TRACES.md.</p></footer></body></html>
`.text;
}

/** The last `words` columns are text, the others numbers. */
function tableOf(says: string, head: readonly string[], rows: readonly (readonly string[])[], words = 0): Html {
  const kind = (at: number): Html => new Markup(at >= head.length - words ? ' class="words"' : '');
  return html`<div class="wide" tabindex="0" role="group" aria-label="${says}"><table><thead><tr>${head.map(
    (name, at) => html`<th scope="col"${kind(at)}>${name}</th>`,
  )}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map((cell, at) => html`<td${kind(at)}>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
}

function counts(statistics: Statistics): Html {
  const { allocations, reallocs, frees, unfreed, peak_live_bytes, total_bytes, largest_bytes } = statistics;
  return tableOf(
    'Counts',
    ['allocations', 'reallocs', 'frees', 'never freed', 'peak live', 'asked for', 'largest'],
    [
      [
        ...[allocations, reallocs, frees, unfreed].map(count),
        ...[peak_live_bytes, total_bytes, largest_bytes].map(formatBytes),
      ],
    ],
  );
}

function liveFigure(course: Course): Html {
  const points = course.points();
  const most = points.reduce((peak, { live_bytes }) => Math.max(peak, live_bytes), 0);
  return figure({
    id: 'live',
    title: 'live bytes over the trace',
    says: `Requested bytes live, by time. At the most ${formatBytes(most)}.`,
    plot: {
      ...shared,
      marginBottom: 42,
      x: { label: 'seconds', labelAnchor: 'center', labelArrow: 'none' },
      y: { label: 'live, MiB', zero: true, nice: true },
      marks: [
        Plot.gridY({ stroke: ink.grid, strokeOpacity: 1 }),
        Plot.line(points, {
          x: ({ time_ns }) => time_ns / 1e9,
          y: ({ live_bytes }) => live_bytes / MiB,
          stroke: ink.best,
          strokeWidth: 1.75,
          curve: 'step-before',
        }),
      ],
    },
  });
}

function histogramFigure(id: string, title: string, histogram: Histogram, label: (bound: number) => string): Html {
  const [least, most] = [histogram[0]?.[0] ?? 1, histogram.at(-1)?.[0] ?? 1];
  const counted = new Map(histogram);
  const bars: { readonly bound: string; readonly blocks: number }[] = [];
  for (let bound = least; bound <= most; bound *= 2)
    bars.push({ bound: label(bound), blocks: counted.get(bound) ?? 0 });
  return figure({
    id,
    title,
    says: `How many, below each power of two. ${bars.map(({ bound, blocks }) => `${bound}: ${blocks}`).join(', ')}.`,
    plot: {
      ...shared,
      x: {
        label: 'below',
        labelAnchor: 'center',
        labelArrow: 'none',
        domain: bars.map(({ bound }) => bound),
        tickRotate: -45,
      },
      y: { label: 'blocks', tickFormat: '~s', nice: true },
      marks: [
        Plot.gridY({ stroke: ink.grid, strokeOpacity: 1 }),
        Plot.barY(bars, { x: 'bound', y: 'blocks', fill: ink.best }),
      ],
    },
  });
}

const nameOf = ({ origin }: Trace, site: number): string =>
  origin.has_sites ? (origin.sites[site].name ?? origin.sites[site].hash) : '';

function sites({ trace, profile, top }: Contents): Html {
  const rows = profile
    .sites()
    .slice(0, top)
    .map(({ site, calls, bytes, unfreed_blocks, unfreed_bytes }) => [
      formatBytes(bytes),
      count(calls),
      count(unfreed_blocks),
      formatBytes(unfreed_bytes),
      nameOf(trace, site),
    ]);
  return html`<section><h2>Call sites by bytes</h2>${tableOf('Call sites', ['bytes', 'calls', 'never freed', 'bytes of them', 'site'], rows, 1)}</section>`;
}

function largeBlocks({ trace, large }: Contents): Html {
  const classes = large
    .sizeClasses()
    .map((each) => [
      formatBytes(each.from_bytes),
      count(each.blocks),
      formatBytes(each.bytes),
      count(each.most_live_blocks),
      formatBytes(each.most_live_bytes),
      each.median_lifetime_events === null ? '' : `below ${count(each.median_lifetime_events)}`,
      count(each.unfreed_blocks),
    ]);
  const largest = large
    .largestBlocks()
    .map(({ event, size_bytes, site, touched_pages, lifetime_events }) => [
      formatBytes(size_bytes),
      count(event),
      lifetime_events === null ? 'for ever' : count(lifetime_events),
      touched_pages === null ? '' : formatBytes(touched_pages * trace.origin.page_bytes),
      nameOf(trace, site),
    ]);
  return html`<section><h2>Blocks of 64 KiB and more</h2>
${tableOf('By size', ['from', 'blocks', 'bytes', 'most at once', 'bytes of them', 'median life, events', 'never freed'], classes)}
<h3>The largest</h3>${tableOf('The largest', ['size', 'event', 'lived, events', 'touched', 'site'], largest, 1)}</section>`;
}

function notes({ origin }: Trace): Html {
  return html`<section><h2>Notes</h2><ul>${origin.notes.map((note) => html`<li>${note}</li>`)}</ul></section>`;
}
