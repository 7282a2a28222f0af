/** Predicted time against time on a real kernel, where rows were run there. */
import { median } from 'd3-array';
import type { Measured } from '../sweep/row.ts';
import type { Html } from './html.ts';
import { figure, font, ink, Plot } from './plot.ts';
import { formatNs } from './words.ts';

export interface Pair {
  readonly config_hash: string;
  readonly predicted_ns: number;
  /** Median of the runs. */
  readonly measured_ns: number;
}

export function pairsOf(measured: readonly Measured[]): Pair[] {
  return measured.flatMap(({ config_hash, predicted_ns, measured_ns }) =>
    measured_ns.length === 0 ? [] : [{ config_hash, predicted_ns, measured_ns: median(measured_ns)! }],
  );
}

/** Of two configurations, does the one predicted cheaper measure cheaper? Ties in either are no answer. */
export function orderOf(pairs: readonly Pair[]): { readonly same: number; readonly pairs: number } {
  let [same, all] = [0, 0];
  for (const [at, a] of pairs.entries())
    for (const b of pairs.slice(at + 1)) {
      const sign = Math.sign(a.predicted_ns - b.predicted_ns) * Math.sign(a.measured_ns - b.measured_ns);
      if (sign !== 0) all += 1;
      if (sign > 0) same += 1;
    }
  return { same, pairs: all };
}

/** Median of |predicted / measured - 1|. */
export function errorOf(pairs: readonly Pair[]): number {
  return median(pairs, ({ predicted_ns, measured_ns }) => Math.abs(predicted_ns / measured_ns - 1))!;
}

export function measuredFigure(id: string, pairs: readonly Pair[], best_hash: string): Html {
  const predicted = ({ predicted_ns }: Pair): number => predicted_ns / 1e6;
  const measured = ({ measured_ns }: Pair): number => measured_ns / 1e6;
  const most = 1.08 * Math.max(...pairs.flatMap((each) => [predicted(each), measured(each)]));
  return figure({
    id,
    title: 'predicted against measured time',
    says: `${pairs.length} configurations were run on a real kernel. ${pairs.map((each) => `${formatNs(each.predicted_ns)} predicted, ${formatNs(each.measured_ns)} measured`).join('; ')}.`,
    plot: {
      width: 420,
      height: 400,
      marginLeft: 62,
      marginRight: 24,
      marginTop: 28,
      marginBottom: 44,
      style: font,
      x: { label: 'predicted, ms', domain: [0, most], labelAnchor: 'center', labelArrow: 'none', ticks: 5 },
      y: { label: 'measured, ms', domain: [0, most], ticks: 5 },
      marks: [
        Plot.gridY({ stroke: ink.grid, strokeOpacity: 1, ticks: 5 }),
        Plot.gridX({ stroke: ink.grid, strokeOpacity: 1, ticks: 5 }),
        Plot.line(
          [
            [0, 0],
            [most, most],
          ],
          { stroke: ink.rest, strokeDasharray: '4 3' },
        ),
        Plot.text([[most, most]], { text: () => 'equal', dx: -8, dy: 14, textAnchor: 'end', fill: 'currentColor' }),
        Plot.dot(pairs, {
          x: predicted,
          y: measured,
          r: 4,
          fill: ink.best,
          title: (each: Pair) =>
            `${each.config_hash}: ${formatNs(each.predicted_ns)} predicted, ${formatNs(each.measured_ns)} measured`,
        }),
        Plot.dot(
          pairs.filter(({ config_hash }) => config_hash === best_hash),
          { x: predicted, y: measured, r: 8, stroke: ink.best, strokeWidth: 1.5 },
        ),
      ],
    },
  });
}
