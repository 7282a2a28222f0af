/**
 * P-square: one quantile of a stream from five markers, nothing stored (Jain and Chlamtac, CACM October 1985,
 * doi 10.1145/4372.4378). Mirrors native/core/p2.c, operand by operand.
 *
 * Where a marker should stand is computed from the count; the paper adds up increments, and with them their rounding
 * errors (aakinshin.net/posts/p2-quantile-estimator-rounding-issue).
 */
export class P2 {
  /** Ascending: least, p/2, p, (1+p)/2, greatest. Below five values, the values. */
  readonly heights = new Float64Array(5);
  /** How many values are at or below each marker. */
  readonly positions = new Float64Array(5);
  count = 0;
  /** Negative or not finite: one NaN would stay in the markers for ever. Not forgotten by `clear`. */
  rejected = 0;
  private readonly p: number;
  private readonly shares: readonly number[];

  constructor(p: number) {
    this.p = p;
    this.shares = [0, p / 2, p, (1 + p) / 2, 1];
    this.clear();
  }

  add(value: number): void {
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
      this.rejected += 1;
      return;
    }
    this.count += 1;
    if (this.count <= 5) {
      this.insert(value);
      return;
    }
    const { positions, shares } = this;
    for (let above = this.place(value); above < 5; above += 1) positions[above] += 1;
    for (let at = 1; at < 4; at += 1) {
      const off = 1 + (this.count - 1) * shares[at] - positions[at];
      if (off >= 1 && positions[at + 1] - positions[at] > 1) this.move(at, 1);
      else if (off <= -1 && positions[at - 1] - positions[at] < -1) this.move(at, -1);
    }
  }

  clear(): void {
    this.heights.fill(0);
    for (let at = 0; at < 5; at += 1) this.positions[at] = at + 1;
    this.count = 0;
  }

  /** NaN while there is no value; below five values, the least of them that p of them do not exceed. */
  estimate(): number {
    const { count, heights } = this;
    if (count === 0) return Number.NaN;
    if (count >= 5) return heights[2];
    let at = 0;
    while (at + 1 < this.p * count) at += 1;
    return heights[at];
  }

  private insert(value: number): void {
    const { heights } = this;
    let at = this.count - 1;
    while (at > 0 && heights[at - 1] > value) {
      heights[at] = heights[at - 1];
      at -= 1;
    }
    heights[at] = value;
  }

  /** The first marker above the value's cell; the outer markers give way to a new extreme. */
  private place(value: number): number {
    const { heights } = this;
    if (value < heights[0]) heights[0] = value;
    else if (value > heights[4]) heights[4] = value;
    let above = 1;
    while (above < 4 && value >= heights[above]) above += 1;
    return above;
  }

  /** One step up or down: along a parabola through three markers, or a line where that would pass a neighbour. */
  private move(at: number, step: 1 | -1): void {
    const { heights: q, positions: n } = this;
    const up = ((n[at] - n[at - 1] + step) * (q[at + 1] - q[at])) / (n[at + 1] - n[at]);
    const down = ((n[at + 1] - n[at] - step) * (q[at] - q[at - 1])) / (n[at] - n[at - 1]);
    const curved = q[at] + (step / (n[at + 1] - n[at - 1])) * (up + down);
    if (q[at - 1] < curved && curved < q[at + 1]) q[at] = curved;
    else q[at] += (step * (q[at + step] - q[at])) / (n[at + step] - n[at]);
    n[at] += step;
  }
}
