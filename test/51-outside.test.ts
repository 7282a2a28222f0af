/** hak-replay counted once more from outside, by strace, and run by hand without Node's help. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { replay_path } from '../native/index.ts';
import { fingerprint } from '../native/spec-to-c.ts';
import { boundaries_bytes, type Mode, mode_names, type Result } from '../sim/index.ts';
import { originOf, SyntheticTrace, writeHak } from '../traces/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const columns = { time: false, sites: true, touch: false };
const edges = new SyntheticTrace('edges', { events: 1500, seed: 3, boundaries_bytes });
const edges_path = join(folder, 'edges.hak');
writeHak(edges_path, edges.chunks(), columns, () => edges.origin);
const nothing_path = join(folder, 'nothing.hak');
writeHak(nothing_path, [], columns, () => originOf('generated', {}));

const has_strace = spawnSync('strace', ['-V']).status === 0;

const compared = ['mmap', 'munmap', 'madvise', 'process_madvise'];

/** Calls by name, as `strace -c` counts them: by a filter in the kernel, or it would stop at each look at the faults too. */
function straced(path: string, mode: Mode, settings: readonly string[]): Record<string, number> {
  const summary = join(folder, 'summary.txt');
  const only = ['-f', '--seccomp-bpf', '-c', '-e', `trace=${compared.join()}`, '-o', summary];
  const args = [...only, replay_path, path, '--mode', mode, '--touch', 'first', ...settings];
  expect(spawnSync('strace', args, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  const text = spawnSync('cat', [summary], { encoding: 'utf8' }).stdout;
  return Object.fromEntries(
    [...text.matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/gm)].map(([, calls, name]) => [
      name,
      Number(calls),
    ]),
  );
}

function counted(path: string, mode: Mode, settings: readonly string[]): Result {
  const args = [path, '--json', '--mode', mode, '--touch', 'first', ...settings];
  const { status, stdout, stderr } = spawnSync(replay_path, args, { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return (JSON.parse(stdout) as { result: Result }).result;
}

describe.skipIf(!has_strace)('strace -c counts the calls that the core counts', () => {
  const cases: [Mode, string[]][] = [
    ...mode_names.map((mode): [Mode, string[]] => [mode, []]),
    ['BALANCED', ['--set', 'batch_vectored=true', '--set', 'batch_blocks_max=16']],
    ['BALANCED', ['--set', 'thp_policy=off']],
  ];
  test.each(cases)('mode %s %j', (mode, settings) => {
    const before = straced(nothing_path, mode, settings);
    const after = straced(edges_path, mode, settings);
    const more = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
    const { syscalls } = counted(edges_path, mode, settings);
    expect({ mmap: more('mmap'), munmap: more('munmap'), process_madvise: more('process_madvise') }).toEqual({
      mmap: syscalls.mmap,
      munmap: syscalls.munmap,
      process_madvise: syscalls.process_madvise,
    });
    expect(more('madvise')).toBe(
      syscalls.madvise_dontneed + syscalls.madvise_free + syscalls.madvise_hugepage + syscalls.madvise_nohugepage,
    );
  });
});

describe('hak-replay by hand', () => {
  const run = (...args: string[]) => spawnSync(replay_path, args, { encoding: 'utf8' });

  test('it carries the fingerprint of this spec', () => {
    expect(run('--fingerprint').stdout.trim()).toBe(fingerprint());
  });

  test('a setting counts over its mode wherever it stands', () => {
    const first = run(edges_path, '--json', '--kernel', 'counted', '--set', 'bigcache=true', '--mode', 'MINIMAL');
    const last = run(edges_path, '--json', '--kernel', 'counted', '--mode', 'MINIMAL', '--set', 'bigcache=true');
    const digest = (text: string) => (JSON.parse(text) as { result: Result }).result.decision_digest;
    expect(digest(first.stdout)).toBe(digest(last.stdout));
  });

  test.each([
    ['no such file', ['/nowhere.hak'], /nowhere\.hak: No such file/],
    ['a directory', [folder], /not a regular file/],
    ['an unknown option', [edges_path, '--frob'], /unknown option "--frob"/],
    ['an unknown parameter', [edges_path, '--set', 'frob=1'], /unknown parameter "frob"/],
    ['a value out of range', [edges_path, '--set', 'bigcache_ways=65'], /bigcache_ways: found 65, wanted 1 to 64/],
    ['an unknown mode', [edges_path, '--mode', 'SLOW'], /wanted one of MINIMAL FAST BALANCED LEARNING RESEARCH/],
    ['a touch model', [edges_path, '--touch', 'some'], /wanted none first page all recorded/],
  ])('%s is one line and exit code 2', (_, args, line) => {
    const { status, stdout, stderr } = run(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(line);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('an undersized block is caught by the policy within 1,000 events, and by the hole behind it when that looks away', () => {
    const churn = new SyntheticTrace('churn', { events: 1000, seed: 1, boundaries_bytes });
    const path = join(folder, 'churn.hak');
    writeHak(path, churn.chunks(), columns, () => churn.origin);
    const bug = [path, '--set', 'legacy_undersized=true', '--touch', 'page'];
    expect(run(...bug)).toMatchObject({ status: 1, stderr: expect.stringMatching(/broke the rule undersized/) });
    expect(run(...bug, '--trust')).toMatchObject({
      status: 70,
      stderr: expect.stringMatching(/signal 11: a touch outside any block/),
    });
  });

  test('what is not a .hak file, or is cut off, is refused', () => {
    const text = join(folder, 'text.hak');
    writeFileSync(text, 'x'.repeat(200));
    expect(run(text)).toMatchObject({ status: 2, stdout: '' });
    const cut = join(folder, 'cut.hak');
    writeFileSync(cut, spawnSync('head', ['-c', '500', edges_path]).stdout);
    expect(run(cut).stderr).toMatch(/the file ends here, not where its preamble says/);
  });
});
