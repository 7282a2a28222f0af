/**
 * What glibc makes of GLIBC_TUNABLES and MALLOC_* variables: the settings of malloc it takes, and what it passes over
 * without a word. Names, ranges and the way numbers are read are those of glibc 2.36 (elf/dl-tunables.list, dl-tunables.c).
 */
import { least } from 'd3-array';
import type { Asked } from '../native/verify-setting.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface TunableSetting extends Asked {
  /** The variable it stands in. */
  readonly variable: string;
}

export interface ReadSettings {
  readonly settings: readonly TunableSetting[];
  /** What glibc ignores, or reads otherwise than it looks. */
  readonly mistakes: readonly string[];
  /** What else follows from it. */
  readonly notes: readonly string[];
}

interface Tunable {
  readonly name: string;
  /** The variable of its own, older than GLIBC_TUNABLES. */
  readonly alias?: string;
  readonly low?: bigint;
  readonly high: bigint;
}

const most = 2n ** 64n - 1n;
const most_int = 2n ** 31n - 1n;

const tunables: readonly Tunable[] = [
  { name: 'mmap_threshold', alias: 'MALLOC_MMAP_THRESHOLD_', high: most },
  { name: 'trim_threshold', alias: 'MALLOC_TRIM_THRESHOLD_', high: most },
  { name: 'top_pad', alias: 'MALLOC_TOP_PAD_', high: most },
  { name: 'mmap_max', alias: 'MALLOC_MMAP_MAX_', high: most_int },
  { name: 'arena_max', alias: 'MALLOC_ARENA_MAX', low: 1n, high: most },
  { name: 'arena_test', alias: 'MALLOC_ARENA_TEST', low: 1n, high: most },
  { name: 'tcache_count', high: 65535n },
  { name: 'tcache_max', high: 1032n },
  { name: 'tcache_unsorted_limit', high: most },
  { name: 'mxfast', high: 160n },
  { name: 'perturb', alias: 'MALLOC_PERTURB_', high: 255n },
  { name: 'check', alias: 'MALLOC_CHECK_', high: 3n },
  { name: 'hugetlb', high: most },
];

/** Setting any of them ends the adjustment of all: the others stay at these from then on. */
const pinned_together: Readonly<Record<string, string>> = {
  mmap_threshold: '128 KiB',
  trim_threshold: '128 KiB',
  top_pad: '128 KiB',
  mmap_max: '65536',
};

const prefix = 'glibc.malloc.';

/** Variables that are glibc's to read, of this environment. */
export function isGlibcVariable(name: string): boolean {
  return name === 'GLIBC_TUNABLES' || tunables.some(({ alias }) => alias === name);
}

/** What glibc's malloc is told by these variables. */
export function readSettings(environment: Environment): ReadSettings {
  const settings = new Map<string, TunableSetting>();
  const mistakes: string[] = [];
  const notes: string[] = [];
  const take = (tunable: Tunable, text: string, variable: string): void => {
    const value = readNumber(text);
    const name = variable === 'GLIBC_TUNABLES' ? prefix + tunable.name : variable;
    if (!/^\s*[+-]?(?:0x[0-9a-f]+|\d+)$/i.test(text))
      mistakes.push(`${name}=${text}: read as ${value}, for glibc stops at the first character that is no digit`);
    const { low = 0n, high } = tunable;
    if (value < low || value > high)
      mistakes.push(`${name}=${text}: ignored, for glibc takes ${low} to ${high === most ? '2^64-1' : high}`);
    else settings.set(tunable.name, { name: tunable.name, value, variable });
  };
  for (const [variable, text] of Object.entries(environment)) {
    if (variable === 'GLIBC_TUNABLES' || text === undefined) continue;
    const tunable = tunables.find(({ alias }) => alias === variable);
    if (tunable !== undefined) take(tunable, text, variable);
    else mistakes.push(...misspeltVariable(variable));
  }
  for (const part of (environment.GLIBC_TUNABLES ?? '').split(':')) {
    if (part === '') continue;
    const end = part.indexOf('=');
    const name = end < 0 ? part : part.slice(0, end);
    const tunable = tunables.find((each) => prefix + each.name === name);
    if (end < 0) mistakes.push(`GLIBC_TUNABLES: "${part}" has no value, and glibc ignores it`);
    else if (tunable === undefined && /^glibc\.(?!malloc\.)\w+\.\w+$/.test(name))
      notes.push(`${name} is no setting of malloc: not looked at`);
    else if (tunable === undefined) mistakes.push(unknownTunable(name));
    else {
      const before = settings.get(tunable.name);
      if (before !== undefined && before.variable !== 'GLIBC_TUNABLES')
        notes.push(`${before.variable} has no effect: GLIBC_TUNABLES sets ${tunable.name} and comes first`);
      take(tunable, part.slice(end + 1), 'GLIBC_TUNABLES');
    }
  }
  return { settings: [...settings.values()], mistakes, notes: [...notes, ...consequences(settings)] };
}

/** As glibc reads a number: decimal, 0x hexadecimal or 0 octal, up to the first character that does not belong. */
function readNumber(text: string): bigint {
  const found = /^[ \t]*([+-]?)(?:0x([0-9a-f]*)|0([0-7]*)|([1-9]\d*))/i.exec(text);
  if (found === null) return 0n;
  const [, sign, hexadecimal, octal, decimal] = found;
  const digits = hexadecimal !== undefined ? `0x0${hexadecimal}` : octal !== undefined ? `0o0${octal}` : decimal;
  const value = BigInt(digits) > most ? most : BigInt(digits);
  return sign === '-' ? -value : value;
}

function consequences(settings: ReadonlyMap<string, TunableSetting>): string[] {
  const pinned = Object.keys(pinned_together).filter((name) => settings.has(name));
  const left = Object.keys(pinned_together).filter((name) => !settings.has(name));
  const stay = left.map((name) => `${name} at ${pinned_together[name]}`).join(', ');
  return [
    ...(pinned.length === 0 || left.length === 0
      ? []
      : [`setting ${pinned.join(', ')} ends glibc's own adjustment for good; what is not set stays: ${stay}`]),
    ...(settings.has('mmap_threshold') && settings.get('mmap_max')?.value === 0n
      ? ['mmap_max=0 leaves mmap_threshold without effect: nothing is mapped']
      : []),
  ];
}

function unknownTunable(name: string): string {
  const near = nearest(
    name,
    tunables.map((each) => prefix + each.name),
  );
  return `${name}: glibc knows no such setting and ignores it without a word${near === null ? '' : `; wanted ${near}?`}`;
}

/** Other allocators have MALLOC_ variables too: only what is all but one of glibc's is taken for a slip. */
function misspeltVariable(name: string): string[] {
  if (!name.startsWith('MALLOC_')) return [];
  const aliases = tunables.map(({ alias }) => alias).filter((alias) => alias !== undefined);
  const near = nearest(name, aliases);
  return near === null ? [] : [`${name}: glibc knows no such variable and ignores it; wanted ${near}?`];
}

function nearest(name: string, known: readonly string[]): string | null {
  const found = least(known, (each) => distance(name, each))!;
  return distance(name, found) <= Math.max(2, found.length / 6) ? found : null;
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1)
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}
