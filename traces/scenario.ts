/**
 * A scenario is a trace written for people, one event a line, beside what it should come to:
 *
 *     # Words on what is shown.
 *     mode BALANCED                     settings first: mode, touch, or any parameter
 *     bigcache_ways 1
 *
 *     alloc A 3MiB site 7     -> map    what follows an arrow is for the test that runs the file
 *     realloc A 6MiB
 *     free A
 *     alloc B1..B64 2MiB                one event for each of B1, B2, ... B64
 *
 *     mmap 2                            counters last
 *
 * After a size may stand `site N`, `align SIZE` and `touched PAGES`; `calloc` takes what `alloc` takes. Only the events
 * are the trace; settings and counters are kept as words for whoever runs it.
 */
import { TraceBuilder } from './builder.ts';
import { type Importer, importedOrigin } from './importer.ts';
import { type ByteStream, quote, wholeLines } from './stream.ts';
import { Tally } from './tally.ts';
import { type Chunk, copyChunk, limits, op, op_names, originOf, type Site, type Trace, TraceError } from './trace.ts';

export interface ScenarioLine {
  /** From 1. */
  readonly number: number;
  /** The line without its expectation. */
  readonly text: string;
  readonly kind: 'comment' | 'setting' | 'event' | 'counter';
  /** Of settings and counters. */
  readonly name: string;
  readonly value: string;
  /** How many events the line stands for. */
  readonly events: number;
}

export interface Scenario {
  readonly trace: Trace;
  readonly lines: readonly ScenarioLine[];
}

const verbs = ['alloc', 'calloc', 'realloc', 'free'] as const;
const units: Record<string, number> = { '': 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
/** `A1..A9999` is a short line: without a bound, a small file could name more blocks than there is memory. */
const names_max = 2 ** 20;
/** A site has a name each, up to the highest number that is used. */
const sites_max = 2 ** 16;
const wanted = 'lines "alloc NAME SIZE", "calloc NAME SIZE", "realloc NAME SIZE", "free NAME"';

/** Reads a scenario. Throws TraceError, with the line, on anything that is not one; unknown and double frees too. */
export function readScenario(path: string, text: string, chunk_events = 4096): Scenario {
  const builder = new TraceBuilder(chunk_events);
  const parser = new Parser(path, builder);
  const lines = text.split('\n').map((line) => parser.line(line));
  const chunks = builder.finish();
  const tally = new Tally();
  let sites = 1;
  for (const chunk of chunks) {
    tally.add(chunk);
    sites = sitesOf(chunk, sites);
  }
  return {
    lines,
    trace: {
      path,
      origin: originOf('generated', { program: path, has_sites: true, sites: sitesUpTo(sites) }),
      statistics: tally.statistics(),
      chunks: () => chunks.map(copyChunk),
    },
  };
}

/** The format for `open()`: the events alone. */
export const scenario: Importer = {
  name: 'scenario',
  recognises: (start) =>
    /^(?:[^\S\n]*(?:#[^\n]*)?\n)*[ \t]*(?:mode [A-Z]|touch [a-z]|profile [a-z]|show [a-z]|\w+_\w+ \w|(?:alloc|calloc) \S+ \d)/.test(
      new TextDecoder('latin1').decode(start),
    ),
  import(stream) {
    let builder = new TraceBuilder();
    let sites = 1;
    return {
      columns: { time: false, sites: true, touch: true },
      *chunks(): Generator<Chunk> {
        builder = new TraceBuilder();
        for (const chunk of chunksOf(stream, builder)) {
          sites = sitesOf(chunk, sites);
          yield chunk;
        }
      },
      origin: () =>
        importedOrigin(stream, 'scenario', builder, {
          has_sites: true,
          sites: sitesUpTo(sites),
          notes: ['Settings and expectations of the scenario are not part of the trace.'],
        }),
    };
  },
};

function* chunksOf(stream: ByteStream, builder: TraceBuilder): Generator<Chunk> {
  const parser = new Parser(stream.path, builder);
  for (const block of wholeLines(stream)) {
    // The last newline ends a line, it begins none.
    for (const line of new TextDecoder().decode(block.subarray(0, -1)).split('\n')) {
      parser.line(line);
      yield* builder.full();
    }
  }
  yield* builder.finish();
}

/** One more than the largest site number, or `least`. */
function sitesOf(chunk: Chunk, least: number): number {
  return chunk.site.subarray(0, chunk.length).reduce((most, site) => Math.max(most, site + 1), least);
}

/** Sites of a scenario have a number and no frames. */
function sitesUpTo(count: number): Site[] {
  return Array.from({ length: count }, (_, at) => ({ hash: at.toString(16).padStart(16, '0'), name: `site ${at}` }));
}

/** The events as lines of a scenario; an object is named by its slot. Reading them gives the same columns, but for threads and times. */
export function writeScenario(chunks: Iterable<Chunk>): string {
  const lines: string[] = [];
  for (const chunk of chunks)
    for (let row = 0; row < chunk.length; row += 1) {
      const kind = chunk.op[row];
      const name = `A${chunk.object[row]}`;
      if (kind === op.free) {
        lines.push(`free ${name}\n`);
        continue;
      }
      const verb = kind === op.calloc || kind === op.realloc ? op_names[kind] : 'alloc';
      const site = chunk.site[row] > 0 ? ` site ${chunk.site[row]}` : '';
      const align = kind === op.aligned ? ` align ${chunk.align[row]}` : '';
      const touched = chunk.touched_pages[row] === limits.unknown ? '' : ` touched ${chunk.touched_pages[row]}`;
      lines.push(`${verb} ${name} ${sizeInWords(chunk.size_bytes[row])}${site}${align}${touched}\n`);
    }
  return lines.join('');
}

/** Near a round number as what it lies beside: "1MiB-1", "2MiB", "512KiB+4096". */
function sizeInWords(bytes: number): string {
  for (const [unit, near_bytes] of [
    ['MiB', 4096],
    ['KiB', 16],
  ] as const) {
    const whole = Math.round(bytes / units[unit]);
    const beyond = bytes - whole * units[unit];
    if (whole > 0 && Math.abs(beyond) <= near_bytes)
      return `${whole}${unit}${beyond === 0 ? '' : beyond > 0 ? `+${beyond}` : beyond}`;
  }
  return String(bytes);
}

/** Bytes from "3MiB", "1MiB-1", "4097". Undefined where it is none. */
export function scenarioBytes(text: string): number | undefined {
  const [, digits, unit, sign, rest] = /^(\d+)(B|KiB|MiB|GiB)?(?:([+-])(\d+))?$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return Number(digits) * units[unit ?? ''] + Number(`${sign ?? '+'}${rest ?? 0}`);
}

class Parser {
  private readonly path: string;
  private readonly builder: TraceBuilder;
  private readonly known = new Set<string>();
  private number = 0;
  private any_event = false;

  constructor(path: string, builder: TraceBuilder) {
    this.path = path;
    this.builder = builder;
  }

  /** Takes in the next line. */
  line(full: string): ScenarioLine {
    this.number += 1;
    const arrow = full.indexOf('->');
    const words = (arrow < 0 ? full : full.slice(0, arrow)).trimEnd();
    const line = { number: this.number, text: words, name: '', value: '', events: 0 };
    if (words === '' || words.startsWith('#')) return { ...line, text: full, kind: 'comment' };
    const [verb, name, ...rest] = words.split(/\s+/);
    if (!(verbs as readonly string[]).includes(verb)) {
      const kind = this.any_event ? 'counter' : 'setting';
      return { ...line, kind, name: verb, value: [name ?? '', ...rest].join(' ') };
    }
    this.any_event = true;
    const names = namesOf(name ?? '');
    if (names.length === 0) throw this.error(`found ${quoted(words)}; wanted ${wanted}`);
    for (const each of names) this.takeEvent(verb, each, rest);
    return { ...line, kind: 'event', events: names.length };
  }

  private takeEvent(verb: string, name: string, words: readonly string[]): void {
    const { builder, known } = this;
    if (verb === 'alloc' || verb === 'calloc') {
      if (builder.isLive(name)) throw this.error(`${verb} of ${name}, which is live`);
    } else if (!builder.isLive(name)) {
      throw this.error(`${verb} of ${name}, which was ${known.has(name) ? 'freed before' : 'never allocated'}`);
    }
    known.add(name);
    if (known.size > names_max) throw this.error(`more than ${names_max} names; wanted a scenario for people`);
    addEvent(builder, verb, name, words, (message) => this.error(message));
  }

  private error(message: string): TraceError {
    return new TraceError(this.path, `line ${this.number}`, message);
  }
}

function quoted(text: string): string {
  return quote(new TextEncoder().encode(text));
}

function addEvent(
  builder: TraceBuilder,
  verb: string,
  name: string,
  words: readonly string[],
  fail: (message: string) => TraceError,
): void {
  if (verb === 'free') {
    if (words.length > 0) throw fail(`found ${quoted(words.join(' '))} after the name; wanted nothing`);
    builder.free(name);
    return;
  }
  const [size, ...details] = words;
  const size_bytes = scenarioBytes(size ?? '');
  if (size_bytes === undefined || size_bytes < 0 || size_bytes >= limits.size_bytes)
    throw fail(`found ${quoted(size ?? '')}; wanted a size such as 3MiB, 1MiB-1 or 4097`);
  const found: Record<string, number> = {};
  for (let at = 0; at < details.length; at += 2) {
    const value = scenarioBytes(details[at + 1] ?? '');
    if (!['site', 'align', 'touched'].includes(details[at]) || value === undefined || value < 0)
      throw fail(`found ${quoted(details.slice(at).join(' '))}; wanted site N, align SIZE or touched PAGES`);
    found[details[at]] = value;
  }
  const { site = 0, align, touched = limits.unknown } = found;
  if (align !== undefined && (verb !== 'alloc' || align > limits.align_bytes || !Number.isInteger(Math.log2(align))))
    throw fail(`an alignment of ${align}; wanted a power of two, of an alloc`);
  if (site >= sites_max) throw fail(`site ${site}; wanted one below ${sites_max}`);
  // As .hak files have it: a block may begin in the middle of a page.
  if (details.includes('touched') && touched > Math.ceil(size_bytes / 4096) + 1)
    throw fail(`${touched} touched pages in ${size_bytes} bytes`);
  const more = { site, touched_pages: touched };
  if (verb === 'realloc') {
    if (size_bytes === 0) throw fail('realloc to nothing; wanted free');
    builder.reallocate(name, name, size_bytes, more);
  } else {
    const kind = verb === 'calloc' ? op.calloc : align === undefined ? op.malloc : op.aligned;
    builder.allocate(kind, name, size_bytes, align === undefined ? more : { ...more, align });
  }
}

/** "A" is one name; "A1..A3" are A1, A2, A3. */
function namesOf(text: string): string[] {
  const [, stem, from, same, to] = /^([A-Za-z_]{1,200})(\d{1,15})\.\.([A-Za-z_]+)(\d{1,15})$/.exec(text) ?? [];
  if (stem === undefined) return /^\w{1,200}$/.test(text) ? [text] : [];
  if (stem !== same || Number(to) < Number(from) || Number(to) - Number(from) > 9999) return [];
  return Array.from({ length: Number(to) - Number(from) + 1 }, (_, at) => `${stem}${Number(from) + at}`);
}
