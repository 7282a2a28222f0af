/** What learning did to one trace, as figures and as a page: ratings over windows, cost over the threshold, when it froze. */
import { learner_names } from '../../sim/decide/learners.ts';
import { params } from '../../sim/index.ts';
import type { LearnedRun, LearningData } from '../learned-run.ts';
import { formatBytes } from '../sizes.ts';
import { freezeFigure, freezes } from './freeze-timeline.ts';
import { type Html, html, Html as Markup } from './html.ts';
import { ratingsFigure } from './ratings.ts';
import { palette, style } from './style.ts';
import { thresholdFigure } from './threshold-cost.ts';
import { formatCount, short } from './words.ts';

export interface LearningFigure {
  readonly title: string;
  readonly svg: string;
}

/** The figures by themselves. Without a window there are no ratings to draw, without a block that is mapped nothing at all. */
export function learningFigures(data: LearningData): LearningFigure[] {
  return figuresOf(data).map(({ title, svg }) => ({ title, svg: svg.text }));
}

/** An SVG of `learningFigures` that stands by itself, in light and in dark. */
export function standalone(svg: string): string {
  const looks =
    `svg{${palette.light}fill:var(--ink);background:var(--panel)}` +
    `@media (prefers-color-scheme:dark){svg{${palette.dark}}}`;
  return svg
    .replace(/^<svg[^>]*>/, (tag) => tag.replaceAll(/ style="[^"]*"/g, ''))
    .replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" ')
    .replace('</desc>', `</desc><style>${looks.replace(/\s+/g, ' ')}</style>`);
}

export interface LearningPageOptions {
  readonly revision: string;
  /** The command that made it. */
  readonly command: string;
}

/** One file, nothing fetched, no script. */
export function learningPage(data: LearningData, { revision, command }: LearningPageOptions): string {
  const { run, trace } = data;
  const name = trace.replace(/^.*\//, '');
  const policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>hakmem: learning on ${name}</title><style>${new Markup(style)}</style></head>
<body><header><h1>What learning did on ${name}</h1>
<p class="muted">${formatCount(data.events)} events, ${formatCount(run.windows.length)} windows, ${learnerOf(run)}.</p></header>
<main>
<section><h2>Was it worth it?</h2>${verdictPart(run)}</section>
${figuresOf(data).map(
  ({ title, svg, caption }) =>
    html`<section><h2>${title}</h2><figure>${svg}<figcaption>${caption}</figcaption></figure></section>`,
)}
<section><h2>Strategies held fixed</h2>${strategyTable(run)}</section>
</main>
<footer><p>Made by hakmem ${revision}: <code>${command}</code>. What learning is, and how to read this: docs/LEARNING.md.</p></footer>
</body></html>
`.text;
}

interface Captioned {
  readonly title: string;
  readonly svg: Html;
  readonly caption: string;
}

/** None where no strategy maps anything: then there is nothing to choose. */
function figuresOf({ run, timeline, events }: LearningData): Captioned[] {
  if (run.regret.best_score === 0) return [];
  const rated = run.windows.some(({ ratings }) => ratings !== null);
  return [
    ...(run.windows.length === 0
      ? []
      : [
          {
            title: rated ? 'Ratings over windows' : 'Mean costs over windows',
            svg: ratingsFigure('ratings', run),
            caption:
              `One line a strategy, by its threshold. Dots: who leads ${rated ? '(highest)' : '(lowest)'}, wherever that changes. ` +
              'Ticks below: windows in which another than the leader acted, to try it.',
          },
        ]),
    {
      title: 'Cost over the threshold',
      svg: thresholdFigure('thresholds', run),
      caption:
        'The score of every strategy held fixed over the whole trace. Shaded alternately: equivalence classes, thresholds ' +
        'with no request between them. The offline optimum takes the best strategy of each stretch and pays nothing to change: no policy reaches it.',
    },
    {
      title: 'When learning freezes',
      svg: freezeFigure('freeze', timeline, events),
      caption: timeline.map(({ name, run: each }) => `${name}: ${freezes(each)}`).join('; '),
    },
  ];
}

function learnerOf({ setup }: LearnedRun): string {
  const { config, policy, seed } = setup;
  const rating = params.rating.words![config.rating];
  return `${policy === undefined ? learner_names[config.learner] : `policy ${policy.name}`}, ${rating} rating, seed ${seed}`;
}

function verdictPart({ regret, hindsight }: LearnedRun): Html {
  const { score, best_score, best_arm, fixed_scores, optimum_score, thresholds_bytes } = regret;
  if (best_score === 0)
    return html`<p class="verdict">There was nothing to learn: no strategy maps a block of this trace.</p>`;
  const spread = Math.max(...fixed_scores) / best_score - 1;
  const tone = score <= fixed_scores[0] ? 'good' : 'bad';
  return html`<p class="verdict ${tone}">The learned run costs ${compared(best_score, score)} the best strategy held fixed, and
${compared(fixed_scores[0], score)} the default.</p>
<dl><dt>learned run</dt><dd>score ${short(score)}</dd>
<dt>best held fixed</dt><dd>score ${short(best_score)}, threshold ${formatBytes(thresholds_bytes[best_arm])}, known only in hindsight</dd>
<dt>default held fixed</dt><dd>score ${short(fixed_scores[0])}, threshold ${formatBytes(thresholds_bytes[0])}</dd>
<dt>offline optimum</dt><dd>score ${short(optimum_score)}</dd>
<dt>what is at stake</dt><dd>the dearest strategy costs ${short(100 * spread)} % more than the cheapest; ${
    new Set(hindsight.classes).size
  } of ${hindsight.classes.length} are told apart by this trace</dd></dl>`;
}

function compared(before: number, after: number): string {
  const ratio = after / before;
  if (Math.abs(ratio - 1) < 0.005) return 'as much as';
  if (ratio >= 2) return `${short(ratio)} times as much as`;
  return `${short(100 * Math.abs(ratio - 1))} % ${ratio > 1 ? 'more' : 'less'} than`;
}

function strategyTable({
  regret: { thresholds_bytes, classes, fixed_scores, best_score, best_arm },
  hindsight,
}: LearnedRun): Html {
  return html`<div class="wide" tabindex="0" role="group" aria-label="Strategies"><table><thead><tr><th scope="col">threshold</th>
<th scope="col">class</th><th scope="col">score</th><th scope="col">over the best</th><th scope="col">time, ms</th><th scope="col">faults</th></tr></thead>
<tbody>${thresholds_bytes.map(
    (
      bytes,
      arm,
    ) => html`<tr${arm === best_arm ? new Markup(' class="best"') : null}><th scope="row">${formatBytes(bytes)}</th><td>${classes[arm] + 1}</td>
<td>${short(fixed_scores[arm])}</td><td>${best_score > 0 ? short(fixed_scores[arm] / best_score) : '-'}</td>
<td>${short(hindsight.fixed[arm].time_ns.total / 1e6)}</td><td>${formatCount(hindsight.fixed[arm].faults + hindsight.fixed[arm].heap.faults)}</td></tr>`,
  )}</tbody></table></div>`;
}
