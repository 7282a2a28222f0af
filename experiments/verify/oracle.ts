/**
 * What a C core is held to: traces replayed under many configurations, each with the answer of the simulator, computed
 * once. The most telling cases come first.
 */

import { isDeepStrictEqual } from 'node:util';
import { probeProfile } from '../../native/index.ts';
import { configOf, firstDifference, replay, type Setup } from '../../sim/index.ts';
import type { Result } from '../../sim/result.ts';
import {
  type Config,
  default_profile,
  type KernelProfile,
  type Mode,
  type Prices,
  param_names,
  prices,
} from '../../sim/spec.ts';
import { limits, open, TraceError } from '../../traces/index.ts';
import {
  copySamples,
  writeCounts,
  writeCrowd,
  writeDense,
  writeEmpty,
  writeFolios,
  writeForgeries,
  writeFull,
  writeGiant,
  writeLate,
  writeNeighbours,
  writeOffset,
  writeRegimes,
  writeScatter,
  writeScenario,
  writeShifts,
  writeSites,
  writeSlower,
} from './inputs.ts';
import { type Ended, run, runEach } from './process.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export interface Case {
  readonly name: string;
  readonly path: string;
  readonly setup: Setup;
  readonly kernel: 'counted' | 'real';
  /** The rule that the real kernel must see broken when the policy's own checks are off. */
  readonly breaks?: readonly string[];
  /** Replayed as a sweep replays: what lies below the threshold added up, no checkpoint and no log kept. */
  readonly folded?: boolean;
  /** One of many small files that are replayed alike. */
  readonly forged?: boolean;
  /** Replayed under sanitizers too. */
  readonly watched?: boolean;
}

/** The simulator's answer: a result without what only the simulator has, or a refusal of the file. */
export type Expected = { readonly result: Result } | { readonly refused: string };

/** Real page faults cost what the machine makes of them: a nested guest was seen to take 11 us for each. */
const cpu_seconds_max = { counted: 4, real: 60 };
const forged_at_once = 50;
const data_bytes_max = { counted: 1024 * MiB, real: 4096 * MiB };

export class Oracle {
  /** Cases in which the core as it is does not answer as the simulator: left out, and reported. */
  readonly disagreements: { name: string; difference: string }[] = [];
  private readonly expected = new Map<Case, Promise<Expected | null>>();
  private readonly sound: string;

  /** `sound` is a hak-replay of the core as it is. */
  constructor(sound: string) {
    this.sound = sound;
  }

  /** The first of `cases` that tells `binary` from the simulator, and how; null where none does. */
  async catches(binary: string, cases: readonly Case[]): Promise<{ case: string; how: string } | null> {
    for (const each of cases.filter(({ forged }) => !forged)) {
      const expected = await this.expectedOf(each);
      if (expected === null) continue;
      const how = differs(each, expected, await replayed(binary, each));
      if (how !== null) return { case: each.name, how };
    }
    const forged = cases.filter((each) => each.forged);
    for (let from = 0; from < forged.length; from += forged_at_once) {
      const part = forged.slice(from, from + forged_at_once);
      await this.learnTogether(part);
      const answers = await replayedEach(binary, part);
      for (const [at, each] of part.entries()) {
        const expected = await this.expectedOf(each);
        const how = expected === null ? null : differs(each, expected, answers[at]);
        if (how !== null) return { case: each.name, how };
      }
    }
    return null;
  }

  /** The same for a binary under sanitizers, which is slow: a few cases, and only whether it ends as it should. */
  async catchesWatched(binary: string, cases: readonly Case[]): Promise<{ case: string; how: string } | null> {
    for (const each of cases.filter(({ watched }) => watched)) {
      const { code, stderr } = await replayed(binary, { ...each, kernel: 'counted' }, true);
      const found = /(?:runtime error|ERROR: AddressSanitizer): ([^\n]{0,80})/.exec(stderr);
      if (found !== null) return { case: each.name, how: `sanitizer: ${found[1]}` };
      if (typeof code !== 'number' || code > 2) return { case: each.name, how: `sanitizer: ended with ${code}` };
    }
    return null;
  }

  private expectedOf(each: Case): Promise<Expected | null> {
    let known = this.expected.get(each);
    if (known === undefined) {
      known = this.learn(each);
      this.expected.set(each, known);
    }
    return known;
  }

  private async learn(each: Case): Promise<Expected | null> {
    return this.checked(each, await replayed(this.sound, each));
  }

  /** What the simulator says, where the core as it is says the same. */
  private checked(each: Case, ended: Ended): Expected | null {
    const expected = answerOf(each);
    const difference = differs(each, expected, ended);
    if (difference === null) return expected;
    this.disagreements.push({ name: each.name, difference });
    return null;
  }

  private async learnTogether(part: readonly Case[]): Promise<void> {
    if (this.expected.has(part[0])) return;
    const answers = replayedEach(this.sound, part);
    for (const [at, each] of part.entries())
      this.expected.set(
        each,
        answers.then((all) => this.checked(each, all[at])),
      );
  }
}

export function answerOf({ path, setup, folded }: Case): Expected {
  try {
    const result = JSON.parse(JSON.stringify(replay(open(path).chunks(), setup))) as Result;
    return { result: folded ? { ...result, checkpoints: [], log: [] } : result };
  } catch (error) {
    if (error instanceof TraceError) return { refused: error.message };
    throw error;
  }
}

export async function replayed(binary: string, each: Case, watched = false): Promise<Ended> {
  // A sanitizer's shadow of memory needs more room than any limit leaves.
  const limits = watched
    ? { cpu_seconds: 10 * cpu_seconds_max.counted }
    : { cpu_seconds: cpu_seconds_max[each.kernel], data_bytes: data_bytes_max[each.kernel] };
  const ended = await run(binary, [each.path, ...argumentsOf(each)], limits);
  // No core does that to itself: it would pass for an answer.
  if (ended.code === 'SIGTERM' || ended.code === 'SIGINT')
    throw new Error(`a replay was ended from outside: ${each.name}`);
  return ended;
}

/** Replays files that differ in nothing but their bytes, one after another in one go. */
function replayedEach(binary: string, cases: readonly Case[]): Promise<Ended[]> {
  const paths = cases.map(({ path }) => path);
  return runEach(binary, argumentsOf(cases[0]), paths, { cpu_seconds: 1, data_bytes: data_bytes_max.counted });
}

function argumentsOf({ setup, kernel, breaks, folded }: Case): string[] {
  const { page_bytes: _, ...parts } = setup.profile;
  const profile = Object.entries(parts).map(([name, value]) => `${name}=${value}`);
  return [
    ...['--json', '--kernel', kernel, '--touch', setup.touch, '--profile', profile.join(), '--seed', `${setup.seed}`],
    ...param_names.flatMap((name) => ['--set', `${name}=${setup.config[name]}`]),
    ...Object.entries(setup.prices).flatMap(([name, ns]) => ['--price', `${name}=${ns}`]),
    ...(setup.log === undefined ? [] : ['--log', `${setup.log.from}:${setup.log.to}`]),
    ...(breaks === undefined ? [] : ['--trust']),
    ...(folded ? ['--folded'] : []),
  ];
}

/** How an answer differs from what was expected, or null. */
export function differs(
  { kernel, breaks, forged }: Case,
  expected: Expected,
  { code, stdout, stderr }: Ended,
): string | null {
  if (code === 'SIGXCPU' || code === 'SIGKILL') return 'no end';
  if (code === 'SIGABRT') return 'assertion';
  if (code === 2) {
    if (!('refused' in expected)) return 'refused';
    return forged || /^hak-replay: [^\n]+\.hak: \S[^\n]*\n$/.test(stderr) ? null : 'words of the refusal';
  }
  // A touch outside any block: hak-replay's own word for a segmentation fault.
  if (code === 70 && breaks !== undefined) return breaks.includes('outside') ? null : 'touch outside a block';
  if (code !== 0 && code !== 1) return `crash (${code})`;
  if ('refused' in expected) return 'accepted';
  let found: Result;
  try {
    found = (JSON.parse(stdout) as { result: Result }).result;
  } catch {
    return 'not JSON';
  }
  if (breaks !== undefined) {
    const rule = found.violation?.rule ?? 'none';
    return breaks.includes(rule) ? null : `violation ${rule}`;
  }
  if (kernel === 'real') {
    const [wanted, rule] = [expected.result, found].map((each) => each.violation?.rule ?? 'none');
    if (wanted !== rule) return `violation ${rule}`;
    const difference = firstDifference(expected.result, found, 'kernel');
    if (difference !== null) return `${difference.field} of the real kernel`;
    const { time_ns, latency_ns } = found;
    return time_ns.allocate === null && latency_ns.max === null && time_ns.total > 0 ? null : 'a modelled time';
  }
  if (code !== (expected.result.violation === null ? 0 : 1)) return 'exit code';
  const { score: _, liveness: __, ...core } = expected.result;
  for (const [name, value] of Object.entries(core))
    if (!isDeepStrictEqual(found[name as keyof Result], value)) return name;
  return null;
}

interface Inputs {
  readonly edges: string;
  readonly short_edges: string;
  readonly long_edges: string;
  readonly exact_edges: string;
  readonly counts: string;
  readonly crowd: string;
  readonly sites: string;
  readonly scatter: string;
  readonly giant: string;
  readonly late: string;
  readonly churn: string;
  readonly mixed: string;
  /** One byte an event, in many chunks, and in chunks as long as may be and one longer. */
  readonly dense: readonly string[];
  readonly folios: readonly string[];
  readonly offset: string;
  readonly full: string;
  readonly neighbours: string;
  readonly empty: string;
  readonly one: string;
  /** Sizes that change, for what learns: many at a time, few at a time, and gradually. */
  readonly regimes: readonly string[];
  readonly shifts: readonly string[];
  readonly drift: string;
  readonly slower: string;
  readonly samples: readonly string[];
  readonly forgeries: readonly string[];
}

/** Writes every input to `folder`. */
export function writeInputs(folder: string, root: string, seed: number): Inputs {
  return {
    edges: writeScenario(folder, 'edges', 8000, seed),
    long_edges: writeScenario(folder, 'edges', 20_000, seed),
    exact_edges: writeScenario(folder, 'edges', 1023, seed),
    one: writeScenario(folder, 'vm', 1, seed),
    counts: writeCounts(folder),
    crowd: writeCrowd(folder),
    sites: writeSites(folder, 3000, seed),
    short_edges: writeScenario(folder, 'edges', 2500, seed),
    scatter: writeScatter(folder, 16_000, seed),
    giant: writeGiant(folder),
    late: writeLate(folder),
    churn: writeScenario(folder, 'churn', 6000, seed),
    mixed: writeScenario(folder, 'mixed', 6000, seed),
    dense: [
      writeDense(folder, 3000, 1),
      writeDense(folder, 3000, 256),
      writeDense(folder, limits.chunk_events, limits.chunk_events),
      writeDense(folder, limits.chunk_events + 1, limits.chunk_events + 1),
    ],
    folios: writeFolios(folder),
    offset: writeOffset(folder),
    full: writeFull(folder),
    neighbours: writeNeighbours(folder),
    empty: writeEmpty(folder),
    regimes: [
      writeRegimes(folder, 3000, 5, seed),
      writeRegimes(folder, 6000, 12, seed),
      writeRegimes(folder, 6000, 3, seed),
    ],
    // Seeds under which trials are promoted, rolled back and overtaken by drift.
    shifts: [
      writeShifts(folder, 6000, 9, 11),
      writeShifts(folder, 6000, 6, 1),
      writeShifts(folder, 6000, 5, 3),
      writeShifts(folder, 6000, 5, 2),
      writeShifts(folder, 6000, 8, 9),
    ],
    drift: writeScenario(folder, 'drift', 8000, seed),
    slower: writeSlower(folder, 6000, seed),
    samples: copySamples(folder, root, 2 * MiB),
    forgeries: writeForgeries(folder, seed, 150),
  };
}

export interface Cases {
  readonly policy: readonly Case[];
  /** The page model and what else the real kernel takes the place of. */
  readonly model: readonly Case[];
  /** Folding, and a replay over what it leaves: the simulator's full replay is the answer. */
  readonly folding: readonly Case[];
  /** Windows, learners and the lifecycle. */
  readonly learning: readonly Case[];
  /** A reader is told from another by its files: every trace once, then every file it must refuse. */
  readonly reader: readonly Case[];
}

/** Every case, the most telling first. */
export function casesOf(inputs: Inputs): Cases {
  const first = telling(inputs);
  const every = traces(inputs);
  const folding = folded(inputs);
  const learning = learned(inputs);
  return {
    policy: [...first, ...configurations(inputs), ...learning, ...every, ...folding, ...realKernel(inputs)],
    model: [...first, ...configurations(inputs), ...learning, ...every, ...folding],
    folding,
    learning,
    reader: [first[1], ...every, ...dense(inputs), first[0], ...malformed(inputs)],
  };
}

export function caseOf(
  name: string,
  path: string,
  settings: Partial<Config> = {},
  more: {
    mode?: Mode;
    touch?: Setup['touch'];
    profile?: Partial<KernelProfile>;
    log?: Setup['log'];
    prices?: Partial<Prices>;
    seed?: number;
  } = {},
): Case {
  const setup: Setup = {
    config: configOf(more.mode ?? 'BALANCED', { checkpoint_events: 256, ...settings }),
    prices: { ...prices, ...more.prices },
    profile: { ...default_profile, ...more.profile },
    touch: more.touch ?? 'page',
    seed: more.seed ?? 1,
    ...(more.log === undefined ? {} : { log: more.log }),
  };
  return { name, path, setup, kernel: 'counted' };
}

const mapped_from_a_page = { mmap_threshold_bytes: 4 * KiB };

function telling({ edges, long_edges, scatter, short_edges }: Inputs): Case[] {
  const cases = [
    caseOf('edges, BALANCED', short_edges, {}, { log: { from: 300, to: 700 } }),
    caseOf('scatter, threshold 4 KiB', scatter, mapped_from_a_page, { touch: 'recorded', log: { from: 0, to: 300 } }),
    caseOf('edges, 20,000 events', long_edges),
    caseOf('edges, cache of one way that does not round', edges, { bigcache_round: 0, bigcache_ways: 1 }),
  ];
  return cases.map((each) => ({ ...each, watched: true }));
}

function configurations({
  edges,
  short_edges,
  exact_edges,
  scatter,
  churn,
  mixed,
  full,
  neighbours,
  folios,
  offset,
}: Inputs): Case[] {
  const cases: Case[] = [];
  for (const mode of ['MINIMAL', 'FAST', 'LEARNING', 'RESEARCH'] as const)
    cases.push(caseOf(`edges, ${mode}`, edges, {}, { mode }));
  for (const touch of ['none', 'first', 'all', 'recorded'] as const)
    cases.push(
      caseOf(`edges, touch ${touch}`, edges, {}, { touch }),
      caseOf(`scatter, touch ${touch}`, scatter, mapped_from_a_page, { touch }),
    );
  const settings: readonly Partial<Config>[] = [
    { batch_blocks_max: 3, batch_flush_bytes: 6 * MiB },
    { batch_blocks_max: 3 },
    { batch_flush_bytes: 6 * MiB },
    { batch_blocks_max: 256, batch_flush_bytes: 2 ** 40, batch_vectored: 1 },
    { batch_vectored: 1 },
    { batch: 0 },
    { bigcache_round: 0 },
    { bigcache_site_keyed: 0 },
    { bigcache_site_keyed: 0, bigcache_slots: 1 },
    { bigcache_ways: 1 },
    { bigcache_slots: 1, bigcache_ways: 64 },
    { bigcache: 0 },
    { bigcache: 0, batch_flush_bytes: 2 ** 40, kept_bytes_max: 2 ** 40 },
    { bigcache_from_bytes: 1, mmap_threshold_bytes: 1 },
    { kept_bytes_max: 0 },
    { kept_bytes_max: 8 * MiB },
    { kept_bytes_max: 4 * MiB, bigcache_ways: 1 },
    { kept_bytes_max: 2 ** 40, batch: 0 },
    { thp_policy: 0 },
    { thp_policy: 0, thp_advice: 0 },
    { thp_policy: 1 },
    { thp_policy: 1, bigcache: 0, thermal: 0 },
    { thp_from_bytes: 1 * MiB },
    { thermal: 0 },
    { thermal: 0, bigcache: 0 },
    { mmap_threshold_bytes: 64 * KiB },
    { mmap_threshold_bytes: 1 },
    { strategy_set: 1, strategy: 3 },
    { strategy: 11 },
    { strategy: 4 },
    { warm_from_bytes: 1, cold_from_bytes: 8 * MiB, bigcache: 0 },
    { cold_from_bytes: 1, warm_from_bytes: 1 },
    { region_bytes: 64 * MiB },
    { region_bytes: 4 * MiB, bigcache: 0, kept_bytes_max: 0, batch: 0 },
    { legacy_order: 1 },
    { legacy_eviction_frees: 1, bigcache_ways: 1 },
    { legacy_undersized: 1 },
    { legacy_stale_advice: 1 },
    { legacy_stale_advice: 1, batch_blocks_max: 1 },
    { legacy_stale_advice: 1, bigcache: 0, batch_blocks_max: 170, batch_flush_bytes: 2 ** 40 },
    { bigcache: 0, thp_from_bytes: 2 * MiB + 100 },
    { legacy_header: 1 },
    { legacy_header: 1, batch: 0, thp_policy: 1, bigcache: 0 },
  ];
  for (const each of settings) cases.push(caseOf(`edges, ${words(each)}`, edges, each));
  const profiles: readonly Partial<KernelProfile>[] = [
    { pt_reclaim: false },
    { huge_zero_write: 'split' },
    { read_maps_zero: false },
    { thp_kernel: 'never' },
    { thp_kernel: 'always' },
    { process_madvise: false },
  ];
  for (const profile of profiles) {
    cases.push(caseOf(`edges, ${words(profile)}`, edges, {}, { profile, touch: 'first' }));
    cases.push(caseOf(`edges, ${words(profile)}, no BigCache`, edges, { bigcache: 0 }, { profile }));
  }
  const unmapped_at_once = { ...mapped_from_a_page, bigcache: 0, thermal: 0, thp_policy: 0, thp_advice: 0 };
  cases.push(
    caseOf('neighbours', neighbours, unmapped_at_once, { touch: 'recorded' }),
    caseOf('neighbours, stale advice', neighbours, {
      ...{ ...mapped_from_a_page, bigcache: 0, warm_from_bytes: 1, cold_from_bytes: 1 },
      ...{ legacy_stale_advice: 1, batch_blocks_max: 1 },
    }),
    caseOf('full region', full, { ...unmapped_at_once, region_bytes: 4 * MiB }),
    caseOf('full region, stale advice at the end', full, { legacy_stale_advice: 1, bigcache: 0 }),
    caseOf('edges, no huge page wanted, THP always', edges, { thp_policy: 0 }, { profile: { thp_kernel: 'always' } }),
  );
  cases.push(caseOf('offset', offset, { ...unmapped_at_once, thp_policy: 1 }, { touch: 'recorded' }));
  const kept_pages = [511, 311, 511, 2000];
  const warm_pages = [511, 200, 511, 511];
  const zero_pages = [
    { split_maps_zero: true },
    { split_maps_zero: false },
    { split_maps_zero: true, read_maps_zero: false },
  ];
  for (const [at, path] of folios.entries())
    for (const profile of zero_pages)
      cases.push(
        caseOf(
          `folios ${at}, ${words(profile)}`,
          path,
          {
            ...{ ...mapped_from_a_page, bigcache: 0, thp_policy: 1, checkpoint_events: 1, cold_from_bytes: 2 ** 40 },
            kept_bytes_max: kept_pages[at] * 4 * KiB,
            warm_from_bytes: warm_pages[at] * 4 * KiB - 10,
          },
          { touch: 'recorded', profile },
        ),
      );
  const stale = { legacy_stale_advice: 1, bigcache: 0, batch_flush_bytes: 2 ** 40 };
  for (const batch_blocks_max of [3, 5, 7, 9, 12, 16, 20, 24, 30, 50, 100, 160, 180, 190, 200, 210, 240])
    for (const [name, path] of [
      ['churn', churn],
      ['edges', edges],
    ])
      cases.push(caseOf(`${name}, stale advice of ${batch_blocks_max} blocks`, path, { ...stale, batch_blocks_max }));
  // Neighbours in one window that are discarded together.
  const together = { thp_policy: 1, bigcache: 0, warm_from_bytes: 1, cold_from_bytes: 1 };
  for (const [name, path] of [
    ['edges', edges],
    ['churn', churn],
    ['scatter', scatter],
  ])
    for (const batch_blocks_max of [16, 256])
      for (const huge_zero_write of ['huge', 'split'] as const)
        cases.push(
          caseOf(
            `${name}, neighbours discarded together, ${batch_blocks_max} at most, huge_zero_write=${huge_zero_write}`,
            path,
            { ...mapped_from_a_page, ...together, batch_blocks_max, batch_flush_bytes: 2 ** 40 },
            { touch: huge_zero_write === 'huge' ? 'page' : 'first', profile: { huge_zero_write } },
          ),
        );
  // Huge pages of which parts are freed lazily, while other parts hold zeroes, or nothing yet.
  for (const [name, path] of [
    ['edges', edges],
    ['churn', churn],
    ['scatter', scatter],
  ])
    for (const split_maps_zero of [true, false])
      for (const touch of ['page', 'first', 'recorded'] as const)
        cases.push(
          caseOf(
            `${name}, huge pages freed lazily, touch ${touch}, split_maps_zero=${split_maps_zero}`,
            path,
            {
              ...mapped_from_a_page,
              ...{ thp_policy: 1, bigcache: 0, warm_from_bytes: 1, cold_from_bytes: 2 ** 40 },
              kept_bytes_max: split_maps_zero ? 8 * MiB : 48 * MiB,
            },
            { touch, profile: { split_maps_zero } },
          ),
        );
  for (const each of [
    { bigcache: 0, thp_policy: 1 },
    { batch: 0, thp_policy: 1, cold_from_bytes: 1, warm_from_bytes: 1 },
    { kept_bytes_max: 0, thermal: 0 },
    { kept_bytes_max: 512 * KiB },
    { batch_vectored: 1, batch_blocks_max: 256, cold_from_bytes: 1, warm_from_bytes: 1, kept_bytes_max: 2 ** 40 },
    { legacy_header: 1 },
    { batch_blocks_max: 256, batch_flush_bytes: 2 ** 40, cold_from_bytes: 1, warm_from_bytes: 1 },
    { warm_from_bytes: 1 },
  ])
    cases.push(
      caseOf(`scatter, ${words(each)}`, scatter, { ...mapped_from_a_page, ...each }, { touch: 'recorded' }),
      caseOf(
        `scatter, THP always, ${words(each)}`,
        scatter,
        { ...mapped_from_a_page, ...each },
        { profile: { thp_kernel: 'always', pt_reclaim: false, huge_zero_write: 'split' }, touch: 'first' },
      ),
    );
  for (const ns of [0, 64])
    cases.push(caseOf(`mixed, heap calls at ${ns} ns`, mixed, {}, { prices: { heap_call_ns: ns } }));
  cases.push(
    caseOf(
      'edges, a room of checkpoints filled exactly',
      exact_edges,
      { checkpoint_events: 1 },
      { log: { from: 500, to: 700 } },
    ),
    caseOf('scatter, logged from its start', scatter, mapped_from_a_page, { log: { from: 0, to: 9000 } }),
    caseOf(
      'edges, checkpoints and log longer than their rooms',
      short_edges,
      { checkpoint_events: 1 },
      { log: { from: 0, to: 2500 } },
    ),
    caseOf('scatter, log of many actions', scatter, mapped_from_a_page, { log: { from: 12_000, to: 15_000 } }),
  );
  return cases;
}

/**
 * What learns, with windows short enough that it goes through its whole lifecycle. The digest covers what every window
 * cost, the ratings, the state and the p99; the answer has the counts of what was done.
 */
function learned({ regimes, shifts, drift, slower, churn, short_edges, scatter, full, late }: Inputs): Case[] {
  const [five, twelve, three] = regimes;
  const [learn, auto] = [1, 3];
  const [elo, ucb1, epsilon, halving] = [0, 1, 2, 3];
  const [paired, classic] = [0, 1];
  const short = {
    ...{ window_events: 30, window_samples: 8, elo_survive_games: 22, elo_survivors: 4, halving_windows: 2 },
    ...{ lifecycle: auto, ucb1_cooldown_windows: 4, ucb1_hysteresis_permille: 20, freeze_after_windows: 5 },
  };
  const lively = {
    ...short,
    canary_samples: 12,
    canary_permille: 250,
    canary_windows_max: 9,
    equivalence_permille: 60,
  };
  const nervous = {
    ...{ ...lively, freeze_stable_windows: 2, relearn_windows: 1, freeze_p99_permille: 400, equivalence_permille: 300 },
    ...{ relearn_p99_permille: 50, drift_permille: 150 },
  };
  // Trials so long that sizes shift on before their end, and trials that come to a verdict.
  const doubtful = { ...nervous, canary_samples: 200, canary_windows_max: 90, equivalence_permille: 30 };
  const decided = {
    ...nervous,
    canary_samples: 3,
    canary_windows_max: 60,
    equivalence_permille: 100,
    relearn_windows: 2,
  };
  const each_sample = { lifecycle: learn, window_events: 1, window_samples: 1 };
  const calm = { rules: classic, freeze_p99_permille: 0, freeze_after_windows: 0, freeze_stable_windows: 1 };
  const recorded = { touch: 'recorded' } as const;
  const case_of = (path: string, settings: Partial<Config>, more: Parameters<typeof caseOf>[3] = {}): Case => {
    const said = Object.entries(settings).filter(([name, value]) => short[name as keyof typeof short] !== value);
    return caseOf(`learning, ${nameOf(path)}, ${words(Object.fromEntries(said))}`, path, settings, more);
  };
  const cases: Case[] = [
    case_of(twelve, { ...nervous, learner: elo, rating: classic, quantile: 1 }),
    case_of(shifts[0], { ...doubtful, learner: elo, rules: classic, quantile: 1 }, recorded),
    case_of(three, { ...lively, learner: ucb1, lifecycle: learn }, recorded),
    case_of(five, { ...lively, learner: halving, rating: paired, bigcache: 0 }, recorded),
    // More windows than there are quantiles of Student's t.
    case_of(shifts[1], { ...lively, lifecycle: learn, elo_survivors: 2, elo_survive_games: 11 }, recorded),
  ];
  for (const learner of [elo, ucb1, epsilon, halving])
    for (const rating of [paired, classic]) {
      const policy = { learner, rating };
      cases.push(
        case_of(shifts[rating], { ...doubtful, ...policy }, { ...recorded, seed: 7 + learner }),
        case_of(twelve, { ...(rating === paired ? lively : nervous), ...policy }, recorded),
        case_of(drift, { ...nervous, ...policy, window_events: 60, lifecycle: rating === paired ? auto : learn }),
      );
    }
  const on_trial: readonly (readonly [number, Partial<Config>])[] = [
    [2, { learner: epsilon }],
    [2, { learner: halving, bigcache: 0, equivalence_permille: 20 }],
    [3, { learner: elo }],
    [3, { learner: elo, bigcache: 0, canary_samples: 1, canary_permille: 100 }],
    [4, { learner: epsilon, canary_permille: 500 }],
    [4, { learner: halving, canary_samples: 1, canary_permille: 50 }],
    [0, { learner: elo, canary_samples: 1, canary_permille: 900, relearn_windows: 1 }],
    [2, { learner: ucb1, bigcache: 0, canary_samples: 2 }],
    // Thousands of windows, in which elo drops strategies by rank.
    [4, { ...each_sample, rating: classic, explore_permille: 900, elo_survive_games: 5 }],
    [4, { ...each_sample, learner: epsilon, rating: classic, explore_permille: 900 }],
    [0, { ...each_sample, learner: halving, rating: classic }],
    [1, { ...each_sample, elo_survivors: 2, elo_survive_games: 11 }],
    [
      2,
      {
        ...each_sample,
        learner: ucb1,
        ucb1_hysteresis_permille: 0,
        ucb1_hysteresis_windows: 2,
        ucb1_cooldown_windows: 0,
      },
    ],
    [1, { learner: epsilon, equivalence_permille: 0 }],
    [2, { learner: epsilon, canary_permille: 1000 }],
    // Counts of samples of which a quantile is the last rank but one, or is that of a sample by itself.
    [1, { window_events: 1, window_samples: 100, relearn_windows: 2 }],
    [4, { window_events: 1, window_samples: 20, learner: epsilon, relearn_windows: 1, drift_permille: 2000 }],
    [3, { window_events: 1, window_samples: 20, relearn_windows: 1, drift_permille: 2000, bigcache: 0 }],
    [1, { window_events: 1, window_samples: 1, equivalence_permille: 1000 }],
    // A distance, or a p99, that is exactly the one asked for.
    [0, { ...calm, drift_permille: 0 }],
    [0, { ...calm, freeze_p99_permille: 1000, relearn_windows: 1 }],
    [1, { ...calm, freeze_stable_windows: 2, relearn_p99_permille: 0, relearn_windows: 2, learner: halving }],
    [2, { ...calm, relearn_p99_permille: 0, rating: classic, quantile: 1, canary_permille: 1000 }],
  ];
  for (const [at, each] of on_trial) cases.push(case_of(shifts[at], { ...decided, ...each }, recorded));
  cases.push(case_of(twelve, { ...nervous, rules: classic, relearn_windows: 2, relearn_p99_permille: 0 }, recorded));
  const settings: readonly Partial<Config>[] = [
    each_sample,
    { lifecycle: learn, strategy_set: 1, elo_k: 256 },
    { lifecycle: learn, batch: 0, switch_releases: 0 },
    { lifecycle: learn, batch_vectored: 1, batch_blocks_max: 3, explore_permille: 1000 },
    { lifecycle: learn, bigcache_direct: 0, bigcache_slots: 16 },
    { lifecycle: learn, bigcache_site_keyed: 0, bigcache_slots: 1, bigcache_ways: 1 },
    { lifecycle: learn, bigcache_round: 0, explore_permille: 500 },
    { lifecycle: learn, kept_bytes_max: 4 * MiB, explore_permille: 300 },
    { lifecycle: learn, kept_bytes_max: 0 },
    { lifecycle: learn, thp_policy: 1, bigcache: 0 },
    {
      lifecycle: learn,
      thp_policy: 0,
      batch_flush_bytes: 4 * MiB,
      cold_from_bytes: 1,
      warm_from_bytes: 1,
      bigcache_ways: 1,
    },
    { lifecycle: learn, legacy_unrated: 1, thp_from_bytes: 2 * MiB + 100 },
    { lifecycle: learn, legacy_order: 1, explore_permille: 500 },
    { lifecycle: learn, legacy_header: 1, warm_from_bytes: 1, cold_from_bytes: 2 ** 40 },
    { lifecycle: learn, cold_from_bytes: 1, warm_from_bytes: 1, bigcache: 0 },
    { lifecycle: learn, bigcache_from_bytes: 8 * MiB, explore_permille: 0, batch_flush_bytes: 4 * MiB + 100 },
    { lifecycle: 2, strategy: 5 },
    { lifecycle: learn, thermal: 0 },
    { strategy_set: 1, rules: classic, canary_permille: 1000 },
    { canary_permille: 1, canary_samples: 1 },
    { relearn_windows: 2, equivalence_permille: 0 },
    {
      learner: elo,
      rating: classic,
      elo_survivors: 1,
      elo_survive_games: 1,
      relearn_p99_permille: 0,
      relearn_windows: 1,
    },
  ];
  for (const [at, each] of settings.entries())
    cases.push(case_of([twelve, five, three, drift][at % 4], { ...lively, learner: (at >> 2) % 4, ...each }, recorded));
  // A strategy anew with every sample: what the next cannot use is given back, from every ring of BigCache.
  for (const each of [{ bigcache_round: 0 }, { bigcache_direct: 0 }, { bigcache_site_keyed: 0, bigcache_ways: 64 }])
    for (const strategy_set of [0, 1])
      for (const path of [twelve, three])
        cases.push(
          case_of(path, { ...lively, ...each_sample, ...each, learner: epsilon, explore_permille: 1000, strategy_set }),
        );
  // Every sample is the candidate's: one hash in a thousand tells that from a share a little smaller.
  for (const [at, learner] of [
    [1, elo],
    [0, epsilon],
  ])
    cases.push(case_of(shifts[at], { ...doubtful, learner, canary_permille: 1000, canary_samples: 1000 }, recorded));
  for (const path of [drift, twelve, three])
    cases.push(case_of(path, { ...lively, window_events: 1, window_samples: 100, lifecycle: learn }, recorded));
  const judged = {
    canary_permille: 700,
    canary_samples: 400,
    canary_windows_max: 200,
    relearn_windows: 1,
    quantile: 1,
  };
  for (const bigcache of [0, 1])
    cases.push(
      case_of(slower, { ...decided, ...judged, bigcache, rating: classic }, recorded),
      case_of(slower, { ...decided, ...judged, bigcache, rules: classic, learner: epsilon }, recorded),
      case_of(slower, { ...decided, window_samples: 20, bigcache, learner: epsilon, relearn_windows: 1 }, recorded),
    );
  // Frozen when some strategies are left and others not: the runner-up is looked for among those that are.
  for (const learner of [elo, halving])
    cases.push(
      case_of(twelve, {
        ...{ ...nervous, learner, rating: classic, elo_survivors: 3, elo_survive_games: 3, freeze_after_windows: 60 },
        ...{ halving_windows: 1, relearn_p99_permille: 0 },
      }),
    );
  for (const bigcache of [0, 1])
    for (const relearn_windows of [1, 2, 3])
      cases.push(
        case_of(
          slower,
          { ...decided, bigcache, relearn_windows, learner: [elo, epsilon, ucb1, halving][relearn_windows] },
          recorded,
        ),
        case_of(
          slower,
          { ...decided, bigcache, relearn_windows, window_events: 1, window_samples: 20, canary_samples: 1 },
          recorded,
        ),
      );
  for (const elo_survivors of [2, 6, 11])
    cases.push(
      case_of(twelve, {
        ...{ ...lively, ...each_sample, learner: elo, rating: classic },
        ...{ explore_permille: 700, elo_survivors, elo_survive_games: elo_survivors === 11 ? 2 : 4 },
      }),
    );
  cases.push(
    case_of(churn, { ...lively, switch_releases: 0, explore_permille: 500 }),
    case_of(short_edges, { ...lively, window_events: 10 }, { log: { from: 900, to: 1300 } }),
    case_of(scatter, { ...lively, learner: ucb1 }, { touch: 'recorded' }),
    case_of(full, { ...lively, region_bytes: 4 * MiB, window_events: 1, window_samples: 1 }),
    case_of(late, { ...lively, window_events: 1, window_samples: 1 }),
    case_of(scatter, { ...lively, learner: ucb1, lifecycle: learn, bigcache: 0, kept_bytes_max: 2 * MiB }),
    case_of(
      drift,
      { ...lively, rating: classic, lifecycle: learn },
      { prices: { mmap_ns: 0, munmap_ns: 0, fault_ns: 0, release_page_ns: 0 } },
    ),
    case_of(shifts[4], { ...decided, rules: classic, quantile: 1, canary_samples: 60, canary_windows_max: 90 }),
    case_of(five, { ...lively, lifecycle: learn, thp_policy: 1 }, { profile: { thp_kernel: 'never' } }),
    case_of(five, { ...lively, lifecycle: learn, thp_policy: 1 }, { profile: { thp_kernel: 'always' } }),
    case_of(shifts[1], { ...nervous, rating: classic, window_events: 60 }, { seed: 2 ** 40 + 3 }),
    case_of(five, { ...lively, learner: epsilon, rules: classic }, { touch: 'none' }),
    case_of(five, { ...lively, learner: halving }, { touch: 'first' }),
    case_of(three, lively, { touch: 'all' }),
  );
  // Folded, what lies below every threshold is added up between the same windows.
  for (const learner of [elo, ucb1]) {
    const each = case_of(drift, { ...lively, learner });
    cases.push({ ...each, name: `folded: ${each.name}`, folded: true });
  }
  return cases.map((each, at) => ({ ...each, watched: at < 5 }));
}

function traces({ scatter, giant, counts, crowd, sites, churn, mixed, empty, one, samples }: Inputs): Case[] {
  return [
    caseOf('scatter', scatter),
    caseOf('scatter, recorded touches', scatter, mapped_from_a_page, { touch: 'recorded' }),
    caseOf('giant', giant, {}, { touch: 'recorded', log: { from: 0, to: 100 } }),
    caseOf('giant, no page touched, region of 4 TiB', giant, { region_bytes: 2 ** 42 }, { touch: 'none' }),
    caseOf(
      'counts',
      counts,
      { ...mapped_from_a_page, bigcache: 0, batch: 0, kept_bytes_max: 2 ** 40 },
      { touch: 'first' },
    ),
    caseOf('empty', empty),
    caseOf('one event', one),
    caseOf('sites, cache that does not round', sites, { bigcache_round: 0 }, { touch: 'first' }),
    caseOf('sites, 256 slots', sites, { bigcache_round: 0, bigcache_slots: 256 }, { touch: 'first' }),
    caseOf('crowd that leaves at once', crowd, mapped_from_a_page, { touch: 'first' }),
    caseOf('crowd that leaves at once, logged', crowd, mapped_from_a_page, {
      touch: 'first',
      log: { from: 9990, to: 10_100 },
    }),
    caseOf('churn', churn),
    caseOf('mixed', mixed),
    ...samples.map((path) => caseOf(nameOf(path), path, { checkpoint_events: 4096 })),
  ];
}

function folded(inputs: Inputs): Case[] {
  const { edges, short_edges, long_edges, exact_edges, scatter, churn, mixed, giant, counts, crowd } = inputs;
  const { sites, late, full, neighbours, empty, one, samples } = inputs;
  const from_a_byte = { mmap_threshold_bytes: 1 };
  const from_4_tib = { mmap_threshold_bytes: 4096 * GiB };
  const watched = [
    // Blocks that cross the threshold both ways, in chunks of more rows than there is room for at first.
    caseOf('scatter, threshold 4 KiB', scatter, { ...mapped_from_a_page, checkpoint_events: 7 }, { touch: 'recorded' }),
    caseOf('edges, a checkpoint an event', short_edges, { checkpoint_events: 1 }),
    caseOf('giant, nothing mapped', giant, from_4_tib),
    caseOf('edges, everything mapped', edges, { ...from_a_byte, region_bytes: 2 ** 42 }),
    caseOf('full region', full, {
      ...{ ...mapped_from_a_page, bigcache: 0, thermal: 0, thp_policy: 0, thp_advice: 0, region_bytes: 4 * MiB },
    }),
    caseOf('empty', empty),
    caseOf('one event', one),
    caseOf('one event, nothing mapped', one, from_4_tib),
    caseOf('blocks that grow late', late),
  ].map((each) => ({ ...each, watched: true }));
  const cases: Case[] = [];
  for (const [name, path] of [
    ['edges', edges],
    ['scatter', scatter],
    ['mixed', mixed],
  ])
    for (const mmap_threshold_bytes of [1, 4 * KiB, 64 * KiB, 512 * KiB, 8 * MiB])
      for (const checkpoint_events of [7, 256])
        cases.push(
          caseOf(`${name}, threshold ${mmap_threshold_bytes}, checkpoints every ${checkpoint_events}`, path, {
            mmap_threshold_bytes,
            checkpoint_events,
          }),
        );
  for (const touch of ['none', 'first', 'all', 'recorded'] as const)
    cases.push(caseOf(`scatter, touch ${touch}`, scatter, { mmap_threshold_bytes: 64 * KiB }, { touch }));
  for (const mode of ['MINIMAL', 'FAST', 'LEARNING', 'RESEARCH'] as const)
    cases.push(caseOf(`edges, ${mode}`, edges, {}, { mode }));
  const settings: readonly Partial<Config>[] = [
    // Rules broken in the middle of a chunk.
    { region_bytes: 64 * MiB },
    { region_bytes: 4 * MiB, bigcache: 0, kept_bytes_max: 0, batch: 0 },
    { legacy_undersized: 1 },
    { legacy_stale_advice: 1, batch_blocks_max: 1 },
    { legacy_stale_advice: 1, bigcache: 0, batch_blocks_max: 170, batch_flush_bytes: 2 ** 40 },
    { legacy_order: 1 },
    { legacy_header: 1 },
    { strategy_set: 1, strategy: 3 },
    { strategy: 11 },
    { checkpoint_events: 8000 },
    { checkpoint_events: 7999 },
    { checkpoint_events: 2 ** 32 },
  ];
  for (const each of settings) cases.push(caseOf(`edges, ${words(each)}`, edges, each));
  for (const ns of [0, 64])
    cases.push(caseOf(`mixed, heap calls at ${ns} ns`, mixed, {}, { prices: { heap_call_ns: ns } }));
  cases.push(
    caseOf('edges, 20,000 events', long_edges),
    caseOf('edges, 1,023 events, all rows', exact_edges, { ...from_a_byte, checkpoint_events: 1 }),
    caseOf('giant', giant, { checkpoint_events: 1 }, { touch: 'recorded' }),
    caseOf('giant, threshold 8 GiB, region of 4 TiB', giant, {
      ...{ mmap_threshold_bytes: 8 * GiB, region_bytes: 2 ** 42, checkpoint_events: 2 },
    }),
    caseOf('neighbours', neighbours, { ...mapped_from_a_page, checkpoint_events: 1 }, { touch: 'recorded' }),
    caseOf('counts', counts, { ...mapped_from_a_page, kept_bytes_max: 2 ** 40 }, { touch: 'first' }),
    caseOf('crowd', crowd, mapped_from_a_page, { touch: 'first' }),
    caseOf('crowd, nothing mapped', crowd, from_4_tib),
    caseOf('churn', churn),
    caseOf('sites', sites, { bigcache_round: 0 }, { touch: 'first' }),
    ...inputs.dense.map((path) => caseOf(nameOf(path), path, { checkpoint_events: 65_536 })),
    ...samples.map((path) => caseOf(nameOf(path), path, { checkpoint_events: 4096 })),
  );
  return [...watched, ...cases].map((each) => ({ ...each, name: `folded: ${each.name}`, folded: true }));
}

function dense(inputs: Inputs): Case[] {
  return inputs.dense.map((path) =>
    caseOf(nameOf(path), path, { checkpoint_events: 65_536 }, { log: { from: 0, to: 10 } }),
  );
}

function malformed({ forgeries }: Inputs): Case[] {
  const more = { touch: 'recorded', log: { from: 0, to: 100 } } as const;
  return forgeries.map((path, at) => ({
    ...caseOf(nameOf(path), path, mapped_from_a_page, more),
    // A few by themselves, for the words that go with the refusal.
    forged: at > 8,
  }));
}

/** What only memory that is really written and read can tell: stamps, contents, and refusals. */
function realKernel({ short_edges, churn, full }: Inputs): Case[] {
  const small = { thp_policy: 0 };
  const profile = probeProfile() ?? default_profile;
  const onReal = (name: string, settings: Partial<Config>, touch: Setup['touch'], breaks?: string[]): Case => ({
    ...caseOf(`edges on the real kernel, ${name}`, short_edges, settings, { touch, profile }),
    kernel: 'real',
    ...(breaks === undefined ? {} : { breaks }),
  });
  return [
    onReal('first page touched', small, 'first'),
    {
      ...caseOf('churn on the real kernel, no page touched', churn, small, { touch: 'none', profile }),
      kernel: 'real',
    },
    onReal('legacy_header', { ...small, legacy_header: 1 }, 'first'),
    onReal('trusting legacy_stale_advice', { ...small, legacy_stale_advice: 1, batch_blocks_max: 4 }, 'first', [
      'kernel',
      'contents',
    ]),
    {
      ...caseOf(
        'full region on the real kernel, trusting stale advice at the end',
        full,
        { legacy_stale_advice: 1, bigcache: 0 },
        { profile },
      ),
      kernel: 'real',
      breaks: ['kernel', 'contents'],
    },
    onReal('trusting legacy_undersized', { legacy_undersized: 1 }, 'page', ['outside']),
  ];
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

export const words = (settings: Readonly<Record<string, unknown>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
