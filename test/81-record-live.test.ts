/** Recording a process that runs already, from outside. Needs root and a kernel with uprobes, and is skipped without. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allocator_names, allocators, libraryOf } from '../native/allocators.ts';
import { open } from '../traces/index.ts';
import { op, type Trace } from '../traces/trace.ts';
import { bin, refusedIn, run } from './command-line.ts';

const probes = '/sys/kernel/tracing/uprobe_events';
const can_probe = process.arch === 'x64' && process.getuid?.() === 0 && isWritable(probes);
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-live-'));
const raw_folders = join(folder, 'tmp');
const threads = 4;
const rounds = 200;

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

beforeAll(() => {
  mkdirSync(raw_folders);
  const programs = join(import.meta.dirname, 'programs');
  const compile = (compiler: string, name: string, source: string, ...args: string[]) => {
    const all = ['-O1', '-w', '-fno-builtin', '-pthread', ...args, '-o', join(folder, name), source];
    const { status, stderr } = spawnSync(compiler, all, { cwd: programs, encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  };
  compile('cc', 'lives', 'lives.c');
  compile('c++', 'news', 'lives.cc', '-std=c++17');
  compile('cc', 'lives-static', 'lives.c', '-static');
  compile('cc', 'lives-stripped', 'lives.c', '-static', '-s');
});

afterAll(() => rmSync(folder, { recursive: true }));

/** A program that waits to be watched, and what is said on its stdin. */
class Target {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  private output = '';

  constructor(name: string, environment: Record<string, string> = {}, args: readonly string[] = []) {
    const env = { ...process.env, ...environment };
    this.child = spawn(join(folder, name), args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout!.on('data', (text) => {
      this.output += text;
    });
    this.ended = new Promise((resolve) => this.child.once('exit', resolve));
  }

  get pid(): number {
    return this.child.pid!;
  }

  async says(text: string): Promise<void> {
    while (!this.output.includes(text)) await new Promise((resolve) => setTimeout(resolve, 5));
    this.output = this.output.slice(this.output.indexOf(text) + text.length);
  }

  tell(text: string): void {
    this.child.stdin!.write(text);
  }
}

/** Watches from the moment it says so. */
class Watch {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  stderr = '';

  constructor(pid: number, output: string, ...args: string[]) {
    this.child = spawn(process.execPath, [bin, 'record', '--pid', String(pid), '-o', output, ...args], {
      cwd: folder,
      env: { ...process.env, TMPDIR: raw_folders },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.child.stderr!.on('data', (text) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
  }

  async hasBegun(): Promise<void> {
    while (!this.stderr.includes('recording process') && this.child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Of the program that sets the probes. */
  get watcher(): number {
    return Number(readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, 'utf8').trim());
  }
}

/** How often a size was asked for in which way, of the sizes of the program's own. */
function calls(trace: Trace): Record<string, number> {
  const names = Object.entries(op);
  const counts: Record<string, number> = {};
  for (const chunk of trace.chunks())
    for (let row = 0; row < chunk.length; row += 1) {
      const size_bytes = chunk.size_bytes[row];
      if (chunk.op[row] === op.free || size_bytes < 4001 || size_bytes > 9001) continue;
      const [name] = names.find(([, value]) => value === chunk.op[row])!;
      const align = chunk.op[row] === op.aligned ? ` by ${chunk.align[row]}` : '';
      const key = `${name} ${size_bytes}${align}`;
      counts[key] = (counts[key] ?? 0) + 1;
    }
  return counts;
}

const all = threads * rounds;
const every_call = {
  'malloc 5001': all,
  'realloc 9001': all,
  'calloc 6003': all,
  'aligned 7001 by 256': all,
  'aligned 7168 by 128': all,
  'malloc 7021': all,
  'malloc 8001': all,
};

describe.runIf(can_probe)('a process that runs already', () => {
  test.each(['lives', 'lives-static'])('%s: every call is there, once', async (name) => {
    const target = new Target(name);
    await target.says('ready');
    const watch = new Watch(target.pid, `${name}.hak`);
    await watch.hasBegun();
    target.tell('\n');
    await target.says('done');
    target.child.stdin!.end();
    expect([await target.ended, await watch.ended]).toEqual([0, 0]);
    const trace = open(join(folder, `${name}.hak`));
    expect(calls(trace)).toEqual(every_call);
    const { statistics, origin } = trace;
    expect(statistics.threads).toBeGreaterThanOrEqual(threads);
    // Each thread frees all that it asks for; what is left is the C library's own.
    expect(statistics.unfreed).toBeLessThan(2 * threads);
    // The block from before is not known, nor is what glibc's caches held.
    expect(origin.dropped).toBeGreaterThanOrEqual(1);
    expect(origin.notes.join('\n')).toMatch(
      /was watched for \d+\.\d{3} s, until it ended: blocks from before are unknown/,
    );
    expect(origin.notes.join('\n')).not.toMatch(/lost|missing/);
    expect(origin.sites.some((site) => site?.name?.startsWith(`${name}+0x`))).toBe(true);
    expect(origin.process?.user_ns).toBeGreaterThanOrEqual(0);
    expect(readFileSync(probes, 'utf8')).not.toContain('hakmem_');
  });

  test.for(allocator_names)('operators new and delete, and the smallest blocks, of %s', async (name, { skip }) => {
    const library = libraryOf(allocators[name]);
    skip(library === undefined, `${name} is not installed`);
    const target = new Target('news', { LD_PRELOAD: library ?? '' });
    await target.says('ready');
    const watch = new Watch(target.pid, `${name}.hak`);
    await watch.hasBegun();
    target.child.stdin!.end('\n');
    expect([await target.ended, await watch.ended]).toEqual([0, 0]);
    const trace = open(join(folder, `${name}.hak`));
    expect(calls(trace)).toEqual({ 'malloc 5555': 100, 'aligned 4160 by 64': 100, 'malloc 7777': 100 });
    const { statistics, origin } = trace;
    expect({ ...statistics, dropped: origin.dropped }).toMatchObject({ reallocs: 1000, dropped: 0 });
    expect(statistics.frees).toBeGreaterThanOrEqual(1300);
    expect(origin.notes).toHaveLength(1);
    // Who called operator new, not the operator's own call of malloc.
    const sites = origin.sites.flatMap((site) => site?.name ?? []);
    expect(sites.filter((site) => site.startsWith('news+0x')).length).toBeGreaterThanOrEqual(5);
    expect(sites.join()).not.toMatch(/stdc|uprobes/);
  });

  test('Ctrl-C ends the recording and leaves the process alone', async () => {
    const target = new Target('lives');
    await target.says('ready');
    const watch = new Watch(target.pid, 'let-go.hak');
    await watch.hasBegun();
    target.tell('\n');
    await target.says('done');
    watch.child.kill('SIGINT');
    expect(await watch.ended).toBe(0);
    target.tell('\n');
    await target.says('done');
    target.child.stdin!.end();
    expect(await target.ended).toBe(0);
    const trace = open(join(folder, 'let-go.hak'));
    expect(calls(trace)).toEqual(every_call);
    expect(trace.origin.notes.join('\n')).toContain('until it was let go');
  });

  test('--for ends by itself, --min-size leaves out smaller blocks', async () => {
    const target = new Target('lives');
    await target.says('ready');
    const watch = new Watch(target.pid, 'large.hak', '--min-size', '8000', '--for', '2s');
    await watch.hasBegun();
    target.tell('\n');
    expect(await watch.ended).toBe(0);
    target.child.stdin!.end();
    expect(await target.ended).toBe(0);
    const counts = calls(open(join(folder, 'large.hak')));
    expect(Object.keys(counts)).toEqual(expect.arrayContaining(['malloc 8001']));
    expect(Object.keys(counts).every((key) => Number(key.split(' ')[1]) >= 8000)).toBe(true);
  });

  test('a process that becomes another program is left there', async () => {
    const target = new Target('lives', {}, ['true']);
    await target.says('ready');
    const watch = new Watch(target.pid, 'another.hak');
    await watch.hasBegun();
    target.tell('\n');
    await target.says('done');
    target.tell('x');
    expect([await target.ended, await watch.ended]).toEqual([0, 0]);
    const trace = open(join(folder, 'another.hak'));
    expect(calls(trace)).toEqual(every_call);
    expect(trace.origin.notes.join('\n')).toContain('until it became another program');
  });

  test('a watcher that is killed leaves what it had, no breakpoint, and names that the next one clears away', async () => {
    const target = new Target('lives');
    await target.says('ready');
    const watch = new Watch(target.pid, 'killed.hak', '--raw', 'raw');
    await watch.hasBegun();
    target.tell('\n');
    await target.says('done');
    // It writes once a second.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    process.kill(watch.watcher, 'SIGKILL');
    expect(await watch.ended).toBe(0);
    expect(calls(open(join(folder, 'killed.hak')))).toEqual(every_call);
    target.tell('\n');
    await target.says('done');
    expect(run(folder, ['record', '--from-raw', 'raw', '-o', 'again.hak']).status).toBe(0);
    expect(calls(open(join(folder, 'again.hak')))).toEqual(every_call);
    const next = new Watch(target.pid, 'next.hak');
    await next.hasBegun();
    target.child.stdin!.end();
    expect([await target.ended, await next.ended]).toEqual([0, 0]);
    expect(readFileSync(probes, 'utf8')).not.toContain('hakmem_');
  });

  test('what cannot be watched is said in one line', async () => {
    expect(refusedIn(folder, ['record', '--pid', '4194303'])).toContain('process 4194303: there is none');
    const stripped = new Target('lives-stripped');
    await stripped.says('ready');
    const { status, stderr } = run(folder, ['record', '--pid', String(stripped.pid)]);
    expect({ status, lines: stderr.trim().split('\n').length }).toEqual({ status: 1, lines: 1 });
    expect(stderr).toContain('no malloc and free by name in its files');
    const watcher = join(folder, 'hak-attach');
    copyFileSync(join(import.meta.dirname, '..', 'native', 'build', 'hak-attach'), watcher);
    spawnSync('chmod', ['755', folder, watcher]);
    const refused = spawnSync(watcher, ['/nowhere', String(stripped.pid), '0', '0', '0'], {
      uid: 65534,
      encoding: 'utf8',
    });
    expect({ status: refused.status, lines: refused.stderr.trim().split('\n').length }).toEqual({
      status: 1,
      lines: 1,
    });
    stripped.child.stdin!.end();
    await stripped.ended;
  });

  test('nothing else is left behind', () => {
    expect(readdirSync(raw_folders)).toEqual([]);
  });
});

describe('--pid refuses', () => {
  test.each([
    [['--pid', '1', '--', 'true'], 'runs no program'],
    [['--pid', '0'], 'pid'],
    [['--pid', 'redis'], 'pid'],
    [['--pid', '1', '--touch'], "'--pid <pid>' cannot be used with option '--touch'"],
    [['--pid', '1', '--stacks', '3'], "cannot be used with option '--stacks <n>'"],
  ])('%j', (args, says) => {
    expect(refusedIn(folder, ['record', ...args])).toContain(says);
  });
});
