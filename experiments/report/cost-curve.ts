/** Cost over one swept parameter: the best and the median of the rows that have each value, between bounds. */
import { median, min } from 'd3-array';
import type { Row } from '../sweep/row.ts';
import type { Bounds } from './bounds.ts';
import type { Html } from './html.ts';
import { figure, font, ink, Plot, spread } from './plot.ts';
import type { Axis } from './swept.ts';
import { formatNs, short } from './words.ts';

/** What a curve is drawn of. */
export interface Cost {
  readonly title: string;
  readonly unit: string;
  of(row: Row): number;
  words(value: number): string;
}

export const time_cost: Cost = {
  title: 'time',
  unit: 'ms',
  of: (row) => Number(row.time_total_ns) / 1e6,
  words: (value) => formatNs(value * 1e6),
};
export const score_cost: Cost = {
  title: 'score',
  unit: 'share of the baseline',
  of: (row) => Number(row.score_total),
  words: short,
};

const width = 500;
const height = 320;
/** A line so many times above everything else would flatten the curve: its label says that it is above. */
const above = 1.6;

export function costCurve(
  id: string,
  rows: readonly Row[],
  axis: Axis,
  cost: Cost,
  best: Row,
  bounds: Bounds | null,
): Html {
  const { values, name } = axis;
  const points = values.flatMap(({ words }, at) => {
    const costs = rows.filter((row) => axis.of(row) === at).map(cost.of);
    return costs.length === 0 ? [] : [{ words, best: min(costs)!, median: median(costs)!, rows: costs.length }];
  });
  const lines = linesOf(rows, cost, bounds);
  const medians = Math.max(...points.map((each) => each.median));
  const drawn = lines.filter(({ value }) => value <= above * medians);
  const top = Math.max(medians, cost.of(best), ...drawn.map(({ value }) => value));
  const low = Math.min(...points.map((each) => each.best), ...lines.map(({ value }) => value));
  const from = low > 0.5 * top ? low - 0.1 * (top - low || top) : 0;
  const to = top + 0.1 * (top - from || 1);
  const label_at = spread(
    lines.map(({ value }) => Math.min(value, to)),
    ((to - from) * 15) / (height - 100),
    to,
  );
  const setting = values[axis.of(best)].words;
  const slanted = points.length > 6 || points.some(({ words }) => words.length > 12);
  return figure({
    id,
    title: `${cost.title} over ${name}`,
    says:
      `For each of ${points.length} values, the best and the median ${cost.title} of the rows that have it. Best: ` +
      `${points.map((each) => `${each.words} ${cost.words(each.best)}`).join(', ')}. ` +
      `Lines: ${lines.map(({ words, value }) => `${words} ${cost.words(value)}`).join(', ')}.`,
    plot: {
      width,
      height,
      marginLeft: 50,
      marginRight: 172,
      marginTop: 26,
      marginBottom: slanted ? 74 : 46,
      style: font,
      x: {
        type: 'point',
        domain: points.map((each) => each.words),
        label: null,
        ...(slanted ? { tickRotate: -35 } : {}),
      },
      y: { label: `${cost.title}, ${cost.unit}`, domain: [from, to], nice: false, ticks: 6 },
      marks: [
        Plot.gridY({ stroke: ink.grid, strokeOpacity: 1, ticks: 6 }),
        ...drawn.map((line) => Plot.ruleY([line.value], { stroke: ink.bound, strokeDasharray: line.dashes })),
        Plot.line(points, { x: 'words', y: 'median', stroke: ink.rest, strokeWidth: 1.5 }),
        Plot.line(points, { x: 'words', y: 'best', stroke: ink.best, strokeWidth: 2 }),
        Plot.dot(points, { x: 'words', y: 'median', fill: ink.rest, r: 3, title: (each: Point) => tip(each, cost) }),
        Plot.dot(points, { x: 'words', y: 'best', fill: ink.best, r: 3.5, title: (each: Point) => tip(each, cost) }),
        Plot.dot([best], { x: () => setting, y: cost.of, stroke: ink.best, r: 7, strokeWidth: 1.5 }),
        Plot.text(lines, {
          frameAnchor: 'right',
          textAnchor: 'start',
          dx: 8,
          y: (_: Line, at: number) => label_at[at],
          text: (each: Line) => `${each.value > to ? '↑ ' : ''}${each.words} ${cost.words(each.value)}`,
          fill: 'currentColor',
        }),
        Plot.text([name], {
          frameAnchor: 'bottom',
          dy: slanted ? 66 : 40,
          text: (each: string) => `${each} →`,
          fill: 'currentColor',
        }),
      ],
    },
  });
}

interface Point {
  readonly words: string;
  readonly best: number;
  readonly median: number;
  readonly rows: number;
}

interface Line {
  readonly words: string;
  readonly value: number;
  readonly dashes: string;
}

function tip(point: Point, cost: Cost): string {
  const { words, best, median: middle, rows } = point;
  return `${words}: best ${cost.words(best)}, median ${cost.words(middle)} of ${rows} rows`;
}

/** The offline bound is one of time: a score also weighs memory and faults, for which it says nothing. */
function linesOf(rows: readonly Row[], cost: Cost, bounds: Bounds | null): Line[] {
  const fixed = { words: 'best fixed', value: min(rows, cost.of)!, dashes: 'none' };
  if (bounds === null) return [fixed];
  return [
    fixed,
    { words: 'default', value: cost.of(bounds.base), dashes: '7 3' },
    { words: 'unbounded cache', value: cost.of(bounds.unbounded), dashes: '3 3' },
    { words: 'no cache', value: cost.of(bounds.no_cache), dashes: '9 3 2 3' },
    ...(cost === time_cost ? [{ words: 'offline bound', value: bounds.offline.time_ns / 1e6, dashes: '1 4' }] : []),
  ];
}
