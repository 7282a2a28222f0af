/** The rules of the policy contract, each as a question to one case. Those of INVARIANTS are named by their number. */
import { replay as replayInC } from '../../native/index.ts';
import { lifecycle } from '../../sim/decide/lifecycle.ts';
import {
  equivalenceClasses,
  type Folded,
  firstDifference,
  floorOfSetup,
  foldTrace,
  replay,
  type Setup,
  simulate,
  type WindowRecord,
} from '../../sim/index.ts';
import { type Chunk, op } from '../../traces/index.ts';
import { UsageError } from '../command.ts';
import { outcomeDifference } from '../sweep/agree.ts';
import type { Case } from './cases.ts';
import type { Broken } from './policy-error.ts';
import { type Call, Spy } from './spy.ts';
import { type Subject, setupOf } from './subject.ts';
import { type Decided, Witness, type Witnessed, witness } from './witness.ts';

export interface Rule {
  readonly name: string;
  readonly says: string;
  /** Of which policies it is asked: all, those that are built in, or modules. */
  readonly of: 'all' | 'built-in' | 'module';
  /** Null where it holds. Throws PolicyError where a module breaks a rule that stops the run. */
  broken(subject: Subject, one: Case): Broken | null | Promise<Broken | null>;
}

/** What a run shows by itself: it stops at the first such mistake, or the witness notes it. */
const seenAlone =
  (name: string) =>
  (subject: Subject, one: Case): Broken | null =>
    witness(one.chunks, setupOf(subject, one)).broken.get(name) ?? null;

export const rules: readonly Rule[] = [
  {
    name: 'answers',
    says: 'create, choose, learn, best and reset come back without throwing',
    of: 'module',
    broken: seenAlone('answers'),
  },
  { name: 'choice', says: 'choose and best answer the index of an arm', of: 'all', broken: choice },
  { name: 'window', says: 'learn leaves the window as it was handed', of: 'module', broken: seenAlone('window') },
  {
    name: 'one-learn',
    says: 'one choose before and one learn after every window of LEARN, in order, and none in others',
    of: 'module',
    broken: oneLearn,
  },
  { name: 'same-seed', says: 'the same seed decides the same again; chance is random()', of: 'all', broken: sameSeed },
  { name: 'apart', says: 'two runs side by side, step by step, decide as each alone', of: 'all', broken: apart },
  { name: 'onlookers', says: 'chunks, a log and observers change nothing (I25)', of: 'all', broken: onlookers },
  { name: 'folded', says: 'a folded replay comes to what the full one does', of: 'all', broken: folded },
  { name: 'partition', says: 'windows partition the trace (I29)', of: 'all', broken: partition },
  { name: 'frozen', says: 'nothing is rated and nothing drawn in FROZEN windows (I18)', of: 'all', broken: frozen },
  {
    name: 'canary',
    says: 'the candidate decides the events of the hash and no others (I22)',
    of: 'all',
    broken: seenAlone('canary'),
  },
  {
    name: 'equals',
    says: 'arms that no request lies between cost the same, to the last bit (I35)',
    of: 'all',
    broken: equals,
  },
  {
    name: 'elo-sum',
    says: 'the sum of the ratings stays what it was (I17)',
    of: 'built-in',
    broken: seenAlone('elo-sum'),
  },
  {
    name: 'survivors',
    says: 'the leader is among those that are left (I21)',
    of: 'built-in',
    broken: seenAlone('survivors'),
  },
  { name: 'native', says: 'the C core decides the same (I24)', of: 'built-in', broken: native },
];

/** Throws UsageError where one of `names` is no rule of such a policy. */
export function rulesFor({ path, own }: Subject, names?: readonly string[]): Rule[] {
  const asked = rules.filter((rule) => rule.of === 'all' || (rule.of === 'module') === (own !== null));
  const strange = names?.find((name) => !asked.some((rule) => rule.name === name));
  if (strange !== undefined)
    throw new UsageError(`rule: found "${strange}", wanted one of ${path}: ${asked.map(({ name }) => name).join(' ')}`);
  return names === undefined ? asked : asked.filter(({ name }) => names.includes(name));
}

function choice(subject: Subject, one: Case): Broken | null {
  const { windows } = witness(one.chunks, setupOf(subject, one));
  const wrong = windows.find(({ arm, costs }) => !(Number.isInteger(arm) && arm >= 0 && arm < costs.length));
  if (wrong === undefined) return null;
  const { event, arm, costs } = wrong;
  return { event, found: `arm ${arm}`, wanted: `a whole number from 0 to ${costs.length - 1}` };
}

function oneLearn(subject: Subject, one: Case): Broken | null {
  const setup = setupOf(subject, one);
  const { policy } = setup;
  const calls: Call[] = [];
  const { windows } = witness(one.chunks, {
    ...setup,
    policy: { ...policy!, make: (arms, seed) => new Spy(policy!.make(arms, seed), calls) },
  });
  const wanted: Call[] = [{ name: 'choose', event: 0 }];
  for (const { index, event, acted, change, state, state_before } of windows) {
    if (state_before === lifecycle.learn) wanted.push({ name: 'learn', event, index, acted });
    if (change === 'relearn') wanted.push({ name: 'reset', event });
    if (state === lifecycle.learn) wanted.push({ name: 'choose', event });
  }
  const length = Math.max(calls.length, wanted.length);
  const at = Array.from({ length }, (_, each) => each).find((each) => words(calls[each]) !== words(wanted[each]));
  if (at === undefined) return null;
  return { event: (wanted[at] ?? calls[at]).event, found: words(calls[at]), wanted: words(wanted[at]) };
}

const words = (call: Call | undefined): string =>
  call === undefined
    ? 'no call'
    : call.name === 'learn'
      ? `learn of window ${call.index} at event ${call.event}, arm ${call.acted}`
      : `${call.name} at event ${call.event}`;

function sameSeed(subject: Subject, one: Case): Broken | null {
  const setup = setupOf(subject, one);
  const first = witness(one.chunks, setup);
  // Chance may draw the same twice.
  for (let again = 0; again < 2; again += 1) {
    const found = difference(witness(one.chunks, setup), first, 'again', 'at first');
    if (found !== null) return found;
  }
  return null;
}

function apart(subject: Subject, one: Case): Broken | null {
  const setups = [0, 1].map((by) => setupOf(subject, { ...one, seed: one.seed + by }));
  const alone = setups.map((setup) => witness(one.chunks, setup));
  const runs = setups.map((setup) => new Witness(setup));
  for (const chunk of inSteps(one.chunks, 1)) for (const run of runs) run.feed(chunk);
  for (const [at, run] of runs.entries()) {
    const found = difference(run.finish(), alone[at], 'beside another run', 'alone');
    if (found !== null) return found;
  }
  return null;
}

function onlookers(subject: Subject, one: Case): Broken | null {
  const setup = setupOf(subject, one);
  const watched = witness(one.chunks, setup).result;
  const log = { from: 0, to: watched.events };
  const plain = replay(one.chunks, setup);
  const cut = replay(inSteps(one.chunks, 1 + (one.seed % 7)), { ...setup, log });
  for (const [how, other] of [
    ['watched', watched],
    ['cut and logged', cut],
  ] as const) {
    const found = firstDifference(plain, other, 'kernel');
    if (found === null) continue;
    const { event, field, sim, native: seen } = found;
    return { event, found: `${field} ${seen} where it is ${how}`, wanted: `${sim}, as where it is not` };
  }
  return null;
}

function folded(subject: Subject, one: Case): Broken | null {
  const setup = setupOf(subject, one);
  const full = witness(one.chunks, setup);
  const windows: WindowRecord[] = [];
  const outcome = simulate(folding(one, setup), setup, {
    window: (record) => windows.push(record),
  });
  const found = firstWindow(windows, full.windows, 'folded', 'in full');
  if (found !== null) return found;
  const { liveness: _liveness, checkpoints: _checkpoints, log: _log, ...wanted } = full.result;
  const differs = outcomeDifference(outcome, wanted);
  if (differs === null) return null;
  return { event: null, found: `${differs.field} ${differs.sim} folded`, wanted: `${differs.native}, as in full` };
}

/** Recounted from the trace alone. */
function partition(subject: Subject, one: Case): Broken | null {
  const setup = setupOf(subject, one);
  const { result, windows } = witness(one.chunks, setup);
  if (result.violation !== null) return null;
  const wanted = closesOf(one, floorOfSetup(setup));
  const length = Math.max(wanted.length, windows.length);
  for (let at = 0; at < length; at += 1) {
    const found = windows.at(at);
    const right = wanted.at(at);
    if (found?.index === at && found.event === right?.event && found.samples === right.samples) continue;
    const say = (window: { event: number; samples: number } | undefined): string =>
      window === undefined ? 'no window' : `a window of ${window.samples} samples that ends at event ${window.event}`;
    return { event: found?.event ?? right!.event, found: say(found), wanted: say(right) };
  }
  return null;
}

function closesOf({ chunks, config }: Case, floor_bytes: number): { event: number; samples: number }[] {
  const closes: { event: number; samples: number }[] = [];
  let from = 0;
  let samples = 0;
  for (const { first_event, length, op: kinds, size_bytes } of chunks)
    for (let row = 0; row < length; row += 1) {
      if (kinds[row] === op.free || size_bytes[row] < floor_bytes) continue;
      const event = first_event + row;
      if (event - from >= config.window_events && samples >= config.window_samples) {
        closes.push({ event, samples });
        from = event;
        samples = 0;
      }
      samples += 1;
    }
  return closes;
}

function frozen(subject: Subject, one: Case): Broken | null {
  const { windows } = witness(one.chunks, setupOf(subject, one));
  for (const [at, { event, state_before, rating_writes, draws }] of windows.entries()) {
    if (state_before !== lifecycle.frozen || at === 0) continue;
    const before = windows[at - 1];
    if (rating_writes === before.rating_writes && draws === before.draws) continue;
    const found = `${rating_writes - before.rating_writes} ratings and ${draws - before.draws} draws in a FROZEN window`;
    return { event, found, wanted: 'none' };
  }
  return null;
}

function equals(subject: Subject, one: Case): Broken | null {
  const setup = setupOf(subject, one);
  const { windows, thresholds_bytes } = witness(one.chunks, setup);
  if (windows.length === 0) return null;
  const classes = equivalenceClasses(folding(one, setup), thresholds_bytes);
  for (const { event, state_before, costs } of windows) {
    // Frozen, one arm alone is followed.
    if (state_before === lifecycle.frozen) continue;
    for (let arm = 1; arm < costs.length; arm += 1) {
      const [a, b] = [costs[arm - 1], costs[arm]];
      if (classes[arm] !== classes[arm - 1] || a === b || a < 0 || b < 0) continue;
      return { event, found: `costs ${a} and ${b} of arms ${arm - 1} and ${arm}`, wanted: 'the same twice' };
    }
  }
  return null;
}

async function native(subject: Subject, one: Case): Promise<Broken | null> {
  const setup = setupOf(subject, one);
  const coarse = firstDifference(replay(one.chunks, setup), await replayInC(one.chunks, setup), 'decisions');
  if (coarse === null) return null;
  const logged = { ...setup, log: { from: 0, to: coarse.event + 1 } };
  const exact = firstDifference(replay(one.chunks, logged), await replayInC(one.chunks, logged), 'decisions') ?? coarse;
  return { event: exact.event, found: `${exact.field} ${exact.native} in C`, wanted: `${exact.sim}, as simulated` };
}

/** Where two runs part; the first of them is what is questioned. */
function difference(run: Witnessed, wanted: Witnessed, here: string, there: string): Broken | null {
  const arm = firstDecision(run.decided, wanted.decided, here, there);
  if (arm !== null) return arm;
  const at_window = firstWindow(run.windows, wanted.windows, here, there);
  if (at_window !== null) return at_window;
  const found = firstDifference(wanted.result, run.result, 'kernel');
  if (found === null) return null;
  return { event: found.event, found: `${found.field} ${found.native} ${here}`, wanted: `${found.sim}, as ${there}` };
}

function firstDecision(
  found: readonly Decided[],
  wanted: readonly Decided[],
  here: string,
  there: string,
): Broken | null {
  const length = Math.max(found.length, wanted.length);
  for (let at = 0; at < length; at += 1) {
    const [own, other] = [found.at(at), wanted.at(at)];
    if (own?.event === other?.event && own?.arm === other?.arm) continue;
    // Whoever goes on with the arm before decides by it here too.
    const event = Math.min(own?.event ?? Number.POSITIVE_INFINITY, other?.event ?? Number.POSITIVE_INFINITY);
    const [a, b] = [own, other].map((each, which) => (each?.event === event ? each : [found, wanted][which][at - 1]));
    return { event, found: `arm ${a?.arm} ${here}`, wanted: `arm ${b?.arm}, as ${there}` };
  }
  return null;
}

function firstWindow(
  found: readonly WindowRecord[],
  wanted: readonly WindowRecord[],
  here: string,
  there: string,
): Broken | null {
  for (let at = 0; at < Math.max(found.length, wanted.length); at += 1) {
    const [own, other] = [found.at(at), wanted.at(at)];
    if (own === undefined || other === undefined)
      return {
        event: (own ?? other)!.event,
        found: `${found.length} windows ${here}`,
        wanted: `${wanted.length}, as ${there}`,
      };
    for (const name of ['event', 'samples', 'acted', 'change', 'state', 'arm', 'candidate', 'p99_ns'] as const)
      if (own[name] !== other[name])
        return {
          event: other.event,
          found: `${name} ${own[name]} of window ${at} ${here}`,
          wanted: `${other[name]}, as ${there}`,
        };
    const arm = own.costs.findIndex((cost, each) => cost !== other.costs[each]);
    if (arm >= 0)
      return {
        event: other.event,
        found: `cost ${own.costs[arm]} of arm ${arm} ${here}`,
        wanted: `${other.costs[arm]}, as ${there}`,
      };
  }
  return null;
}

/** In segments as short as the cases are. */
const folding = ({ chunks }: Case, setup: Setup): Folded => foldTrace(chunks, floorOfSetup(setup), undefined, 512);

/** The same events in chunks of `rows`, without a copy. */
export function* inSteps(chunks: readonly Chunk[], rows: number): Generator<Chunk> {
  for (const chunk of chunks)
    for (let from = 0; from < chunk.length; from += rows) {
      const to = Math.min(from + rows, chunk.length);
      yield {
        first_event: chunk.first_event + from,
        length: to - from,
        op: chunk.op.subarray(from, to),
        thread: chunk.thread.subarray(from, to),
        object: chunk.object.subarray(from, to),
        size_bytes: chunk.size_bytes.subarray(from, to),
        align: chunk.align.subarray(from, to),
        site: chunk.site.subarray(from, to),
        time_ns: chunk.time_ns.subarray(from, to),
        touched_pages: chunk.touched_pages.subarray(from, to),
      };
    }
}
