/** Reads a policy module of yours: a .js, .mjs or .ts file whose default export is a policy. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { OwnPolicy } from '../../sim/index.ts';
import { shape } from '../../sim/index.ts';
import { limits } from '../../traces/index.ts';
import { UsageError } from '../command.ts';
import type { Policy } from './contract.ts';
import { inWords, OwnLearner, type PolicySource, thrown } from './own-learner.ts';
import { PolicyError } from './policy-error.ts';

export interface LoadedPolicy extends PolicySource {
  readonly name: string;
  /** Of the file alone, without what it imports. */
  readonly sha256: string;
  /** What the simulator takes. */
  readonly own: OwnPolicy;
}

/** Whether `--policy` names a module; else it is a word. */
export function namesModule(text: string): boolean {
  return /[/\\]|\.(?:js|mjs|ts)$/.test(text);
}

/** How results name it; null is hakmem's own. */
export function policyId(policy: Pick<LoadedPolicy, 'name' | 'sha256'> | null): string {
  return policy === null ? 'hakmem' : `${policy.name}@${policy.sha256}`;
}

/** Why nothing that a module decides is checked. With an `option`, the one that says that this is known and was not given. */
export function uncheckable({ name }: Pick<OwnPolicy, 'name'>, option?: string): string {
  return option === undefined
    ? `not cross-checked: policy ${name} is a module of yours`
    : `policy ${name} is a module of yours: there is none of it in the C core; ${option} says that you know`;
}

/**
 * Throws UsageError in one line where the file is no policy, or where its SHA-256 is not `wanted_sha256`. A module is
 * imported once a process, again only where its text has changed.
 */
export async function loadPolicy(path: string, wanted_sha256?: string): Promise<LoadedPolicy> {
  const file = resolve(path);
  if (!/\.(?:js|mjs|ts)$/.test(file)) throw new UsageError(`${path}: not a policy module; wanted .js, .mjs or .ts`);
  const sha256 = sha256Of(path, file);
  if (wanted_sha256 !== undefined && sha256 !== wanted_sha256)
    throw new UsageError(`${path}: changed since the sweep began: found ${sha256}, wanted ${wanted_sha256}`);
  const key = `${file}\n${sha256}`;
  const known = loaded.get(key);
  if (known !== undefined) return known;
  const policy = policyIn(path, await imported(path, file, sha256));
  if (sha256Of(path, file) !== sha256) throw new UsageError(`${path}: changed while it was read`);
  const source = { policy, path, file };
  tryOut(source);
  const { name } = policy;
  const arms_bytes = policy.arms_bytes === undefined ? null : Object.freeze([...policy.arms_bytes]);
  const own: OwnPolicy = { name, arms_bytes, make: (arms, seed) => new OwnLearner(source, arms, seed) };
  const made = { ...source, name, sha256, own };
  loaded.set(key, made);
  return made;
}

const loaded = new Map<string, LoadedPolicy>();

function sha256Of(path: string, file: string): string {
  try {
    return createHash('sha256').update(readFileSync(file)).digest('hex');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const said = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a directory' : message;
    throw new UsageError(`${path}: ${said}; wanted a policy module`);
  }
}

async function imported(path: string, file: string, sha256: string): Promise<Record<string, unknown>> {
  if (file.endsWith('.ts') && !stripsTypes())
    throw new UsageError(
      `${path}: this Node, ${process.version}, runs no TypeScript; wanted Node 22.18 or later, or the module as .mjs`,
    );
  const quiet = hush();
  try {
    // Its text in its name: a module that changed is another one.
    return (await import(`${pathToFileURL(file).href}?sha256=${sha256}`)) as Record<string, unknown>;
  } catch (error) {
    const line = error instanceof SyntaxError ? syntaxLine(file) : null;
    const place = line === null ? '' : `line ${line}: `;
    throw new UsageError(`${path}: ${place}cannot be imported: ${thrown(error, file)}`);
  } finally {
    await quiet();
  }
}

function stripsTypes(): boolean {
  const { typescript } = process.features as { typescript?: string | false };
  return typeof typescript === 'string';
}

/** Node keeps the place of a syntax error to itself, except where it dies of one. */
function syntaxLine(file: string): string | null {
  const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' });
  return /:(\d+)\r?\n/.exec(stderr ?? '')?.[1] ?? null;
}

/** That a .js file has to be read twice, or that types are taken off, is no news to who wrote it. */
function hush(): () => Promise<void> {
  const listeners = process.listeners('warning');
  const known = /MODULE_TYPELESS_PACKAGE_JSON|ExperimentalWarning/;
  const filter = (warning: Error & { code?: string }): void => {
    if (!known.test(`${warning.name} ${warning.code}`)) for (const each of listeners) each.call(process, warning);
  };
  process.removeAllListeners('warning');
  process.on('warning', filter);
  return async () => {
    // Warnings are told of after the module has run.
    await setImmediate();
    process.off('warning', filter);
    for (const each of listeners) process.on('warning', each);
  };
}

function policyIn(path: string, module: Record<string, unknown>): Policy {
  const policy = module.default;
  if (typeof policy !== 'object' || policy === null) {
    const others = Object.keys(module).filter((name) => name !== 'default');
    const found =
      policy !== undefined ? inWords(policy) : others.length > 0 ? `none, but ${others.join(', ')}` : 'none';
    throw new UsageError(`${path}: default export: found ${found}, wanted a policy: { name, create(), arms_bytes? }`);
  }
  const { name, arms_bytes, create } = policy as { name?: unknown; arms_bytes?: unknown; create?: unknown };
  if (typeof name !== 'string' || !/^[A-Za-z0-9][\w.-]{0,63}$/.test(name))
    throw new UsageError(`${path}: name: found ${inWords(name)}, wanted letters, digits and . _ -, 64 at most`);
  if (reserved.includes(name)) throw new UsageError(`${path}: name: found "${name}", wanted one that hakmem has not`);
  if (typeof create !== 'function')
    throw new UsageError(`${path}: create: found ${inWords(create)}, wanted a function`);
  if (arms_bytes !== undefined) refuseArms(path, arms_bytes);
  return policy as Policy;
}

const reserved = ['hakmem', 'glibc', 'jemalloc', 'mimalloc'];

function refuseArms(path: string, arms_bytes: unknown): void {
  const wanted = `1 to ${shape.strategies} rising thresholds in whole pages of ${shape.page_bytes} bytes`;
  const refuse = (found: string): UsageError => new UsageError(`${path}: arms_bytes: found ${found}, wanted ${wanted}`);
  if (!Array.isArray(arms_bytes)) throw refuse(inWords(arms_bytes));
  if (arms_bytes.length < 1 || arms_bytes.length > shape.strategies) throw refuse(`${arms_bytes.length} of them`);
  arms_bytes.forEach((bytes: unknown, at) => {
    const whole = typeof bytes === 'number' && Number.isInteger(bytes) && bytes % shape.page_bytes === 0;
    if (!whole || bytes <= 0 || bytes >= limits.size_bytes) throw refuse(inWords(bytes));
    if (at > 0 && bytes <= (arms_bytes[at - 1] as number)) throw refuse(`${bytes} after ${arms_bytes[at - 1]}`);
  });
}

/** What `create` returns is part of what a module is: looked at before anything is computed. */
function tryOut(source: PolicySource): void {
  try {
    new OwnLearner(source, source.policy.arms_bytes ?? shape.strategy_geometric_bytes, 1);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new UsageError(`${source.path}: found ${error.found}, wanted ${error.wanted}`);
  }
}
