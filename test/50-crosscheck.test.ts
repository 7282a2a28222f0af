/** What finds differences: it must name the event and the field, and must not be blind. Cancelling, chunks, keys. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { probeProfile, replay as replayCore, replayReal } from '../native/index.ts';
import { configOf } from '../sim/config.ts';
import { replay, type Setup } from '../sim/replay.ts';
import { firstDifference, type Result } from '../sim/result.ts';
import { boundaries_bytes, default_profile, prices } from '../sim/spec.ts';
import { writeHak } from '../traces/file.ts';
import { SyntheticTrace, scenario_names } from '../traces/index.ts';
import { readScenario } from '../traces/scenario.ts';
import { copyChunk, type Trace } from '../traces/trace.ts';

const setup: Setup = {
  config: configOf('BALANCED', { checkpoint_events: 16 }),
  prices,
  profile: default_profile,
  touch: 'page',
  seed: 1,
};
const text = Array.from(
  { length: 40 },
  (_, at) => `alloc A${at} ${1 + (at % 5)}MiB\n${at % 3 > 0 ? `free A${at}\n` : ''}`,
).join('');
const { trace } = readScenario('crosscheck', text);
const events = trace.statistics.events;
const logged: Setup = { ...setup, log: { from: 0, to: events } };
const probed = probeProfile();
const temporary = mkdtempSync(join(tmpdir(), 'hakmem-crosscheck-'));
afterAll(() => rmSync(temporary, { recursive: true }));

/** A copy of a result with a change planted in it. */
function doctored(result: Result, change: (copy: Writable<Result>) => void): Result {
  const copy = structuredClone(result) as Writable<Result>;
  change(copy);
  return copy as Result;
}
type Writable<T> = { -readonly [name in keyof T]: Writable<T[name]> };

describe('the first difference', () => {
  const sim = replay(trace.chunks(), logged);

  test('is null for equal results', () => {
    expect(firstDifference(sim, structuredClone(sim), 'kernel')).toBeNull();
  });

  test('names event and field exactly where the log covers it', () => {
    const other = doctored(sim, (copy) => {
      copy.log[7].usable_bytes += 4096;
      copy.log[9].route = 'heap';
      copy.checkpoints[2].digest = 'f'.repeat(16);
    });
    expect(firstDifference(sim, other, 'decisions')).toEqual({
      event: 7,
      field: 'usable_bytes',
      sim: sim.log[7].usable_bytes,
      native: sim.log[7].usable_bytes + 4096,
    });
  });

  test('names an action within an event, and a missing one', () => {
    const at = sim.log.findIndex(({ actions }) => actions.length > 1);
    const moved = doctored(sim, (copy) => {
      copy.log[at].actions[1].offset_bytes += 4096;
    });
    expect(firstDifference(sim, moved, 'decisions')).toMatchObject({ event: at, field: 'actions.1.offset_bytes' });
    const fewer = doctored(sim, (copy) => {
      copy.log[at].actions.pop();
    });
    expect(firstDifference(sim, fewer, 'decisions')).toMatchObject({ event: at, native: undefined });
  });

  test('names the first checkpoint that shows it where there is no log', () => {
    const short = replay(trace.chunks(), setup);
    const other = doctored(short, (copy) => {
      copy.checkpoints[1].resident_bytes += 4096;
      copy.resident_bytes.end += 4096;
    });
    expect(firstDifference(short, other, 'kernel')).toMatchObject({ event: 31, field: 'checkpoint.resident_bytes' });
  });

  test('of what the kernel did does not count among decisions', () => {
    const other = doctored(sim, (copy) => {
      copy.faults += 1;
      copy.log[3].state.faults += 1;
    });
    expect(firstDifference(sim, other, 'decisions')).toBeNull();
    expect(firstDifference(sim, other, 'kernel')).toMatchObject({ event: 3, field: 'state.faults' });
  });

  test.each([
    [
      'events',
      (copy: Writable<Result>) => {
        copy.events += 1;
      },
    ],
    [
      'decision_digest',
      (copy: Writable<Result>) => {
        copy.decision_digest = '0'.repeat(16);
      },
    ],
    [
      'bigcache.hits',
      (copy: Writable<Result>) => {
        copy.bigcache.hits += 1;
      },
    ],
    [
      'batch.bytes_flushed',
      (copy: Writable<Result>) => {
        copy.batch.bytes_flushed += 1;
      },
    ],
    [
      'thermal.cold',
      (copy: Writable<Result>) => {
        copy.thermal.cold += 1;
      },
    ],
    [
      'kept.reused',
      (copy: Writable<Result>) => {
        copy.kept.reused += 1;
      },
    ],
    [
      'violation',
      (copy: Writable<Result>) => {
        copy.violation = { event: 1, rule: 'contents' };
      },
    ],
    [
      'syscalls.munmap',
      (copy: Writable<Result>) => {
        copy.syscalls.munmap += 1;
      },
    ],
    [
      'faults',
      (copy: Writable<Result>) => {
        copy.faults += 1;
      },
    ],
    [
      'huge_faults',
      (copy: Writable<Result>) => {
        copy.huge_faults = 12_345;
      },
    ],
    [
      'resident_bytes.peak',
      (copy: Writable<Result>) => {
        copy.resident_bytes.peak += 1;
      },
    ],
    [
      'mapped_bytes.end',
      (copy: Writable<Result>) => {
        copy.mapped_bytes.end += 1;
      },
    ],
    [
      'areas.end',
      (copy: Writable<Result>) => {
        copy.areas.end += 1;
      },
    ],
  ])('finds one planted in %s', (field, change) => {
    expect(firstDifference(sim, doctored(sim, change), 'kernel')).toMatchObject({ field });
  });

  test('a bug in one half alone is found, at its first event', async () => {
    const of = (cold_from_bytes: number): Setup => ({
      ...logged,
      config: configOf('BALANCED', { bigcache: 0, cold_from_bytes }),
    });
    const honest = replay(trace.chunks(), of(2 * 2 ** 20));
    const buggy = await replayCore(trace.chunks(), of(2 * 2 ** 20 + 1));
    const found = firstDifference(honest, buggy, 'decisions');
    const first = honest.log.findIndex(({ state }, at) => state.digest !== buggy.log[at].state.digest);
    expect(first).toBeGreaterThan(0);
    expect(found?.event).toBe(first);
  });
});

describe('both halves', () => {
  test('give results with the same keys, in every depth', async () => {
    const keys = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.slice(0, 1).map(keys)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .map(([name, inner]) => [name, keys(inner)])
                .sort(),
            )
          : null;
    const sim = replay(trace.chunks(), logged);
    expect(keys(await replayCore(trace.chunks(), logged))).toEqual(keys(sim));
    if (probed === null) return;
    const path = join(temporary, 'keys.hak');
    writeHak(path, trace.chunks(), { time: false, sites: true, touch: true }, () => trace.origin);
    const { result } = await replayReal(path, trace.chunks(), { ...logged, profile: probed });
    expect(Object.keys(result).sort()).toEqual(Object.keys(sim).sort());
    expect(keys(result.log)).toEqual(keys(sim.log));
  });

  test('carry the same log window, whatever its edges', async () => {
    for (const log of [
      { from: 0, to: 1 },
      { from: 5, to: 5 },
      { from: events - 1, to: events + 9 },
      { from: events, to: events + 1 },
    ]) {
      const sim = replay(trace.chunks(), { ...setup, log });
      expect((await replayCore(trace.chunks(), { ...setup, log })).log).toEqual(sim.log);
      expect(sim.log.map(({ event }) => event)).toEqual(
        Array.from({ length: events }, (_, at) => at).filter((at) => at >= log.from && at < log.to),
      );
    }
  });

  test.each([1, 2, 7, 1000])('over chunks of %i events come to what one chunk comes to', async (chunk_events) => {
    const chunked: Trace = readScenario('crosscheck', text, chunk_events).trace;
    const whole = replay(trace.chunks(), logged);
    expect(replay(chunked.chunks(), logged)).toEqual(whole);
    expect(await replayCore(chunked.chunks(), logged)).toEqual(whole);
  });

  test('of a trace of nothing agree', async () => {
    const sim = replay([], setup);
    expect(sim.events).toBe(0);
    expect(await replayCore([], setup)).toEqual(sim);
  });

  test.each(scenario_names)('agree on the generated trace %s', async (name) => {
    const generated = new SyntheticTrace(name, { events: 5000, seed: 7, boundaries_bytes });
    const chunks = [...generated.chunks()].map(copyChunk);
    expect(await replayCore(chunks, setup)).toEqual(replay(chunks, setup));
  });
});

describe('a native replay', () => {
  test('is cancelled midway, and the next one is not', async () => {
    const long = readScenario(
      'long',
      Array.from({ length: 3000 }, (_, at) => `alloc B${at} 2MiB\nfree B${at}`).join('\n'),
      100,
    ).trace;
    const abort = new AbortController();
    let last = 0;
    const cancelled = replayCore(
      long.chunks(),
      setup,
      (done) => {
        last = done;
        if (done >= 1000) abort.abort();
      },
      abort.signal,
    );
    await expect(cancelled).rejects.toMatchObject({ name: 'AbortError' });
    expect(last).toBe(1000);
    expect((await replayCore(long.chunks(), setup)).events).toBe(6000);
  });

  test('that is aborted before it starts does not start', async () => {
    await expect(replayCore(trace.chunks(), setup, undefined, AbortSignal.abort())).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  test.skipIf(probed === null)('on the real kernel is cancelled too', async () => {
    const path = join(temporary, 'cancel.hak');
    writeHak(path, trace.chunks(), { time: false, sites: true, touch: true }, () => trace.origin);
    const abort = new AbortController();
    const running = replayReal(path, trace.chunks(), { ...setup, profile: probed! }, { signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
  });

  test.skipIf(probed === null)('on the real kernel learns from the prices of its setup', async () => {
    const drift = new SyntheticTrace('drift', { events: 6000, seed: 3, boundaries_bytes });
    const path = join(temporary, 'drift.hak');
    writeHak(path, drift.chunks(), { time: false, sites: true, touch: false }, () => drift.origin);
    const config = configOf('LEARNING', { window_events: 500, window_samples: 8 });
    const learning = { ...setup, config, profile: probed! };
    const dear = { ...learning, prices: { ...prices, fault_ns: 12 * prices.fault_ns, fill_page_ns: 40 } };
    const decided = ({ decision_digest }: Result): string => decision_digest;
    expect(decided(replay(drift.chunks(), dear))).not.toBe(decided(replay(drift.chunks(), learning)));
    const { result } = await replayReal(path, drift.chunks(), dear);
    expect(decided(result)).toBe(decided(replay(drift.chunks(), dear)));
  });

  test('refuses columns that another thread cannot read', async () => {
    const chunk = { ...copyChunk(trace.chunks()[Symbol.iterator]().next().value!), op: new Uint8Array(4) };
    await expect(replayCore([chunk as never], setup)).rejects.toThrow(/SharedArrayBuffer/);
  });
});
