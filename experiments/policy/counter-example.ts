/** A case as a scenario file, to keep, read and replay: its settings and events, and the seed of its run in a comment. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, default_profile } from '../../sim/index.ts';
import { writeAtomically } from '../../traces/index.ts';
import { readScenario, writeScenario } from '../../traces/scenario.ts';
import { UsageError } from '../command.ts';
import { scenarioSettings, scenarioSetup } from '../scenario-setup.ts';
import type { Case } from './cases.ts';
import type { Broken } from './policy-error.ts';
import { type Subject, setupOf } from './subject.ts';

/** Writes it into `folder` and returns its path. Throws TraceError where it cannot be written. */
export function writeCase(folder: string, subject: Subject, rule: string, one: Case, broken: Broken): string {
  const path = join(folder, `${rule}.txt`);
  const { event, found, wanted } = broken;
  const text = [
    `# hakmem check ${subject.path}: rule ${rule}${event === null ? '' : `, event ${event}`}: found ${found}, wanted ${wanted}.\n`,
    `# seed ${one.seed}\n`,
    scenarioSettings('BALANCED', setupOf(subject, one).config, one.touch),
    '\n',
    writeScenario(one.chunks),
  ].join('');
  writeAtomically(path, (sink) => sink.append(Buffer.from(text)));
  return path;
}

/** Throws UsageError and TraceError. */
export function readCase(path: string): Case {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(`${path}: ${code === 'ENOENT' ? 'no such file' : message}; wanted a scenario`);
  }
  const { trace, lines } = readScenario(path, text);
  const [, seed] = /^# seed (\d+)$/m.exec(text) ?? [];
  try {
    const { config, touch } = scenarioSetup(lines, 0, default_profile);
    return { chunks: [...trace.chunks()], config, touch, seed: Number(seed ?? 1) };
  } catch (error) {
    if (error instanceof ConfigError || error instanceof UsageError) throw new UsageError(`${path}: ${error.message}`);
    throw error;
  }
}
