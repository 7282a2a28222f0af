/** Where a row comes from: this machine, and this version of hakmem. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, release, type } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../record.ts';

/** "AMD EPYC 7763 64-Core Processor, 8 CPUs, Linux 6.18.5". */
export function machineName(): string {
  // Asking for it reads a file of the kernel: once is enough.
  machine ??= describeMachine();
  return machine;
}

let machine: string | undefined;

function describeMachine(): string {
  const processors = cpus();
  return `${processors[0]?.model.trim() ?? process.arch}, ${processors.length} CPUs, ${type()} ${release()}`;
}

/** The version, and where there is a checkout its commit, "dirty" where files differ from it. */
export function revision(): string {
  const root = packageRoot();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  if (!existsSync(join(root, '.git'))) return version;
  const { status, stdout } = spawnSync('git', ['describe', '--always', '--abbrev=12', '--exclude=*', '--dirty'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, GIT_OPTIONAL_LOCKS: '0' },
  });
  return status === 0 ? `${version}+${stdout.trim()}` : version;
}
