/** An allocator and its settings as they are written on the command line: what to preload, and which variables to set. */
import { type AllocatorName, allocators, installLine, isAllocatorName, libraryOf } from '../native/allocators.ts';
import { UsageError } from './command.ts';
import { type Environment, isGlibcVariable, readSettings } from './glibc-tunables.ts';
import { readBytes } from './sizes.ts';

export interface SubjectSetting {
  /** As it was written. */
  readonly text: string;
  readonly allocator: AllocatorName;
  readonly env: Readonly<Record<string, string>>;
}

export const subject_forms =
  'default, glibc, jemalloc, mimalloc, tcmalloc, GLIBC_TUNABLES=..., glibc:mmap_threshold=32MiB,trim_threshold=64MiB, jemalloc:dirty_decay_ms:0 or mimalloc:MIMALLOC_PURGE_DELAY=0';

/**
 * `default` is glibc with nothing set. Variables decide whose they are: `MALLOC_CONF=...` is jemalloc's. Throws UsageError,
 * for settings too that glibc would pass over.
 */
export function parseSubject(text: string): SubjectSetting {
  if (text === 'default') return { text, allocator: 'glibc', env: {} };
  if (isAllocatorName(text)) return { text, allocator: text, env: {} };
  const colon = text.indexOf(':');
  const name = text.slice(0, Math.max(colon, 0));
  if (isAllocatorName(name)) {
    const env = shorthand(name, text.slice(colon + 1), text);
    return { text, allocator: name, env: checked(name, env, text) };
  }
  if (!/^[A-Z_]+=/.test(text)) throw new UsageError(`"${text}": no setting or allocator; wanted ${subject_forms}`);
  const env = parseVariables(text, text);
  const owners = new Set(Object.keys(env).map((variable) => ownerOf(variable, text)));
  if (owners.size > 1)
    throw new UsageError(`"${text}": found settings of ${[...owners].join(' and ')}, wanted one allocator's`);
  const [allocator] = owners;
  return { text, allocator, env: checked(allocator, env, text) };
}

/** NAME=value NAME=value, as before a command in a shell. Throws UsageError that says where. */
export function parseVariables(text: string, where: string): Record<string, string> {
  const parts = text.trim().split(/\s+/);
  const wrong = parts.find((part) => !/^[A-Za-z_]\w*=/.test(part));
  if (wrong !== undefined)
    throw new UsageError(`${where}: found "${wrong}", wanted NAME=value, such as GLIBC_TUNABLES=...`);
  return Object.fromEntries(parts.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]));
}

/** The library that serves malloc; null where the C library does. Throws UsageError where it is not installed. */
export function subjectLibrary({ allocator }: SubjectSetting): string | null {
  const library = libraryOf(allocators[allocator]);
  if (library === undefined)
    throw new UsageError(`${allocator}: not installed; to install: ${installLine(allocators[allocator])}`);
  return library;
}

/** The environment of a program that runs under it: nobody's settings but its own. Throws UsageError. */
export function subjectEnvironment(subject: SubjectSetting, base: Environment = process.env): Environment {
  const library = subjectLibrary(subject);
  const kept = Object.entries(base).filter(([name]) => !/^(?:MALLOC_|MIMALLOC_|TCMALLOC_)|^GLIBC_TUNABLES$/.test(name));
  const preload = [library, base.LD_PRELOAD].filter((each) => each).join(':');
  return { ...Object.fromEntries(kept), ...subject.env, ...(preload === '' ? {} : { LD_PRELOAD: preload }) };
}

function ownerOf(variable: string, text: string): AllocatorName {
  if (variable === 'MALLOC_CONF') return 'jemalloc';
  if (variable.startsWith('MIMALLOC_')) return 'mimalloc';
  if (variable.startsWith('TCMALLOC_')) return 'tcmalloc';
  if (isGlibcVariable(variable) || variable.startsWith('MALLOC_')) return 'glibc';
  throw new UsageError(`"${text}": ${variable} is no allocator's variable; wanted ${subject_forms}`);
}

function shorthand(allocator: AllocatorName, settings: string, text: string): Record<string, string> {
  if (/^[A-Z_]+=/.test(settings)) return parseVariables(settings.replaceAll(/,(?=[A-Z_]+=)/g, ' '), text);
  if (allocator === 'jemalloc' && /^\w+:/.test(settings)) return { MALLOC_CONF: settings };
  if (allocator !== 'glibc') throw new UsageError(`"${text}": found "${settings}", wanted variables of ${allocator}`);
  const tunables = settings.split(',').map((part) => {
    const [, name, value] = /^(?:glibc\.malloc\.)?(\w+)=(.+)$/.exec(part) ?? [];
    const bytes = value === undefined ? undefined : readBytes(value);
    if (bytes === undefined)
      throw new UsageError(`"${text}": found "${part}", wanted name=number, such as mmap_threshold=32MiB`);
    return `glibc.malloc.${name}=${bytes}`;
  });
  return { GLIBC_TUNABLES: tunables.join(':') };
}

function checked(allocator: AllocatorName, env: Record<string, string>, text: string): Record<string, string> {
  const [mistake] = allocator === 'glibc' ? readSettings(env).mistakes : [];
  if (mistake !== undefined) throw new UsageError(`"${text}": ${mistake}`);
  return env;
}
