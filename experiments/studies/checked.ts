/** Rows for studies: simulated over a folded trace, and each held against the C core. */
import { replayAll } from '../../native/index.ts';
import { type Config, foldTrace, lowestFloor, type Outcome, type Setup, simulateOver } from '../../sim/index.ts';
import type { Trace } from '../../traces/index.ts';
import { CheckFailed } from '../command.ts';
import { crossCheck } from '../crosscheck.ts';
import { outcomeDifference } from '../sweep/agree.ts';
import type { Bench, Checks } from './study.ts';

export class CheckedRows {
  rows = 0;
  equal_in_core = 0;
  real_runs = 0;
  equal_for_real = 0;
  private readonly bench: Pick<Bench, 'setupOf' | 'trouble'>;

  constructor(bench: Pick<Bench, 'setupOf' | 'trouble'>) {
    this.bench = bench;
  }

  /** Throws CheckFailed where the C core finds a row otherwise. */
  async outcomes(trace: Trace, configs: readonly Config[]): Promise<Outcome[]> {
    const setup = this.bench.setupOf(trace);
    const setups = configs.map((config) => ({ ...setup, config }));
    return this.beside(trace, setups, () => simulateOver(foldTrace(trace.chunks(), lowestFloor(setups)), setups));
  }

  /**
   * What `simulated` comes to, a setup each, while the C core runs them beside it. Setups share prices, profile and touch
   * model. Throws CheckFailed where the core finds one otherwise.
   */
  async beside(trace: Trace, setups: readonly Setup[], simulated: () => readonly Outcome[]): Promise<Outcome[]> {
    const { trouble } = this.bench;
    const core = trouble === null && setups.length > 0 ? replayAll(() => trace.chunks(), setups) : null;
    const outcomes = [...simulated()];
    this.rows += outcomes.length;
    const native = await core;
    if (native === null) return outcomes;
    for (const [at, outcome] of outcomes.entries()) {
      const difference = outcomeDifference(outcome, native[at]);
      if (difference !== null)
        throw new CheckFailed(
          `${trace.path}: simulator and C core differ: ${difference.field} is ${difference.sim} and ${difference.native}`,
        );
      this.equal_in_core += 1;
    }
    return outcomes;
  }

  /** CPU nanoseconds of one run on the real kernel. Throws CheckFailed where it counts otherwise. */
  async measure(trace: Trace, config: Config): Promise<number> {
    return (await this.measured(trace, { ...this.bench.setupOf(trace), config })).time_ns.total;
  }

  /** What one run on the real kernel came to. Throws CheckFailed where it counts otherwise. */
  async measured(trace: Trace, setup: Setup): Promise<Outcome> {
    const { native, check } = await crossCheck(trace, setup, 'kernel');
    this.real_runs += 1;
    if (check.verdict === 'differ') {
      const { event, field, sim, native: real } = check.first_difference!;
      throw new CheckFailed(`${trace.path}: event ${event}: ${field} is ${sim} in the simulator and ${real} for real`);
    }
    if (check.verdict === 'agree') this.equal_for_real += 1;
    return native!;
  }

  counts(): Checks {
    const { rows, equal_in_core, real_runs, equal_for_real } = this;
    return { rows, equal_in_core, real_runs, equal_for_real };
  }
}
