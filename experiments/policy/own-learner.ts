/**
 * A learner that lives in a module of yours, as the simulator sees it: what is handed in are copies, and what comes back is
 * held to the contract. Whatever is wrong is a PolicyError with its rule and event.
 */
import { pathToFileURL } from 'node:url';
import { Means } from '../../sim/decide/arms.ts';
import { type LearnedWindow, type Learner, newFigures } from '../../sim/decide/learner.ts';
import { Prng } from '../../sim/decide/prng.ts';
import type { Policy, PolicyGiven, PolicyLearner, PolicyWindow } from './contract.ts';
import { PolicyError } from './policy-error.ts';

/** A policy and where it came from. */
export interface PolicySource {
  readonly policy: Policy;
  /** As it was named, for messages. */
  readonly path: string;
  /** Where it is. */
  readonly file: string;
}

export interface Watchful {
  /** Math.random is noticed while the module runs: another run would not be this one. */
  readonly notice_chance?: boolean;
}

export class OwnLearner implements Learner {
  readonly figures = newFigures();
  private readonly source: PolicySource;
  private readonly arms: number;
  private readonly given: PolicyGiven;
  private readonly notice_chance: boolean;
  /** For a module that does not say which it holds best. */
  private readonly means: Means;
  private own: PolicyLearner;
  private leader = 0;
  private event = 0;

  constructor(source: PolicySource, arms_bytes: readonly number[], seed: number, watchful: Watchful = {}) {
    const prng = new Prng(`${seed}/own`);
    this.source = source;
    this.arms = arms_bytes.length;
    this.notice_chance = watchful.notice_chance === true;
    this.means = new Means(this.arms);
    this.given = Object.freeze({
      seed,
      arms_bytes: Object.freeze([...arms_bytes]),
      random: () => {
        const drawn = prng.next();
        this.figures.draws = prng.draws;
        return drawn;
      },
    });
    this.own = this.create();
  }

  learn({ index, event, acted, costs }: LearnedWindow): void {
    this.event = event;
    this.means.add(costs);
    this.figures.rating_writes += 1;
    const handed: PolicyWindow = { index, event, acted, costs: Array.from(costs) };
    const column = handed.costs;
    this.call('learn', () => this.own.learn(handed));
    const same =
      handed.index === index &&
      handed.event === event &&
      handed.acted === acted &&
      handed.costs === column &&
      column.length === costs.length &&
      column.every((cost, arm) => Object.is(cost, costs[arm]));
    if (!same) throw this.broken('window', 'a window that learn() has written to', 'the window left as it was handed');
    this.leader = this.own.best === undefined ? this.means.best() : this.answer('best', () => this.own.best!());
  }

  choose(event = this.event): number {
    this.event = event;
    return this.answer('choose', () => this.own.choose());
  }

  /** As of the last window: nothing was learned since. */
  best(): number {
    return this.leader;
  }

  reset(event = this.event): void {
    this.event = event;
    this.means.clear();
    if (this.own.reset === undefined) this.own = this.create();
    else this.call('reset', () => this.own.reset!());
  }

  private create(): PolicyLearner {
    const own: unknown = this.call('create', () => this.source.policy.create(this.given));
    const lacking = lacks(own);
    if (lacking !== null)
      throw this.broken('answers', `create() answered ${lacking}`, 'an object with choose() and learn()');
    return own as PolicyLearner;
  }

  private answer(name: 'choose' | 'best', ask: () => number): number {
    const arm: unknown = this.call(name, ask);
    if (typeof arm === 'number' && Number.isInteger(arm) && arm >= 0 && arm < this.arms) return arm + 0;
    throw this.broken('choice', `${name}() answered ${inWords(arm)}`, `a whole number from 0 to ${this.arms - 1}`);
  }

  private call<T>(name: string, run: () => T): T {
    const random = Math.random;
    let by_chance = false;
    if (this.notice_chance)
      Math.random = () => {
        by_chance = true;
        return random();
      };
    let answer: T;
    try {
      answer = run();
    } catch (error) {
      throw this.broken('answers', `${name}() threw ${thrown(error, this.source.file)}`, 'an answer');
    } finally {
      Math.random = random;
    }
    if (by_chance) throw this.broken('same-seed', `${name}() called Math.random`, 'random() as create() is given it');
    return answer;
  }

  private broken(rule: string, found: string, wanted: string): PolicyError {
    return new PolicyError(this.source.path, rule, this.event, found, wanted);
  }
}

/** What keeps a value from being a learner; null where it is one. */
function lacks(own: unknown): string | null {
  if (typeof own !== 'object' || own === null || own instanceof Promise) return inWords(own);
  for (const name of ['choose', 'learn', 'best', 'reset'] as const) {
    const part = (own as Record<string, unknown>)[name];
    const optional = name === 'best' || name === 'reset';
    if (typeof part !== 'function' && !(optional && part === undefined))
      return `an object whose ${name} is ${inWords(part)}`;
  }
  return null;
}

/** A value in a few words. */
export function inWords(value: unknown): string {
  if (typeof value === 'string') return `"${value.length > 40 ? `${value.slice(0, 40)}...` : value}"`;
  if (typeof value === 'function') return 'a function';
  if (value instanceof Promise) return 'a Promise';
  if (Array.isArray(value)) return `[${value.map(inWords).join(', ')}]`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** An error in one line, with the line of `file` that it came from where its stack says so. */
export function thrown(error: unknown, file: string): string {
  if (!(error instanceof Error)) return inWords(error);
  const at = (error.stack ?? '').split(pathToFileURL(file).href)[1];
  const [, line] = /^[^\n]*?:(\d+):\d+/.exec(at ?? '') ?? [];
  const said = error.message.replaceAll(/\s*\n\s*/g, ' ');
  return `${error.name}${line === undefined ? '' : ` at line ${line}`}: ${said}`;
}
