/**
 * From the name of a live block (an address, a number, a text) to its slot. Whole numbers, which nearly all names are,
 * live in an open-addressing table without an object each; a Map of boxed doubles costs several times as much.
 */
export type BlockName = number | bigint | string;

const empty = -1;

export class Names {
  private mask = 1023;
  private count = 0;
  private keys = new Float64Array(1024).fill(empty);
  private slots = new Uint32Array(1024);
  private readonly others = new Map<BlockName, number>();

  /** The slot of `name`, or -1. */
  get(name: BlockName): number {
    if (!isPlain(name)) return this.others.get(name) ?? -1;
    const { keys, mask } = this;
    for (let at = hash(name) & mask; ; at = (at + 1) & mask) {
      if (keys[at] === name) return this.slots[at];
      if (keys[at] === empty) return -1;
    }
  }

  /** Gives a slot to a name that has none. */
  add(name: BlockName, slot: number): void {
    if (!isPlain(name)) {
      this.others.set(name, slot);
      return;
    }
    if (this.count * 2 > this.mask) this.grow();
    const { keys, mask } = this;
    let at = hash(name) & mask;
    while (keys[at] !== empty) at = (at + 1) & mask;
    keys[at] = name;
    this.slots[at] = slot;
    this.count += 1;
  }

  /** Forgets `name` and returns its slot, or -1 where it has none. */
  remove(name: BlockName): number {
    if (!isPlain(name)) {
      const slot = this.others.get(name) ?? -1;
      this.others.delete(name);
      return slot;
    }
    const { keys, slots, mask } = this;
    let at = hash(name) & mask;
    while (keys[at] !== name) {
      if (keys[at] === empty) return -1;
      at = (at + 1) & mask;
    }
    const slot = slots[at];
    // Moves back whatever the hole would hide, so that no tombstones pile up over a long trace.
    for (let next = (at + 1) & mask; keys[next] !== empty; next = (next + 1) & mask) {
      const home = hash(keys[next]) & mask;
      if (((next - home) & mask) < ((next - at) & mask)) continue;
      keys[at] = keys[next];
      slots[at] = slots[next];
      at = next;
    }
    keys[at] = empty;
    this.count -= 1;
    return slot;
  }

  private grow(): void {
    const { keys, slots } = this;
    const length = keys.length * 2;
    this.mask = length - 1;
    this.keys = new Float64Array(length).fill(empty);
    this.slots = new Uint32Array(length);
    this.count = 0;
    for (let at = 0; at < keys.length; at += 1) if (keys[at] !== empty) this.add(keys[at], slots[at]);
  }
}

function isPlain(name: BlockName): name is number {
  return typeof name === 'number' && name >= 0 && Number.isSafeInteger(name);
}

/** Addresses are multiples of 8 or 16 and differ in the middle: every bit must reach the low ones. */
function hash(name: number): number {
  const high = (name / 2 ** 32) | 0;
  let mixed = Math.imul((name | 0) ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 13);
}
