/** Ratings over windows, one line a strategy; of a learner without ratings, the means of what its strategies cost. */
import type { LearnedRun } from '../learned-run.ts';
import { formatBytes } from '../sizes.ts';
import type { Html } from './html.ts';
import { figure, font, ink, Plot, spread } from './plot.ts';
import { short } from './words.ts';

const width = 680;
const height = 380;
const margin = { top: 28, bottom: 46 } as const;
/** Of a change's name, in pixels. */
const room_for_words = 70;

interface Point {
  readonly arm: number;
  readonly window: number;
  readonly value: number;
}

interface Course {
  readonly points: readonly Point[];
  /** Higher is better, or lower. */
  readonly best: 1 | -1;
  readonly label: string;
  readonly title: string;
}

export function ratingsFigure(id: string, run: LearnedRun): Html {
  const { arms_bytes, windows } = run;
  const { points, best, label, title } = courseOf(run);
  const ends = arms_bytes.map((_, arm) => last(points, arm)).filter((each): each is Point => each !== null);
  const values = points.map(({ value }) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = high - low || Math.abs(high) || 1;
  const leaders = leadersOf(points, windows.length, best, 0.005 * room);
  const leader = leaders[leaders.length - 1] ?? null;
  const from = low - 0.12 * room;
  const to = high + 0.05 * room;
  const ended = together(ends, 0.012 * room, arms_bytes);
  const label_at = spread(
    ended.map(({ value }) => value),
    ((to - from) * 15) / (height - margin.top - margin.bottom),
    to,
  );
  const changes = statesOf(run);
  const tried = windows.filter((_, at) => at > 0 && leaders[at - 1] !== null && explores(run, at, best));
  return figure({
    id,
    title,
    says:
      `${arms_bytes.length} strategies over ${windows.length} windows. ` +
      `At the end: ${ends.map(({ arm, value }) => `${formatBytes(arms_bytes[arm])} ${short(value)}`).join(', ')}. ` +
      `${leader === null ? 'Nobody leads' : `${formatBytes(arms_bytes[leader.arm])} leads`}; the lead changed ${Math.max(0, changesOf(leaders).length - 1)} times. ` +
      `Windows in which another than the leader acted: ${tried.length}.`,
    plot: {
      width,
      height,
      marginLeft: 58,
      marginRight: 142,
      marginTop: margin.top,
      marginBottom: margin.bottom,
      style: font,
      x: {
        label: 'windows',
        labelAnchor: 'center',
        labelArrow: 'none',
        domain: [1, Math.max(2, windows.length)],
        ticks: Math.min(8, Math.max(1, windows.length - 1)),
        tickFormat: (value: number) => (Number.isInteger(value) ? String(value) : ''),
      },
      y: { label, domain: [from, to], ticks: 6 },
      color: { type: 'identity' },
      marks: [
        Plot.gridY({ stroke: ink.grid, strokeOpacity: 1, ticks: 6 }),
        ...changes.map(({ window, change }) =>
          Plot.ruleX([window], {
            stroke: ink.muted,
            strokeDasharray: '3 3',
            title: () => `${change} at window ${window}`,
          }),
        ),
        ...arms_bytes.map((bytes, arm) =>
          Plot.line(
            points.filter((point) => point.arm === arm),
            {
              x: 'window',
              y: 'value',
              stroke: inkOf(arm, arms_bytes.length),
              strokeWidth: leader?.arm === arm ? 2.5 : 1.25,
              title: () => formatBytes(bytes),
            },
          ),
        ),
        Plot.dot(changesOf(leaders), {
          x: 'window',
          y: 'value',
          r: 3.5,
          fill: ({ arm }: Point) => inkOf(arm, arms_bytes.length),
          stroke: ink.ground,
          title: ({ arm, window }: Point) => `${formatBytes(arms_bytes[arm])} leads from window ${window}`,
        }),
        Plot.ruleX(tried, {
          x: ({ index }: { index: number }) => index + 1,
          y1: from,
          y2: from + 0.05 * (to - from),
          stroke: ink.bound,
          strokeWidth: 1.5,
          title: ({ acted, index }: { acted: number; index: number }) =>
            `window ${index + 1}: ${formatBytes(arms_bytes[acted] ?? 0)} acted`,
        }),
        Plot.text(ended, {
          frameAnchor: 'right',
          textAnchor: 'start',
          dx: 8,
          y: (_: End, at: number) => label_at[at],
          text: 'words',
          fill: ({ arm }: End) => inkOf(arm, arms_bytes.length),
          fontWeight: 600,
        }),
        Plot.text(apart(changes, (room_for_words * windows.length) / width), {
          x: 'window',
          frameAnchor: 'top',
          textAnchor: 'start',
          dx: 3,
          dy: 2,
          text: 'change',
          fill: ink.muted,
          stroke: ink.ground,
          strokeWidth: 4,
        }),
      ],
    },
  });
}

interface End {
  readonly arm: number;
  readonly value: number;
  readonly words: string;
}

/** Lines that end within `gap` of each other get one label: "2.27 MiB to 32 MiB, 512 KiB". */
function together(ends: readonly Point[], gap: number, arms_bytes: readonly number[]): End[] {
  const groups: Point[][] = [];
  for (const end of [...ends].sort((a, b) => a.value - b.value || a.arm - b.arm)) {
    const open = groups[groups.length - 1];
    if (open !== undefined && end.value - open[0].value <= gap) open.push(end);
    else groups.push([end]);
  }
  return groups.map((group) => {
    const arms = group.map(({ arm }) => arm).sort((a, b) => a - b);
    const first = arms.filter((arm) => !arms.includes(arm - 1));
    const words = first.map((from) => {
      let to = from;
      while (arms.includes(to + 1)) to += 1;
      return from === to
        ? formatBytes(arms_bytes[from])
        : `${formatBytes(arms_bytes[from])} to ${formatBytes(arms_bytes[to])}`;
    });
    const value = group.reduce((sum, each) => sum + each.value, 0) / group.length;
    // The line that is drawn last is the one to be seen.
    return {
      arm: arms[arms.length - 1],
      value,
      words: words.length <= 2 ? words.join(', ') : `${arms.length} strategies`,
    };
  });
}

/** Those whose words do not run into the ones before. */
function apart<T extends { window: number }>(changes: readonly T[], gap: number): T[] {
  const kept: T[] = [];
  for (const each of changes)
    if (kept.length === 0 || each.window - kept[kept.length - 1].window >= gap) kept.push(each);
  return kept;
}

/** From the smallest threshold to the largest, from one of the page's colours to another. */
function inkOf(arm: number, arms: number): string {
  const share = arms > 1 ? Math.round((100 * arm) / (arms - 1)) : 0;
  return `color-mix(in oklab, var(--series-1), var(--series-3) ${share}%)`;
}

function courseOf({ windows, arms_bytes }: LearnedRun): Course {
  const rated = windows.filter(({ ratings }) => ratings !== null);
  if (rated.length > 0)
    return {
      title: 'ratings over windows',
      label: 'rating, points',
      best: 1,
      points: rated.flatMap(({ index, ratings }) => ratings!.map((value, arm) => ({ arm, window: index + 1, value }))),
    };
  const sums = arms_bytes.map(() => ({ sum: 0, count: 0 }));
  const all_known = windows.every(({ costs }, at) => !learnt(windows, at) || costs.every((cost) => cost >= 0));
  const points = windows.flatMap(({ index, costs }, at) => {
    if (learnt(windows, at)) {
      const least = Math.max(1, Math.min(...costs));
      for (const [arm, cost] of costs.entries()) {
        if (cost < 0) continue;
        // Classic costs are shares of the window's baseline, in 2^16.
        sums[arm].sum += all_known ? 100 * (cost / least - 1) : (100 * cost) / 65536;
        sums[arm].count += 1;
      }
    }
    return sums.flatMap(({ sum, count }, arm) => (count === 0 ? [] : [{ arm, window: index + 1, value: sum / count }]));
  });
  return {
    title: 'mean costs over windows',
    label: all_known
      ? 'mean cost over the cheapest, % (lower is better)'
      : 'mean cost, % of the baseline (lower is better)',
    best: -1,
    points,
  };
}

/** Whether something was learned of the window: it began in LEARN. */
function learnt(windows: LearnedRun['windows'], at: number): boolean {
  return at === 0 || windows[at - 1].state === learn_state;
}

const learn_state = 1;

/** Of each window, who leads at its end: the one that led before, unless another is better by more than `gap`. */
function leadersOf(points: readonly Point[], windows: number, best: 1 | -1, gap: number): (Point | null)[] {
  const by_window: Point[][] = Array.from({ length: windows }, () => []);
  for (const point of points) by_window[point.window - 1].push(point);
  let held = -1;
  return by_window.map((all) => {
    if (all.length === 0) return null;
    const first = all.reduce((most, each) => (best * (each.value - most.value) > 0 ? each : most));
    const before = all.find(({ arm }) => arm === held);
    const leader = before !== undefined && Math.abs(first.value - before.value) <= gap ? before : first;
    held = leader.arm;
    return leader;
  });
}

function changesOf(leaders: readonly (Point | null)[]): Point[] {
  const known = leaders.filter((each): each is Point => each !== null);
  return known.filter(({ arm }, at) => at === 0 || known[at - 1].arm !== arm);
}

/** Whether in this window a strategy acted that surely was not the best before it. */
function explores({ windows }: LearnedRun, at: number, best: 1 | -1): boolean {
  const { acted } = windows[at];
  const before = windows[at - 1];
  if (!learnt(windows, at) || best < 0 || before.ratings === null) return false;
  return before.ratings[acted] < Math.max(...before.ratings);
}

function statesOf({ windows }: LearnedRun): { window: number; change: string }[] {
  return windows.flatMap(({ index, change }) => (change === 'none' ? [] : [{ window: index + 1, change }]));
}

function last(points: readonly Point[], arm: number): Point | null {
  for (let at = points.length - 1; at >= 0; at -= 1) if (points[at].arm === arm) return points[at];
  return null;
}
