/**
 * Runs every contestant on every subject, interleaved: for each, one process that proves and counts, then as many that
 * are timed as there are rounds, in an order shuffled anew each round.
 */
import { shuffler } from 'd3-array';
import seedrandom from 'seedrandom';
import { type Interval, intervalOf, ratioOf } from '../statistics.ts';
import type { Circumstances, Contestant, Counts, Proof, Timing } from './contestants.ts';
import type { Subject } from './subjects.ts';

export type Phase = 'cold' | 'steady';

export interface Cell extends Counts {
  readonly allocator: string;
  readonly version: string | null;
  readonly library: string;
  readonly subject: string;
  readonly phase: Phase;
  /** CPU time of the threads that ran the events. */
  readonly ns_per_event: Interval;
  /** Of the process that proved: its first round, whose every block was checked. */
  readonly served_events: number;
  readonly events: number;
  readonly own_books: Proof['own_books'];
  /** Rounds that the time is of, and those left out because a huge fault had to wait for the host. */
  readonly timed_rounds: number;
  readonly slow_huge_faults_discarded: number;
  readonly includes_bookkeeping: boolean;
}

export interface Ratio {
  readonly subject: string;
  readonly phase: Phase;
  readonly allocator: string;
  readonly against: string;
  /** How many times as long as `against`; rounds are paired. */
  readonly time: Interval;
  /** How many times as much resident, on average; null where that is nothing. */
  readonly resident_mean: number | null;
}

export interface SideBySide {
  readonly cells: readonly Cell[];
  readonly ratios: readonly Ratio[];
}

interface Plan extends Circumstances {
  readonly subjects: readonly Subject[];
  readonly contestants: readonly Contestant[];
  readonly rounds: number;
  readonly progress: (done: number, total: number) => void;
}

/** All that was measured of one contestant on one subject. */
interface Entry {
  readonly subject: Subject;
  readonly contestant: Contestant;
  readonly proof: Proof;
  readonly timings: Timing[];
}

export async function sideBySide(plan: Plan): Promise<SideBySide> {
  const { subjects, contestants, rounds, seed } = plan;
  const total = subjects.length * contestants.length * (rounds + 1);
  let done = 0;
  const count = <T>(value: T): T => {
    done += 1;
    plan.progress(done, total);
    return value;
  };
  const groups: Entry[][] = [];
  for (const subject of subjects) {
    const group: Entry[] = [];
    for (const contestant of contestants)
      group.push({ subject, contestant, proof: count(await contestant.prove(subject, plan)), timings: [] });
    groups.push(group);
  }
  const shuffle = shuffler(seedrandom.alea(`bench/${seed}`));
  for (let round = 0; round < rounds; round += 1)
    for (const group of groups)
      for (const { contestant, subject, timings } of shuffle([...group]))
        timings.push(count(await contestant.time(subject, plan)));
  return {
    cells: groups.flatMap((group) => cellsOf(group, seed)),
    ratios: groups.flatMap((group) => ratiosOf(group, seed)),
  };
}

const phases = ['cold', 'steady'] as const;

function cellsOf(group: readonly Entry[], seed: number): Cell[] {
  return phases.flatMap((phase) => {
    const kept = keptRounds(group, phase);
    return group.flatMap(({ subject, contestant, proof, timings }) => {
      const counts = proof[phase];
      const times = timesOf(timings, phase, kept);
      if (counts === null || times === null) return [];
      return {
        allocator: contestant.name,
        version: proof.version,
        library: proof.library,
        subject: subject.name,
        phase,
        ns_per_event: intervalOf(
          times.map((ns) => ns / Math.max(1, subject.events)),
          seed,
        ),
        ...counts,
        served_events: proof.served_events,
        events: subject.events,
        own_books: proof.own_books,
        timed_rounds: kept.length,
        slow_huge_faults_discarded: timings.reduce(
          (sum, { slow }, at) => sum + (kept.includes(at) ? 0 : slow[phase]),
          0,
        ),
        includes_bookkeeping: contestant.includes_bookkeeping,
      };
    });
  });
}

function ratiosOf(group: readonly Entry[], seed: number): Ratio[] {
  const against = group.find(({ contestant }) => contestant.name === 'glibc') ?? group[0];
  return phases.flatMap((phase) => {
    const kept = keptRounds(group, phase);
    const base = timesOf(against.timings, phase, kept);
    const base_counts = against.proof[phase];
    if (base === null || base_counts === null) return [];
    return group.flatMap(({ subject, contestant, proof, timings }) => {
      const counts = proof[phase];
      const times = timesOf(timings, phase, kept);
      if (counts === null || times === null) return [];
      return {
        subject: subject.name,
        phase,
        allocator: contestant.name,
        against: against.contestant.name,
        time: ratioOf(times, base, seed),
        resident_mean:
          base_counts.resident_mean_bytes > 0 ? counts.resident_mean_bytes / base_counts.resident_mean_bytes : null,
      };
    });
  });
}

/** A round with a slow huge fault is left out for everyone, as long as half of them remain. */
function keptRounds(group: readonly Entry[], phase: Phase): number[] {
  const all = group[0].timings.map((_, round) => round);
  const clean = all.filter((round) => group.every(({ timings }) => timings[round].slow[phase] === 0));
  return clean.length * 2 >= all.length ? clean : all;
}

function timesOf(timings: readonly Timing[], phase: Phase, rounds: readonly number[]): number[] | null {
  const times = rounds.map((round) => (phase === 'cold' ? timings[round].cold_ns : timings[round].steady_ns));
  return times.every((time) => time !== null) ? times : null;
}
