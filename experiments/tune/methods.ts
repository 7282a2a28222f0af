/** The search methods, the default first. */
import { climbs } from './climbs.ts';
import { grid_method } from './grid.ts';
import { halving } from './halving.ts';
import type { Method } from './method.ts';
import { racing } from './racing.ts';
import { refine } from './refine.ts';

export const methods: readonly Method[] = [halving, grid_method, racing, refine, climbs];
