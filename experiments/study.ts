/** `hakmem study [NAME]`: what we claim, held against figures, with a dated record. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { nativeTrouble, probeProfile } from '../native/index.ts';
import { holdKhugepaged } from '../native/khugepaged.ts';
import { configOf, default_profile, prices, type Setup } from '../sim/index.ts';
import { open, type Trace, writeAtomically } from '../traces/index.ts';
import { paint } from './color.ts';
import { exit_codes, Progress, print, printJson, say, UsageError, wholeNumber } from './command.ts';
import { packageRoot } from './record.ts';
import { studies } from './studies/index.ts';
import { checksOf, recordOf, textOf } from './studies/record.ts';
import type { Bench, Finding, Study } from './studies/study.ts';
import { machineName, revision } from './sweep/provenance.ts';

interface Options {
  readonly output?: string;
  readonly quick?: boolean;
  readonly seed: number;
  readonly holdKhugepaged?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function addStudy(program: Command): void {
  program
    .command('study')
    .description('what is claimed of allocators and of this tool, held against figures')
    .argument('[name]', `one of ${studies.map(({ name }) => name).join(' ')}; without it they are listed`)
    .option('-o, --output <file.md>', 'write the record; it must not exist')
    .option('--quick', 'fewer and smaller runs: to see that it works, not to be believed')
    .option('--seed <n>', 'seed of every random choice', wholeNumber(0), 1)
    .option('--hold-khugepaged', 'let khugepaged sleep during the runs (machine-wide, put back after; needs root)')
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(studyCommand);
}

async function studyCommand(name: string | undefined, options: Options): Promise<void> {
  if (name === undefined) {
    list(options);
    return;
  }
  const study = studies.find((each) => each.name === name);
  if (study === undefined)
    throw new UsageError(`unknown study "${name}"; wanted one of ${studies.map((each) => each.name).join(' ')}`);
  if (options.output !== undefined && existsSync(options.output))
    throw new UsageError(`${options.output}: a record is there already; records are not written over`);
  if (options.holdKhugepaged === true && holdKhugepaged() === null)
    throw new UsageError(
      '--hold-khugepaged: this user may not write to /sys/kernel/mm/transparent_hugepage; wanted root',
    );
  const trouble = nativeTrouble();
  const started = performance.now();
  const finding = await study.run(benchOf(options, trouble));
  const circumstances = {
    date: new Date().toISOString().slice(0, 10),
    machine: machineName(),
    revision: revision(),
    command: `hakmem study ${name}${options.quick === true ? ' --quick' : ''} --seed ${options.seed}`,
    seconds: (performance.now() - started) / 1000,
  };
  const { output } = options;
  if (output !== undefined) {
    const record = new TextEncoder().encode(recordOf(study, finding, circumstances));
    writeAtomically(output, (sink) => sink.append(record));
  }
  if (options.json) {
    const { run: _, ...about } = study;
    printJson({ ...about, ...finding, ...circumstances, output: output ?? null });
  } else {
    print(...lines(study, finding));
  }
  if (trouble !== null) {
    say(`unchecked: ${trouble}`);
    process.exitCode = exit_codes.failed;
  }
}

function list(options: Options): void {
  if (options.output !== undefined) throw new UsageError('-o: found no study, wanted one of those that are listed');
  if (options.json) printJson(studies.map(({ run: _, ...about }) => about));
  else
    print(
      ...studies.flatMap(({ name, question, claim }) => [
        `${name.padEnd(11)} ${question}`,
        `${' '.repeat(12)}claimed: ${claim}`,
      ]),
    );
}

function lines(study: Study, finding: Finding): string[] {
  const tone = { holds: paint.green, 'does not hold': paint.red, 'cannot be told': paint.yellow }[finding.verdict];
  return [
    study.question,
    `claimed: ${study.claim} (${study.claimed_by})`,
    '',
    ...finding.tables.flatMap((table) => [...textOf(table), '']),
    checksOf(finding),
    `verdict: ${tone(finding.verdict)}: ${finding.because}`,
  ];
}

function benchOf(options: Options, trouble: string | null): Bench {
  const profile = probeProfile() ?? default_profile;
  const quick = options.quick === true;
  const doing = new Map<string, Progress>();
  return {
    samples: samples(quick),
    setupOf: (trace): Setup => ({
      config: configOf('BALANCED'),
      prices,
      profile,
      touch: trace.statistics.large_blocks_touched > 0 ? 'recorded' : 'page',
      seed: options.seed,
    }),
    quick,
    seed: options.seed,
    trouble,
    progress: (what, done, total) => {
      const progress = doing.get(what) ?? new Progress(what, options.progress === true);
      doing.set(what, progress);
      progress.update(done, total);
      if (done === total) progress.finish();
    },
  };
}

/** The recorded samples; a quick study takes every third. */
function samples(quick: boolean): Trace[] {
  const folder = join(packageRoot(), 'traces', 'samples');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.hak'))
    .sort()
    .filter((_, at) => !quick || at % 3 === 0)
    .map((name) => open(join(folder, name)));
}
