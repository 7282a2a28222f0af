/** A cursor over the lines of a text format, and the loop that hands each line to its importer. */
import type { BlockName, TraceBuilder } from './builder.ts';
import { type ByteStream, quote, wholeLines } from './stream.ts';
import { type Chunk, limits, TraceError } from './trace.ts';

const newline = 10;
const latin1 = new TextDecoder('latin1');
const utf8 = new TextDecoder();

export class Lines {
  /** From 1. */
  number = 0;
  private bytes: Uint8Array = new Uint8Array(0);
  private at = 0;
  private readonly stream: ByteStream;
  private readonly wanted: string;

  constructor(stream: ByteStream, wanted: string) {
    this.stream = stream;
    this.wanted = wanted;
  }

  /** Calls `take` at the start of every line that is not empty; a line it refuses, or does not read to its end, is broken. */
  *chunks(builder: TraceBuilder, take: () => boolean): Generator<Chunk> {
    for (const block of wholeLines(this.stream)) {
      this.bytes = block;
      this.at = 0;
      while (this.at < block.length) {
        const start = this.at;
        this.number += 1;
        if (!(this.ended() || (take() && this.ended())))
          throw this.error(
            `found ${quote(block.subarray(start, block.indexOf(newline, start)))}; wanted ${this.wanted}`,
          );
        this.nextLine();
      }
      yield* builder.full();
    }
    yield* builder.finish();
  }

  error(message: string): TraceError {
    return new TraceError(this.stream.path, `line ${this.number}`, message);
  }

  /** `size_bytes`, where a trace can hold it. */
  size(size_bytes: number): number {
    if (size_bytes >= limits.size_bytes) throw this.error(`a size of ${size_bytes} bytes; wanted one below 2^47`);
    return size_bytes;
  }

  /** The byte here, read. */
  byte(): number {
    if (this.bytes[this.at] === newline) return newline;
    this.at += 1;
    return this.bytes[this.at - 1];
  }

  skip(byte: number): boolean {
    if (this.bytes[this.at] !== byte) return false;
    this.at += 1;
    return true;
  }

  skipText(text: string): boolean {
    for (let letter = 0; letter < text.length; letter += 1)
      if (this.bytes[this.at + letter] !== text.charCodeAt(letter)) return false;
    this.at += text.length;
    return true;
  }

  /** A number in decimal; NaN where there is no digit. */
  decimal(): number {
    const { bytes } = this;
    let { at } = this;
    let value = 0;
    for (let digit = bytes[at] - 48; digit >= 0 && digit <= 9; digit = bytes[at] - 48) {
      value = value * 10 + digit;
      at += 1;
    }
    const none = at === this.at;
    this.at = at;
    return none ? Number.NaN : value;
  }

  /** A number in hexadecimal, without 0x before it; NaN where there is no digit. Beyond 2^53 it is only near. */
  hex(): number {
    const { bytes } = this;
    let { at } = this;
    let value = 0;
    for (;;) {
      const byte = bytes[at];
      let digit = byte - 48;
      if (digit < 0 || digit > 9) {
        digit = (byte | 32) - 87;
        if (digit < 10 || digit > 15) break;
      }
      value = value * 16 + digit;
      at += 1;
    }
    const none = at === this.at;
    this.at = at;
    return none ? Number.NaN : value;
  }

  /** The same as the name of a block, exactly; undefined where there is no digit. */
  hexName(): BlockName | undefined {
    const start = this.at;
    const value = this.hex();
    if (value <= Number.MAX_SAFE_INTEGER) return value;
    return Number.isNaN(value) ? undefined : BigInt(`0x${latin1.decode(this.bytes.subarray(start, this.at))}`);
  }

  /** Everything up to `byte`, which is read too; up to the end of the line where it does not come. */
  until(byte: number): string {
    const start = this.at;
    let end = start;
    while (this.bytes[end] !== newline && this.bytes[end] !== byte) end += 1;
    this.at = this.bytes[end] === newline ? end : end + 1;
    return latin1.decode(this.bytes.subarray(start, end));
  }

  /** Letters, digits and underscores. */
  word(): string {
    const start = this.at;
    for (let byte = this.bytes[this.at]; isOfWord(byte); byte = this.bytes[this.at]) this.at += 1;
    return latin1.decode(this.bytes.subarray(start, this.at));
  }

  /** The rest of the line, read as UTF-8. */
  rest(): string {
    const start = this.at;
    this.skipRest();
    const end = this.bytes[this.at - 1] === 13 && this.at > start ? this.at - 1 : this.at;
    return utf8.decode(this.bytes.subarray(start, end));
  }

  /** The next `bytes` of the line, read as UTF-8; undefined where the line ends before. */
  take(bytes: number): string | undefined {
    const start = this.at;
    const end = start + bytes;
    if (!(end <= this.bytes.length)) return undefined;
    const part = this.bytes.subarray(start, end);
    if (part.includes(newline)) return undefined;
    this.at = end;
    return utf8.decode(part);
  }

  skipRest(): void {
    while (this.bytes[this.at] !== newline) this.at += 1;
  }

  /** True where nothing but blanks is left of the line. */
  private ended(): boolean {
    const { bytes } = this;
    while (bytes[this.at] === 32 || bytes[this.at] === 9 || bytes[this.at] === 13) this.at += 1;
    return bytes[this.at] === newline;
  }

  private nextLine(): void {
    this.at += 1;
  }
}

function isOfWord(byte: number): boolean {
  const letter = byte | 32;
  return (letter >= 97 && letter <= 122) || (byte >= 48 && byte <= 57) || byte === 95;
}
