/** The explorer: one page, the simulator in it, and what a person does with it, in Debian's Chromium. */
/// <reference lib="dom" />
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chainOf, titleOf } from '../experiments/chain.ts';
import { CurveRecorder, curve_points_max } from '../experiments/explorer/curve.ts';
import { figure_groups, figureNamed } from '../experiments/explorer/figures.ts';
import { listed_max } from '../experiments/explorer/loaded.ts';
import { bytesAt, param_groups, scaleOf, searched, stepAt, stepsOf } from '../experiments/explorer/param-groups.ts';
import { commandOf, first_setting, first_view, readView, setupOf, writeView } from '../experiments/explorer/view.ts';
import { probeProfile } from '../native/index.ts';
import {
  configOf,
  default_profile,
  enums,
  type LogEntry,
  type Moment,
  mode_names,
  type Param,
  param_names,
  params,
  type Result,
  replay,
  type Setup,
  shape,
} from '../sim/index.ts';
import { open, SyntheticTrace, type Trace, writeHak } from '../traces/index.ts';
import { axeViolations, launch } from './browser.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-explorer-'));
const page_path = join(folder, 'page.html');
const sample = 'traces/samples/python-json.hak';
const profile = probeProfile() ?? default_profile;
const large_events = 2_000_000;
const large_path = join(folder, 'mixed.hak');

let browser: Browser;
beforeAll(async () => {
  const written = hakmem('explore', '-o', page_path);
  expect({ status: written.status, stdout: written.stdout }).toEqual({
    status: 0,
    stdout: expect.stringContaining(page_path),
  });
  const mixed = new SyntheticTrace('mixed', { events: large_events, seed: 3, boundaries_bytes: [] });
  writeHak(large_path, mixed.chunks(), { time: false, sites: true, touch: false }, () => mixed.origin);
  browser = await launch();
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

function hakmem(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('node', ['bin/hakmem.js', ...args], { encoding: 'utf8' });
}

interface Visit {
  readonly page: Page;
  /** Everything the console said and every error that nobody caught. */
  readonly said: string[];
  /** Addresses that were asked for, beyond the page's own and what it made itself. */
  readonly fetched: string[];
}

async function visit(url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
  const page = await context.newPage();
  const said: string[] = [];
  const fetched: string[] = [];
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => said.push(`error: ${error.message}`));
  page.on('request', (each) => {
    if (!/^(file|blob|data):/.test(each.url())) fetched.push(each.url());
  });
  await page.goto(url);
  return { page, said, fetched };
}

const visitPage = (hash = '', options: BrowserContextOptions = {}): Promise<Visit> =>
  visit(`file://${page_path}${hash}`, options);

/** Until the worker has answered everything that was asked. */
async function settled(page: Page): Promise<void> {
  await page.locator('.answers[aria-busy=false] [data-ms]').waitFor();
}

const numberIn = async (cell: Locator): Promise<number> => Number(await cell.getAttribute('data-value'));

async function shown(page: Page, side: 'a' | 'b' = 'a'): Promise<Record<string, number>> {
  const cells = await page.locator(`.figures [data-${side}]`).all();
  const pairs = cells.map(async (cell) => [await cell.getAttribute(`data-${side}`), await numberIn(cell)] as const);
  return Object.fromEntries(await Promise.all(pairs)) as Record<string, number>;
}

const digest = (page: Page, side = 'A'): Promise<string | null> => page.locator(`[data-digest=${side}]`).textContent();

/** What the page must show of a result: the same figures, zeros that only count deeds left out. */
function expected(result: Result, names: readonly string[]): Record<string, number | null> {
  return Object.fromEntries(names.map((name) => [name, figureNamed(name).of(result)]));
}

function inNode(trace: Trace, setup: Setup): Result {
  return replay(trace.chunks(), setup);
}

function setupIn(trace: Trace, changed: Partial<typeof first_setting> = {}): Setup {
  return setupOf({ ...first_setting, ...changed }, trace.statistics.large_blocks_touched > 0, profile);
}

async function expectShown(page: Page, result: Result, side: 'a' | 'b' = 'a'): Promise<void> {
  const figures = await shown(page, side);
  expect(Object.keys(figures).length).toBeGreaterThan(20);
  expect(figures).toEqual(expected(result, Object.keys(figures)));
  const all = figure_groups.flatMap((group) => group.figures.map(({ name }) => name));
  const left_out = all.filter((name) => !(name in figures));
  expect(left_out.filter((name) => side === 'a' && figureNamed(name).of(result) !== 0)).toEqual([]);
  expect(await digest(page, side.toUpperCase())).toBe(result.decision_digest);
}

const sliderOf = (page: Page): Locator => page.getByLabel('mmap_threshold_bytes, slider');

describe('the parts that need no browser', () => {
  const setting = fc
    .record({
      mode: fc.constantFrom(...mode_names),
      touch: fc.constantFrom(null, ...enums.touch),
      over: fc.record(
        Object.fromEntries(
          param_names.map((name) => [
            name,
            fc.integer({ min: params[name].min, max: Math.min(params[name].max, 2 ** 31 - 1) }),
          ]),
        ),
        { requiredKeys: [] },
      ),
    })
    .map((each) => ({ ...first_setting, ...each }));

  test('a view reads back from its address as it was written', () => {
    const view = fc.record({
      trace: fc.option(fc.string()),
      a: setting,
      b: fc.option(setting),
      chart: fc.constantFrom('memory', 'time', 'faults'),
      event: fc.option(fc.nat()),
    });
    fc.assert(
      fc.property(view, (each) => {
        expect(readView(`#${writeView(each)}`)).toEqual({ view: each, problems: [] });
      }),
    );
  });

  test('what an address has wrong is named, and the rest of it counts', () => {
    const { view, problems } = readView('#mode=FAST&batch=maybe&touch=all&colour=red&event=-1&b.mode=quick');
    expect(view).toEqual({ ...first_view, a: { mode: 'FAST', touch: 'all', over: {} }, b: first_setting });
    expect(problems).toHaveLength(4);
    expect(problems.join()).toMatch(/batch: found "maybe".*unknown parameter "colour".*unknown mode "quick".*event/);
  });

  test('the command is one that a shell reads back word for word', () => {
    const command = commandOf("it's a.hak", {
      mode: 'FAST',
      touch: 'first',
      over: { batch: 0, cold_from_bytes: 2 ** 21 },
    });
    const { stdout } = spawnSync('sh', ['-c', command.replace(/^npx hakmem/, 'printf "%s\\n"')], { encoding: 'utf8' });
    expect(stdout.split('\n').slice(0, -1)).toEqual(
      "replay|it's a.hak|--mode|FAST|--touch|first|--set|cold_from_bytes=2097152|--set|batch=false".split('|'),
    );
  });

  test('a curve of any length has few points, keeps its peak and ends where the trace ends', () => {
    const moment = (events: number, resident_bytes: number): Moment => ({
      events,
      time_ns: events * 10,
      faults: events,
      resident_bytes,
      mapped_bytes: resident_bytes,
      kept_bytes: 0,
      heap_bytes: 0,
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50_000 }), fc.nat(), (count, at) => {
        const recorder = new CurveRecorder();
        const peak = 1 + (at % count);
        for (let events = 1; events <= count; events += 1)
          recorder.add(moment(events, events === peak ? 1e9 : events % 7));
        const { events, resident_bytes } = recorder.finish();
        expect(events.length).toBeLessThanOrEqual(curve_points_max + 2);
        expect(resident_bytes[events.indexOf(peak)]).toBe(1e9);
        expect(events.at(-1)).toBe(count);
        expect([...events]).toEqual([...new Set(events)].sort((a, b) => a - b));
        if (count < curve_points_max) expect(events.length).toBe(count);
      }),
      { numRuns: 30 },
    );
  });

  test('every parameter has its place, and a search finds it by name', () => {
    const placed = param_groups.flatMap(({ names }) => names);
    expect([...placed, 'mmap_threshold_bytes'].sort()).toEqual([...param_names].sort());
    for (const name of placed) expect(searched(name).flatMap(({ names }) => names)).toContain(name);
    expect(searched('madvise range').flatMap(({ names }) => names)).toEqual(['batch_vectored']);
    expect(searched('no such thing')).toEqual([]);
  });

  test('every step of every slider is a value that the spec takes, and finds its step again', () => {
    for (const name of param_names.filter((each) => params[each].unit === 'bytes')) {
      const scale = scaleOf(name);
      const { min, max }: Param = params[name];
      for (let step = 0; step <= stepsOf(scale); step += 1) {
        const bytes = bytesAt(scale, step);
        expect(bytes, name).toBeGreaterThanOrEqual(min);
        expect(bytes, name).toBeLessThanOrEqual(max);
        if (name === 'region_bytes') expect(() => configOf('FAST', { [name]: bytes })).not.toThrow();
        // Near its lower end a slider has several steps for one page.
        if (bytes > 64 * scale.from_bytes || bytes === 0) expect(stepAt(scale, bytes), name).toBe(step);
      }
    }
  });
});

describe('the page, opened from a disk', () => {
  test('is one file that begins with the samples, asks no network, and has nothing of Node in it', async () => {
    const { page, said, fetched } = await visitPage();
    await page.getByRole('heading', { name: 'Pick a trace' }).waitFor();
    expect(await page.locator('.samples button').count()).toBe(9);
    await page.getByRole('button', { name: /^python-json/ }).click();
    await settled(page);
    expect({ said, fetched }).toEqual({ said: [], fetched: [] });
    const html = readFileSync('dist/page/index.html', 'utf8');
    expect(html).not.toMatch(
      /node:(fs|path|crypto|util)|__vite-browser-external|<(script|link)[^>]+(src|href)="(?!data:)/,
    );
    await page.context().close();
  });

  test('its numbers are those of the simulator in Node and of the command line, to the last digit', async () => {
    const { page } = await visitPage('#trace=python-json');
    await settled(page);
    const trace = open(sample);
    await expectShown(page, inNode(trace, setupIn(trace)));
    const command = (await page.locator('.command code').textContent())!;
    expect(command).toBe(`npx hakmem replay ${sample} --mode BALANCED`);
    const { stdout } = hakmem(...command.split(' ').slice(2), '--check', 'none', '--json');
    expect(await digest(page)).toBe(JSON.parse(stdout).sim.decision_digest);
    expect(await page.getByText('not cross-checked').count()).toBeGreaterThan(0);
    await page.context().close();
  });

  test('moving the threshold changes every answer, and says how long it simulated', async () => {
    const { page } = await visitPage('#trace=numpy-arrays');
    await settled(page);
    const before = await digest(page);
    await sliderOf(page).focus();
    for (let step = 0; step < 40; step += 1) await page.keyboard.press('ArrowRight');
    await page.waitForFunction((old) => document.querySelector('[data-digest]')!.textContent !== old, before);
    await settled(page);
    const trace = open('traces/samples/numpy-arrays.hak');
    const bytes = bytesAt(scaleOf('mmap_threshold_bytes'), 40 + stepAt(scaleOf('mmap_threshold_bytes'), 512 * 1024));
    expect(bytes).toBeGreaterThan(2 ** 21);
    await expectShown(page, inNode(trace, setupIn(trace, { over: { mmap_threshold_bytes: bytes } })));
    expect(await page.locator('.status').textContent()).toMatch(/^simulated in [\d.]+ ms/);
    expect(Number(await page.locator('[data-ms]').getAttribute('data-ms'))).toBeGreaterThan(0);
    // Below what was folded at first, the trace is read again.
    await page.locator('#p-mmap_threshold_bytes').fill('20000');
    await page.keyboard.press('Enter');
    await page.getByText('read again').waitFor();
    await settled(page);
    await expectShown(page, inNode(trace, setupIn(trace, { over: { mmap_threshold_bytes: 20000 } })));
    // What was read for that serves a higher one.
    await page.locator('#p-mmap_threshold_bytes').fill('300000');
    await page.keyboard.press('Enter');
    const higher = inNode(trace, setupIn(trace, { over: { mmap_threshold_bytes: 300_000 } }));
    await page.locator(`[data-digest]:text("${higher.decision_digest}")`).waitFor();
    await settled(page);
    await expectShown(page, higher);
    expect(await page.locator('.status').textContent()).not.toContain('read again');
    await page.context().close();
  });

  test('every threshold of the set is simulated, and one click puts it in force', async () => {
    const { page } = await visitPage('#trace=python-json&strategy_set=public');
    await page.locator('.thresholds[aria-busy=false]').waitFor();
    const trace = open(sample);
    const rows = await page.locator('.thresholds tbody tr').all();
    expect(rows).toHaveLength(shape.strategies);
    for (const [at, mmap_threshold_bytes] of shape.strategy_public_bytes.entries()) {
      const { faults } = inNode(trace, setupIn(trace, { over: { mmap_threshold_bytes, strategy_set: 1 } }));
      expect(await numberIn(rows[at].locator('td').nth(2))).toBe(faults);
    }
    await rows[5].getByRole('button').click();
    await page.waitForFunction(() => location.hash.includes('mmap_threshold_bytes=3145728'));
    expect(await page.locator('#p-mmap_threshold_bytes').inputValue()).toBe('3 MiB');
    await page.context().close();
  });

  test('switches, choices and exact values set every other parameter; a reset gives it back to the mode', async () => {
    const { page } = await visitPage('#trace=python-json');
    await settled(page);
    const trace = open(sample);
    await page.getByLabel('mode', { exact: true }).selectOption('FAST');
    await page.getByLabel('touch model').selectOption('all');
    await page.getByLabel('Search parameters').fill('bigcache');
    await page.getByLabel('bigcache', { exact: true }).uncheck();
    await page.getByLabel('Search parameters').fill('thp_policy');
    await page.getByLabel('thp_policy', { exact: true }).selectOption('off');
    await page.getByLabel('Search parameters').fill('batch_blocks_max');
    await page.getByLabel('batch_blocks_max', { exact: true }).fill('2');
    await page.keyboard.press('Enter');
    await page.getByLabel('Search parameters').fill('kept');
    await page.locator('#p-kept_bytes_max').fill('1MiB');
    await page.keyboard.press('Enter');
    const over = { bigcache: 0, thp_policy: 0, batch_blocks_max: 2, kept_bytes_max: 2 ** 20 };
    const result = inNode(trace, setupIn(trace, { mode: 'FAST', touch: 'all', over }));
    await page.locator(`[data-digest]:text("${result.decision_digest}")`).waitFor();
    await settled(page);
    await expectShown(page, result);
    await page.getByRole('button', { name: 'Reset kept_bytes_max' }).click();
    const { kept_bytes_max: _, ...others } = over;
    const without = inNode(trace, setupIn(trace, { mode: 'FAST', touch: 'all', over: others }));
    await page.locator(`[data-digest]:text("${without.decision_digest}")`).waitFor();
    await page.getByRole('button', { name: 'Reset to FAST' }).click();
    const bare = inNode(trace, setupIn(trace, { mode: 'FAST', touch: 'all' }));
    await page.locator(`[data-digest]:text("${bare.decision_digest}")`).waitFor();
    await page.context().close();
  });

  test('a value that cannot be says what was found and wanted, and the last answer stays', async () => {
    const { page } = await visitPage('#trace=python-json');
    await settled(page);
    const before = await shown(page);
    await page.locator('#p-mmap_threshold_bytes').fill('lots');
    await page.keyboard.press('Enter');
    expect(await page.getByRole('alert').filter({ hasText: 'lots' }).textContent()).toMatch(/not a size; wanted/);
    await page.locator('#p-bigcache_slots').fill('3');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'bigcache_slots: found 3, wanted a power of two' }).waitFor();
    await page.locator('#p-bigcache_slots').fill('5000');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'found 5,000, wanted 1 to 4,096' }).waitFor();
    expect(await shown(page)).toEqual(before);
    await page.context().close();
  });

  test('a bug of the original that breaks a rule is said, with the event at which the replay stopped', async () => {
    const trace = open(sample);
    const over = { legacy_undersized: 1, bigcache_round: 0 } as const;
    const { violation } = inNode(trace, setupIn(trace, { over }));
    expect(violation).not.toBeNull();
    const { page } = await visitPage('#trace=python-json&legacy_undersized=true&bigcache_round=false');
    await settled(page);
    const alert = page.getByRole('alert').filter({ hasText: 'broke the rule' });
    expect(await alert.textContent()).toContain(
      `event ${violation!.event}: the policy broke the rule ${violation!.rule}`,
    );
    await page.context().close();
  });
});

describe('a trace of the visitor', () => {
  async function drop(page: Page, name: string, content: Buffer): Promise<void> {
    const data = await page.evaluateHandle(
      ({ name, base64 }) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))], name));
        return transfer;
      },
      { name, base64: content.toString('base64') },
    );
    await page.dispatchEvent('body', 'drop', { dataTransfer: data });
  }

  const text_path = join(folder, 'trace.txt');
  const text = Array.from({ length: 60 }, (_, at) =>
    at % 3 === 2 ? `1: free ${4096 * at}` : `1: malloc ${4096 * (at + 1)} ${600_000 + 90_000 * (at % 7)}`,
  ).join('\n');

  test('a text trace that is dropped is read as import reads it', async () => {
    writeFileSync(text_path, text);
    const { page, said } = await visitPage();
    await drop(page, 'trace.txt', Buffer.from(text));
    await settled(page);
    const trace = open(text_path);
    expect(trace.statistics.events).toBe(60);
    await expectShown(page, inNode(trace, setupIn(trace)));
    expect(await page.locator('.command code').textContent()).toBe('npx hakmem replay trace.txt --mode BALANCED');
    expect(said).toEqual([]);
    await page.context().close();
  });

  test('a broken file says in one line what and where, and the trace before stays with its settings', async () => {
    const { page, said } = await visitPage('#trace=python-json&mmap_threshold_bytes=1048576');
    await settled(page);
    const before = await digest(page);
    const bytes = readFileSync(sample);
    const broken: readonly (readonly [string, Buffer])[] = [
      ['half.hak', bytes.subarray(0, 20_000)],
      ['flipped.hak', flipped(bytes, 30_000)],
      ['words.txt', Buffer.from('Dear sir or madam,\n')],
      ['late.txt', Buffer.from(`${text}\n1: malloc 4096 many\n`)],
      ['empty', Buffer.alloc(0)],
    ];
    for (const [name, content] of broken) {
      const path = join(folder, name);
      writeFileSync(path, content);
      await drop(page, name, content);
      const banner = page.locator('.banner[role=alert] span', { hasText: name });
      await banner.waitFor();
      expect(await banner.textContent()).toBe(messageOf(() => exhaust(open(path))).replaceAll(`${folder}/`, ''));
      expect(await digest(page)).toBe(before);
    }
    await page.getByRole('button', { name: 'Dismiss' }).click();
    expect(await page.locator('.banner').count()).toBe(0);
    await page.getByLabel('mode', { exact: true }).selectOption('MINIMAL');
    await page.waitForFunction((old) => document.querySelector('[data-digest]')!.textContent !== old, before);
    expect(said).toEqual([]);
    await page.context().close();
  });

  function flipped(bytes: Buffer, at: number): Buffer {
    const copy = Buffer.from(bytes);
    copy[at] ^= 1;
    return copy;
  }

  function exhaust(trace: Trace): void {
    for (const _ of trace.chunks());
  }

  function messageOf(action: () => void): string {
    try {
      action();
    } catch (error) {
      return (error as Error).message;
    }
    throw new Error('nothing was wrong');
  }
});

describe('two settings, and one event', () => {
  test('A and B stand side by side with their difference', async () => {
    const { page } = await visitPage('#trace=numpy-arrays');
    await settled(page);
    await page.getByRole('button', { name: 'Compare' }).click();
    await page.getByLabel('mode', { exact: true }).selectOption('MINIMAL');
    const trace = open('traces/samples/numpy-arrays.hak');
    const [a, b] = [inNode(trace, setupIn(trace)), inNode(trace, setupIn(trace, { mode: 'MINIMAL' }))];
    await page.locator(`[data-digest=B]:text("${b.decision_digest}")`).waitFor();
    await expectShown(page, a);
    await expectShown(page, b, 'b');
    const row = page.locator('.figures tr', { has: page.locator('[data-a=faults]') });
    const change = b.faults - a.faults;
    expect(change).toBeGreaterThan(0);
    expect(await row.locator('td').nth(2).textContent()).toBe(`+${change.toLocaleString('en-US')}`);
    expect(await row.locator('.worse').count()).toBe(2);
    // The curve has the lines of both.
    expect(await page.locator('#course .u-series').count()).toBe(1 + 2 * 4);
    await page.getByRole('radio', { name: 'Setting A' }).check();
    expect(await page.getByLabel('mode', { exact: true }).inputValue()).toBe('BALANCED');
    await page.getByRole('button', { name: 'Compare' }).click();
    await page.waitForFunction(() => !location.hash.includes('b.mode'));
    expect(await page.locator('[data-digest=B]').count()).toBe(0);
    await page.context().close();
  });

  test('an event that is clicked or typed is explained as the log of a replay has it', async () => {
    const { page } = await visitPage('#trace=python-json');
    await settled(page);
    const trace = open(sample);
    const explained = async (event: number): Promise<void> => {
      const log = { from: event, to: event + 1 };
      const entry: LogEntry = inNode(trace, { ...setupIn(trace), log }).log[0];
      await page.locator('.chain[aria-busy=false] h3', { hasText: `event ${event}:` }).waitFor();
      expect((await page.locator('.chain h3').textContent())!.trim()).toBe(titleOf(entry));
      const rows = await page.locator('.chain tr').all();
      const links = rows.map(async (row) => ({
        link: await row.locator('th').textContent(),
        says: await row.locator('td').textContent(),
      }));
      expect(await Promise.all(links)).toEqual(chainOf(entry));
    };
    const third = page.locator('.events tbody tr').nth(2).getByRole('button');
    const event = Number((await third.textContent())!.replaceAll(',', ''));
    await third.click();
    await explained(event);
    await page.getByLabel('Event', { exact: true }).fill('9,001');
    await page.keyboard.press('Enter');
    await explained(9001);
    // The list has turned to where that event is.
    const listed = await page.locator('.events tbody th').allTextContents();
    expect(listed.map((each) => Number(each.replaceAll(',', ''))).some((each) => Math.abs(each - 9001) < 200)).toBe(
      true,
    );
    // A click on the curve takes the event under it, one on the timeline the nearest of a large block.
    await page.locator('#course .u-over').scrollIntoViewIfNeeded();
    const box = (await page.locator('#course .u-over').boundingBox())!;
    await page.mouse.click(box.x + box.width / 2, box.y + 20);
    await page.waitForFunction(() => !location.hash.includes('event=9001'));
    const middle = Number(new URLSearchParams(page.url().split('#')[1]).get('event'));
    expect(middle).toBeGreaterThan(6000);
    expect(middle).toBeLessThan(9000);
    await explained(middle);
    await page.getByLabel('Event', { exact: true }).fill('14776');
    await page.keyboard.press('Enter');
    await page.getByText('wanted a whole number from 0 to 14775').waitFor();
    await page.context().close();
  });

  test('a link shows the same view again, in this page and in another', async () => {
    const hash =
      '#trace=redis&mode=RESEARCH&touch=page&mmap_threshold_bytes=786432&batch=false&b.mode=FAST&chart=faults&event=40000';
    const { page } = await visitPage(hash);
    await settled(page);
    await page.locator('#p-mmap_threshold_bytes').fill('1MiB');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => location.hash.includes('mmap_threshold_bytes=1048576'));
    await settled(page);
    const link = new URL(page.url()).hash;
    expect(link).toBe(hash.replace('786432', '1048576'));
    const again = await visitPage(link);
    await settled(again.page);
    await again.page.locator('.chain h3').first().waitFor();
    expect(new URL(again.page.url()).hash).toBe(link);
    for (const side of ['A', 'B']) expect(await digest(again.page, side)).toBe(await digest(page, side));
    expect(await again.page.getByRole('radio', { name: 'Faults so far' }).isChecked()).toBe(true);
    // In the page that is open, too, and with another trace.
    await again.page.evaluate(() => {
      location.hash = '#trace=python-json&mode=MINIMAL';
    });
    const trace = open(sample);
    const { decision_digest } = inNode(trace, setupIn(trace, { mode: 'MINIMAL' }));
    await again.page.locator(`[data-digest=A]:text("${decision_digest}")`).waitFor();
    await again.page.context().close();
    await page.context().close();
  });

  test('a link to a file that is not here, or with nonsense in it, says so', async () => {
    const { page } = await visitPage('#trace=mine.hak&batch=perhaps');
    await page.getByRole('alert').filter({ hasText: 'mine.hak' }).waitFor();
    await page.evaluate(() => {
      location.hash = '#trace=python-json&batch=perhaps';
    });
    await page.getByRole('alert').filter({ hasText: 'batch: found "perhaps"' }).waitFor();
    await page.context().close();
  });
});

describe('for everyone', () => {
  const compared = '#trace=python-json&b.mode=MINIMAL&event=3209&mmap_threshold_bytes=1048576';

  for (const colorScheme of ['light', 'dark'] as const)
    test(`axe finds no serious fault in ${colorScheme}, at any width`, async () => {
      for (const [hash, width] of [
        ['', 1400],
        [compared, 1400],
        [compared, 400],
        ['#trace=sqlite&warm_from_bytes=4194304', 1400],
      ] as const) {
        const { page } = await visitPage(hash, { colorScheme, viewport: { width, height: 900 } });
        await page.locator(hash === '' ? '.samples' : '.answers').waitFor();
        if (hash === compared) await page.locator('.chain h3').nth(1).waitFor();
        await page.locator('details').evaluateAll((all) => {
          for (const each of all) (each as HTMLDetailsElement).open = true;
        });
        expect(await axeViolations(page)).toEqual([]);
        // Nothing is wider than the window but what scrolls by itself.
        const wide = await page.evaluate(() =>
          [...document.querySelectorAll('main *')]
            .filter((each) => each.closest('#thresholds table, #events table') === null)
            .filter((each) => each.getBoundingClientRect().right > innerWidth)
            .map((each) => each.outerHTML.slice(0, 80)),
        );
        expect(wide).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
        await page.context().close();
      }
    });

  test('a keyboard alone picks a sample, moves the threshold, compares and explains, and sees where it is', async () => {
    const { page } = await visitPage();
    await page.locator('.samples').waitFor();
    const at = (): Promise<{ name: string; outline: string }> =>
      page.evaluate(() => {
        const element = document.activeElement as HTMLElement;
        const name = element.getAttribute('aria-label') ?? element.id + element.textContent;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return { name, outline: `${outlineStyle} ${outlineWidth}` };
      });
    const tabTo = async (wanted: RegExp): Promise<void> => {
      for (let tries = 0; tries < 120; tries += 1) {
        await page.keyboard.press('Tab');
        const { name, outline } = await at();
        if (name !== '') expect({ name, outline }).toEqual({ name, outline: 'solid 2px' });
        if (wanted.test(name)) return;
      }
      throw new Error(`no way by Tab to ${wanted}`);
    };
    await tabTo(/^python-json/);
    await page.keyboard.press('Enter');
    await settled(page);
    const before = await digest(page);
    await tabTo(/^Compare/);
    await page.keyboard.press('Space');
    await page.locator('[data-digest=B]').waitFor();
    await tabTo(/mmap_threshold_bytes, slider/);
    for (let step = 0; step < 20; step += 1) await page.keyboard.press('ArrowRight');
    await page.waitForFunction((old) => document.querySelector('[data-digest=B]')!.textContent !== old, before);
    expect(await digest(page)).toBe(before);
    await tabTo(/^Explain event 3,209/);
    await page.keyboard.press('Enter');
    await page.locator('.chain h3', { hasText: 'event 3209:' }).first().waitFor();
    await page.context().close();
  });

  test('paper gets the answers without the controls, in dark ink', async () => {
    const { page } = await visitPage(compared, { colorScheme: 'dark' });
    await settled(page);
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
    expect(await page.locator('.settings').isVisible()).toBe(false);
    expect(await page.locator('.figures').isVisible()).toBe(true);
    expect(await page.evaluate(() => getComputedStyle(document.body).color)).toBe('rgb(26, 31, 38)');
    await page.evaluate(() => dispatchEvent(new Event('afterprint')));
    await page.context().close();
  });

  test('a trace of two million events loads, and is simulated from its first byte on, while the page goes on', async () => {
    const { page, said } = await visitPage();
    await page.locator('.samples').waitFor();
    await page.evaluate(() => {
      const watched = window as unknown as { frames: number };
      watched.frames = 0;
      const frame = (): void => {
        if (document.querySelector('.answers .waiting') !== null) watched.frames += 1;
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });
    await page.locator('input[type=file]').setInputFiles(large_path);
    await settled(page);
    const trace = open(large_path);
    expect(await digest(page)).toBe(inNode(trace, setupIn(trace)).decision_digest);
    await sliderOf(page).focus();
    for (let step = 0; step < 3; step += 1) {
      await page.keyboard.press('ArrowRight');
      await settled(page);
      // How long that takes is for `npm run bench:explorer`: it is bound by the few events that are left.
      const [, left] = /([\d,]+) of 2,000,000 events one by one/.exec((await page.locator('.status').textContent())!)!;
      expect(Number(left.replaceAll(',', ''))).toBeLessThan(large_events / 10);
    }
    await page.evaluate(() => Object.assign(window, { frames: 0 }));
    await page.locator('#p-mmap_threshold_bytes').fill('1');
    await page.keyboard.press('Enter');
    await page.getByText('simulating anew').waitFor();
    await settled(page);
    expect(await page.locator('.status').textContent()).toContain('all 2,000,000 events');
    // A page that simulates by itself draws nothing meanwhile.
    expect(await page.evaluate(() => (window as unknown as { frames: number }).frames)).toBeGreaterThan(5);
    expect(await page.locator('.events tbody tr').count()).toBe(12);
    expect(large_events * 0.07).toBeLessThan(listed_max);
    expect(said).toEqual([]);
    await page.context().close();
  });
});

describe('the command', () => {
  async function serving(
    environment: NodeJS.ProcessEnv,
    ...args: string[]
  ): Promise<{ child: ChildProcess; url: string }> {
    const child = spawn('node', ['bin/hakmem.js', 'explore', '--json', ...args], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let words = '';
    child.stderr!.on('data', (piece) => {
      words += piece;
    });
    let text = '';
    for await (const piece of child.stdout!) {
      text += piece;
      if (text.endsWith('}\n')) break;
    }
    if (text === '') throw new Error(words);
    return { child, url: JSON.parse(text).url };
  }

  async function ended(child: ChildProcess): Promise<number | null> {
    const exit = once(child, 'exit');
    child.kill('SIGINT');
    return (await exit)[0] as number | null;
  }

  test('serves page and trace on this machine alone, and Ctrl-C ends it', async () => {
    const { child, url } = await serving(process.env, sample, '--no-open');
    try {
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
      const { page, said, fetched } = await visit(url);
      await settled(page);
      const trace = open(sample);
      await expectShown(page, inNode(trace, setupIn(trace)));
      expect(await page.locator('.command code').textContent()).toBe(`npx hakmem replay ${sample} --mode BALANCED`);
      expect({ said, fetched }).toEqual({ said: [], fetched: [url, `${url}trace`] });
      await page.context().close();
      expect(await status(url, 'evil.example')).toBe(403);
      expect(await status(`${url}../package.json`)).toBe(404);
      expect(await status(url)).toBe(200);
      const port = new URL(url).port;
      const taken = hakmem('explore', '--no-open', '--port', port);
      expect(taken).toMatchObject({ status: 2, stdout: '' });
      expect(taken.stderr).toBe(`hakmem: --port ${port}: already in use; wanted a free port\n`);
    } finally {
      expect(await ended(child)).toBe(130);
    }
  });

  test('opens a browser where there is a display, unless told not to', async () => {
    const bin = mkdtempSync(join(folder, 'bin-'));
    const opened = join(bin, 'opened');
    writeFileSync(join(bin, 'xdg-open'), `#!/bin/sh\necho "$1" >> ${opened}\n`, { mode: 0o755 });
    const environment = { ...process.env, PATH: `${bin}:${process.env.PATH}`, DISPLAY: ':9' };
    for (const [args, asks] of [
      [['--no-open'], false],
      [[], true],
    ] as const) {
      const { child, url } = await serving(environment, ...args);
      await visit(url).then(({ page }) => page.context().close());
      for (let tries = 0; tries < 50 && asks && !existsSync(opened); tries += 1)
        await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await ended(child)).toBe(130);
      expect(existsSync(opened)).toBe(asks);
      if (asks) expect(readFileSync(opened, 'utf8')).toBe(`${url}\n`);
    }
  });

  function status(url: string, host?: string): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const asked = request(url, { headers: host === undefined ? {} : { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asked.on('error', reject);
      asked.end();
    });
  }

  test('writes a page with the trace in it, whatever the trace is called', async () => {
    const odd = join(folder, 'a "b" <c>&.hak');
    writeFileSync(odd, readFileSync(sample));
    const file = join(folder, 'mine.html');
    const { status, stdout, stderr } = hakmem('explore', odd, '-o', file, '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({ path: file, bytes: readFileSync(file).length, trace: odd });
    const { page, said, fetched } = await visit(`file://${file}`);
    await settled(page);
    const trace = open(sample);
    await expectShown(page, inNode(trace, setupIn(trace)));
    expect({ said, fetched }).toEqual({ said: [], fetched: [] });
    await page.context().close();
  });

  test('what it cannot read or write is one line and exit code 2', () => {
    const broken = join(folder, 'broken.hak');
    writeFileSync(broken, readFileSync(sample).subarray(0, 1000));
    for (const [args, message] of [
      [['explore', join(folder, 'none.hak')], /none\.hak: no such file\n$/],
      [['explore', broken], /broken\.hak: byte 1000: the file ends here/],
      [['explore', '-o', join(folder, 'no', 'page.html')], /page\.html: cannot be written: no such file\n$/],
      [['explore', '--port', '0'], /"0" is not a whole number from 1 to 65535/],
    ] as const) {
      const { status, stdout, stderr } = hakmem(...args);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toMatch(message);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    }
  });
});
