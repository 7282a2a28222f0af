/**
 * The time layer: locks, timers and processors by themselves; then clocks over traces, with hakmem's policy, with the model of
 * glibc, and with scripted allocators whose every nanosecond is known.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { configOf } from '../sim/config.ts';
import { touchIndex } from '../sim/kernel/touch.ts';
import { Glibc, glibc_machine } from '../sim/peers/glibc.ts';
import { call, call_names, Meter } from '../sim/peers/meter.ts';
import { replayPeer } from '../sim/peers/replay.ts';
import { replay, type Setup } from '../sim/replay.ts';
import { boundaries_bytes, type Config, default_profile, type Prices, prices } from '../sim/spec.ts';
import { cause_names } from '../sim/time/causes.ts';
import { Course, points_max } from '../sim/time/course.ts';
import { classOf, size_class_names } from '../sim/time/latencies.ts';
import { Lock } from '../sim/time/locks.ts';
import { Machine, type MachineSetup, nominal_machine } from '../sim/time/machine.ts';
import { MeteredPages } from '../sim/time/metered.ts';
import { perturb } from '../sim/time/perturb.ts';
import { Orders } from '../sim/time/perturbed.ts';
import { type CurveName, curve_names, curveFrom, type PriceCurves } from '../sim/time/prices.ts';
import { Processors } from '../sim/time/processors.ts';
import { type Timed, type TimeSetup, timed, timedHakmem, timedPeer } from '../sim/time/timed.ts';
import { Timers } from '../sim/time/timers.ts';
import { HakmemWork, type TimedPeer } from '../sim/time/work.ts';
import { type Chunk, op, originOf, SyntheticTrace, TraceBuilder, writeHak } from '../traces/index.ts';
import { anyIntents, anyTouch, anyUsualConfig, legalTrace } from './arbitrary.ts';

const runs = Number(process.env.HAKMEM_RUNS ?? 40);
const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-time-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function timeSetup(machine: Partial<MachineSetup> = {}, more: Partial<TimeSetup> = {}): TimeSetup {
  return {
    prices: { flat: prices, curves: curveFrom(prices) },
    machine: { ...nominal_machine, ...machine },
    memory_limit_bytes: Number.POSITIVE_INFINITY,
    ...more,
  };
}

function setupOf(config: Config = configOf('BALANCED'), touch: Setup['touch'] = 'page'): Setup {
  return { config, prices, profile: default_profile, touch, seed: 1 };
}

const makeGlibc = (): Glibc => new Glibc({}, glibc_machine, touchIndex('page'));
const sumOf = ({ by_cause }: Timed): number => Object.values(by_cause).reduce((sum, ns) => sum + ns, 0);

/** A trace's events spread over threads and time: each by a draw of its own. */
interface Spread {
  readonly thread: number;
  readonly gap_ns: number;
}
const anySpread: fc.Arbitrary<Spread[]> = fc.array(
  fc.record({ thread: fc.nat(3), gap_ns: fc.oneof(fc.nat(300), fc.nat(20_000), fc.nat(2_000_000)) }),
  { minLength: 1, maxLength: 60 },
);

function spreadOut(chunks: Chunk[], spread: readonly Spread[]): Chunk[] {
  let time_ns = 0;
  let event = 0;
  for (const chunk of chunks)
    for (let row = 0; row < chunk.length; row += 1) {
      const { thread, gap_ns } = spread[event % spread.length];
      time_ns += gap_ns;
      chunk.thread[row] = thread;
      chunk.time_ns[row] = time_ns;
      event += 1;
    }
  return chunks;
}

const anyThreaded = fc.tuple(anyIntents, anySpread).map(([intents, spread]) => spreadOut(legalTrace(intents), spread));

const anyMachine: fc.Arbitrary<MachineSetup> = fc.record({
  processors: fc.constantFrom(1, 2, 3, Number.POSITIVE_INFINITY),
  faults_lock_area: fc.boolean(),
  advice_locks_area: fc.boolean(),
  shootdown_ns: fc.constantFrom(0, 5400),
  interrupted_ns: fc.constantFrom(0, 700),
  reclaim_page_ns: fc.constantFrom(0, 180),
  recorded_call_ns: fc.constantFrom(0, 20, 5000),
  busy_permille: fc.constantFrom(1000, 500, 0),
  quiet_after_ns: fc.constantFrom(0, 10_000, Number.POSITIVE_INFINITY),
  thinks: fc.boolean(),
});

describe('a lock', () => {
  test('is held by writers in the order in which they asked, by readers together', () => {
    const lock = new Lock();
    expect(lock.acquire(0, 10, true)).toBe(0);
    expect(lock.acquire(2, 10, true)).toBe(10);
    expect(lock.acquire(3, 5, false)).toBe(20);
    expect(lock.acquire(4, 50, false)).toBe(20);
    expect(lock.acquire(5, 1, true)).toBe(70);
    expect(lock.acquire(100, 1, true)).toBe(100);
  });

  test('goes to someone who asked earlier than its holder, told later, where that fits before', () => {
    const lock = new Lock();
    lock.acquire(100, 10, true);
    expect(lock.acquire(50, 50, true)).toBe(50);
    expect(lock.acquire(20, 31, true)).toBe(110);
    expect(lock.acquire(20, 30, false)).toBe(141);
  });

  test('is never held twice at once where one of the two writes', () => {
    const anyAsk = fc.record({ asked: fc.nat(500), hold: fc.integer({ min: 1, max: 60 }), write: fc.boolean() });
    fc.assert(
      fc.property(fc.array(anyAsk, { maxLength: 40 }), (asks) => {
        const lock = new Lock();
        const held = asks.map(({ asked, hold, write }) => ({ from: lock.acquire(asked, hold, write), hold, write }));
        for (const [at, a] of held.entries()) {
          expect(a.from).toBeGreaterThanOrEqual(asks[at].asked);
          for (const b of held.slice(0, at))
            if (a.write || b.write) expect(a.from >= b.from + b.hold || b.from >= a.from + a.hold).toBe(true);
        }
      }),
      { numRuns: runs * 3 },
    );
  });
});

test('no more threads work at once than there are processors, and one that could begin at once does', () => {
  const anyWork = fc.record({ ready: fc.nat(300), work: fc.integer({ min: 1, max: 60 }) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(anyWork, { maxLength: 30 }), (count, works) => {
      const processors = new Processors(count);
      const spans = works.map(({ ready, work }) => {
        const from = processors.begin(ready, work);
        return { ready, from, to: from + work };
      });
      for (const [at, { ready, from }] of spans.entries()) {
        expect(spans.filter((other) => other.from <= from && from < other.to).length).toBeLessThanOrEqual(count);
        const before = spans.slice(0, at);
        if (before.every(({ to }) => to <= ready)) expect(from).toBe(ready);
      }
    }),
    { numRuns: runs * 3 },
  );
});

test('timers are due in the order of their times, those of one time in the order of their ranks', () => {
  const anyTimer = fc.tuple(fc.nat(20), fc.nat(3));
  fc.assert(
    fc.property(fc.array(anyTimer, { maxLength: 80 }), (all) => {
      const timers = new Timers();
      for (const [id, [due_ns, rank]] of all.entries()) timers.add(due_ns, id, rank * 1000 + id);
      const taken: number[] = [];
      while (timers.next_ns < Number.POSITIVE_INFINITY) {
        const { next_ns } = timers;
        const id = timers.take();
        expect(all[id][0]).toBe(next_ns);
        taken.push(id);
      }
      const sorted = all.map((_, id) => id).sort((a, b) => all[a][0] - all[b][0] || all[a][1] - all[b][1] || a - b);
      expect(taken).toEqual(sorted);
    }),
    { numRuns: runs * 3 },
  );
});

test('size classes change at their bounds, and there is a name for each', () => {
  expect([0, 1023, 1024, 32 * 1024, 512 * 1024 - 1, 512 * 1024, 2 * MiB - 1, 2 * MiB].map(classOf)).toEqual([
    0, 0, 1, 2, 2, 3, 3, 4,
  ]);
  expect(size_class_names.length).toBe(5);
});

test('a course keeps its first and its last point and at most 257 in between, however long it gets', () => {
  const course = new Course();
  const point = (time_ns: number) => ({ time_ns, live_bytes: 1, resident_bytes: 1, lazy_bytes: 0, huge_bytes: 0 });
  for (let at = 0; at < 5000; at += 1) if (at * 700 >= course.due_ns) course.add(point(at * 700));
  const points = course.finish(point(3_500_000));
  expect(points.length).toBeLessThanOrEqual(points_max);
  expect(points[0].time_ns).toBe(0);
  expect(points.at(-1)!.time_ns).toBe(3_500_000);
  for (const [at, { time_ns }] of points.entries()) if (at > 0) expect(time_ns).toBeGreaterThan(points[at - 1].time_ns);
});

describe('the policy of hakmem, metered', () => {
  test('decides as it does without a meter, and at flat prices costs to the nanosecond the same', () => {
    fc.assert(
      fc.property(anyIntents, anyUsualConfig, anyTouch, (intents, config, touch) => {
        const chunks = legalTrace(intents);
        const setup = setupOf(config, touch);
        const plain = replay(chunks, setup);
        fc.pre(plain.violation === null);
        const works: HakmemWork[] = [];
        const result = timed(chunks, () => works[works.push(new HakmemWork(setup)) - 1], timeSetup({ thinks: false }));
        expect(works[0].digest).toBe(plain.decision_digest);
        expect(result.cpu_ns).toBe(plain.time_ns.total);
        expect(result.run_ns).toBe(plain.time_ns.total);
        expect(result.time_ns.fault).toBe(plain.time_ns.fault);
      }),
      { numRuns: runs },
    );
  });

  test('tells huge pages from small ones, given and given back', () => {
    const meter = new Meter();
    const pages = new MeteredPages(default_profile, prices, meter);
    pages.map(0, 1024);
    pages.adviseHuge(0, 1024);
    pages.touch(0, 1024);
    expect(meter).toMatchObject({ faults: 0, huge_faults: 2, calls: 2 });
    pages.unmap(0, 600);
    expect([meter.call[2], meter.pages[2], meter.huge_pages[2]]).toEqual([call.munmap, 88, 1]);
  });

  test('loses the oldest lazily free pages first, and none that was written since', () => {
    const meter = new Meter();
    const pages = new MeteredPages(default_profile, prices, meter);
    pages.map(0, 300);
    pages.touch(0, 300);
    for (const start of [0, 100, 200]) pages.free(start, 100);
    pages.touch(0, 1);
    expect(pages.lazy_pages).toBe(200);
    meter.begin();
    expect(pages.reclaim(1)).toBe(100);
    expect([pages.lazy_pages, pages.resident_pages, meter.reclaimed_pages]).toEqual([100, 200, 100]);
    const faultsOf = (start: number): number => {
      const { faults } = pages;
      pages.touch(start, 100);
      return pages.faults - faults;
    };
    expect([0, 100, 200].map(faultsOf)).toEqual([0, 100, 0]);
    expect(pages.reclaim(1)).toBe(0);
    expect(pages.syscalls.madvise_dontneed).toBe(0);
  });
});

test('at flat prices the model of glibc costs the same with and without clocks, but for parts of pages that are filled', () => {
  fc.assert(
    fc.property(anyIntents, (intents) => {
      const chunks = legalTrace(intents);
      const flat = replayPeer(chunks, makeGlibc(), { prices, checkpoint_events: 1000 });
      const { cpu_ns, by_cause, resident_bytes } = timedPeer(chunks, makeGlibc, timeSetup({ thinks: false }));
      const filled_ns = by_cause.copy + by_cause.clear;
      expect(by_cause.fault + by_cause.zero_fault).toBe(flat.time_ns.fault);
      expect(cpu_ns - filled_ns - by_cause.library - by_cause.fault - by_cause.zero_fault).toBe(flat.time_ns.calls);
      expect(resident_bytes.peak).toBe(flat.resident_bytes.peak);
    }),
    { numRuns: runs },
  );
});

describe('whatever the trace, the threads and the machine', () => {
  test('the causes sum up to the time of all threads, and equal traces take equal times', () => {
    fc.assert(
      fc.property(anyThreaded, anyMachine, (chunks, machine) => {
        for (const serve of [
          () => timedHakmem(chunks, setupOf(), timeSetup(machine)),
          () => timedPeer(chunks, makeGlibc, timeSetup(machine)),
        ]) {
          const result = serve();
          expect(sumOf(result)).toBe(result.threads_ns);
          for (const [name, ns] of Object.entries(result.by_cause)) {
            expect(Number.isSafeInteger(ns), name).toBe(true);
            expect(ns, name).toBeGreaterThanOrEqual(0);
          }
          expect(result.latency.reduce((sum, { events }) => sum + events, 0)).toBe(result.events);
          expect(serve()).toEqual(result);
        }
      }),
      { numRuns: runs },
    );
  });

  test('with one thread a run is thinking and the work of the allocator, and nobody waits', () => {
    fc.assert(
      fc.property(anyIntents, anySpread, anyMachine, (intents, spread, machine) => {
        const chunks = spreadOut(
          legalTrace(intents),
          spread.map((each) => ({ ...each, thread: 0 })),
        );
        const { run_ns, cpu_ns, by_cause, threads_ns, time_ns } = timedPeer(chunks, makeGlibc, timeSetup(machine));
        expect(run_ns).toBe(by_cause.think + cpu_ns);
        expect(threads_ns).toBe(run_ns);
        expect(time_ns.total).toBe(cpu_ns);
        expect(by_cause.shootdown + by_cause.lock_wait + by_cause.processor_wait + by_cause.dependency_wait).toBe(0);
      }),
      { numRuns: runs },
    );
  });

  test('with decisions fixed, the work never falls when a price rises', () => {
    const raised = (curves: PriceCurves, name: CurveName, by: number): PriceCurves => ({
      ...curves,
      [name]: curves[name].map(({ x, ns, low, high }) => ({ x, ns: ns + by, low: low + by, high: high + by })),
    });
    fc.assert(
      fc.property(anyThreaded, anyMachine, fc.constantFrom(...curve_names), fc.nat(50_000), (chunks, any, name, by) => {
        // Who counts as running at a shootdown depends on times unless nobody ever is quiet.
        const machine = { ...any, quiet_after_ns: Number.POSITIVE_INFINITY };
        const flat: Prices = prices;
        const curves = curveFrom(prices);
        const before = timedHakmem(chunks, setupOf(), timeSetup(machine, { prices: { flat, curves } }));
        const dearer = { flat, curves: raised(curves, name, by) };
        const after = timedHakmem(chunks, setupOf(), timeSetup(machine, { prices: dearer }));
        expect(after.cpu_ns).toBeGreaterThanOrEqual(before.cpu_ns);
        for (const cause of cause_names)
          if (!/wait|shootdown/.test(cause))
            expect(after.by_cause[cause], cause).toBeGreaterThanOrEqual(before.by_cause[cause]);
      }),
      { numRuns: runs },
    );
  });

  test('no clock goes back, and an event on an object ends after the one before it', () => {
    fc.assert(
      fc.property(anyThreaded, anyMachine, (chunks, setup) => {
        const machine = new Machine({ flat: prices, curves: curveFrom(prices) }, setup);
        const glibc = makeGlibc();
        const clocks = new Map<number, number>();
        const ended = new Map<number, number>();
        for (const { op: kinds, thread, object, size_bytes, align, touched_pages, time_ns, length } of chunks)
          for (let row = 0; row < length; row += 1) {
            glibc.run(kinds[row], thread[row], object[row], size_bytes[row], align[row], touched_pages[row]);
            const { resident_pages, meter } = glibc;
            machine.run(thread[row], time_ns[row], object[row], meter, 20, resident_pages);
            const clock_ns = machine.clockOf(thread[row]);
            expect(clock_ns).toBeGreaterThanOrEqual((clocks.get(thread[row]) ?? 0) + 20);
            expect(clock_ns).toBeGreaterThanOrEqual((ended.get(object[row]) ?? 0) + 20);
            clocks.set(thread[row], clock_ns);
            ended.set(object[row], clock_ns);
          }
      }),
      { numRuns: runs },
    );
  });

  test('memory stays within its limit at every point, or the event that would break it is refused', () => {
    let refusals = 0;
    let reclaims = 0;
    fc.assert(
      fc.property(anyThreaded, fc.integer({ min: 1, max: 40 }), (chunks, limit_mib) => {
        const free = timedHakmem(chunks, setupOf(), timeSetup());
        const memory_limit_bytes = limit_mib * MiB;
        const { memory_limit, course, resident_bytes, events } = timedHakmem(
          chunks,
          setupOf(),
          timeSetup({}, { memory_limit_bytes }),
        );
        for (const point of course) expect(point.resident_bytes).toBeLessThanOrEqual(memory_limit_bytes);
        expect(resident_bytes.peak).toBeLessThanOrEqual(memory_limit_bytes);
        const { refused, reclaimed_bytes } = memory_limit!;
        if (free.resident_bytes.peak <= memory_limit_bytes) expect([refused, reclaimed_bytes]).toEqual([null, 0]);
        if (refused === null) expect(events).toBe(free.events);
        else {
          expect(refused.wanted_bytes).toBeGreaterThan(memory_limit_bytes);
          expect(events).toBe(refused.event);
          refusals += 1;
        }
        if (reclaimed_bytes > 0) reclaims += 1;
      }),
      { numRuns: runs * 3 },
    );
    expect(refusals).toBeGreaterThan(0);
    expect(reclaims).toBeGreaterThan(0);
  });
});

/** An allocator that does what its script says, event by event. */
function scripted(...script: readonly ((meter: Meter) => void)[]): TimedPeer {
  let event = 0;
  const meter = new Meter();
  return {
    meter,
    resident_pages: 0,
    mapped_pages: 0,
    placed: 0,
    run: () => {
      meter.begin();
      script[event](meter);
      event += 1;
    },
  };
}

/** Allocations, one a row of [thread, time in ns]. */
function allocations(...rows: readonly (readonly [number, number])[]): Chunk[] {
  const builder = new TraceBuilder();
  for (const [at, [thread, time_ns]] of rows.entries()) builder.allocate(op.malloc, at, 100, { thread, time_ns });
  return builder.finish();
}

const nothing = (): void => {};
const maps = (meter: Meter): void => meter.note(call.mmap, 0);
const unmaps = (meter: Meter): void => meter.note(call.munmap, 0);
const releases = (meter: Meter): void => meter.note(call.dontneed, 1);
const faults = (meter: Meter): void => {
  meter.faults = 1;
};

/** Nothing costs anything but what is said. */
function priced(ns: Partial<Prices>): TimeSetup['prices'] {
  const free = Object.fromEntries(Object.keys(prices).map((name) => [name, 0])) as unknown as Prices;
  const flat = { ...free, ...ns };
  return { flat, curves: curveFrom(flat) };
}

describe('by hand', () => {
  const exact = { recorded_call_ns: 0, shootdown_ns: 0 };

  test('two threads that map at once wait for each other, once; two that touch do not', () => {
    const time = timeSetup(exact, { prices: priced({ mmap_ns: 100, fault_ns: 100 }) });
    const rows = [
      [0, 0],
      [1, 0],
      [0, 50],
      [1, 50],
    ] as const;
    const mapping = timedPeer(allocations(...rows), () => scripted(nothing, nothing, maps, maps), time);
    expect(mapping.by_cause).toMatchObject({ think: 100, mmap: 200, lock_wait: 100 });
    expect(mapping.run_ns).toBe(250);
    expect(mapping.time_ns).toEqual({ total: 300, allocate: 200, free: 0, fault: 0, wait: 100 });
    const touching = timedPeer(allocations(...rows), () => scripted(nothing, nothing, faults, faults), time);
    expect(touching.by_cause).toMatchObject({ fault: 200, lock_wait: 0 });
  });

  test('a touch waits for a mapping where faults take the lock of the address space, and not where they take an area’s', () => {
    const rows = [
      [0, 0],
      [1, 0],
      [0, 50],
      [1, 60],
    ] as const;
    const wait = (faults_lock_area: boolean): number =>
      timedPeer(
        allocations(...rows),
        () => scripted(nothing, nothing, maps, faults),
        timeSetup({ ...exact, faults_lock_area }, { prices: priced({ mmap_ns: 100, fault_ns: 10 }) }),
      ).by_cause.lock_wait;
    expect([wait(false), wait(true)]).toEqual([90, 0]);
  });

  test('unmapping keeps touches waiting for its fixed part alone, mappings to its end', () => {
    const gives = (meter: Meter): void => meter.note(call.munmap, 1);
    const wait = (act: (meter: Meter) => void): number =>
      timedPeer(
        allocations([0, 0], [1, 0], [0, 50], [1, 60]),
        () => scripted(nothing, nothing, gives, act),
        timeSetup(
          { ...exact, faults_lock_area: false },
          { prices: priced({ munmap_ns: 100, release_page_ns: 40, mmap_ns: 10, fault_ns: 10 }) },
        ),
      ).by_cause.lock_wait;
    expect([wait(faults), wait(maps)]).toEqual([90, 130]);
  });

  test('a touch of the heap waits while the break moves', () => {
    const grows = (meter: Meter): void => meter.note(call.brk_grow, 1);
    const { by_cause } = timedPeer(
      allocations([0, 0], [1, 0], [0, 50], [1, 60]),
      () => scripted(nothing, nothing, grows, faults),
      timeSetup(exact, { prices: priced({ mmap_ns: 100, fault_ns: 10 }) }),
    );
    expect(by_cause).toMatchObject({ brk_grow: 100, lock_wait: 90 });
  });

  test('giving pages back costs a shootdown for each other processor that runs the process', () => {
    const rows = [
      [0, 0],
      [1, 0],
      [2, 0],
      [0, 50],
    ] as const;
    const spent = (machine: Partial<MachineSetup>): number =>
      timedPeer(
        allocations(...rows),
        () => scripted(nothing, nothing, nothing, releases),
        timeSetup({ ...exact, shootdown_ns: 5400, ...machine }, { prices: priced({}) }),
      ).by_cause.shootdown;
    expect(spent({})).toBe(10_800);
    expect(spent({ processors: 2 })).toBe(5400);
    expect(spent({ processors: 1 })).toBe(0);
    expect(spent({ busy_permille: 250 })).toBe(2700);
    expect(spent({ quiet_after_ns: 49 })).toBe(0);
  });

  test('who is interrupted loses that time before its next event, once', () => {
    const { by_cause, run_ns } = timedPeer(
      allocations([0, 0], [1, 0], [0, 50], [1, 60], [1, 100]),
      () => scripted(nothing, nothing, releases, nothing, nothing),
      timeSetup({ ...exact, interrupted_ns: 7 }, { prices: priced({}) }),
    );
    expect([by_cause.shootdown, run_ns]).toEqual([7, 107]);
  });

  test('an object is waited for: freed by another thread, it is there first', () => {
    const builder = new TraceBuilder();
    builder.allocate(op.malloc, 'x', 1, { thread: 1, time_ns: 0 });
    builder.allocate(op.malloc, 'a', 1, { thread: 0, time_ns: 0 });
    builder.free('a', { thread: 1, time_ns: 10 });
    const time = timeSetup(exact, { prices: priced({ mmap_ns: 100 }) });
    const { by_cause, run_ns } = timedPeer(builder.finish(), () => scripted(nothing, maps, nothing), time);
    expect(by_cause).toMatchObject({ think: 10, mmap: 100, dependency_wait: 90 });
    expect(run_ns).toBe(100);
  });

  test('two threads on one processor take turns, on two they do not', () => {
    const run = (processors: number): Timed =>
      timedPeer(
        allocations([0, 0], [1, 0], [0, 100], [1, 100]),
        () => scripted(nothing, nothing, nothing, nothing),
        timeSetup({ ...exact, processors }, { prices: priced({}) }),
      );
    expect([run(2).run_ns, run(2).by_cause.processor_wait]).toEqual([100, 0]);
    expect([run(1).run_ns, run(1).by_cause.processor_wait]).toEqual([200, 100]);
  });

  test('a dearer fault makes the run shorter: an anomaly, as Graham found them in schedules', () => {
    // Thread 1 touches, then unmaps for 100 ns. Thread 0 maps for 10 ns at 50 and has 1,000 ns to think then.
    const chunks = allocations([0, 0], [1, 0], [1, 0], [0, 50], [0, 1050]);
    const run = (fault_ns: number): Timed =>
      timedPeer(
        chunks,
        () => scripted(nothing, faults, unmaps, maps, nothing),
        timeSetup(exact, { prices: priced({ fault_ns, mmap_ns: 10, munmap_ns: 100 }) }),
      );
    const [cheap, dear] = [run(40), run(60)];
    // Thread 1 comes to the lock first and keeps thread 0, which has the long way, waiting.
    expect([cheap.run_ns, cheap.by_cause.lock_wait, cheap.cpu_ns]).toEqual([1150, 90, 150]);
    // Twenty nanoseconds more, and it comes second: thread 0 gets away at once.
    expect([dear.run_ns, dear.by_cause.lock_wait, dear.cpu_ns]).toEqual([1060, 0, 170]);
  });

  test('what an allocator does by itself is charged, at its times, beside the threads', () => {
    const at: number[] = [];
    const ticking = (): TimedPeer => {
      const peer = scripted(nothing, nothing, nothing);
      const tick = (now_ns: number): number => {
        at.push(now_ns);
        peer.meter.note(call.dontneed, 2);
        return now_ns + 400;
      };
      return { ...peer, ticking: [{ first_ns: 300, tick }] };
    };
    const time = timeSetup(exact, { prices: priced({ madvise_ns: 10, release_page_ns: 1 }) });
    const { by_cause, run_ns, threads_ns } = timedPeer(allocations([0, 0], [0, 1000], [0, 1001]), ticking, time);
    expect(at).toEqual([300, 700]);
    expect(by_cause).toMatchObject({ think: 1001, madvise_dontneed: 24 });
    expect([run_ns, threads_ns]).toEqual([1001, 1025]);
  });

  test('an arena’s lock is held by one thread at a time, calls and all', () => {
    const inArena = (meter: Meter): void => {
      meter.arena = 3;
      meter.note(call.mprotect, 1);
    };
    const locked = (meter: Meter): void => {
      meter.arena = 3;
    };
    const { by_cause } = timedPeer(
      allocations([0, 0], [1, 0], [0, 50], [1, 60]),
      () => scripted(nothing, nothing, inArena, locked),
      timeSetup(exact, { prices: priced({ mmap_ns: 100 }) }),
    );
    expect(by_cause).toMatchObject({ mprotect: 100, lock_wait: 90 });
  });
});

describe('prices', () => {
  const uncertain = (curves: PriceCurves): PriceCurves =>
    Object.fromEntries(
      curve_names.map((name) => [
        name,
        curves[name].map(({ x, ns }) => ({ x, ns, low: Math.floor(ns / 2), high: 2 * ns })),
      ]),
    ) as unknown as PriceCurves;

  test('that are uncertain give an interval around the run: all low, all high', () => {
    const chunks = [...new SyntheticTrace('vm', { events: 400, seed: 1, boundaries_bytes }).chunks()];
    const curves = uncertain(curveFrom(prices));
    const time = timeSetup({ thinks: false }, { prices: { flat: prices, curves } });
    const { run_ns, interval_ns } = timedHakmem(chunks, setupOf(configOf('MINIMAL')), time);
    const least = timedHakmem(chunks, setupOf(configOf('MINIMAL')), timeSetup({ thinks: false })).run_ns;
    expect(run_ns).toBe(least);
    expect(interval_ns.low).toBeLessThan(run_ns);
    expect(interval_ns.high).toBeGreaterThan(run_ns);
    expect(interval_ns.low).toBeGreaterThan(0.45 * run_ns);
    expect(interval_ns.high).toBeLessThan(2.05 * run_ns);
  });

  test('of a fault follow the pages that are resident, those of a call its pages', () => {
    const curves: PriceCurves = {
      ...curveFrom(prices),
      fresh_fault_ns: [
        { x: 100, ns: 1000, low: 1000, high: 1000 },
        { x: 200, ns: 2000, low: 2000, high: 2000 },
      ],
      release_page_ns: [
        { x: 33, ns: 400, low: 400, high: 400 },
        { x: 34, ns: 200, low: 200, high: 200 },
      ],
    };
    const spent = (resident_pages: number, act: (meter: Meter) => void): Timed['by_cause'] =>
      timedPeer(
        allocations([0, 0]),
        () => ({ ...scripted(act), resident_pages }),
        timeSetup({}, { prices: { flat: prices, curves } }),
      ).by_cause;
    expect([50, 150, 250].map((pages) => spent(pages, faults).fault)).toEqual([1000, 1500, 2000]);
    const release = (pages: number): number =>
      spent(1, (meter) => meter.note(call.dontneed, pages)).madvise_dontneed - prices.madvise_ns;
    expect([release(33), release(34)]).toEqual([33 * 400, 34 * 200]);
    // A huge page counts as 512: one in the call makes the small ones beside it cheaper.
    expect(spent(1, (meter) => meter.note(call.dontneed, 2, 1)).madvise_dontneed).toBe(
      prices.madvise_ns + 2 * 200 + prices.release_huge_ns,
    );
  });
});

describe('a page that the process gave back', () => {
  const time = timeSetup(
    {},
    {
      prices: {
        flat: prices,
        curves: {
          ...curveFrom(priced({ fault_ns: 10 }).flat),
          fresh_fault_ns: [{ x: 1, ns: 100, low: 100, high: 100 }],
        },
      },
    },
  );
  const touching =
    (pages: number) =>
    (meter: Meter): void => {
      meter.faults = pages;
    };
  const faultsOf = (...script: ((meter: Meter) => void)[]): number =>
    timedPeer(allocations(...script.map(() => [0, 0] as const)), () => scripted(...script), time).by_cause.fault;

  test('is touched again at the price of memory that is cycled, once; the others at that of fresh memory', () => {
    expect(faultsOf(touching(3))).toBe(300);
    for (const kind of [call.munmap, call.brk_shrink, call.dontneed, call.dontneed_vector, call.mremap_shrink]) {
      const gives = (meter: Meter): void => meter.note(kind, 2);
      expect(faultsOf(touching(3), gives, touching(3), touching(1)), call_names[kind]).toBe(300 + 2 * 10 + 100 + 100);
    }
  });

  test('is not one that moved, or that the kernel may only take if it wants', () => {
    for (const kind of [call.mremap, call.mremap_grow, call.free, call.brk_grow])
      expect(
        faultsOf(touching(3), (meter) => meter.note(kind, 2), touching(2)),
        call_names[kind],
      ).toBe(500);
  });
});

describe('another order of the threads', () => {
  const columns = ['op', 'thread', 'object', 'size_bytes', 'align', 'site', 'time_ns', 'touched_pages'] as const;
  const rowsOf = (chunks: readonly Chunk[]): number[][] =>
    chunks.flatMap((chunk) =>
      Array.from({ length: chunk.length }, (_, row) => columns.map((column) => chunk[column][row])),
    );

  test('without jitter is the recorded one', () => {
    fc.assert(
      fc.property(anyThreaded, fc.nat(), (chunks, seed) => {
        expect(rowsOf(new Orders(chunks).perturbed(0, seed))).toEqual(rowsOf(chunks));
      }),
      { numRuns: runs },
    );
  });

  test('has every event, each thread and each slot in its own order, and times that never decrease', () => {
    const time_column = columns.indexOf('time_ns');
    const without = (rows: readonly number[][], of: number, is: number): number[][] =>
      rows.filter((row) => row[of] === is).map((row) => row.filter((_, at) => at !== time_column));
    let changed = 0;
    fc.assert(
      fc.property(anyThreaded, fc.nat(), (chunks, seed) => {
        const before = rowsOf(chunks);
        const after = rowsOf(new Orders(chunks).perturbed(500, seed));
        expect(after.length).toBe(before.length);
        for (const column of ['thread', 'object'] as const) {
          const of = columns.indexOf(column);
          for (const is of new Set(before.map((row) => row[of])))
            expect(without(after, of, is)).toEqual(without(before, of, is));
        }
        for (let at = 1; at < after.length; at += 1)
          expect(after[at][time_column]).toBeGreaterThanOrEqual(after[at - 1][time_column]);
        if (after.some((row, at) => row[0] !== before[at][0] || row[2] !== before[at][2])) changed += 1;
      }),
      { numRuns: runs },
    );
    expect(changed).toBeGreaterThan(0);
  });

  test('gives a spread of times, the same for the same seed, the recorded order first', () => {
    const chunks = [...new SyntheticTrace('mixed', { events: 2000, seed: 3, boundaries_bytes }).chunks()];
    const setup = setupOf();
    const spread = (seed: number) =>
      perturb(chunks, () => new HakmemWork(setup), timeSetup(), { runs: 6, seed, jitter_permille: 300 });
    const { run_ns, quantiles_ns } = spread(1);
    expect(run_ns[0]).toBe(timedHakmem(chunks, setup, timeSetup()).run_ns);
    expect(new Set(run_ns).size).toBeGreaterThan(1);
    expect(quantiles_ns.min).toBe(Math.min(...run_ns));
    expect(quantiles_ns.max).toBe(Math.max(...run_ns));
    expect(spread(1)).toEqual({ ...spread(1), run_ns, quantiles_ns });
    expect(spread(2).run_ns).not.toEqual(run_ns);
  });
});

describe('hakmem replay --time', () => {
  const path = join(folder, 'four.hak');
  const four = new SyntheticTrace('vm4', { events: 400, seed: 1, boundaries_bytes });
  writeHak(path, four.chunks(), { time: true, sites: true, touch: false }, () => originOf('generated', four.origin));
  const hakmem = (...args: string[]) =>
    spawnSync('node', ['bin/hakmem.js', 'replay', path, '--check', 'none', ...args], { encoding: 'utf8' });

  test('puts the layer’s figures where results have their times, and all of them under "time"', () => {
    const { status, stdout, stderr } = hakmem('--time', '--processors', '2', '--perturb', '3', '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { sim, time } = JSON.parse(stdout);
    expect(time).toMatchObject({ threads: 4, machine: { processors: 2 }, perturbed: { runs: 3 }, memory_limit: null });
    const { allocate, free, fault, wait, total } = sim.time_ns;
    expect(total).toBe(allocate + free + fault + wait);
    expect(sim.latency_ns.max).toBe(Math.max(...time.latency.map(({ max }: { max: number }) => max)));
    expect(Object.keys(time.by_cause)).toEqual([...cause_names]);
    const words = hakmem('--time').stdout;
    expect(words).toMatch(/modelled, not measured\n {2}run .* 4 threads on 4 processors/);
  });

  test('reports a limit below what is live in one line, and exits 1', () => {
    const { status, stderr } = hakmem('--time', '--memory-limit', '3MiB');
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^hakmem: --memory-limit: event 1 needs 4 MiB resident with 2 MiB live before it, the limit is 3 MiB; .*\n$/,
    );
  });

  test('refuses its options without it', () => {
    const { status, stderr, stdout } = hakmem('--processors', '2');
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toBe('hakmem: --processors: found it without --time, wanted both or neither\n');
  });
});
