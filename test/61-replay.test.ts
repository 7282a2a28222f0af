/** The commands replay, explain and doctor as a person or a script meets them. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { boundaries_bytes, default_profile, mode_names, param_names } from '../sim/index.ts';
import { SyntheticTrace, writeHak } from '../traces/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const edges = new SyntheticTrace('edges', { events: 800, seed: 5, boundaries_bytes });
const trace = join(folder, 'edges.hak');
writeHak(trace, edges.chunks(), { time: false, sites: true, touch: false }, () => edges.origin);

function hakmem(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('node', ['bin/hakmem.js', ...args], { encoding: 'utf8' });
}

// biome-ignore lint/suspicious/noExplicitAny: what a script sees is JSON
function json(...args: string[]): any {
  const { status, stdout, stderr } = hakmem(...args, '--json');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

describe('replay', () => {
  test('its words are coloured where asked and on terminals, in CI no more than elsewhere', () => {
    const { NO_COLOR: _no, FORCE_COLOR: _force, ...environment } = process.env;
    const verdict = (more: Record<string, string>): string | undefined =>
      /verdict: .*agree\S*/.exec(
        spawnSync('node', ['bin/hakmem.js', 'replay', trace], { encoding: 'utf8', env: { ...environment, ...more } })
          .stdout,
      )?.[0];
    expect(verdict({ CI: 'true' })).toBe('verdict: agree');
    expect(verdict({ FORCE_COLOR: '1' })).toBe('verdict: \x1b[32magree\x1b[39m');
    expect(verdict({ FORCE_COLOR: '1', NO_COLOR: '1' })).toBe('verdict: agree');
  });

  test('its document has every field that scripts rely on, and the verdict is agree', () => {
    const document = json('replay', trace);
    expect(document.trace).toMatchObject({ path: trace, events: 800, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(Object.keys(document.config).sort()).toEqual([...param_names].sort());
    expect(document).toMatchObject({
      mode: 'BALANCED',
      policy: 'hakmem',
      seed: 1,
      touch: 'page',
      spec_fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
      prices: { name: 'nominal', source: 'nominal' },
      kernel_profile: { page_bytes: 4096, source: 'probed' },
      check: {
        level: 'kernel',
        verdict: 'agree',
        first_difference: null,
        decisions_equal: true,
        syscalls_equal: true,
        faults_equal: true,
        resident_equal: true,
        time: null,
      },
    });
    for (const half of [document.sim, document.native]) {
      expect(Object.keys(half)).toEqual(
        expect.arrayContaining(
          'events decision_digest syscalls faults huge_faults resident_bytes mapped_bytes heap bigcache batch thermal kept learning time_ns latency_ns score liveness'.split(
            ' ',
          ),
        ),
      );
      expect(half.learning.ratings).toHaveLength(12);
    }
    expect(Object.keys(document.check.preconditions).length).toBeGreaterThan(5);
  });

  test.each(mode_names)('mode %s agrees with the real kernel, and the counted one decides alike', (mode) => {
    const real = json('replay', trace, '--mode', mode, '--touch', 'first');
    const counted = json('replay', trace, '--mode', mode, '--touch', 'first', '--check', 'decisions');
    expect(real.check.verdict).toBe('agree');
    expect(counted.check).toMatchObject({ level: 'decisions', verdict: 'agree', syscalls_equal: null });
    expect(counted.native.decision_digest).toBe(real.native.decision_digest);
    const learns = mode === 'LEARNING' || mode === 'RESEARCH';
    expect(real.sim.learning).toEqual(real.native.learning);
    expect(real.sim.learning.state).toBe(learns ? 'LEARN' : mode === 'MINIMAL' ? 'OFF' : 'FROZEN');
    expect(real.regret === null).toBe(!learns);
    if (learns) expect(real.regret.score).toBe(real.sim.score.total);
  });

  test('the same trace, config, seed and profile give the same digest, run for run', () => {
    const first = json('replay', trace, '--check', 'none');
    expect(json('replay', trace, '--check', 'none').sim.decision_digest).toBe(first.sim.decision_digest);
    expect(first.check.verdict).toBe('unchecked');
    expect(first.native).toBeNull();
  });

  test('foreign formats are replayed and checked without an import', () => {
    const text = join(folder, 'small.txt');
    writeFileSync(text, '1: malloc 0x10 3145728\n1: malloc 0x20 100\n2: free 0x10\n1: free 0x20\n');
    expect(json('replay', text)).toMatchObject({ check: { verdict: 'agree' }, sim: { events: 4 } });
  });

  test('prices of a file are used and said to be measured; a missing one is named', () => {
    const { sim } = json('replay', trace, '--check', 'none');
    const names =
      'heap_call_ns lookup_ns mmap_ns munmap_ns madvise_ns process_madvise_ns advise_huge_ns release_page_ns lazy_free_page_ns release_huge_ns fault_ns zero_fault_ns huge_fault_ns fill_page_ns'.split(
        ' ',
      );
    const prices = Object.fromEntries(names.map((name) => [name, 0]));
    const path = join(folder, 'prices.json');
    writeFileSync(path, JSON.stringify({ name: 'free', prices }));
    const free = json('replay', trace, '--check', 'none', '--prices', path);
    expect(free.prices).toMatchObject({ name: 'free', source: 'measured' });
    expect(free.sim.time_ns.total).toBe(0);
    expect(free.sim.decision_digest).toBe(sim.decision_digest);
    const { mmap_ns: _, ...without } = prices;
    writeFileSync(path, JSON.stringify({ prices: without }));
    const refused = hakmem('replay', trace, '--prices', path);
    expect(refused).toMatchObject({ status: 2, stdout: '' });
    expect(refused.stderr).toMatch(/prices\.json: prices\.mmap_ns/);
  });

  test('a profile that is not this kernel leaves a difference unchecked, never a disagreement', () => {
    const path = join(folder, 'profile.json');
    const profile = { ...default_profile, thp_kernel: 'never' };
    writeFileSync(path, JSON.stringify(profile));
    const { status, stdout, stderr } = hakmem('replay', trace, '--profile', path, '--json');
    expect(status).toBe(1);
    expect(stderr).toMatch(/^hakmem: unchecked: preconditions do not hold: profile/);
    const { check } = JSON.parse(stdout);
    expect(check).toMatchObject({ verdict: 'unchecked', decisions_equal: true });
    // Found again with a log in both halves: the very event, with both states.
    const { event, field, sim, native } = check.first_difference;
    expect(field).toMatch(/^state\./);
    expect(check.states.sim.event).toBe(event);
    expect(check.states.native.event).toBe(event);
    expect(check.states.sim.state[field.slice(6)]).toBe(sim);
    expect(check.states.native.state[field.slice(6)]).toBe(native);
  });

  test('a bug of the original stops the run by the name of its rule, exit code 1', () => {
    const vm = new SyntheticTrace('churn', { events: 400, seed: 1, boundaries_bytes });
    const path = join(folder, 'churn.hak');
    writeHak(path, vm.chunks(), { time: false, sites: true, touch: false }, () => vm.origin);
    const { status, stderr } = hakmem('replay', path, '--set', 'legacy_undersized=true');
    expect(status).toBe(1);
    expect(stderr).toMatch(/^hakmem: event \d+: the policy broke the rule undersized\n$/);
  });

  test('a feature that is on, had work and never acted fails the run by name', () => {
    const { status, stderr } = hakmem('replay', trace, '--set', 'legacy_order=true', '--check', 'none');
    expect(status).toBe(1);
    expect(stderr).toMatch(/liveness: batch is on, \d+ events were eligible, and it never acted/);
  });

  test.each([
    ['an unknown mode', ['--mode', 'SLOW'], /wanted one of MINIMAL FAST BALANCED LEARNING RESEARCH/],
    ['an unknown parameter', ['--set', 'frob=1'], /unknown parameter "frob"; known are mmap_threshold_bytes/],
    ['no value', ['--set', 'batch'], /"batch" is not a setting/],
    [
      'a value out of range',
      ['--set', 'bigcache_ways=0'],
      /bigcache_ways: found 0, wanted a whole number from 1 to 64/,
    ],
    ['a size that is none', ['--set', 'kept_bytes_max=lots'], /"lots" is not a size/],
    ['an unknown word', ['--set', 'thp_policy=maybe'], /thp_policy: found "maybe", wanted one of off on auto/],
    ['an unknown touch model', ['--touch', 'some'], /wanted one of none first page all recorded/],
    ['an unknown policy', ['--policy', 'tcmalloc'], /unknown policy "tcmalloc"/],
    ['an unknown level', ['--check', 'deeply'], /none, decisions, kernel, time/],
  ])('%s is one line, exit code 2 and nothing on stdout', (_, args, line) => {
    const { status, stdout, stderr } = hakmem('replay', trace, ...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(line);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});

describe('explain', () => {
  test('it gives the same chain from both halves', () => {
    const document = json('explain', trace, '700');
    expect(document.same).toBe(true);
    expect(document.sim).toEqual(document.native);
    expect(document.sim).toMatchObject({ event: 700, actions: expect.any(Array), state: expect.any(Object) });
  });

  test('an event beyond the trace is refused with the range', () => {
    const { status, stdout, stderr } = hakmem('explain', trace, '800');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/event 800: the trace has 800 events, 0 to 799/);
  });
});

test('doctor finds the compiler, the native core and the kernel profile', () => {
  const { findings } = json('doctor');
  const ok = Object.fromEntries(findings.map(({ name, ok: is }: { name: string; ok: boolean }) => [name, is]));
  expect(ok).toMatchObject({ cc: true, 'c++': true, make: true, 'native core': true, 'kernel profile': true });
});

describe('without a compiler', () => {
  const bare = join(folder, 'bare');
  const tools = join(folder, 'tools');
  mkdirSync(tools);
  for (const tool of ['node', 'sh', 'env'])
    symlinkSync(spawnSync('which', [tool], { encoding: 'utf8' }).stdout.trim(), join(tools, tool));
  const keep = (path: string): boolean => !path.includes('native/build');
  for (const part of [
    'bin',
    'dist',
    'traces',
    'sim',
    'native',
    'experiments',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
  ])
    cpSync(part, join(bare, part), { recursive: true, preserveTimestamps: true, filter: keep });
  symlinkSync(join(process.cwd(), 'node_modules'), join(bare, 'node_modules'));
  const run = (...args: string[]) =>
    spawnSync('node', ['bin/hakmem.js', ...args], { cwd: bare, encoding: 'utf8', env: { PATH: tools } });

  test('replay simulates, says in one line how to get one, and exits 1', () => {
    const { status, stdout, stderr } = run('replay', trace, '--json');
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^hakmem: unchecked: there is no C compiler here: install one \(Debian: apt-get install gcc g\+\+ make\)[^\n]*\n$/,
    );
    const document = JSON.parse(stdout);
    expect(document).toMatchObject({
      native: null,
      check: { verdict: 'unchecked' },
      kernel_profile: { source: 'default' },
    });
    expect(document.sim.events).toBe(800);
  });

  test('a check that was not asked for is not missed', () => {
    expect(run('replay', trace, '--check', 'none')).toMatchObject({ status: 0, stderr: '' });
    expect(readdirSync(join(bare, 'native'))).not.toContain('build');
  });
});

describe('the command line itself', () => {
  test.each([
    ['no command', [], /no command; wanted one of record generate import info [a-z -]+ replay explain [a-z -]+doctor/],
    ['an unknown command', ['replya'], /unknown command 'replya' \(Did you mean replay\?\)/],
    ['an unknown option', ['replay', trace, '--frob'], /unknown option '--frob'/],
    ['a directory', ['replay', folder], /a directory; wanted a trace file/],
  ])('%s is one line and exit code 2', (_, args, line) => {
    const { status, stdout, stderr } = hakmem(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(line);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
