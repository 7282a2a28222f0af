/** uPlot as a component: it follows width, colours and data, and says which event was clicked. */
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';

export interface Colours {
  readonly ink: string;
  readonly muted: string;
  readonly line: string;
  readonly series: readonly string[];
  readonly mark: string;
}

interface PlotProps {
  readonly label: string;
  /** Changes where the plot has to be made anew: other series, another scale. */
  readonly kind: string;
  readonly height: number;
  readonly data: uPlot.AlignedData;
  readonly marked: number | null;
  make(colours: Colours): Omit<uPlot.Options, 'width' | 'height'>;
  onPick(event: number): void;
}

export function Plot({ label, kind, height, data, marked, make, onPick }: PlotProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef({ data, marked, onPick });
  latest.current = { data, marked, onPick };
  const theme = useTheme();
  useEffect(() => {
    const element = host.current!;
    const colours = coloursNow();
    const options = make(colours);
    const made = new uPlot(
      {
        ...options,
        width: Math.max(200, element.clientWidth),
        height,
        hooks: {
          draw: [(u) => drawMark(u, latest.current.marked, colours)],
          ready: [(u) => listen(u, (event) => latest.current.onPick(event))],
        },
      },
      latest.current.data,
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: Math.max(200, element.clientWidth), height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [kind, theme]);
  useEffect(() => plot.current?.setData(data), [data]);
  useEffect(() => plot.current?.redraw(false), [marked]);
  return <div class="plot" ref={host} role="img" aria-label={label} />;
}

/** Counts the changes of colours: the system's scheme, and paper. */
function useTheme(): number {
  const [changes, setChanges] = useState(0);
  useEffect(() => {
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const changed = (): void => setChanges((count) => count + 1);
    const onPaper = (on: boolean) => (): void => {
      document.documentElement.toggleAttribute('data-paper', on);
      changed();
    };
    const [before, after] = [onPaper(true), onPaper(false)];
    scheme.addEventListener('change', changed);
    addEventListener('beforeprint', before);
    addEventListener('afterprint', after);
    return () => {
      scheme.removeEventListener('change', changed);
      removeEventListener('beforeprint', before);
      removeEventListener('afterprint', after);
    };
  }, []);
  return changes;
}

function coloursNow(): Colours {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  return {
    ink: colour('--ink'),
    muted: colour('--muted'),
    line: colour('--grid'),
    series: ['--series-1', '--series-2', '--series-3', '--series-4'].map(colour),
    mark: colour('--accent'),
  };
}

function drawMark(u: uPlot, event: number | null, { mark }: Colours): void {
  const { min, max } = u.scales.x;
  if (event === null || min == null || max == null || event < min || event > max) return;
  const { ctx, bbox } = u;
  const at = Math.round(u.valToPos(event, 'x', true));
  ctx.save();
  ctx.strokeStyle = mark;
  ctx.lineWidth = 2;
  ctx.setLineDash([4, 3]);
  ctx.beginPath();
  ctx.moveTo(at, bbox.top);
  ctx.lineTo(at, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

/** A click picks; the drag that selects a stretch to look at does not. */
function listen(u: uPlot, onPick: (event: number) => void): void {
  let from = 0;
  u.over.addEventListener('mousedown', ({ clientX }) => {
    from = clientX;
  });
  u.over.addEventListener('click', ({ clientX, detail }) => {
    if (Math.abs(clientX - from) < 3 && detail === 1)
      onPick(Math.round(u.posToVal(clientX - u.over.getBoundingClientRect().left, 'x')));
  });
}

const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 2 });

/** Axes that both plots share: events below, `write` beside. */
export function axes(colours: Colours, write: (value: number) => string, binary: boolean): uPlot.Axis[] {
  const common = {
    stroke: colours.muted,
    font: '12px system-ui, sans-serif',
    grid: { stroke: colours.line, width: 1 },
    ticks: { stroke: colours.line, width: 1, size: 4 },
  };
  return [
    { ...common, size: 30, values: (_, values) => values.map((value) => compact.format(value)) },
    {
      ...common,
      size: 76,
      values: (_, values) => values.map((value) => (value === null ? '' : write(value))),
      ...(binary ? { incrs: Array.from({ length: 48 }, (_, power) => 2 ** power) } : {}),
    },
  ];
}
