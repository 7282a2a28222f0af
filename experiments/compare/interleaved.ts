/** Runs of two settings in turns, so that what disturbs the machine disturbs both. */
import seedrandom from 'seedrandom';
import type { SubjectSetting } from '../subject-setting.ts';
import type { Run } from './metrics.ts';
import type { CompareSubject } from './subjects.ts';

export interface Pair<T> {
  readonly a: T;
  readonly b: T;
}

export interface Interleaved {
  /** Runs of a phase, by round. */
  readonly of: (phase: number) => Pair<readonly Run[]>;
  /** In words, where runs ended differently; else empty. */
  readonly differences: readonly string[];
}

/** One run of each a round, who goes first alternating from a drawn start; the first round warms up and does not count. */
export async function interleaved(
  subject: CompareSubject,
  settings: Pair<SubjectSetting>,
  { runs, seed }: { readonly runs: number; readonly seed: number },
  ran: () => void,
): Promise<Interleaved> {
  const first = seedrandom.alea(`compare/${seed}/${subject.name}`)() < 0.5 ? 0 : 1;
  const rounds: Record<'a' | 'b', readonly Run[]>[] = [];
  const outcomes = { a: new Set<string>(), b: new Set<string>() };
  for (let round = 0; round <= runs; round += 1) {
    const order = (round + first) % 2 === 0 ? (['a', 'b'] as const) : (['b', 'a'] as const);
    const of_round: Record<'a' | 'b', readonly Run[]> = { a: [], b: [] };
    for (const who of order) {
      const { runs: parts, outcome } = await subject.run(settings[who]);
      of_round[who] = parts;
      if (outcome !== null) outcomes[who].add(outcome);
      ran();
    }
    if (round > 0) rounds.push(of_round);
  }
  const all = new Set([...outcomes.a, ...outcomes.b]);
  const words = (who: 'a' | 'b') => `${settings[who].text}: ${someOf([...outcomes[who]])}`;
  return {
    of: (phase) => ({ a: rounds.map((round) => round.a[phase]), b: rounds.map((round) => round.b[phase]) }),
    differences: all.size > 1 ? [`${subject.name}: runs ended differently: ${words('a')}; ${words('b')}`] : [],
  };
}

function someOf(outcomes: readonly string[]): string {
  const shown = outcomes.slice(0, 2).join(', then ');
  return outcomes.length > 2 ? `${shown}, and ${outcomes.length - 2} others` : shown;
}
