/** `hakmem export TRACE --to FORMAT`: a recording, or a simulated run of it, in the formats of other tools. */
import { statSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { fingerprint } from '../native/spec-to-c.ts';
import { describeConfig } from '../sim/index.ts';
import { open, sha256OfFile, type Trace, writeLong } from '../traces/index.ts';
import { CheckFailed, formatBytes, Progress, print, printJson, UsageError } from './command.ts';
import { type CheckLevel, crossCheck } from './crosscheck.ts';
import { chrome } from './export/chrome.ts';
import { csv } from './export/csv.ts';
import type { Exporter, RunCheck } from './export/exporter.ts';
import { exportRecorded, recorded_formats } from './export/recorded.ts';
import { speedscope } from './export/speedscope.ts';
import { watched } from './import.ts';
import { policyId } from './policy/module.ts';
import { addSetupOptions, type Chosen, choose, type SetupOptions } from './setup.ts';
import { hashOfConfig } from './sweep/row.ts';

/** Formats, a line each. */
const exporters: { readonly [format: string]: Exporter } = { chrome, speedscope, csv };

interface Options extends SetupOptions {
  readonly to: string;
  /** Unless given: the run, where the format has one. */
  readonly of?: 'trace' | 'run';
  readonly output: string;
  readonly check: CheckLevel;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function addExport(program: Command): void {
  const formats = [...new Set([...Object.keys(recorded_formats), ...Object.keys(exporters)])];
  const saying = (known: { readonly [format: string]: { readonly says: string } }): string =>
    Object.entries(known)
      .map(([format, { says }]) => `${format}: ${says}`)
      .join('; ');
  addSetupOptions(
    program
      .command('export')
      .description('a recording, or a simulated run of it, for other tools')
      .argument('<trace>', 'a .hak file, or any format that import reads'),
  )
    .addOption(new Option('--to <format>', 'the format').choices(formats).makeOptionMandatory())
    .addOption(
      new Option(
        '--of <what>',
        `trace: its events (${saying(recorded_formats)}), or run: a simulation (${saying(exporters)}); the run, where the format has one`,
      ).choices(['trace', 'run']),
    )
    .requiredOption('-o, --output <file>', 'where it goes')
    .addOption(
      new Option('--check <level>', 'how far to check the run first')
        .choices(['none', 'decisions'])
        .default('decisions'),
    )
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document about the file')
    .action(exportCommand);
}

async function exportCommand(path: string, options: Options): Promise<void> {
  const { to, output, check: level, json } = options;
  const of = options.of ?? (Object.hasOwn(exporters, to) ? 'run' : 'trace');
  if (of === 'run' && !Object.hasOwn(exporters, to))
    throw new UsageError(`--of run: of a run there are ${Object.keys(exporters).join(' ')}, not ${to}`);
  const trace = open(path);
  if (trace.statistics.events === 0) throw new UsageError(`${path}: no events; wanted a trace with some`);
  if (of === 'trace') {
    const { events } = trace.statistics;
    const progress = new Progress(`exporting ${path}`, options.progress === true);
    const bytes = await exportRecorded(watched(trace, progress), to, output);
    progress.finish();
    if (json) printJson({ output, to, of, bytes, events });
    else print(`${output}: ${to}, ${formatBytes(bytes)}, ${events} events`);
    return;
  }
  const chosen = await choose(trace, options);
  const { events } = trace.statistics;
  const progress = new Progress(`exporting ${path}`, options.progress === true);
  const check = await checkRun(trace, chosen, level);
  const { revision } = await import('./sweep/provenance.ts');
  const about = aboutOf(trace, chosen, check, revision());
  await writeLong(output, (sink) =>
    exporters[to].write({ trace, chosen, about, progress: (done) => progress.update(done, events) }, sink),
  );
  const bytes = statSync(output).size;
  progress.finish();
  if (json) printJson({ output, to, of, bytes, events, check, about });
  else print(`${output}: ${to}, ${formatBytes(bytes)}, ${events} events, ${about.check}`);
}

/** Throws CheckFailed before anything is written: a run that is in dispute is nobody's to look at. */
async function checkRun(trace: Trace, { setup }: Chosen, level: CheckLevel): Promise<RunCheck> {
  const { sim, check } = await crossCheck(trace, setup, level);
  if (sim.violation !== null)
    throw new CheckFailed(`event ${sim.violation.event}: the policy broke the rule ${sim.violation.rule}`);
  if (check.verdict === 'differ') {
    const { event, field, sim: a, native: b } = check.first_difference!;
    throw new CheckFailed(`simulator and native core differ at event ${event}: ${field} is ${a} and ${b}`);
  }
  if (check.verdict === 'unchecked' && level !== 'none') throw new CheckFailed(`unchecked: ${check.reason}`);
  return { level, verdict: check.verdict };
}

function aboutOf(trace: Trace, { mode, setup, policy, prices, profile }: Chosen, check: RunCheck, revision: string) {
  const config = describeConfig(setup.config);
  return {
    what: 'a simulated run: nothing here was measured',
    trace: trace.path,
    trace_sha256: sha256OfFile(trace.path),
    events: trace.statistics.events,
    clock: trace.origin.has_time ? 'recorded' : 'one event is one microsecond: no time was recorded',
    check: check.level === 'none' ? 'unchecked' : `checked, ${check.level}: ${check.verdict}`,
    setting: `mode ${mode}, configuration ${hashOfConfig(setup.config)}`,
    ...(policy === null ? {} : { policy: policyId(policy) }),
    ...config,
    touch: setup.touch,
    seed: setup.seed,
    prices: `${prices.name} (${prices.source}), SHA-256 ${prices.sha256}`,
    kernel_profile: JSON.stringify(profile.profile),
    spec_fingerprint: fingerprint(),
    revision,
  };
}
