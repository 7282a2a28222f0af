/** Memory over simulated time, in a bounded number of points: where they get too many, every second one is left out. */
export interface CoursePoint {
  readonly time_ns: number;
  readonly live_bytes: number;
  readonly resident_bytes: number;
  readonly lazy_bytes: number;
  readonly huge_bytes: number;
}

export const points_max = 256;

export class Course {
  /** When the next point is due. */
  due_ns = 0;
  private points: CoursePoint[] = [];
  private every_ns = 1000;

  add(point: CoursePoint): void {
    if (this.points.length === points_max) {
      this.points = this.points.filter((_, at) => at % 2 === 0);
      this.every_ns *= 2;
    }
    this.points.push(point);
    this.due_ns = (Math.floor(point.time_ns / this.every_ns) + 1) * this.every_ns;
  }

  finish(last: CoursePoint): readonly CoursePoint[] {
    this.add(last);
    return this.points;
  }
}
