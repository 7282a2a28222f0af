/** Whether a setting of glibc's malloc is live in a program, process by process, to the end; and where it is not, why. */
import { basename } from 'node:path';
import type { Spent } from '../native/measure.ts';
import {
  type MalloptCall,
  observeProgram,
  type ProgramImage,
  type Reading,
  type Started,
} from '../native/verify-setting.ts';
import { type Environment, type ReadSettings, readSettings, type TunableSetting } from './glibc-tunables.ts';
import { findProgram, interpreterOf, type Obstacle, type ObstacleKind, obstacleOf } from './program-file.ts';

/** `unproven`: nothing speaks against it, and nothing that could be seen for it. */
export type SettingVerdict = 'live' | 'not live' | 'changed' | 'unproven';

export interface ProvenSetting {
  readonly name: string;
  readonly value: bigint;
  readonly variable: string;
  readonly verdict: SettingVerdict;
  /** Values at the start and at the end where they were found. */
  readonly from: number | null;
  readonly to: number | null;
  /** The call that changed it. */
  readonly by: string | null;
  readonly reasons: readonly string[];
  readonly evidence: { readonly start: string | null; readonly end: string | null };
}

export interface ProvenImage {
  readonly pid: number;
  readonly path: string;
  readonly libc_version: string | null;
  readonly malloc_path: string | null;
  readonly verdict: SettingVerdict;
  readonly reasons: readonly string[];
  readonly settings: readonly ProvenSetting[];
  readonly mallopt_calls: readonly string[];
}

export interface Proof extends ReadSettings {
  readonly program: string;
  /** Programs that ran, in the order in which they began; one that nothing could be loaded into is among them. */
  readonly images: readonly ProvenImage[];
  readonly live: boolean;
  /** The worst of any program. */
  readonly verdict: SettingVerdict;
  /** null where the program was not run, for it would have shown nothing. */
  readonly spent: Spent | null;
}

export interface ProofOptions {
  /** The whole environment of the program, with the setting. */
  readonly env: Environment;
  /** The variables of it that are the setting. */
  readonly setting: Readonly<Record<string, string>>;
  /** File whose malloc is to serve; null for glibc's own. */
  readonly library?: string | null;
  readonly input?: 'null' | 'inherit';
  readonly output?: 'discard' | 'inherit';
  readonly output_to?: number;
  readonly signal?: AbortSignal;
}

/** Runs the program once. Throws UsageError where there is none. */
export async function proveSetting(argv: readonly string[], options: ProofOptions): Promise<Proof> {
  const { setting, library = null, env, ...rest } = options;
  const read = library === null ? readSettings(setting) : { settings: [], mistakes: [], notes: [] };
  const file = interpreterOf(findProgram(argv[0]));
  const obstacle = obstacleOf(file);
  if (obstacle !== null)
    return { ...read, ...judged(argv[0], read, [unloaded(0, file, obstacle, read.settings)]), spent: null };
  const { spent, images, lost_lines } = await observeProgram(argv, read.settings, setting, { ...rest, env });
  const proven = images.flatMap((image) => [
    provenImage(image, images, read.settings, library, spent),
    ...image.started.filter(({ seen }) => !seen).map((started) => unseen(started, image, read.settings)),
  ]);
  if (images.length === 0)
    proven.push(
      unloaded(
        spent.pid,
        file,
        { kind: 'foreign', says: 'the library that looks was not loaded into it' },
        read.settings,
      ),
    );
  const notes = lost_lines === 0 ? read.notes : [...read.notes, `more processes ran than there was room to tell of`];
  return { ...read, notes, ...judged(argv[0], read, proven, lost_lines > 0), spent };
}

/** A mistake is nowhere live; of processes that were not seen nothing is known. */
function judged(program: string, { mistakes }: ReadSettings, images: readonly ProvenImage[], some_unseen = false) {
  const verdict = worst([
    ...images.map((image) => image.verdict),
    ...(mistakes.length > 0 ? (['not live'] as const) : []),
    ...(some_unseen ? (['unproven'] as const) : []),
  ]);
  return { program, images, live: verdict === 'live', verdict };
}

/** Why the proof failed, in a line; null where it did not. */
export function whyNotLive(proof: Proof): string | null {
  if (proof.live) return null;
  if (proof.mistakes.length > 0) return proof.mistakes[0];
  const image = proof.images.find(({ verdict }) => verdict !== 'live');
  if (image === undefined) return proof.notes.at(-1) ?? 'nothing was seen';
  const setting = image.settings.find(({ verdict }) => verdict !== 'live');
  const what = setting === undefined ? image.verdict : `${setting.name}=${setting.value} is ${setting.verdict}`;
  const reasons = image.reasons.length > 0 ? image.reasons : (setting?.reasons ?? []);
  return `${image.path}: ${what}${reasons.length === 0 ? '' : `: ${reasons.join('; ')}`}`;
}

const worst_first: readonly SettingVerdict[] = ['not live', 'changed', 'unproven', 'live'];

function worst(verdicts: readonly SettingVerdict[]): SettingVerdict {
  return worst_first.find((each) => verdicts.includes(each)) ?? 'live';
}

function provenImage(
  image: ProgramImage,
  all: readonly ProgramImage[],
  settings: readonly TunableSetting[],
  library: string | null,
  spent: Spent,
): ProvenImage {
  const reasons = reasonsAgainst(image, all, library);
  const about = {
    pid: image.pid,
    path: image.path,
    libc_version: image.libc_version,
    malloc_path: image.malloc_path,
    mallopt_calls: image.mallopt_calls.map(callText),
  };
  const served = library === null ? image.glibc_serves : basename(image.malloc_path) === basename(library);
  if (!served) {
    const rows = settings.map((setting) => withoutReading(setting, 'not live', reasons));
    return { ...about, verdict: 'not live', reasons, settings: rows };
  }
  const rows = settings.map((setting) => provenSetting(setting, image, reasons, spent));
  const env_verdict: SettingVerdict = image.keeps_setting ? 'live' : settings.length === 0 ? 'not live' : 'unproven';
  return { ...about, verdict: worst([env_verdict, ...rows.map(({ verdict }) => verdict)]), reasons, settings: rows };
}

/** What stands against any setting in this program. */
function reasonsAgainst(image: ProgramImage, all: readonly ProgramImage[], library: string | null): string[] {
  const reasons: string[] = [];
  if (library === null && !image.glibc_serves) reasons.push(`another allocator serves malloc: ${image.malloc_path}`);
  if (library !== null && basename(image.malloc_path) !== basename(library))
    reasons.push(`${image.malloc_path} serves malloc; wanted ${library}`);
  if (!image.keeps_setting) {
    const parent = all.find(({ started }) =>
      started.some(({ pid, keeps_setting }) => pid === image.pid && !keeps_setting),
    );
    reasons.push(`the setting is not in its environment${parent === undefined ? '' : `: dropped by ${parent.path}`}`);
  }
  return reasons;
}

function provenSetting(
  setting: TunableSetting,
  image: ProgramImage,
  against: readonly string[],
  spent: Spent,
): ProvenSetting {
  if (setting.name === 'check' && !/malloc_debug/.test(image.malloc_path))
    return withoutReading(setting, 'not live', [
      'since glibc 2.34 it works with libc_malloc_debug.so.0 preloaded only',
    ]);
  const reading = (from: readonly Reading[] | null) => from?.find(({ name }) => name === setting.name);
  const start = reading(image.start);
  const ends = [image.end, ...image.fork_ends].map(reading).filter((each) => each !== undefined);
  const changed = ends.find(({ holds }) => holds === false);
  const end = changed ?? ends[0];
  const call = image.mallopt_calls.findLast(({ parameter }) => parameter_of[setting.name] === parameter);
  const row = {
    ...withoutReading(setting, 'unproven', []),
    from: start?.found ?? null,
    to: end?.found ?? null,
    evidence: { start: start?.evidence ?? null, end: end?.evidence ?? null },
  };
  if (start === undefined) return { ...row, reasons: ['its start was not seen'] };
  if (start.holds === null) return { ...row, reasons: [`at the start ${start.evidence}`] };
  if (!start.holds) {
    const reasons = [
      ...against,
      ...tooOld(setting, image),
      ...(call === undefined ? [] : [`overridden by ${callText(call)}`]),
    ];
    return {
      ...row,
      verdict: 'not live',
      by: call === undefined ? null : callText(call),
      reasons: reasons.length > 0 ? reasons : ['malloc behaves otherwise, and nothing that was seen says why'],
    };
  }
  if (changed !== undefined)
    return {
      ...row,
      verdict: 'changed',
      by: call === undefined ? null : callText(call),
      reasons: [
        call === undefined
          ? 'changed while it ran, and no call of mallopt was seen'
          : `overridden by ${callText(call)}`,
      ],
    };
  if (!image.keeps_setting)
    return { ...row, reasons: [...against, 'its malloc behaves so all the same: the value may be the usual one'] };
  if (image.became !== null) return { ...row, verdict: 'live', reasons: [`until it became ${image.became}`] };
  if (end === undefined) return { ...row, reasons: [`live at the start; ${whyNoEnd(image, spent)}`] };
  if (end.holds === null) return { ...row, reasons: [`live at the start; at the end ${end.evidence}`] };
  return { ...row, verdict: 'live' };
}

function whyNoEnd(image: ProgramImage, spent: Spent): string {
  return image.pid === spent.pid && spent.signal !== 0
    ? `its end was not seen: signal ${spent.signal} ended it`
    : 'its end was not seen: it was killed, or left without the C library';
}

function tooOld(setting: TunableSetting, image: ProgramImage): string[] {
  const [major, minor] = image.libc_version.split('.').map(Number);
  const since = setting.name === 'hugetlb' ? 35 : 26;
  const is_old = major < 2 || (major === 2 && minor < since);
  return is_old && setting.variable === 'GLIBC_TUNABLES'
    ? [`glibc ${image.libc_version} does not know it: wanted 2.${since} or later`]
    : [];
}

function withoutReading(setting: TunableSetting, verdict: SettingVerdict, reasons: readonly string[]): ProvenSetting {
  return { ...setting, verdict, from: null, to: null, by: null, reasons, evidence: { start: null, end: null } };
}

/** glibc reads its variables in static programs too, where nothing can look; in none of the others. */
const obstacle_verdicts: Readonly<Record<ObstacleKind, SettingVerdict>> = {
  static: 'unproven',
  foreign: 'unproven',
  other_libc: 'not live',
  secure: 'not live',
};

function unloaded(pid: number, path: string, obstacle: Obstacle, settings: readonly TunableSetting[]): ProvenImage {
  const verdict = obstacle_verdicts[obstacle.kind];
  const ways: Readonly<Record<ObstacleKind, readonly string[]>> = {
    static: ['glibc reads settings in a static program too; what they come to cannot be shown'],
    foreign: [],
    other_libc: ['settings of glibc mean nothing to it'],
    secure: ['glibc does not read settings of malloc in such a program'],
  };
  return withoutReport(pid, path, verdict, [obstacle.says, ...ways[obstacle.kind]], settings);
}

/** A program that was begun and never heard of. */
function unseen(started: Started, by: ProgramImage, settings: readonly TunableSetting[]): ProvenImage {
  const path = resolved(started.path);
  if (!started.keeps_preload) {
    const kept = started.keeps_setting;
    const reason = `its environment was dropped by ${by.path}${kept ? ', all but the setting' : ''}`;
    return withoutReport(started.pid, path, kept ? 'unproven' : 'not live', [reason], settings);
  }
  const obstacle = obstacleOf(interpreterOf(path));
  if (obstacle !== null) return unloaded(started.pid, path, obstacle, settings);
  if (started.has_capabilities)
    return unloaded(started.pid, path, { kind: 'secure', says: 'with capabilities of its own' }, settings);
  return withoutReport(started.pid, path, 'unproven', ['the library that looks was not loaded into it'], settings);
}

function withoutReport(
  pid: number,
  path: string,
  verdict: SettingVerdict,
  reasons: readonly string[],
  settings: readonly TunableSetting[],
): ProvenImage {
  const rows = settings.map((setting) => withoutReading(setting, verdict, reasons));
  return { pid, path, libc_version: null, malloc_path: null, verdict, reasons, settings: rows, mallopt_calls: [] };
}

function resolved(name: string): string {
  try {
    return findProgram(name);
  } catch {
    return name;
  }
}

/** Of mallopt, by malloc.h. */
const parameter_names: Readonly<Record<number, string>> = {
  1: 'M_MXFAST',
  [-1]: 'M_TRIM_THRESHOLD',
  [-2]: 'M_TOP_PAD',
  [-3]: 'M_MMAP_THRESHOLD',
  [-4]: 'M_MMAP_MAX',
  [-5]: 'M_CHECK_ACTION',
  [-6]: 'M_PERTURB',
  [-7]: 'M_ARENA_TEST',
  [-8]: 'M_ARENA_MAX',
};

const parameter_of: Readonly<Record<string, number>> = Object.fromEntries(
  Object.entries(parameter_names).map(([parameter, name]) => [name.slice(2).toLowerCase(), Number(parameter)]),
);

function callText({ parameter, value, caller }: MalloptCall): string {
  return `mallopt(${parameter_names[parameter] ?? parameter}, ${value}) of ${caller}`;
}
