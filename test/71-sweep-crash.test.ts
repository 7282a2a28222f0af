/** Sweeps that are killed, interrupted or run out of disk: nothing lost, nothing twice, the same rows. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { boundaries_bytes } from '../sim/index.ts';
import { SyntheticTrace, writeHak } from '../traces/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Enough shards and enough work in each that a sweep is caught in the middle. */
const traces = Array.from({ length: 8 }, (_, seed) => {
  const path = join(folder, `edges-${seed}.hak`);
  const edges = new SyntheticTrace('edges', { events: 4000, seed, boundaries_bytes });
  writeHak(path, edges.chunks(), { time: false, sites: true, touch: false }, () => edges.origin);
  return path;
});
const configurations = 16;
const rows = traces.length * configurations;
const words = (output: string, jobs: number): string[] => [
  'bin/hakmem.js',
  'sweep',
  ...traces,
  '--axis',
  `mmap_threshold_bytes=4KiB:16MiB:${configurations}`,
  '--check',
  'decisions',
  '--jobs',
  String(jobs),
  '--json',
  '-o',
  output,
];

interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

function start(output: string, jobs: number): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn('node', words(output, jobs), { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout!.on('data', (text) => {
    stdout += text;
  });
  child.stderr!.on('data', (text) => {
    stderr += text;
  });
  const ended = new Promise<Ended>((resolve) =>
    child.on('close', (code, signal) => resolve({ code: code ?? signal ?? 'nothing', stdout, stderr })),
  );
  return { child, ended };
}

/** Workers, by the parent that /proc names. */
function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))![1]) === pid;
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 3000 && !holds(); tries += 1) await setTimeout(10);
  expect(holds()).toBe(true);
}

const shardsWithRows = (output: string): number => {
  const state = `${output}.shards`;
  if (!existsSync(state)) return 0;
  return readdirSync(state).filter((name) => /^\d+\.ndjson$/.test(name) && statSync(join(state, name)).size > 0).length;
};
const gone = (pid: number): boolean => !existsSync(`/proc/${pid}`);

let reference = '';
beforeAll(() => {
  const output = join(folder, 'reference.ndjson');
  const { status, stdout, stderr } = spawnSync('node', words(output, 1), { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(JSON.parse(stdout)).toMatchObject({ rows, evaluations: rows, resumed: 0 });
  reference = readFileSync(output, 'utf8');
  expect(reference.trim().split('\n')).toHaveLength(rows);
});

describe('rows are byte-identical to those of one undisturbed worker', () => {
  test('with two workers', async () => {
    const output = join(folder, 'two.ndjson');
    const { code, stderr } = await start(output, 2).ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(readFileSync(output, 'utf8')).toBe(reference);
  });

  test('after a worker is killed: it costs its task only, which is begun again', async () => {
    const output = join(folder, 'worker.ndjson');
    const { child, ended } = start(output, 2);
    await until(() => shardsWithRows(output) > 0);
    const [victim] = childrenOf(child.pid!);
    process.kill(victim, 'SIGKILL');
    const { code, stdout, stderr } = await ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ rows, evaluations: rows });
    expect(readFileSync(output, 'utf8')).toBe(reference);
  });

  test('after the parent is killed and the same command is given again', async () => {
    const output = join(folder, 'parent.ndjson');
    const { child, ended } = start(output, 2);
    await until(() => shardsWithRows(output) > 0);
    const workers = childrenOf(child.pid!);
    expect(workers).toHaveLength(2);
    child.kill('SIGKILL');
    expect((await ended).code).toBe('SIGKILL');
    await until(() => workers.every(gone));
    expect(existsSync(output)).toBe(false);
    const again = await start(output, 2).ended;
    expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: '' });
    const { resumed, evaluations } = JSON.parse(again.stdout);
    expect(resumed).toBeGreaterThan(0);
    expect(evaluations).toBeGreaterThan(0);
    expect(resumed + evaluations).toBe(rows);
    expect(readFileSync(output, 'utf8')).toBe(reference);
  });

  test('after Ctrl-C, which ends with 130, says how to go on and leaves no process behind', async () => {
    const output = join(folder, 'interrupted.ndjson');
    const { child, ended } = start(output, 2);
    await until(() => shardsWithRows(output) > 0);
    const workers = childrenOf(child.pid!);
    child.kill('SIGINT');
    const { code, stdout, stderr } = await ended;
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect(stderr).toMatch(
      /^hakmem: interrupted; finished rows are in .*\.shards: the same command goes on from there\n$/,
    );
    await until(() => workers.every(gone));
    const again = await start(output, 1).ended;
    expect(JSON.parse(again.stdout).resumed).toBeGreaterThan(0);
    expect(readFileSync(output, 'utf8')).toBe(reference);
  });
});

test('two sweeps in one folder are refused while the first is at work', async () => {
  const output = join(folder, 'shared.ndjson');
  const { child, ended } = start(output, 1);
  await until(() => shardsWithRows(output) > 0);
  const second = await start(output, 1).ended;
  expect(second).toMatchObject({ code: 2, stdout: '' });
  expect(second.stderr).toMatch(new RegExp(`process ${child.pid} is sweeping here`));
  expect((await ended).code).toBe(0);
});

const small = join(folder, 'small');
mkdirSync(small);
const mount = (...options: string[]): boolean =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', options.join(','), 'none', small]).status === 0;
const mounted = mount('size=256k');
afterAll(() => {
  if (mounted) spawnSync('umount', [small]);
});

test.skipIf(!mounted)('a full disk is one line and exit 2, and with room again the sweep goes on', async () => {
  const output = join(small, 'full.ndjson');
  const { code, stdout, stderr } = await start(output, 2).ended;
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^hakmem: [^\n]*\.ndjson: cannot be written: ENOSPC[^\n]*\n$/);
  expect(existsSync(output)).toBe(false);
  expect(mount('remount', 'size=64m')).toBe(true);
  const again = await start(output, 2).ended;
  expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: '' });
  expect(JSON.parse(again.stdout).resumed).toBeGreaterThan(0);
  expect(readFileSync(output, 'utf8')).toBe(reference);
});
