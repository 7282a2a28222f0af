/** `hakmem replay TRACE --policy glibc`: what an allocator that people run would do, and whether the library itself does it. */

import { replayerTrouble } from '../native/replayer.ts';
import { fingerprint } from '../native/spec-to-c.ts';
import { ModelLimit } from '../sim/peers/peer.ts';
import { PeerReplay, type PeerResult } from '../sim/peers/replay.ts';
import { Costs } from '../sim/time/costs.ts';
import { PeerWork } from '../sim/time/work.ts';
import { type HakTrace, interruptible, open, sha256OfFile, type Trace } from '../traces/index.ts';
import { sampleNote } from '../traces/sample-estimate.ts';
import { describePrices, pricesInWords } from './calibrate/price-file.ts';
import { paint } from './color.ts';
import { exit_codes, formatBytes, Progress, parseBytes, print, printJson, say, UsageError } from './command.ts';
import { asHakFile, type CheckLevel } from './crosscheck.ts';
import { reported } from './import.ts';
import { openTrace } from './open-trace.ts';
import { callPairs, compared, type PeerCheck } from './peers/held.ts';
import { type ConfiguredPeer, type Held, type PeerPlace, type PeerPolicy, peer_policies } from './peers/policies.ts';
import { type Chosen, choose, type SetupOptions } from './setup.ts';
import { timeCheckLines, timeInWords, wantOwnPrices } from './time-check/agreement.ts';
import { timeLibrary } from './time-check/library.ts';
import { refusal, type TimedReplay, type TimeOptions, timeDocument, timeLines, timeReplay } from './timed.ts';

export interface PeerOptions extends SetupOptions, TimeOptions {
  readonly check: CheckLevel;
  readonly progress?: boolean;
  readonly json?: boolean;
}

/** Undefined where the policy is no peer's. */
export function peerPolicy(name: string): PeerPolicy | undefined {
  return peer_policies.find((policy) => policy.name === name);
}

export async function replayPeerCommand(path: string, policy: PeerPolicy, options: PeerOptions): Promise<void> {
  if (options.mode !== undefined) throw new UsageError(`--mode: found it with --policy ${policy.name}, wanted none`);
  if (options.check === 'decisions')
    throw new UsageError(`--check decisions: of ${policy.name} there are none, kernel and time`);
  const peer = policy.configured(settingsOf(policy, options.set));
  const trace = openTrace(path);
  const chosen = await choose(trace, { ...options, policy: 'hakmem', set: [] });
  if (options.check === 'time') wantOwnPrices(chosen.prices);
  const { profile, touch } = chosen.setup;
  const place: PeerPlace = { profile, touch, threads: trace.statistics.threads };
  if (profile.thp_kernel === 'always')
    say('the kernel gives huge pages unasked: the model knows of none, so its counts are too high');
  try {
    const run = new PeerReplay(peer.model(place), {
      prices: chosen.prices.prices,
      checkpoint_events: chosen.setup.config.checkpoint_events,
    });
    const progress = new Progress(`replaying ${path}`, options.progress === true);
    for await (const chunk of interruptible(reported(trace.chunks(), progress, trace.statistics.events)))
      run.feed(chunk);
    progress.finish();
    const result = run.finish();
    const timed = timeReplay(trace, chosen, options, (time) => new PeerWork(peer.model(place), new Costs(time)));
    const check = await checked(trace, peer, place, options.check, result, chosen);
    if (options.json) printJson(document(policy, peer, trace, chosen, result, check, timed));
    else print(...report(policy, peer, trace, chosen, result, check, timed));
    complain(check, timed);
  } catch (error) {
    if (error instanceof ModelLimit)
      throw new UsageError(`${path}: ${error.message} is beyond the model of ${policy.name}`);
    throw error;
  }
}

export function settingsOf(
  { name: policy, parameters }: PeerPolicy,
  set: readonly string[],
): ReadonlyMap<string, number> {
  return new Map(
    set.map((text) => {
      const [name, word] = [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)];
      const parameter = parameters.find((each) => each.name === name);
      if (parameter === undefined)
        throw new UsageError(
          `${name}: no parameter of ${policy}; wanted one of ${parameters.map((each) => each.name).join(' ')}`,
        );
      const value = /^-\d+$/.test(word) ? Number(word) : parseBytes(word);
      if (value < parameter.min || value > parameter.max)
        throw new UsageError(`${name}: found ${word}, wanted from ${parameter.min} to ${parameter.max}`);
      return [name, value] as const;
    }),
  );
}

async function checked(
  trace: Trace,
  peer: ConfiguredPeer,
  place: PeerPlace,
  level: CheckLevel,
  shown: PeerResult,
  chosen: Chosen,
): Promise<PeerCheck> {
  const unchecked = (reason: string): PeerCheck => ({
    level,
    verdict: 'unchecked',
    held: null,
    reason,
    time: null,
    syscalls_equal: null,
    faults_equal: null,
    resident_equal: null,
  });
  if (level === 'none') return unchecked('no check was asked for');
  const trouble = replayerTrouble();
  if (trouble !== null) return unchecked(trouble);
  const file = asHakFile(trace);
  try {
    const hak = open(file.path) as HakTrace;
    const check = compared(level, await peer.hold(hak, place));
    const { model, tolerance } = check.held!;
    if (check.verdict !== 'agree') return check;
    // What an exact model is held to is told where the library's heap began; agreement then says nothing of what is shown.
    if (tolerance === 0 && model.decision_digest !== shown.decision_digest)
      return { ...check, verdict: 'unchecked', reason: 'what was checked is a heap that begins elsewhere' };
    return level === 'time' ? await withTime(hak, peer, place, check, chosen) : check;
  } finally {
    file.discard();
  }
}

async function withTime(
  trace: HakTrace,
  peer: ConfiguredPeer,
  place: PeerPlace,
  check: PeerCheck,
  { prices: list, setup }: Chosen,
): Promise<PeerCheck> {
  const outcome = await timeLibrary({
    trace,
    touch: place.touch,
    library: peer.library,
    replayed: (event_ns) => peer.replayed(place, event_ns),
    tolerance: check.held!.tolerance,
    list,
    seed: setup.seed,
  });
  return { ...check, ...outcome };
}

function complain({ verdict, held, reason, level, time }: PeerCheck, timed: TimedReplay | null): void {
  const fail = (line: string): void => {
    say(line);
    process.exitCode = exit_codes.failed;
  };
  if (time?.within === false) fail(timeInWords(time));
  else if (verdict === 'differ') {
    const first = held!.first_difference;
    fail(
      first === null
        ? `the model's counts are not those of the library`
        : `model and library differ at event ${first.event}: ${first.field} is ${first.sim} and ${first.native}`,
    );
  }
  if (verdict === 'unchecked' && level !== 'none') fail(`unchecked: ${reason}`);
  const refused = timed === null ? null : refusal(timed);
  if (refused !== null) fail(refused);
}

function document(
  policy: PeerPolicy,
  { setting }: ConfiguredPeer,
  trace: Trace,
  { setup, prices, profile }: Chosen,
  result: PeerResult,
  check: PeerCheck,
  timed: TimedReplay | null,
): unknown {
  const { held } = check;
  return {
    trace: {
      path: trace.path,
      sha256: sha256OfFile(trace.path),
      events: trace.statistics.events,
      sample: sampleNote(trace.origin),
    },
    config: { setting },
    mode: null,
    policy: policy.name,
    seed: setup.seed,
    touch: setup.touch,
    spec_fingerprint: fingerprint(),
    prices: describePrices(prices),
    kernel_profile: { ...profile.profile, source: profile.source },
    sim: shown(result, timed),
    native: held === null ? null : { events: trace.statistics.events, version: held.version, ...held.real },
    ...(timed === null ? {} : { time: timeDocument(timed) }),
    check: {
      level: check.level,
      verdict: check.verdict,
      first_difference: held?.first_difference ?? null,
      decisions_equal: held?.decisions_equal ?? null,
      syscalls_equal: check.syscalls_equal,
      faults_equal: check.faults_equal,
      resident_equal: check.resident_equal,
      tolerance: held?.tolerance ?? null,
      preconditions: {},
      time: check.time,
      reason: check.reason,
    },
  };
}

/** In the words of every result: calls that a peer never makes are 0. */
function shown(result: PeerResult, timed: TimedReplay | null): unknown {
  const { time_ns, syscalls, ...rest } = result;
  return {
    ...rest,
    syscalls: { ...syscalls, madvise_hugepage: 0, madvise_nohugepage: 0, process_madvise: 0 },
    huge_faults: 0,
    time_ns: {
      total: time_ns.total,
      allocate: time_ns.library,
      free: null,
      calls: time_ns.calls,
      fault: time_ns.fault,
      wait: 0,
      ...timed?.timed.time_ns,
    },
    ...(timed === null ? {} : { latency_ns: timed.timed.latency_ns }),
  };
}

function report(
  policy: PeerPolicy,
  { setting }: ConfiguredPeer,
  trace: Trace,
  { setup, prices }: Chosen,
  result: PeerResult,
  { verdict, level, reason, held, time }: PeerCheck,
  timed: TimedReplay | null,
): string[] {
  const real = held?.real ?? null;
  // Beside the library stands the model by the same clock.
  const beside = held?.model ?? result;
  const tone = { agree: paint.green, differ: paint.red, unchecked: paint.yellow }[verdict];
  const line = (name: string, mine: string, theirs: string | null): string =>
    `  ${name.padEnd(22)}${mine.padStart(18)}${(theirs ?? '-').padStart(18)}`;
  const calls = real?.syscalls ?? null;
  const pairs = calls === null ? [] : callPairs(beside, calls).filter(([, a, b]) => a + b > 0);
  return [
    `${trace.path}: ${trace.statistics.events} events of ${trace.origin.program}, ${policy.name} ${held?.version ?? ''} with ` +
      `${setting === '' ? 'nothing set' : setting}, touch ${setup.touch}`,
    '',
    line('', 'model', 'library'),
    ...pairs.map(([name, a, b]) => line(name, String(a), String(b))),
    line('faults', String(beside.faults), real === null ? null : String(real.faults)),
    line(
      'resident peak',
      formatBytes(beside.resident_bytes.peak),
      real === null ? null : formatBytes(real.resident_peak_bytes),
    ),
    line('mapped peak', formatBytes(result.mapped_bytes.peak), null),
    '',
    `  time ${(result.time_ns.total / 1e6).toFixed(1)} ms at ${pricesInWords(prices)}; modelled, not measured`,
    ...timeCheckLines(time),
    `  score ${result.score.total.toFixed(3)} of mapping every large block`,
    '',
    ...(timed === null ? [] : [...timeLines(timed, prices), '']),
    `verdict: ${tone(verdict)} (level ${level})${reason === null ? '' : `: ${reason}`}${placed(held)}`,
  ];
}

function placed(held: Held | null): string {
  if (held === null || held.decisions_equal === null) return '';
  return held.decisions_equal ? ', every block where the library puts it' : ', blocks lie elsewhere in the library';
}
