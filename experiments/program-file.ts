/** What a file that is to be run is: found as execvp finds it, followed through #! lines, and what keeps a library out of it. */
import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { hasCapabilities } from '../native/measure.ts';
import { UsageError } from './command.ts';

export type ObstacleKind = 'static' | 'foreign' | 'other_libc' | 'secure';

/** Why nothing can be preloaded into a program. */
export interface Obstacle {
  readonly kind: ObstacleKind;
  readonly says: string;
}

/** As execvp would find it. Throws UsageError. */
export function findProgram(name: string): string {
  const candidates = name.includes('/')
    ? [name]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder === '' ? '.' : folder, name));
  const files = candidates.filter((path) => existsSync(path) && statSync(path).isFile());
  for (const path of files) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  if (files.length > 0) throw new UsageError(`${files[0]}: not executable; wanted a program`);
  throw new UsageError(
    name.includes('/') ? `${name}: no such program` : `${name}: no such program in the folders of PATH`,
  );
}

/** The program that runs where `path` is run: its interpreter where it is a script. */
export function interpreterOf(path: string): string {
  let at = path;
  // As far as Linux follows them.
  for (let depth = 0; depth < 5; depth += 1) {
    const [, interpreter] =
      /^#![ \t]*([^\s\0]+)/.exec(readable(at) ? startOf(at).toString('latin1', 0, 256) : '') ?? [];
    if (interpreter === undefined || !existsSync(interpreter)) return at;
    at = interpreter;
  }
  return at;
}

/** What keeps the loader from preloading into the file; null where nothing is known to. */
export function obstacleOf(path: string): Obstacle | null {
  if (!readable(path)) return null;
  const bytes = startOf(path);
  if (bytes.length < 64 || bytes.toString('latin1', 0, 4) !== '\x7fELF') return null;
  const own = startOf(process.execPath);
  if (bytes[4] !== own[4] || bytes.readUInt16LE(18) !== own.readUInt16LE(18))
    return { kind: 'foreign', says: 'a program for another architecture' };
  const loader = loaderOf(bytes);
  if (loader === null) return { kind: 'static', says: 'statically linked: it has no dynamic loader' };
  if (/ld-musl/.test(loader)) return { kind: 'other_libc', says: `not linked with glibc: its loader is ${loader}` };
  const { mode, uid, gid } = statSync(path);
  if ((mode & 0o4000 && uid !== process.getuid?.()) || (mode & 0o2000 && gid !== process.getgid?.()))
    return { kind: 'secure', says: 'setuid or setgid: the loader ignores LD_PRELOAD' };
  if (process.getuid?.() !== 0 && hasCapabilities(path))
    return { kind: 'secure', says: 'with capabilities of its own: the loader ignores LD_PRELOAD' };
  return null;
}

/** What PT_INTERP names. */
function loaderOf(bytes: Buffer): string | null {
  const table = Number(bytes.readBigUInt64LE(32));
  const entry_bytes = bytes.readUInt16LE(54);
  const interpreter_segment = 3;
  for (let entry = 0; entry < bytes.readUInt16LE(56); entry += 1) {
    const at = table + entry * entry_bytes;
    if (at + entry_bytes > bytes.length || bytes.readUInt32LE(at) !== interpreter_segment) continue;
    const from = Number(bytes.readBigUInt64LE(at + 8));
    return bytes.toString('latin1', from, from + Number(bytes.readBigUInt64LE(at + 32))).replace(/\0.*$/s, '');
  }
  return null;
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Where an ELF file keeps its header and the list of its segments. */
function startOf(path: string): Buffer {
  const bytes = Buffer.alloc(64 * 1024);
  const descriptor = openSync(path, 'r');
  try {
    return bytes.subarray(0, readSync(descriptor, bytes));
  } finally {
    closeSync(descriptor);
  }
}
