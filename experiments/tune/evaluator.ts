/** Tries points on traces, each kind of point once, and counts what that costs. */
import { setImmediate } from 'node:timers/promises';
import type { Figures, Objective, Standing } from './objective.ts';
import type { Point } from './space.ts';
import type { Subject } from './target.ts';

export interface Evaluated {
  readonly point: Point;
  readonly share: number;
  /** Indexes of the traces that it was tried on, and the figures there. */
  readonly traces: readonly number[];
  readonly figures: readonly Figures[];
}

interface Known {
  readonly point: Point;
  readonly figures: Figures;
}

export interface Cost {
  /** Points asked for, on one trace or sample each. */
  readonly evaluations: number;
  /** Of them, those that had to be run. */
  readonly runs: number;
  /** Rows that were run: after folding, an event that some setting of the space treats differently from another. */
  readonly rows: number;
}

/** Running this long without hearing signals is not noticed. */
const breath_ms = 50;

export class Evaluator {
  evaluations = 0;
  runs = 0;
  rows = 0;
  private readonly subjects: readonly Subject[];
  private readonly baseline: Point;
  private readonly seed: number;
  private readonly progress: (evaluations: number) => void;
  private readonly samples = new Map<number, readonly Subject[]>();
  private readonly known = new Map<Subject, Map<string, Known>>();
  private breathed = performance.now();

  constructor(
    subjects: readonly Subject[],
    baseline: Point,
    seed: number,
    progress: (evaluations: number) => void = () => {},
  ) {
    this.subjects = subjects;
    this.baseline = baseline;
    this.seed = seed;
    this.progress = progress;
  }

  async evaluate(points: readonly Point[], share: number, traces: readonly number[]): Promise<Evaluated[]> {
    const subjects = this.at(share);
    const evaluated: Evaluated[] = [];
    for (const point of points) {
      const figures: Figures[] = [];
      for (const trace of traces) {
        figures.push(await this.figuresOf(subjects[trace], point));
        this.evaluations += 1;
        if (performance.now() - this.breathed > breath_ms) await this.breathe();
      }
      evaluated.push({ point, share, traces, figures });
    }
    // What they are ranked against.
    for (const trace of traces) await this.figuresOf(subjects[trace], this.baseline);
    return evaluated;
  }

  rank(objective: Objective, evaluated: readonly Evaluated[]): readonly Standing[] {
    if (evaluated.length === 0) return [];
    const { share, traces } = evaluated[0];
    const subjects = this.at(share);
    return objective.rank(
      evaluated.map(({ figures }) => figures),
      traces.map((trace) => this.knownOf(subjects[trace], this.baseline)!.figures),
      traces.map((trace) => subjects[trace].live_share),
    );
  }

  /** Rows that the points take, each run on every trace or sample of `share`, whether or not that is done. */
  rowsFor(points: readonly Point[], share: number): number {
    const subjects = this.at(share);
    return points.reduce((sum, point) => sum + subjects.reduce((rows, subject) => rows + subject.rows(point), 0), 0);
  }

  rowsAt(share: number): number {
    return this.at(share).reduce((rows, subject) => rows + subject.rows_most, 0);
  }

  /** Everything that was run on a whole trace, a point of each kind. */
  triedOn(trace: number): readonly Point[] {
    return [...(this.known.get(this.subjects[trace])?.values() ?? [])].map(({ point }) => point);
  }

  get cost(): Cost {
    return { evaluations: this.evaluations, runs: this.runs, rows: this.rows };
  }

  private at(share: number): readonly Subject[] {
    const known = this.samples.get(share);
    if (known !== undefined) return known;
    const subjects = share === 1 ? this.subjects : this.subjects.map((each) => each.sample(share, this.seed));
    this.samples.set(share, subjects);
    return subjects;
  }

  private knownOf(subject: Subject, point: Point): Known | undefined {
    return this.known.get(subject)?.get(subject.key(point));
  }

  private async figuresOf(subject: Subject, point: Point): Promise<Figures> {
    const before = this.knownOf(subject, point);
    if (before !== undefined) return before.figures;
    const figures = await subject.figures(point);
    const known = this.known.get(subject) ?? new Map<string, Known>();
    this.known.set(subject, known.set(subject.key(point), { point, figures }));
    this.runs += 1;
    this.rows += subject.rows(point);
    return figures;
  }

  /** Between two points signals are heard. */
  private async breathe(): Promise<void> {
    this.progress(this.evaluations);
    await setImmediate();
    this.breathed = performance.now();
  }
}
