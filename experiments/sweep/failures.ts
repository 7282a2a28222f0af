/** What of a sweep did not hold, a line each: no line, and the exit code is 0. */
import { open } from '../../traces/index.ts';
import { crossCheck } from '../crosscheck.ts';
import type { Disagreement } from './driver.ts';
import { type Plan, setupOf } from './plan.ts';
import type { Swept } from './run.ts';

/** `trouble` is why the native part could not be used, where a check was asked for. */
export async function failuresOf(
  swept: Swept,
  trouble: string | null,
  check: typeof crossCheck = crossCheck,
): Promise<string[]> {
  const { plan, disagreement, notes } = swept;
  return [
    ...(trouble === null ? [] : [`unchecked: ${trouble}`]),
    ...(disagreement === null ? [] : [await located(plan, disagreement, check)]),
    ...notes,
  ];
}

/** Trace, configuration, event, field, both values: the two halves replay the row again to find the event. */
async function located(plan: Plan, disagreement: Disagreement, check: typeof crossCheck): Promise<string> {
  const { shard, config_hash, field, sim, native } = disagreement;
  const at = plan.shards[shard].trace;
  const point = plan.points.find(({ hash }) => hash === config_hash)!;
  const { path, file } = plan.traces[at];
  const row = `${path}, configuration ${config_hash}`;
  const found = (await check(open(file), setupOf(plan, at, point), 'decisions')).check.first_difference;
  return found === null
    ? `${row}: ${field} is ${sim} in the simulator and ${native} in the C core; no single event differs`
    : `${row}: event ${found.event}: ${found.field} is ${found.sim} in the simulator and ${found.native} in the C core`;
}
