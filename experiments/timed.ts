/** `hakmem replay --time`: what the discrete-event layer makes of a trace, as options, as a document and in words. */
import { type Command, InvalidArgumentError } from 'commander';
import {
  HakmemWork,
  type MachineSetup,
  nominal_machine,
  type PerturbedResult,
  perturb,
  type Timed,
  type TimePrices,
  type TimeSetup,
  timed,
  type Work,
} from '../sim/index.ts';
import type { Trace } from '../traces/index.ts';
import { type PriceList, pricesInWords } from './calibrate/price-file.ts';
import { formatBytes, sizeOption, UsageError, wholeNumber } from './command.ts';
import type { Chosen } from './setup.ts';

export interface TimeOptions {
  readonly time?: boolean;
  readonly processors?: number;
  readonly perturb?: number;
  readonly memoryLimit?: number;
}

export interface TimedReplay {
  readonly machine: MachineSetup;
  readonly timed: Timed;
  readonly perturbed: PerturbedResult | null;
}

const jitter_permille = 100;

export function addTimeOptions(command: Command): Command {
  return command
    .option('--time', 'what it costs in time: clocks, locks, processors, latencies (docs/TIME.md)')
    .option('--processors <n>', 'with --time: processors; as many as threads unless given', wholeNumber(1, 4096))
    .option('--perturb <n>', 'with --time: as many other orders of the threads, seeded', wholeNumber(1, 100_000))
    .option('--memory-limit <size>', 'with --time: the most bytes that may be resident', limitOption);
}

/** Null where it is not asked for. Throws UsageError. */
export function timeReplay(
  trace: Trace,
  { setup, prices }: Chosen,
  options: TimeOptions,
  workOf: (prices: TimePrices) => Work = () => new HakmemWork(setup),
): TimedReplay | null {
  if (options.time !== true) {
    for (const name of ['processors', 'perturb', 'memoryLimit'] as const)
      if (options[name] !== undefined)
        throw new UsageError(`${flags[name]}: found it without --time, wanted both or neither`);
    return null;
  }
  const time: TimeSetup = {
    prices: timePrices(prices),
    machine: machineOf(trace, prices, options.processors),
    memory_limit_bytes: options.memoryLimit ?? Number.POSITIVE_INFINITY,
  };
  const makeWork = () => workOf(time.prices);
  const order = { runs: options.perturb ?? 0, seed: setup.seed, jitter_permille };
  return {
    machine: time.machine,
    timed: timed(trace.chunks(), makeWork, time),
    perturbed: order.runs === 0 ? null : perturb(trace.chunks(), makeWork, time, order),
  };
}

/** Of a result, what the layer knows better. */
export function timeFields(replay: TimedReplay | null): Partial<Pick<Timed, 'time_ns' | 'latency_ns'>> {
  return replay === null ? {} : { time_ns: replay.timed.time_ns, latency_ns: replay.timed.latency_ns };
}

/** For `--json`. */
export function timeDocument({ machine, timed, perturbed }: TimedReplay): unknown {
  const { time_ns: _, latency_ns: __, latency, ...rest } = timed;
  const processors = Number.isFinite(machine.processors) ? machine.processors : timed.threads;
  return { machine: { ...machine, processors }, ...rest, latency, perturbed };
}

/** A line on stderr for a limit that was too low; null where there is none, or it held. */
export function refusal({ timed: { memory_limit } }: TimedReplay): string | null {
  if (memory_limit === null || memory_limit.refused === null) return null;
  const { bytes, refused } = memory_limit;
  return (
    `--memory-limit: event ${refused.event} needs ${formatBytes(refused.wanted_bytes)} resident with ` +
    `${formatBytes(refused.live_bytes)} live before it, the limit is ${formatBytes(bytes)}; the run ends there`
  );
}

export function timeLines({ timed, machine, perturbed }: TimedReplay, prices: Chosen['prices']): string[] {
  const { threads, run_ns, threads_ns, cpu_ns, by_cause, interval_ns, latency, memory_limit } = timed;
  const processors = Math.min(machine.processors, threads);
  const causes = Object.entries(by_cause)
    .filter(([, ns]) => ns > 0)
    .map(
      ([name, ns]) => `  ${name.padEnd(22)}${milliseconds(ns).padStart(18)}${permille(ns, threads_ns).padStart(18)}`,
    );
  const columns = (cells: readonly (string | number)[]): string =>
    cells.map((cell) => String(cell).padStart(12)).join('');
  return [
    `time by the discrete-event layer, at ${pricesInWords(prices)}: modelled, not measured`,
    `  run ${milliseconds(run_ns)}${spread(interval_ns)}, ${plural(threads, 'thread')} on ${plural(processors, 'processor')}; ` +
      `allocator ${milliseconds(cpu_ns)} of CPU`,
    ...causes,
    ...(memory_limit === null
      ? []
      : [`  memory limit ${formatBytes(memory_limit.bytes)}: ${formatBytes(memory_limit.reclaimed_bytes)} reclaimed`]),
    ...(perturbed === null ? [] : [orders(perturbed)]),
    `  ${'latency, ns'.padEnd(24)}${columns(['events', 'p50', 'p99', 'p99.9', 'max'])}`,
    ...latency.map(
      ({ operation, size, events, p50, p99, p999, max }) =>
        `  ${`${operation} ${size}`.padEnd(24)}${columns([events, p50, p99, p999, max])}`,
    ),
  ];
}

const flags = { processors: '--processors', perturb: '--perturb', memoryLimit: '--memory-limit' } as const;

/** As the layer takes them. */
export function timePrices({ prices, curves, library }: PriceList): TimePrices {
  return { flat: prices, curves, ...(library === null ? {} : { library }) };
}

/** How much of its time the recorded process was on a processor says how much of a thread's thinking is work. */
function machineOf(
  { origin, statistics }: Trace,
  { shootdown_ns }: PriceList,
  processors = Number.POSITIVE_INFINITY,
): MachineSetup {
  const { process, has_time } = origin;
  const whole_ns = process === null ? 0 : process.wall_ns * statistics.threads;
  const busy_ns = process === null ? 0 : process.user_ns + process.sys_ns;
  const busy_permille = whole_ns > 0 ? Math.min(1000, Math.round((1000 * busy_ns) / whole_ns)) : 1000;
  return {
    ...nominal_machine,
    shootdown_ns: shootdown_ns ?? nominal_machine.shootdown_ns,
    processors,
    busy_permille,
    thinks: has_time,
  };
}

function orders({ runs, jitter_permille: jitter, quantiles_ns: { p5, p50, p95 } }: PerturbedResult): string {
  return (
    `  ${runs} orders of the threads, thinking within ${jitter / 10} %: ` +
    `median ${milliseconds(p50)}, 90 % of them in [${milliseconds(p5)}, ${milliseconds(p95)}]`
  );
}

function spread({ low, high }: Timed['interval_ns']): string {
  return low === high ? '' : ` [${milliseconds(low)}, ${milliseconds(high)}]`;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function milliseconds(ns: number): string {
  return `${(ns / 1e6).toFixed(3)} ms`;
}

function permille(ns: number, total_ns: number): string {
  return `${((100 * ns) / total_ns).toFixed(1)} %`;
}

function limitOption(text: string): number {
  const bytes = sizeOption(text);
  if (bytes < 4096) throw new InvalidArgumentError(`"${text}" is less than a page.`);
  return bytes;
}
