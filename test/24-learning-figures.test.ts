/** A learned run with all that is known of it, its figures, its page, and the tables of docs/LEARNING.md. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { foldForLearning, type LearnedRun, learnedRun, learningData } from '../experiments/learned-run.ts';
import { learningFigures, learningPage, standalone } from '../experiments/report/learning.ts';
import { scenarioFamily } from '../experiments/studies/learned.ts';
import { freezeText, freezeWindow } from '../experiments/studies/learning-table.ts';
import { checkedRows, familiesOf, markdownOf, rowsOfFamily } from '../experiments/verify/learning.ts';
import { newLearner } from '../sim/decide/learners.ts';
import { type Config, configOf, default_profile, prices, type Setup, simulate } from '../sim/index.ts';
import type { Trace } from '../traces/index.ts';
import { axeViolations, launch } from './browser.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-learning-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const setupWith = (settings: Partial<Config> = {}): Setup => ({
  config: configOf('LEARNING', { window_events: 1000, ...settings }),
  prices,
  profile: default_profile,
  touch: 'page',
  seed: 1,
});
const drift = (events = 24_000): Trace => scenarioFamily('drift', events).of(1);
const churn = (events = 12_000): Trace => scenarioFamily('churn', events).of(1);

describe('a learned run', () => {
  const outcomeOf = (trace: Trace, setup: Setup) => simulate(foldForLearning(trace, [setup]), setup);

  test.each([0, 1, 2, 3])('looking on changes nothing: learner %i comes to what it comes to unseen', (learner) => {
    const setup = setupWith({ learner });
    expect(learnedRun(churn(), setup).outcome).toEqual(outcomeOf(churn(), setup));
  });

  test('every window is there, and what the learner holds best at the end; of ucb1, which has a step a site, nothing', () => {
    const run = learnedRun(churn(), setupWith({ learner: 3 }));
    expect(run.windows.length).toBe(run.outcome.learning.windows);
    expect(run.windows.length).toBeGreaterThan(8);
    expect(run.hindsight.classes[run.last_best!]).toBe(run.hindsight.classes[run.regret.best_arm]);
    const sites = learnedRun(churn(), setupWith({ learner: 1 }));
    expect(sites.last_best).toBe(null);
    expect(sites.arms_bytes.length).toBe(6);
  });

  test('regret is the score beyond the best strategy held fixed', () => {
    const { regret, outcome, hindsight } = learnedRun(churn(), setupWith());
    expect(regret.best_score).toBe(Math.min(...hindsight.fixed.map(({ score }) => score.total)));
    expect(regret.regret).toBe(outcome.score.total - regret.best_score);
  });

  test('a policy of your own is watched too', () => {
    const make = (arms_bytes: readonly number[], seed: number) =>
      newLearner(setupWith({ learner: 3 }).config, arms_bytes.length, seed);
    const own = { name: 'mine', arms_bytes: [2 ** 20, 2 ** 23], make };
    const run = learnedRun(churn(), { ...setupWith(), policy: own });
    expect(run.arms_bytes).toEqual(own.arms_bytes);
    expect([0, 1]).toContain(run.last_best);
    expect(learningData(churn(), { ...setupWith(), policy: own }).timeline[0].name).toBe('mine');
  });
});

describe('figures', () => {
  const expectFigure = async (name: string, svg: string): Promise<void> => {
    await expect(`${svg.replaceAll('><', '>\n<')}\n`).toMatchFileSnapshot(`figures/learning-${name}.svg`);
    expect(svg).toMatch(/^<svg[^>]* role="img"/);
    expect(svg).toMatch(/<title id="[\w-]+">[^<]+<\/title><desc id="[\w-]+">[^<]+<\/desc>/);
    expect(svg).not.toMatch(/NaN|Infinity|undefined|(?:fill|stroke)="(?:black|white|#)/);
  };

  test('ratings, cost over the threshold, and when it freezes', async () => {
    const data = learningData(drift(), setupWith({ lifecycle: 3 }));
    const names = ['ratings', 'thresholds', 'freeze'];
    const figures = learningFigures(data);
    expect(figures.map(({ title }) => title)).toEqual([
      'Ratings over windows',
      'Cost over the threshold',
      'When learning freezes',
    ]);
    for (const [at, { svg }] of figures.entries()) await expectFigure(names[at], svg);
  });

  test('a learner without ratings shows mean costs, lower being better', async () => {
    const [paired] = learningFigures(learningData(churn(), setupWith({ learner: 3 })));
    expect(paired.title).toBe('Mean costs over windows');
    await expectFigure('means', paired.svg);
    const [classic] = learningFigures(learningData(churn(), setupWith({ learner: 2, rating: 1 })));
    await expectFigure('means-classic', classic.svg);
  });

  test('without a window there are no ratings, and where nothing is mapped no figure at all', () => {
    const short = learningFigures(learningData(churn(200), setupWith()));
    expect(short.map(({ title }) => title)).toEqual(['Cost over the threshold', 'When learning freezes']);
    expect(learningFigures(learningData(scenarioFamily('json', 2000).of(1), setupWith()))).toEqual([]);
  });

  test('an explored window is ticked, and only one in which another than the leader acted', () => {
    const [{ svg }] = learningFigures(learningData(churn(), setupWith({ explore_permille: 1000 })));
    const [{ svg: greedy }] = learningFigures(learningData(churn(), setupWith({ explore_permille: 0 })));
    const ticks = (text: string): number => (text.match(/<title>window \d+: [^<]* acted<\/title>/g) ?? []).length;
    expect(ticks(svg)).toBeGreaterThan(5);
    expect(ticks(greedy)).toBe(0);
  });

  test('bands of classes part where a request lies between two thresholds', () => {
    const vm = learningFigures(learningData(scenarioFamily('vm', 4000).of(1), setupWith()));
    const svg = vm.find(({ title }) => title === 'Cost over the threshold')!.svg;
    expect(new Set(svg.match(/<title>class \d+<\/title>/g))).toEqual(
      new Set(['<title>class 1</title>', '<title>class 2</title>']),
    );
  });

  test('standing alone an SVG is well-formed, brings its colours, and has no attribute twice', () => {
    for (const { svg } of learningFigures(learningData(churn(), setupWith()))) {
      const text = standalone(svg);
      expect(text).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" /);
      expect(text).toMatch(/<style>[^<]*--series-1:[^<]*prefers-color-scheme:dark[^<]*<\/style>/);
      for (const [tag] of text.matchAll(/<\w[^>]*>/g)) {
        const names = [...tag.matchAll(/ ([\w:-]+)="/g)].map(([, name]) => name);
        expect(new Set(names).size, tag).toBe(names.length);
      }
    }
  });
});

describe('the page', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser.close());

  const written = (name: string, trace: Trace, settings: Partial<Config> = {}): string => {
    const path = join(folder, `${name}.html`);
    const page = learningPage(learningData(trace, setupWith(settings)), {
      revision: '0.0.0',
      command: 'hakmem replay',
    });
    writeFileSync(path, page);
    return path;
  };

  test.each(['light', 'dark'] as const)(
    'opens in %s with three figures, no script, and nothing that axe-core finds',
    async (colorScheme) => {
      const page = await browser.newPage({ colorScheme });
      const complaints: string[] = [];
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(error.message));
      await page.goto(`file://${written(colorScheme, drift(), { lifecycle: 3 })}`);
      expect(await page.locator('svg.figure').count()).toBe(3);
      expect(await page.locator('script').count()).toBe(0);
      expect(complaints).toEqual([]);
      expect(await axeViolations(page)).toEqual([]);
      await page.close();
    },
  );

  test('labels do not run out of the figures', async () => {
    const page = await browser.newPage();
    await page.goto(`file://${written('labels', drift(), { lifecycle: 3 })}`);
    const outside = await page.evaluate(`[...document.querySelectorAll('svg.figure')].flatMap((svg) => {
      const frame = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('text')].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.width > 0 && (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
      }).map((text) => text.textContent);
    })`);
    expect(outside).toEqual([]);
    await page.close();
  });

  test('says what it cost against the best and the default, and where nothing is mapped that there was nothing to learn', () => {
    expect(readFileSync(written('churn', churn()), 'utf8')).toMatch(
      /The learned run costs (?:[\d.]+ (?:times as much as|% (?:more|less) than)|as much as) the best strategy held fixed, and\s+[^<]+ the default\./,
    );
    expect(readFileSync(written('json', scenarioFamily('json', 2000).of(1)), 'utf8')).toMatch(
      'There was nothing to learn',
    );
  });
});

describe('docs/LEARNING.md', () => {
  const page = readFileSync('docs/LEARNING.md', 'utf8');

  test('has every sample and scenario in both tables', () => {
    const [, tables] = /<!-- learning -->([\s\S]*)<!-- \/learning -->/.exec(page)!;
    for (const { name } of familiesOf('traces/samples'))
      expect(tables.match(new RegExp(`^\\| ${name} \\|`, 'gm'))?.length, name).toBe(2);
  });

  test.each(['python-json', 'vm-cold'])('is up to date for %s: else run npm run learning:table', async (name) => {
    const family = familiesOf('traces/samples').find((each) => each.name === name)!;
    const checked = checkedRows();
    const lines = markdownOf([await rowsOfFamily(family, checked)]).split('\n');
    for (const line of lines.filter((each) => each.startsWith(`| ${name} |`))) expect(page).toContain(line);
    const { rows, equal_in_core } = checked.counts();
    expect(equal_in_core).toBe(rows);
  });

  test('shows figures that are there', () => {
    const shown = [...page.matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(([, path]) => join('docs', path));
    expect(shown.length).toBe(3);
    for (const path of shown) expect(readFileSync(path, 'utf8')).toMatch(/^<svg xmlns/);
  });
});

test('windows to freeze are counted from 1, and never where LEARN never ends', () => {
  const windows = (...changes: string[]) =>
    ({ windows: changes.map((change) => ({ change })) }) as unknown as LearnedRun;
  expect(freezeWindow(windows('none', 'none', 'freeze', 'canary'))).toBe(3);
  expect(freezeText([windows('none'), windows('none')])).toBe('never');
  expect(freezeText([windows('none', 'freeze'), windows('freeze')])).toBe('1 to 2');
  expect(freezeText([windows('none', 'freeze'), windows('none')])).toBe('2, 1 of 2');
});
