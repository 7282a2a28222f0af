/** A whole search: the points of the space, a method over them, what it found and what that cost. */
import { type Cost, type Evaluated, Evaluator } from './evaluator.ts';
import type { Method, Problem } from './method.ts';
import { mostOf, type Objective, paretoFront } from './objective.ts';
import { type Ranked, ranked } from './order.ts';
import { chooseSome, distance, grid, type Point, samePoint } from './space.ts';
import type { Subject, Target } from './target.ts';

export interface Searched {
  readonly winner: Ranked;
  readonly baseline: Evaluated;
  /** Tried on every whole trace, a point once, best first. */
  readonly tried: readonly Ranked[];
  /** Indexes into `tried`: least time for its memory, cheapest first. */
  readonly pareto: readonly number[];
  readonly configurations: number;
  /** Kinds of configurations that some trace can tell apart. */
  readonly distinct: number;
  readonly considered: number;
  readonly cost: Cost;
  readonly seconds: number;
  /** Rows of every configuration on every whole trace. */
  readonly grid_rows: number;
  readonly notes: readonly string[];
  readonly evaluator: Evaluator;
}

export interface SearchOptions {
  readonly seed: number;
  /** Candidates at most. */
  readonly budget?: number | undefined;
  readonly progress?: (evaluations: number) => void;
}

export async function search(
  target: Target,
  subjects: readonly Subject[],
  method: Method,
  objective: Objective,
  { seed, budget, progress }: SearchOptions,
): Promise<Searched> {
  const started = performance.now();
  const { space, baseline } = target;
  const evaluator = new Evaluator(subjects, baseline, seed, progress);
  const whole = subjects.map((_, trace) => trace);
  const legal = [...grid(space)].filter((point) => target.legal(point));
  const configurations = legal.some((point) => samePoint(point, baseline)) ? legal : [baseline, ...legal];
  const kinds = kindsOf(configurations, subjects, baseline);
  const others = kinds.filter((point) => !samePoint(point, baseline));
  const points = [baseline, ...(budget === undefined ? others : chooseSome(others, Math.max(0, budget - 1), seed))];
  const problem: Problem = {
    space,
    points,
    baseline,
    starts: target.starts,
    traces: subjects.length,
    seed,
    budget: budget ?? Number.POSITIVE_INFINITY,
    kind: (point) => kindOf(point, subjects),
    legal: (point) => target.legal(point),
    evaluate: (some, on = {}) => evaluator.evaluate(some, on.share ?? 1, on.traces ?? whole),
    rank: (evaluated) => evaluator.rank(objective, evaluated),
    rowsAt: (share) => evaluator.rowsAt(share),
  };
  const { finalists, notes } = await method.search(problem);
  // Counted here: what follows is for the report.
  const { cost } = evaluator;
  const seconds = (performance.now() - started) / 1000;
  const tried = ranked(problem, unique(finalists));
  const sums = tried.map(({ evaluated }) => totals(evaluated));
  const [at_baseline] = await evaluator.evaluate([baseline], 1, whole);
  return {
    winner: tried[0],
    baseline: at_baseline,
    tried,
    pareto: paretoFront(sums),
    configurations: configurations.length,
    distinct: kinds.length,
    considered: points.length,
    cost,
    seconds,
    grid_rows: evaluator.rowsFor(configurations, 1),
    notes,
    evaluator,
  };
}

/** Of configurations that no trace can tell apart, the one that changes least. */
function kindsOf(points: readonly Point[], subjects: readonly Subject[], baseline: Point): Point[] {
  const kinds = new Map<string, Point>();
  for (const point of points) {
    const key = kindOf(point, subjects);
    const known = kinds.get(key);
    if (known === undefined || distance(point, baseline) < distance(known, baseline)) kinds.set(key, point);
  }
  return [...kinds.values()];
}

function kindOf(point: Point, subjects: readonly Subject[]): string {
  return subjects.map((subject) => subject.key(point)).join('\n');
}

function unique(evaluated: readonly Evaluated[]): Evaluated[] {
  return [...new Map(evaluated.map((each) => [each.point.join(' '), each])).values()];
}

/** Time of all traces together, and the most memory that one of them takes. */
function totals({ figures }: Evaluated): { time: number; memory: number } {
  return {
    time: figures.reduce((sum, { time_ns }) => sum + time_ns, 0),
    memory: mostOf(figures),
  };
}
