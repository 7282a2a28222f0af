/** Text to bytes in pieces of a readable size, so that a file of millions of lines is written in few calls. */
import type { ByteSink } from './hak.ts';

const piece_length = 1 << 16;

export class TextSink {
  private readonly sink: ByteSink;
  private pieces: string[] = [];
  private length = 0;

  constructor(sink: ByteSink) {
    this.sink = sink;
  }

  add(text: string): void {
    this.pieces.push(text);
    this.length += text.length;
    if (this.length >= piece_length) this.flush();
  }

  flush(): void {
    if (this.length > 0) this.sink.append(new TextEncoder().encode(this.pieces.join('')));
    this.pieces = [];
    this.length = 0;
  }
}
