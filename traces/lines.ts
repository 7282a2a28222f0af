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
  private cut_bytes = 0;
  private is_open = false;
  private readonly stream: ByteStream;
  private readonly wanted: string;
  private readonly comment: number;

  /** What follows the byte `comment` is no part of a line. */
  constructor(stream: ByteStream, wanted: string, comment = newline) {
    this.stream = stream;
    this.wanted = wanted;
    this.comment = comment;
  }

  /** What of the file was left out: of a program that was killed, or a disk that was full, the last line is cut. */
  notes(): string[] {
    return this.cut_bytes === 0
      ? []
      : [
          `The file ends in the middle of line ${this.number}: its ${this.cut_bytes} bytes are left out, and what followed.`,
        ];
  }

  /**
   * Calls `take` at the start of every line that is not empty; a line it refuses, or does not read to its end, is
   * broken. Where the last line is, and has no newline, it was cut: that is no damage, and left out.
   */
  *chunks(builder: TraceBuilder, take: () => boolean): Generator<Chunk> {
    const lines = wholeLines(this.stream, () => {
      this.is_open = true;
    });
    for (const block of lines) {
      this.bytes = block;
      this.at = 0;
      while (this.at < block.length) {
        const start = this.at;
        this.number += 1;
        if (!(this.ended() || (take() && this.ended())))
          this.refuse(block.subarray(start, block.indexOf(newline, start)));
        this.nextLine();
        if (builder.has_full) yield* builder.full();
      }
    }
    yield* builder.finish();
  }

  error(message: string): TraceError {
    return new TraceError(this.stream.path, `line ${this.number}`, message);
  }

  /** `size_bytes`, where a trace can hold it. */
  size(size_bytes: number): number {
    if (!(size_bytes < limits.size_bytes)) throw this.error(`a size of ${size_bytes} bytes; wanted one below 2^47`);
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

  /** Which of `words` comes next, and ends a field; -1 where none does. */
  oneOf(words: readonly Uint8Array[]): number {
    const { bytes, at } = this;
    for (let word = 0; word < words.length; word += 1) {
      const wanted = words[word];
      let letter = 0;
      while (letter < wanted.length && bytes[at + letter] === wanted[letter]) letter += 1;
      if (letter < wanted.length || !endsField(bytes[at + letter])) continue;
      this.at = at + letter;
      return word;
    }
    return -1;
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

  /** The next field as a number, hexadecimal after 0x; NaN where it is none. Beyond 2^53 it is only near. */
  value(): number {
    this.skipBlanks();
    const is_hex = this.bytes[this.at] === 48 && (this.bytes[this.at + 1] | 32) === 120;
    if (is_hex) this.at += 2;
    const value = is_hex ? this.hex() : this.decimal();
    return endsField(this.bytes[this.at]) ? value : Number.NaN;
  }

  /** The same as the name of a block, exactly; undefined where it is none. */
  name(): BlockName | undefined {
    this.skipBlanks();
    const start = this.at;
    const value = this.value();
    if (value <= Number.MAX_SAFE_INTEGER) return value;
    return Number.isNaN(value) ? undefined : this.exact(start);
  }

  /** The same as nanoseconds, exactly, in whole seconds and the rest; undefined where it is none. */
  nanoseconds(): { seconds: number; nanoseconds: number } | undefined {
    this.skipBlanks();
    const { bytes, at: start } = this;
    if (Number.isNaN(this.value())) return undefined;
    if ((bytes[start + 1] | 32) === 120) {
      const value = this.exact(start);
      return { seconds: Number(value / 1_000_000_000n), nanoseconds: Number(value % 1_000_000_000n) };
    }
    const point = Math.max(start, this.at - 9);
    let seconds = 0;
    let nanoseconds = 0;
    for (let at = start; at < point; at += 1) seconds = seconds * 10 + bytes[at] - 48;
    for (let at = point; at < this.at; at += 1) nanoseconds = nanoseconds * 10 + bytes[at] - 48;
    return { seconds, nanoseconds };
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

  skipBlanks(): void {
    const { bytes } = this;
    let { at } = this;
    while (bytes[at] === 32 || bytes[at] === 9 || bytes[at] === 13) at += 1;
    this.at = at;
  }

  /** True where nothing but blanks and a comment is left of the line. */
  ended(): boolean {
    this.skipBlanks();
    return this.bytes[this.at] === newline || this.bytes[this.at] === this.comment;
  }

  private nextLine(): void {
    this.skipRest();
    this.at += 1;
  }

  private refuse(line: Uint8Array): void {
    if (!this.is_open) throw this.error(`found ${quote(line)}; wanted ${this.wanted}`);
    this.cut_bytes = line.length;
  }

  private exact(start: number): bigint {
    return BigInt(latin1.decode(this.bytes.subarray(start, this.at)));
  }
}

/** Blank, newline, comment, or the colon after a thread. */
function endsField(byte: number): boolean {
  return byte === 32 || byte === newline || byte === 9 || byte === 13 || byte === 58 || byte === 35;
}

function isOfWord(byte: number): boolean {
  const letter = byte | 32;
  return (letter >= 97 && letter <= 122) || (byte >= 48 && byte <= 57) || byte === 95;
}
