/** The property suite of the policy contract: every rule over many cases; what fails is shrunk, written down and run again. */
import fc from 'fast-check';
import { nativeTrouble } from '../../native/index.ts';
import { anyCase, type Case } from './cases.ts';
import { readCase, writeCase } from './counter-example.ts';
import { type Broken, PolicyError } from './policy-error.ts';
import { type Rule, rulesFor } from './rules.ts';
import { type Subject, setupOf } from './subject.ts';
import { witness } from './witness.ts';

export interface RuleReport {
  readonly rule: string;
  readonly says: string;
  /** Null where it was never put to the test: `found` says why. */
  readonly ok: boolean | null;
  readonly event: number | null;
  readonly found: string | null;
  readonly wanted: string | null;
  /** The counter-example, as a scenario file. */
  readonly scenario: string | null;
  readonly shrunk_events: number | null;
  /** Whether the file, read back, breaks the rule again. */
  readonly fails_again: boolean | null;
}

/** What the cases came to, so that it can be told whether rules of freezing and waking had anything to hold. */
export interface Reached {
  readonly events: number;
  readonly windows: number;
  readonly freezes: number;
  readonly canaries: number;
  readonly promotions: number;
  readonly rollbacks: number;
  readonly relearns: number;
}

export interface PolicyReport {
  readonly policy: string;
  readonly seed: number;
  readonly runs: number;
  readonly rules: readonly RuleReport[];
  readonly reached: Reached;
  readonly verdict: 'holds' | 'broken' | 'unchecked';
}

export interface CheckOptions {
  /** Cases a rule. */
  readonly runs: number;
  readonly seed: number;
  /** Where counter-examples go; asked for with the first. */
  readonly folder: () => string;
  /** Names of the rules to ask about; all, where it does not say. */
  readonly rules?: readonly string[];
  /** One case instead of those that are drawn. */
  readonly only?: Case;
  readonly progress?: (done: number, total: number) => void;
}

/** What asking a rule about a case came to: it holds, it is broken, or another one stopped the run. */
type Answer = { readonly broken: Broken | null } | { readonly stopped_by: string };

export async function checkPolicy(subject: Subject, options: CheckOptions): Promise<PolicyReport> {
  const { runs, seed, only } = options;
  const asked = rulesFor(subject, options.rules);
  const total = asked.length * runs;
  const reports: RuleReport[] = [];
  let done = 0;
  for (const rule of asked) {
    const trouble = rule.name === 'native' ? nativeTrouble() : null;
    const report =
      trouble !== null
        ? notTried(rule, trouble)
        : only !== undefined
          ? await checkOne(subject, rule, only)
          : await checkRule(subject, rule, options, () => {
              done += 1;
              options.progress?.(Math.min(done, total), total);
            });
    reports.push(report);
  }
  return {
    policy: subject.id,
    seed,
    runs: only === undefined ? runs : 1,
    rules: reports,
    reached: reachedBy(subject, options),
    verdict: reports.some(({ ok }) => ok === false)
      ? 'broken'
      : reports.some(({ ok }) => ok === null)
        ? 'unchecked'
        : 'holds',
  };
}

const casesOf = ({ arms_bytes, fixed }: Subject): fc.Arbitrary<Case> => anyCase(arms_bytes, fixed);

async function checkRule(
  subject: Subject,
  rule: Rule,
  { runs, seed, folder }: CheckOptions,
  progress: () => void,
): Promise<RuleReport> {
  let tried = 0;
  let stopped_by = '';
  let last: Broken | null = null;
  let ours: { error: unknown } | null = null;
  const property = fc.asyncProperty(casesOf(subject), async (one) => {
    progress();
    const answer = await ask(subject, rule, one).catch((error: unknown) => {
      ours = { error };
      throw error;
    });
    if ('stopped_by' in answer) {
      stopped_by = answer.stopped_by;
      return true;
    }
    tried += 1;
    if (answer.broken !== null) last = answer.broken;
    return answer.broken === null;
  });
  const details = await fc.check(property, { seed, numRuns: runs });
  // A mistake of ours is no counter-example.
  if (ours !== null) throw (ours as { error: unknown }).error;
  if (!details.failed) return tried > 0 ? holds(rule) : notTried(rule, `every run was ended by rule ${stopped_by}`);
  const [one] = details.counterexample!;
  const path = writeCase(folder(), subject, rule.name, one, last!);
  return {
    ...fails(rule, last!),
    scenario: path,
    shrunk_events: eventsOf(one),
    fails_again: await failsAgain(subject, rule, readCase(path)),
  };
}

/** Where chance is at work, one run may hold. */
async function failsAgain(subject: Subject, rule: Rule, one: Case): Promise<boolean> {
  for (let tries = 0; tries < 3; tries += 1) {
    const answer = await ask(subject, rule, one);
    if ('broken' in answer && answer.broken !== null) return true;
  }
  return false;
}

async function checkOne(subject: Subject, rule: Rule, one: Case): Promise<RuleReport> {
  const answer = await ask(subject, rule, one);
  if ('stopped_by' in answer) return notTried(rule, `the run was ended by rule ${answer.stopped_by}`);
  return answer.broken === null ? holds(rule) : fails(rule, answer.broken);
}

async function ask(subject: Subject, rule: Rule, one: Case): Promise<Answer> {
  try {
    return { broken: await rule.broken(subject, one) };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return error.rule === rule.name ? { broken: error } : { stopped_by: error.rule };
  }
}

function holds({ name, says }: Rule): RuleReport {
  return { rule: name, says, ok: true, ...nothing };
}

function notTried({ name, says }: Rule, why: string): RuleReport {
  return { rule: name, says, ok: null, ...nothing, found: why };
}

function fails({ name, says }: Rule, { event, found, wanted }: Broken): RuleReport {
  return { rule: name, says, ok: false, ...nothing, event, found, wanted };
}

const nothing = { event: null, found: null, wanted: null, scenario: null, shrunk_events: null, fails_again: null };

const eventsOf = ({ chunks }: Case): number => chunks.reduce((sum, { length }) => sum + length, 0);

/** Of the cases that come to their end. */
function reachedBy(subject: Subject, { runs, seed, only }: CheckOptions): Reached {
  const reached = { events: 0, windows: 0, freezes: 0, canaries: 0, promotions: 0, rollbacks: 0, relearns: 0 };
  const add = (one: Case): void => {
    try {
      const { result } = witness(one.chunks, setupOf(subject, one));
      reached.events += result.events;
      for (const name of ['windows', 'freezes', 'canaries', 'promotions', 'rollbacks', 'relearns'] as const)
        reached[name] += result.learning[name];
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
    }
  };
  if (only !== undefined) add(only);
  // The same cases as the rules had, one at a time: they may be a million.
  else fc.assert(fc.property(casesOf(subject), add), { seed, numRuns: runs });
  return reached;
}
