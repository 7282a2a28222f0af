/** Whether settings of glibc's malloc are live in a program: proven by what malloc does, and the reasons where they are not. */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Environment, readSettings } from '../experiments/glibc-tunables.ts';
import { interpreterOf, obstacleOf } from '../experiments/program-file.ts';
import { proveSetting, whyNotLive } from '../experiments/setting-proof.ts';
import { allocators, libraryOf } from '../native/allocators.ts';

const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-setting-'));
const program = join(folder, 'settings');
const static_program = join(folder, 'settings-static');
const all_settings = {
  mmap_threshold: 1048576,
  trim_threshold: 2097152,
  top_pad: 65536,
  mmap_max: 100,
  arena_max: 2,
  tcache_count: 20,
  tcache_max: 256,
  mxfast: 64,
  perturb: 9,
};

beforeAll(() => {
  compile(['-o', program]);
  compile(['-static', '-o', static_program]);
  compile(['-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1', '-o', join(folder, 'settings-musl')]);
});

afterAll(() => rmSync(folder, { recursive: true }));

function compile(args: readonly string[]): void {
  const source = join(root, 'test', 'programs', 'settings.c');
  const { status, stderr } = spawnSync('cc', ['-O1', '-w', '-fno-builtin', '-pthread', source, ...args], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
}

const tunables = (settings: Readonly<Record<string, number | string>>): Record<string, string> => ({
  GLIBC_TUNABLES: Object.entries(settings)
    .map(([name, value]) => `glibc.malloc.${name}=${value}`)
    .join(':'),
});

function prove(argv: readonly string[], setting: Readonly<Record<string, string>>, env: Environment = {}) {
  return proveSetting(argv, { env: { PATH: process.env.PATH, ...setting, ...env }, setting, input: 'null' });
}

/** Verdicts by program and setting: `settings top_pad live`. */
async function verdicts(argv: readonly string[], setting: Readonly<Record<string, string>>, env: Environment = {}) {
  const proof = await prove(argv, setting, env);
  return proof.images.flatMap(({ path, settings }) =>
    settings.map(({ name, verdict }) => `${path.slice(path.lastIndexOf('/') + 1)} ${name} ${verdict}`),
  );
}

const live = (names: readonly string[], image = 'settings'): string[] => names.map((name) => `${image} ${name} live`);

describe('what malloc does', () => {
  test('every setting that is set is live, and its value is found', async () => {
    const proof = await prove([program, 'payload'], tunables(all_settings));
    expect(whyNotLive(proof)).toBe(null);
    const [{ settings }] = proof.images;
    expect(settings.map(({ name, from, to }) => [name, from, to])).toEqual(
      Object.entries(all_settings).map(([name, value]) => [name, value, value]),
    );
  });

  const neighbours = Object.entries(all_settings).flatMap(([name, value]) => {
    const step = ['mmap_max', 'arena_max', 'tcache_count', 'perturb'].includes(name) ? 1 : 16;
    return [
      { name, value, other: value + step },
      { name, value, other: value - step },
    ];
  });
  test.each(neighbours)('$name=$value is not taken for live where it is $other', async ({ name, value, other }) => {
    // Found is what the largest kept block can hold; of blocks that are mapped at once none is tried beyond the value.
    const found: Record<string, number | null> = {
      'mmap_max 101': null,
      'tcache_max 272': 280,
      'tcache_max 240': 248,
      'mxfast 80': 72,
      'mxfast 48': 40,
    };
    const key = `${name} ${other}`;
    const proof = await prove([program, 'nothing'], tunables({ [name]: value }), tunables({ [name]: other }));
    const [{ settings, reasons }] = proof.images;
    expect(settings).toMatchObject([{ verdict: 'not live', from: key in found ? found[key] : other }]);
    expect(reasons).toEqual(['the setting is not in its environment']);
  });

  test('thresholds are found to the byte wherever they lie', async () => {
    const chunk = fc.integer({ min: 4096, max: 2 ** 33 }).map((bytes) => bytes - (bytes % 16));
    await fc.assert(
      fc.asyncProperty(chunk, chunk, fc.integer({ min: 0, max: 2 ** 26 }), async (mapped, trimmed, top_pad) => {
        const trim_threshold = Math.max(trimmed, 65536);
        const setting = tunables({ mmap_threshold: mapped, trim_threshold, top_pad });
        expect(whyNotLive(await prove([program, 'nothing'], setting))).toBe(null);
      }),
      { numRuns: 5, seed: 83 },
    );
  });

  test.each([
    [{ mmap_threshold: 0 }],
    [{ mmap_threshold: '18446744073709551615', trim_threshold: '-1' }],
    [{ trim_threshold: 0 }],
    [{ top_pad: 0, mmap_max: 0 }],
    [{ mmap_threshold: 1000, mmap_max: 0 }],
    [{ tcache_count: 0 }],
    [{ tcache_count: 65535, mxfast: 0 }],
    [{ mxfast: 160, tcache_max: 1032 }],
    [{ arena_max: 1, perturb: 255 }],
    [{ arena_test: 600 }],
  ])('at the edge: %j', async (settings) => {
    const { images } = await prove([program, 'nothing'], tunables(settings));
    const found = images[0].settings.map(({ verdict }) => verdict);
    const wanted = Object.entries(settings).map(([name, value]) =>
      name === 'arena_test' || value === '-1' ? 'unproven' : 'live',
    );
    expect(found).toEqual(wanted.slice(0, found.length));
  });

  test('variables of their own work too, and GLIBC_TUNABLES comes before them', async () => {
    const setting = { MALLOC_TOP_PAD_: '4096', MALLOC_ARENA_MAX: '3', ...tunables({ top_pad: 8192 }) };
    const proof = await prove([program, 'nothing'], setting);
    expect(proof.live).toBe(true);
    expect(proof.images[0].settings.map(({ name, to }) => [name, to])).toEqual([
      ['top_pad', 8192],
      ['arena_max', 3],
    ]);
    expect(proof.notes[0]).toBe('MALLOC_TOP_PAD_ has no effect: GLIBC_TUNABLES sets top_pad and comes first');
  });

  test('the program keeps its heap, its children and its output', () => {
    const bare = spawnSync(program, ['heap'], { encoding: 'utf8' });
    const { stdout } = hakmem(['verify-setting', '--setting', 'MALLOC_TOP_PAD_=4096', '--', program, 'heap']);
    expect(stdout.split('\n')[0]).toBe(bare.stdout.trim());
  });
});

describe('what a program does', () => {
  const setting = tunables({ mmap_threshold: 1048576, top_pad: 65536 });
  const names = ['mmap_threshold', 'top_pad'];

  test('a call of mallopt changes it, and its caller is named', async () => {
    const proof = await prove([program, 'mallopt'], setting);
    expect(proof.live).toBe(false);
    const [{ settings, mallopt_calls }] = proof.images;
    expect(settings).toMatchObject([
      { name: 'mmap_threshold', verdict: 'changed', from: 1048576, to: 4194304 },
      { name: 'top_pad', verdict: 'live' },
    ]);
    expect(settings[0].by).toMatch(/^mallopt\(M_MMAP_THRESHOLD, 4194304\) of .*\/settings\+0x[0-9a-f]+$/);
    expect(mallopt_calls).toEqual([settings[0].by]);
  });

  test('a call of mallopt with the same value changes nothing', async () => {
    expect(await verdicts([program, 'mallopt-same'], setting)).toEqual(live(names));
  });

  test.each(['nothing', 'close-all', '_exit', 'thread', 'heap', 'leave-behind'])(
    'its end is seen after %s',
    async (mode) => {
      expect(await verdicts([program, mode], setting)).toEqual(live(names));
    },
  );

  test('a process that it forked may change it as well', async () => {
    expect(await verdicts([program, 'fork'], setting)).toEqual([
      'settings mmap_threshold live',
      'settings top_pad changed',
    ]);
  });

  test('a program that was killed is live at its start and unproven', async () => {
    const proof = await prove([program, 'die'], setting);
    expect(proof.images[0].settings[0].verdict).toBe('unproven');
    expect(whyNotLive(proof)).toContain('live at the start; its end was not seen: signal 9 ended it');
  });
});

describe('programs that it does not reach', () => {
  const setting = tunables({ mmap_threshold: 1048576 });

  test('a static program is not run, and called unproven: it may well read settings', async () => {
    const proof = await prove([static_program, 'nothing'], setting);
    expect(proof.spent).toBe(null);
    expect(whyNotLive(proof)).toContain('unproven: statically linked: it has no dynamic loader');
  });

  test('another C library is not run, and nothing is live in it', async () => {
    expect(whyNotLive(await prove([join(folder, 'settings-musl'), 'nothing'], setting))).toContain(
      'not live: not linked with glibc: its loader is /lib/ld-musl-x86_64.so.1',
    );
  });

  test.skipIf(process.getuid?.() !== 0)('a setuid program is named, alone and behind another', async () => {
    const other = join(folder, 'settings-setuid');
    copyFileSync(program, other);
    chownSync(other, 65534, 65534);
    chmodSync(other, 0o4755);
    expect(obstacleOf(other)).toMatchObject({ kind: 'secure' });
    expect(await verdicts([program, 'become', other, 'nothing'], setting)).toEqual([
      'settings mmap_threshold live',
      'settings-setuid mmap_threshold not live',
    ]);
    // The kernel and the loader think the same: the program did not see the library.
    const without = await prove([program, 'become', other, 'status'], setting);
    expect(without.images[1].malloc_path).toBe(null);
  });

  test.skipIf(!existsSync(libraryOf(allocators.jemalloc) ?? ''))(
    'where jemalloc serves malloc, its path is said',
    async () => {
      const jemalloc = libraryOf(allocators.jemalloc)!;
      const proof = await prove([program, 'nothing'], setting, { LD_PRELOAD: jemalloc });
      expect(whyNotLive(proof)).toContain(`not live: another allocator serves malloc: ${jemalloc}`);
    },
  );

  test('each program of a chain is told of, with who dropped the environment', async () => {
    const script = `${program} nothing; env -i ${program} nothing`;
    expect((await verdicts(['sh', '-c', script], setting)).sort()).toEqual(
      [
        `${shell()} mmap_threshold live`,
        'settings mmap_threshold live',
        'env mmap_threshold live',
        'settings mmap_threshold not live',
      ].sort(),
    );
    expect(whyNotLive(await prove(['env', '-i', program, 'nothing'], setting))).toMatch(
      /settings: .*its environment was dropped by .*\/env$/,
    );
  });

  test('a variable alone can be dropped, and by whom is said', async () => {
    const proof = await prove(['env', '-u', 'GLIBC_TUNABLES', program, 'nothing'], setting);
    expect(proof.images.map(({ settings }) => settings[0].verdict)).toEqual(['live', 'not live']);
    expect(whyNotLive(proof)).toMatch(/the setting is not in its environment: dropped by .*\/env$/);
  });

  test('a script is followed to its interpreter', async () => {
    const script = join(folder, 'script');
    writeFileSync(script, `#!${program} nothing\n`);
    chmodSync(script, 0o755);
    expect(interpreterOf(script)).toBe(program);
    expect(await verdicts([script], setting)).toEqual(live(['mmap_threshold']));
    writeFileSync(script, `#! ${static_program}\n`);
    expect(whyNotLive(await prove([script], setting))).toContain('settings-static: mmap_threshold=1048576 is unproven');
  });
});

describe('what glibc passes over without a word', () => {
  const of = (text: string) => readSettings({ GLIBC_TUNABLES: text });

  test.each([
    [
      'glibc.malloc.mmap_treshold=1',
      'glibc knows no such setting and ignores it without a word; wanted glibc.malloc.mmap_threshold?',
    ],
    ['glibc.mallc.top_pad=1', 'no setting of malloc'],
    ['glibc.malloc.nonsense=1', 'glibc knows no such setting and ignores it without a word'],
    ['mmap_threshold=1', 'glibc knows no such setting'],
    ['glibc.malloc.top_pad', '"glibc.malloc.top_pad" has no value'],
    ['glibc.malloc.top_pad=32M', 'read as 32, for glibc stops at the first character that is no digit'],
    ['glibc.malloc.top_pad=', 'read as 0'],
    ['glibc.malloc.perturb=256', 'ignored, for glibc takes 0 to 255'],
    ['glibc.malloc.arena_max=0', 'ignored, for glibc takes 1 to 2^64-1'],
    ['glibc.malloc.mmap_max=-1', 'ignored, for glibc takes 0 to 2147483647'],
    ['glibc.malloc.tcache_count=65536', 'ignored, for glibc takes 0 to 65535'],
    ['glibc.malloc.tcache_max=1033', 'ignored, for glibc takes 0 to 1032'],
    ['glibc.malloc.mxfast=161', 'ignored, for glibc takes 0 to 160'],
  ])('%s', (text, says) => {
    const { mistakes, notes } = of(text);
    expect([...mistakes, ...notes][0]).toContain(says);
  });

  test('out of range is ignored by glibc itself: the value is the usual one', async () => {
    const setting = tunables({ tcache_count: 7, tcache_max: 1032, mxfast: 128 });
    const wrong = tunables({ tcache_count: 65536, tcache_max: 1033, mxfast: 161 });
    const proof = await prove([program, 'nothing'], setting, wrong);
    expect(proof.images[0].settings.map(({ from }) => from)).toEqual([7, 1032, 128]);
  });

  test('numbers are read as glibc reads them', async () => {
    const texts = ['0x100000', '04000000', ' 1048576', '+1048576', '1048576kB'];
    expect(texts.map((text) => of(`glibc.malloc.mmap_threshold=${text}`).settings[0].value)).toEqual(
      texts.map(() => 1048576n),
    );
    for (const text of texts.slice(0, 3))
      expect(await verdicts([program, 'nothing'], tunables({ mmap_threshold: text }))).toEqual(
        live(['mmap_threshold']),
      );
  });

  test('a slip in the name of a variable is a mistake, a variable of another allocator is none', () => {
    expect(readSettings({ MALLOC_MMAP_THRESHOLD: '1' }).mistakes[0]).toContain('wanted MALLOC_MMAP_THRESHOLD_?');
    expect(readSettings({ MALLOC_ARENA_MAX_: '1' }).mistakes[0]).toContain('wanted MALLOC_ARENA_MAX?');
    expect(readSettings({ MALLOC_CONF: 'x', MALLOC_TRACE: 'x' }).mistakes).toEqual([]);
  });

  test('what is not set beside what is set stays where it is, and that is said', () => {
    expect(of('glibc.malloc.mmap_threshold=67108864').notes[0]).toContain('trim_threshold at 128 KiB');
    expect(of('glibc.malloc.tcache_count=3').notes).toEqual([]);
    expect(of('glibc.malloc.mmap_max=0:glibc.malloc.mmap_threshold=9').notes[1]).toContain('without effect');
  });

  test('check needs a library since 2.34', async () => {
    expect(whyNotLive(await prove([program, 'nothing'], tunables({ check: 3 })))).toContain('libc_malloc_debug.so.0');
  });
});

describe('the command', () => {
  test('says in one document what is live, and exits with 0', () => {
    const args = [
      'verify-setting',
      '--json',
      '--setting',
      'GLIBC_TUNABLES=glibc.malloc.top_pad=4096',
      '--',
      program,
      'environment',
    ];
    const { status, stdout, stderr } = hakmem(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: 'set\n' });
    expect(JSON.parse(stdout)).toMatchObject({
      program,
      setting: { GLIBC_TUNABLES: 'glibc.malloc.top_pad=4096' },
      verdict: 'live',
      mistakes: [],
      exit: 0,
      images: [
        {
          path: program,
          verdict: 'live',
          settings: [{ name: 'top_pad', value: 4096, verdict: 'live', from: 4096, to: 4096 }],
        },
      ],
    });
  });

  test('takes the setting of the environment, and exits with 1 for a misspelt one', () => {
    const { status, stdout } = hakmem(['verify-setting', '--', program, 'status'], {
      GLIBC_TUNABLES: 'glibc.malloc.topp_pad=4096',
    });
    expect(status).toBe(1);
    expect(stdout).toContain('mistake   glibc.malloc.topp_pad: glibc knows no such setting');
  });

  test.each([
    [['--', program, 'nothing'], 'no setting: found neither --setting nor GLIBC_TUNABLES'],
    [['--setting', 'mmap_threshold', '--', 'true'], '--setting: found "mmap_threshold", wanted NAME=value'],
    [['--setting', 'MALLOC_ARENA_MAX=1', '--', '/no/such'], '/no/such: no such program'],
  ])('exits with 2 for bad usage: %j', (args, says) => {
    const { status, stdout, stderr } = hakmem(['verify-setting', ...args]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(says);
    expect(stderr.trim().split('\n').length).toBe(1);
  });
});

function hakmem(args: readonly string[], environment: Record<string, string> = {}) {
  const { GLIBC_TUNABLES: _, ...inherited } = process.env;
  return spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), ...args], {
    encoding: 'utf8',
    cwd: folder,
    env: { ...inherited, ...environment },
    input: '',
  });
}

/** What /bin/sh is. */
function shell(): string {
  const { stdout } = spawnSync('readlink', ['-f', '/bin/sh'], { encoding: 'utf8' });
  return stdout.trim().replace(/.*\//, '');
}
