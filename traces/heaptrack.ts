/**
 * heaptrack's files, numbers in hexadecimal without 0x. What the program writes (raw):
 *
 *     x LEN EXE      m LEN FILE BASE (VADDR BYTES)*      m 1 -    forget all modules
 *     t IP PARENT    a node of the tree of stacks, numbered from 1
 *     + SIZE TRACE PTR      - PTR      c MS      R PAGES
 *
 * and what heaptrack_interpret makes of it, which is what people have:
 *
 *     s [LEN] TEXT    i IP MODULE [FUNCTION FILE LINE]*    t IP_INDEX PARENT     strings and addresses numbered from 1
 *     a SIZE TRACE    a kind of allocation, numbered from 0
 *     + KIND          - KIND
 *
 * Both begin with `v VERSION FILE_VERSION`. Memory grows with the different stacks, not with the calls.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { Lines } from './lines.ts';
import { NumberList } from './number-list.ts';
import { Sites } from './sites.ts';
import type { ByteStream } from './stream.ts';
import { type Chunk, op } from './trace.ts';

const wanted = 'a line of heaptrack, such as "+ SIZE TRACE PTR", "+ KIND" or "t IP PARENT"';
const file_version_max = 3;
/** A block of an interpreted file is named by its kind, and by how many of the kind were live: both fit a number. */
const kinds_max = 2 ** 26;
/** Linux maps 65530 pieces at most; a program's modules are far fewer. Bounds the search for an address. */
const segments_max = 2 ** 14;
/** `operator new` calls one or two others of its kind. Bounds the walk, which hostile stacks would make quadratic. */
const new_frames_max = 16;
const space = 32;
const mode = Object.fromEntries([...'vxXISmtsia+-cRA#'].map((letter) => [letter, letter.charCodeAt(0)]));

export const heaptrack: Importer = {
  name: 'heaptrack',
  recognises: (start) =>
    /^v [0-9a-f]+(?: [0-9a-f]+)?\r?\n/.test(new TextDecoder('latin1').decode(start.subarray(0, 64))),
  import(stream) {
    let rows = new Rows(stream);
    return {
      columns: { time: true, sites: true, touch: false },
      chunks: () => {
        rows = new Rows(stream);
        return rows.chunks();
      },
      origin: () =>
        importedOrigin(stream, 'heaptrack', rows.builder, {
          ...(rows.program === '' ? {} : { program: rows.program }),
          page_bytes: rows.page_bytes,
          has_time: true,
          has_sites: true,
          sites: rows.sites.all,
          notes: rows.notes(),
        }),
    };
  },
};

interface Segment {
  readonly start: number;
  readonly end: number;
  readonly base: number;
  readonly name: string;
}

class Rows {
  readonly builder = new TraceBuilder();
  readonly sites = new Sites();
  program = '';
  page_bytes = 4096;
  private readonly lines: Lines;
  private file_version = 0;
  private is_raw = false;
  private pairs_by_kind = false;
  private was_attached = false;
  /** The command line was read, and nothing behind it: it may have lines of its own, of a script in an argument. */
  private in_command = false;
  private readonly segments: Segment[] = [];
  private readonly strings: string[] = [''];
  /** Of each address, what its site is called. */
  private readonly texts: string[] = [];
  private readonly trace_ip = new NumberList();
  private readonly trace_parent = new NumberList();
  /** Index of the site and 1, or 0 where no allocation has asked yet. */
  private readonly trace_site = new NumberList();
  private readonly kind_bytes = new NumberList();
  private readonly kind_site = new NumberList();
  private readonly kind_live = new NumberList();
  /** One for all events: the loop makes no objects. */
  private readonly details = { site: 0, time_ns: 0 };

  constructor(stream: ByteStream) {
    this.lines = new Lines(stream, wanted);
    this.sites.index('', false);
  }

  chunks(): Generator<Chunk> {
    return this.lines.chunks(this.builder, () => (this.in_command ? this.takeInCommand() : this.take()));
  }

  notes(): string[] {
    return [
      'Threads are not recorded; calloc and aligned allocations look like malloc, a realloc like a free and an allocation, and memalign may be missing.',
      'Times are those of heaptrack, a stamp every 10 ms: what happens between two stamps has the time of the first.',
      ...(this.pairs_by_kind
        ? ['Which of several live blocks of one size and stack a free gave back is not recorded: the newest is taken.']
        : []),
      ...(this.was_attached
        ? ['Recorded from where heaptrack was attached: what was allocated before is not known.']
        : []),
      ...this.lines.notes(),
    ];
  }

  private takeInCommand(): boolean {
    this.in_command = false;
    const is_understood = this.take() && this.lines.ended();
    this.in_command ||= !is_understood;
    this.lines.skipRest();
    return true;
  }

  private take(): boolean {
    const { lines } = this;
    switch (lines.byte()) {
      case mode['+']:
        return this.takeAllocation();
      case mode['-']:
        return this.takeFree();
      case mode.t:
        return this.takeTrace();
      case mode.a:
        return this.takeKind();
      case mode.i:
        return this.takeAddress();
      case mode.s:
        return this.takeString();
      case mode.c: {
        const milliseconds = this.field();
        if (!(milliseconds * 1e6 <= Number.MAX_SAFE_INTEGER)) return false;
        this.details.time_ns = milliseconds * 1e6;
        return true;
      }
      case mode.m:
        this.is_raw = true;
        return this.takeModule();
      case mode.v:
        return this.takeVersion();
      case mode.I: {
        const page_bytes = this.field();
        const is_page = page_bytes >= 1024 && page_bytes <= 2 ** 24 && Number.isInteger(Math.log2(page_bytes));
        if (!is_page || Number.isNaN(this.field())) return false;
        this.page_bytes = page_bytes;
        return true;
      }
      case mode.x: {
        this.is_raw = true;
        const executable = this.counted();
        if (executable === undefined) return false;
        this.program = baseName(executable);
        return true;
      }
      case mode.X:
        if (this.program === '') this.program = baseName(/^ ?(\S*)/.exec(lines.rest())![1]);
        lines.skipRest();
        this.in_command = true;
        return true;
      case mode.A:
        this.was_attached = lines.ended();
        return this.was_attached;
      case mode.R:
        return !Number.isNaN(this.field());
      case mode.S:
      case mode['#']:
        lines.skipRest();
        return true;
      default:
        return false;
    }
  }

  private takeVersion(): boolean {
    const version = this.field();
    const file_version = this.field();
    if (Number.isNaN(version)) return false;
    // Version 0x010200 was written before files had a version of their own.
    this.file_version = Number.isNaN(file_version) ? (version === 0x010200 ? 1 : 0) : file_version;
    if (this.file_version > file_version_max)
      throw this.lines.error(`version ${file_version} of heaptrack's files; wanted ${file_version_max} or less`);
    return true;
  }

  private takeAllocation(): boolean {
    const first = this.field();
    const trace = this.field();
    if (Number.isNaN(trace)) return this.takeKindOfBlock(first);
    if (!this.lines.skip(space)) return false;
    const pointer = this.lines.hexName();
    if (!(first >= 0) || pointer === undefined || trace > this.trace_ip.length) return false;
    this.details.site = this.site(trace);
    this.builder.allocate(op.malloc, pointer, this.lines.size(first), this.details);
    return true;
  }

  private takeKindOfBlock(kind: number): boolean {
    if (!(kind < this.kind_bytes.length)) return false;
    this.pairs_by_kind = true;
    const live = this.kind_live.at(kind);
    this.kind_live.set(kind, live + 1);
    this.details.site = this.kind_site.at(kind);
    this.builder.allocate(op.malloc, live * kinds_max + kind, this.kind_bytes.at(kind), this.details);
    return true;
  }

  private takeFree(): boolean {
    if (!this.lines.skip(space)) return false;
    const name = this.lines.hexName();
    if (name === undefined) return false;
    if (this.kind_bytes.length === 0) {
      this.builder.free(name, this.details);
      return true;
    }
    const kind = Number(name);
    if (!(kind < this.kind_bytes.length)) return false;
    const live = Math.max(0, this.kind_live.at(kind) - 1);
    this.kind_live.set(kind, live);
    this.builder.free(live * kinds_max + kind, this.details);
    return true;
  }

  private takeKind(): boolean {
    const size_bytes = this.field();
    const trace = this.field();
    if (!(size_bytes >= 0 && trace <= this.trace_ip.length)) return false;
    if (this.kind_bytes.length === kinds_max) throw this.lines.error(`more than ${kinds_max} kinds of allocations`);
    this.kind_bytes.push(this.lines.size(size_bytes));
    this.kind_site.push(this.site(trace));
    this.kind_live.push(0);
    return true;
  }

  private takeTrace(): boolean {
    const ip = this.field();
    const parent = this.field();
    if (!(ip >= 0 && parent <= this.trace_ip.length) || !(this.is_raw || ip <= this.texts.length)) return false;
    this.trace_ip.push(ip);
    this.trace_parent.push(parent);
    this.trace_site.push(0);
    return true;
  }

  private takeString(): boolean {
    if (this.file_version < 3) {
      if (!this.lines.skip(space)) return false;
      this.strings.push(this.lines.rest());
      return true;
    }
    const text = this.counted();
    if (text === undefined) return false;
    this.strings.push(text);
    return true;
  }

  private takeAddress(): boolean {
    const ip = this.field();
    const module = this.field();
    if (!(ip >= 0 && module < this.strings.length)) return false;
    const function_name = this.field();
    let text = `${baseName(this.strings[module])} 0x${ip.toString(16)}`;
    if (!Number.isNaN(function_name)) {
      const file = this.field();
      const line = this.field();
      if (!(function_name < this.strings.length)) return false;
      // Without debug information heaptrack leaves file and line out, and two calls of a function differ by address alone.
      const place = line > 0 && file < this.strings.length ? `${baseName(this.strings[file])}:${line}` : text;
      text = `${this.strings[function_name]} (${place})`;
      // The functions that it was inlined into.
      while (!Number.isNaN(this.field()));
    }
    this.texts.push(text);
    return true;
  }

  private takeModule(): boolean {
    const name = this.counted();
    if (name === undefined) return false;
    if (name === '-') {
      this.segments.length = 0;
      return true;
    }
    const base = this.field();
    if (Number.isNaN(base)) return false;
    // A program at a fixed address has base 0, and begins where its first segment does.
    let begin = Number.NaN;
    for (let vaddr = this.field(); !Number.isNaN(vaddr); vaddr = this.field()) {
      const bytes = this.field();
      if (Number.isNaN(bytes)) return false;
      if (Number.isNaN(begin)) begin = base + vaddr;
      const start = base + vaddr;
      this.segments.push({
        start,
        end: start + bytes,
        base: begin,
        name: name === 'x' ? this.program : baseName(name),
      });
    }
    if (this.segments.length > segments_max)
      throw this.lines.error(`more than ${segments_max} pieces of modules; wanted as many as a program maps`);
    return true;
  }

  /** The next field, after one blank; NaN where there is none, or no number. */
  private field(): number {
    return this.lines.skip(space) ? this.lines.hex() : Number.NaN;
  }

  /** `LEN TEXT`, which version 3 writes so that a text may hold blanks; before, a text ends at a blank. */
  private counted(): string | undefined {
    if (this.file_version < 3) return this.lines.skip(space) ? this.lines.until(space) : undefined;
    const bytes = this.field();
    return this.lines.skip(space) ? this.lines.take(bytes) : undefined;
  }

  /** Index of the call site at the foot of a stack. */
  private site(trace: number): number {
    if (trace === 0) return 0;
    const known = this.trace_site.at(trace - 1);
    if (known > 0) return known - 1;
    const index = this.is_raw ? this.rawSite(trace) : this.interpretedSite(trace);
    this.trace_site.set(trace - 1, index + 1);
    return index;
  }

  /** The caller of `operator new`, not `new` itself, which all callers share. */
  private interpretedSite(trace: number): number {
    let at = trace;
    let ip = this.trace_ip.at(at - 1);
    for (let frames = 0; frames < new_frames_max; frames += 1) {
      const parent = this.trace_parent.at(at - 1);
      if (ip === 0 || parent === 0 || !this.texts[ip - 1].startsWith('operator new')) break;
      at = parent;
      ip = this.trace_ip.at(at - 1);
    }
    return ip === 0 ? 0 : this.sites.index(this.texts[ip - 1]);
  }

  /** As our recorder names it, by its return address; `new` has no name here, so what libstdc++ asks for has its caller too. */
  private rawSite(trace: number): number {
    const first = this.rawName(this.trace_ip.at(trace - 1));
    const parent = this.trace_parent.at(trace - 1);
    if (first === undefined) return this.sites.index(`0x${this.trace_ip.at(trace - 1).toString(16)}`, false);
    if (!/^lib(?:std)?c\+\+/.test(first) || parent === 0) return this.sites.index(first);
    const second = this.rawName(this.trace_ip.at(parent - 1));
    return this.sites.index(second === undefined ? first : `${first} < ${second}`);
  }

  /** heaptrack notes the last byte of the call, where the recorder has the address that it returns to. */
  private rawName(ip: number): string | undefined {
    const segment = this.segments.find(({ start, end }) => ip >= start && ip < end);
    return segment === undefined ? undefined : `${segment.name}+0x${(ip + 1 - segment.base).toString(16)}`;
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
