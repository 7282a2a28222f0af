/** A whole tuning: search, check every row, run the winner for real, try it on traces it has not seen. */
import { CheckFailed } from '../command.ts';
import type { CheckLevel } from '../crosscheck.ts';
import { type Ceiling, ceilingOf } from './ceiling.ts';
import { Evaluator } from './evaluator.ts';
import type { Method } from './method.ts';
import { compareStandings, type Figures, mostOf, type Objective, type Standing } from './objective.ts';
import type { Ranked } from './order.ts';
import type { OnProgram } from './program.ts';
import { type Searched, search } from './search.ts';
import { type Point, samePoint } from './space.ts';
import type { Subject, Target } from './target.ts';
import { type Verified, verify } from './verify.ts';
import { type Conditions, type Worth, worthOf } from './worth.ts';

export interface TuneOptions extends Conditions {
  readonly seed: number;
  readonly budget: number | undefined;
  readonly check: CheckLevel;
  readonly rounds: number | undefined;
  /** Why nothing can be checked here; null where it can. */
  readonly trouble: string | null;
  readonly progress: (doing: string, done: number, total: number) => void;
}

export interface Tuned {
  readonly target: Target;
  readonly method: Method;
  readonly objective: Objective;
  readonly subjects: readonly Subject[];
  readonly searched: Searched;
  readonly seconds: { readonly search: number; readonly check: number; readonly verify: number };
  readonly checked_rows: number;
  readonly verified: Verified | null;
  /** Better by prediction, but above the cap for real: tried before the winner, in order. */
  readonly over_cap: readonly OverCap[];
  readonly worth: Worth;
  readonly rss_max_bytes: number | undefined;
  /** Null where some tried setting meets the condition. */
  readonly impossible: Impossible | null;
  readonly held_out: readonly HeldOut[];
  readonly ceiling: Ceiling;
  /** The winner on the program itself; null where that was not asked for. */
  readonly program: OnProgram | null;
  /** Why what was asked to be checked was not; null where it was. */
  readonly unchecked: string | null;
}

/** A cap that nothing meets. */
export interface Impossible {
  readonly rss_max_bytes: number;
  /** In use at once, allocated and touched: no allocator does with less. */
  readonly live_bytes: number;
  readonly live_exceeds: boolean;
  readonly least: Point;
  readonly least_bytes: number;
}

/** A configuration that keeps to the cap by prediction alone. */
export interface OverCap {
  readonly point: Point;
  readonly predicted_bytes: number;
  readonly resident_peak_bytes: number;
}

export interface HeldOut {
  readonly subject: Subject;
  readonly winner: Figures;
  readonly baseline: Figures;
  readonly best: { readonly point: Point; readonly figures: Figures };
  /** What the winner costs beyond the best of all tried here; null where it breaks the condition. */
  readonly loss: number | null;
  readonly verified: Verified | null;
}

/** Real runs of so many configurations at the most, where one after another breaks the cap for real. */
const real_tries_max = 4;

export async function tune(
  target: Target,
  subjects: readonly Subject[],
  held_out: readonly Subject[],
  method: Method,
  objective: Objective,
  options: TuneOptions,
): Promise<Tuned> {
  const clock = new Clock();
  const found = await search(target, subjects, method, objective, {
    seed: options.seed,
    budget: options.budget,
    progress: (evaluations) => options.progress('searching', evaluations, 0),
  });
  const search_s = clock.lap();
  const checks = options.check !== 'none' && options.trouble === null;
  const own_rows = subjects.map((subject, trace) => ({ subject, points: found.evaluator.triedOn(trace) }));
  let checked_rows = checks ? await checkAll(own_rows, options) : 0;
  let check_s = clock.lap();
  const impossible = impossibility(subjects, found, options.rss_max_bytes);
  const runs = checks && options.check === 'kernel' && impossible === null;
  const real = async (on: readonly Subject[], point: Point): Promise<Verified> =>
    verify(on, point, target.baseline, {
      rounds: options.rounds,
      seed: options.seed,
      progress: (done, total) => options.progress('running for real', done, total),
    });
  const settled = runs
    ? await settle(found, options.rss_max_bytes, (point) => real(subjects, point))
    : { winner: found.winner, verified: null, over_cap: [] };
  const searched = { ...found, winner: settled.winner };
  const winner = searched.winner.evaluated;
  const { verified } = settled;
  let verify_s = clock.lap();
  const others = await Promise.all(held_out.map((subject) => transfer(target, subject, searched, objective, options)));
  const their_rows = others.map(({ subject, evaluator }) => ({ subject, points: evaluator.triedOn(0) }));
  if (checks) checked_rows += await checkAll(their_rows, options);
  check_s += clock.lap();
  const measured: HeldOut[] = [];
  for (const { evaluator: _, ...each } of others)
    measured.push({ ...each, verified: runs ? await real([each.subject], winner.point) : null });
  verify_s += clock.lap();
  const unsure = [verified, ...measured.map((each) => each.verified)].find((each) => each?.check === 'unchecked');
  return {
    target,
    method,
    objective,
    subjects,
    searched,
    seconds: { search: search_s, check: check_s, verify: verify_s },
    checked_rows,
    verified,
    over_cap: settled.over_cap,
    rss_max_bytes: options.rss_max_bytes,
    worth: worthOf(objective, winner.figures, searched.baseline.figures, verified, options),
    impossible,
    held_out: measured,
    ceiling: ceilingOf(subjects, searched.baseline.figures),
    program: null,
    unchecked: options.check === 'none' ? null : (options.trouble ?? unsure?.reason ?? null),
  };
}

/** True where there is something to set. */
export function hasSetting({ searched, target, worth, impossible, verified, program }: Tuned): boolean {
  if (impossible !== null || verified?.check === 'differ') return false;
  if (program !== null && (program.harms || program.differences.length > 0)) return false;
  return worth.wins && !samePoint(searched.winner.evaluated.point, target.baseline);
}

/**
 * The winner for real. The heap ledger reuses perfectly and a C library does not, so a real run may take more than the cap
 * where the prediction did not: then the best of those follows that keep to it with as much to spare in proportion, and
 * where there is none, the one that takes least.
 */
async function settle(
  { tried, winner }: Searched,
  cap_bytes: number | undefined,
  real: (point: Point) => Promise<Verified>,
): Promise<{ winner: Ranked; verified: Verified; over_cap: OverCap[] }> {
  const over_cap: OverCap[] = [];
  let chosen = winner;
  for (;;) {
    const { point, figures } = chosen.evaluated;
    const verified = await real(point);
    const { resident_peak_bytes } = verified;
    const settled = { winner: chosen, verified, over_cap };
    if (cap_bytes === undefined || resident_peak_bytes <= cap_bytes || verified.check === 'differ') return settled;
    const predicted_bytes = mostOf(figures);
    const room_bytes = (cap_bytes * predicted_bytes) / resident_peak_bytes;
    const smaller = tried.filter(({ evaluated }) => mostOf(evaluated.figures) < predicted_bytes);
    if (smaller.length === 0 || over_cap.length + 1 === real_tries_max) return settled;
    const least = smaller.reduce((a, b) => (mostOf(b.evaluated.figures) < mostOf(a.evaluated.figures) ? b : a));
    const next = smaller.find(({ evaluated }) => mostOf(evaluated.figures) <= room_bytes) ?? least;
    over_cap.push({ point, predicted_bytes, resident_peak_bytes });
    chosen = next;
  }
}

/** The winner on a trace it has not seen, beside all that was tried for it. */
async function transfer(
  target: Target,
  subject: Subject,
  searched: Searched,
  objective: Objective,
  options: TuneOptions,
): Promise<Omit<HeldOut, 'verified'> & { evaluator: Evaluator }> {
  const evaluator = new Evaluator([subject], target.baseline, options.seed, (evaluations) =>
    options.progress('trying on what is held out', evaluations, 0),
  );
  const points = searched.tried.map(({ evaluated }) => evaluated.point);
  const evaluated = await evaluator.evaluate([...points, target.baseline], 1, [0]);
  const standings = evaluator.rank(objective, evaluated);
  const best = standings.reduce((least, each, at) => (compareStandings(each, standings[least]) < 0 ? at : least), 0);
  return {
    subject,
    winner: evaluated[0].figures[0],
    baseline: evaluated.at(-1)!.figures[0],
    best: { point: evaluated[best].point, figures: evaluated[best].figures[0] },
    loss: lossOf(standings[0], standings[best]),
    evaluator,
  };
}

export function lossOf(found: Standing, best: Standing): number | null {
  if (compareStandings({ ...found, cost: 0 }, { ...best, cost: 0 }) > 0) return null;
  return best.cost > 0 ? Math.max(0, found.cost / best.cost - 1) : 0;
}

/** Rows of whole traces; returns how many. */
async function checkAll(
  work: readonly { readonly subject: Subject; readonly points: readonly Point[] }[],
  options: TuneOptions,
): Promise<number> {
  const total = work.reduce((sum, { points }) => sum + points.length, 0);
  let before = 0;
  let compared = 0;
  for (const { subject, points } of work) {
    compared += await subject.check(points, (done) => options.progress('checking', before + done, total));
    before += points.length;
  }
  return compared;
}

function impossibility(
  subjects: readonly Subject[],
  { tried }: Searched,
  rss_max_bytes: number | undefined,
): Impossible | null {
  if (rss_max_bytes === undefined) return null;
  const live_bytes = Math.max(...subjects.map((subject) => subject.unavoidable().memory_bytes));
  const live_exceeds = live_bytes > rss_max_bytes;
  if (!live_exceeds && tried[0].standing.excess === 0) return null;
  const [first, ...rest] = tried.map(({ evaluated }) => evaluated);
  const least = rest.reduce((best, each) => (mostOf(each.figures) < mostOf(best.figures) ? each : best), first);
  return { rss_max_bytes, live_bytes, live_exceeds, least: least.point, least_bytes: mostOf(least.figures) };
}

/** A difference that a check found: the search is not to be believed. */
export function differing({ verified, held_out, subjects }: Tuned): CheckFailed | null {
  const all = [
    { path: subjects.map(({ trace }) => trace.path).join(', '), verified },
    ...held_out.map((each) => ({ path: each.subject.trace.path, verified: each.verified })),
  ];
  const found = all.find((each) => each.verified?.check === 'differ');
  return found === undefined
    ? null
    : new CheckFailed(`${found.path}: simulator and real kernel differ: ${found.verified!.reason}`);
}

class Clock {
  private last = performance.now();

  /** Seconds since the last lap. */
  lap(): number {
    const now = performance.now();
    const seconds = (now - this.last) / 1000;
    this.last = now;
    return seconds;
  }
}
