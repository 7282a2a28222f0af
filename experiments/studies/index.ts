/** The studies, a line each. */
import { accuracy } from './accuracy.ts';
import { batching } from './batching.ts';
import { elo_or_not } from './elo-or-not.ts';
import { freeze } from './freeze.ts';
import { hit_rate } from './hit-rate.ts';
import { overhead } from './overhead.ts';
import { phase_6_6 } from './phase-6.6.ts';
import { phase_6_8 } from './phase-6.8.ts';
import { settings } from './settings.ts';
import type { Study } from './study.ts';
import { thresholds } from './thresholds.ts';
import { tuning } from './tuning.ts';

export const studies: readonly Study[] = [
  accuracy,
  batching,
  elo_or_not,
  freeze,
  hit_rate,
  overhead,
  phase_6_6,
  phase_6_8,
  settings,
  thresholds,
  tuning,
];
