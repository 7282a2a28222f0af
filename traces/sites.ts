/** Call sites in the order in which they were met, one for each different text of frames. */
import type { Site } from './trace.ts';

export class Sites {
  readonly all: Site[] = [];
  private readonly by_text = new Map<string, number>();

  /** Index of the site whose frames read `text`; nameless where no frame of it is known. */
  index(text: string, named = true): number {
    let index = this.by_text.get(text);
    if (index === undefined) {
      index = this.all.length;
      this.by_text.set(text, index);
      this.all.push({ hash: fnv1a(text), name: named ? text : null });
    }
    return index;
  }
}

/** FNV-1a of the text's bytes, 64 bits, in hexadecimal. */
function fnv1a(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
}
