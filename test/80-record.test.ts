/** The recorder, on programs whose calls are known, and on one that another tool counts too. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { open } from '../traces/index.ts';
import { Recording, readProcesses } from '../traces/recording.ts';
import { record_kind } from '../traces/recording-streams.ts';
import { limits, op, op_names, type Trace } from '../traces/trace.ts';

const root = new URL('..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-record-'));
const program = join(folder, 'allocates');

interface Row {
  readonly kind: number;
  readonly thread: number;
  readonly object: number;
  readonly size_bytes: number;
  readonly align: number;
  readonly site: string | null;
  readonly time_ns: number;
  readonly touched_pages: number;
}

beforeAll(() => {
  compile('cc', ['-pthread', '-o', program, 'allocates.c', '-ldl']);
  compile('cc', ['-shared', '-fPIC', '-o', join(folder, 'libplugin.so'), 'plugin.c']);
  compile('c++', ['-std=c++17', '-o', join(folder, 'news'), 'news.cc']);
  compile('cc', ['-static', '-pthread', '-o', join(folder, 'static'), 'allocates.c']);
});

afterAll(() => rmSync(folder, { recursive: true }));

function compile(compiler: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(compiler, ['-O1', '-w', '-fno-builtin', ...args], {
    cwd: join(root, 'test', 'programs'),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
}

function hakmem(args: readonly string[], environment: Record<string, string> = {}) {
  return spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), ...args], {
    encoding: 'utf8',
    cwd: folder,
    env: { ...process.env, ...environment },
  });
}

/** Records the program in `mode` into a folder of its own and opens what came of it. */
function recorded(mode: readonly string[], options: readonly string[] = [], command = program) {
  const output = mkdtempSync(join(folder, 'out-'));
  const result = hakmem(['record', '-o', join(output, 'x.hak'), ...options, '--', command, ...mode]);
  const names = readdirSync(output).sort();
  const main = names.includes('x.hak') ? open(join(output, 'x.hak')) : undefined;
  const others = names.filter((name) => name !== 'x.hak').map((name) => open(join(output, name)));
  return { ...result, names, main: main!, others };
}

function rows(trace: Trace): Row[] {
  const all: Row[] = [];
  for (const chunk of trace.chunks())
    for (let row = 0; row < chunk.length; row += 1)
      all.push({
        kind: chunk.op[row],
        thread: chunk.thread[row],
        object: chunk.object[row],
        size_bytes: chunk.size_bytes[row],
        align: chunk.align[row],
        site: chunk.op[row] === op.free ? null : (trace.origin.sites[chunk.site[row]]?.name ?? null),
        time_ns: chunk.time_ns[row],
        touched_pages: chunk.touched_pages[row],
      });
  return all;
}

/** A raw recording made by hand: for each thread its events, as time in 4 ns, kind and address. */
function merged(
  threads: readonly (readonly (readonly [number, number, number])[])[],
  damage: (stream: Buffer, end: number) => Buffer = (stream) => stream,
) {
  const raw = join(mkdtempSync(join(folder, 'raw-')), '1.0');
  mkdirSync(raw);
  const header_bytes = 4096;
  const buffer_bytes = 4096;
  const recorded = Buffer.alloc(4096);
  recorded.write('HAKPROC1');
  for (const [word, value] of [1, 1, 0, 0, 2, 4096, header_bytes, buffer_bytes, 1, 0, 1].entries())
    recorded.writeUInt32LE(value, 8 + word * 4);
  writeFileSync(join(raw, 'process'), recorded);
  writeFileSync(join(raw, 'maps'), '400000-401000 r-xp 00000000 08:01 1 /by-hand\n');
  for (const [index, events] of threads.entries()) {
    const stream = Buffer.alloc(header_bytes + buffer_bytes);
    stream.write('HAKSTRM1');
    let at = header_bytes;
    const word = (value: bigint) => {
      at = stream.writeBigUInt64LE(value, at);
    };
    word((BigInt(index + 1) << 4n) | BigInt(record_kind.thread));
    for (const [time, kind, block] of events) {
      word((BigInt(time) << 4n) | BigInt(record_kind.time));
      word((BigInt(block) << 16n) | BigInt(kind));
      if (kind > record_kind.realloc) continue;
      word(100n);
      word(0x1234n);
    }
    writeFileSync(join(raw, `stream.${index}`), damage(stream, at));
  }
  const launch = { pid: 0, failure: '', status: 0, signal: 0, wall_ns: 0, user_ns: 0, sys_ns: 0, faults: 0 };
  const [only] = readProcesses(dirname(raw));
  const recording = new Recording(only, { ...launch, resident_peak_bytes: 0, tsc: 0, tsc_ns: 0 });
  const kinds: string[] = [];
  for (const chunk of recording.chunks())
    for (const kind of chunk.op.subarray(0, chunk.length)) kinds.push(op_names[kind]);
  return { kinds, origin: recording.origin('') };
}

const sized = (trace: Trace, low: number, high = low) =>
  rows(trace).filter(({ kind, size_bytes }) => kind !== op.free && size_bytes >= low && size_bytes <= high);

describe('what counts as an event', () => {
  test('each call is one row of its kind, with the size and the alignment that were asked for', () => {
    const { main, status, stderr } = recorded(['every-call']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { malloc, calloc, aligned, realloc, free } = op;
    expect(rows(main).map(({ kind, size_bytes, align }) => [kind, size_bytes, align])).toEqual([
      [malloc, 1001, 0],
      [realloc, 1002, 0],
      [realloc, 3000000, 0],
      [realloc, 1003, 0],
      [free, 0, 0],
      [malloc, 1004, 0],
      [free, 0, 0],
      [calloc, 1001, 0],
      [free, 0, 0],
      [aligned, 1024, 64],
      [free, 0, 0],
      [aligned, 1007, 4096],
      [free, 0, 0],
      [aligned, 1008, 4096],
      [free, 0, 0],
      [aligned, 1009, 256],
      [free, 0, 0],
      [malloc, 1010, 0],
      [realloc, 2020, 0],
      [free, 0, 0],
      [malloc, 1011, 0],
    ]);
    expect(main.origin.dropped).toBe(0);
    expect(main.statistics.unfreed).toBe(1);
  });

  test('time never decreases and stays within the wall time of the process', () => {
    const { main } = recorded(['threads', '2']);
    const times = rows(main).map(({ time_ns }) => time_ns);
    expect(times.every((time_ns, at) => at === 0 || time_ns >= times[at - 1])).toBe(true);
    expect(times.at(-1)).toBeLessThanOrEqual(main.origin.process!.wall_ns * 1.01);
    expect(times.at(-1)! - times[0]).toBeGreaterThan(1e6);
  });

  test('operator new is recorded with its own caller and size, and what it throws arrives', () => {
    const { main, status, stderr } = recorded([], [], join(folder, 'news'));
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const own = rows(main).filter(({ site }) => site?.startsWith('news+'));
    expect(own.length).toBe(50);
    expect(new Set(own.map(({ site }) => site)).size).toBe(5);
    expect(own.slice(0, 5).map(({ kind, size_bytes, align }) => [kind, size_bytes, align])).toEqual([
      [op.malloc, 4, 0],
      [op.malloc, 1234, 0],
      [op.aligned, 128, 64],
      [op.malloc, 777, 0],
      [op.malloc, 0, 0],
    ]);
  });

  test('allocations, frees and reallocs equal those that valgrind counts', (context) => {
    if (spawnSync('valgrind', ['--version']).status !== 0)
      context.skip('valgrind is not installed: apt-get install valgrind');
    const commands = [
      [program, 'every-call'],
      [join(folder, 'news'), 'without throwing'],
      ['/bin/ls', '-la', '/usr'],
      ['/usr/bin/sort', join(root, 'test', 'programs', 'allocates.c')],
      ['/bin/sed', '-n', 's/m\\([a-z]*\\)/\\1\\1/p', join(root, 'test', 'programs', 'allocates.c')],
    ];
    for (const [file, ...args] of commands) {
      const { main } = recorded(args, [], file);
      const { allocations, frees, reallocs } = main.statistics;
      expect({ allocations, frees, reallocs }).toEqual(countedByValgrind([file, ...args]));
    }
  });
});

/** Of the calls that valgrind prints: those that are events by our rules of counting. */
function countedByValgrind(command: readonly string[]) {
  const options = ['-q', '--trace-malloc=yes', '--run-libc-freeres=no', '--run-cxx-freeres=no'];
  const { stderr } = spawnSync('valgrind', [...options, ...command], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  const counts = { allocations: 0, frees: 0, reallocs: 0 };
  for (const [, name, list] of stderr.matchAll(/\b(malloc|calloc|realloc|memalign|free|_Z\w+)\(([^()]*)\)/g)) {
    const args = list.split(',').map((argument) => Number(argument.replace(/[a-z ]+(?=\d)(?!\d*x)/, '')));
    // Calls that cannot succeed; and reallocs that valgrind goes on to print as the malloc or free that they are.
    if (args.some((argument) => argument >= 2 ** 46) || (name === 'realloc' && args.includes(0))) continue;
    if (name === 'free' || name.startsWith('_Zd')) counts.frees += args[0] === 0 ? 0 : 1;
    else if (name === 'realloc') counts.reallocs += 1;
    else counts.allocations += 1;
  }
  return counts;
}

describe('threads', () => {
  test("a storm of threads that free one another's blocks becomes a legal order that loses and doubles nothing", () => {
    const { main, stderr } = recorded(['threads', '8']);
    expect(stderr).toBe('');
    expect(main.origin.dropped).toBe(0);
    expect(main.origin.notes.filter((note) => note.includes('missing'))).toEqual([]);
    const live = new Set<number>();
    const counts = { malloc: 0, realloc: 0, illegal: 0 };
    for (const { kind, object, size_bytes } of rows(main)) {
      const was_live = live.has(object);
      if (was_live !== (kind === op.free || kind === op.realloc)) counts.illegal += 1;
      if (kind === op.free) live.delete(object);
      else live.add(object);
      if (kind === op.realloc) counts.realloc += 1;
      if (kind === op.malloc && size_bytes < 216) counts.malloc += 1;
    }
    expect(counts.illegal).toBe(0);
    expect(counts.malloc).toBe(8 * 30000);
    expect(counts.realloc).toBeGreaterThan(8 * 30000 * 0.15);
    // What is left belongs to the threads themselves: glibc keeps their control blocks.
    expect(live.size).toBeLessThanOrEqual(8);
    expect(main.statistics.threads).toBe(9);
  });

  test('on a machine without a steady processor counter, the monotonic clock gives the same counts and a legal order', () => {
    const raw = mkdtempSync(join(folder, 'raw-'));
    const { status } = spawnSync(
      join(root, 'native', 'build', 'hak-record'),
      [join(raw, 'report'), program, 'threads', '4'],
      {
        env: {
          ...process.env,
          HAKMEM_RECORD_PRELOAD: join(root, 'native', 'build', 'libhakmem-record.so'),
          HAKMEM_RECORD_DIR: raw,
          HAKMEM_RECORD_CLOCK: 'monotonic',
        },
      },
    );
    expect(status).toBe(0);
    const launch = JSON.parse(readFileSync(join(raw, 'report'), 'utf8'));
    const [main] = readProcesses(raw);
    const recording = new Recording(main, launch);
    const live = new Set<number>();
    let allocations = 0;
    let last_time_ns = 0;
    for (const chunk of recording.chunks())
      for (let row = 0; row < chunk.length; row += 1) {
        if (chunk.op[row] === op.free && !live.delete(chunk.object[row])) throw new Error(`row ${row} frees nothing`);
        if (chunk.op[row] < op.realloc) {
          live.add(chunk.object[row]);
          if (chunk.op[row] === op.malloc && chunk.size_bytes[row] < 216) allocations += 1;
        }
        last_time_ns = chunk.time_ns[row];
      }
    expect(allocations).toBe(4 * 30000);
    const { dropped, process: spent } = recording.origin('');
    expect(dropped).toBe(0);
    expect(last_time_ns).toBeGreaterThan(spent!.wall_ns * 0.5);
    expect(last_time_ns).toBeLessThanOrEqual(spent!.wall_ns * 1.01);
  });

  describe('two threads whose clocks came out the wrong way round', () => {
    const { malloc, realloc, free } = record_kind;
    const move = record_kind.move;
    const a = 0x7f0000001000;
    const b = 0x7f0000002000;

    test('a free that stands before its allocation follows it', () => {
      const { kinds, origin } = merged([[[5, malloc, a]], [[5, free, a]]]);
      expect(kinds).toEqual(['malloc', 'free']);
      expect(origin.dropped).toBe(0);
      expect(origin.notes[0]).toMatch(/^1 pairs of events/);
    });

    test('an allocation that stands before the free of its address follows it', () => {
      const { kinds, origin } = merged([
        [
          [1, malloc, a],
          [9, free, a],
        ],
        [
          [8, malloc, a],
          [20, free, a],
        ],
      ]);
      expect(kinds).toEqual(['malloc', 'free', 'malloc', 'free']);
      expect(origin.dropped).toBe(0);
      expect(origin.notes[0]).toMatch(/^1 pairs of events/);
    });

    test('a realloc that stands before the allocation of its block is one all the same', () => {
      const { kinds, origin } = merged([
        [[5, malloc, a]],
        [
          [5, move, a],
          [7, realloc, b],
          [9, free, b],
        ],
      ]);
      expect(kinds).toEqual(['malloc', 'realloc', 'free']);
      expect(origin.notes[0]).toMatch(/^1 pairs of events/);
    });

    test('an address that one thread is moving away from may be given out to another meanwhile', () => {
      const { kinds, origin } = merged([
        [
          [1, malloc, a],
          [5, move, a],
          [50, realloc, b],
          [60, free, b],
        ],
        [
          [20, malloc, a],
          [70, free, a],
        ],
      ]);
      expect(kinds).toEqual(['malloc', 'malloc', 'realloc', 'free', 'free']);
      expect(origin.notes).toEqual([]);
    });

    test('apart by more than a clock can err, a free is dropped and a missing one inserted, and both are said', () => {
      const late = 100_000;
      const { kinds, origin } = merged([
        [
          [1, free, b],
          [2, malloc, a],
          [late, free, a],
        ],
        [
          [3, malloc, a],
          [late, malloc, b],
        ],
      ]);
      expect(kinds).toEqual(['malloc', 'free', 'malloc', 'free', 'malloc']);
      expect(origin.dropped).toBe(1);
      expect(origin.notes).toEqual([
        '1 frees of blocks that were never seen allocated were dropped.',
        '1 frees were missing and inserted before their address was given out again.',
      ]);
    });
  });

  test('a thousand threads, one after another, have a thousand numbers', () => {
    const { main } = recorded(['short-threads', '1000']);
    const own = sized(main, 5000, 5999);
    expect(own.map(({ size_bytes }) => size_bytes)).toEqual(Array.from({ length: 1000 }, (_, at) => 5000 + at));
    expect(new Set(own.map(({ thread }) => thread)).size).toBe(1000);
  });
});

describe('processes', () => {
  test('a forked child has a trace of its own; frees of inherited blocks are dropped and counted there', () => {
    const { main, others, names, status, stderr } = recorded(['fork']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(names.length).toBe(2);
    expect(names.find((name) => /^x\.\d+\.hak$/.test(name))).toBeDefined();
    expect(sized(main, 2001, 2003).length).toBe(3);
    expect(main.origin.dropped).toBe(0);
    const [child] = others;
    expect(sized(child, 2000, 2999).map(({ size_bytes }) => size_bytes)).toEqual([
      2100, 2101, 2102, 2103, 2104, 2105, 2106,
    ]);
    expect(child.origin.dropped).toBe(3);
    expect(child.origin.process!.exit).toBe(9);
  });

  describe('a death in the midst of a flush loses nothing and doubles nothing', () => {
    const events = [1, 2, 3].flatMap((number) => [
      [number * 10, record_kind.malloc, 0x7f0000000000 + number * 4096] as const,
      [number * 10 + 5, record_kind.free, 0x7f0000000000 + number * 4096] as const,
    ]);
    const buffer_offset = 4096;

    test.each([
      ['before the write', 0, 0, 0],
      ['half-way through the write', 0.5, 0, 0],
      ['after the write', 1, 0, 0],
      ['half-way through the clearing of the buffer', 1, 0.5, 0],
      ['after the clearing', 1, 1, 0],
      ['when only its mark was left', 1, 1, 1],
    ])('%s', (_when, written_share, cleared_share, counted_share) => {
      const { kinds, origin } = merged([events], (stream, end) => {
        const bytes = end - buffer_offset;
        const pending = stream.subarray(buffer_offset, end);
        const words = (share: number) => Math.floor((bytes * share) / 8) * 8;
        const file = Buffer.concat([stream, pending.subarray(0, words(written_share))]);
        file.writeBigUInt64LE(BigInt(bytes * counted_share), 8);
        file.writeBigUInt64LE(BigInt(bytes), 16);
        file.fill(0, buffer_offset, buffer_offset + words(cleared_share));
        return file;
      });
      expect(kinds).toEqual(['malloc', 'free', 'malloc', 'free', 'malloc', 'free']);
      expect(origin.notes).toEqual([]);
    });
  });

  test('a fork that runs no handlers keeps the two apart as well', () => {
    const { main, others } = recorded(['raw-fork']);
    expect(sized(main, 2000, 2999).map(({ size_bytes }) => size_bytes)).toEqual([2001, 2002]);
    expect(sized(others[0], 2000, 2999).map(({ size_bytes }) => size_bytes)).toEqual([2200, 2200, 2200, 2200, 2200]);
  });

  test('a program that becomes another by exec leaves two traces; the last one has the name that was asked for', () => {
    const { main, others, names } = recorded(['exec']);
    expect(names.length).toBe(2);
    expect(sized(main, 1001).length).toBe(2);
    expect(sized(others[0], 2222).length).toBe(1);
  });

  test('children of a shell are recorded too', () => {
    const { others } = recorded(['-c', `${program} every-call; ${program} exit 0; true`], [], '/bin/sh');
    expect(others.filter((trace) => sized(trace, 1001).length === 2).length).toBe(1);
  });

  test.each([
    ['SIGKILL', 9],
    ['SIGSEGV', 11],
    ['SIGTERM', 15],
  ])('everything before a death by %s is there', (_name, number) => {
    const { main, status, stderr } = recorded(['kill', String(number)]);
    expect(status).toBe(0);
    expect(stderr).toContain(`killed by signal ${number}`);
    expect(sized(main, 3000, 3002).length).toBe(50000);
    expect(sized(main, 4000).length).toBe(1000);
    expect(main.origin.process!.exit).toBe(`signal ${number}`);
    expect(main.origin.process!.wall_ns).toBeGreaterThan(0);
    expect(sized(main, 4000)[0].site).toMatch(/^allocates\+0x/);
  });

  test('killed at any moment, eight threads leave a trace that can be read', () => {
    for (const seconds of [0.01, 0.02, 0.03, 0.04]) {
      const { others } = recorded(['-s', 'KILL', String(seconds), program, 'threads', '8'], [], '/usr/bin/timeout');
      for (const trace of others) {
        expect(rows(trace).length).toBe(trace.statistics.events);
        expect(trace.origin.dropped).toBe(0);
        expect(trace.origin.notes.filter((note) => note.includes('midst'))).toEqual([]);
      }
    }
  });

  test('a status other than 0 is said and kept, and the recording is good all the same', () => {
    const { main, status, stderr } = recorded(['exit', '3']);
    expect(status).toBe(0);
    expect(stderr).toBe(`hakmem: ${program} exited with status 3\n`);
    expect(main.origin.process).toMatchObject({ exit: 3 });
  });

  test('a program that closes every descriptor is recorded to its end', () => {
    const { main } = recorded(['close']);
    expect(sized(main, 8000).length).toBe(100000);
  });

  test('errno is what it was before the call', () => {
    expect(recorded(['errno']).stderr).toBe('');
  });

  test('signals that arrive in the midst of calls lose nothing', () => {
    const { main, stderr } = recorded(['signals']);
    expect(stderr).toBe('');
    expect(sized(main, 9000).length).toBe(500000);
  });

  test('SIGINT and SIGTERM end the program at whatever moment they come, and the trace is written', async () => {
    const endedBy = async (signal: NodeJS.Signals) => {
      const path = join(mkdtempSync(join(folder, 'out-')), 'x.hak');
      const args = [join(root, 'bin', 'hakmem.js'), 'record', '-o', path, '--', program, 'wait'];
      const child = spawn(process.execPath, args, { cwd: folder });
      await new Promise((resolve) => child.stdout.once('data', resolve));
      child.kill(signal);
      const code = await new Promise((resolve) => child.once('exit', resolve));
      const trace = open(path);
      return { code, exit: trace.origin.process!.exit, blocks: sized(trace, 2345).length };
    };
    for (let round = 0; round < 8; round += 1)
      expect(await Promise.all([endedBy('SIGINT'), endedBy('SIGTERM')])).toEqual([
        { code: 0, exit: 'signal 2', blocks: 1 },
        { code: 0, exit: 'signal 15', blocks: 1 },
      ]);
  });
});

describe('call sites', () => {
  test('a library that was loaded later is named, and the same call has the same site in another run', () => {
    const first = recorded(['plugin', join(folder, 'libplugin.so')]).main;
    const second = recorded(['plugin', join(folder, 'libplugin.so')]).main;
    const [row] = sized(first, 6000);
    expect(row.site).toMatch(/^libplugin\.so\+0x[0-9a-f]+$/);
    expect(sized(first, 6000).length).toBe(10);
    const hashes = (trace: Trace) => trace.origin.sites.map(({ hash }) => hash).sort();
    expect(hashes(second)).toEqual(hashes(first));
  });

  test('a library that was loaded half a second before a death by SIGKILL is named too', () => {
    const { main } = recorded(['plugin-kill', join(folder, 'libplugin.so')]);
    expect(sized(main, 6000)[0].site).toMatch(/^libplugin\.so\+0x[0-9a-f]+$/);
  });

  test('one frame cannot tell two callers of a wrapper apart, two frames can', () => {
    const shallow = recorded(['stacks']).main;
    const deep = recorded(['stacks'], ['--stacks', '2']).main;
    const site = (trace: Trace, size_bytes: number) => sized(trace, size_bytes)[0].site;
    expect(site(shallow, 7001)).toBe(site(shallow, 7002));
    expect(site(deep, 7001)).not.toBe(site(deep, 7002));
    expect(site(deep, 7001)).toMatch(/^allocates\+0x[0-9a-f]+ < allocates\+0x[0-9a-f]+$/);
    expect(sized(deep, 7001, 7002).length).toBe(10);
  });
});

describe('--min-size and --touch', () => {
  test('blocks below --min-size, and their frees, leave no row', () => {
    const { main, stderr } = recorded(['every-call'], ['--min-size', '1005']);
    expect(stderr).toBe('');
    expect(main.origin.dropped).toBe(0);
    const { malloc, aligned, realloc, free } = op;
    expect(rows(main).map(({ kind, size_bytes }) => [kind, size_bytes])).toEqual([
      [malloc, 3000000],
      [free, 0],
      [aligned, 1024],
      [free, 0],
      [aligned, 1007],
      [free, 0],
      [aligned, 1008],
      [free, 0],
      [aligned, 1009],
      [free, 0],
      [malloc, 1010],
      [realloc, 2020],
      [free, 0],
      [malloc, 1011],
    ]);
  });

  test('the pages that a program touches of its large blocks are counted exactly, those of others not at all', () => {
    const { main } = recorded(['touch'], ['--touch']);
    expect(
      sized(main, 90000, 4_000_000).map(({ kind, size_bytes, touched_pages }) => [kind, size_bytes, touched_pages]),
    ).toEqual([
      [op.malloc, 300 * 4096, 37],
      [op.realloc, 600 * 4096, 137],
      [op.calloc, 200 * 4096, 1],
      [op.malloc, 1000000, 245],
      [op.malloc, 100000, limits.unknown],
      // Never freed: looked at when the program ends.
      [op.malloc, 250 * 4096, 3],
    ]);
    expect(main.origin.notes.some((note) => note.includes('mmap threshold'))).toBe(true);
    expect(main.statistics.large_blocks_touched).toBe(5);
  });

  test('a large block cut from used heap begins untouched, and keeps what a realloc keeps', () => {
    const { main, stderr } = recorded(['touch-heap'], ['--touch']);
    expect(stderr).toBe('');
    const pages = sized(main, 400 * 4096, 600 * 4096).map(({ touched_pages }) => touched_pages);
    expect(pages.length).toBe(3);
    // The block's first and last page are shared with its neighbours in the heap.
    expect(pages[0]).toBeGreaterThanOrEqual(50);
    expect(pages[0]).toBeLessThanOrEqual(52);
    expect(pages[1]).toBe(500);
    expect(pages[2]).toBeGreaterThanOrEqual(25);
    expect(pages[2]).toBeLessThanOrEqual(28);
  });

  test('without --touch no count is known', () => {
    const { main } = recorded(['touch']);
    expect(rows(main).every(({ touched_pages }) => touched_pages === limits.unknown)).toBe(true);
  });
});

describe('the command', () => {
  test('a static program is refused in one line, with exit code 1 and no trace', () => {
    const { status, stderr, stdout, names } = recorded(['every-call'], [], join(folder, 'static'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/^hakmem: .*static: statically linked: .*\n$/);
    expect({ stdout, names }).toEqual({ stdout: '', names: [] });
  });

  test.skipIf(process.getuid?.() !== 0)('so is a setuid one (skipped where nobody may make one)', () => {
    const file = join(folder, 'setuid');
    copyFileSync(program, file);
    chownSync(file, 65534, 65534);
    chmodSync(file, 0o4755);
    const { status, stderr, stdout, names } = recorded(['every-call'], [], file);
    expect(status).toBe(1);
    expect(stderr).toBe(
      `hakmem: ${file}: setuid or setgid: the loader ignores LD_PRELOAD, so the recorder cannot be preloaded into it\n`,
    );
    expect({ stdout, names }).toEqual({ stdout: '', names: [] });
  });

  test('a program that is not there, or cannot be run, is bad usage', () => {
    writeFileSync(join(folder, 'plain.txt'), 'not a program');
    for (const name of ['no-such-program-anywhere', join(folder, 'plain.txt'), join(folder, 'missing')]) {
      const { status, stderr, names } = recorded([], [], name);
      expect(status).toBe(2);
      expect(stderr).toMatch(/^hakmem: .*\n$/);
      expect(names).toEqual([]);
    }
  });

  test('a program that becomes one without the recorder says that the rest is missing', () => {
    const { status, stderr, main } = recorded(['-i', program, 'every-call'], [], '/usr/bin/env');
    expect(status).toBe(0);
    expect(stderr).toMatch(/^hakmem: .*x\.hak: The process became a program that could not be recorded.*\n$/);
    expect(sized(main, 1001)).toEqual([]);
  });

  test('where no trace can be written, the program does not run', () => {
    const mark = join(folder, 'mark');
    for (const output of [join(folder, 'no-such-folder', 'x.hak'), folder]) {
      const { status, stderr } = hakmem(['record', '-o', output, '--', '/usr/bin/touch', mark]);
      expect(status).toBe(2);
      expect(stderr).toMatch(/^hakmem: .*cannot be written.*\n$/);
      expect(existsSync(mark)).toBe(false);
    }
  });

  test("stdin, stdout and stderr are the program's", () => {
    const args = ['record', '-o', join(folder, 'cat.hak'), '--', '/bin/sh', '-c', 'cat; echo words >&2'];
    const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), ...args], {
      input: 'some input\n',
      encoding: 'utf8',
    });
    expect({ stdout, stderr }).toEqual({ stdout: 'some input\n', stderr: 'words\n' });
  });

  test('--json lists each written trace with its counts, and nothing else is on stdout', () => {
    const output = mkdtempSync(join(folder, 'out-'));
    const args = [
      'record',
      '--json',
      '-o',
      join(output, 'x.hak'),
      '--',
      '/bin/sh',
      '-c',
      `echo hello; ${program} fork`,
    ];
    const { stdout, stderr } = hakmem(args);
    expect(stderr).toBe('hello\n');
    const { written, exit } = JSON.parse(stdout);
    expect(exit).toBe(0);
    expect(written.map(({ path }: { path: string }) => path).sort()).toEqual(
      readdirSync(output)
        .sort()
        .map((name) => join(output, name)),
    );
    expect(written.filter(({ is_main }: { is_main: boolean }) => is_main).length).toBe(1);
    for (const { path, events, bytes } of written) {
      expect(open(path).statistics.events).toBe(events);
      expect(readFileSync(path).length).toBe(bytes);
    }
  });

  test('no temporary file is left, whatever the program did', () => {
    const temporary = mkdtempSync(join(folder, 'tmp-'));
    mkdirSync(join(folder, 'traces'));
    for (const mode of [['fork'], ['kill', '9'], ['exit', '1']])
      hakmem(['record', '-o', join(folder, 'traces', 'x.hak'), '--', program, ...mode], { TMPDIR: temporary });
    expect(readdirSync(temporary)).toEqual([]);
    expect(readdirSync(join(folder, 'traces')).filter((name) => !name.endsWith('.hak'))).toEqual([]);
  });

  test('without -o the trace is named after the program and its process', () => {
    const output = mkdtempSync(join(folder, 'out-'));
    spawnSync(process.execPath, [join(root, 'bin', 'hakmem.js'), 'record', '--', program, 'every-call'], {
      cwd: output,
    });
    expect(readdirSync(output)).toEqual([expect.stringMatching(/^allocates-\d+\.hak$/)]);
  });
});
