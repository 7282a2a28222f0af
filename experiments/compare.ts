/** `hakmem compare A B`: two settings or allocators on a program or on traces, interleaved: better, worse or undecidable. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { replayerTrouble } from '../native/replayer.ts';
import { paint } from './color.ts';
import {
  CheckFailed,
  exit_codes,
  formatBytes,
  Progress,
  print,
  printJson,
  programAfterDashes,
  say,
  UsageError,
  wholeNumber,
} from './command.ts';
import { interleaved, type Pair } from './compare/interleaved.ts';
import {
  type Compared,
  compareRuns,
  type MetricName,
  type Metrics,
  metric_names,
  type Run,
  together,
} from './compare/metrics.ts';
import { type CompareSubject, programSubject, traceSubject } from './compare/subjects.ts';
import type { Interval, Verdict } from './statistics.ts';
import { parseSubject, type SubjectSetting, subject_forms, subjectLibrary } from './subject-setting.ts';

interface Options {
  readonly runs: number;
  readonly margin: number;
  readonly output: 'hash' | 'discard';
  readonly expect?: 'better' | 'not-worse';
  readonly unproven?: boolean;
  readonly seed: number;
  readonly json?: boolean;
  readonly progress?: boolean;
}

interface SubjectResult {
  readonly subject: string;
  readonly phase: string | null;
  readonly runs: number;
  readonly metrics: Metrics;
  readonly verdict: Verdict;
}

export function addCompare(program: Command): void {
  program
    .command('compare')
    .description('two settings or allocators on a program or on traces: better, worse or undecidable, with an interval')
    .argument('<a>', 'what is there')
    .argument('<b>', 'what would be')
    .argument('[what...]', 'traces, or -- and a program with its arguments')
    .option('--runs <n>', 'runs of each, after one to warm up', wholeNumber(2, 1000), 10)
    .option('--margin <percent>', 'a smaller difference is none', percentage, 1)
    .addOption(
      new Option('--output <what>', "whether the program's output must be the same in every run")
        .choices(['hash', 'discard'])
        .default('hash'),
    )
    .addOption(new Option('--expect <verdict>', 'exit code 1 where B is not that').choices(['better', 'not-worse']))
    .option('--unproven', 'run although a setting is not shown to be live in the program')
    .option('--seed <n>', 'of the order and of the bootstrap', wholeNumber(0), 1)
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
A and B are ${subject_forms}.
The verdict is B's: better where its whole 95 % interval is beyond the margin; that of the score (40 % CPU, 30 % faults,
30 % memory) is the verdict of the whole. Exit code 0 whatever it is, unless --expect
was given; 1 too where runs ended differently, or where a setting is not live in the program (docs/SETTINGS.md).`,
    )
    .action(async (a: string, b: string, what: readonly string[], options: Options, command: Command) => {
      await compare(parseSubject(a), parseSubject(b), programOf(what, command), options);
    });
}

interface What {
  readonly traces: readonly string[];
  readonly argv: readonly string[];
}

/** What stands behind -- is the program. */
function programOf(what: readonly string[], command: Command): What {
  const argv = programAfterDashes(command);
  const traces = what.slice(0, what.length - argv.length);
  if (traces.length > 0 && argv.length > 0)
    throw new UsageError(`found traces (${traces[0]}) and a program (${argv[0]}), wanted one of the two`);
  if (traces.length === 0 && argv.length === 0)
    throw new UsageError('nothing to compare on; wanted traces, or -- PROGRAM ARG...');
  return { traces, argv };
}

async function compare(a: SubjectSetting, b: SubjectSetting, what: What, options: Options): Promise<void> {
  for (const setting of [a, b]) subjectLibrary(setting);
  const trouble = what.traces.length > 0 ? replayerTrouble() : null;
  if (trouble !== null) throw new CheckFailed(trouble);
  const interruption = new AbortController();
  const subjects =
    what.argv.length > 0
      ? [programSubject(what.argv, options.output, interruption.signal)]
      : what.traces.map((path) => traceSubject(path, interruption.signal));
  const progress = new Progress('comparing', options.progress === true);
  const total = subjects.length * (options.runs + 1) * 2;
  let done = 0;
  const ran = (): void => {
    done += 1;
    progress.update(done, total);
  };
  // The one who ends this process is registered already; whatever runs dies with the pipe that this one holds.
  const interrupted = () => say(`interrupted after ${done} of ${total} runs; nothing was decided`);
  process.prependOnceListener('SIGINT', interrupted);
  try {
    if (options.unproven !== true)
      for (const subject of subjects) for (const setting of distinct(a, b)) await subject.prove(setting);
    const results: SubjectResult[] = [];
    const differences: string[] = [];
    for (const subject of subjects) {
      const runs = await interleaved(subject, { a, b }, options, ran);
      differences.push(...runs.differences);
      for (const [at, phase] of subject.phases.entries()) results.push(resultOf(subject, phase, runs.of(at), options));
    }
    progress.finish();
    report(a, b, results, differences, options);
  } finally {
    process.off('SIGINT', interrupted);
  }
}

function distinct(a: SubjectSetting, b: SubjectSetting): SubjectSetting[] {
  return a.text === b.text ? [a] : [a, b];
}

function resultOf(
  subject: CompareSubject,
  phase: string | null,
  runs: Pair<readonly Run[]>,
  options: Options,
): SubjectResult {
  const metrics = compareRuns(runs.a, runs.b, options.margin / 100, options.seed);
  const { verdict } = metrics.score;
  return { subject: subject.name, phase, runs: options.runs, metrics, verdict };
}

function report(
  a: SubjectSetting,
  b: SubjectSetting,
  results: readonly SubjectResult[],
  differences: readonly string[],
  options: Options,
): void {
  const verdict = together(results.map((result) => result.verdict));
  if (options.json)
    printJson({
      a: a.text,
      b: b.text,
      settings: { a: settingOf(a), b: settingOf(b) },
      margin: options.margin / 100,
      subjects: results,
      verdict,
      differences,
    });
  else print(...results.flatMap((result) => lines(result, a, b)), inWords(results, verdict, a, b, options.margin));
  for (const difference of differences) say(difference);
  const { expect } = options;
  const met = expect === undefined || (expect === 'better' ? verdict === 'better' : verdict !== 'worse');
  if (!met) say(`${b.text} is ${verdict} where ${expect} was expected`);
  if (!met || differences.length > 0) process.exitCode = exit_codes.failed;
}

function settingOf({ allocator, env }: SubjectSetting): unknown {
  return { allocator, env };
}

const verdict_paints: Readonly<Record<Verdict, (text: string) => string>> = {
  better: paint.green,
  worse: paint.red,
  undecidable: paint.yellow,
};

function lines({ subject, phase, runs, metrics }: SubjectResult, a: SubjectSetting, b: SubjectSetting): string[] {
  const rows = metric_names.map((name) => {
    const { a: of_a, b: of_b, ratio } = metrics[name];
    return [name, shown(name, of_a.median), shown(name, of_b.median), intervalText(ratio), verdictText(metrics[name])];
  });
  const all = [['', 'A', 'B', 'A / B', 'B is'], ...rows];
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)));
  return [
    `${subject}${phase === null ? '' : `, ${phase}`}: A ${a.text}, B ${b.text}, ${runs} runs each`,
    ...all.map((row, at) => {
      const text = row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd();
      return `  ${at === 0 ? text : verdict_paints[metrics[metric_names[at - 1]].verdict](text)}`;
    }),
  ];
}

function shown(name: MetricName, value: number): string {
  if (name === 'score') return value.toFixed(3);
  if (name === 'faults') return String(Math.round(value));
  return name === 'resident_peak' ? formatBytes(value) : `${(value / 1e6).toFixed(2)} ms`;
}

function intervalText({ median, low, high }: Interval): string {
  const digits = (value: number): string => value.toPrecision(4);
  return `${digits(median)} [${digits(low)}, ${digits(high)}]`;
}

function verdictText({ verdict, within_margin }: Compared): string {
  return within_margin ? 'equal within the margin' : verdict;
}

function inWords(
  results: readonly SubjectResult[],
  verdict: Verdict,
  a: SubjectSetting,
  b: SubjectSetting,
  margin: number,
): string {
  const having = (wanted: Verdict): string =>
    metric_names
      .filter((name) => name !== 'score' && results.some(({ metrics }) => metrics[name].verdict === wanted))
      .join(', ') || 'nothing';
  const decided = `better by ${having('better')}; worse by ${having('worse')}`;
  if (verdict !== 'undecidable') return `${b.text} is ${verdict} than ${a.text} (${decided})`;
  if (results.every(({ metrics }) => metric_names.every((name) => metrics[name].within_margin)))
    return `undecidable: equal within ${margin} %`;
  return `undecidable (${decided})`;
}

function percentage(text: string): number {
  const percent = Number(text.replace(/\s*%$/, ''));
  if (text.trim() === '' || !(percent >= 0 && percent <= 1000))
    throw new InvalidArgumentError(`"${text}" is not a percentage; wanted a number from 0, such as 1 or 2.5.`);
  return percent;
}
