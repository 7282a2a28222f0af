/** `hakmem generate SCENARIO -o FILE.hak`: seeded synthetic traces. */
import type { Command } from 'commander';
import { boundaries_bytes } from '../sim/spec.ts';
import { type GenerateOptions, SyntheticTrace, scenario_names, writeLongHak } from '../traces/index.ts';
import { formatBytes, Progress, print, printJson, UsageError, wholeNumber } from './command.ts';
import { reported } from './import.ts';

export function addGenerate(program: Command): void {
  program
    .command('generate')
    .description(`write a synthetic trace; scenarios: ${scenario_names.join(' ')}`)
    .argument('<scenario>', 'which shape of allocation')
    .requiredOption('-o, --output <file>', 'where to write the .hak file')
    .option('--events <n>', "events; the scenario's own number by default", wholeNumber(1))
    .option('--large-permille <p>', 'of a thousand blocks, how many have 512 KiB or more', wholeNumber(0, 1000))
    .option('--seed <n>', 'seed of every random choice', wholeNumber(0), 0)
    .option('--progress', 'show progress on stderr')
    .option('--json', 'print one JSON document')
    .action(generate);
}

interface Options {
  readonly output: string;
  readonly events?: number;
  readonly largePermille?: number;
  readonly seed: number;
  readonly progress?: boolean;
  readonly json?: boolean;
}

async function generate(scenario: string, options: Options): Promise<void> {
  const { seed, events, largePermille: large_permille } = options;
  if (!scenario_names.includes(scenario))
    throw new UsageError(`no scenario "${scenario}"; there are ${scenario_names.join(', ')}`);
  if (scenario === 'edges' && large_permille !== undefined)
    throw new UsageError('edges goes through every threshold; --large-permille has nothing to set there');
  const made: GenerateOptions = { seed, events, large_permille, boundaries_bytes };
  const trace = new SyntheticTrace(scenario, made);
  const progress = new Progress(`generating ${scenario}`, options.progress === true);
  const statistics = await writeLongHak(
    options.output,
    reported(trace.chunks(), progress, trace.events),
    trace.columns,
    () => trace.origin,
  );
  progress.finish();
  if (options.json) printJson({ path: options.output, scenario, seed, ...statistics });
  else
    print(
      `${options.output}: ${statistics.events} events of ${scenario}, seed ${seed}, peak live ${formatBytes(statistics.peak_live_bytes)}`,
    );
}
