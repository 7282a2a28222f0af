/**
 * Holds the simulator to the C core and to the real kernel, case by case, and prints a line of JSON for each; ends at the
 * first that the kernel objects to. wrong-ideas.ts runs it inside a copy of the sources in which an idea was planted.
 *
 *     node dist/experiments/verify/hold-to-kernel.js INPUTS.json [--all]
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Setup } from '../../sim/index.ts';
import type { Config, KernelProfile, Mode } from '../../sim/spec.ts';
import { packageRoot } from '../record.ts';
import { answerOf, type Case, caseOf, differs, type Expected, replayed } from './oracle.ts';

/** A case in words, as it is handed to the copy. */
export interface NamedCase {
  readonly name: string;
  readonly path: string;
  readonly settings: Partial<Config>;
  readonly mode: Mode;
  readonly touch: Setup['touch'];
}

export interface Inputs {
  readonly profile: KernelProfile;
  readonly cases: readonly NamedCase[];
}

/** What came of one case; null where nothing differed. */
export interface Held {
  readonly name: string;
  /** What the simulator itself noticed: an assertion or a broken rule. */
  readonly sim: string | null;
  /** How the C core on the counted kernel differs from it. */
  readonly halves: string | null;
  /** How the real kernel differs. */
  readonly kernel: string | null;
}

export async function hold({ name, path, settings, mode, touch }: NamedCase, profile: KernelProfile): Promise<Held> {
  const binary = join(packageRoot(), 'native', 'build', 'hak-replay');
  const counted = caseOf(name, path, settings, { mode, touch, profile });
  const real: Case = { ...counted, kernel: 'real' };
  let expected: Expected;
  try {
    expected = answerOf(counted);
  } catch (error) {
    // The simulator's own assertion: the kernel is asked all the same, and can but refuse or crash.
    const { code, stdout } = await replayed(binary, real);
    const rule =
      code === 0 || code === 1 ? (/"violation":\{"event":\d+,"rule":"(\w+)"/.exec(stdout)?.[1] ?? null) : null;
    const kernel = code === 70 ? 'touch outside a block' : code === 'SIGABRT' ? 'assertion' : rule;
    return {
      name,
      sim: `assertion: ${(error as Error).message}`,
      halves: null,
      kernel: kernel === rule && rule !== null ? `violation ${rule}` : kernel,
    };
  }
  const rule = 'result' in expected ? (expected.result.violation?.rule ?? null) : 'refused';
  return {
    name,
    sim: rule === null ? null : `violation ${rule}`,
    halves: differs(counted, expected, await replayed(binary, counted)),
    kernel: differs(real, expected, await replayed(binary, real)),
  };
}

async function main(): Promise<void> {
  const [path, all] = process.argv.slice(2);
  const { cases, profile } = JSON.parse(readFileSync(path, 'utf8')) as Inputs;
  for (const each of cases) {
    const held = await hold(each, profile);
    process.stdout.write(`${JSON.stringify(held)}\n`);
    if (held.kernel !== null && all !== '--all') return;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
