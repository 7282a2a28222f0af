/**
 * Climbs along the axes from the settings that people use, the target's `starts`: for allocators whose heap a sample of a
 * trace does not show, so that every try is on the whole of it.
 */
import { climb } from './climb.ts';
import type { Evaluated } from './evaluator.ts';
import type { Method } from './method.ts';

export const climbs: Method = {
  name: 'climbs',
  says: 'climbs on whole traces from the settings that people use',
  async search(problem) {
    const seen: Evaluated[] = [];
    for (const start of problem.starts) seen.push(...(await climb(problem, start)));
    return { finalists: seen, notes: [`${problem.starts.length} climbs`] };
  },
};
