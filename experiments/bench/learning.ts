/**
 * `npm run bench`, its second part: what learning costs. Adaptive replays in full and over a folded trace, in the simulator and in
 * the C core; and the core with learning over (FROZEN from the start, and frozen by itself) against none at all. Interleaved
 * in one process, folding apart; CPU time, not wall time: the machine is shared. Folded runs are compared with full ones.
 */
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { replayCore } from '../../native/index.ts';
import {
  boundaries_bytes,
  type Config,
  configOf,
  default_profile,
  foldTrace,
  type Outcome,
  params,
  prices,
  replay,
  type Setup,
  shape,
  simulate,
} from '../../sim/index.ts';
import { type Chunk, copyChunk, SyntheticTrace } from '../../traces/index.ts';
import { type Interval, intervalOf } from '../statistics.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    events: { type: 'string', default: '5000000' },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const [off, learn, frozen, auto] = params.lifecycle.words!.map((_, at) => at);

const rows = [await measure(10), await measure(100)];
if (values.json) process.stdout.write(`${JSON.stringify({ rounds, rows }, null, 2)}\n`);
else for (const row of rows) print(row);

type Measured = Awaited<ReturnType<typeof measure>>;

async function measure(large_permille: number) {
  const events = Number(values.events);
  const trace = new SyntheticTrace('mixed', { events, large_permille, seed: 1, boundaries_bytes });
  const chunks: Chunk[] = [...trace.chunks()].map(copyChunk);
  const folded = foldTrace(chunks, shape.strategy_geometric_bytes[0]);
  // What learning freezes to is what it is held against: another strategy would do other work.
  const ended = simulate(folded, setupOf({ lifecycle: auto })).learning;
  const setups = {
    off: setupOf({ lifecycle: off, strategy: ended.arm }),
    frozen: setupOf({ lifecycle: frozen, strategy: ended.arm }),
    learn: setupOf({ lifecycle: learn }),
    auto: setupOf({ lifecycle: auto }),
  };
  const spent = new Map<string, number[]>();
  const time = async <T>(name: string, round: number, work: () => T | Promise<T>): Promise<T> => {
    const before = process.cpuUsage();
    const value = await work();
    const { user, system } = process.cpuUsage(before);
    if (round >= 0) spent.set(name, [...(spent.get(name) ?? []), user + system]);
    return value;
  };
  for (let round = -1; round < rounds; round += 1) {
    for (const lifecycle of ['learn', 'auto'] as const) {
      const full = await time(`full ${lifecycle}`, round, () => replay(chunks, setups[lifecycle]));
      const filtered = await time(`folded ${lifecycle}`, round, () => simulate(folded, setups[lifecycle]));
      const { liveness: _, checkpoints: __, log: ___, ...outcome } = full;
      if (!isDeepStrictEqual(outcome, filtered satisfies Outcome))
        throw new Error('a folded run is not its full replay');
    }
    // Both orders, so that what ran before favours nobody.
    const order = ['off', 'frozen', 'learn', 'auto'] as const;
    for (const lifecycle of round % 2 === 0 ? order : [...order].reverse())
      await time(`core ${lifecycle}`, round, () => replayCore(chunks, setups[lifecycle]));
  }
  const of = (name: string): number[] => spent.get(name)!;
  const rate = (name: string): Interval =>
    intervalOf(
      of(name).map((us) => events / us),
      1,
    );
  const ratio = (name: string, to: string): Interval =>
    intervalOf(
      of(name).map((us, at) => us / of(to)[at]),
      1,
    );
  return {
    name: `mixed, ${large_permille} permille large`,
    events,
    windows: ended.windows,
    freezes: ended.freezes,
    state: ended.state,
    simulator_learn: rate('full learn'),
    core_learn: rate('core learn'),
    full_to_folded_learn: ratio('full learn', 'folded learn'),
    full_to_folded_auto: ratio('full auto', 'folded auto'),
    core_frozen_to_off: ratio('core frozen', 'core off'),
    core_auto_to_off: ratio('core auto', 'core off'),
    core_learn_to_off: ratio('core learn', 'core off'),
  };
}

function setupOf(settings: Partial<Config>): Setup {
  return { config: configOf('LEARNING', settings), prices, profile: default_profile, touch: 'page', seed: 1 };
}

function print(row: Measured): void {
  const figure = ({ median, low, high }: Interval): string =>
    `${median.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
  const lines: readonly (readonly [string, string])[] = [
    ['adaptive replay, simulator: million events a CPU second', figure(row.simulator_learn)],
    ['adaptive replay, C core: million events a CPU second', figure(row.core_learn)],
    ['full / folded, learning to the end', figure(row.full_to_folded_learn)],
    [`full / folded, lifecycle=auto (${row.freezes} freezes, ends ${row.state})`, figure(row.full_to_folded_auto)],
    ['C core, FROZEN from the start / no learning', figure(row.core_frozen_to_off)],
    ['C core, lifecycle=auto / no learning', figure(row.core_auto_to_off)],
    ['C core, learning to the end / no learning', figure(row.core_learn_to_off)],
  ];
  process.stdout.write(`${row.name}, ${row.events} events, ${row.windows} windows\n`);
  for (const [what, value] of lines) process.stdout.write(`  ${what.padEnd(64)}${value.padStart(24)}\n`);
}
