/** What a learned run paid for not knowing, beside every result of one. */
import {
  foldTrace,
  hindsight,
  learns,
  lowestFloor,
  type Outcome,
  type Regret,
  regretOf,
  type Setup,
  shape,
} from '../sim/index.ts';
import type { Trace } from '../traces/index.ts';
import { formatBytes } from './sizes.ts';

/** Null of a run that learned nothing. Reads the trace once more. */
export function regretOfRun(trace: Trace, setup: Setup, outcome: Outcome): Regret | null {
  if (!learns(setup.config)) return null;
  const folded = foldTrace(trace.chunks(), Math.min(lowestFloor([setup]), shape.strategy_geometric_bytes[0]));
  return regretOf(hindsight(folded, setup), outcome);
}

/** Lines for people. */
export function regretLines(regret: Regret): string[] {
  const { classes, thresholds_bytes, best_arm, best_score, optimum_score, score } = regret;
  const groups = new Set(classes).size;
  const same =
    groups === classes.length
      ? `all ${groups} thresholds differ on this trace`
      : `the ${classes.length} thresholds are ${groups} here: ${classesInWords(regret)}`;
  return [
    `  ${same}`,
    `  regret ${signed(regret.regret)} of score (${ratio(score, best_score)} times the best fixed strategy, ` +
      `${best_arm} at ${formatBytes(thresholds_bytes[best_arm])}, ${best_score.toFixed(3)}); ` +
      `offline optimum ${optimum_score.toFixed(3)} (${ratio(score, optimum_score)} times)`,
  ];
}

function classesInWords({ classes }: Regret): string {
  const members = new Map<number, number[]>();
  classes.forEach((name, arm) => {
    members.set(name, [...(members.get(name) ?? []), arm]);
  });
  return [...members.values()]
    .map((arms) => (arms.length === 1 ? `${arms[0]}` : `${arms[0]} to ${arms[arms.length - 1]}`))
    .join(', ');
}

const signed = (value: number): string => `${value < 0 ? '' : '+'}${value.toFixed(3)}`;
const ratio = (value: number, of: number): string => (of > 0 ? (value / of).toFixed(2) : '-');
