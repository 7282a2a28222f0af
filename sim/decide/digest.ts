/**
 * Digest of the decision log, 64 bits in two lanes. Mirrors native/core/digest.c.
 *
 * Decisions of the mapped path roll: each depends on all before it. An event that stays on the heap path is hashed with its
 * number and added: its place counts, the order of additions does not, so the sum over a stretch of them can be made once
 * for every configuration that leaves them alone (sim/fold.ts).
 */
export class Digest {
  private low = 0x243f6a88;
  private high = 0x85a308d3;
  private sum_low = 0;
  private sum_high = 0;

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

  /** An event that stayed on the heap path; `word` is its route and where it was released to. */
  add(event: number, word: number, size_bytes: number): void {
    const low = heapLow(event, word, size_bytes);
    this.sum_low = (this.sum_low + low) | 0;
    this.sum_high = (this.sum_high + heapHigh(event, low)) | 0;
  }

  /** Many such events: the sums of their hashes. */
  addSums(low: number, high: number): void {
    this.sum_low = (this.sum_low + low) | 0;
    this.sum_high = (this.sum_high + high) | 0;
  }

  /** 16 hexadecimal digits. */
  hex(): string {
    return hex32(this.high ^ this.sum_high) + hex32(this.low ^ this.sum_low);
  }
}

/** Two words as one: a change of either alone changes it. */
export function pack(first: number, second: number): number {
  return first ^ Math.imul(second, 0xcc9e2d51);
}

/** The low lane's hash of a heap event: for one event, no two sizes below 4 GiB and no two words share it. */
export function heapLow(event: number, word: number, size_bytes: number): number {
  const named = size_bytes < 2 ** 32 ? word : word | (Math.floor(size_bytes / 2 ** 32) << 16);
  let hash = Math.imul(event, 0x9e3779b1) ^ size_bytes;
  hash = Math.imul(hash ^ (hash >>> 15) ^ named, 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

/** The high lane's, from the low one's. */
export function heapHigh(event: number, low: number): number {
  return Math.imul(low ^ event, 0xc2b2ae35) ^ (low >>> 16);
}

/** Murmur3's finaliser: spreads 32 bits. */
export function mix32(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

const hex32 = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
