/** A sweep written down: the JSON file of `--plan`, and the schema that editors and other programs check it by. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { enums, mode_names, param_names } from '../../sim/index.ts';
import { UsageError } from '../command.ts';
import { packageRoot } from '../record.ts';
import { scales } from './axes.ts';
import { points_max } from './points.ts';

const value = z.union([z.number(), z.boolean(), z.string()]).describe('a number, "2MiB", true, or a word');
const end = z.union([z.number(), z.string()]).describe('a number or "2MiB"');
const range = z.strictObject({
  from: end,
  to: end,
  steps: z.int().min(2).max(100_000).describe('both ends are among them'),
  scale: z.enum(scales).optional().describe('log for bytes and events, else linear'),
});

const schema = z
  .strictObject({
    $schema: z.string().optional(),
    traces: z.array(z.string()).min(1).optional().describe('paths, from the folder the command runs in'),
    mode: z.enum(mode_names as [string, ...string[]]).optional(),
    set: z.partialRecord(z.enum(param_names), value).optional().describe('parameters over the mode, not swept'),
    axes: z
      .partialRecord(z.enum([...param_names, 'mode']), z.union([z.array(value).min(1), range]))
      .optional()
      .describe('parameters swept: a list, or a range in steps'),
    sobol: z.int().min(1).max(points_max).optional().describe('this many Sobol points instead of the full grid'),
    policy: z.string().optional().describe('hakmem, or the path of a policy module'),
    seed: z.int().min(0).optional(),
    touch: z.enum(enums.touch).optional(),
    prices: z.string().optional().describe('a price file'),
    profile: z.string().optional().describe('a kernel profile'),
    check: z.enum(['none', 'decisions', 'kernel']).optional(),
  })
  .meta({ title: 'hakmem sweep --plan' });

export type PlanFile = z.infer<typeof schema>;

/** Throws UsageError that names file, place, and what was wanted. */
export function readPlanFile(path: string): PlanFile {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `${path}: ${code === 'ENOENT' ? 'no such file' : code === undefined ? `not JSON: ${message}` : message}`,
    );
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UsageError(`${path}: ${issue.path.join('.') || 'document'}: ${issue.message}`);
}

/** The text of docs/sweep.schema.json. */
export function planSchema(): string {
  return `${JSON.stringify(z.toJSONSchema(schema), null, 2)}\n`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(join(packageRoot(), 'docs', 'sweep.schema.json'), planSchema());
