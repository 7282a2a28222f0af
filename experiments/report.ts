/** `hakmem report RESULT...`: one page from the rows of sweeps: what to set, why, and how far it was checked. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { writeAtomically } from '../traces/index.ts';
import { Progress, print, printJson, UsageError } from './command.ts';

interface Options {
  readonly output: string;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function addReport(program: Command): void {
  program
    .command('report')
    .description('one self-contained page from result files: what to set, what it buys, how it was checked')
    .argument('<result...>', 'files that hakmem sweep wrote: .parquet or .ndjson')
    .requiredOption('-o, --output <file>', 'the page, .html')
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document about the page')
    .action(report);
}

async function report(paths: readonly string[], { output, progress, json }: Options): Promise<void> {
  refuseOutput(output);
  const { readMeasured, readRows } = await import('./sweep/results.ts');
  const { subjectsOf } = await import('./report/subjects.ts');
  const files = [];
  for (const path of new Set(paths)) files.push({ path, rows: await readRows(path), measured: readMeasured(path) });
  const subjects = subjectsOf(files);
  const { boundsOf } = await import('./report/bounds.ts');
  const shown_progress = new Progress('bounds', progress === true);
  const shown = [];
  for (const [done, subject] of subjects.entries()) {
    const bounds = await boundsOf(subject);
    shown.push({ subject, bounds, base: subject.base ?? ('missing' in bounds ? null : bounds.base) });
    shown_progress.update(done + 1, subjects.length);
  }
  shown_progress.finish();
  const { axesOf } = await import('./report/swept.ts');
  const { pageOf } = await import('./report/page.ts');
  const { revision } = await import('./sweep/provenance.ts');
  const axes = axesOf(subjects);
  const page = pageOf({ sources: files.map(({ path }) => path), revision: revision(), shown, axes });
  const bytes = Buffer.from(page);
  writeAtomically(output, (sink) => sink.append(bytes));
  const rows = subjects.reduce((sum, subject) => sum + subject.rows.length, 0);
  const missing = shown.flatMap(({ bounds }) => ('missing' in bounds ? [bounds.missing] : []));
  const swept = axes.map(({ name }) => name);
  if (json) printJson({ output, bytes: bytes.length, rows, traces: subjects.length, swept, without_bounds: missing });
  else
    print(`${output}: ${rows} rows of ${subjects.length} traces, ${bytes.length} bytes`, ...missing.map(withoutBounds));
}

const withoutBounds = (why: string): string => `without bounds: ${why}`;

/** Before anything is computed. */
function refuseOutput(path: string): void {
  if (!/\.html?$/.test(path)) throw new UsageError(`${path}: wanted a name that ends with .html`);
  if (existsSync(path) && !statSync(path).isFile()) throw new UsageError(`${path}: not a regular file`);
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch (error) {
    throw new UsageError(`${path}: cannot be written: ${(error as Error).message}`);
  }
}
