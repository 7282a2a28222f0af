/** Allocators that people run as policies of a replay: settings, what is checked, refusals. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { compared } from '../experiments/peers/held.ts';
import { type Held, peer_policies } from '../experiments/peers/policies.ts';
import { allocators, libraryOf } from '../native/allocators.ts';
import { op, open, originOf, SyntheticTrace, TraceBuilder, writeHak } from '../traces/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-peer-policy-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const sample = 'traces/samples/python-json.hak';

function hakmem(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['bin/hakmem.js', ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

function replayed(...args: string[]) {
  const { status, stdout, stderr } = hakmem('replay', sample, '--json', ...args);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return JSON.parse(stdout);
}

test('a replay under glibc is held to the library: every block, every call, every fault', () => {
  const { policy, sim, native, check } = replayed('--policy', 'glibc');
  expect(policy).toBe('glibc');
  expect(check).toMatchObject({ verdict: 'agree', decisions_equal: true, faults_equal: true, first_difference: null });
  expect(native.faults).toBe(sim.faults);
  for (const name of ['mmap', 'munmap', 'mremap', 'brk'])
    if (native.syscalls !== null) expect([name, native.syscalls[name]]).toEqual([name, sim.syscalls[name]]);
  expect(sim.resident_bytes.peak).toBeGreaterThan(open(sample).statistics.peak_live_bytes / 2);
  expect(sim.time_ns.allocate + sim.time_ns.calls + sim.time_ns.fault).toBe(sim.time_ns.total);
});

test('what threads took of the heap before the trace is known without asking the library', () => {
  const path = join(folder, 'threads.hak');
  const builder = new TraceBuilder();
  // The first block ends within the heap's second page, unless two threads that were made before it lie below it.
  builder.allocate(op.malloc, 0, 7000, { touched_pages: 2 });
  for (const thread of [1, 2]) builder.allocate(op.malloc, thread, 24, { thread, touched_pages: 1 });
  writeHak(path, builder.finish(), { time: false, sites: false, touch: true }, () => originOf('generated', {}));
  const under = (check: string) =>
    JSON.parse(hakmem('replay', path, '--json', '--policy', 'glibc', '--check', check).stdout);
  const held = under('kernel');
  expect(held.check.verdict).toBe('agree');
  expect(under('none').sim).toEqual(held.sim);
});

test('equal replays have equal digests, another setting another, and a setting is what would be pasted', () => {
  const once = replayed('--policy', 'glibc', '--check', 'none');
  const again = replayed('--policy', 'glibc', '--check', 'none');
  expect(again.sim).toEqual(once.sim);
  expect(once.config.setting).toBe('');
  const pinned = replayed('--policy', 'glibc', '--check', 'none', '--set', 'glibc_trim_threshold_bytes=64MiB');
  expect(pinned.config.setting).toBe('GLIBC_TUNABLES=glibc.malloc.trim_threshold=67108864');
  expect(pinned.sim.decision_digest).not.toBe(once.sim.decision_digest);
  expect(pinned.sim.faults).not.toBe(once.sim.faults);
});

test('with --time the layer fills times and latencies in, and the causes sum up to the threads’ time', () => {
  const { sim, time } = replayed('--policy', 'glibc', '--check', 'none', '--time');
  const causes = Object.values(time.by_cause as Record<string, number>).reduce((sum, ns) => sum + ns, 0);
  expect(causes).toBe(time.threads_ns);
  expect(sim.latency_ns.max).toBeGreaterThanOrEqual(sim.latency_ns.p50);
});

test.each([
  [['--set', 'glibc_foo=1'], /^hakmem: glibc_foo: no parameter of glibc; wanted one of glibc_mmap_threshold_bytes /],
  [
    ['--set', 'glibc_mmap_max=99999999999'],
    /^hakmem: glibc_mmap_max: found 99999999999, wanted from 0 to 2147483647$/m,
  ],
  [['--mode', 'FAST'], /^hakmem: --mode: found it with --policy glibc, wanted none$/m],
  [['--check', 'decisions'], /^hakmem: --check decisions: of glibc there are none, kernel and time$/m],
])('%j is refused in one line', (args, words) => {
  const { status, stdout, stderr } = hakmem('replay', sample, '--policy', 'glibc', ...args);
  expect(stderr).toMatch(words);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect([status, stdout]).toEqual([2, '']);
});

test('a trace beyond the model is refused by name, not answered', () => {
  const path = join(folder, 'huge.hak');
  const builder = new TraceBuilder();
  builder.allocate(op.malloc, 1, 2 ** 45, { touched_pages: 1 });
  builder.free(1);
  writeHak(path, builder.finish(), { time: false, sites: false, touch: true }, () => originOf('generated', {}));
  const { status, stderr } = hakmem('replay', path, '--policy', 'glibc', '--check', 'none');
  expect(stderr).toMatch(/^hakmem: .*huge\.hak: a block of \d+ bytes is beyond the model of glibc$/m);
  expect(status).toBe(2);
});

test('every parameter of every policy has a range, and its least and most can be set', () => {
  for (const { name, parameters, configured } of peer_policies)
    for (const parameter of parameters) {
      expect(parameter.name.startsWith(`${name}_`)).toBe(true);
      expect(parameter.min).toBeLessThan(parameter.max);
      const [least, most] = [parameter.min, parameter.max].map(
        (value) => configured(new Map([[parameter.name, value]])).setting,
      );
      expect(least).not.toBe('');
      expect(most).not.toBe(least);
    }
});

const large = join(folder, 'large.hak');
const churn = new SyntheticTrace('churn', { events: 300, seed: 5, boundaries_bytes: [] });
writeHak(large, churn.chunks(), { time: false, sites: false, touch: false }, () => churn.origin);

test.each(['jemalloc', 'mimalloc'] as const)(
  'a replay of large blocks under %s is held to it by one clock, within what the model promises',
  (name) => {
    if (libraryOf(allocators[name]) === undefined) return;
    const { status, stdout } = hakmem('replay', large, '--json', '--policy', name);
    const { check, sim, native } = JSON.parse(stdout);
    expect(check).toMatchObject({ verdict: 'agree', tolerance: 0.05, faults_equal: true });
    expect(Math.abs(sim.faults - native.faults)).toBeLessThanOrEqual(Math.max(40, 0.05 * native.faults));
    expect(status).toBe(0);
  },
);

test('where a model promises nothing and counts differ, the replay is unchecked and says why', () => {
  const held = { faults: 1000, peak: 1 << 24 };
  expect(verdictOf({ ...held, real_faults: 1000, unpromised: null })).toBe('agree');
  expect(verdictOf({ ...held, real_faults: 2000, unpromised: null })).toBe('differ');
  expect(verdictOf({ ...held, real_faults: 2000, unpromised: 'chance' })).toBe('unchecked');
  expect(verdictOf({ ...held, real_faults: 1000, unpromised: 'chance' })).toBe('agree');
});

function verdictOf(of: { faults: number; real_faults: number; peak: number; unpromised: string | null }): string {
  const held = {
    model: { faults: of.faults, resident_bytes: { peak: of.peak } },
    real: { faults: of.real_faults, resident_peak_bytes: of.peak, syscalls: null },
    first_difference: null,
    tolerance: 0.05,
    unpromised: of.unpromised,
  } as unknown as Held;
  return compared('kernel', held).verdict;
}

test('of jemalloc keeping everything is found where memory is no matter, and has fewer faults for real', () => {
  if (libraryOf(allocators.jemalloc) === undefined) return;
  const few = ['--memory-more', '900', '--rounds', '1', '--axis', 'jemalloc_dirty_decay_ms=10000,-1'];
  const { stdout, stderr } = hakmem('tune', large, '--json', '--target', 'jemalloc', ...few);
  const { target, best, predicted, verified, baseline, unchecked } = JSON.parse(stdout);
  expect([stderr, unchecked, target]).toEqual(['', null, 'jemalloc']);
  expect(best).toEqual({ jemalloc_dirty_decay_ms: -1 });
  expect(verified.check).toBe('agree');
  expect(verified.faults).toBeLessThan(baseline.faults);
  expect(Math.abs(verified.faults - predicted.faults)).toBeLessThanOrEqual(Math.max(40, 0.05 * predicted.faults));
});

test.each([
  [
    ['--target', 'jemalloc', '--axis', 'jemalloc_foo=1'],
    /^hakmem: --axis jemalloc_foo: unknown; wanted one of jemalloc_/,
  ],
  [['--target', 'jemalloc', '--engine', 'replay'], /^hakmem: --engine replay: of jemalloc there is sim alone$/m],
  [['--target', 'mimalloc', '--mode', 'FAST'], /^hakmem: --target mimalloc: --mode, --set and --policy are of hakmem/],
])('tune %j is refused in one line', (args, words) => {
  const { status, stdout, stderr } = hakmem('tune', large, ...args);
  expect(stderr).toMatch(words);
  expect([status, stdout]).toEqual([2, '']);
});
