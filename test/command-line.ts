/** The command line as a shell has it, in a folder of the test's own. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

export const bin = join(import.meta.dirname, '..', 'bin', 'hakmem.js');

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(folder: string, args: readonly string[]): Ran {
  return spawnSync(process.execPath, [bin, ...args], { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 26 });
}

/** Runs what must be refused: exit 2, one line on stderr, nothing on stdout, nothing written. Returns the line. */
export function refusedIn(folder: string, args: readonly string[]): string {
  const before = readdirSync(folder);
  const { status, stdout, stderr } = run(folder, args);
  expect({ status, stdout, lines: stderr.split('\n').length }).toEqual({ status: 2, stdout: '', lines: 2 });
  expect(readdirSync(folder)).toEqual(before);
  return stderr;
}
