/** Tools on recordings: what they say is what the events are, and what they write is legal and whole. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allowed, parseBudgets, slack } from '../experiments/trace-diff/budget.ts';
import { matchUses } from '../experiments/trace-diff/match.ts';
import type { Use } from '../experiments/trace-diff/uses.ts';

const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'hakmem-tools-'));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function hakmem(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), ...args], {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
}

/** Runs what must hold, or fail with `status`: not a word on stderr. */
function ran(status: number, ...args: string[]): string {
  const result = hakmem(...args);
  expect({ status: result.status, stderr: result.stderr }).toEqual({ status, stderr: '' });
  return result.stdout;
}

/** Runs what must be refused: exit 2, one line on stderr, nothing on stdout, nothing written. */
function refused(...args: string[]): string {
  const before = readdirSync(folder);
  const { status, stdout, stderr } = hakmem(...args);
  expect({ status, stdout, lines: stderr.split('\n').length }).toEqual({ status: 2, stdout: '', lines: 2 });
  expect(readdirSync(folder)).toEqual(before);
  return stderr;
}

const sample = (name: string): string => join(root, 'traces', 'samples', `${name}.hak`);

describe('gate', () => {
  const runs = 8;

  function compile(name: string, ...flags: string[]): void {
    const source = join(root, 'test', 'programs', 'grows.c');
    const { stderr } = spawnSync('cc', ['-O1', '-w', '-fno-builtin', ...flags, '-o', at(name), source], {
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
  }

  function record(trace: string, program: string, ...args: string[]): string {
    ran(0, 'record', '-o', at(trace), '--', at(program), ...args);
    return at(trace);
  }

  beforeAll(() => {
    compile('grows');
    for (let run = 0; run < runs; run += 1) record(`run${run}.hak`, 'grows');
    record('grown.hak', 'grows', '5');
  }, 60_000);

  const budget = 'faults=+3%,peak=+3%,mapped=+3%,syscalls=+3%,allocations=+3%,bytes=+3%';

  test('finds nothing in runs of one program, whose addresses differ', () => {
    for (let run = 1; run < runs; run += 1)
      expect(ran(0, 'gate', at(`run${run - 1}.hak`), at(`run${run}.hak`), '--budget', budget)).toMatch(
        /within the budget/,
      );
  });

  test('finds 5 % more of one call site, and names it', () => {
    const { verdict, guilty_by, budgets } = JSON.parse(
      ran(1, 'gate', at('run0.hak'), at('grown.hak'), '--budget', budget, '--json'),
    );
    const over = budgets.filter((each: { verdict: string }) => each.verdict === 'over');
    expect({ verdict, guilty_by, over: over.map((each: { figure: string }) => each.figure) }).toEqual({
      verdict: 'over',
      guilty_by: 'site',
      over: ['faults', 'peak', 'mapped', 'bytes'],
    });
    const { top_sites } = JSON.parse(ran(0, 'info', at('grown.hak'), '--json'));
    for (const each of over) expect(each.guilty[0].name).toBe(top_sites[0].name);
  });

  test('names it by its new name where another build has moved the code', () => {
    mkdirSync(at('later'));
    compile('later/grows', '-falign-functions=256');
    const { budgets } = JSON.parse(
      ran(1, 'gate', at('run0.hak'), record('moved.hak', 'later/grows', '5'), '--budget', 'faults=+3%', '--json'),
    );
    const { top_sites } = JSON.parse(ran(0, 'info', at('moved.hak'), '--json'));
    const [first] = budgets[0].guilty;
    expect(first.name).toBe(top_sites[0].name);
    expect(first.base).toBeGreaterThan(0);
  });

  test('names a size class where a recording has no call sites', () => {
    const lines = (bytes: number): string =>
      Array.from({ length: 40 }, (_, line) => `1: malloc 0x${(line + 1) * 16} ${line === 39 ? bytes : 100}`).join('\n');
    for (const [name, bytes] of [
      ['few.txt', 70_000],
      ['more.txt', 600_000],
    ] as const)
      write(name, `${lines(bytes)}\n`);
    expect(ran(1, 'gate', 'few.txt', 'more.txt', '--budget', 'bytes=+5%')).toMatch(
      /first size class sizes below 1 MiB, 0 before, 600 000 now/,
    );
  });

  test('holds under every policy that there is a model of', () => {
    for (const policy of ['jemalloc', 'mimalloc', 'hakmem'])
      ran(
        0,
        'gate',
        sample('ffmpeg'),
        sample('ffmpeg'),
        '--policy',
        policy,
        '--budget',
        'faults=+0,peak=+0,syscalls=+0',
      );
  });

  test('a share grants at least what runs differ by, a number and less than before grant what they say', () => {
    const of = (text: string, base: number): number => allowed(parseBudgets(text)[0], base);
    expect(of('faults=+5%', 10_000)).toBe(10_500);
    expect(of('faults=+5%', 100)).toBe(100 + slack.count);
    expect(of('peak=3%', 0)).toBe(slack.bytes);
    expect(of('peak=+2MiB', 5)).toBe(5 + 2 ** 21);
    expect(of('mmap=+0', 7)).toBe(7);
    expect(of('faults=-10%', 100)).toBe(90);
  });

  test('refuses what is no budget, no policy and no trace, in a line', () => {
    const a = sample('ffmpeg');
    expect(refused('gate', a, a, '--budget', 'fault=+5%')).toMatch(/no figure "fault"; there are faults peak/);
    expect(refused('gate', a, a, '--budget', 'faults>5')).toMatch(/wanted such as faults=\+5%/);
    expect(refused('gate', a, a, '--budget', 'faults=+2MiB')).toMatch(/wanted faults=\+5% or faults=\+10/);
    expect(refused('gate', a, a, '--budget', 'faults=1,faults=2')).toMatch(/has two/);
    expect(refused('gate', a, a)).toMatch(/--budget/);
    expect(refused('gate', a, a, '--budget', 'faults=1', '--policy', 'tcmalloc')).toMatch(/unknown policy/);
    expect(refused('gate', a, a, '--budget', 'faults=1', '--mode', 'FAST')).toMatch(/--mode/);
    expect(refused('gate', a, 'none.hak', '--budget', 'faults=1')).toMatch(/none\.hak: no such file/);
  });
});

describe('diff', () => {
  test('of a recording and itself says that nothing differs', () => {
    expect(ran(0, 'diff', sample('sqlite'), sample('sqlite'))).toMatch(/call sites that differ, 0 of 0/);
  });

  test('counts by group add up to the counts of the recordings', () => {
    const { a, b, figures, groups } = JSON.parse(ran(0, 'diff', sample('redis'), sample('r-frames'), '--json'));
    expect([a.events, b.events]).toEqual([150_049, 43_834]);
    for (const side of ['a', 'b'] as const) {
      const sum = (of: keyof Use): number =>
        groups.reduce((all: number, each: Record<'a' | 'b', Use | null>) => all + Number(each[side]?.[of] ?? 0), 0);
      for (const name of [
        'allocations',
        'reallocs',
        'frees',
        'bytes',
        'live',
        'unfreed',
        'unfreed_bytes',
        'faults',
        'syscalls',
      ])
        expect([side, name, sum(name as keyof Use)]).toEqual([
          side,
          name,
          figures.find(({ figure }: { figure: string }) => figure === name)[side],
        ]);
    }
  });

  test('by size where one has no call sites', () => {
    write('plain.txt', '1: malloc 0x10 100\n1: free 0x10\n');
    const { by, sizes } = JSON.parse(ran(0, 'diff', 'plain.txt', sample('sqlite'), '--json'));
    expect(by).toBe('size');
    expect(sizes).toContainEqual({ below_bytes: 128, a: 1, b: expect.any(Number) });
  });

  test('sites of a module that moved are matched in their order, like with like', () => {
    const base = [use('a+0x10', 5, 100), use('a+0x20', 50, 9000), use('a+0x30', 700, 40), use('b+0x8', 1, 1)];
    const head = [
      use('a+0x14', 5, 100),
      use('a+0x1a', 3000, 8),
      use('a+0x24', 52, 9300),
      use('a+0x34', 690, 41),
      use('b+0x8', 2, 1),
    ];
    const pairs = matchUses(base, head).map((pair) => [pair.base?.name, pair.head?.name]);
    expect(pairs.sort()).toEqual(
      [
        ['a+0x10', 'a+0x14'],
        ['a+0x20', 'a+0x24'],
        ['a+0x30', 'a+0x34'],
        ['b+0x8', 'b+0x8'],
        [undefined, 'a+0x1a'],
      ].sort(),
    );
  });

  function use(name: string, allocations: number, bytes: number): Use {
    const none = { reallocs: 0, frees: 0, unfreed: 0, unfreed_bytes: 0, live: 0, lifetime_events: null };
    return { name, allocations, bytes: bytes * allocations, ...none, faults: 0, syscalls: 0 };
  }
});

function write(name: string, content: string): string {
  writeFileSync(at(name), content);
  return name;
}
