/** States of the lifecycle over the trace, a row for each learner and set of rules, with every change marked. */
import { enums } from '../../sim/index.ts';
import type { LearnedRun, TimelineRow } from '../learned-run.ts';
import type { Html } from './html.ts';
import { figure, font, ink, Plot } from './plot.ts';

const width = 680;
const row_height = 26;
const margin_left = 150;
/** The legend begins left of the frame. */
const legend_left = 100;

const states = {
  LEARN: 'var(--cause-4)',
  FROZEN: 'var(--cause-6)',
  CANARY: 'var(--cause-2)',
} as const;
type State = keyof typeof states;

/** Marks stand above their row's band, so that none hides another state. */
const marks = {
  freeze: { symbol: 'square', fill: 'var(--cause-6)' },
  canary: { symbol: 'triangle', fill: 'var(--cause-2)' },
  promote: { symbol: 'circle', fill: 'var(--good)' },
  rollback: { symbol: 'times', fill: 'var(--bad)' },
  relearn: { symbol: 'star', fill: 'var(--cause-4)' },
} as const;
type Change = keyof typeof marks;

interface Band {
  readonly row: string;
  readonly state: State;
  readonly from: number;
  readonly to: number;
}

interface Mark {
  readonly row: string;
  readonly change: Change;
  readonly event: number;
  readonly window: number;
}

export function freezeFigure(id: string, timeline: readonly TimelineRow[], events: number): Html {
  const bands = timeline.flatMap(({ name, run }) => bandsOf(name, run, events));
  const changed = timeline.flatMap(({ name, run }) =>
    run.windows.flatMap(({ change, event, index }): Mark[] =>
      change === 'none' ? [] : [{ row: name, change, event, window: index + 1 }],
    ),
  );
  const keys = Object.keys(marks) as Change[];
  return figure({
    id,
    title: 'when learning freezes',
    says: timeline.map(({ name, run }) => `${name}: ${freezes(run)}`).join('. '),
    plot: {
      width,
      height: 96 + row_height * timeline.length,
      marginLeft: margin_left,
      marginRight: 24,
      marginTop: 46,
      marginBottom: 46,
      style: font,
      x: { domain: [0, events], label: 'events', labelAnchor: 'center', labelArrow: 'none', tickFormat: 's', ticks: 8 },
      y: { type: 'band', domain: timeline.map(({ name }) => name), label: null, tickSize: 0, padding: 0.35 },
      color: { type: 'identity' },
      marks: [
        Plot.gridX({ stroke: ink.grid, strokeOpacity: 1, ticks: 8 }),
        Plot.barX(bands, {
          y: 'row',
          x1: 'from',
          x2: 'to',
          fill: ({ state }: Band) => states[state],
          fillOpacity: 0.55,
          title: ({ row, state, from, to }: Band) => `${row}: ${state}, events ${from} to ${to}`,
        }),
        ...keys.map((change) =>
          Plot.dot(
            changed.filter((each) => each.change === change),
            {
              y: 'row',
              x: 'event',
              symbol: marks[change].symbol,
              r: 4,
              ...look(change),
              title: ({ row, event, window }: Mark) => `${row}: ${change} at window ${window}, event ${event}`,
            },
          ),
        ),
        ...legend(),
      ],
    },
  });
}

/** "never", or the window and how often it left FROZEN. */
export function freezes({ windows, outcome: { learning } }: Pick<LearnedRun, 'windows' | 'outcome'>): string {
  const at = windows.findIndex(({ change }) => change === 'freeze');
  if (at < 0) return `never in ${windows.length} windows`;
  const woken = learning.canaries === 0 ? '' : `, woken ${learning.canaries} times`;
  return `after ${at + 1} of ${windows.length} windows${woken}`;
}

function bandsOf(row: string, { windows }: LearnedRun, events: number): Band[] {
  const bands: Band[] = [];
  let state: State = 'LEARN';
  let from = 0;
  for (const window of windows) {
    const next = enums.lifecycle_state[window.state] as State;
    if (next === state) continue;
    bands.push({ row, state, from, to: window.event });
    state = next;
    from = window.event;
  }
  return [...bands, { row, state, from, to: events }];
}

/** A cross has no inside. */
function look(change: Change): { fill: string; stroke: string; strokeWidth: number } {
  const { fill } = marks[change];
  return change === 'rollback'
    ? { fill: 'none', stroke: fill, strokeWidth: 2 }
    : { fill, stroke: ink.ground, strokeWidth: 1 };
}

/** In one line above the frame: states as blocks, changes as their marks. */
function legend(): Plot.Markish[] {
  const dy = -30;
  let at = -legend_left;
  const place = (words: string): number => {
    const here = at;
    at += 26 + 7 * words.length;
    return here;
  };
  const state_keys = (Object.keys(states) as State[]).map((state) => ({ words: state, dx: place(state) }));
  const change_keys = (Object.keys(marks) as Change[]).map((change) => ({ words: change, dx: place(change) }));
  return [
    ...state_keys.map(({ words, dx }) =>
      Plot.dot([words], {
        frameAnchor: 'top-left',
        dx: dx + 4,
        dy,
        symbol: 'square',
        r: 6,
        fill: states[words],
        fillOpacity: 0.55,
      }),
    ),
    ...change_keys.map(({ words, dx }) =>
      Plot.dot([words], { frameAnchor: 'top-left', dx: dx + 4, dy, symbol: marks[words].symbol, r: 4, ...look(words) }),
    ),
    ...[...state_keys, ...change_keys].map(({ words, dx }) =>
      Plot.text([words], {
        frameAnchor: 'top-left',
        dx: dx + 14,
        dy,
        textAnchor: 'start',
        text: (each: string) => each,
        fill: 'currentColor',
        lineAnchor: 'middle',
      }),
    ),
  ];
}
