/** Memory over the trace: what is resident, heap included, under the best configuration and under the default. */
import type { Moment } from '../../sim/index.ts';
import { formatBytes } from '../sizes.ts';
import type { Html } from './html.ts';
import { figure, font, ink, Plot } from './plot.ts';

const MiB = 2 ** 20;
/** Points of a curve at the most; a trace has a moment for each of them where its events allow. */
export const points_max = 400;

export function courseFigure(id: string, best: readonly Moment[], base: readonly Moment[]): Html {
  const series = [
    { name: 'best', stroke: ink.best, points: thinned(best) },
    { name: 'default', stroke: ink.bound, points: thinned(base) },
  ];
  const peak = (points: readonly Moment[]): string => formatBytes(Math.max(...points.map(residentOf)));
  return figure({
    id,
    title: 'memory over the trace',
    says: `Resident bytes, heap included, over the trace. The best configuration has ${peak(best)} at the most, the default ${peak(base)}.`,
    plot: {
      width: 640,
      height: 300,
      marginLeft: 62,
      marginRight: 76,
      marginTop: 28,
      marginBottom: 44,
      style: font,
      x: { label: 'events', labelAnchor: 'center', labelArrow: 'none', tickFormat: 's', ticks: 8 },
      y: { label: 'resident, MiB', zero: true, nice: true },
      marks: [
        Plot.gridY({ stroke: ink.grid, strokeOpacity: 1 }),
        ...series.map(({ stroke, points }) =>
          Plot.line(points, {
            x: 'events',
            y: (moment: Moment) => residentOf(moment) / MiB,
            stroke,
            strokeWidth: 1.75,
            curve: 'step-after',
          }),
        ),
        ...labels(series),
      ],
    },
  });
}

interface Series {
  readonly name: string;
  readonly stroke: string;
  readonly points: readonly Moment[];
}

/** At the end of each line; apart where the lines end together. */
function labels(series: readonly Series[]): Plot.Markish[] {
  const all = series.flatMap(({ points }) => points.map(residentOf));
  const ends = series.map(({ points }) => residentOf(points[points.length - 1]));
  const close = Math.abs(ends[0] - ends[1]) < Math.max(...all) / 16;
  return series.map(({ name, stroke, points }, at) => {
    const up = ends[at] > ends[1 - at] || (ends[at] === ends[1 - at] && at === 0);
    return Plot.text([points[points.length - 1]], {
      x: 'events',
      y: (moment: Moment) => residentOf(moment) / MiB,
      text: () => name,
      textAnchor: 'start',
      dx: 6,
      dy: close ? (up ? -7 : 7) : 0,
      fill: stroke,
      fontWeight: 600,
    });
  });
}

const residentOf = ({ resident_bytes, heap_bytes }: Moment): number => resident_bytes + heap_bytes;

/** Of each stretch its highest moment, so that peaks stay; the last one always. */
function thinned(moments: readonly Moment[]): Moment[] {
  if (moments.length <= points_max) return [...moments];
  const last = moments[moments.length - 1];
  const kept = Array.from({ length: points_max - 1 }, (_, at) => {
    const from = Math.floor((at * (moments.length - 1)) / (points_max - 1));
    const to = Math.floor(((at + 1) * (moments.length - 1)) / (points_max - 1));
    return moments.slice(from, to).reduce((most, each) => (residentOf(each) > residentOf(most) ? each : most));
  });
  return [...kept, last];
}
