/** `hakmem bench`: what is made of the measurements, and the command around it. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import type { Circumstances, Contestant, Timing } from '../experiments/peers/contestants.ts';
import { sideBySide } from '../experiments/peers/side-by-side.ts';
import { openSubject } from '../experiments/peers/subjects.ts';
import { linesOf } from '../experiments/peers/table.ts';
import { allocator_names, allocators, libraryOf } from '../native/allocators.ts';

const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-bench-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const subject = openSubject('vm', 0, folder, { seed: 1, events: 100 });
const how: Circumstances = { threads: 'serial', steady_rounds: 2, seed: 1, signal: new AbortController().signal };

/** Takes what `times` says, round by round, twice that when it is cold. */
function made(name: string, times: readonly number[], asked: string[] = [], slow: readonly number[] = []): Contestant {
  const counts = { faults: 5, syscalls: { mmap: 2, brk: 1 }, resident_peak_bytes: 3e6, resident_mean_bytes: 2e6 };
  let round = 0;
  return {
    name,
    includes_bookkeeping: false,
    prove: async ({ events }) => ({
      library: `/lib/${name}.so`,
      version: '1.0',
      served_events: events,
      own_books: null,
      cold: counts,
      steady: { ...counts, faults: 0 },
    }),
    time: async (): Promise<Timing> => {
      asked.push(`${name} ${round}`);
      const ns = times[round] * 100;
      round += 1;
      return { cold_ns: 2 * ns, steady_ns: ns, slow: { cold: slow.includes(round - 1) ? 1 : 0, steady: 0 } };
    },
  };
}

function compare(contestants: readonly Contestant[], rounds: number, seed = 1) {
  return sideBySide({ ...how, seed, subjects: [subject], contestants, rounds, progress: () => undefined });
}

test('a scenario keeps its own length where that is shorter than what bench would take', () => {
  const events = (name: string, given?: number): number =>
    openSubject(name, 1, folder, { seed: 1, events: given }).events;
  expect(events('vm-cold')).toBe(20);
  expect(events('drift')).toBe(4000);
  expect(events('churn')).toBe(300);
  expect(events('vm-cold', 6)).toBe(6);
});

describe('what is made of times', () => {
  const steps = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

  test('nanoseconds an event, cold and steady apart, each median within its interval', async () => {
    const { cells } = await compare([made('glibc', steps)], 10);
    expect(cells.map(({ phase }) => phase)).toEqual(['cold', 'steady']);
    expect(cells.map(({ ns_per_event }) => ns_per_event.median)).toEqual([29, 14.5]);
    for (const { ns_per_event } of cells) {
      expect(ns_per_event.low).toBeLessThan(ns_per_event.median);
      expect(ns_per_event.high).toBeGreaterThan(ns_per_event.median);
    }
    expect(cells.map(({ faults }) => faults)).toEqual([5, 0]);
  });

  test('who takes three times as long has the ratio 3, and no width where every round agrees', async () => {
    const { ratios } = await compare(
      [
        made(
          'other',
          steps.map((ns) => 3 * ns),
        ),
        made('glibc', steps),
      ],
      10,
    );
    const other = ratios.find(({ allocator, phase }) => allocator === 'other' && phase === 'cold')!;
    expect(other).toMatchObject({ against: 'glibc', resident_mean: 1 });
    expect(other.time.median).toBeCloseTo(3);
    expect(other.time.high - other.time.low).toBeCloseTo(0);
    expect(ratios.find(({ allocator }) => allocator === 'glibc')!.time).toEqual({ median: 1, low: 1, high: 1 });
  });

  test('the first is the measure where glibc does not take part', async () => {
    const { ratios } = await compare([made('a', steps), made('b', steps)], 3);
    expect(new Set(ratios.map(({ against }) => against))).toEqual(new Set(['a']));
  });

  test('a cold round with a slow huge fault is left out for all, and its steady rounds stay', async () => {
    const hit = steps.map((ns, round) => (round === 4 ? 1000 : ns));
    const { cells } = await compare([made('glibc', steps), made('other', hit, [], [4])], 10);
    const found = Object.fromEntries(cells.map((cell) => [`${cell.allocator} ${cell.phase}`, cell]));
    expect(found['other cold']).toMatchObject({ timed_rounds: 9, slow_huge_faults_discarded: 1 });
    expect(found['glibc cold']).toMatchObject({ timed_rounds: 9, slow_huge_faults_discarded: 0 });
    expect(found['other cold'].ns_per_event.median).toBe(found['glibc cold'].ns_per_event.median);
    expect(found['other steady']).toMatchObject({ timed_rounds: 10, slow_huge_faults_discarded: 0 });
  });

  test('where most rounds were slow, none is left out', async () => {
    const { cells } = await compare([made('glibc', steps, [], [0, 1, 2, 3, 4, 5])], 10);
    expect(cells[0]).toMatchObject({ timed_rounds: 10, slow_huge_faults_discarded: 0 });
  });

  test('everyone runs once a round, in an order that changes with round and seed', async () => {
    const order = async (seed: number): Promise<string[]> => {
      const asked: string[] = [];
      await compare(
        ['a', 'b', 'c', 'd'].map((name) => made(name, steps, asked)),
        10,
        seed,
      );
      return asked;
    };
    const asked = await order(1);
    const rounds = Array.from({ length: 10 }, (_, round) => asked.slice(4 * round, 4 * round + 4));
    for (const [round, names] of rounds.entries())
      expect([...names].sort()).toEqual(['a', 'b', 'c', 'd'].map((name) => `${name} ${round}`));
    expect(new Set(rounds.map((names) => names.map((name) => name[0]).join())).size).toBeGreaterThan(1);
    expect(await order(1)).toEqual(asked);
    expect(await order(2)).not.toEqual(asked);
  });

  test('the table fits 120 columns, whatever the figures', async () => {
    const huge = steps.map((ns) => ns * 1e7);
    const result = await compare([made('hakmem-RESEARCH#2', huge), made('glibc', steps)], 10);
    const lines = linesOf(result, [subject], { threads: 'serial', rounds: 10 });
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(120);
    expect(lines.join('\n')).toContain('hakmem-RESEARCH#2: 100 of 100 events served');
    expect(lines.find((line) => /#2 +cold/.test(line))).toContain(' 290M ');
  });
});

function bench(...args: readonly string[]) {
  return spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), 'bench', '--no-prewarm', ...args], {
    encoding: 'utf8',
    cwd: folder,
    env: { ...process.env, TMPDIR: folder },
  });
}

const leftovers = (): string[] => readdirSync(folder).filter((name) => name.startsWith('hakmem-bench-'));

describe('the command', () => {
  test('--json has a cell for each allocator, subject and phase, and every event was served', () => {
    const names = allocator_names.filter((name) => libraryOf(allocators[name]) !== undefined);
    const list = [...names, 'hakmem-BALANCED'].join();
    const { status, stdout, stderr } = bench(
      'vm',
      'mixed',
      '--events',
      '60',
      '--rounds',
      '2',
      '--json',
      '--allocators',
      list,
    );
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const document = JSON.parse(stdout);
    expect(document).toMatchObject({ rounds: 2, threads: 'serial', left_out: [], prewarmed_bytes: 0 });
    expect(document.cells).toHaveLength(2 * (2 * names.length + 1));
    for (const cell of document.cells) {
      expect(cell.served_events).toBe(60);
      expect(cell.ns_per_event.low).toBeLessThanOrEqual(cell.ns_per_event.high);
      expect(cell.faults).toBeGreaterThanOrEqual(0);
      expect(cell.resident_peak_bytes).toBeGreaterThanOrEqual(cell.resident_mean_bytes);
      expect(cell.includes_bookkeeping).toBe(cell.allocator === 'hakmem-BALANCED');
      expect(cell).toHaveProperty('syscalls');
      expect(cell).toHaveProperty('version');
    }
    expect(document.ratios).toHaveLength(document.cells.length);
    for (const { against, time } of document.ratios.filter(
      ({ allocator }: { allocator: string }) => allocator === 'glibc',
    )) {
      expect(against).toBe('glibc');
      expect(time.low <= 1 && time.high >= 1).toBe(true);
    }
    const cold = document.cells.filter(({ phase }: { phase: string }) => phase === 'cold');
    for (const { subject: name, allocator, faults } of cold.filter(
      ({ subject: of }: { subject: string }) => of === 'vm',
    ))
      if (allocator !== 'hakmem-BALANCED') expect(faults, name).toBeGreaterThanOrEqual(512);
    expect(leftovers()).toEqual([]);
  });

  test.each([
    [['vm', '--allocators', 'glibc,dlmalloc'], /no allocator "dlmalloc"; there are glibc, jemalloc/],
    [['vm', '--allocators', 'hakmem-FASTER'], /hakmem-MODE, where MODE is MINIMAL/],
    [['vm', '--allocators', ' '], /found nothing, wanted some of glibc/],
    [['no-such-thing'], /no-such-thing: no such file/],
    [['vm', '--touch', 'some'], /unknown touch model "some"/],
    [['vm', '--rounds', '0'], /"0" is not a whole number from 1/],
  ])('%j: exit code 2, one line, nothing on stdout, nothing left', (args, words) => {
    const { status, stdout, stderr } = bench(...args);
    expect(stderr).toMatch(words);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(status).toBe(2);
    expect(leftovers()).toEqual([]);
  });

  test('Ctrl-C leaves no process and no file', async () => {
    const args = ['bench', 'json', '--rounds', '1000', '--no-prewarm', '--allocators', 'glibc', '--json'];
    const child = spawn(process.execPath, [join(root, 'bin', 'hakmem.js'), ...args], {
      env: { ...process.env, TMPDIR: folder },
    });
    let stdout = '';
    child.stdout.on('data', (text) => {
      stdout += text;
    });
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    const running = (): boolean => spawnSync('pgrep', ['-f', `hak-replayer ${folder}`]).status === 0;
    while (!running()) await sleep(20);
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(stdout).toBe('');
    expect(running()).toBe(false);
    expect(leftovers()).toEqual([]);
  });
});
