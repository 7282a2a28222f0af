/** Tuning glibc: shapes whose best setting is known, what is withdrawn, and settings that a trace cannot tell apart. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nominalPrices } from '../experiments/calibrate/price-file.ts';
import { glibcMachine } from '../experiments/peers/glibc-machine.ts';
import { GlibcTarget, glibcTrouble } from '../experiments/tune/glibc.ts';
import { GlibcKeys } from '../experiments/tune/glibc-key.ts';
import {
  dynamic,
  glibc_baseline,
  glibc_starts,
  glibcSettingsAt,
  glibcSpace,
  parseGlibcAxis,
} from '../experiments/tune/glibc-space.ts';
import { methods } from '../experiments/tune/methods.ts';
import { cheapestAtMemory } from '../experiments/tune/objective.ts';
import { linesOf } from '../experiments/tune/report.ts';
import { grid, type Point, samePoint } from '../experiments/tune/space.ts';
import type { Engine } from '../experiments/tune/target.ts';
import { hasSetting, type Tuned, type TuneOptions, tune } from '../experiments/tune/tune.ts';
import { probeProfile } from '../native/index.ts';
import { configOf, default_profile, prices, type Setup } from '../sim/index.ts';
import { touchIndex } from '../sim/kernel/touch.ts';
import { glibc_setting_names, glibc_settings, tunablesText } from '../sim/peers/glibc/settings.ts';
import { Glibc } from '../sim/peers/glibc.ts';
import { replayPeer } from '../sim/peers/replay.ts';
import { type HakTrace, op, open, originOf, TraceBuilder, writeHak } from '../traces/index.ts';
import { anyIntents, legalTrace } from './arbitrary.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-tune-glibc-'));
const program = join(folder, 'editor');
const { value: mapped_at_most } = glibc_settings.mmap_max;
const memory_more = 2;
const climbs = methods.find(({ name }) => name === 'climbs')!;
const setup: Setup = {
  config: configOf('BALANCED'),
  prices,
  profile: probeProfile() ?? default_profile,
  touch: 'recorded',
  seed: 1,
};
const predicting: TuneOptions = {
  seed: 1,
  budget: undefined,
  rss_max_bytes: undefined,
  slowdown_max_percent: undefined,
  memory_more_percent: memory_more,
  check: 'none',
  rounds: 2,
  trouble: null,
  progress: () => {},
};
const trouble = glibcTrouble();

beforeAll(() => {
  const source = join(root, 'test', 'programs', 'editor.c');
  const { status, stderr } = spawnSync('cc', ['-O1', '-w', '-fno-builtin', source, '-o', program], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function made(name: string, build: (builder: TraceBuilder) => void): HakTrace {
  const builder = new TraceBuilder();
  build(builder);
  const path = join(folder, `${name}.hak`);
  writeHak(path, builder.finish(), { time: false, sites: false, touch: true }, () => originOf('generated', {}));
  return open(path) as HakTrace;
}

const buffer_bytes = 536_640;
const whole = (size_bytes: number) => ({ touched_pages: Math.ceil(size_bytes / 4096) });

/** Two buffers, taken and given back in every round: with nothing set the end of the heap is given back each time. */
function editor(rounds: number): HakTrace {
  return made(`editor-${rounds}`, (builder) => {
    for (let round = 0; round < rounds; round += 1) {
      const small = `small ${round % 64}`;
      if (round >= 64) builder.free(small);
      builder.allocate(op.malloc, small, 24 + (round % 64));
      builder.allocate(op.malloc, 'text', buffer_bytes, whole(buffer_bytes));
      builder.allocate(op.malloc, 'undo', buffer_bytes, whole(buffer_bytes));
      builder.free('undo');
      builder.free('text');
    }
  });
}

/** Answers of 2,000 sizes, each a little larger than any before, 24 of them at a time; small blocks between them stay. */
function server(): HakTrace {
  return made('server', (builder) => {
    for (let request = 0; request < 2000; request += 1) {
      const size_bytes = 128 * KiB + request * KiB;
      if (request >= 24) builder.free(`answer ${request - 24}`);
      builder.allocate(op.malloc, `answer ${request}`, size_bytes, whole(size_bytes));
      if (request % 4 === 0) builder.allocate(op.malloc, `kept ${request}`, 1000);
    }
  });
}

function targetOf(engine: Engine = 'sim', axes: readonly string[] = []): GlibcTarget {
  const space = glibcSpace(new Map(axes.map(parseGlibcAxis)));
  return new GlibcTarget(
    engine,
    space,
    async () => setup,
    (trace) => trace as HakTrace,
  );
}

async function tuned(trace: HakTrace, options: Partial<TuneOptions> = {}): Promise<Tuned> {
  const target = targetOf();
  const subject = await target.subject(trace);
  return tune(target, [subject], [], climbs, cheapestAtMemory(memory_more), { ...predicting, ...options });
}

function settingOf(found: Tuned): string {
  return hasSetting(found) ? found.target.settingText(found.searched.winner.evaluated.point) : '';
}

describe('shapes whose best is known', () => {
  test('an editor whose heap is trimmed 17,000 times faults a hundredth with the setting, at no more memory', async () => {
    const found = await tuned(editor(17_000));
    const [before] = found.searched.baseline.figures;
    const [after] = found.searched.winner.evaluated.figures;
    // 230 pages and more come back in every round.
    expect(before.faults).toBeGreaterThan(17_000 * 220);
    expect(100 * after.faults).toBeLessThanOrEqual(before.faults);
    expect(after.memory_bytes).toBeLessThanOrEqual(1.02 * before.memory_bytes);
    expect(settingOf(found)).toMatch(/^GLIBC_TUNABLES=/);
  });

  test('on a server of 2,000 sizes the same would break the memory: another is set, or none', async () => {
    const editors = await tuned(editor(300));
    const found = await tuned(server());
    const subject = found.subjects[0];
    const [before] = found.searched.baseline.figures;
    const there = await subject.figures(editors.searched.winner.evaluated.point);
    const limit_bytes = (1 + memory_more / 100) * before.memory_bytes;
    expect(there.memory_bytes).toBeGreaterThan(limit_bytes);
    expect(settingOf(found)).not.toBe(settingOf(editors));
    const [after] = found.searched.winner.evaluated.figures;
    expect(after.memory_bytes).toBeLessThanOrEqual(limit_bytes);
    expect(after.faults).toBeLessThanOrEqual(before.faults);
  });

  test('a budget bounds the kinds that climbs try, and what is there now is one of them', async () => {
    for (const budget of [1, 3, 10]) {
      const { searched } = await tuned(editor(10), { budget });
      expect(searched.cost.runs).toBeLessThanOrEqual(budget);
      expect(searched.cost.runs).toBeGreaterThan(budget / 2);
      expect(searched.tried.some(({ evaluated }) => samePoint(evaluated.point, glibc_baseline))).toBe(true);
    }
  });

  test('where there is nothing to gain it says to leave it, with what is there now among the tried', async () => {
    const trace = made('flat', (builder) => {
      for (let at = 0; at < 200; at += 1) builder.allocate(op.malloc, at, 100);
    });
    const found = await tuned(trace);
    expect(settingOf(found)).toBe('');
    expect(linesOf(found, nominalPrices())[0]).toBe('leave it as it is: nothing tried is better beyond noise');
    expect(found.searched.tried.some(({ evaluated }) => samePoint(evaluated.point, glibc_baseline))).toBe(true);
  });
});

describe('candidates', () => {
  const points = [...grid(glibcSpace())];

  test('pin all four thresholds or none, and say so in what is pasted', () => {
    const pinning = glibc_setting_names.filter((name) => glibc_settings[name].pins);
    expect(pinning).toHaveLength(4);
    for (const point of [...points, ...glibc_starts]) {
      const text = tunablesText(glibcSettingsAt(point));
      const pinned = pinning.filter((name) => text.includes(`glibc.malloc.${name}=`));
      expect(pinned.length).toBe(point[0] === dynamic ? 0 : pinning.length);
    }
  });

  test('leave the number of arenas alone unless asked, for no replay shows threads that wait for each other', () => {
    expect(new Set(points.map((point) => point[4]))).toEqual(new Set([0]));
    const asked = glibcSpace(new Map([parseGlibcAxis('glibc_arena_max=1,2')]));
    expect(asked[4].values).toEqual([1, 2]);
  });

  test('with nothing pinned the other thresholds are not looked at', () => {
    const keys = new GlibcKeys(editor(10).chunks());
    const unpinned = points.filter(
      ([mmap_threshold, , , , arena_max]) => mmap_threshold === dynamic && arena_max === 0,
    );
    expect(unpinned.length).toBeGreaterThan(50);
    expect(new Set(unpinned.map((point) => keys.key(point)))).toEqual(new Set([keys.key(glibc_baseline)]));
    expect(keys.key([128 * KiB, ...glibc_baseline.slice(1)])).not.toBe(keys.key(glibc_baseline));
  });

  test('of equal keys have equal results, whatever the trace: sizes, alignments, threads', () => {
    const thresholds = [
      1,
      24,
      600,
      656,
      657,
      1024,
      4096,
      128 * KiB,
      600 * KiB,
      1 * MiB,
      2 * MiB + 64,
      3 * MiB,
      16 * MiB,
    ];
    let alike = 0;
    fc.assert(
      fc.property(
        anyIntents,
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 40 }),
        fc.constantFrom(0, 128 * KiB, 4 * MiB),
        fc.constantFrom(0, 128 * KiB, 1 * MiB),
        (intents, threads, trim_threshold, top_pad) => {
          const chunks = legalTrace(intents);
          for (const { thread, length, first_event } of chunks)
            for (let row = 0; row < length; row += 1) thread[row] = threads[(first_event + row) % threads.length];
          const keys = new GlibcKeys(chunks);
          const some: Point[] = thresholds.flatMap((threshold, at) => [
            [threshold, trim_threshold, top_pad, at % 3 === 0 ? 0 : mapped_at_most, at % 2],
            [threshold, trim_threshold, top_pad, mapped_at_most, 2],
            [dynamic, trim_threshold * at, top_pad, at, at % 3],
          ]);
          const results = new Map<string, unknown>();
          for (const point of some) {
            const glibc = new Glibc(glibcSettingsAt(point), glibcMachine(setup.profile, 3), touchIndex('recorded'));
            const result = replayPeer(chunks, glibc, { prices, checkpoint_events: 16 });
            const key = keys.key(point);
            if (results.has(key)) {
              alike += 1;
              expect(result).toEqual(results.get(key));
            } else results.set(key, result);
          }
        },
      ),
      { numRuns: 20 },
    );
    expect(alike).toBeGreaterThan(100);
  });
});

describe.skipIf(trouble !== null)('on the library', () => {
  test('the replay engine counts what the model counts, on a small trace, to the last fault', async () => {
    const trace = made('small', (builder) => {
      for (let at = 0; at < 60; at += 1) {
        const size_bytes = 1000 + ((at * 104_729) % 700_000);
        builder.allocate(at % 5 === 0 ? op.calloc : op.malloc, at, size_bytes, whole(size_bytes));
        if (at % 3 === 2) builder.free(at - 1);
      }
      for (let at = 0; at < 60; at += 1) if (at % 3 !== 1) builder.free(at);
    });
    const [model, library] = [await targetOf('sim').subject(trace), await targetOf('replay').subject(trace)];
    for (const point of [glibc_baseline, glibc_starts[1], [256 * KiB, 4 * MiB, 0, mapped_at_most, 0]]) {
      const counted = await library.figures(point);
      expect(counted.faults).toBe((await model.figures(point)).faults);
      expect(counted.score).toBeGreaterThan(0);
    }
  });
});

function hakmem(...args: readonly string[]) {
  return spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), 'tune', '--target', 'glibc', ...args], {
    encoding: 'utf8',
    cwd: folder,
    env: { ...process.env, TMPDIR: folder },
  });
}

describe('the command', () => {
  test.skipIf(trouble !== null)(
    'an editor: a hundredth of the faults for real and on the program, where it is proven to be live',
    () => {
      const { path } = editor(130);
      const on = ['--verify', '--', program, 'edit', '130'];
      const { status, stdout, stderr } = hakmem(path, '--rounds', '2', '--json', ...on);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      const { target, engine, setting, baseline, verified, program: on_program, cost } = JSON.parse(stdout);
      expect({ target, engine }).toEqual({ target: 'glibc', engine: 'sim' });
      expect(setting).toMatch(
        /^GLIBC_TUNABLES=glibc\.malloc\.mmap_threshold=\d+:glibc\.malloc\.trim_threshold=\d+:glibc\.malloc\.top_pad=\d+:glibc\.malloc\.mmap_max=\d+$/,
      );
      expect(cost.checked_rows).toBeGreaterThan(0);
      expect(baseline.measured).toBe(true);
      expect(baseline.faults).toBeGreaterThan(130 * 220);
      expect(verified).toMatchObject({ check: 'agree', verdict: 'better' });
      expect(100 * verified.faults).toBeLessThanOrEqual(baseline.faults);
      expect(verified.resident_peak_bytes).toBeLessThanOrEqual(1.02 * baseline.resident_peak_bytes);
      expect(on_program).toMatchObject({ program: `${program} edit 130`, runs: 2, harms: false, differences: [] });
      const { a, b } = on_program.metrics.faults;
      expect(a.median - b.median).toBeGreaterThan(130 * 220 - 500);
    },
    60_000,
  );

  test.skipIf(trouble !== null)(
    'what helps the trace and leaves holes in the program is withdrawn',
    () => {
      const few = ['--axis', 'glibc_mmap_threshold_bytes=dynamic,1M', '--axis', 'glibc_trim_threshold_bytes=64M'];
      const on = ['--verify', '--', program, 'holes'];
      const { status, stdout } = hakmem(editor(130).path, ...few, '--rounds', '2', '--check', 'none', ...on);
      expect(status).toBe(0);
      expect(stdout).toMatch(/^leave it as it is: what was found does no good on the program itself\n/);
      expect(stdout).toMatch(/resident peak 0\.\d+ times .*, worse\nit harms the program: leave it as it is\n/);
    },
    60_000,
  );

  test.each([
    [['--axis', 'glibc_mmap_treshold_bytes=1M'], 'glibc_mmap_treshold_bytes: unknown; wanted one of glibc_mmap_'],
    [['--engine', 'guess'], "argument 'guess' is invalid"],
    [['--verify'], '--verify: found no program, wanted -- PROGRAM ARG...'],
    [['--set', 'bigcache=false'], '--mode, --set and --policy are of hakmem'],
    [['--target', 'hakmem', '--engine', 'replay'], '--engine replay: of hakmem there is sim alone'],
  ])('bad usage is one line and exit code 2: %j', (args, says) => {
    const { status, stdout, stderr } = hakmem(editor(1).path, ...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(says);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
