/** Rolling digest of the decision log, 64 bits in two lanes. Mirrors native/core/digest.c. */
export class Digest {
  private low = 0x243f6a88;
  private high = 0x85a308d3;

  /** Takes 32 bits in. */
  mix(word: number): void {
    this.low = Math.imul(((this.low << 5) | (this.low >>> 27)) ^ word, 0x9e3779b1);
    this.high = Math.imul(((this.high << 13) | (this.high >>> 19)) + word, 0x85ebca6b) ^ (this.low >>> 16);
  }

  /** Takes three words in; the same as three calls of `mix`, in one step of the hot loop. */
  mix3(first: number, second: number, third: number): void {
    let low = Math.imul(((this.low << 5) | (this.low >>> 27)) ^ first, 0x9e3779b1);
    let high = Math.imul(((this.high << 13) | (this.high >>> 19)) + first, 0x85ebca6b) ^ (low >>> 16);
    low = Math.imul(((low << 5) | (low >>> 27)) ^ second, 0x9e3779b1);
    high = Math.imul(((high << 13) | (high >>> 19)) + second, 0x85ebca6b) ^ (low >>> 16);
    low = Math.imul(((low << 5) | (low >>> 27)) ^ third, 0x9e3779b1);
    high = Math.imul(((high << 13) | (high >>> 19)) + third, 0x85ebca6b) ^ (low >>> 16);
    this.low = low;
    this.high = high;
  }

  /** 16 hexadecimal digits. */
  hex(): string {
    return hex32(this.high) + hex32(this.low);
  }
}

/** Murmur3's finaliser: spreads 32 bits. */
export function mix32(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

const hex32 = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
