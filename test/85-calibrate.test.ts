/** `hakmem calibrate --quick` once, for real: what it writes, who takes it, and what is left of one that is interrupted. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { thisMachine } from '../experiments/calibrate/machine.ts';
import { contended_ways, type PriceDocument, type Priced } from '../experiments/calibrate/price-file.ts';
import { probeProfile } from '../native/index.ts';
import { type CurveName, curve_names, curves, prices } from '../sim/index.ts';

const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-calibrate-'));
const cache = join(folder, 'cache');
const cached = join(cache, 'hakmem', `prices-${thisMachine().id}.json`);
const trace = join(folder, 'vm.hak');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function hakmem(...args: string[]) {
  return spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), ...args], {
    encoding: 'utf8',
    cwd: folder,
    env: { ...process.env, XDG_CACHE_HOME: cache },
  });
}

let none: ReturnType<typeof hakmem>;
let ran: ReturnType<typeof hakmem>;
let document: PriceDocument;

beforeAll(() => {
  const generated = hakmem('generate', 'vm', '--events', '400', '-o', trace);
  if (generated.status !== 0) throw new Error(generated.stderr);
  none = hakmem('replay', trace, '--prices', 'measured', '--check', 'none');
  ran = hakmem('calibrate', '--quick', '--json');
  if (ran.status !== 0) throw new Error(ran.stderr);
  document = JSON.parse(readFileSync(cached, 'utf8'));
});

const points = (name: CurveName): readonly (readonly number[])[] => document.curves[name] ?? [];

describe('what is measured', () => {
  test('is printed as it is kept, and nothing is said on stderr', () => {
    expect(ran.stderr).toBe('');
    expect(JSON.parse(ran.stdout)).toEqual({ path: cached, ...document });
    expect(readdirSync(join(cache, 'hakmem'))).toEqual([`prices-${thisMachine().id}.json`]);
  });

  test('names this machine, its kernel, and the runs', () => {
    expect(document).toMatchObject({
      format: 'hakmem-prices 1',
      machine: thisMachine(),
      kernel_profile: probeProfile(),
    });
    // On a machine that is busy the third would take too long.
    expect([2, 3]).toContain(document.runs);
    expect(Date.parse(document.measured_at)).not.toBeNaN();
  });

  test('every price is a positive whole number within its interval', () => {
    const all: Priced[] = [
      ...Object.values(document.curves).flatMap((rows) => rows.map(([, ns, low, high]) => ({ ns, low, high }))),
      ...Object.values(document.library).flatMap((rows) => rows.map(([, ns, low, high]) => ({ ns, low, high }))),
      ...Object.values(document.clock),
      ...Object.values(document.contention ?? {}).flatMap((rows) =>
        rows.flatMap((row) => contended_ways.filter((way) => way !== 'beside_adds').map((way) => row[way])),
      ),
    ];
    expect(all.length).toBeGreaterThan(100);
    const wrong = all.filter(
      ({ ns, low, high }) => ![ns, low, high].every(Number.isInteger) || low < 1 || ns < low || ns > high,
    );
    expect(wrong).toEqual([]);
    expect(Object.keys(document.prices)).toEqual(Object.keys(prices));
    expect(Object.values(document.prices).every((ns) => Number.isInteger(ns) && ns > 0)).toBe(true);
  });

  test('every curve has every point, unless there is a reason', () => {
    const huge = document.not_measured.huge_fault_ns === undefined;
    for (const name of curve_names) {
      const at = points(name).map(([x]) => x);
      if (curves[name].by === 'ranges of the call') expect(at).toEqual([1, 4, 16, 64]);
      else if (/huge|small/.test(name)) expect(at).toEqual(huge ? [512, 8192] : []);
      else if (curves[name].by === 'pages cycled') expect(at).toEqual([16, 512, 8192]);
      else if (curves[name].by === 'pages resident') expect(at).toEqual([16, 64, 256, 512, 2048]);
      else expect(at).toEqual([1, 16, 33, 34, 64, 512, 8192]);
    }
  });

  test('flat prices are read off the curves at 512 pages', () => {
    for (const name of ['mmap_ns', 'release_page_ns', 'fault_ns', 'fill_page_ns'] as const)
      expect(document.prices[name]).toBe(points(name).find(([x]) => x === 512)![1]);
  });

  test('a shootdown is a difference of its own, within its interval, or one CPU is the reason', () => {
    expect(document.shootdown === null).toBe(document.contention === null);
    const { ns, low, high } = document.shootdown ?? { ns: 0, low: 0, high: 0 };
    expect([low <= ns, ns <= high]).toEqual([true, true]);
  });

  test('contention is measured at three sizes in every way, or one CPU is the reason', () => {
    if (document.contention === null) {
      expect(document.not_measured.contention).toContain('one CPU');
      return;
    }
    expect(Object.keys(document.contention)).toEqual(['mmap_ns', 'fault_ns', 'dontneed_ns', 'munmap_ns']);
    for (const rows of Object.values(document.contention)) expect(rows.map(({ pages }) => pages)).toEqual([1, 16, 512]);
  });
});

describe('its prices', () => {
  test('are refused before there are any, with the command that makes them', () => {
    expect(none).toMatchObject({ status: 2, stdout: '' });
    expect(none.stderr).toMatch(/^hakmem: --prices measured: no prices .*prices-[0-9a-f]{16}\.json; hakmem calibrate /);
  });

  test('are found by the name "measured", and change what is predicted but no decision', () => {
    const replayed = (...prices_from: string[]) =>
      JSON.parse(hakmem('replay', trace, '--check', 'none', '--json', ...prices_from).stdout);
    const nominal = replayed();
    const measured = replayed('--prices', 'measured');
    expect(nominal.prices).toMatchObject({ source: 'nominal', machine: 'unknown', machine_name: null });
    expect(measured.prices).toMatchObject({ source: 'measured', machine: 'this', name: document.name });
    expect(measured.sim.decision_digest).toBe(nominal.sim.decision_digest);
    expect(measured.sim.time_ns.total).not.toBe(nominal.sim.time_ns.total);
    expect(hakmem('doctor').stdout).toMatch(/ok +measured prices +\S+prices-/);
  });

  test('of another machine are said to be so, in every result that has times', () => {
    const path = join(folder, 'forged.json');
    writeFileSync(path, JSON.stringify({ ...document, machine: { ...document.machine, id: '0123456789abcdef' } }));
    const loud = /prices of ANOTHER machine \(/;
    const axis = ['--axis', 'mmap_threshold_bytes=512K,4MiB', '--check', 'none', '--prices', path];
    const rows = join(folder, 'rows.ndjson');
    expect(hakmem('replay', trace, '--check', 'none', '--prices', path).stdout).toMatch(loud);
    expect(hakmem('tune', trace, ...axis).stdout).toMatch(loud);
    expect(hakmem('sweep', trace, ...axis, '--jobs', '1', '-o', rows).stdout).toMatch(loud);
    const [row] = readFileSync(rows, 'utf8').split('\n');
    expect(JSON.parse(row)).toMatchObject({ prices_source: 'measured', prices_machine: 'other' });
    hakmem('report', rows, '-o', 'report.html');
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain('those of another machine');
  });
});

describe('a calibration that cannot be finished', () => {
  test('is refused before it measures where the file cannot be written', () => {
    const refused = hakmem('calibrate', '--quick', '-o', 'no/such/folder.json');
    expect(refused).toMatchObject({ status: 2, stdout: '' });
    expect(refused.stderr).toMatch(/^hakmem: no\/such\/folder\.json: cannot be written: /);
  });

  test.each(['SIGINT', 'SIGKILL'] as const)('leaves no process and no file after %s', async (signal) => {
    const place = join(folder, signal);
    mkdirSync(place);
    const child = spawn(process.execPath, [join(root, 'bin', 'hakmem.js'), 'calibrate', '--quick', '-o', 'x.json'], {
      cwd: place,
      stdio: 'ignore',
    });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    // At work, it has seen to it already that it dies with who began it.
    const measuring = await until(() => childrenOf(child.pid!, 'hak-calibrate').filter((pid) => ticksOf(pid) > 5));
    expect(measuring).toHaveLength(1);
    // So that it cannot end by itself, as it would in a few seconds.
    process.kill(measuring[0], 'SIGSTOP');
    child.kill(signal);
    try {
      expect(await ended).toBe(signal === 'SIGKILL' ? null : 130);
      await until(() => (isRunning(measuring[0]) ? [] : [0]));
    } finally {
      if (isRunning(measuring[0])) process.kill(measuring[0], 'SIGKILL');
    }
    expect(readdirSync(place)).toEqual([]);
  });
});

/** Waits until there is something. */
async function until<T>(find: () => readonly T[]): Promise<readonly T[]> {
  for (let attempt = 0; attempt < 3000; attempt += 1) {
    const found = find();
    if (found.length > 0) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('waited in vain');
}

/** Of CPU time, a hundredth of a second each. */
function ticksOf(pid: number): number {
  const [user, system] = statOf(pid).split(' ').slice(12, 14);
  return Number(user) + Number(system);
}

function childrenOf(parent: number, name: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => statOf(pid).startsWith(`(${name}) `) && Number(statOf(pid).split(' ')[2]) === parent);
}

const isRunning = (pid: number): boolean => /^\([^)]*\) [^Z]/.test(statOf(pid));

/** From the name on; empty where there is no such process. */
function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^\d+ /, '');
  } catch {
    return '';
  }
}
