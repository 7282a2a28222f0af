/**
 * Alea, the generator of Johannes Baagoe (MIT; baagoe.com, 2010): a multiply-with-carry in doubles, the same numbers as
 * npm's seedrandom.alea. Mirrors native/core/prng.c.
 *
 * One stream for each use, so that turning one feature off does not shift what another draws.
 */
const two_to_minus_32 = 2.3283064365386963e-10;

export class Prng {
  draws = 0;
  private s0: number;
  private s1: number;
  private s2: number;
  private carry = 1;

  /** `seed` is ASCII: C reads bytes where this reads UTF-16. */
  constructor(seed: string) {
    const mash = new Mash();
    this.s0 = mash.mix(' ');
    this.s1 = mash.mix(' ');
    this.s2 = mash.mix(' ');
    this.s0 = wrapped(this.s0 - mash.mix(seed));
    this.s1 = wrapped(this.s1 - mash.mix(seed));
    this.s2 = wrapped(this.s2 - mash.mix(seed));
  }

  /** In [0, 1), of 32 random bits. */
  next(): number {
    const product = 2091639 * this.s0 + this.carry * two_to_minus_32;
    this.carry = Math.trunc(product);
    this.s0 = this.s1;
    this.s1 = this.s2;
    this.s2 = product - this.carry;
    this.draws += 1;
    return this.s2;
  }

  /** A whole number in [0, count). */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }
}

/** Baagoe's hash of a text to [0, 1); each call goes on from the last. */
class Mash {
  private state = 0xefc8249d;

  mix(text: string): number {
    let state = this.state;
    for (let at = 0; at < text.length; at += 1) {
      state += text.charCodeAt(at);
      let mixed = 0.02519603282416938 * state;
      state = mixed >>> 0;
      mixed -= state;
      mixed *= state;
      state = mixed >>> 0;
      mixed -= state;
      state += mixed * 2 ** 32;
    }
    this.state = state;
    return (state >>> 0) * two_to_minus_32;
  }
}

function wrapped(value: number): number {
  return value < 0 ? value + 1 : value;
}
