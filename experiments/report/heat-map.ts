/** The best cost for each pair of values of two parameters. */
import { min } from 'd3-array';
import type { Row } from '../sweep/row.ts';
import type { Cost } from './cost-curve.ts';
import type { Html } from './html.ts';
import { figure, font, Plot } from './plot.ts';
import type { Axis } from './swept.ts';
import { short } from './words.ts';

interface Cell {
  readonly x: string;
  readonly y: string;
  readonly value: number;
  /** 0 for the least cost of the figure, 1 for the most. */
  readonly place: number;
}

export function heatMap(id: string, rows: readonly Row[], across: Axis, down: Axis, cost: Cost): Html {
  const costs = new Map<string, number[]>();
  for (const row of rows) {
    const key = `${across.of(row)} ${down.of(row)}`;
    const list = costs.get(key);
    if (list === undefined) costs.set(key, [cost.of(row)]);
    else list.push(cost.of(row));
  }
  const best = [...costs].map(([key, list]) => ({ key, value: min(list)! }));
  const values = best.map(({ value }) => value);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const cells = best.map(({ key, value }): Cell => {
    const [x, y] = key.split(' ').map(Number);
    const place = most > least ? (value - least) / (most - least) : 0;
    return { x: across.values[x].words, y: down.values[y].words, value, place };
  });
  const columns = across.values.length;
  const longest = Math.max(...down.values.map(({ words }) => words.length));
  const marginLeft = 34 + 7 * longest;
  const cell_width = Math.max(44, Math.min(84, 560 / columns));
  const slanted = across.values.some(({ words }) => words.length * 7 > cell_width);
  const winner = cells.find(({ place }) => place === 0)!;
  return figure({
    id,
    title: `best ${cost.title} by ${across.name} and ${down.name}`,
    says:
      `${cells.length} pairs of values; the least is ${cost.words(least)} at ${across.name} ${winner.x} and ${down.name} ` +
      `${winner.y}, the most ${cost.words(most)}.`,
    plot: {
      width: marginLeft + cell_width * columns + 12,
      height: 40 + 26 * down.values.length + (slanted ? 84 : 48),
      marginLeft,
      marginRight: 12,
      marginTop: 30,
      marginBottom: slanted ? 94 : 52,
      padding: 0.04,
      style: font,
      x: {
        type: 'band',
        domain: across.values.map(({ words }) => words),
        label: across.name,
        labelAnchor: 'center',
        labelArrow: 'none',
        labelOffset: slanted ? 88 : 44,
        tickSize: 0,
        ...(slanted ? { tickRotate: -40 } : {}),
      },
      y: {
        type: 'band',
        domain: down.values.map(({ words }) => words),
        label: down.name,
        labelArrow: 'none',
        tickSize: 0,
      },
      marks: [
        Plot.cell(cells, {
          x: 'x',
          y: 'y',
          fill: (each: Cell) =>
            `color-mix(in oklab, var(--heat-most) ${Math.round(100 * each.place)}%, var(--heat-least))`,
          title: (each: Cell) => `${across.name} ${each.x}, ${down.name} ${each.y}: ${cost.words(each.value)}`,
        }),
        Plot.cell(
          cells.filter(({ place }) => place === 0),
          { x: 'x', y: 'y', fill: 'none', stroke: 'currentColor', strokeWidth: 2 },
        ),
        Plot.text(cells, {
          x: 'x',
          y: 'y',
          text: (each: Cell) => short(each.value),
          fontSize: 11,
          fill: (each: Cell) => (each.place > 0.5 ? 'var(--heat-most-ink)' : 'var(--heat-least-ink)'),
        }),
      ],
      color: { type: 'identity' },
    },
  });
}
