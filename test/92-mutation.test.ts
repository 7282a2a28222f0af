/** What checks the cross-check: a share of the mutants of the C core, and one wrong idea in both halves. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { packageRoot } from '../experiments/record.ts';
import { applied, mutantsOf } from '../experiments/verify/c-mutants.ts';
import { ideas } from '../experiments/verify/ideas.ts';
import { mutate } from '../experiments/verify/mutate.ts';
import { answerOf, casesOf, differs, replayed, writeInputs } from '../experiments/verify/oracle.ts';
import { misfits, tryIdeas } from '../experiments/verify/wrong-ideas.ts';
import { nativeTrouble, probeProfile, replay_path } from '../native/index.ts';

const without_native = nativeTrouble() !== null;
const without_thp = probeProfile()?.thp_kernel === 'never';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const source = `
#define LIMIT 4 /* a < b */
enum { small, large };
static int pick(int a, const char *b) {
  hak_assert(a < 7 && a != 3);
  if (a <= 2 || !b) return -large;
  return a >> 1 == HAK_LIMIT ? "a == 1"[0] : 'x';
}
`;

test('every operator and constant of C is mutated, but not those of assertions, strings and preprocessor lines', () => {
  const mutations = mutantsOf('pick.c', source).map(({ line, mutation }) => `${line} ${mutation}`);
  expect(mutations).toEqual([
    '6 <= -> <',
    '6 <= -> >',
    '6 2 -> 2 + 1',
    '6 || -> &&',
    '6 ! -> nothing',
    '6 - -> +',
    '6 large -> large + 1',
    '7 1 -> 1 + 1',
    '7 == -> !=',
    '7 HAK_LIMIT -> HAK_LIMIT + 1',
    '7 0 -> 0 + 1',
  ]);
});

test('a mutant differs from its source in one place', () => {
  const [first] = mutantsOf('pick.c', source);
  expect(applied(source, first)).toBe(source.replace('a <= 2', 'a < 2'));
});

test.skipIf(without_native)(
  'a folded replay in C comes to what the simulator finds in full',
  async () => {
    const { folding } = casesOf(writeInputs(folder, packageRoot(), 1));
    const different: string[] = [];
    for (const each of folding) {
      const how = differs(each, answerOf(each), await replayed(replay_path, each));
      if (how !== null) different.push(`${each.name}: ${how}`);
    }
    expect(folding.length).toBeGreaterThan(50);
    expect(different).toEqual([]);
  },
  200_000,
);

test.skipIf(without_native).each([
  ['with the real kernel', ['--kernel', 'real'], 'wants --kernel counted'],
  ['without a word on the kernel', [], 'wants --kernel counted'],
  ['with a log', ['--kernel', 'counted', '--log', '0:1'], 'keeps no log'],
])('hak-replay refuses to fold %s, in one line', (_, words, wanted) => {
  const { status, stdout, stderr } = spawnSync(replay_path, ['any.hak', '--folded', ...words], { encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toMatch(/^hak-replay: --folded [^\n]+\n$/);
  expect(stderr).toContain(wanted);
});

test.skipIf(without_native)(
  'a seeded share of all mutants of the C core is caught, but for those known to change nothing',
  async () => {
    const report = await mutate(
      { share_permille: 8, seed: 2, file: null, before: null, thorough: false, jobs: 2 },
      () => undefined,
    );
    expect(report.verdicts.filter(({ outcome }) => outcome === 'survived')).toEqual([]);
    expect(report.verdicts.filter(({ outcome }) => outcome === 'caught').length).toBeGreaterThan(8);
    expect(report.stale).toEqual([]);
  },
  // A changed reader replays more than a thousand forged files: on a busy machine that takes its time.
  400_000,
);

test('every wrong idea still finds the lines that it changes', () => {
  expect(misfits()).toEqual([]);
});

test.skipIf(without_native || without_thp)(
  'the real kernel objects to a wrong idea that both halves share',
  async () => {
    const idea = ideas.filter(({ name }) => name === 'neighbouring areas always merge');
    const { outcomes, unsound } = await tryIdeas(idea, () => undefined, 1);
    expect(unsound).toEqual([]);
    expect(outcomes.map(({ caught, halves }) => ({ caught: caught?.how, halves }))).toEqual([
      { caught: 'checkpoint.areas of the real kernel', halves: null },
    ]);
  },
);
