/** A found setting on the program itself: proven to be live there, then run in turns with what is there now. */
import { interleaved } from '../compare/interleaved.ts';
import { compareRuns, type Metrics } from '../compare/metrics.ts';
import { programSubject } from '../compare/subjects.ts';
import { parseSubject } from '../subject-setting.ts';
import { resident_noise_bytes } from './worth.ts';

export interface OnProgram {
  readonly program: string;
  readonly runs: number;
  /** What is there now against the setting, metric by metric. */
  readonly metrics: Metrics;
  /** It takes more CPU time or more memory there, beyond noise and margin. */
  readonly harms: boolean;
  /** In words, where runs ended differently. */
  readonly differences: readonly string[];
}

/** More than these is harm, as a part of what is there. */
const harm_of_cpu = 0.01;
const harm_of_memory = 0.02;

/** `allocator` as it is against the setting. Throws CheckFailed where the setting would not be live in the program. */
export async function verifyOnProgram(
  argv: readonly string[],
  allocator: string,
  setting: string,
  {
    runs,
    seed,
    signal,
    ran,
  }: { runs: number; seed: number; signal: AbortSignal; ran: (done: number, total: number) => void },
): Promise<OnProgram> {
  const subject = programSubject(argv, 'hash', signal);
  const settings = { a: parseSubject(allocator), b: parseSubject(setting) };
  await subject.prove(settings.b);
  let done = 0;
  const { of, differences } = await interleaved(subject, settings, { runs, seed }, () => {
    done += 1;
    ran(done, (runs + 1) * 2);
  });
  const { a, b } = of(0);
  const metrics = compareRuns(a, b, harm_of_cpu, seed);
  const memory = compareRuns(a, b, harm_of_memory, seed).resident_peak;
  // A peak that is given back before the program ends is read off lagging counters, and looks lower than one that is kept.
  const more_bytes = memory.b.median - memory.a.median;
  return {
    program: subject.name,
    runs,
    metrics,
    harms: metrics.cpu.verdict === 'worse' || (memory.verdict === 'worse' && more_bytes > resident_noise_bytes),
    differences,
  };
}
