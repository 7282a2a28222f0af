/** Two settings on a program or on traces: what is measured, what it decides, and that nothing is left running. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compareRuns, metric_names, type Run, together } from '../experiments/compare/metrics.ts';
import { parseSubject, subjectEnvironment } from '../experiments/subject-setting.ts';
import { allocators, libraryOf } from '../native/allocators.ts';
import { measureProgram } from '../native/measure.ts';

const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-compare-'));
const program = join(folder, 'compared');
const jemalloc = libraryOf(allocators.jemalloc) ?? '';

beforeAll(() => {
  const source = join(root, 'test', 'programs', 'settings.c');
  const { status, stderr } = spawnSync('cc', ['-O1', '-w', '-fno-builtin', '-pthread', source, '-o', program], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
});

afterAll(() => rmSync(folder, { recursive: true }));

function hakmem(...args: readonly string[]) {
  return spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), ...args], {
    encoding: 'utf8',
    cwd: folder,
    input: '',
    env: { ...process.env, TMPDIR: folder },
  });
}

/** Processes of the test's program, whoever started them. */
function running(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith(program);
      } catch {
        return false;
      }
    });
}

async function until(holds: () => boolean): Promise<boolean> {
  const deadline = performance.now() + 30_000;
  while (!holds() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  return holds();
}

describe('one run of a program', () => {
  test('its status, its faults and its memory are those of the program and its children', async () => {
    const alone = await measureProgram([program, 'payload', '20']);
    const child = await measureProgram(['sh', '-c', `${program} payload 20; exit 7`]);
    expect(alone).toMatchObject({ status: 0, signal: 0, left_running: 0 });
    expect(child).toMatchObject({ status: 7, signal: 0 });
    expect(alone.faults).toBeGreaterThan(256);
    expect(child.faults).toBeGreaterThan(alone.faults);
    expect(alone.resident_peak_bytes).toBeGreaterThan(2 ** 20);
    expect(alone.resident_floor_bytes).toBeLessThan(alone.resident_peak_bytes);
    expect(await measureProgram([program, 'die'])).toMatchObject({ signal: 9 });
  });

  test('equal outputs have equal digests, others have not', async () => {
    const digest = async (text: string) =>
      (await measureProgram(['sh', '-c', `printf '%s' "${text}"`], { output: 'hash' })).output_digest;
    expect(await digest('hello')).toBe(await digest('hello'));
    expect(await digest('hello')).not.toBe(await digest('hellp'));
    const large = await measureProgram(['head', '-c', '3000000', '/dev/zero'], { output: 'hash' });
    expect(large.output_bytes).toBe(3_000_000);
  });

  test('what a program leaves behind is killed, and counted', async () => {
    expect(await measureProgram([program, 'leave-behind'])).toMatchObject({ status: 0, left_running: 1 });
    expect(running()).toEqual([]);
  });

  test('an abort and a time limit end the program and all that it started', async () => {
    const interruption = new AbortController();
    const run = measureProgram([program, 'leave-behind', 'stay'], { signal: interruption.signal });
    expect(await until(() => running().length === 2)).toBe(true);
    interruption.abort(new Error('enough'));
    await expect(run).rejects.toThrow('enough');
    expect(running()).toEqual([]);
    await expect(measureProgram([program, 'leave-behind', 'stay'], { timeout_ms: 200 })).rejects.toThrow(/timeout/);
    expect(running()).toEqual([]);
  });

  test('a program that cannot be started is an error, not a run', async () => {
    await expect(measureProgram(['/no/such'])).rejects.toThrow('/no/such: cannot be run: No such file or directory');
  });
});

describe('settings as they are written', () => {
  test.each([
    ['default', 'glibc', {}],
    ['tcmalloc', 'tcmalloc', {}],
    ['GLIBC_TUNABLES=glibc.malloc.top_pad=0', 'glibc', { GLIBC_TUNABLES: 'glibc.malloc.top_pad=0' }],
    ['MALLOC_ARENA_MAX=2', 'glibc', { MALLOC_ARENA_MAX: '2' }],
    [
      'glibc:mmap_threshold=32M,trim_threshold=64M',
      'glibc',
      { GLIBC_TUNABLES: 'glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864' },
    ],
    ['jemalloc:dirty_decay_ms:0,narenas:1', 'jemalloc', { MALLOC_CONF: 'dirty_decay_ms:0,narenas:1' }],
    ['jemalloc:MALLOC_CONF=dirty_decay_ms:0', 'jemalloc', { MALLOC_CONF: 'dirty_decay_ms:0' }],
    ['MALLOC_CONF=narenas:1', 'jemalloc', { MALLOC_CONF: 'narenas:1' }],
    [
      'mimalloc:MIMALLOC_PURGE_DELAY=0,MIMALLOC_ARENA_EAGER_COMMIT=1',
      'mimalloc',
      { MIMALLOC_PURGE_DELAY: '0', MIMALLOC_ARENA_EAGER_COMMIT: '1' },
    ],
  ])('%s', (text, allocator, env) => {
    expect(parseSubject(text)).toEqual({ text, allocator, env });
  });

  test.each([
    ['jemallok', 'no setting or allocator'],
    ['glibc:mmap_threshold', 'wanted name=number'],
    ['glibc:mmap_treshold=1', 'wanted glibc.malloc.mmap_threshold?'],
    ['GLIBC_TUNABLES=glibc.malloc.top_pad=32M', 'read as 32'],
    ['glibc:tcache_count=70000', 'glibc takes 0 to 65535'],
    ['MALLOC_ARENA_MAX=2 MIMALLOC_PURGE_DELAY=0', "wanted one allocator's"],
    ['PATH=/bin', "PATH is no allocator's variable"],
    ['mimalloc:0', 'wanted variables of mimalloc'],
  ])('%s is refused', (text, says) => {
    expect(() => parseSubject(text)).toThrow(says);
  });

  test("a setting is alone in its program's environment", () => {
    const base = {
      GLIBC_TUNABLES: 'glibc.malloc.top_pad=1',
      MALLOC_ARENA_MAX: '1',
      MALLOC_CONF: 'x',
      MIMALLOC_X: '1',
      HOME: '/',
    };
    expect(subjectEnvironment(parseSubject('default'), base)).toEqual({ HOME: '/' });
    expect(subjectEnvironment(parseSubject('MALLOC_TOP_PAD_=5'), base)).toEqual({ HOME: '/', MALLOC_TOP_PAD_: '5' });
  });
});

describe('what is decided', () => {
  const run = (cpu_ns: number, faults: number, resident_peak_bytes: number): Run => ({
    cpu_ns,
    wall_ns: cpu_ns,
    faults,
    resident_peak_bytes,
  });
  const times = (count: number, each: Run): Run[] => Array.from({ length: count }, () => each);

  test('equal runs are undecidable and equal within any margin', () => {
    const metrics = compareRuns(times(5, run(10, 20, 30)), times(5, run(10, 20, 30)), 0, 1);
    for (const name of metric_names)
      expect(metrics[name]).toMatchObject({ verdict: 'undecidable', within_margin: true });
  });

  test('a difference counts beyond the margin alone', () => {
    const verdict = (faults: number, margin: number) =>
      compareRuns(times(5, run(10, 1000, 30)), times(5, run(10, faults, 30)), margin, 1).faults.verdict;
    expect([verdict(980, 0.01), verdict(995, 0.01), verdict(1020, 0.01), verdict(1005, 0.01)]).toEqual([
      'better',
      'undecidable',
      'worse',
      'undecidable',
    ]);
  });

  test('the score weighs a trade: 40 % CPU, 30 % faults, 30 % memory', () => {
    const metrics = compareRuns(times(3, run(100, 100, 100)), times(3, run(50, 100, 200)), 0.01, 1);
    expect(metrics.score.b.median).toBeCloseTo(0.4 * 0.5 + 0.3 + 0.3 * 2);
    expect(metrics.score.verdict).toBe('worse');
  });

  test('nothing of both is equal, and nothing of one is not', () => {
    const none = compareRuns(times(3, run(0, 0, 1)), times(3, run(0, 0, 1)), 0.01, 1);
    expect(none.faults).toMatchObject({ verdict: 'undecidable', within_margin: true });
    const better = compareRuns(times(3, run(1, 5, 1)), times(3, run(1, 0, 1)), 0.01, 1);
    expect(better.faults.verdict).toBe('better');
  });

  test('subjects that disagree decide nothing', () => {
    expect(together(['better', 'undecidable'])).toBe('better');
    expect(together(['worse', 'undecidable', 'worse'])).toBe('worse');
    expect(together(['better', 'worse'])).toBe('undecidable');
  });
});

describe('on a program', () => {
  const payload = (rounds: number) => ['--', program, 'payload', String(rounds)];

  test('one threshold pinned alone faults on every round', () => {
    const alone = hakmem('compare', 'default', 'glibc:mmap_threshold=64M', '--runs', '2', '--json', ...payload(100));
    expect(alone.status).toBe(0);
    const document = JSON.parse(alone.stdout);
    expect(document).toMatchObject({ a: 'default', b: 'glibc:mmap_threshold=64M', verdict: 'worse', differences: [] });
    const [{ subject, phase, runs, metrics, verdict }] = document.subjects;
    expect({ subject, phase, runs, verdict }).toEqual({
      subject: `${program} payload 100`,
      phase: null,
      runs: 2,
      verdict: 'worse',
    });
    expect(Object.keys(metrics)).toEqual([...metric_names]);
    for (const name of metric_names)
      expect(metrics[name]).toEqual({
        a: { median: expect.any(Number), low: expect.any(Number), high: expect.any(Number) },
        b: { median: expect.any(Number), low: expect.any(Number), high: expect.any(Number) },
        ratio: { median: expect.any(Number), low: expect.any(Number), high: expect.any(Number) },
        verdict: expect.stringMatching(/^(better|worse|undecidable)$/),
        within_margin: expect.any(Boolean),
      });
    // 128 KiB of the 1 MiB stay at the top; the rest, 224 pages and more, is given back and touched again.
    expect(metrics.faults.b.median - metrics.faults.a.median).toBeGreaterThan(98 * 224 - 256);
  });

  test('with its neighbour pinned too it faults no more', () => {
    const both = 'glibc:mmap_threshold=64M,trim_threshold=64M';
    const pinned = hakmem('compare', 'glibc:mmap_threshold=64M', both, '--runs', '2', '--json', ...payload(20));
    expect(JSON.parse(pinned.stdout).subjects[0].metrics.faults).toMatchObject({ verdict: 'better' });
  });

  test('a setting against itself is not told apart by faults', () => {
    const { status, stdout } = hakmem(
      'compare',
      'default',
      'glibc',
      '--runs',
      '5',
      '--margin',
      '3',
      '--json',
      ...payload(20),
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout).subjects[0].metrics.faults.verdict).toBe('undecidable');
  });

  test('what is expected makes the exit code, and words on stdout tell the rest', () => {
    const args = ['compare', 'glibc:mmap_threshold=64M', 'default', '--runs', '2'];
    const better = hakmem(...args, '--expect', 'better', ...payload(30));
    expect({ status: better.status, stderr: better.stderr }).toEqual({ status: 0, stderr: '' });
    expect(better.stdout).toMatch(/^default is better than glibc:mmap_threshold=64M \(better by .*faults/m);
    const worse = hakmem(
      'compare',
      'default',
      'glibc:mmap_threshold=64M',
      '--runs',
      '2',
      '--expect',
      'not-worse',
      ...payload(30),
    );
    expect(worse.status).toBe(1);
    expect(worse.stderr).toContain('glibc:mmap_threshold=64M is worse where not-worse was expected');
  });

  test('runs that print or end otherwise are told of, with exit code 1', () => {
    const args = ['compare', 'default', 'glibc:top_pad=4096', '--runs', '2', '--unproven', '--'];
    const status = hakmem(...args, program, 'status');
    expect(status.status).toBe(1);
    expect(status.stderr).toMatch(/runs ended differently: default: exit status 3.*exit status 4/);
    expect(hakmem(...args, program, 'environment').stderr).toMatch(/6 bytes of output .* 4 bytes of output/);
    expect(hakmem(args[0], '--output', 'discard', ...args.slice(1), program, 'environment').status).toBe(0);
  });

  test('a setting that is not live is refused before any run, unless one insists', () => {
    const args = ['compare', 'default', 'glibc:mmap_threshold=1M', '--runs', '2'];
    const { status, stdout, stderr } = hakmem(...args, '--', program, 'mallopt');
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain('mmap_threshold=1048576 is changed: overridden by mallopt(M_MMAP_THRESHOLD, 4194304)');
    expect(hakmem(...args, '--unproven', '--', program, 'mallopt').status).toBe(0);
  });

  test.skipIf(!existsSync(jemalloc))('an allocator is held to be the one that serves', () => {
    const { status, stdout } = hakmem(
      'compare',
      'glibc',
      'jemalloc',
      '--runs',
      '2',
      '--json',
      '--',
      program,
      'nothing',
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout).settings).toEqual({
      a: { allocator: 'glibc', env: {} },
      b: { allocator: 'jemalloc', env: {} },
    });
    const dropped = hakmem('compare', 'glibc', 'jemalloc', '--', 'env', '-u', 'LD_PRELOAD', program, 'nothing');
    expect(dropped.status).toBe(1);
  });

  test('Ctrl-C says so, and leaves no process', async () => {
    const script = join(root, 'bin', 'hakmem.js');
    const child = spawn(process.execPath, [
      script,
      'compare',
      'default',
      'glibc',
      '--',
      program,
      'leave-behind',
      'stay',
    ]);
    let words = '';
    child.stderr.on('data', (part) => {
      words += part;
    });
    const closed = new Promise((resolve) => child.once('close', resolve));
    expect(await until(() => running().length >= 2)).toBe(true);
    child.kill('SIGINT');
    expect(await closed).toBe(130);
    expect(words).toBe('hakmem: interrupted after 0 of 22 runs; nothing was decided\n');
    expect(await until(() => running().length === 0)).toBe(true);
  });

  test('a killed comparison leaves no process either', async () => {
    const script = join(root, 'bin', 'hakmem.js');
    const args = [script, 'compare', '--unproven', 'default', 'glibc', '--', program, 'leave-behind', 'stay'];
    const child = spawn(process.execPath, args, { stdio: 'ignore' });
    expect(await until(() => running().length >= 2)).toBe(true);
    child.kill('SIGKILL');
    expect(await until(() => running().length === 0)).toBe(true);
  });

  test.each([
    [['compare', 'default', 'glibc'], 'nothing to compare on; wanted traces, or -- PROGRAM ARG...'],
    [['compare', 'default', 'glibc', 'x.hak', '--', 'true'], 'found traces (x.hak) and a program (true)'],
    [['compare', 'default', 'glibc', '--', '/no/such'], '/no/such: no such program'],
  ])('exits with 2 for bad usage: %j', (args, says) => {
    const { status, stdout, stderr } = hakmem(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(says);
  });
});

describe('on traces', () => {
  test('both phases of a trace are subjects, whatever its format', () => {
    const trace = join(root, 'test', 'scenarios', 'touch-all.txt');
    const { status, stdout } = hakmem('compare', 'default', 'glibc:top_pad=0', '--runs', '2', '--json', trace);
    expect(status).toBe(0);
    const { subjects } = JSON.parse(stdout);
    expect(subjects.map(({ subject, phase }: { subject: string; phase: string }) => [subject, phase])).toEqual([
      [trace, 'cold'],
      [trace, 'steady'],
    ]);
    expect(subjects[0].metrics.faults.a.median).toBeGreaterThan(0);
    expect(readdirSync(folder)).toEqual(['compared']);
  });
});
