/** What two settings are compared on: a program, run whole, or a trace, replayed on the allocators. */
import { median } from 'd3-array';
import { measureProgram, NotStartedError, type Spent } from '../../native/measure.ts';
import { runReplayer } from '../../native/replayer.ts';
import { CheckFailed, UsageError } from '../command.ts';
import { asHakFile } from '../crosscheck.ts';
import { openTrace } from '../open-trace.ts';
import { proveSetting, whyNotLive } from '../setting-proof.ts';
import { type SubjectSetting, subjectEnvironment, subjectLibrary } from '../subject-setting.ts';
import type { Run } from './metrics.ts';

/** What a run of a setting gave: a part each for the phases of the subject. */
export interface Ran {
  readonly runs: readonly Run[];
  /** What must be equal in every run of both settings; null where nothing is compared. */
  readonly outcome: string | null;
}

export interface CompareSubject {
  readonly name: string;
  /** Names of the parts of a run; one without a name for a program. */
  readonly phases: readonly (string | null)[];
  /** Throws CheckFailed where the setting would not be live. */
  prove(setting: SubjectSetting): Promise<void>;
  run(setting: SubjectSetting): Promise<Ran>;
}

export function programSubject(
  argv: readonly string[],
  output: 'hash' | 'discard',
  signal: AbortSignal,
): CompareSubject {
  return {
    name: argv.join(' '),
    phases: [null],
    async prove(setting) {
      const proof = await proveSetting(argv, {
        env: subjectEnvironment(setting),
        setting: setting.env,
        library: subjectLibrary(setting),
        signal,
      });
      const reason = whyNotLive(proof);
      if (reason !== null)
        throw new CheckFailed(`${setting.text}: not live in the program (--unproven goes on): ${reason}`);
    },
    async run(setting) {
      const spent = await measured(argv, setting, output, signal);
      const { wall_ns, faults, resident_peak_bytes } = spent;
      const run = { cpu_ns: spent.user_ns + spent.sys_ns, wall_ns, faults, resident_peak_bytes };
      return { runs: [run], outcome: outcomeOf(spent, output) };
    },
  };
}

async function measured(
  argv: readonly string[],
  setting: SubjectSetting,
  output: 'hash' | 'discard',
  signal: AbortSignal,
): Promise<Spent> {
  try {
    return await measureProgram(argv, { env: subjectEnvironment(setting), output, signal });
  } catch (error) {
    if (error instanceof NotStartedError) throw new UsageError(error.message);
    throw error;
  }
}

function outcomeOf({ status, signal, output_bytes, output_digest }: Spent, output: 'hash' | 'discard'): string {
  const end = signal !== 0 ? `killed by signal ${signal}` : `exit status ${status}`;
  return output === 'discard' ? end : `${end}, ${output_bytes} bytes of output (${output_digest})`;
}

/** Rounds after the first, in the same process: what the allocator does with memory it already has. */
const steady_rounds = 3;

/** `path` is a `.hak` file, or anything that `import` reads. */
export function traceSubject(path: string, signal: AbortSignal): CompareSubject {
  // The replayer reads `.hak` alone.
  const file = asHakFile(openTrace(path)).path;
  return {
    name: path,
    phases: ['cold', 'steady'],
    // The replayer itself holds the library that serves malloc to the one asked for.
    async prove() {},
    async run({ allocator, env }) {
      const options = { allocator, env, signal };
      // Times without checks and samples; counts from a run with fixed addresses, where they repeat.
      const timed = await runReplayer(file, { ...options, bare: true, rounds: 1 + steady_rounds });
      const counted = await runReplayer(file, { ...options, rounds: 1 + steady_rounds });
      const parts = [[0], Array.from({ length: steady_rounds }, (_, at) => at + 1)];
      const runs = parts.map((rounds) => {
        const middle = (value: (round: number) => number): number => median(rounds, value)!;
        return {
          cpu_ns: middle((round) => timed.rounds[round].cpu_ns),
          wall_ns: middle((round) => timed.rounds[round].wall_ns),
          faults: middle((round) => counted.rounds[round].faults),
          resident_peak_bytes: middle((round) => counted.rounds[round].resident_peak_bytes),
        };
      });
      return { runs, outcome: counted.unserved === null ? 'served' : `not served: event ${counted.unserved.event}` };
    },
  };
}
