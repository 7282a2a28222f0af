/** The replayer: real allocators serve exactly the events of a trace, and what is counted is of those events alone. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AllocatorName, allocator_names, allocators, libraryOf } from '../native/allocators.ts';
import { type ReplayerOptions, replayer_path, runReplayer } from '../native/replayer.ts';
import { writeHak } from '../traces/file.ts';
import { op, originOf, TraceBuilder } from '../traces/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-replayer-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const KiB = 1024;
const present = allocator_names.filter((name) => libraryOf(allocators[name]) !== undefined);
const absent = allocator_names.filter((name) => !present.includes(name));
const has_strace = spawnSync('strace', ['-V']).status === 0;
const teller = join(folder, 'teller.so');
const bystander = join(folder, 'bystander.so');

type Step =
  | readonly [kind: 'malloc' | 'calloc' | 'realloc', name: number, size_bytes: number, thread?: number]
  | readonly [kind: 'aligned', name: number, size_bytes: number, thread: number, align: number]
  | readonly [kind: 'free', name: number, thread?: number];

let written = 0;

function traceOf(steps: readonly Step[]): string {
  const builder = new TraceBuilder(4096);
  for (const step of steps) {
    if (step[0] === 'free') builder.free(step[1], { thread: step[2] ?? 0 });
    else if (step[0] === 'realloc') builder.reallocate(step[1], step[1], step[2], { thread: step[3] ?? 0 });
    else builder.allocate(op[step[0]], step[1], step[2], { thread: step[3] ?? 0, align: step[4] ?? 0 });
  }
  written += 1;
  const path = join(folder, `${written}.hak`);
  writeHak(path, builder.finish(), { time: false, sites: false, touch: false }, () => originOf('generated', {}));
  return path;
}

/** Every operation, small and mapped, on three threads, with blocks left over. */
const variety: Step[] = [
  ['malloc', 1, 24, 5],
  ['calloc', 2, 300 * KiB, 5],
  ['aligned', 3, 5000, 7, 4096],
  ['realloc', 1, 70 * KiB, 7],
  ['malloc', 4, 0, 5],
  ['free', 2, 9],
  ['aligned', 5, 3, 9, 1],
  ['realloc', 3, 100, 5],
  ['calloc', 2, 1, 7],
  ['free', 4, 9],
  ['malloc', 6, 2048 * KiB, 5],
  ['free', 5, 5],
];

interface Logged {
  readonly address: number;
  readonly usable_bytes: number;
  readonly flags: number;
  readonly brk: number;
  readonly faults: number;
}

async function logged(path: string, allocator: AllocatorName, more: Partial<ReplayerOptions> = {}) {
  const log = join(folder, 'log');
  const run = await runReplayer(path, { allocator, touch: 'page', ...more, log });
  const bytes = readFileSync(log);
  const word = (at: number): number => Number(bytes.readBigUInt64LE(at * 8));
  const header_words = 8;
  const entry_words = 5;
  const entries: Logged[] = Array.from({ length: word(1) }, (_, event) => {
    const [address, usable_bytes, flags, brk, faults] = [0, 1, 2, 3, 4].map((at) =>
      word(header_words + event * entry_words + at),
    );
    return { address, usable_bytes, flags, brk, faults };
  });
  return { run, bytes, entries, magic: bytes.toString('latin1', 0, 8), first: word(3), threads: word(4) };
}

/** What the teller saw of the replay: all after the last malloc(1) that is freed at once, the start of every replay. */
async function told(path: string, threads: ReplayerOptions['threads']) {
  const file = join(folder, 'told');
  await runReplayer(path, {
    allocator: 'glibc',
    threads: threads!,
    touch: 'none',
    bare: true,
    env: { LD_PRELOAD: teller, TELLER_FILE: file },
  });
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  const start = lines.findIndex((line, at) => /m 1$/.test(line) && /f 1$/.test(lines[at + 1]));
  return lines.slice(start + 2).map((line) => {
    const [thread, kind, bytes] = line.split(' ');
    return { thread, call: `${kind} ${bytes}` };
  });
}

/** The calls that `steps` stand for. A free is told with the bytes of its block. */
function callsOf(steps: readonly Step[]): string[] {
  const size = new Map<number, number>();
  return steps.map((step) => {
    const call = step[0] === 'free' ? `f ${size.get(step[1])}` : `${step[0][0]} ${step[2]}`;
    if (step[0] !== 'free') size.set(step[1], step[2]);
    return call;
  });
}

const threadOf = (step: Step): number => (step[0] === 'free' ? (step[2] ?? 0) : (step[3] ?? 0));

beforeAll(() => {
  const compile = (args: readonly string[], input = ''): void => {
    const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-fno-builtin', '-O1', '-w', ...args], {
      encoding: 'utf8',
      input,
    });
    if (status !== 0) throw new Error(stderr);
  };
  compile(['-o', teller, join(import.meta.dirname, 'programs', 'teller.c')]);
  compile(['-o', bystander, '-x', 'c', '-'], 'int answer(void) { return 42; }');
});

describe.each(present)('%s', (allocator) => {
  test('serves every event, and its own books know of what is left', async () => {
    const run = await runReplayer(traceOf(variety), { allocator, touch: 'page' });
    expect(run.unserved).toBeNull();
    expect(run.served_events).toBe(variety.length);
    expect(run.trace).toMatchObject({ events: variety.length, threads: 3, leftover_blocks: 4 });
    const left = 70 * KiB + 100 + 1 + 2048 * KiB;
    expect(run.own_books?.requested_bytes).toBe(left);
    expect(run.own_books?.live_bytes).toBeGreaterThanOrEqual(left);
    expect(run.own_books?.live_bytes).toBeLessThan(left + 4096 * KiB);
    const library = libraryOf(allocators[allocator]);
    expect(run.allocator.path).toMatch(library ?? /libc\.so/);
    expect(run.allocator.version).toMatch(/^\D*\d+\.\d+/);
  });

  test.each(['serial', 'one'] as const)('never lets two live blocks overlap, with threads %s', async (threads) => {
    await fc.assert(
      fc.asyncProperty(random_steps, async (steps) => {
        const { run, entries } = await logged(traceOf(steps), allocator, { threads });
        expect(run.served_events).toBe(steps.length);
        const live = new Map<number, Logged>();
        let faults = 0;
        for (const [event, step] of steps.entries()) {
          const entry = entries[event];
          expect(entry.faults).toBeGreaterThanOrEqual(faults);
          faults = entry.faults;
          live.delete(step[1]);
          if (step[0] === 'free') {
            expect(entry.address).toBe(0);
            continue;
          }
          expect(entry.usable_bytes).toBeGreaterThanOrEqual(step[2]);
          if (step[0] === 'aligned') expect(entry.address % step[4]).toBe(0);
          for (const other of live.values())
            expect(
              entry.address + Math.max(1, step[2]) <= other.address ||
                other.address + Math.max(1, other.usable_bytes) <= entry.address,
            ).toBe(true);
          live.set(step[1], entry);
        }
        expect(faults).toBe(run.rounds[0].faults);
      }),
      { numRuns: 3 },
    );
  });

  test('runs freely with threads recorded, and still serves every event, round after round', async () => {
    const run = await runReplayer(traceOf(crossing(400)), { allocator, threads: 'recorded', touch: 'page', rounds: 3 });
    expect(run.served_events).toBe(400);
    expect(run.rounds.map(({ checked }) => checked)).toEqual([true, false, false]);
  });
});

describe.skipIf(absent.length === 0)(`not installed here: ${absent.join(', ')}`, () => {
  test.each(absent)('%s is refused with the command that installs it', async (allocator) => {
    await expect(runReplayer(traceOf(variety), { allocator })).rejects.toThrow(/apt-get install/);
  });
});

/** Blocks are made on one thread and freed on the next. */
function crossing(events: number): Step[] {
  return Array.from({ length: events }, (_, at): Step => {
    const name = at >> 1;
    return at % 2 === 0 ? ['malloc', name, 100 + (at % 50) * 90, name % 3] : ['free', name, (name + 1) % 3];
  });
}

const sizes = fc.oneof(
  fc.nat({ max: 200 }),
  fc.nat({ max: 9000 }),
  fc.constantFrom(131_047, 131_048, 131_072, 600 * KiB),
);
const random_steps = fc
  .array(
    fc.record({
      kind: fc.constantFrom('malloc', 'calloc', 'aligned', 'realloc', 'free', 'free'),
      size_bytes: sizes,
      pick: fc.nat(),
      thread: fc.nat({ max: 3 }),
      align_log2: fc.integer({ min: 0, max: 13 }),
    }),
    { minLength: 1, maxLength: 120 },
  )
  .map((intents) => {
    const live: number[] = [];
    return intents.map(({ kind, size_bytes, pick, thread, align_log2 }, name): Step => {
      const at = live.length === 0 ? -1 : pick % live.length;
      if (kind === 'free' && at >= 0) return ['free', live.splice(at, 1)[0], thread];
      if (kind === 'realloc' && at >= 0) return ['realloc', live[at], Math.max(1, size_bytes), thread];
      live.push(name);
      if (kind === 'aligned') return ['aligned', name, size_bytes, thread, 2 ** align_log2];
      return [kind === 'calloc' ? 'calloc' : 'malloc', name, size_bytes, thread];
    });
  });

describe('order and threads, as an allocator of our own sees them', () => {
  test('serial: every call in the order of the trace, each trace thread on a thread of its own', async () => {
    const steps = [...variety, ...crossing(100).map(([kind, name, ...rest]) => [kind, name + 100, ...rest] as Step)];
    const seen = await told(traceOf(steps), 'serial');
    expect(seen.slice(0, steps.length).map(({ call }) => call)).toEqual(callsOf(steps));
    const pairs = new Set(steps.map((step, at) => `${threadOf(step)} on ${seen[at].thread}`));
    expect(pairs.size).toBe(new Set(steps.map(threadOf)).size);
    expect(new Set(steps.map((_, at) => seen[at].thread)).size).toBe(pairs.size);
  });

  test('one: every call in the order of the trace, on one thread', async () => {
    const seen = await told(traceOf(variety), 'one');
    expect(seen.slice(0, variety.length).map(({ call }) => call)).toEqual(callsOf(variety));
    expect(new Set(seen.map(({ thread }) => thread)).size).toBe(1);
  });

  test('recorded: each thread makes its own calls in order, and no free comes before its malloc', async () => {
    const steps = crossing(300);
    const seen = (await told(traceOf(steps), 'recorded')).slice(0, steps.length);
    const calls = callsOf(steps);
    expect(seen.map(({ call }) => call).sort()).toEqual([...calls].sort());
    const by_thread = (of: readonly { thread: string | number; call: string }[]): string[] => {
      const parts = new Map<string | number, string[]>();
      for (const { thread, call } of of) parts.set(thread, [...(parts.get(thread) ?? []), call]);
      return [...parts.values()].map((part) => part.join()).sort();
    };
    expect(by_thread(seen)).toEqual(by_thread(steps.map((step, at) => ({ thread: threadOf(step), call: calls[at] }))));
  });
});

describe('counts', () => {
  test('the same trace twice under glibc: the same faults, system calls and addresses', async () => {
    const path = traceOf(
      crossing(2000).concat([
        ['malloc', 5000, 300 * KiB],
        ['free', 5000],
      ]),
    );
    const once = await logged(path, 'glibc', { threads: 'one' });
    const again = await logged(path, 'glibc', { threads: 'one' });
    expect(once.magic).toBe('HAKPLOG1');
    expect(again.run.rounds[0].faults).toBe(once.run.rounds[0].faults);
    expect(again.run.rounds[0].syscalls).toEqual(once.run.rounds[0].syscalls);
    // A container may not let addresses be fixed: then they lie alike from the first block on.
    if (once.run.fixed_addresses) expect(again.bytes.equals(once.bytes)).toBe(true);
    else expect(again.entries[0].address - again.first).toBe(once.entries[0].address - once.first);
  });

  test('glibc maps what its top cannot hold from its threshold on, and the log says so', async () => {
    const { entries, run } = await logged(
      traceOf([
        ['malloc', 1, 200 * KiB],
        ['malloc', 2, 100],
        ['free', 1],
      ]),
      'glibc',
    );
    expect(entries.map(({ flags }) => flags)).toEqual([1, 0, 0]);
    if (run.rounds[0].syscalls !== null) expect(run.rounds[0].syscalls).toMatchObject({ mmap: 1, munmap: 1 });
    const never = await logged(traceOf([['malloc', 1, 200 * KiB]]), 'glibc', {
      env: { GLIBC_TUNABLES: 'glibc.malloc.mmap_max=0' },
    });
    expect(never.entries[0].flags).toBe(0);
  });

  test('a block that another arena gave is marked, one of the main arena is not', async () => {
    const { entries } = await logged(
      traceOf([
        ['malloc', 1, 100, 0],
        ['malloc', 2, 100, 1],
      ]),
      'glibc',
    );
    expect(entries.map(({ flags }) => flags)).toEqual([0, 2]);
  });

  test('cold faults are at least the pages touched and live at once, and without touches nearly none', async () => {
    const steps = Array.from({ length: 5 }, (_, at): Step => ['malloc', at, 100 * 4096]);
    const path = traceOf(steps);
    const faults = async (touch: ReplayerOptions['touch']): Promise<number> =>
      (await runReplayer(path, { allocator: 'glibc', touch: touch! })).rounds[0].faults;
    const [none, first, page, all] = [
      await faults('none'),
      await faults('first'),
      await faults('page'),
      await faults('all'),
    ];
    expect(page).toBeGreaterThanOrEqual(500);
    expect(all).toBe(page);
    expect(none).toBeLessThanOrEqual(10);
    expect(first).toBe(none);
  });

  test('what fits the page that the start has touched costs no fault, by any operation', async () => {
    const small: Step[] = [
      ['malloc', 1, 24],
      ['calloc', 2, 40],
      ['aligned', 3, 50, 0, 64],
      ['realloc', 1, 200],
      ['free', 2],
      ['free', 3],
    ];
    const { rounds } = await runReplayer(traceOf(small), { allocator: 'glibc', touch: 'page' });
    expect(rounds[0].faults).toBe(0);
    const mapped = await runReplayer(traceOf([['malloc', 1, 300 * KiB]]), { allocator: 'glibc', touch: 'none' });
    expect(mapped.rounds[0].faults).toBe(1);
  });

  test("a library's own data is touched before: an allocator that serves from it faults no more", async () => {
    const env = { LD_PRELOAD: teller, TELLER_FILE: join(folder, 'told') };
    const { rounds } = await runReplayer(traceOf(variety), { allocator: 'glibc', touch: 'page', env });
    expect(rounds[0].faults).toBe(0);
  });

  test('a trace without events costs nothing', async () => {
    const { rounds, served_events } = await runReplayer(traceOf([]), { allocator: 'glibc', rounds: 2 });
    expect(served_events).toBe(0);
    expect(rounds.map(({ faults }) => faults)).toEqual([0, 0]);
  });

  test('what is left over is freed between rounds: memory does not grow with them', async () => {
    const path = traceOf(Array.from({ length: 64 }, (_, at): Step => ['malloc', at, 40_000]));
    const { rounds } = await runReplayer(path, { allocator: 'glibc', touch: 'page', rounds: 4 });
    const [first, ...later] = rounds.map(({ resident_peak_bytes }) => resident_peak_bytes);
    expect(first).toBeGreaterThanOrEqual(64 * 36_864);
    for (const peak of later) expect(peak).toBeLessThan(first * 1.2);
  });

  test('a bare run checks and counts nothing', async () => {
    const { served_events, rounds } = await runReplayer(traceOf(variety), { allocator: 'glibc', bare: true });
    expect(served_events).toBeNull();
    expect(rounds[0]).toMatchObject({ checked: false, syscalls: null, samples: 0, resident_mean_bytes: null });
  });

  test.skipIf(!has_strace)('strace sees as many more calls than of an empty trace as are counted inside', async () => {
    const path = traceOf([
      ...Array.from({ length: 40 }, (_, at): Step => ['malloc', at, 200 * KiB]),
      ...Array.from({ length: 40 }, (_, at): Step => ['malloc', 100 + at, 50 * KiB]),
      ['realloc', 0, 900 * KiB],
    ]);
    const { rounds } = await runReplayer(path, { allocator: 'glibc', touch: 'none' });
    if (rounds[0].syscalls === null) return expect(process.getuid!()).not.toBe(0);
    const [with_events, without] = [seenByStrace(path), seenByStrace(traceOf([]))];
    for (const kind of ['mmap', 'munmap', 'mremap', 'brk', 'madvise'] as const)
      expect(with_events(kind) - without(kind), kind).toBe(rounds[0].syscalls[kind]);
    expect(rounds[0].syscalls.mmap).toBe(40);
    expect(rounds[0].syscalls.mremap).toBe(1);
  });
});

function seenByStrace(path: string): (kind: string) => number {
  const out = join(folder, 'strace');
  spawnSync('strace', ['-f', '-o', out, replayer_path, path, '--touch', 'none'], { env: { PATH: '/usr/bin:/bin' } });
  const text = readFileSync(out, 'utf8');
  return (kind) => [...text.matchAll(new RegExp(`^\\d+\\s+${kind}\\(`, 'gm'))].length;
}

describe('refusals', () => {
  test('a library that is no allocator leaves glibc to serve, and asking for another is then refused', async () => {
    const run = await runReplayer(traceOf(variety), { allocator: 'glibc', env: { LD_PRELOAD: bystander } });
    expect(run.allocator.path).toMatch(/libc\.so/);
    for (const allocator of present.filter((name) => name !== 'glibc'))
      await expect(runReplayer(traceOf(variety), { allocator, env: { LD_PRELOAD: bystander } })).rejects.toThrow(
        /libc\.so\S* serves malloc; wanted/,
      );
  });

  test.each([
    ['a file cut short', () => readFileSync(traceOf(variety)).subarray(0, 100), /the file ends here/],
    ['a file that is no trace', () => Buffer.alloc(200, 'x'), /not a \.hak file/],
    [
      'a flipped byte',
      () => readFileSync(traceOf(variety)).map((byte, at) => (at === 110 ? byte ^ 1 : byte)),
      /checksum/,
    ],
  ])('%s: exit code 2, one line, no document', (_, make, words) => {
    const path = join(folder, 'bad.hak');
    writeFileSync(path, make());
    const { status, stdout, stderr } = spawnSync(replayer_path, [path], { encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(words);
    expect(stderr).toContain(path);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test.each([
    ['--touch', 'some'],
    ['--threads', 'two'],
    ['--rounds', '0'],
    ['--nothing', '1'],
  ])('%s %s: exit code 2 and one line', (option, value) => {
    const { status, stderr } = spawnSync(replayer_path, [traceOf(variety), option, value], { encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(option);
  });

  test('an abort ends the child', async () => {
    const controller = new AbortController();
    const path = traceOf(crossing(2000));
    const run = runReplayer(path, { allocator: 'glibc', rounds: 100_000, signal: controller.signal });
    setTimeout(() => controller.abort(), 200);
    await expect(run).rejects.toMatchObject({ name: 'AbortError' });
    expect(spawnSync('pgrep', ['-f', `hak-replayer ${path}`]).status).not.toBe(0);
  });
});
