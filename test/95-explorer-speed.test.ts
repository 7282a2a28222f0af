/**
 * How quick the explorer is, in Debian's Chromium: `npm run bench:explorer` prints the table that docs/EXPLORER.md shows.
 * Nothing here passes or fails by a time.
 */
/// <reference lib="dom" />
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from 'd3-array';
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { SyntheticTrace, writeHak } from '../traces/index.ts';
import { launch } from './browser.ts';

const steps = 20;

describe.skipIf(process.env.HAKMEM_BENCH !== 'explorer')('the explorer', () => {
  test.each([1_000_000, 20_000_000])(
    'answers on a trace of %d events',
    async (events) => {
      const folder = mkdtempSync(join(tmpdir(), 'hakmem-explorer-'));
      const browser = await launch();
      try {
        const page_path = join(folder, 'page.html');
        expect(spawnSync('node', ['bin/hakmem.js', 'explore', '-o', page_path]).status).toBe(0);
        const trace = new SyntheticTrace('mixed', { events, seed: 3, boundaries_bytes: [] });
        writeHak(
          join(folder, 'mixed.hak'),
          trace.chunks(),
          { time: false, sites: true, touch: false },
          () => trace.origin,
        );
        const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
        await page.goto(`file://${page_path}`);
        await watchFrames(page);
        await page.locator('input[type=file]').setInputFiles(join(folder, 'mixed.hak'));
        await settled(page);
        const read = /read in\s*([\d.]+ m?s)/.exec((await page.locator('body').textContent())!)?.[1];
        await page.getByLabel('mmap_threshold_bytes, slider').focus();
        const ms: number[] = [];
        for (let step = 0; step < steps; step += 1) {
          await page.keyboard.press(step % 2 === 0 ? 'ArrowRight' : 'ArrowLeft');
          await settled(page);
          ms.push(await milliseconds(page));
        }
        await page.locator('#p-mmap_threshold_bytes').fill('32KiB');
        await page.keyboard.press('Enter');
        await page.locator('.waiting').waitFor();
        await settled(page);
        const again = await milliseconds(page);
        const gap = await page.evaluate(() => (window as unknown as { gap: number }).gap);
        const round = (value: number): string => value.toFixed(0);
        process.stdout.write(
          `${events} events: read and folded in ${read}; a step of the slider ${round(median(ms)!)} ms, ` +
            `${round(Math.min(...ms))} to ${round(Math.max(...ms))}; first threshold of 32 KiB ${round(again)} ms; ` +
            `longest gap between two frames ${round(gap)} ms; Chromium ${browser.version()}\n`,
        );
        expect(ms).toHaveLength(steps);
      } finally {
        await browser.close();
        rmSync(folder, { recursive: true, force: true });
      }
    },
    600_000,
  );
});

async function settled(page: Page): Promise<void> {
  await page.locator('.answers[aria-busy=false] [data-ms]').waitFor({ timeout: 300_000 });
}

const milliseconds = async (page: Page): Promise<number> =>
  Number(await page.locator('[data-ms]').getAttribute('data-ms'));

async function watchFrames(page: Page): Promise<void> {
  await page.evaluate(() => {
    const watched = window as unknown as { gap: number };
    watched.gap = 0;
    let last = performance.now();
    const frame = (): void => {
      const now = performance.now();
      watched.gap = Math.max(watched.gap, now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
}
