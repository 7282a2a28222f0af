/** The course of a replay over the trace: memory, time or faults; with two settings A is drawn solid and B dashed. */
import { useMemo } from 'preact/hooks';
import uPlot from 'uplot';
import { formatBytes } from '../sizes.ts';
import type { Curve } from './curve.ts';
import { write, writeCount } from './figures.ts';
import { axes, type Colours, Plot } from './plot.tsx';
import type { Answered } from './simulator.ts';
import { type ChartName, charts } from './view.ts';

interface Line {
  readonly label: string;
  readonly of: Exclude<keyof Curve, 'events'>;
}

interface Chart {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly binary: boolean;
  write(value: number): string;
}

const kinds: Readonly<Record<ChartName, Chart>> = {
  memory: {
    title: 'Memory',
    binary: true,
    write: (value) => formatBytes(Math.round(value)),
    lines: [
      { label: 'resident', of: 'resident_bytes' },
      { label: 'mapped', of: 'mapped_bytes' },
      { label: 'heap path', of: 'heap_bytes' },
      { label: 'kept', of: 'kept_bytes' },
    ],
  },
  time: {
    title: 'Time so far',
    binary: false,
    write: (value) => write(value, 'ns'),
    lines: [{ label: 'time', of: 'time_ns' }],
  },
  faults: {
    title: 'Faults so far',
    binary: false,
    write: writeCount,
    lines: [{ label: 'faults of mapped blocks', of: 'faults' }],
  },
};

interface CourseProps {
  readonly chart: ChartName;
  readonly a: Answered;
  readonly b: Answered | null;
  readonly marked: number | null;
  onChart(chart: ChartName): void;
  onPick(event: number): void;
}

export function Course({ chart, a, b, marked, onChart, onPick }: CourseProps) {
  const { lines, title, write: writeValue, binary } = kinds[chart];
  const data = useMemo(() => aligned(lines, a.curve, b?.curve ?? null), [lines, a, b]);
  const spacing = a.outcome.events / a.curve.events.length;
  const peak = a.curve.resident_bytes.reduce((most, each) => Math.max(most, each), 0);
  return (
    <figure>
      <fieldset class="choices">
        <legend class="visually-hidden">What the curve shows</legend>
        {charts.map((each) => (
          <label key={each}>
            <input type="radio" name="chart" value={each} checked={each === chart} onChange={() => onChart(each)} />
            {kinds[each].title}
          </label>
        ))}
      </fieldset>
      <Plot
        label={`${title} over the trace. Resident memory peaks at ${formatBytes(peak)}. All figures stand in the tables.`}
        kind={`${chart} ${b === null}`}
        height={260}
        data={data}
        marked={marked}
        make={(colours) => ({
          cursor: { drag: { x: true, y: false } },
          scales: { x: { time: false }, y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.05 : 1] } },
          axes: axes(colours, writeValue, binary),
          series: [
            { label: 'event', value: (_, value) => (value == null ? '–' : writeCount(value)) },
            ...seriesOf(lines, colours, writeValue, b === null ? '' : 'A ', false),
            ...(b === null ? [] : seriesOf(lines, colours, writeValue, 'B ', true)),
          ],
        })}
        onPick={onPick}
      />
      <figcaption>
        {spacing > 1.5 * a.curve_events
          ? `Of every ${writeCount(Math.round(spacing))} events the moment with most resident memory`
          : `A point every ${a.curve_events === 1 ? 'event' : `${writeCount(a.curve_events)} events`}`}
        ; the figures read memory every {writeCount(a.checkpoint_events)} events (checkpoint_events). Click for the
        event there, drag to look closer, double-click to see all.
      </figcaption>
    </figure>
  );
}

function seriesOf(
  lines: readonly Line[],
  colours: Colours,
  writeValue: (value: number) => string,
  prefix: string,
  dashed: boolean,
): uPlot.Series[] {
  return lines.map(({ label }, at) => ({
    label: `${prefix}${label}`,
    stroke: colours.series[at],
    width: dashed ? 1.5 : at === 0 ? 2 : 1.5,
    spanGaps: true,
    points: { show: false },
    value: (_, value) => (value == null ? '–' : writeValue(value)),
    ...(dashed ? { dash: [6, 4] } : {}),
  }));
}

function aligned(lines: readonly Line[], a: Curve, b: Curve | null): uPlot.AlignedData {
  const table = (curve: Curve): uPlot.AlignedData => [curve.events, ...lines.map(({ of }) => curve[of])];
  if (b === null) return table(a);
  // Both curves mostly stand at the same events; where not, each line spans the other's.
  return uPlot.join([table(a), table(b)]);
}
