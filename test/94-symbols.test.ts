/** Names for call sites, from files of the build that was recorded and of no other. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readElf } from '../traces/elf.ts';
import { open } from '../traces/index.ts';
import { refusedIn, run } from './command-line.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-symbols-'));
const program = join(folder, 'program');
const can_symbolise = spawnSync('addr2line', ['--version']).status === 0;

afterAll(() => rmSync(folder, { recursive: true }));

function build(size: number, ...args: string[]): void {
  const source = join(import.meta.dirname, 'programs', 'symbols.c');
  const all = [
    '-O1',
    '-g',
    '-fno-builtin',
    '-fno-optimize-sibling-calls',
    `-DSIZE=${size}`,
    ...args,
    '-o',
    program,
    source,
  ];
  const { status, stderr } = spawnSync('cc', all, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

function recordTo(name: string): void {
  const { status, stderr } = run(folder, ['record', '-o', name, '--', program]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
}

/** The program's own sites after `hakmem symbols`. */
function symbolised(name: string, ...args: string[]) {
  const output = `named-${name}`;
  const { status, stdout, stderr } = run(folder, ['symbols', name, '-o', output, '--json', ...args]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const { origin, statistics } = open(join(folder, output));
  const names = origin.sites.flatMap((site) => site?.name ?? []).filter((site) => site.includes('program+0x'));
  return { names: names.sort(), origin, statistics, told: JSON.parse(stdout) };
}

const with_lines = [
  expect.stringMatching(/^makes_large at symbols\.c:7 \(program\+0x[0-9a-f]+\)$/),
  expect.stringMatching(/^makes_small at symbols\.c:4 \(program\+0x[0-9a-f]+\)$/),
];
const offsets = [expect.stringMatching(/^program\+0x[0-9a-f]+$/), expect.stringMatching(/^program\+0x[0-9a-f]+$/)];

describe.runIf(can_symbolise)('symbols', () => {
  beforeAll(() => {
    build(24, '-Wl,--build-id');
    recordTo('x.hak');
  });

  test('of the program where it was: functions, lines, the same events and hashes', () => {
    const { names, origin, statistics } = symbolised('x.hak');
    expect(names).toEqual(with_lines);
    const before = open(join(folder, 'x.hak'));
    expect(statistics).toEqual(before.statistics);
    expect(origin.sites.map((site) => site.hash)).toEqual(before.origin.sites.map((site) => site.hash));
    expect(origin.modules).toContainEqual({ name: 'program', path: program, build_id: readElf(program)!.build_id });
    expect(readElf(program)!.build_id).toMatch(/^[0-9a-f]{40}$/);
  });

  test('of stacks, frame by frame', () => {
    expect(run(folder, ['record', '--stacks', '2', '-o', 'stacks.hak', '--', program]).status).toBe(0);
    const { names } = symbolised('stacks.hak');
    expect(names).toContainEqual(
      expect.stringMatching(/^makes_small at symbols\.c:4 \(program\+\S+\) < main at symbols\.c:12 \(program\+\S+\)$/),
    );
  });

  test('of the file moved elsewhere, and of its debug symbols alone, once it was stripped', () => {
    const id = readElf(program)!.build_id!;
    const moved = join(folder, 'moved');
    mkdirSync(join(moved, '.build-id', id.slice(0, 2)), { recursive: true });
    renameSync(program, join(moved, 'program'));
    expect(symbolised('x.hak', '--debug-dir', moved).names).toEqual(with_lines);
    const debug = join(moved, '.build-id', id.slice(0, 2), `${id.slice(2)}.debug`);
    expect(spawnSync('objcopy', ['--only-keep-debug', join(moved, 'program'), debug]).status).toBe(0);
    expect(spawnSync('strip', [join(moved, 'program'), '-o', program]).status).toBe(0);
    rmSync(join(moved, 'program'));
    expect(symbolised('x.hak', '--debug-dir', moved).names).toEqual(with_lines);
  });

  test('of another build: none, and it is said', () => {
    build(48, '-Wl,--build-id');
    const { names, origin, told } = symbolised('x.hak');
    expect(names).toEqual(offsets);
    expect(origin.notes.join('\n')).toMatch(
      /Sites in program stay offsets: no file of its build [0-9a-f]{12} was found, only of [0-9a-f]{12}\./,
    );
    expect(told.named).toBeLessThan(told.frames);
  });

  test('of a program without an id, or replaced while it ran: none', () => {
    build(24, '-Wl,--build-id=none');
    recordTo('without.hak');
    expect(open(join(folder, 'without.hak')).origin.modules).toContainEqual({
      name: 'program',
      path: program,
      build_id: null,
    });
    const { names, origin } = symbolised('without.hak');
    expect(names).toEqual(offsets);
    expect(origin.notes.join('\n')).toContain('Sites in program stay offsets: the recording has no build id of it.');
    build(24, '-Wl,--build-id');
    expect(run(folder, ['record', '--raw', 'raw', '-o', 'raw.hak', '--', program]).status).toBe(0);
    copyFileSync(program, `${program}.new`);
    renameSync(`${program}.new`, program);
    expect(run(folder, ['record', '--from-raw', 'raw', '-o', 'later.hak']).status).toBe(0);
    expect(symbolised('later.hak').names).toEqual(offsets);
  });

  test('what has none to look for is refused', () => {
    writeFileSync(join(folder, 'x.txt'), '1: malloc 0x10 100\n');
    expect(refusedIn(folder, ['symbols', 'x.txt', '-o', 'y.hak'])).toContain('its sites are no offsets in files');
    expect(refusedIn(folder, ['symbols', 'x.hak', '-o', 'y.hak', '--debug-dir', 'nowhere'])).toContain(
      'nowhere: no such folder',
    );
    expect(existsSync(join(folder, 'y.hak'))).toBe(false);
  });
});

describe('ELF files', () => {
  test.each(['', '\x7fELF\x02\x01', '\x7fELF\x01\x01'])(
    'a damaged one that begins with %j has no build id',
    (start) => {
      const bytes = Buffer.alloc(64, 0xff);
      bytes.write(start, 'latin1');
      const path = join(folder, 'damaged');
      writeFileSync(path, bytes);
      expect(readElf(path)?.build_id ?? null).toBe(null);
    },
  );

  test('what is no file is none', () => {
    expect([readElf(folder), readElf(join(folder, 'nowhere'))]).toEqual([null, null]);
  });
});
