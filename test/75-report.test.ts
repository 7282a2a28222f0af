/** The report: its figures, its bounds, and the page as a person finds it, in Debian's Chromium. */
/// <reference lib="dom" />
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseBytes } from '../experiments/command.ts';
import { worthOf } from '../experiments/report/advice.ts';
import { type Bounds, boundsOf, offlineOf, setupOf } from '../experiments/report/bounds.ts';
import { causesFigure, causesOf } from '../experiments/report/causes.ts';
import { columnsOf } from '../experiments/report/columns.ts';
import { costCurve, score_cost, time_cost } from '../experiments/report/cost-curve.ts';
import { courseFigure } from '../experiments/report/course.ts';
import { heatMap } from '../experiments/report/heat-map.ts';
import { Html, html } from '../experiments/report/html.ts';
import { measuredFigure, orderOf, pairsOf } from '../experiments/report/measured.ts';
import { frontOf, letterOf, paretoFigure } from '../experiments/report/pareto.ts';
import { spread } from '../experiments/report/plot.ts';
import { changesOf, configOfRow, environmentOf, flagsOf } from '../experiments/report/setting.ts';
import { memoryOf, subjectsOf } from '../experiments/report/subjects.ts';
import { axesOf, values_max } from '../experiments/report/swept.ts';
import { type Row, type RowContext, rowOf } from '../experiments/sweep/row.ts';
import { fingerprint } from '../native/spec-to-c.ts';
import {
  type Config,
  configOf,
  default_profile,
  enums,
  type Mode,
  mode_names,
  parseMode,
  parseSetting,
  prices,
  replay,
  type Setup,
  simulateAll,
} from '../sim/index.ts';
import { SyntheticTrace, sha256OfFile, writeHak } from '../traces/index.ts';
import { axeViolations, launch } from './browser.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-report-'));
const at = (name: string): string => join(folder, name);
const trace_path = at('mixed.hak');
const mixed = new SyntheticTrace('mixed', { events: 6000, seed: 5, large_permille: 30, boundaries_bytes: [] });
const MiB = 2 ** 20;

let rows: Row[];
let browser: Browser;
beforeAll(async () => {
  writeHak(trace_path, mixed.chunks(), { time: false, sites: true, touch: false }, () => mixed.origin);
  rows = swept('mixed.hak', sha256OfFile(trace_path));
  browser = await launch();
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

const contextOf = (trace: string, trace_sha256: string): RowContext => ({
  trace,
  trace_sha256,
  trace_events: 6000,
  mode: 'BALANCED',
  policy: 'hakmem',
  seed: 1,
  touch: 'page',
  spec_fingerprint: fingerprint(),
  prices_name: 'nominal',
  prices_sha256: '0'.repeat(64),
  prices_source: 'nominal',
  prices_machine: 'unknown',
  prices_machine_name: null,
  prices,
  kernel_profile: JSON.stringify(default_profile),
  machine: 'a machine',
  revision: '1.2.3',
});

/** 4 thresholds x 3 ways x 3 sizes of the keep. */
function swept(trace: string, sha256: string): Row[] {
  const configs = [0.25, 1, 4, 16].flatMap((mib) =>
    [1, 4, 16].flatMap((bigcache_ways) =>
      [0, 16 * MiB, 256 * MiB].map((kept_bytes_max) =>
        configOf('BALANCED', {
          mmap_threshold_bytes: mib * MiB,
          bigcache_ways,
          kept_bytes_max,
          checkpoint_events: 256,
        }),
      ),
    ),
  );
  const context = contextOf(trace, sha256);
  const outcomes = simulateAll(mixed.chunks(), configs.map(setupWith));
  return configs.map((config, index) =>
    rowOf(context, config, outcomes[index], { checked: 'decisions', verdict: 'agree' }),
  );
}

const setupWith = (config: Config): Setup => ({ config, prices, profile: default_profile, touch: 'page', seed: 1 });

function hakmem(
  args: readonly string[],
  cwd = process.cwd(),
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('node', [join(process.cwd(), 'bin/hakmem.js'), ...args], { encoding: 'utf8', cwd });
}

function written(name: string, list: readonly unknown[]): string {
  writeFileSync(at(name), list.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
}

/** The page made of these rows, in the folder that has their trace. */
function made(name: string, list: readonly Row[]): string {
  written(`${name}.ndjson`, list);
  const { status, stderr } = hakmem(['report', `${name}.ndjson`, '-o', `${name}.html`], folder);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return at(`${name}.html`);
}

const subjectOf = (list: readonly Row[]) => subjectsOf([{ path: 'rows', rows: list, measured: [] }])[0];

describe('figures', () => {
  const near = (row: Row): Row => ({ ...row, trace: trace_path });
  const drawn = async (): Promise<{ bounds: Bounds; list: readonly Row[]; best: Row }> => {
    const subject = subjectOf(rows.map(near));
    const bounds = await boundsOf(subject);
    if ('missing' in bounds) throw new Error(bounds.missing);
    return { bounds, list: subject.rows, best: subject.best };
  };
  const expectFigure = async (name: string, { text }: Html): Promise<void> => {
    await expect(`${text.replaceAll('><', '>\n<')}\n`).toMatchFileSnapshot(`figures/${name}.svg`);
    expect(text).toMatch(/^<svg[^>]* role="img"/);
    expect(text).toMatch(/<title id="[\w-]+">[^<]+<\/title><desc id="[\w-]+">[^<]+<\/desc>/);
    expect(text).not.toMatch(/NaN|Infinity|undefined|(?:fill|stroke)="(?:black|white|#)/);
  };

  test('cost curves, between bounds and without them', async () => {
    const { bounds, list, best } = await drawn();
    const [axis] = axesOf([subjectOf(rows)]).filter(({ name }) => name === 'mmap_threshold_bytes');
    await expectFigure('cost-curve-time', costCurve('a', list, axis, time_cost, best, bounds));
    await expectFigure('cost-curve-score', costCurve('a', list, axis, score_cost, best, bounds));
    await expectFigure('cost-curve-alone', costCurve('a', list, axis, time_cost, best, null));
  });

  test('the front, a map, causes, memory, and measured times', async () => {
    const { bounds, list, best } = await drawn();
    const [across, down] = axesOf([subjectOf(rows)]);
    const measured = list.slice(0, 5).map((row, index) => ({
      trace: 'mixed.hak',
      trace_sha256: String(row.trace_sha256),
      config_hash: String(row.config_hash),
      predicted_ns: Number(row.time_total_ns),
      measured_ns: [Number(row.time_total_ns) * (1.1 + 0.05 * index)],
      faults: 1,
      resident_peak_bytes: 1,
      verdict: 'agree' as const,
    }));
    await expectFigure('pareto', paretoFigure('a', list, frontOf(list), best, bounds.base));
    await expectFigure('heat-map', heatMap('a', list, across, down, time_cost));
    await expectFigure('causes', causesFigure('a', best, bounds.base, bounds));
    await expectFigure('course', courseFigure('a', bounds.course.best, bounds.course.base));
    await expectFigure('measured', measuredFigure('a', pairsOf(measured), String(best.config_hash)));
  });

  test('labels stay in order, apart, and below the top', () => {
    const values = fc.array(fc.double({ min: 0, max: 10, noNaN: true }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(values, (list) => {
        const placed = spread(list, 1, 10);
        expect(Math.max(...placed)).toBeLessThanOrEqual(10);
        const sorted = [...placed].sort((a, b) => a - b);
        for (let index = 1; index < sorted.length; index += 1)
          expect(sorted[index] - sorted[index - 1]).toBeGreaterThanOrEqual(1 - 1e-9);
      }),
    );
  });
});

describe('bounds', () => {
  test('no configuration takes less time than the offline bound', () => {
    const bytes = fc.integer({ min: 1, max: 24 }).chain((bits) => fc.integer({ min: 1, max: 2 ** bits }));
    const run = fc.record({
      mode: fc.constantFrom(...mode_names),
      over: fc.record(
        {
          mmap_threshold_bytes: bytes,
          bigcache_ways: fc.integer({ min: 1, max: 16 }),
          bigcache_from_bytes: fc.integer({ min: 1, max: 8 * MiB }),
          warm_from_bytes: fc.integer({ min: 1, max: 2 * MiB }),
          batch_flush_bytes: bytes,
          kept_bytes_max: fc.constantFrom(0, MiB, 2 ** 47),
          thp_policy: fc.nat(2),
          thp_from_bytes: bytes,
          thp_advice: fc.nat(1),
          batch: fc.nat(1),
          thermal: fc.nat(1),
          legacy_header: fc.nat(1),
        },
        { requiredKeys: [] },
      ),
      touch: fc.constantFrom(...enums.touch),
      thp_kernel: fc.constantFrom(...enums.thp_kernel),
      huge_zero_write: fc.constantFrom(...enums.huge_zero_write),
      fault_ns: fc.nat(3000),
      huge_fault_ns: fc.nat(200_000),
      scenario: fc.constantFrom('vm', 'json', 'mixed', 'churn', 'edges' as const),
      seed: fc.nat(1000),
    });
    let tight = 0;
    fc.assert(
      fc.property(
        run,
        ({ mode, over, touch, thp_kernel, huge_zero_write, fault_ns, huge_fault_ns, scenario, seed }) => {
          const trace = new SyntheticTrace(scenario, {
            events: 400,
            seed,
            large_permille: 200,
            boundaries_bytes: [MiB],
          });
          const setup: Setup = {
            config: configOf(mode, over),
            prices: { ...prices, fault_ns, huge_fault_ns },
            profile: { ...default_profile, thp_kernel, huge_zero_write },
            touch,
            seed: 1,
          };
          const { time_ns, violation } = replay(trace.chunks(), setup);
          const offline = offlineOf(trace, setup);
          expect(violation).toBe(null);
          expect(time_ns.total).toBeGreaterThanOrEqual(offline.time_ns);
          expect(offline.calls_ns + offline.touches_ns).toBeCloseTo(offline.time_ns, 3);
          if (time_ns.total < 1.5 * offline.time_ns) tight += 1;
        },
      ),
      { numRuns: 100 },
    );
    // A bound of nothing would hold too.
    expect(tight).toBeGreaterThan(0);
  });

  test('no row of the sweep is below it, and the default is mode BALANCED', async () => {
    const subject = subjectOf(rows.map((row) => ({ ...row, trace: trace_path })));
    const bounds = await boundsOf(subject);
    if ('missing' in bounds) throw new Error(bounds.missing);
    for (const row of [...rows, bounds.base, bounds.unbounded, bounds.no_cache])
      expect(row.time_total_ns).toBeGreaterThan(bounds.offline.time_ns);
    const base = replay(mixed.chunks(), setupWith(configOf('BALANCED')));
    expect(bounds.base.decision_digest).toBe(base.decision_digest);
    expect(bounds.base.verdict).toBe('agree');
    // Nothing is ever given back, and nothing is ever kept.
    for (const name of ['syscalls_munmap', 'syscalls_madvise_dontneed', 'syscalls_madvise_free'])
      expect(bounds.unbounded[name]).toBe(0);
    expect([bounds.no_cache.bigcache_hits, bounds.no_cache.kept_reused]).toEqual([0, 0]);
    expect(bounds.no_cache.mmap_threshold_bytes).toBe(subject.best.mmap_threshold_bytes);
    expect(bounds.course.best.at(-1)!.time_ns).toBe(subject.best.time_total_ns);
  });

  test('are missing, with the reason, where the trace is not here, is another, or the rules were others', async () => {
    const whyNot = async (over: Partial<Row>) =>
      boundsOf(subjectOf(rows.map((row) => ({ ...row, trace: trace_path, ...over }) as Row)));
    expect(await whyNot({ trace: at('gone.hak') })).toEqual({ missing: `${at('gone.hak')} is not here` });
    expect(await whyNot({ trace_sha256: 'f'.repeat(64) })).toEqual({
      missing: `${trace_path} is not the trace that was swept`,
    });
    expect(await whyNot({ spec_fingerprint: 'f' })).toEqual({
      missing: 'the rows were made by another version of the rules',
    });
  });

  test('rows that do not come out again are refused', async () => {
    const forged = rows.map((row) => ({ ...row, trace: trace_path, time_total_ns: Number(row.time_total_ns) - 1 }));
    await expect(boundsOf(subjectOf(forged))).rejects.toThrow(/simulated again it is/);
  });
});

describe('what the page says', () => {
  test('a setting, pasted, gives the configuration of its row', () => {
    const any = fc.record({
      mode: fc.constantFrom<Mode>(...mode_names),
      over: fc.record(
        {
          mmap_threshold_bytes: fc.nat(2 ** 30),
          kept_bytes_max: fc.constantFrom(0, 1000, 4 * MiB, 2 ** 47),
          strategy_set: fc.nat(1),
          thp_policy: fc.nat(2),
          batch: fc.nat(1),
          bigcache_slots: fc.constantFrom(1, 64, 4096),
          region_bytes: fc.constantFrom(4 * MiB, 2 ** 40),
        },
        { requiredKeys: [] },
      ),
    });
    const [outcome] = simulateAll(mixed.chunks(), [setupWith(configOf('BALANCED'))]);
    fc.assert(
      fc.property(any, ({ mode, over }) => {
        const config = configOf(mode, over);
        const row = rowOf({ ...contextOf('t', ''), mode }, config, outcome, { checked: 'none', verdict: 'unchecked' });
        expect(configOfRow(row)).toEqual(config);
        const [, flag, ...sets] = flagsOf(row).split(/ ?--(?:mode|set) /);
        const read = Object.fromEntries(sets.map((text) => parseSetting(text, parseBytes)));
        expect(configOf(parseMode(flag), read)).toEqual(config);
        expect(environmentOf(row)).toBe(`HAKMEM_MODE=${mode}\nHAKMEM_SET=${changesOf(row).join(',')}`);
      }),
    );
  });

  test('to leave it where nothing gains a hundredth, to set it where something does, flat where all are alike', () => {
    const scored = (score_total: number, violation: string | null = null): Row => ({ score_total, violation });
    const base = scored(1);
    expect(worthOf(scored(0.9), base, [scored(0.9), scored(2)])).toBe('set');
    expect(worthOf(scored(0.99), base, [scored(0.99), scored(2)])).toBe('set');
    expect(worthOf(scored(0.991), base, [scored(0.991), scored(2)])).toBe('leave');
    expect(worthOf(scored(0.995), base, [scored(0.995), scored(1.004)])).toBe('flat');
    expect(worthOf(scored(0.9), null, [scored(0.9), scored(2)])).toBe('unknown');
    expect(worthOf(scored(0.9, 'undersized'), base, [scored(0.9)])).toBe('broken');
    // Where nothing is large, everything scores 0: there is nothing to win.
    expect(worthOf(scored(0), scored(0), [scored(0), scored(0)])).toBe('flat');
    expect(worthOf(scored(0), scored(0.5), [scored(0)])).toBe('set');
  });

  test('the front is what no row beats in time and memory, and nothing else', () => {
    const dots = fc.array(fc.record({ time: fc.nat(20), memory: fc.nat(20) }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(dots, (list) => {
        const made_rows = list.map(({ time, memory }) => ({
          time_total_ns: time,
          resident_peak_bytes: memory,
          heap_resident_peak_bytes: 0,
          violation: null,
        }));
        const front = frontOf(made_rows);
        const beats = (a: Row, b: Row): boolean =>
          Number(a.time_total_ns) <= Number(b.time_total_ns) &&
          memoryOf(a) <= memoryOf(b) &&
          (a.time_total_ns !== b.time_total_ns || memoryOf(a) !== memoryOf(b));
        for (const row of made_rows)
          expect(made_rows.some((other) => beats(other, row))).toBe(
            !front.some((each) => each.time_total_ns === row.time_total_ns && memoryOf(each) === memoryOf(row)),
          );
      }),
    );
    expect([0, 25, 26, 27].map(letterOf)).toEqual(['A', 'Z', 'AA', 'AB']);
  });

  test('causes add up to the time, and none is negative', () => {
    for (const row of rows) {
      const parts = causesOf(row);
      expect(Math.min(...parts)).toBeGreaterThanOrEqual(0);
      expect(parts.reduce((sum, each) => sum + each, 0)).toBe(row.time_total_ns);
    }
  });

  test('axes are what varies, the one that explains most first; many values stand in bins', () => {
    const axes = axesOf([subjectOf(rows)]);
    expect(axes.map(({ name }) => name).sort()).toEqual(['bigcache_ways', 'kept_bytes_max', 'mmap_threshold_bytes']);
    expect(axes[0].influence).toBeGreaterThanOrEqual(axes[1].influence);
    for (const { influence } of axes) expect(influence >= 0 && influence <= 1).toBe(true);
    const many = rows.flatMap((row) =>
      Array.from({ length: 3 }, (_, copy) => ({
        ...row,
        batch_blocks_max: 1 + ((rows.indexOf(row) * 3 + copy) % 100),
        config_hash: `${row.config_hash}${copy}`,
      })),
    );
    const [axis] = axesOf([subjectOf(many)]).filter(({ name }) => name === 'batch_blocks_max');
    expect(axis.values.length).toBe(values_max);
    for (const row of many) {
      const { low, high } = axis.values[axis.of(row)];
      expect(Number(low) <= row.batch_blocks_max && row.batch_blocks_max <= Number(high)).toBe(true);
    }
  });

  test('a configuration that two files have counts once, and one in dispute is not hidden', () => {
    const copies = rows.map((row, index): Row => ({ ...row, verdict: index === 0 ? 'differ' : 'unchecked' }));
    const [subject, ...others] = subjectsOf([
      { path: 'a', rows, measured: [] },
      { path: 'b', rows: copies, measured: [] },
    ]);
    expect(others).toEqual([]);
    expect(subject.rows.map(({ verdict }) => verdict).sort()).toEqual([
      ...Array(rows.length - 1).fill('agree'),
      'differ',
    ]);
    const touched = rows.map((row): Row => ({ ...row, touch: 'all' }));
    const names = subjectsOf([{ path: 'a', rows: [...rows, ...touched], measured: [] }]).map(({ name }) => name);
    expect(names).toEqual(['mixed.hak, touch page', 'mixed.hak, touch all']);
  });

  test('pairs in the predicted order are counted, ties are not', () => {
    const pair = (predicted_ns: number, measured_ns: number) => ({ config_hash: '', predicted_ns, measured_ns });
    expect(orderOf([pair(1, 10), pair(2, 20), pair(3, 15), pair(3, 5)])).toEqual({ same: 2, pairs: 5 });
  });

  test('columns read back as the rows were', () => {
    const { columns, constant } = columnsOf(rows, [rows[0]], []);
    rows.forEach((row, index) => {
      const cells = columns.map((column) => [
        column.name,
        'cells' in column ? column.cells[index] : column.words[column.at[index]],
      ]);
      expect({ ...constant, ...Object.fromEntries(cells) }).toEqual(row);
    });
  });

  test('whatever is put into HTML is escaped', () => {
    expect(html`<p title="${'"><img>'}">${['<a>', "'"]}${new Html('<b>')}${null}</p>`.text).toBe(
      '<p title="&quot;&gt;&lt;img&gt;">&lt;a&gt;&#39;<b></p>',
    );
  });
});

interface Visit {
  readonly page: Page;
  readonly said: string[];
  readonly fetched: string[];
}

async function visit(path: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width: 1300, height: 900 }, ...options });
  const page = await context.newPage();
  const said: string[] = [];
  const fetched: string[] = [];
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => said.push(`error: ${error.message}`));
  page.on('request', (each) => fetched.push(each.url()));
  await page.goto(`file://${encodeURI(path)}`);
  return { page, said, fetched };
}

describe('the page', () => {
  let path: string;
  beforeAll(() => {
    path = made('report', rows);
  });

  test('opens from disk: no word on the console, nothing fetched, nothing that refers outside', async () => {
    const { page, said, fetched } = await visit(path);
    expect(await page.locator('#rows-body tr').count()).toBe(rows.length);
    expect({ said, fetched }).toEqual({ said: [], fetched: [`file://${path}`] });
    expect(readFileSync(path, 'utf8')).not.toMatch(/(?:src|href)="(?!#)|url\(|@import/);
    await page.context().close();
  });

  test('says first what to set, ready to paste, and that prices are nominal', async () => {
    const { page } = await visit(path);
    const first = page.locator('main > section').first();
    const { best } = subjectOf(rows);
    expect(await first.locator('pre').first().textContent()).toBe(flagsOf(best));
    expect(await first.locator('.verdict').textContent()).toMatch(/^Set this: score/);
    expect(await first.locator('.loud').allTextContents()).toEqual([expect.stringContaining('Prices are nominal')]);
    expect(await first.textContent()).toContain('the C core made the same decisions');
    await page.context().close();
  });

  test('rows are sorted by keyboard, and the heading says which way', async () => {
    const { page } = await visit(path);
    const column = (name: string) => page.locator(`#rows-head [data-sort=${name}]`);
    const shown = async (): Promise<number[]> => {
      const names = await page
        .locator('#rows-head button')
        .evaluateAll((all) => all.map((each) => each.getAttribute('data-sort')));
      const cells = page.locator(`#rows-body td:nth-child(${names.indexOf('faults') + 1})`);
      return (await cells.allTextContents()).map((text) => Number(text.replaceAll(',', '')));
    };
    const faults = rows.map((row) => Number(row.faults)).sort((a, b) => a - b);
    await column('faults').focus();
    await page.keyboard.press('Enter');
    expect(await page.locator('th[aria-sort]').getAttribute('aria-sort')).toBe('ascending');
    expect(await shown()).toEqual(faults);
    // The heading keeps the focus, so that a second press turns the order.
    await page.keyboard.press('Space');
    expect(await page.locator('th[aria-sort]').getAttribute('aria-sort')).toBe('descending');
    expect(await shown()).toEqual(faults.reverse());
    await page.context().close();
  });

  test('a filter leaves what it says, and the CSV has just that, with every column', async () => {
    const { page } = await visit(path);
    await page.getByLabel('Filter').fill('bigcache_ways=4 mmap_threshold_bytes>1048576');
    const wanted = rows.filter((row) => row.bigcache_ways === 4 && Number(row.mmap_threshold_bytes) > MiB);
    expect(wanted.length).toBeGreaterThan(0);
    expect(await page.locator('#rows-body tr').count()).toBe(wanted.length);
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByText('Download as CSV').click()]);
    const lines = readFileSync(await download.path(), 'utf8')
      .trimEnd()
      .split('\r\n');
    expect(lines.length).toBe(1 + wanted.length);
    expect(lines[0].split(',').sort()).toEqual(Object.keys(rows[0]).sort());
    await page.context().close();
  });

  test('columns come and go, and heat maps change', async () => {
    const { page } = await visit(path);
    await page.locator('#columns summary').click();
    await page.getByLabel('syscalls_mmap').check();
    expect(await page.locator('#rows-head [data-sort=syscalls_mmap]').count()).toBe(1);
    const maps = page.locator('figure[id*=heat]');
    expect(await maps.count()).toBe(6);
    expect(await maps.filter({ visible: true }).count()).toBe(1);
    const last = await maps.last().getAttribute('id');
    await page.locator('select.maps').selectOption(last!);
    expect(await maps.filter({ visible: true }).getAttribute('id')).toBe(last);
    await page.context().close();
  });

  test.each(['light', 'dark'] as const)('axe finds no serious fault in %s, wide and narrow', async (colorScheme) => {
    for (const width of [1300, 390]) {
      const { page } = await visit(path, { colorScheme, viewport: { width, height: 800 } });
      expect(await axeViolations(page)).toEqual([]);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(wide).toBeLessThanOrEqual(width);
      await page.context().close();
    }
  });

  test('prints on white, with the tools left out and nothing folded away', async () => {
    const { page } = await visit(path, { colorScheme: 'dark' });
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
    const looks = await page.evaluate(() => ({
      ink: getComputedStyle(document.body).color,
      ground: getComputedStyle(document.documentElement).backgroundColor,
      tools: [...document.querySelectorAll('.tools')].filter((each) => getComputedStyle(each).display !== 'none')
        .length,
      folded: document.querySelectorAll('details:not([open]):not(#columns)').length,
    }));
    expect(looks).toEqual({ ink: 'rgb(26, 31, 38)', ground: 'rgb(255, 255, 255)', tools: 0, folded: 0 });
    const pdf = await page.pdf({ format: 'A4' });
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    await page.context().close();
  });

  test('names from a trace stay names', async () => {
    const name = '<img src=x onerror="document.title=1">.hak';
    mkdirSync(at('hostile'));
    copyFileSync(trace_path, at(`hostile/${name}`));
    const hostile = rows.map((row) => ({
      ...row,
      trace: `hostile/${name}`,
      machine: '</script><script>alert(1)</script>',
    }));
    const { page, said, fetched } = await visit(made('hostile', hostile));
    expect(await page.locator('img').count()).toBe(0);
    expect(await page.locator('h2').allTextContents()).toContain(`hostile/${name}`);
    expect({ said, fetched: fetched.length }).toEqual({ said: [], fetched: 1 });
    await page.context().close();
  });

  test('without the default and without the trace it says so, and compares with the median', async () => {
    const { page, said } = await visit(
      made(
        'alone',
        rows.map((row): Row => ({ ...row, trace: 'gone.hak', verdict: 'unchecked' })),
      ),
    );
    expect(said).toEqual([]);
    const text = (await page.locator('main').textContent())!;
    expect(text).toContain('what the default would score is not known here');
    expect(text).toContain('gone.hak is not here');
    expect(text).toContain(`${rows.length} of ${rows.length} rows are unchecked`);
    await page.context().close();
  });

  test('ten thousand rows open, sort and filter, a hundred of them in the page at a time', async () => {
    const many = Array.from({ length: 10_000 }, (_, index) => {
      const row = rows[index % rows.length];
      return {
        ...row,
        trace: 'gone.hak',
        batch_flush_bytes: 4096 * (index + 1),
        config_hash: index.toString(16).padStart(16, '0'),
      };
    });
    const { page, said } = await visit(made('many', many));
    await page.locator('#rows-head [data-sort=score_total]').click();
    await page.getByLabel('Filter').fill('bigcache_ways=16');
    expect(await page.locator('#rows-count').textContent()).toMatch(/of 10,000 rows, page 1 of/);
    expect(await page.locator('#rows-body tr').count()).toBe(100);
    expect(said).toEqual([]);
    await page.context().close();
  });
});

describe('one line and exit code 2, and nothing is written', () => {
  const refused = (...args: string[]): string => {
    const before = readdirSync(folder);
    const { status, stdout, stderr } = hakmem(['report', ...args], folder);
    expect({ status, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 2, stdout: '', lines: 1 });
    expect(readdirSync(folder)).toEqual(before);
    return stderr;
  };

  test('a result that is missing, empty, torn, of another kind, or not a result', () => {
    expect(refused('gone.ndjson', '-o', 'x.html')).toContain('gone.ndjson: no such file');
    written('empty.ndjson', []);
    expect(refused('empty.ndjson', '-o', 'x.html')).toContain('empty.ndjson: no rows');
    writeFileSync(at('torn.ndjson'), JSON.stringify(rows[0]).slice(0, 300));
    expect(refused('torn.ndjson', '-o', 'x.html')).toContain('torn.ndjson: line 1');
    written('other.ndjson', [{ a: 1 }]);
    expect(refused('other.ndjson', '-o', 'x.html')).toContain('other.ndjson: row 1: score_total: found nothing');
    written('null.ndjson', [null]);
    expect(refused('null.ndjson', '-o', 'x.html')).toContain('null.ndjson: row 1');
    written('range.ndjson', [{ ...rows[0], bigcache_ways: 0 }]);
    expect(refused('range.ndjson', '-o', 'x.html')).toContain('bigcache_ways');
    written('prices.ndjson', [{ ...rows[0], prices: '{' }]);
    expect(refused('prices.ndjson', '-o', 'x.html')).toContain('prices');
    writeFileSync(at('page.parquet'), 'not parquet');
    expect(refused('page.parquet', '-o', 'x.html')).toContain('page.parquet');
  });

  test('an output that cannot be written, or is no page', () => {
    written('rows.ndjson', rows);
    expect(refused('rows.ndjson', '-o', 'nowhere/x.html')).toContain('nowhere/x.html');
    expect(refused('rows.ndjson', '-o', 'x.pdf')).toContain('x.pdf: wanted a name that ends with .html');
    expect(refused('rows.ndjson')).toContain('--output');
  });
});

test('a sweep goes in as it is, measured figures and all', () => {
  const swept_to = hakmem(
    ['sweep', 'mixed.hak', '--axis', 'bigcache_ways=1,8', '-o', 'swept.ndjson', '--check', 'decisions'],
    folder,
  );
  expect(swept_to.status).toBe(0);
  const { status, stdout } = hakmem(['report', 'swept.ndjson', '-o', 'swept.html', '--json'], folder);
  expect({ status, document: JSON.parse(stdout) }).toEqual({
    status: 0,
    document: {
      output: 'swept.html',
      bytes: readFileSync(at('swept.html')).length,
      rows: 2,
      traces: 1,
      swept: ['bigcache_ways'],
      without_bounds: [],
    },
  });
});

test('a page is made again byte for byte', () => {
  const first = readFileSync(made('again', rows), 'utf8');
  expect(readFileSync(made('again', rows), 'utf8')).toBe(first);
});

test('the row of a bound is simulated under the circumstances of the rows', () => {
  const { profile, touch, seed, prices: priced } = setupOf(rows[0], configOfRow(rows[0]));
  expect({ profile, touch, seed, prices: priced }).toEqual({
    profile: default_profile,
    touch: 'page',
    seed: 1,
    prices,
  });
});
