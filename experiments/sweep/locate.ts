/** Which event it was on which two halves first differed, for a row on which they do. */
import { open } from '../../traces/index.ts';
import { crossCheck } from '../crosscheck.ts';
import type { Disagreement } from './driver.ts';
import { type Plan, setupOf } from './plan.ts';

/** One line: trace, configuration, event, field, both values. */
export async function locateDisagreement(
  plan: Plan,
  disagreement: Disagreement,
  check: typeof crossCheck = crossCheck,
): Promise<string> {
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
