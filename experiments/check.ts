/** `hakmem check POLICY`: the property suite of the policy contract, on a built-in learner or a module of yours. */
import { accessSync, constants, mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { paint } from './color.ts';
import { exit_codes, Progress, print, printJson, say, UsageError, wholeNumber } from './command.ts';
import type { PolicyReport, RuleReport } from './policy/check.ts';

interface Options {
  readonly runs: number;
  readonly seed: number;
  readonly output?: string;
  readonly rule: readonly string[];
  readonly scenario?: string;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function addCheck(program: Command): void {
  program
    .command('check')
    .description('the rules of the policy contract over random small traces, shrunk where they fail')
    .argument('<policy>', 'elo ucb1 epsilon halving, elo-classic and so on, or a module of yours: ./mine.mjs')
    .option('--runs <n>', 'cases a rule', wholeNumber(1, 1_000_000), 100)
    .option('--seed <n>', 'of the cases', wholeNumber(0, 2 ** 31 - 1), 1)
    .option('--rule <name>', 'this rule alone; may be given again', collect, [])
    .option('--scenario <file>', 'this one case instead: a counter-example, or any scenario file')
    .option(
      '-o, --output <folder>',
      'where counter-examples go; a new folder below that of temporary files unless given',
    )
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(checkCommand);
}

async function checkCommand(policy: string, options: Options): Promise<void> {
  // fast-check is not small: who does not check does not load it.
  const { checkPolicy } = await import('./policy/check.ts');
  const { readCase } = await import('./policy/counter-example.ts');
  const { subjectOf } = await import('./policy/subject.ts');
  const { runs, seed, output, rule, scenario } = options;
  const subject = await subjectOf(policy);
  if (output !== undefined) refuseFolder(output);
  const progress = new Progress(`checking ${policy}`, options.progress === true);
  const report = await checkPolicy(subject, {
    runs,
    seed,
    folder: once(() => output ?? mkdtempSync(join(tmpdir(), 'hakmem-check-'))),
    ...(rule.length === 0 ? {} : { rules: rule }),
    ...(scenario === undefined ? {} : { only: readCase(scenario) }),
    progress: (done, total) => progress.update(done, total),
  });
  progress.finish();
  if (options.json) printJson(report);
  else print(...linesOf(report));
  const { verdict } = report;
  for (const each of report.rules.filter(({ ok }) => (verdict === 'broken' ? ok === false : ok === null)))
    say(complaint(policy, each));
  if (verdict !== 'holds') process.exitCode = exit_codes.failed;
}

function linesOf({ policy, seed, runs, rules, reached, verdict }: PolicyReport): string[] {
  const width = Math.max(...rules.map(({ rule }) => rule.length));
  const { events, windows, freezes, canaries, promotions, rollbacks, relearns } = reached;
  return [
    `${policy}: ${runs} cases a rule, seed ${seed}`,
    ...rules.flatMap((each) => [
      `  ${mark(each)}  ${each.rule.padEnd(width)}  ${each.says}`,
      ...detailsOf(each).map((line) => `          ${line}`),
    ]),
    `  ${events} events, ${windows} windows; froze ${freezes} times, ${canaries} canaries: ${promotions} promoted, ` +
      `${rollbacks} rolled back, ${relearns} relearned`,
    `verdict: ${verdict === 'holds' ? paint.green(verdict) : verdict === 'broken' ? paint.red(verdict) : paint.yellow(verdict)}`,
  ];
}

function mark({ ok }: RuleReport): string {
  return ok === null ? paint.yellow('-     ') : ok ? paint.green('ok    ') : paint.red('FAILED');
}

function detailsOf({ ok, event, found, wanted, scenario, shrunk_events, fails_again }: RuleReport): string[] {
  if (ok === true) return [];
  if (ok === null) return [`not tried: ${found}`];
  return [
    `${event === null ? '' : `event ${event}: `}found ${found}, wanted ${wanted}`,
    ...(scenario === null
      ? []
      : [
          `counter-example of ${shrunk_events} event${shrunk_events === 1 ? '' : 's'}, ${fails_again ? 'fails again' : 'holds when run again'}: ${scenario}`,
        ]),
  ];
}

function complaint(policy: string, { rule, ok, event, found, wanted }: RuleReport): string {
  return ok === null
    ? `unchecked: ${policy}: rule ${rule} was not tried: ${found}`
    : `${policy}: ${event === null ? '' : `event ${event}: `}rule ${rule}: found ${found}, wanted ${wanted}`;
}

function refuseFolder(path: string): void {
  try {
    if (!statSync(path).isDirectory()) throw new Error('not a folder');
    accessSync(path, constants.W_OK);
  } catch (error) {
    throw new UsageError(`${path}: ${(error as Error).message}; wanted a folder that can be written to`);
  }
}

function collect(name: string, before: readonly string[]): readonly string[] {
  return [...before, name];
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
