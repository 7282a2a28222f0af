/** The score of every strategy held fixed, over its threshold, with the learned run and the offline optimum across. */
import type { LearnedRun } from '../learned-run.ts';
import { formatBytes } from '../sizes.ts';
import type { Html } from './html.ts';
import { figure, font, ink, Plot, spread } from './plot.ts';
import { short } from './words.ts';

const MiB = 2 ** 20;
const width = 680;
const height = 340;

interface Strategy {
  readonly mib: number;
  readonly words: string;
  readonly name: number;
  readonly score: number;
  readonly best: boolean;
}

interface Band {
  readonly from: number;
  readonly to: number;
  readonly name: number;
}

interface Line {
  readonly words: string;
  readonly score: number;
  readonly stroke: string;
  readonly dashes: string;
}

export function thresholdFigure(id: string, { regret }: LearnedRun): Html {
  const { thresholds_bytes, classes, fixed_scores, best_arm, best_score, optimum_score, score } = regret;
  const strategies = thresholds_bytes.map(
    (bytes, arm): Strategy => ({
      mib: bytes / MiB,
      words: formatBytes(bytes),
      name: classes[arm],
      score: fixed_scores[arm],
      best: classes[arm] === classes[best_arm],
    }),
  );
  const lines: Line[] = [
    { words: 'learned', score, stroke: ink.bound, dashes: 'none' },
    { words: 'best fixed', score: best_score, stroke: ink.best, dashes: '7 3' },
    { words: 'optimum', score: optimum_score, stroke: ink.other, dashes: '2 3' },
  ];
  const top = 1.08 * (Math.max(...fixed_scores, ...lines.map((line) => line.score)) || 1);
  const label_at = spread(
    lines.map((line) => line.score),
    (top * 16) / (height - 74),
    top,
  );
  const bands = bandsOf(strategies);
  return figure({
    id,
    title: 'cost over the threshold',
    says:
      `Score of ${strategies.length} strategies held fixed: ${strategies.map(({ words, score: each }) => `${words} ${short(each)}`).join(', ')}. ` +
      `They are ${bands.length} equivalence classes. ${lines.map((line) => `${line.words} ${short(line.score)}`).join(', ')}.`,
    plot: {
      width,
      height,
      marginLeft: 50,
      marginRight: 128,
      marginTop: 28,
      marginBottom: 46,
      style: font,
      x: {
        type: 'log',
        base: 2,
        domain: [bands[0].from, bands[bands.length - 1].to],
        label: 'threshold, MiB',
        labelAnchor: 'center',
        labelArrow: 'none',
        ticks: powersIn(bands[0].from, bands[bands.length - 1].to),
        tickFormat: (mib: number) => String(mib),
      },
      y: { label: 'score, share of the baseline', domain: [0, top], ticks: 6 },
      color: { type: 'identity' },
      marks: [
        Plot.rect(bands, {
          x1: 'from',
          x2: 'to',
          y1: 0,
          y2: top,
          fill: ({ name }: Band) => (name % 2 === 0 ? 'var(--soft)' : 'none'),
          title: ({ name }: Band) => `class ${name + 1}`,
        }),
        Plot.gridY({ stroke: ink.grid, strokeOpacity: 1, ticks: 6 }),
        Plot.ruleX(bands.slice(1), { x: 'from', stroke: 'var(--edge)' }),
        ...lines.map((line) =>
          Plot.ruleY([line.score], { stroke: line.stroke, strokeDasharray: line.dashes, strokeWidth: 1.75 }),
        ),
        Plot.line(strategies, { x: 'mib', y: 'score', stroke: ink.rest, strokeWidth: 1.25 }),
        Plot.dot(strategies, {
          x: 'mib',
          y: 'score',
          r: 4,
          fill: ({ best }: Strategy) => (best ? ink.best : ink.rest),
          title: ({ words, score: each, name }: Strategy) => `${words}: ${short(each)}, class ${name + 1}`,
        }),
        Plot.text(lines, {
          frameAnchor: 'right',
          textAnchor: 'start',
          dx: 8,
          y: (_: Line, at: number) => label_at[at],
          text: (line: Line) => `${line.words} ${short(line.score)}`,
          fill: 'stroke',
          fontWeight: 600,
        }),
      ],
    },
  });
}

/** Classes as stretches of the axis, parted halfway between thresholds, in steps of a ratio. */
function bandsOf(strategies: readonly Strategy[]): Band[] {
  const bands: Band[] = [];
  for (const [at, { mib, name }] of strategies.entries()) {
    const before = strategies[at - 1]?.mib ?? mib / 1.4;
    const after = strategies[at + 1]?.mib ?? mib * 1.4;
    const from = at === 0 ? before : Math.sqrt(before * mib);
    const to = at === strategies.length - 1 ? after : Math.sqrt(mib * after);
    const open = bands[bands.length - 1];
    if (open !== undefined && open.name === name) bands[bands.length - 1] = { ...open, to };
    else bands.push({ from, to, name });
  }
  return bands;
}

function powersIn(from: number, to: number): number[] {
  const powers: number[] = [];
  for (let power = 2 ** Math.ceil(Math.log2(from)); power <= to; power *= 2) powers.push(power);
  return powers;
}
