/**
 * What glibc's mtrace() writes, a line a call, the place of the call before it:
 *
 *     @ FILE:(FUNCTION+OFFSET)[0xCALLER] + 0xPTR 0xSIZE         an allocation
 *     @ FILE:[0xCALLER] - 0xPTR                                 a free
 *     @ FILE:[0xCALLER] < 0xOLD, then > 0xNEW 0xSIZE            a realloc, on two lines
 *     @ FILE:[0xCALLER] ! 0xOLD 0xSIZE                          a realloc that failed
 *
 * `= Start` comes first and `= End` last. CALLER counts from where FILE was loaded.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { Lines } from './lines.ts';
import type { BlockName } from './names.ts';
import { Sites } from './sites.ts';
import type { ByteStream } from './stream.ts';
import { type Chunk, op } from './trace.ts';

const notes = [
  'Threads and times are not recorded; calloc and aligned allocations look like malloc.',
  'What the program allocated before it called mtrace() is not known.',
];

export const mtrace: Importer = {
  name: 'mtrace',
  recognises: (start) => /^(?:= Start\r?\n|@ [^\n]*\] [-+<>!] 0x)/.test(new TextDecoder('latin1').decode(start)),
  import(stream) {
    let rows = new Rows(stream);
    return {
      columns: { time: false, sites: true, touch: false },
      chunks: () => {
        rows = new Rows(stream);
        return rows.chunks();
      },
      origin: () =>
        importedOrigin(stream, 'mtrace', rows.builder, {
          has_sites: true,
          sites: rows.sites.all,
          notes: [...notes, ...rows.lines.notes()],
        }),
    };
  },
};

const line_shape = /^(?:@ (.*?) )?([-+<>!]) (?:0x([0-9a-f]+)|\(nil\))(?: (?:0x([0-9a-f]+)|0))?$/;
const border_shape = /^= (?:Start|End)$/;

class Rows {
  readonly builder = new TraceBuilder();
  readonly sites = new Sites();
  readonly lines: Lines;
  private readonly site_of = new Map<string, number>();
  /** The block that a realloc moves, between its two lines. */
  private moved: BlockName | undefined;
  private readonly details = { site: 0 };

  constructor(stream: ByteStream) {
    this.lines = new Lines(stream, '"@ FILE:[0xCALLER] + 0xPTR 0xSIZE" or -, <, >, ! in place of +');
    this.sites.index('', false);
  }

  chunks(): Generator<Chunk> {
    return this.lines.chunks(this.builder, () => this.take());
  }

  private take(): boolean {
    const text = this.lines.rest();
    if (border_shape.test(text)) return true;
    const [, place, kind, pointer, size] = line_shape.exec(text) ?? [];
    if (kind === undefined || (this.moved === undefined) === (kind === '>')) return false;
    const { builder, details } = this;
    const name = nameOf(pointer);
    if (kind === '-') {
      builder.free(name);
      return true;
    }
    if (kind === '<') {
      this.moved = name;
      return true;
    }
    const size_bytes = this.lines.size(Number.parseInt(size ?? '0', 16));
    if (kind === '!' || pointer === undefined) return true;
    details.site = this.site(place ?? '');
    if (kind === '+') builder.allocate(op.malloc, name, size_bytes, details);
    else builder.reallocate(this.moved!, name, size_bytes, details);
    this.moved = undefined;
    return true;
  }

  /** As our recorder names it: the module, and the offset of the address that the call returns to. */
  private site(place: string): number {
    let index = this.site_of.get(place);
    if (index === undefined) {
      const caller = place.lastIndexOf('[');
      const file = place.slice(0, Math.max(0, caller)).replace(/:(?:\(.*)?$/, '');
      const module = file.slice(file.lastIndexOf('/') + 1);
      index = module === '' ? 0 : this.sites.index(`${module}+${place.slice(caller + 1, -1)}`);
      this.site_of.set(place, index);
    }
    return index;
  }
}

/** The number as a name of a block, exactly. */
function nameOf(hex = '0'): BlockName {
  return hex.length <= 13 ? Number.parseInt(hex, 16) : BigInt(`0x${hex}`);
}
