/**
 * Runs a program with libhakmem-verify.so in each of its processes and reads what was found there: which malloc serves, the
 * values that it behaves by at the start and at the end, and who called mallopt or exec.
 */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { NativeUnavailableError, native_root } from './index.ts';
import { type MeasureOptions, measureProgram, type Spent } from './measure.ts';

/** One value as malloc's behaviour shows it. */
export interface Reading {
  readonly name: string;
  /** Whether it is the one asked for; null where it cannot be told. */
  readonly holds: boolean | null;
  readonly found: number | null;
  readonly evidence: string;
}

export interface MalloptCall {
  readonly parameter: number;
  readonly value: number;
  readonly result: number;
  /** File and offset of who called. */
  readonly caller: string;
}

/** Another program that a process became (exec) or started (spawn). */
export interface Started {
  readonly pid: number;
  readonly path: string;
  readonly keeps_setting: boolean;
  readonly keeps_preload: boolean;
  readonly has_capabilities: boolean;
  /** Whether the library was loaded into it: there is an image of it. */
  readonly seen: boolean;
}

/** One program in one process, with the processes that it made of itself by fork. */
export interface ProgramImage {
  readonly pid: number;
  readonly path: string;
  readonly libc_version: string;
  /** The file whose malloc the program calls. */
  readonly malloc_path: string;
  readonly glibc_serves: boolean;
  /** Whether the setting stands in its environment. */
  readonly keeps_setting: boolean;
  readonly start: readonly Reading[] | null;
  /** The end of its own process; null where that was not seen. */
  readonly end: readonly Reading[] | null;
  /** Ends of processes forked from it. */
  readonly fork_ends: readonly (readonly Reading[])[];
  readonly mallopt_calls: readonly MalloptCall[];
  /** Whether it became another program and so had no end. */
  readonly became: string | null;
  readonly started: readonly Started[];
}

export interface Observed {
  readonly spent: Spent;
  readonly images: readonly ProgramImage[];
  /** Lines that did not fit: some processes are missing. */
  readonly lost_lines: number;
}

export interface Asked {
  readonly name: string;
  /** An unsigned 64-bit number. */
  readonly value: bigint;
}

interface Line {
  readonly kind: 'image' | 'reading' | 'mallopt' | 'exec' | 'exec_failed' | 'spawn';
  readonly pid: number;
  readonly image: number;
  readonly [field: string]: unknown;
}

const library = join(native_root, 'build', 'libhakmem-verify.so');
/** Sparse: room for some thousand processes. */
const report_bytes = 8 * 2 ** 20;
/** Mirrors struct report of native/verify_setting.c. */
const head_bytes = 24;

/** Runs `argv` in `env` with the library before whatever is preloaded there, and looks for the values `asked`. */
export async function observeProgram(
  argv: readonly string[],
  asked: readonly Asked[],
  setting: Readonly<Record<string, string>>,
  options: MeasureOptions,
): Promise<Observed> {
  if (!existsSync(library))
    throw new NativeUnavailableError(`${library} is missing: proofs need a C compiler and "npm run build"`);
  const folder = mkdtempSync(join(tmpdir(), 'hakmem-verify-'));
  const discard = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', discard);
  try {
    const report = join(folder, 'report');
    makeReport(report);
    const env = options.env ?? process.env;
    const spent = await measureProgram(argv, {
      ...options,
      env: {
        ...env,
        LD_PRELOAD: [preloadable(folder), env.LD_PRELOAD].filter((each) => each !== undefined && each !== '').join(':'),
        HAKMEM_VERIFY: report,
        HAKMEM_VERIFY_ASKED: asked.map(({ name, value }) => `${name}=${value}`).join(','),
        HAKMEM_VERIFY_ENVIRONMENT: Object.entries(setting)
          .map(([name, value]) => `${name}=${value}`)
          .join('\n'),
      },
    });
    return { spent, ...readReport(readFileSync(report)) };
  } finally {
    discard();
    process.off('exit', discard);
  }
}

/** LD_PRELOAD separates its files with spaces and colons: a path that has either goes by another name. */
function preloadable(folder: string): string {
  if (!/[\s:]/.test(library)) return library;
  const link = join(folder, basename(library));
  symlinkSync(library, link);
  return link;
}

function makeReport(path: string): void {
  const descriptor = openSync(path, 'w');
  const head = Buffer.alloc(head_bytes);
  head.write('HAKVERIF');
  head.writeUInt32LE(report_bytes, 8);
  writeSync(descriptor, head);
  ftruncateSync(descriptor, report_bytes);
  closeSync(descriptor);
}

function readReport(bytes: Buffer): { images: ProgramImage[]; lost_lines: number } {
  const used = Math.min(bytes.readUInt32LE(12), report_bytes - head_bytes);
  let lost_lines = bytes.readUInt32LE(16);
  const lines: Line[] = [];
  for (const text of bytes.toString('utf8', head_bytes, head_bytes + used).split('\n')) {
    if (text === '') continue;
    try {
      lines.push(JSON.parse(text) as Line);
    } catch {
      // Its writer was killed in the middle of it.
      lost_lines += 1;
    }
  }
  const images = lines.flatMap((line, at) => (line.kind === 'image' ? [imageOf(line, at, lines)] : []));
  return { images, lost_lines };
}

function imageOf(line: Line, at: number, lines: readonly Line[]): ProgramImage {
  const own = lines.filter(({ image }) => image === line.image);
  const readings = own.filter(({ kind }) => kind === 'reading');
  const readingsOf = (each: Line | undefined): Reading[] | null => (each?.readings as Reading[] | undefined) ?? null;
  const ends = readings.filter(({ when }) => when === 'end');
  const execs = own.filter((each) => each.kind === 'exec' && !failed(each, own));
  const became = execs.find(({ pid }) => pid === line.pid);
  return {
    ...(line as unknown as Pick<
      ProgramImage,
      'pid' | 'path' | 'libc_version' | 'malloc_path' | 'glibc_serves' | 'keeps_setting'
    >),
    start: readingsOf(readings.find(({ when }) => when === 'start')),
    end: readingsOf(ends.find(({ pid }) => pid === line.pid)),
    fork_ends: ends.filter(({ pid }) => pid !== line.pid).map((each) => readingsOf(each)!),
    mallopt_calls: own.filter(({ kind }) => kind === 'mallopt') as unknown as MalloptCall[],
    became: (became?.path as string | undefined) ?? null,
    started: [...execs, ...own.filter(({ kind }) => kind === 'spawn')].map((each) => ({
      pid: each.child as number,
      path: each.path as string,
      keeps_setting: each.keeps_setting as boolean,
      keeps_preload: each.keeps_preload as boolean,
      has_capabilities: each.has_capabilities as boolean,
      // A process that becomes another writes its next first line after it said so; one that is spawned, sooner or later.
      seen: lines.some(
        (other, position) =>
          other.kind === 'image' &&
          other.pid === each.child &&
          position > (each.kind === 'exec' ? lines.indexOf(each) : at),
      ),
    })),
  };
}

/** A try that came to nothing is followed by a line that says so. */
function failed(exec: Line, own: readonly Line[]): boolean {
  const later = own.slice(own.indexOf(exec) + 1).find(({ pid }) => pid === exec.pid);
  return later?.kind === 'exec_failed';
}
