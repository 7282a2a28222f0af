/**
 * Writes the tables and figures of docs/LEARNING.md: `npm run learning:table`. Every row is held against the C core; on the
 * default kernel profile they are the same on every machine.
 */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { nativeTrouble } from '../../native/index.ts';
import { configOf, default_profile, prices, type Setup } from '../../sim/index.ts';
import { open, type Trace } from '../../traces/index.ts';
import { learningData } from '../learned-run.ts';
import { learningFigures, standalone } from '../report/learning.ts';
import { CheckedRows } from '../studies/checked.ts';
import { type Family, runFamily, scenarioFamily } from '../studies/learned.ts';
import { type LearningRow, learningRow, table_methods, tableFamilies, tablesOf } from '../studies/learning-table.ts';
import { markdownTable, writeBetween } from './markers.ts';

const page = 'docs/LEARNING.md';
const figures = 'docs/figures';
/** As `hakmem study` counts them. */
const seeds = Array.from({ length: 30 }, (_, at) => 1 + at);

const bench = {
  seed: 1,
  trouble: nativeTrouble(),
  setupOf: (trace: Trace): Setup => ({
    config: configOf('LEARNING'),
    prices,
    profile: default_profile,
    touch: trace.statistics.large_blocks_touched > 0 ? 'recorded' : 'page',
    seed: 1,
  }),
};

/** What a family's rows say, by the table they stand in. */
export async function rowsOfFamily(family: Family, checked: CheckedRows): Promise<LearningRow> {
  return learningRow(family.name, await runFamily(bench, checked, family, table_methods, {}, seeds), bench.seed);
}

export function familiesOf(folder: string): Family[] {
  const samples = readdirSync(folder)
    .filter((name) => name.endsWith('.hak'))
    .sort()
    .map((name) => open(join(folder, name)));
  return tableFamilies({ samples });
}

export const checkedRows = (): CheckedRows => new CheckedRows(bench);

/** A table as the page has it. */
export function markdownOf(rows: readonly LearningRow[]): string {
  return tablesOf(rows)
    .map(({ title, head, rows: cells }) => `${title}:\n\n${markdownTable(head, cells)}`)
    .join('\n\n');
}

/** The figures: `drift`, whose phases ask for different strategies. */
function writeFigures(): void {
  const trace = scenarioFamily('drift').of(1);
  const config = configOf('LEARNING', { window_events: 1000 });
  const data = learningData(trace, { ...bench.setupOf(trace), config });
  for (const [at, { svg }] of learningFigures(data).entries())
    writeFileSync(
      join(figures, `learning-${['ratings', 'thresholds', 'freeze'][at]}.svg`),
      `${standalone(svg).replaceAll('><', '>\n<')}\n`,
    );
}

async function main(): Promise<void> {
  const checked = checkedRows();
  const rows: LearningRow[] = [];
  for (const family of familiesOf('traces/samples')) {
    rows.push(await rowsOfFamily(family, checked));
    process.stderr.write(`hakmem: ${family.name}\n`);
  }
  if (!writeBetween(page, 'learning', markdownOf(rows))) throw new Error(`${page}: no markers`);
  writeFigures();
  const { rows: all, equal_in_core } = checked.counts();
  process.stdout.write(`${page}: ${rows.length} traces, ${equal_in_core} of ${all} rows equal in the C core\n`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
