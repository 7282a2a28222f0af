/** Dense object slots: the slot freed last is given out first, so there are never more slots than live objects at peak. */
export class Slots {
  /** Slots ever given out; slot numbers lie below it. */
  high = 0;
  private free_slots = new Uint32Array(1024);
  private free_count = 0;

  take(): number {
    if (this.free_count > 0) {
      this.free_count -= 1;
      return this.free_slots[this.free_count];
    }
    this.high += 1;
    return this.high - 1;
  }

  give(slot: number): void {
    if (this.free_count === this.free_slots.length) {
      const wider = new Uint32Array(this.free_slots.length * 2);
      wider.set(this.free_slots);
      this.free_slots = wider;
    }
    this.free_slots[this.free_count] = slot;
    this.free_count += 1;
  }

  /** Puts the free slots in descending order, lowest on top: what a reader that starts here would have. */
  canonicalise(): void {
    this.free_slots.subarray(0, this.free_count).sort().reverse();
  }

  /** Starts anew from a set of live slots: `live[slot]` is 1 or 0, for every slot below `high`. */
  restore(live: Uint8Array, high: number): void {
    this.high = high;
    this.free_count = 0;
    for (let slot = high - 1; slot >= 0; slot -= 1) if (live[slot] === 0) this.give(slot);
  }
}
