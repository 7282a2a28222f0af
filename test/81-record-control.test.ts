/** When a recording begins and ends, how large it becomes, and what is left of it after accidents. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { open } from '../traces/index.ts';
import { Recording, readProcesses } from '../traces/recording.ts';
import { type Chunk, op } from '../traces/trace.ts';
import { bin, refusedIn, run } from './command-line.ts';

const root = join(import.meta.dirname, '..');
const library = join(root, 'native', 'build', 'libhakmem-record.so');
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-control-'));
const ladder = join(folder, 'ladder');
const allocates = join(folder, 'allocates');
const started: ChildProcess[] = [];

beforeAll(() => {
  for (const [program, source] of [
    [ladder, 'ladder.c'],
    [allocates, 'allocates.c'],
  ]) {
    const args = ['-O1', '-w', '-fno-builtin', '-pthread', '-o', program, source];
    const { status, stderr } = spawnSync('cc', args, { cwd: join(root, 'test', 'programs'), encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  }
});

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

afterAll(() => rmSync(folder, { recursive: true }));

function newFolder(): string {
  return mkdtempSync(join(folder, 'x-'));
}

function environment(raw: string, options: Record<string, string> = {}) {
  return { ...process.env, LD_PRELOAD: library, HAKMEM_RECORD_DIR: raw, ...options };
}

/** Runs a program with nothing but variables; the raw recording, what was said, and how it ended. */
function ranWith(options: Record<string, string>, args: readonly string[], program = ladder) {
  const raw = join(newFolder(), 'raw');
  const result = spawnSync(program, args, { env: environment(raw, options), encoding: 'utf8' });
  return { raw, ...result };
}

/** What the files of a raw recording hold, without the command: `sizes` of the blocks in the order of their allocation. */
function read(raw: string, is_ours = isOfLadder) {
  const [recorded] = readProcesses(raw);
  const recording = new Recording(recorded, null);
  const sizes: number[] = [];
  const live = new Set<number>();
  let events = 0;
  for (const chunk of recording.chunks()) {
    events += chunk.length;
    legally(chunk, live);
    for (let row = 0; row < chunk.length; row += 1)
      if (chunk.op[row] === op.malloc && is_ours(chunk.size_bytes[row])) sizes.push(chunk.size_bytes[row]);
  }
  return { sizes, events, notes: recording.origin('').notes, dropped: recording.origin('').dropped };
}

/** Throws where a block is freed that is not live. */
function legally(chunk: Chunk, live: Set<number>): void {
  for (let row = 0; row < chunk.length; row += 1) {
    const object = chunk.object[row];
    const was_live = chunk.op[row] === op.free ? live.delete(object) : live.has(object);
    if (was_live !== (chunk.op[row] === op.free || chunk.op[row] === op.realloc)) throw new Error(`illegal row ${row}`);
    if (chunk.op[row] < op.realloc) live.add(object);
  }
}

/** Those of ladder.c: stdio and the loader ask for others. */
function isOfLadder(size_bytes: number): boolean {
  return size_bytes >= 1000 && size_bytes < 1000 + steps * threads_max;
}

/** Mirror of ladder.c. */
const steps = 10000;
const threads_max = 8;
const size_of = (thread: number, at: number) => 1000 + (at % steps) * threads_max + thread;
const sizesOf = (thread: number, first: number, end: number) =>
  Array.from({ length: end - first }, (_, at) => size_of(thread, first + at));
const ofThread = (sizes: readonly number[], thread: number) =>
  sizes.filter((size_bytes) => (size_bytes - 1000) % threads_max === thread);

/** Counts of blocks by size. */
function counts(sizes: readonly number[]): Record<number, number> {
  const found: Record<number, number> = {};
  for (const size_bytes of sizes) found[size_bytes] = (found[size_bytes] ?? 0) + 1;
  return found;
}

function rawBytes(raw: string): number {
  const names = readdirSync(raw, { recursive: true, encoding: 'utf8' });
  return names.reduce((sum, name) => sum + statSync(join(raw, name)).size, 0);
}

/** Starts a program that goes on until it is killed, and waits until it has made 30,000 blocks. */
async function going(raw: string, threads: number, options: Record<string, string> = {}) {
  const progress = join(newFolder(), 'progress');
  const args = ['until-killed', String(threads), progress];
  const child = spawn(ladder, args, { env: environment(raw, options), stdio: ['ignore', 'pipe', 'inherit'] });
  started.push(child);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const progressOf = (thread: number) => {
    const bytes = readFileSync(progress);
    return [Number(bytes.readBigUInt64LE(thread * 16)), Number(bytes.readBigUInt64LE(thread * 16 + 8))] as const;
  };
  const killed = () =>
    new Promise((resolve) => {
      child.once('exit', resolve);
      child.kill('SIGKILL');
    });
  return { progressOf, killed };
}

describe('by environment variables alone', () => {
  test('a preloaded library and a folder are enough; --from-raw makes the trace, with time and named sites', () => {
    const { raw, status, stderr } = ranWith({}, ['climb', '2', '5000']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const place = newFolder();
    expect(run(place, ['record', '--from-raw', raw, '-o', 'x.hak'])).toMatchObject({
      status: 0,
      stdout: '',
      stderr: '',
    });
    const trace = open(join(place, 'x.hak'));
    expect(trace.origin.program).toBe('ladder');
    expect(trace.origin.notes).toEqual([]);
    expect(trace.origin.process!.exit).toBe(0);
    expect(trace.origin.sites.some(({ name }) => name?.startsWith('ladder+0x'))).toBe(true);
    const { sizes } = read(raw);
    for (const thread of [0, 1]) expect(ofThread(sizes, thread)).toEqual(sizesOf(thread, 0, 5000));
  });

  test.each([
    ['HAKMEM_RECORD_DIR', 'not/whole'],
    ['HAKMEM_RECORD_DIR', '/proc/none/here'],
    ['HAKMEM_RECORD_MIN_SIZE', 'large'],
    ['HAKMEM_RECORD_STACKS', '65'],
    ['HAKMEM_RECORD_TOUCH', 'yes'],
    ['HAKMEM_RECORD_AFTER', '3 days'],
    ['HAKMEM_RECORD_FOR', '99999999999999999999s'],
    ['HAKMEM_RECORD_SIGNAL', 'SIGKILL'],
    ['HAKMEM_RECORD_START_OFF', '1'],
    ['HAKMEM_RECORD_MAX_SIZE', '1000'],
    ['HAKMEM_RECORD_KEEP', '1MiBB'],
  ])('%s=%s is refused in one line, and the program runs on unrecorded', (name, value) => {
    const { raw, status, stderr } = ranWith({ [name]: value }, ['climb', '1', '10']);
    expect(status).toBe(0);
    expect(stderr).toMatch(new RegExp(`^hakmem: ${name}=${value}: wanted .*; nothing is recorded\n$`));
    expect(existsSync(raw) ? readdirSync(raw) : []).toEqual([]);
  });
});

describe('the command refuses in one line, before it runs anything,', () => {
  test.each([
    [['--after', '3days'], /--after/],
    [['--for', 'ever'], /--for/],
    [['--signal', 'SIGTERM'], /SIGUSR1/],
    [['--signal', 'SIGRTMIN+31'], /SIGRTMIN\+30/],
    [['--start-off'], /--signal/],
    [['--start-off', '--signal', 'USR1', '--after', '1s'], /--after/],
    [['--max-size', '1000'], /1MiB/],
    [['--keep', 'all'], /size/],
    [['--raw', '/proc/none'], /cannot hold the raw recording/],
    [['--raw', '/usr'], /not empty/],
    [['--from-raw', '/tmp', '--stacks', '2'], /--stacks/],
    [['--from-raw', '/tmp'], /runs no program/],
  ])('%j', (options, says) => {
    const place = newFolder();
    expect(refusedIn(place, ['record', ...options, '--', '/usr/bin/touch', join(place, 'mark')])).toMatch(says);
  });

  test('neither a program nor --from-raw', () => {
    expect(refusedIn(newFolder(), ['record'])).toMatch(/no program/);
  });
});

describe('a beginning and an end', () => {
  const began = () => String(process.hrtime.bigint());
  const around = (options: Record<string, string>) => {
    const { raw, stdout } = ranWith({ HAKMEM_RECORD_BEGAN_NS: began(), ...options }, ['around', '1000000000']);
    return { in_time: Number(stdout), ...read(raw) };
  };

  test('--for ends the recording, whether or not anything is flushed then', () => {
    const { in_time, sizes, notes } = around({ HAKMEM_RECORD_FOR: '1s' });
    const found = counts(sizes);
    expect(found[1200]).toBeUndefined();
    expect(found[1100] ?? 0).toBeGreaterThanOrEqual(in_time);
    expect(notes).toContainEqual(expect.stringMatching(/^Recording ended by its own limit of time/));
  });

  test('--after begins it, and frees of what is older are dropped and explained', () => {
    const { sizes, notes } = around({ HAKMEM_RECORD_AFTER: '1000ms' });
    expect(counts(sizes)).toEqual({ 1200: 100 });
    expect(notes).toContainEqual(expect.stringMatching(/^The trace begins in the middle, .*blocks from before/));
  });

  test('a time that does not come leaves a trace without events that says why', () => {
    const place = newFolder();
    const args = ['record', '-o', 'x.hak', '--after', '3000s', '--', ladder, 'climb', '1', '100'];
    expect(run(place, args).status).toBe(0);
    const { statistics, origin } = open(join(place, 'x.hak'));
    expect(statistics.events).toBe(0);
    expect(origin.notes).toContain('Recording was never switched on.');
  });

  test('each signal switches', () => {
    const { raw } = ranWith({ HAKMEM_RECORD_SIGNAL: 'SIGUSR1' }, ['signals']);
    const { sizes, notes } = read(raw);
    expect(counts(sizes)).toEqual({ 1100: 100, 1300: 300, 1500: 500 });
    expect(notes).toContainEqual(expect.stringMatching(/^Recording was switched 5 times by signal 10 /));
  });

  test('--start-off waits for the first of them', () => {
    const place = newFolder();
    const args = ['record', '-o', 'x.hak', '--raw', 'raw', '--signal', 'USR1', '--start-off', '--', ladder, 'signals'];
    expect(run(place, args)).toMatchObject({ status: 0, stdout: '', stderr: '' });
    expect(counts(read(join(place, 'raw')).sizes)).toEqual({ 1200: 200, 1400: 400 });
    expect(open(join(place, 'x.hak')).statistics.events).toBe(read(join(place, 'raw')).events);
  });

  test('a signal that the program takes for itself stays its own, and the trace says so', () => {
    const { raw, status } = ranWith({ HAKMEM_RECORD_SIGNAL: 'SIGUSR1' }, ['own-signal']);
    expect(status).toBe(0);
    const { sizes, notes } = read(raw);
    expect(counts(sizes)).toEqual({ 1100: 100, 1200: 100 });
    expect(notes).toContainEqual(expect.stringMatching(/^The program uses signal 10 itself/));
  });
});

describe('a size', () => {
  const mebibyte = 2 ** 20;
  /** The process's small files: two pages, its command line, its maps. */
  const small_files_bytes = 128 * 1024;

  test('--max-size ends the recording when it is reached, and what was written until then is whole', () => {
    const place = newFolder();
    const args = ['record', '-o', 'x.hak', '--raw', 'raw', '--max-size', '1MiB', '--', ladder, 'climb', '2', '60000'];
    const { status, stderr } = run(place, args);
    expect(status).toBe(0);
    expect(stderr).toMatch(/^hakmem: x.hak: Recording stopped when 1048576 bytes of records were written.*\n$/);
    const raw = join(place, 'raw');
    expect(rawBytes(raw)).toBeLessThanOrEqual(mebibyte + small_files_bytes);
    const { sizes } = read(raw);
    expect(sizes.length).toBeGreaterThan(20000);
    for (const thread of [0, 1]) {
      const own = ofThread(sizes, thread);
      expect(own).toEqual(sizesOf(thread, 0, own.length));
    }
  });

  test('--keep holds the newest records of all threads, from one moment on without a gap', () => {
    const count = 60000;
    const { raw } = ranWith({ HAKMEM_RECORD_KEEP: '1MiB' }, ['climb', '3', String(count)]);
    // The ring, and for each thread a buffer.
    expect(rawBytes(raw)).toBeLessThanOrEqual(mebibyte + 3 * 136 * 1024 + small_files_bytes);
    const { sizes, notes, dropped } = read(raw);
    expect(notes[0]).toMatch(
      /^The trace begins in the middle, .*: only the newest 1048576 bytes of records were kept\.$/,
    );
    expect(sizes.length).toBeGreaterThan(15000);
    expect(sizes.length).toBeLessThan(3 * count);
    // A thread may have been between the two halves of a pair when the trace begins.
    expect(dropped).toBeLessThanOrEqual(3);
    for (const thread of [0, 1, 2]) {
      const own = ofThread(sizes, thread);
      expect(own).toEqual(sizesOf(thread, count - own.length, count));
    }
  });

  test('--keep with more room than is needed keeps everything', () => {
    const { raw } = ranWith({ HAKMEM_RECORD_KEEP: '64MiB', HAKMEM_RECORD_STACKS: '2' }, ['climb', '2', '20000']);
    const { sizes, notes } = read(raw);
    expect(notes).toEqual([]);
    for (const thread of [0, 1]) expect(ofThread(sizes, thread)).toEqual(sizesOf(thread, 0, 20000));
  });

  test('a thousand threads, one after another, share a few files', () => {
    const { raw } = ranWith({}, ['short-threads', '1000'], allocates);
    const [recorded] = readdirSync(raw);
    expect(readdirSync(join(raw, recorded)).filter((name) => name.startsWith('stream.')).length).toBeLessThanOrEqual(3);
    expect(read(raw, (size) => size >= 5000 && size < 6000).sizes.length).toBe(1000);
  });
});

describe('a program that is killed or runs on', () => {
  test.each([
    ['all of it', {}],
    ['the newest part', { HAKMEM_RECORD_KEEP: '1MiB' }],
  ])('kill -9 of three busy threads loses at most one record of each: of %s', async (_part, options) => {
    const raw = join(newFolder(), 'raw');
    const { progressOf, killed } = await going(raw, 3, options);
    await killed();
    const { sizes, notes } = read(raw);
    expect(notes.filter((note) => /cannot be read|no header/.test(note))).toEqual([]);
    for (const thread of [0, 1, 2]) {
      const [begun, done] = progressOf(thread);
      const own = ofThread(sizes, thread);
      const first = 'HAKMEM_RECORD_KEEP' in options ? nearest(own[0], done - own.length) : 0;
      expect(own).toEqual(sizesOf(thread, first, first + own.length));
      expect(first + own.length).toBeGreaterThanOrEqual(done);
      expect(first + own.length).toBeLessThanOrEqual(begun);
    }
  });

  /** Of the calls that asked for this size, the one next to `at`. */
  function nearest(size_bytes: number, at: number): number {
    const step = Math.floor((size_bytes - 1000) / threads_max);
    return step + steps * Math.round((at - step) / steps);
  }

  test('--from-raw reads it while it runs: up to one moment in all threads, and more the next time', async () => {
    const raw = join(newFolder(), 'raw');
    await going(raw, 3);
    const lengths: number[] = [];
    for (const name of ['first.hak', 'second.hak']) {
      const place = newFolder();
      expect(run(place, ['record', '--from-raw', raw, '-o', name]).status).toBe(0);
      const { statistics, origin } = open(join(place, name));
      lengths.push(statistics.allocations);
      expect(origin.dropped).toBe(0);
      expect(origin.notes.filter((note) => /missing|cannot be read/.test(note))).toEqual([]);
      expect(origin.notes).toContainEqual(expect.stringMatching(/killed or ran on/));
      expect(statistics.unfreed).toBeLessThan(20);
    }
    expect(lengths[0]).toBeGreaterThanOrEqual(30000);
    expect(lengths[1]).toBeGreaterThan(lengths[0]);
  });
});

describe('files that were cut off or damaged', () => {
  const count = 20000;
  const whole = join(folder, 'whole');
  const ring = join(folder, 'ring');
  const header_bytes = 4096;
  const data_offset = header_bytes + 128 * 1024;

  beforeAll(() => {
    const args = ['climb', '2', String(count)];
    spawnSync(ladder, args, { env: environment(whole) });
    spawnSync(ladder, args, { env: environment(ring, { HAKMEM_RECORD_KEEP: '1MiB' }) });
    for (const raw of [whole, ring]) expect(read(raw).sizes.length).toBe(2 * count);
  });

  /** A copy of a raw recording of which the file `name` was changed. */
  function damaged(raw: string, name: string, change: (path: string) => void): string {
    const copy = join(newFolder(), 'raw');
    cpSync(raw, copy, { recursive: true });
    const [recorded] = readdirSync(copy);
    change(join(copy, recorded, name));
    return copy;
  }

  const bytesSaid = (notes: readonly string[]) =>
    Number(
      /^About (\d+) bytes of records cannot be read/.exec(
        notes
          .join('\n')
          .split('\n')
          .find((note) => note.startsWith('About')) ?? '',
      )?.[1] ?? 0,
    );

  test.each([0, 10, 24, 4095, 4096, 5000, 70000, 135168, 135169, 200000, -9, -1])(
    'the file of a stream cut at byte %i: the other thread is whole, of this one there is what was not cut, and how much is missing is said',
    (cut) => {
      let lost_bytes = 0;
      const raw = damaged(whole, 'stream.0', (path) => {
        const { size } = statSync(path);
        const end = cut < 0 ? size + cut : cut;
        lost_bytes = size - Math.max(end, header_bytes);
        truncateSync(path, end);
      });
      const { sizes, notes } = read(raw);
      expect(ofThread(sizes, 1)).toEqual(sizesOf(1, 0, count));
      const own = ofThread(sizes, 0);
      // The last record is of an allocation or of its free.
      expect(own.length).toBeLessThan(cut === -1 ? count + 1 : count);
      if (cut >= 0 && cut < 24) {
        expect(own).toEqual([]);
        expect(notes).toContainEqual(expect.stringMatching(/^1 files of streams are missing or have no header/));
        return;
      }
      // What was flushed comes first, what was in the buffer last.
      const begins = own.findIndex((size_bytes, at) => size_bytes !== size_of(0, at));
      const end = begins < 0 ? [] : own.slice(begins);
      expect(end).toEqual(cut > data_offset || cut < 0 ? sizesOf(0, count - end.length, count) : end);
      expect(bytesSaid(notes)).toBeGreaterThan(0);
      expect(Math.abs(bytesSaid(notes) - lost_bytes)).toBeLessThan(cut < data_offset && cut > 0 ? data_offset : 32);
    },
  );

  test('a file of a stream that is gone is missed', () => {
    const raw = damaged(whole, 'stream.1', (path) => rmSync(path));
    const { sizes, notes } = read(raw);
    expect(sizes).toEqual(sizesOf(0, 0, count));
    expect(notes).toContainEqual(expect.stringMatching(/^1 files of streams are missing/));
  });

  test.each([0, 7, 50, 95])('the file "control" cut at byte %i: every event is there, and the trace says so', (cut) => {
    const { sizes, notes } = read(damaged(whole, 'control', (path) => truncateSync(path, cut)));
    expect(sizes.length).toBe(2 * count);
    expect(notes).toContainEqual(expect.stringMatching(/^The file "control" is cut off/));
  });

  test('without the list of modules every event is there, and sites are addresses', () => {
    const { sizes, notes } = read(damaged(whole, 'maps', (path) => rmSync(path)));
    expect(sizes.length).toBe(2 * count);
    expect(notes).toContainEqual(expect.stringMatching(/^The list of modules is missing/));
  });

  test.each([0, 15, 16, 100000, 131088, 131089, 400000, -1])(
    'the ring cut at byte %i: what is left is in order, and how much is missing is said',
    (cut) => {
      let lost_bytes = 0;
      const raw = damaged(ring, 'ring', (path) => {
        const { size } = statSync(path);
        const end = cut < 0 ? size + cut : cut;
        lost_bytes = size - end;
        truncateSync(path, end);
      });
      const { sizes, notes } = read(raw);
      expect(sizes.length).toBeLessThan(2 * count);
      expect(sizes.length).toBeGreaterThan(0);
      expect(Math.abs(bytesSaid(notes) - lost_bytes)).toBeLessThan(2048);
    },
  );

  test('a byte that was changed anywhere is survived, and what follows is a legal trace', () => {
    let seed = 12345;
    const below = (end: number) => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * end);
    };
    for (let round = 0; round < 40; round += 1) {
      const name = ['stream.0', 'stream.1', 'control', 'ring', 'maps', 'cmdline'][round % 6];
      const raw = damaged(name === 'ring' ? ring : whole, name, (path) => {
        const bytes = readFileSync(path);
        const at = below(round % 4 === 0 ? Math.min(100, bytes.length) : bytes.length);
        bytes[at] ^= 1 + below(255);
        writeFileSync(path, bytes);
      });
      expect(read(raw).events).toBeLessThanOrEqual(5 * count);
    }
  });

  test('what is no raw recording is refused in one line', () => {
    const place = newFolder();
    const none = (name: string) => join(place, name);
    mkdirSync(none('empty'));
    mkdirSync(join(none('hollow'), '12.0'), { recursive: true });
    writeFileSync(none('file'), '');
    const cut = damaged(whole, 'process', (path) => truncateSync(path, 100));
    const other = damaged(whole, 'process', (path) => writeFileSync(path, Buffer.alloc(4096, 'HAKPROC2')));
    const [recorded] = readdirSync(whole);
    for (const raw of [none('missing'), none('empty'), none('hollow'), none('file'), cut, other, join(whole, recorded)])
      expect(refusedIn(place, ['record', '--from-raw', raw, '-o', 'x.hak'])).toMatch(/: no raw recording[;:] /);
  });

  test('a layout of another version is refused with both numbers', () => {
    const raw = damaged(whole, 'process', (path) => {
      const bytes = readFileSync(path);
      bytes.writeUInt32LE(7, 8);
      writeFileSync(path, bytes);
    });
    expect(refusedIn(newFolder(), ['record', '--from-raw', raw, '-o', 'x.hak'])).toMatch(/layout 7; .* layout 1/);
  });

  test('of several processes those are written that can be read, and the others are named', () => {
    const raw = damaged(whole, 'process', (path) => path);
    mkdirSync(join(raw, '12.0'));
    appendFileSync(join(raw, '12.0', 'process'), 'HAKPROC1');
    const place = newFolder();
    const { status, stderr } = run(place, ['record', '--from-raw', raw, '-o', 'x.hak']);
    expect(status).toBe(0);
    expect(stderr).toMatch(/^hakmem: .*12\.0: its file "process" is missing or damaged: nothing of this process .*\n$/);
    expect(open(join(place, 'x.hak')).statistics.allocations).toBeGreaterThanOrEqual(2 * count);
  });
});

test('where the launcher is killed, the raw recording stays, and is named', async () => {
  const place = newFolder();
  const args = [bin, 'record', '-o', 'x.hak', '--', ladder, 'until-killed', '1', join(place, 'progress')];
  const child = spawn(process.execPath, args, { cwd: place, stdio: ['ignore', 'pipe', 'pipe'] });
  started.push(child);
  let said = '';
  child.stderr.on('data', (text) => {
    said += text;
  });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const [launcher] = childrenOf(child.pid!).filter(
    (pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'hak-record\n',
  );
  const [program] = childrenOf(launcher);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  process.kill(launcher, 'SIGKILL');
  expect(await ended).toBe(1);
  process.kill(program, 'SIGKILL');
  const raw = /hakmem record --from-raw (\S+)/.exec(said)![1];
  expect(said).toMatch(/launcher was killed by SIGKILL/);
  expect(read(raw).sizes.length).toBeGreaterThan(30000);
  rmSync(raw, { recursive: true });
});

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
}
