/**
 * What "best" means. Several traces are put together as the mean of their ratios to the baseline, each trace against its
 * own: a long trace says no more than a short one.
 */
import { mean } from 'd3-array';

/** One configuration on one trace. */
export interface Figures {
  readonly time_ns: number;
  /** Most resident at a checkpoint, and the most that the heap path grew to. */
  readonly memory_bytes: number;
  /** Of the mapped path and of the heap path. */
  readonly faults: number;
  readonly score: number;
  /** What of the score is time. */
  readonly score_of_time: number;
}

/** How a configuration stands: first whether it breaks the condition, and by how much, then what it costs. */
export interface Standing {
  readonly excess: number;
  readonly cost: number;
}

export interface Objective {
  readonly name: 'score' | 'time' | 'memory';
  readonly says: string;
  /**
   * A standing for each configuration, given its figures trace by trace. A sample has less of everything: `live_share` is
   * what part of its trace's live bytes each one holds.
   */
  rank(
    rows: readonly (readonly Figures[])[],
    baseline: readonly Figures[],
    live_share: readonly number[],
  ): readonly Standing[];
}

/** Negative where `a` is better; costs that differ by rounding alone are equal. */
export function compareStandings(a: Standing, b: Standing): number {
  return compareNumbers(a.excess, b.excess) || compareNumbers(a.cost, b.cost);
}

export function weightedScore(): Objective {
  return {
    name: 'score',
    says: 'least weighted score (40 % CPU, 30 % faults, 30 % memory)',
    rank: (rows, baseline) => rows.map((row) => ({ excess: 0, cost: meanRatio(row, baseline, 'score') })),
  };
}

export function cheapestUnder(rss_max_bytes: number): Objective {
  return {
    name: 'time',
    says: 'cheapest time with no more resident than the cap',
    rank: (rows, baseline, live_share) =>
      rows.map((row) => ({
        excess: Math.max(0, ...row.map((each, trace) => each.memory_bytes / (rss_max_bytes * live_share[trace]) - 1)),
        cost: meanRatio(row, baseline, 'time_ns'),
      })),
  };
}

/** Cheapest, where no trace takes more than `percent` above what the baseline takes on it. */
export function cheapestAtMemory(percent: number): Objective {
  return {
    name: 'time',
    says: `cheapest time with at most ${percent} % more resident at its peak than as it is`,
    rank: (rows, baseline) =>
      rows.map((row) => ({
        excess: Math.max(
          0,
          ...row.map((each, trace) => ratio(each.memory_bytes, baseline[trace].memory_bytes) / (1 + percent / 100) - 1),
        ),
        cost: meanRatio(row, baseline, 'time_ns'),
      })),
  };
}

export function leastMemoryWithin(slowdown_max_percent: number): Objective {
  return {
    name: 'memory',
    says: `least memory at most ${slowdown_max_percent} % slower than the cheapest`,
    rank: (rows, baseline) => {
      const times = rows.map((row) => meanRatio(row, baseline, 'time_ns'));
      const allowed = times.reduce((least, each) => Math.min(least, each), Infinity) * (1 + slowdown_max_percent / 100);
      return rows.map((row, at) => ({
        excess: Math.max(0, times[at] / allowed - 1),
        cost: meanRatio(row, baseline, 'memory_bytes'),
      }));
    },
  };
}

/** The most memory that one of the traces takes. */
export function mostOf(row: readonly Figures[]): number {
  return Math.max(...row.map(({ memory_bytes }) => memory_bytes));
}

/** Mean over the traces of a figure against the baseline's. */
export function meanRatio(row: readonly Figures[], baseline: readonly Figures[], of: keyof Figures): number {
  return mean(row, (each, trace) => ratio(each[of], baseline[trace][of]))!;
}

/** Indexes of the rows that no other row beats in both time and memory, cheapest first; of equal rows the first. */
export function paretoFront(rows: readonly { readonly time: number; readonly memory: number }[]): number[] {
  const order = rows
    .map((_, at) => at)
    .sort((a, b) => rows[a].time - rows[b].time || rows[a].memory - rows[b].memory || a - b);
  let least = Number.POSITIVE_INFINITY;
  return order.filter((at) => {
    if (rows[at].memory >= least) return false;
    least = rows[at].memory;
    return true;
  });
}

function ratio(value: number, of: number): number {
  return of === 0 ? (value === 0 ? 1 : Number.POSITIVE_INFINITY) : value / of;
}

function compareNumbers(a: number, b: number): number {
  if (a === b) return 0;
  return Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b)) ? 0 : a - b;
}
