/** A growing list of numbers, 8 bytes each. */
export class NumberList {
  length = 0;
  private values = new Float64Array(256);

  /** The number at `index`, which must be below `length`. */
  at(index: number): number {
    return this.values[index];
  }

  set(index: number, value: number): void {
    this.values[index] = value;
  }

  push(value: number): void {
    if (this.length === this.values.length) {
      const wider = new Float64Array(this.values.length * 2);
      wider.set(this.values);
      this.values = wider;
    }
    this.values[this.length] = value;
    this.length += 1;
  }
}
