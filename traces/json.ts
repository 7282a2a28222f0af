/**
 * JSON read as it streams by, value by value: a log of millions of rows is no document to hold in memory, and JSON.parse
 * would also round the times in it, which are beyond 2^53.
 */
import { type ByteStream, line_bytes_max } from './stream.ts';
import { TraceError } from './trace.ts';

const utf8 = new TextDecoder();
const utf8_bytes = new TextEncoder();
const known_keys_max = 64;
const [quote, backslash, comma, colon, minus, plus, point] = [34, 92, 44, 58, 45, 43, 46];
const [open_array, close_array, open_object, close_object] = [91, 93, 123, 125];

export class JsonReader {
  /** Of the number read last, exactly, where it is whole and not below 0. */
  billions = 0;
  units = 0;
  /** All of the file has been read. */
  ended = false;
  private readonly path: string;
  private readonly pieces: Iterator<Uint8Array>;
  private bytes: Uint8Array = new Uint8Array(0);
  private at = 0;
  /** Of `bytes[0]`. */
  private start = 0;
  /** Nothing of the array or object that was opened last has been read. */
  private is_fresh = true;
  private readonly text = new Uint8Array(line_bytes_max);
  private text_length = 0;
  private is_escaped = false;
  /** Rows have the same few: to compare them is cheaper than to make each a string anew. */
  private readonly keys: { readonly bytes: Uint8Array; readonly text: string }[] = [];

  constructor(stream: ByteStream) {
    this.path = stream.path;
    this.pieces = stream.pieces()[Symbol.iterator]();
  }

  openObject(): void {
    this.expect(open_object, '"{"');
    this.is_fresh = true;
  }

  openArray(): void {
    this.expect(open_array, '"["');
    this.is_fresh = true;
  }

  /** Goes on to the next value of an array; false at its end. */
  item(): boolean {
    return this.goOn(close_array, '"]"');
  }

  /** The name of the next value of an object, escapes as they stand; undefined at its end. */
  key(): string | undefined {
    if (!this.goOn(close_object, '"}"')) return undefined;
    this.readText();
    const known = this.keys.find(({ bytes }) => this.isText(bytes));
    const key = known?.text ?? this.newKey();
    this.expect(colon, '":"');
    return key;
  }

  string(): string {
    this.readText();
    const plain = utf8.decode(this.text.subarray(0, this.text_length));
    return this.is_escaped ? this.unescaped(plain) : plain;
  }

  /** A whole number, 0 or more; beyond 2^53 it is only near, and `billions` and `units` are exact. */
  whole(): number {
    const digits = this.text;
    let length = 0;
    for (let digit = this.blanksTo() - 48; digit >= 0 && digit <= 9; digit = this.peek() - 48) {
      this.at += 1;
      digits[length] = digit;
      length += 1;
      if (length > 20) throw this.error('a number of more than 20 digits; wanted one below 2^64');
    }
    if (length === 0) throw this.error(`found ${named(this.peek())}; wanted a whole number`);
    this.billions = valueIn(digits, 0, length - 9);
    this.units = valueIn(digits, Math.max(0, length - 9), length);
    return this.billions * 1e9 + this.units;
  }

  /** Reads past the next value, whatever it is. */
  skip(): void {
    let depth = 0;
    do {
      const byte = this.blanksTo();
      if (byte === quote) this.string();
      else if (isOfWord(byte)) while (isOfWord(this.peek())) this.at += 1;
      else {
        if (byte === open_array || byte === open_object) depth += 1;
        else if (depth === 0) throw this.error(`found ${named(byte)}; wanted a value`);
        else if (byte === close_array || byte === close_object) depth -= 1;
        else if (byte !== comma && byte !== colon) throw this.error(`found ${named(byte)}; wanted a value`);
        this.at += 1;
      }
    } while (depth > 0);
  }

  error(message: string): TraceError {
    return new TraceError(this.path, `byte ${this.start + this.at}`, message);
  }

  /** Reads a text into `text`, escapes and all. */
  private readText(): void {
    this.expect(quote, 'a text in quotes');
    const { text } = this;
    let length = 0;
    this.is_escaped = false;
    for (let byte = this.byte(); byte !== quote; byte = this.byte()) {
      text[length] = byte;
      length += 1;
      if (byte === backslash) {
        this.is_escaped = true;
        text[length] = this.byte();
        length += 1;
      }
      if (length + 2 > text.length) throw this.error(`a text of more than ${text.length} bytes`);
    }
    this.text_length = length;
  }

  private isText(bytes: Uint8Array): boolean {
    if (bytes.length !== this.text_length) return false;
    for (let at = 0; at < bytes.length; at += 1) if (bytes[at] !== this.text[at]) return false;
    return true;
  }

  private newKey(): string {
    const text = utf8.decode(this.text.subarray(0, this.text_length));
    if (this.keys.length < known_keys_max) this.keys.push({ bytes: utf8_bytes.encode(text), text });
    return text;
  }

  private goOn(close: number, wanted: string): boolean {
    const byte = this.blanksTo();
    const was_fresh = this.is_fresh;
    this.is_fresh = false;
    if (byte === close) {
      this.at += 1;
      return false;
    }
    if (!was_fresh) this.expect(comma, `"," or ${wanted}`);
    return true;
  }

  private expect(byte: number, wanted: string): void {
    const found = this.blanksTo();
    if (found !== byte) throw this.error(`found ${named(found)}; wanted ${wanted}`);
    this.at += 1;
  }

  private unescaped(text: string): string {
    try {
      return JSON.parse(`"${text}"`);
    } catch {
      throw this.error('a text with an escape that is none of JSON');
    }
  }

  /** The next byte that is no blank, not read yet. */
  private blanksTo(): number {
    for (;;) {
      const byte = this.peek();
      if (byte !== 32 && byte !== 10 && byte !== 13 && byte !== 9) return byte;
      this.at += 1;
    }
  }

  private byte(): number {
    const byte = this.peek();
    this.at += 1;
    return byte;
  }

  /** The byte here, not read yet. */
  private peek(): number {
    if (this.at === this.bytes.length) this.fill();
    return this.bytes[this.at];
  }

  private fill(): void {
    this.start += this.bytes.length;
    this.at = 0;
    do {
      const { done, value } = this.pieces.next();
      if (done) {
        this.ended = true;
        this.bytes = new Uint8Array(0);
        throw this.error('the file ends in the middle');
      }
      this.bytes = value;
    } while (this.bytes.length === 0);
  }
}

function valueIn(digits: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at += 1) value = value * 10 + digits[at];
  return value;
}

/** Of a number, or of true, false and null. */
function isOfWord(byte: number): boolean {
  const letter = byte | 32;
  return (
    (byte >= 48 && byte <= 57) || (letter >= 97 && letter <= 122) || byte === minus || byte === plus || byte === point
  );
}

function named(byte: number): string {
  return byte > 32 && byte < 127 ? `"${String.fromCharCode(byte)}"` : `byte ${byte}`;
}
