/** The studies, a line each. */
import { batching } from './batching.ts';
import { hit_rate } from './hit-rate.ts';
import type { Study } from './study.ts';
import { thresholds } from './thresholds.ts';
import { tuning } from './tuning.ts';

export const studies: readonly Study[] = [batching, hit_rate, thresholds, tuning];
