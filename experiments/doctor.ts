/** `hakmem doctor`: what is there, what is missing, and the command that installs it; a line each. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Command } from 'commander';
import { type Allocator, allocator_names, allocators, installLine, libraryOf } from '../native/allocators.ts';
import { native_root, nativeTrouble, probeProfile } from '../native/index.ts';
import { replayer_path, replayerTrouble } from '../native/replayer.ts';
import { cachedPath } from './calibrate/price-file.ts';
import { paint } from './color.ts';
import { print, printJson } from './command.ts';

interface Finding {
  readonly name: string;
  readonly ok: boolean;
  /** Without it something that a user asks for cannot be done; the rest is for tests and comparisons. */
  readonly needed: boolean;
  readonly found: string;
  readonly fix: string | null;
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('what this machine has and lacks, with the command that installs what is missing')
    .option('--json', 'print one JSON document')
    .action((options: { json?: boolean }) => {
      const findings = [...compilers(), nativePart(), recorder(), replayer(), ...kernel(), calibration(), ...tools()];
      if (options.json) printJson({ findings });
      else print(...findings.map(line));
      process.exitCode = findings.every(({ ok, needed }) => ok || !needed) ? 0 : 1;
    });
}

function line({ name, ok, needed, found, fix }: Finding): string {
  const mark = ok ? paint.green('ok     ') : needed ? paint.red('missing') : paint.yellow('absent ');
  return `${mark} ${name.padEnd(18)} ${found}${ok || fix === null ? '' : `; to install: ${fix}`}`;
}

function compilers(): Finding[] {
  return [
    tool('cc', ['--version'], 'apt-get install gcc', true),
    tool('c++', ['--version'], 'apt-get install g++', true),
    tool('make', ['--version'], 'apt-get install make', true),
  ];
}

function tools(): Finding[] {
  return [
    tool('valgrind', ['--version'], 'apt-get install valgrind', false),
    tool('strace', ['--version'], 'apt-get install strace', false),
    tool('perf', ['--version'], 'apt-get install linux-perf', false),
    tool('chromium', ['--version'], 'apt-get install chromium', false),
    npmPackage('DuckDB', '@duckdb/node-api'),
    ...allocator_names.map((name) => library(allocators[name])).filter((finding) => finding !== null),
  ];
}

function tool(name: string, args: readonly string[], fix: string, needed: boolean): Finding {
  const { status, stdout, stderr } = spawnSync(name, args, { encoding: 'utf8' });
  const ok = status === 0;
  return { name, ok, needed, found: ok ? firstLine(stdout || stderr) : 'not on the path', fix };
}

/** Of the C library's own there is nothing to find. */
function library(allocator: Allocator): Finding | null {
  const path = libraryOf(allocator);
  if (path === null) return null;
  const found = path ?? `${allocator.files.join(', ')} not found`;
  return { name: allocator.name, ok: path !== undefined, needed: false, found, fix: installLine(allocator) };
}

/** An optional dependency: npm leaves it out where it has no binary for the platform. */
function npmPackage(name: string, specifier: string): Finding {
  try {
    const path = createRequire(import.meta.url).resolve(specifier);
    return { name, ok: true, needed: false, found: path, fix: null };
  } catch {
    return { name, ok: false, needed: false, found: `${specifier} is not there`, fix: `npm install ${specifier}` };
  }
}

function nativePart(): Finding {
  const trouble = nativeTrouble();
  return {
    name: 'native core',
    ok: trouble === null,
    needed: true,
    found: trouble ?? 'built, and of this spec',
    fix: 'npm run build',
  };
}

function recorder(): Finding {
  const path = join(native_root, 'build', 'libhakmem-record.so');
  const ok = existsSync(path);
  return { name: 'recorder', ok, needed: true, found: ok ? path : 'not built', fix: 'npm run build' };
}

function replayer(): Finding {
  const trouble = replayerTrouble();
  return {
    name: 'replayer',
    ok: trouble === null,
    needed: true,
    found: trouble ?? replayer_path,
    fix: 'npm run build',
  };
}

function kernel(): Finding[] {
  const profile = probeProfile();
  if (profile === null)
    return [{ name: 'kernel profile', ok: false, needed: true, found: 'cannot be probed', fix: 'npm run build' }];
  const words = Object.entries(profile).map(([name, value]) => `${name}=${value}`);
  const pages_ok = profile.page_bytes === 4096;
  return [
    {
      name: 'kernel profile',
      ok: pages_ok,
      needed: true,
      found: `${words.join(' ')}${pages_ok ? '' : '; the model knows 4096-byte pages only'}`,
      fix: null,
    },
  ];
}

function calibration(): Finding {
  const path = cachedPath();
  const ok = existsSync(path);
  const found = ok ? path : 'none of this machine and kernel; hakmem calibrate measures them';
  return { name: 'measured prices', ok, needed: false, found, fix: null };
}

function firstLine(text: string): string {
  return text.split('\n')[0].trim();
}
