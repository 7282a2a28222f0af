/** `hakmem diff A B`: what a program asks of its allocator in one recording and not in another. */
import type { Command } from 'commander';
import { sha256OfFile, type Trace } from '../traces/index.ts';
import { formatBytes, Progress, print, printJson, wholeNumber } from './command.ts';
import { watched } from './import.ts';
import { type FigureUnit, figures, type Measured, measure } from './trace-diff/figures.ts';
import { groupsOf, kindFor } from './trace-diff/groups.ts';
import { matchUses, type Pair } from './trace-diff/match.ts';
import { addUnderOptions, chooseUnder, openSome, type UnderOptions, withinModel } from './trace-diff/under.ts';
import { changed, count, rightAligned } from './words.ts';

export function addDiff(program: Command): void {
  addUnderOptions(
    program
      .command('diff')
      .description('what two recordings ask for differently: call sites, sizes, lifetimes, peak')
      .argument('<a>', 'a .hak file, or any format that import reads')
      .argument('<b>', 'another'),
  )
    .option('--top <n>', 'call sites to show', wholeNumber(0), 10)
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(diff);
}

interface Options extends UnderOptions {
  readonly top: number;
  readonly progress?: boolean;
  readonly json?: boolean;
}

interface Side extends Measured {
  readonly trace: Trace;
}

async function diff(a_path: string, b_path: string, options: Options): Promise<void> {
  const [a_trace, b_trace] = [openSome(a_path), openSome(b_path)];
  const { under, policy, touch } = await chooseUnder(a_trace, b_trace, options);
  const kind = kindFor(a_trace, b_trace);
  const sideOf = async (trace: Trace): Promise<Side> => {
    const progress = new Progress(`replaying ${trace.path}`, options.progress === true);
    const measured = await withinModel(trace.path, policy, () =>
      measure(watched(trace, progress), groupsOf(trace, kind), under),
    );
    progress.finish();
    return { trace, ...measured };
  };
  const [a, b] = [await sideOf(a_trace), await sideOf(b_trace)];
  const pairs = matchUses(a.uses, b.uses).sort((x, y) => weight(y) - weight(x));
  const sizes = mergeBounds(a_trace.statistics.size_histogram, b_trace.statistics.size_histogram);
  const lifetimes = mergeBounds(a.lifetimes, b.lifetimes);
  if (options.json) {
    const about = ({ trace }: Side) => ({
      path: trace.path,
      sha256: sha256OfFile(trace.path),
      program: trace.origin.program,
      events: trace.statistics.events,
    });
    printJson({
      a: about(a),
      b: about(b),
      policy,
      touch,
      figures: Object.entries(figures).map(([figure, { unit }]) => ({
        figure,
        unit,
        a: a.figures[figure],
        b: b.figures[figure],
      })),
      by: kind,
      groups: pairs.map(({ base, head }) => ({ a: base, b: head })),
      sizes: sizes.map(([below_bytes, a, b]) => ({ below_bytes, a, b })),
      lifetimes: lifetimes.map(([below_events, a, b]) => ({ below_events, a, b })),
    });
    return;
  }
  print(
    `a: ${a.trace.path}`,
    `b: ${b.trace.path}`,
    `replayed under ${policy}`,
    '',
    ...figureTable(a, b),
    '',
    ...groupTable(pairs, kind === 'site' ? 'call sites' : 'size classes', options.top),
    '',
    'sizes of allocations and reallocs',
    ...boundTable(sizes, formatBytes),
    '',
    'lifetimes in events',
    ...boundTable(lifetimes, count),
  );
}

/** What a pair differs by, in bytes asked for, held at the peak, and never freed. */
function weight({ base, head }: Pair): number {
  const by = (of: 'bytes' | 'live' | 'unfreed_bytes'): number => Math.abs((head?.[of] ?? 0) - (base?.[of] ?? 0));
  return Math.max(by('bytes'), by('live'), by('unfreed_bytes'));
}

type Bounds = readonly (readonly [number, number])[];

/** [bound, count in a, count in b], ascending. */
function mergeBounds(a: Bounds, b: Bounds): [number, number, number][] {
  const [of_a, of_b] = [new Map(a), new Map(b)];
  const bounds = [...new Set([...of_a.keys(), ...of_b.keys()])].sort((x, y) => x - y);
  return bounds.map((bound) => [bound, of_a.get(bound) ?? 0, of_b.get(bound) ?? 0]);
}

function figureTable(a: Side, b: Side): string[] {
  const inUnit = (unit: FigureUnit, value: number): string => (unit === 'bytes' ? formatBytes(value) : count(value));
  const rows = Object.entries(figures).map(([figure, { unit, says }]) => [
    figure,
    inUnit(unit, a.figures[figure]),
    inUnit(unit, b.figures[figure]),
    changed(a.figures[figure], b.figures[figure]),
    says,
  ]);
  return rightAligned([['', 'a', 'b', 'change', ''], ...rows], 1);
}

function groupTable(pairs: readonly Pair[], what: string, top: number): string[] {
  const different = pairs.filter((pair) => JSON.stringify(pair.base) !== JSON.stringify(pair.head));
  const shown = different.slice(0, top);
  const rows = shown.map(({ base, head }) => [
    both(base?.allocations, head?.allocations, count),
    both(base?.bytes, head?.bytes, formatBytes),
    both(base?.live, head?.live, formatBytes),
    both(base?.unfreed, head?.unfreed, count),
    both(base?.lifetime_events ?? undefined, head?.lifetime_events ?? undefined, count),
    nameOf(base?.name, head?.name),
  ]);
  const header = ['allocations', 'bytes', 'live at the peak', 'never freed', 'lifetime below', ''];
  return [`${what} that differ, ${shown.length} of ${different.length}`, ...rightAligned([header, ...rows], 1)];
}

function both(a: number | undefined, b: number | undefined, format: (value: number) => string): string {
  const word = (value: number | undefined): string => (value === undefined ? '-' : format(value));
  return a === b ? word(a) : `${word(a)} -> ${word(b)}`;
}

function nameOf(a: string | undefined, b: string | undefined): string {
  if (a === undefined) return `${b} (only in b)`;
  if (b === undefined) return `${a} (only in a)`;
  return a === b ? a : `${a} (in b ${b})`;
}

function boundTable(rows: readonly (readonly [number, number, number])[], label: (bound: number) => string): string[] {
  return rightAligned([
    ['below', 'a', 'b', 'change'],
    ...rows.map(([bound, a, b]) => [label(bound), count(a), count(b), changed(a, b)]),
  ]);
}
