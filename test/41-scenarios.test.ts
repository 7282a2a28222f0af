/**
 * Every file in test/scenarios is a specification: the simulator, the C core and the real kernel each write what they did
 * beside the events, and the outcome must be the file itself. After a deliberate change: `npx vitest run -u`, then read
 * the diff.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { scenarioSetup } from '../experiments/scenario-setup.ts';
import { probeProfile, replay as replayCore, replayReal } from '../native/index.ts';
import { replay } from '../sim/replay.ts';
import { type Result, silentFeatures } from '../sim/result.ts';
import { type ParamName, param_names } from '../sim/spec.ts';
import { writeHak } from '../traces/file.ts';
import { open } from '../traces/index.ts';
import { readScenario } from '../traces/scenario.ts';
import { copyChunk, TraceError } from '../traces/trace.ts';
import { annotate } from './scenario-run.ts';

const folder = join(import.meta.dirname, 'scenarios');
const names = readdirSync(folder).filter((name) => name.endsWith('.txt'));
const probed = probeProfile();
const temporary = mkdtempSync(join(tmpdir(), 'hakmem-scenarios-'));
afterAll(() => rmSync(temporary, { recursive: true }));

describe.each(names)('%s', (name) => {
  const path = join(folder, name);
  const text = readFileSync(path, 'utf8');
  const { trace, lines } = readScenario(name, text);
  const setup = scenarioSetup(lines, trace.statistics.events, probed);

  test('simulator', async () => {
    await expect(annotate(lines, replay(trace.chunks(), setup))).toMatchFileSnapshot(path);
  });

  test('C core', async () => {
    await expect(annotate(lines, await replayCore(trace.chunks(), setup))).toMatchFileSnapshot(path);
  });

  const same_kernel = probed !== null && JSON.stringify(probed) === JSON.stringify(setup.profile);
  test.skipIf(!same_kernel)('real kernel', async () => {
    const hak = join(temporary, `${name}.hak`);
    writeHak(hak, trace.chunks(), { time: false, sites: true, touch: true }, () => trace.origin);
    const { result } = await replayReal(hak, trace.chunks(), setup);
    await expect(annotate(lines, result)).toMatchFileSnapshot(path);
  });

  test('opens as a trace of the same events', () => {
    const opened = [...open(path).chunks()].map(copyChunk);
    expect(opened).toEqual(trace.chunks());
  });
});

test('a slot looked at beyond the first costs probe_ns, in both halves', async () => {
  const cost = async (name: string, probe_ns: number): Promise<(number | null)[]> => {
    const { trace, lines } = readScenario(name, readFileSync(join(folder, `${name}.txt`), 'utf8'));
    const setup = scenarioSetup(lines, trace.statistics.events, null);
    const priced = { ...setup, prices: { ...setup.prices, probe_ns } };
    const core = await replayCore(trace.chunks(), priced);
    return [replay(trace.chunks(), priced).time_ns.total, core.time_ns.total];
  };
  // 14 looked at in 6 lookups and 3 puts; by hash, 9.
  const free = await cost('cache-slot-searched', 0);
  expect(await cost('cache-slot-searched', 1000)).toEqual(free.map((ns) => ns! + 5 * 1000));
  expect(await cost('cache-slot-by-hash', 1000)).toEqual(await cost('cache-slot-by-hash', 0));
});

describe('what is not a legal trace is refused with file and line', () => {
  test.each([
    ['free A', 'x.txt: line 1: free of A, which was never allocated'],
    ['alloc A 1\nfree A\nfree A', 'x.txt: line 3: free of A, which was freed before'],
    ['alloc A 1\nalloc A 2', 'x.txt: line 2: alloc of A, which is live'],
    ['realloc A 2', 'x.txt: line 1: realloc of A, which was never allocated'],
    ['alloc A', 'x.txt: line 1: found ""; wanted a size such as 3MiB, 1MiB-1 or 4097'],
    ['alloc A 1MB', 'x.txt: line 1: found "1MB"; wanted a size such as 3MiB, 1MiB-1 or 4097'],
    ['alloc A 1 sight 3', 'x.txt: line 1: found "sight 3"; wanted site N, align SIZE or touched PAGES'],
    ['alloc A 1 align 24', 'x.txt: line 1: an alignment of 24; wanted a power of two, of an alloc'],
  ])('%j', (text, message) => {
    expect(() => readScenario('x.txt', text)).toThrow(
      new TraceError('x.txt', message.slice(7).split(':')[0], message.split(': ').slice(2).join(': ')),
    );
  });
});

const flags: Readonly<Record<string, ParamName>> = {
  'bug-order': 'legacy_order',
  'bug-eviction-frees': 'legacy_eviction_frees',
  'bug-undersized': 'legacy_undersized',
  'bug-stale-advice-unmapped': 'legacy_stale_advice',
  'bug-stale-advice-live': 'legacy_stale_advice',
  'bug-unrated': 'legacy_unrated',
  'bug-header-page': 'legacy_header',
  'bug-header-page-small-pages': 'legacy_header',
};

describe('the bugs of the original', () => {
  test('each has a scenario that shows it and one that shows it gone', () => {
    const bugs = names.filter((name) => name.startsWith('bug-')).map((name) => name.replace(/\.txt$/, ''));
    expect(bugs.sort()).toEqual(
      Object.keys(flags)
        .flatMap((bug) => [`${bug}-fixed`, `${bug}-on`])
        .sort(),
    );
    const covered = new Set(Object.values(flags));
    expect(param_names.filter((name) => name.startsWith('legacy_') && !covered.has(name))).toEqual([]);
  });

  test.each(Object.entries(flags))('%s: with the fix undone, its scenario is another', (bug, flag) => {
    const path = join(folder, `${bug}-fixed.txt`);
    const { trace, lines } = readScenario(path, readFileSync(path, 'utf8'));
    const events = trace.statistics.events;
    const outcome = (value: number): string =>
      annotate(lines, replay(trace.chunks(), scenarioSetup(lines, events, probed, { [flag]: value })));
    expect(outcome(0)).toBe(readFileSync(path, 'utf8'));
    expect(outcome(1)).not.toBe(outcome(0));
  });

  test('liveness names the batch while nothing reaches it, and nothing once the fix is in', () => {
    const silent = (name: string): string[] => silentFeatures(run(name).liveness).map(({ feature }) => feature);
    expect(silent('bug-order-on')).toContain('batch');
    expect(silent('bug-eviction-frees-on')).toEqual(['batch']);
    expect(silent('bug-order-fixed')).toEqual([]);
    expect(silent('bug-eviction-frees-fixed')).toEqual([]);
  });

  test('order: every 2 MiB block from the heap with the bug, every one mapped without', () => {
    const routes = (name: string): Set<string> => {
      const allocations = run(name).log.filter((entry) => entry.op !== 'free');
      return new Set(allocations.map((entry) => (entry.route === 'heap' ? 'MALLOC' : 'MMAP')));
    };
    expect(routes('bug-order-on')).toEqual(new Set(['MALLOC']));
    expect(routes('bug-order-fixed')).toEqual(new Set(['MMAP']));
  });

  test('the log of the fix: one block of 2097152 bytes evicted, added, flushed', () => {
    const result = run('one-block-eviction');
    const evicted = result.log.flatMap(({ actions }) => actions).filter(({ name }) => name === 'evict');
    expect(evicted.map(({ bytes }) => `BigCache eviction: method=1 (MMAP), size=${bytes}`)).toEqual([
      'BigCache eviction: method=1 (MMAP), size=2097152',
    ]);
    const { added, flushes, bytes_flushed } = result.batch;
    expect({ added, flushes, bytes_flushed }).toEqual({ added: 1, flushes: 1, bytes_flushed: 2097152 });
    expect(added / flushes).toBe(1);
  });

  test.skipIf(probed === null)(
    'stale advice is caught by the real kernel itself where the policy trusts itself',
    async () => {
      const violation = async (name: string): Promise<string | undefined> => {
        const { trace, setup } = prepared(name);
        const hak = join(temporary, `${name}-trusting.hak`);
        writeHak(hak, trace.chunks(), { time: false, sites: true, touch: true }, () => trace.origin);
        return (await replayReal(hak, trace.chunks(), setup, { trust: true })).result.violation?.rule;
      };
      // ENOMEM: nothing is mapped there.
      expect(await violation('bug-stale-advice-unmapped-on')).toBe('kernel');
      expect(await violation('bug-stale-advice-unmapped-fixed')).toBeUndefined();
      // The advice succeeds, and throws away what the program wrote: its own check finds zeroes.
      expect(await violation('bug-stale-advice-live-on')).toBe('contents');
      expect(await violation('bug-stale-advice-live-fixed')).toBeUndefined();
    },
  );

  function prepared(name: string) {
    const { trace, lines } = readScenario(name, readFileSync(join(folder, `${name}.txt`), 'utf8'));
    return { trace, setup: scenarioSetup(lines, trace.statistics.events, probed) };
  }

  function run(name: string): Result {
    const { trace, setup } = prepared(name);
    return replay(trace.chunks(), setup);
  }
});
