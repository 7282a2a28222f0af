/** The figures of one trace: cost curves, the Pareto front, heat maps, causes, memory, and measured times. */

import { formatBytes } from '../sizes.ts';
import type { Row } from '../sweep/row.ts';
import type { BoundsOrWhy } from './bounds.ts';
import { causes, causesFigure } from './causes.ts';
import { type Cost, costCurve, score_cost, time_cost } from './cost-curve.ts';
import { courseFigure } from './course.ts';
import { heatMap } from './heat-map.ts';
import { type Html, html } from './html.ts';
import { errorOf, measuredFigure, orderOf, pairsOf } from './measured.ts';
import { frontOf, letterOf, paretoFigure } from './pareto.ts';
import { changesOf } from './setting.ts';
import { memoryOf, type Subject } from './subjects.ts';
import type { Axis } from './swept.ts';
import { formatNs, short } from './words.ts';

/** Curves of parameters beyond these change little: their figures would only make the page long. */
const curves_max = 6;
const maps_axes_max = 5;

export interface Shown {
  readonly subject: Subject;
  readonly bounds: BoundsOrWhy;
  readonly base: Row | null;
}

/** `at` tells the ids of one trace's figures from another's. */
export function traceSection({ subject, bounds, base }: Shown, at: number, axes: readonly Axis[]): Html {
  const known = 'missing' in bounds ? null : bounds;
  const { rows, best, name } = subject;
  const id = (what: string): string => `t${at}-${what}`;
  const curved = axes.slice(0, curves_max);
  return html`<section id="${id('trace')}"><h2>${name}</h2>
${'missing' in bounds ? html`<p class="loud">Without bounds and memory over the trace: ${bounds.missing}.</p>` : null}
<h3>Cost over each parameter</h3>
${curved.length === 0 ? html`<p>Nothing varies in these rows: there is no curve.</p>` : legend()}
${
  axes.length > curved.length
    ? html`<p class="note">The ${curved.length} most influential of ${axes.length} parameters; the others: ${axes
        .slice(curves_max)
        .map((axis) => axis.name)
        .join(', ')}.</p>`
    : null
}
${curved.map((axis, curve) => curveFigures(id(`curve-${curve}`), rows, axis, best, known))}
<h3>Time against memory</h3>${paretoPart(id('pareto'), rows, best, base)}
<h3>Two parameters at once</h3>${heatPart(id('heat'), rows, axes)}
<h3>What the time goes into</h3>${causesPart(id('causes'), best, base, known)}
${
  known === null
    ? null
    : html`<h3>Memory over the trace</h3><figure>${courseFigure(id('course'), known.course.best, known.course.base)}
<figcaption>Resident, heap included, over the whole trace.</figcaption></figure>`
}
<h3>Measured</h3>${measuredPart(id('measured'), subject)}
</section>`;
}

function legend(): Html {
  return html`<ul class="key"><li><i class="line" style="background:var(--series-1)"></i>best over all other parameters</li>
<li><i class="line" style="background:var(--series-2)"></i>median over them</li><li>ring: the best row</li>
<li><i class="line" style="background:var(--series-3)"></i>bounds; ↑ lies above the figure</li></ul>`;
}

function curveFigures(
  id: string,
  rows: readonly Row[],
  axis: Axis,
  best: Row,
  bounds: Parameters<typeof costCurve>[5],
): Html {
  const costs: readonly Cost[] = [time_cost, score_cost];
  return html`<div class="figures">${costs.map(
    (cost) =>
      html`<figure>${costCurve(`${id}-${cost.title}`, rows, axis, cost, best, bounds)}<figcaption>${
        cost.title === 'time' ? 'Time' : 'Score'
      } over <code>${axis.name}</code>, which explains ${short(100 * axis.influence)} % of the variation in score.</figcaption></figure>`,
  )}</div>`;
}

function paretoPart(id: string, rows: readonly Row[], best: Row, base: Row | null): Html {
  const front = frontOf(rows);
  if (front.length === 0) return html`<p>No row kept all rules.</p>`;
  return html`<div class="figures"><figure>${paretoFigure(id, rows, front, best, base)}
<figcaption>Each dot is a row. Blue: no other row is both faster and smaller. Ring: the best by score.</figcaption></figure>
<div class="wide" tabindex="0" role="group" aria-label="The front"><table><caption>The front, fastest first</caption><thead><tr><th scope="col"></th><th scope="col">time</th>
<th scope="col">resident</th><th scope="col" class="words">changes to the mode</th></tr></thead><tbody>${front.map(
    (row, at) => html`<tr><th scope="row">${letterOf(at)}</th><td>${formatNs(Number(row.time_total_ns))}</td>
<td>${formatBytes(memoryOf(row))}</td><td class="words"><code>${[`${row.mode}`, ...changesOf(row)].join(' ')}</code></td></tr>`,
  )}</tbody></table></div></div>`;
}

function heatPart(id: string, rows: readonly Row[], axes: readonly Axis[]): Html {
  if (axes.length < 2) return html`<p>Fewer than two parameters vary: there is no map.</p>`;
  const used = axes.slice(0, maps_axes_max);
  const pairs = used.flatMap((across, first) => used.slice(first + 1).map((down) => ({ across, down })));
  const maps = pairs.flatMap(({ across, down }, pair) =>
    [time_cost, score_cost].map((cost) => ({ across, down, cost, id: `${id}-${pair}-${cost.title}` })),
  );
  return html`<p class="tools" hidden><label>Map of <select class="maps">${maps.map(
    ({ across, down, cost, id: map }) =>
      html`<option value="${map}-figure">${cost.title}: ${across.name} and ${down.name}</option>`,
  )}</select></label></p>
${maps.map(
  ({ across, down, cost, id: map }) => html`<figure id="${map}-figure">${heatMap(map, rows, across, down, cost)}
<figcaption>The least ${cost.title} (${cost.unit}) over all other parameters, by <code>${across.name}</code> and <code>${down.name}</code>. The
stronger the colour the dearer; the framed cell is the least.</figcaption></figure>`,
)}`;
}

function causesPart(id: string, best: Row, base: Row | null, bounds: Parameters<typeof causesFigure>[3]): Html {
  return html`<ul class="key">${causes.map(
    ({ name, why, fill }) => html`<li><i style="background:${fill}"></i>${name}: ${why}</li>`,
  )}</ul><figure>${causesFigure(id, best, base, bounds)}
<figcaption>Counts times prices. A bar that ends in an arrow is longer than can be drawn beside the others.${
    bounds === null
      ? ''
      : ' Of the offline bound, its first touches are shown as small faults, whatever size they would have.'
  }</figcaption></figure>`;
}

function measuredPart(id: string, { measured, best }: Subject): Html {
  const pairs = pairsOf(measured);
  if (pairs.length === 0) return html`<p>No row of this trace was run on a real kernel.</p>`;
  const order = orderOf(pairs);
  const foreign =
    best.prices_source !== 'measured' ? 'nominal' : best.prices_machine === 'other' ? 'of another machine' : null;
  return html`<figure>${measuredFigure(id, pairs, String(best.config_hash))}<figcaption>${pairs.length} configurations; each dot
is one, with the CPU time of its run. On the dashed line, prediction and measurement are equal.</figcaption></figure>
<p>Median error of the prediction: ${short(100 * errorOf(pairs))} %.${
    order.pairs === 0 ? '' : ` Of ${order.pairs} pairs, ${order.same} measured in the order that was predicted.`
  }${foreign === null ? '' : ` Prices are ${foreign}: the error says more about them than about the policy.`}</p>`;
}
