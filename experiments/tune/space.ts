/** What is searched: axes with their values, points on their grid, and how many settings a point changes. */
import seedrandom from 'seedrandom';

export interface Axis {
  readonly name: string;
  /** In ascending order. */
  readonly values: readonly number[];
  /** On a `log` axis there are values between two others; a `choice` has none. */
  readonly kind: 'log' | 'choice';
  readonly why: string;
}

export type Space = readonly Axis[];

/** A value for every axis, in the order of the axes. */
export type Point = readonly number[];

/** Every combination, the last axis fastest. */
export function* grid(space: Space): Generator<Point> {
  const at = space.map(() => 0);
  for (;;) {
    yield space.map(({ values }, axis) => values[at[axis]]);
    let axis = space.length - 1;
    while (axis >= 0 && at[axis] === space[axis].values.length - 1) at[axis--] = 0;
    if (axis < 0) return;
    at[axis] += 1;
  }
}

/** The point with another value on one axis. */
export function moved(point: Point, axis: number, value: number): Point {
  return point.map((each, at) => (at === axis ? value : each));
}

export function samePoint(a: Point, b: Point): boolean {
  return a.every((value, axis) => value === b[axis]);
}

/** Axes on which two points differ. */
export function distance(a: Point, b: Point): number {
  return a.reduce((count, value, axis) => count + (value === b[axis] ? 0 : 1), 0);
}

/** At most `most` of the points, drawn without putting back, in their own order. */
export function chooseSome<T>(points: readonly T[], most: number, seed: number): readonly T[] {
  if (points.length <= most) return points;
  const random = seedrandom.alea(`choose/${seed}`);
  let left = most;
  return points.filter((_, at) => {
    const taken = random() * (points.length - at) < left;
    if (taken) left -= 1;
    return taken;
  });
}
