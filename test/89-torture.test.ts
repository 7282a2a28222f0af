/**
 * The recorder on programs that make it hard: each counts what it allocates and frees, and prints it. Whatever it does,
 * it does the same with the recorder, and the trace of each of its processes has exactly the calls that it counted.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { open } from '../traces/index.ts';
import { op, type Trace } from '../traces/trace.ts';

const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-torture-'));
const program = join(folder, 'torture');
const plugins = join(folder, 'plugin.so');
/** Sizes that nobody but the program asks for, and its exit status: as in torture.c. */
const marked_bytes = 20001;
const marked_end_bytes = marked_bytes + 4000;
const own_status = 7;

function compile(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('cc', ['-O1', '-w', '-fno-builtin', ...args], {
    cwd: join(root, 'test', 'programs'),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
}

beforeAll(() => {
  compile('-shared', '-fPIC', '-o', join(folder, 'libearly.so'), 'torture_early.c');
  for (const copy of [0, 1, 2]) compile('-shared', '-fPIC', '-o', `${plugins}.${copy}`, 'torture_plugin.c');
  const library = ['-Wl,--no-as-needed', `-L${folder}`, '-learly', `-Wl,-rpath,${folder}`];
  compile('-pthread', '-rdynamic', '-o', program, 'torture.c', ...library);
});

afterAll(() => rmSync(folder, { recursive: true }));

interface Counts {
  readonly allocations: number;
  readonly frees: number;
  readonly bytes: number;
}

/** What a program prints: a line a process. */
function printed(text: string): Counts[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [allocations, frees, bytes] = line.split(' ').map(Number);
      return { allocations, frees, bytes };
    });
}

/** What a trace has of the marked sizes. Fails where an event is about a block that is not there, or there already. */
function countsOf(trace: Trace): Counts {
  const live = new Map<number, number>();
  const counts = { allocations: 0, frees: 0, bytes: 0 };
  for (const chunk of trace.chunks())
    for (let row = 0; row < chunk.length; row += 1) {
      const { op: kinds, object, size_bytes } = chunk;
      const before = live.get(object[row]);
      if ((before === undefined) !== kinds[row] < op.realloc) throw new Error(`event ${chunk.first_event + row}`);
      const is_marked = (size: number): boolean => size >= marked_bytes && size < marked_end_bytes;
      if (kinds[row] === op.free) {
        live.delete(object[row]);
        if (is_marked(before!)) counts.frees += 1;
        continue;
      }
      live.set(object[row], size_bytes[row]);
      if (!is_marked(size_bytes[row])) continue;
      counts.allocations += 1;
      counts.bytes += size_bytes[row];
    }
  return counts;
}

const inOrder = (all: readonly Counts[]): Counts[] =>
  all.toSorted((a, b) => a.bytes - b.bytes || a.allocations - b.allocations);

/** Records `command` and opens what came of it. */
function recorded(
  command: readonly string[],
  options: readonly string[] = [],
  environment: Record<string, string> = {},
) {
  const output = mkdtempSync(join(folder, 'out-'));
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, 'bin', 'hakmem.js'), 'record', '-o', join(output, 'x.hak'), ...options, '--', ...command],
    { encoding: 'utf8', cwd: folder, env: { ...process.env, ...environment } },
  );
  const traces = readdirSync(output).map((name) => open(join(output, name)));
  return { status, stdout, stderr, traces, main: traces[readdirSync(output).indexOf('x.hak')] };
}

/** Notes of what is not as it was: all that the recorder or its reader had to mend or to leave out. */
const mended = (trace: Trace): string[] =>
  trace.origin.notes.filter((note) => /missing|lost|not recorded|midst|dropped/.test(note));

describe('every process has its trace, with exactly the calls that it counted', () => {
  test.each([
    ['sixteen threads that free what another allocated', ['hand-over']],
    ['threads that fork, spawn and vfork while others allocate', ['fork-storm']],
    ['a chain of programs', ['exec-chain', '5']],
    ['a signal every 50 us, and jumps out of its handler', ['signals']],
    ['libraries that come and go in six threads, and allocate as they do', ['plugins', plugins]],
    ['two thousand threads, of the smallest stack, whose destructors allocate and free', ['short-threads']],
    ['full buffers on the smallest stack', ['small-stacks']],
    ['threads that are cancelled', ['cancels']],
  ])('%s', (_, mode) => {
    const bare = spawnSync(program, mode, { encoding: 'utf8' });
    const { traces, status, stdout, stderr } = recorded([program, ...mode]);
    expect(bare.status).toBe(own_status);
    expect({ status, stderr }).toEqual({ status: 0, stderr: `hakmem: ${program} exited with status ${own_status}\n` });
    expect(stdout.split('\n').length).toBe(bare.stdout.split('\n').length);
    const own = traces.filter((trace) => trace.origin.program === 'torture');
    expect(inOrder(own.map(countsOf))).toEqual(inOrder(printed(stdout)));
    for (const trace of own) {
      if (!trace.origin.notes.some((note) => note.includes('forked child'))) expect(mended(trace)).toEqual([]);
    }
  });
});

const stopped = /^hakmem: .*: Recording stopped early \((\w+)\): the rest is missing\.$/m;

/** The program is none the wiser, the trace is legal as far as it goes, and the recorder says that it stopped there. */
function isTheSameButStopped(
  command: readonly string[],
  reason: string,
  environment: Record<string, string> = {},
): void {
  const { traces, status, stdout, stderr } = recorded(command, [], environment);
  expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(/^\d+ \d+ \d+\n(?:7\n)?$/) });
  expect(stopped.exec(stderr)?.[1]).toBe(reason);
  expect(stderr).not.toMatch(/killed|could not be recorded/);
  const [whole] = printed(stdout);
  for (const trace of traces) {
    expect(countsOf(trace).allocations).toBeLessThan(whole.allocations);
    expect(trace.origin.dropped).toBe(0);
  }
}

describe('a program that leaves the recorder no room', () => {
  test('no more descriptors: it does what it does, and the recording stops', () =>
    isTheSameButStopped([program, 'few-files'], 'EMFILE'));

  test('files of 64 KiB at most: no signal of which it would die', () =>
    isTheSameButStopped([program, 'small-files'], 'EFBIG'));

  test('the same from its start, so that not even the first event has room', () =>
    isTheSameButStopped(['/bin/sh', '-c', `ulimit -f 20; ${program} rounds 3000; echo $?`], 'EFBIG'));

  test('no more address space: it may be recorded to its end or not, but it says which', () => {
    const { main, status, stdout, stderr } = recorded([program, 'small-space']);
    expect(status).toBe(0);
    const [whole] = printed(stdout);
    if (stopped.exec(stderr)?.[1] === 'ENOMEM') expect(countsOf(main).allocations).toBeLessThan(whole.allocations);
    else expect(countsOf(main)).toEqual(whole);
  });

  test('a full disk (skipped where none can be mounted)', (context) => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', disk]).status !== 0)
      context.skip('only root mounts a small disk');
    try {
      isTheSameButStopped([program, 'rounds', '100000'], 'ENOSPC', { TMPDIR: disk });
      isTheSameButStopped([program, 'small-stacks'], 'ENOSPC', { TMPDIR: disk });
      expect(readdirSync(disk)).toEqual([]);
    } finally {
      spawnSync('umount', [disk]);
    }
  });

  test('every descriptor closed, the standard ones too: it is recorded to its end', () => {
    const path = join(folder, 'closed');
    const { main } = recorded([program, 'closed', path]);
    expect([countsOf(main)]).toEqual(printed(readFileSync(path, 'utf8')));
    expect(mended(main)).toEqual([]);
  });
});

test('killed while sixteen threads allocate: all but the call that each was in is there', () => {
  for (const round of [1, 2]) {
    const path = join(folder, `killed-${round}`);
    const { main } = recorded([program, 'killed', path]);
    const counted = readFileSync(path);
    const { allocations, frees } = countsOf(main);
    const [began, ended] = [0, 8].map((at) => Number(counted.readBigInt64LE(at)));
    expect(ended).toBeGreaterThan(100);
    // An allocation is counted after it was made, a free before.
    expect(allocations - began).toBeGreaterThanOrEqual(0);
    expect(allocations - began).toBeLessThanOrEqual(16);
    expect(ended - frees).toBeGreaterThanOrEqual(0);
    expect(ended - frees).toBeLessThanOrEqual(16);
    expect(main.origin.process!.exit).toBe('signal 9');
    expect(main.origin.dropped).toBe(0);
  }
});
