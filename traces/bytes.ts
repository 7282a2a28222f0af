/** Growing byte buffers and varints (little-endian base 128, values below 2^53). */

export class ByteWriter {
  length = 0;
  private bytes = new Uint8Array(256);

  clear(): void {
    this.length = 0;
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.grow(1);
    this.bytes[this.length] = value;
    this.length += 1;
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80000000) {
      this.byte((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    let low = rest | 0;
    while (low > 127) {
      this.byte((low & 127) | 128);
      low >>>= 7;
    }
    this.byte(low);
  }

  append(other: ByteWriter): void {
    if (this.length + other.length > this.bytes.length) this.grow(other.length);
    this.bytes.set(other.bytes.subarray(0, other.length), this.length);
    this.length += other.length;
  }

  /** The bytes written so far, in a buffer of their own. */
  take(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  private grow(more: number): void {
    const wider = new Uint8Array(Math.max(this.length + more, this.bytes.length * 2));
    wider.set(this.bytes.subarray(0, this.length));
    this.bytes = wider;
  }
}

/** Reads within [at, end). Past the end it yields 0 and sets `overrun`, which the caller looks at once. */
export class ByteReader {
  at: number;
  overrun = false;
  readonly bytes: Uint8Array;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at === this.end;
  }

  byte(): number {
    if (this.at >= this.end) {
      this.overrun = true;
      return 0;
    }
    this.at += 1;
    return this.bytes[this.at - 1];
  }

  varint(): number {
    if (this.at >= this.end) {
      this.overrun = true;
      return 0;
    }
    const { bytes, end } = this;
    let { at } = this;
    let value = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      if (at >= end) break;
      const byte = bytes[at];
      at += 1;
      value += (byte & 127) * scale;
      if (byte < 128) {
        this.at = at;
        return value;
      }
    }
    this.at = at;
    this.overrun = true;
    return 0;
  }

  /** The next `length` bytes as a reader of their own, or undefined where there are fewer. */
  slice(length: number): ByteReader | undefined {
    if (this.overrun || length > this.end - this.at) return undefined;
    const part = new ByteReader(this.bytes, this.at, this.at + length);
    this.at += length;
    return part;
  }
}
