/** The formats of other tools: what each line means, what real tools write, and that damage is refused in one line. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { strToU8 } from 'fflate';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { classBytes, classOf } from '../sim/peers/jemalloc/classes.ts';
import { importing, type Origin, op_names, open } from '../traces/index.ts';
import { malloc_bench } from '../traces/malloc-bench.ts';
import { bin } from './command-line.ts';
import { type Row, refusalOf, rowsOf, sourceOf } from './memory-file.ts';
import { bench_trace, interpreted, line, mtrace_text, raw, rep_text, zstd_frame } from './small-traces.ts';

interface Read {
  readonly rows: readonly Row[];
  readonly origin: Origin;
  /** "op block size" a row, which is what most tests are about. */
  readonly told: readonly string[];
  /** The name of each allocation's site. */
  readonly sites: readonly (string | null)[];
}

function read(content: string | Uint8Array, format?: string): Read {
  const bytes = typeof content === 'string' ? strToU8(content) : content;
  const foreign = importing(sourceOf(bytes, 'file'), format);
  return readingOf(rowsOf(foreign.chunks()), foreign.origin());
}

function readingOf(rows: readonly Row[], origin: Origin): Read {
  return {
    rows,
    origin,
    told: rows.map((row) => `${op_names[row.op]} ${row.block} ${row.size_bytes}`),
    sites: rows.filter(({ op }) => op_names[op] !== 'free').map(({ site }) => origin.sites[site]?.name ?? null),
  };
}

function refusal(content: string | Uint8Array, format?: string): string {
  return refusalOf(() => read(content, format));
}

describe('heaptrack', () => {
  test('raw: blocks by address, sites as module and offset, times by stamp', () => {
    const { told, sites, rows, origin } = read(raw);
    expect(told).toEqual([
      'malloc 0 100',
      'malloc 1 120',
      'free 0 0',
      'malloc 2 5000',
      'malloc 3 8',
      'malloc 4 9',
      'free 1 0',
    ]);
    expect(sites).toEqual([
      'calls+0x11db',
      'lib x+0x11',
      'libstdc++.so.6.0.1+0x11 < calls+0x11db',
      'calls+0x11db',
      null,
    ]);
    expect(rows.map(({ time_ns }) => time_ns)).toEqual([0, 1e7, 1e7, 1e7, 1e7, 1e7, 1e7]);
    expect(origin).toMatchObject({
      format: 'heaptrack',
      program: 'calls',
      has_time: true,
      has_sites: true,
      dropped: 1,
    });
    expect(origin.notes.join()).toMatch(/Threads are not recorded; .* every 10 ms/);
  });

  test('interpreted: a free gives back the newest of its kind; new is its caller; the note says so', () => {
    const { told, sites, origin } = read(interpreted);
    expect(told).toEqual([
      'malloc 0 100',
      'malloc 1 120',
      'malloc 2 120',
      'free 2 0',
      'malloc 3 16',
      'malloc 4 16',
      'free 0 0',
    ]);
    expect(sites).toEqual([
      'main (calls 0x61db)',
      'main (a b.cpp1:74)',
      'main (a b.cpp1:74)',
      'main (a b.cpp1:74)',
      'calls 0x80ed',
    ]);
    expect(origin).toMatchObject({ program: 'calls', dropped: 1 });
    expect(origin.notes.join()).toMatch(/the newest is taken/);
  });

  test('a command line of several lines is no damage', () => {
    const { told, origin } = read(raw.replace('X ./calls all', 'X ./calls all\n\ncreate\nt x(a);\nALTER x\n+ y'));
    expect(told).toHaveLength(7);
    expect(origin.notes.join()).not.toMatch(/attached/);
    expect(refusal(raw.replace('I 1000 5e2919', 'I 1000 5e2919\ncreate'))).toMatch(/^line 5: found "create"/);
  });

  test('files of before version 3, and of before kinds, are read too', () => {
    const lines = ['s /bin/calls', 's main', 'i 61db 1 2', 't 1 0'];
    expect(read(['v 10200', ...lines, 'a 64 1', '+ 0', '- 0'].join('\n')).told).toEqual(['malloc 0 100', 'free 0 0']);
    const oldest = read(['v 10000', ...lines, '+ 64 1 5000', '- 5000'].join('\n'));
    expect(oldest.told).toEqual(['malloc 0 100', 'free 0 0']);
    expect(oldest.sites).toEqual(['main (calls 0x61db)']);
  });

  test.each([
    ['+ 64 2 1000', 'of a stack that was not written'],
    ['+ 1', 'of a kind that was not written'],
    ['t 1 9', 'of a parent that was not written'],
    ['i 5 9', 'of a module that was not written'],
    ['s 5 four', 'with a length that is not its text'],
    ['+ 64 0 xyz', 'with a pointer that is no number'],
    ['- 1 2', 'with a field too many'],
    ['y 1', 'of no known kind'],
  ])('a line "%s", %s, is refused with its number', (line) => {
    expect(refusal(`v 10400 3\n${line}\n`)).toBe(
      `line 2: found "${line}"; wanted a line of heaptrack, such as "+ SIZE TRACE PTR", "+ KIND" or "t IP PARENT"`,
    );
  });

  test('files of a later version, and sizes beyond what there is, are refused', () => {
    expect(refusal('v 20000 4\n+ 1 0 5\n')).toMatch(/^line 1: version 4 of heaptrack's files; wanted 3 or less/);
    expect(refusal('v 10400 3\n+ 800000000000 0 5\n')).toMatch(/^line 2: a size of 140737488355328 bytes/);
  });
});

describe('packed files', () => {
  const whole = read(raw).told;

  test('gzip, of one member or of more, gives what the plain file gives', () => {
    expect(read(gzipSync(raw)).told).toEqual(whole);
    const parts = Buffer.concat([gzipSync(raw.slice(0, 99)), gzipSync(raw.slice(99))]);
    expect(read(parts).told).toEqual(whole);
  });

  test('zstd, of one frame or of more, gives what the plain file gives', () => {
    expect(read(zstd_frame).told).toEqual(['malloc 0 100']);
    const skipped = Uint8Array.from([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9]);
    expect(read(Buffer.concat([zstd_frame, skipped, zstd_frame])).told).toEqual([
      'malloc 0 100',
      'free 0 0',
      'malloc 1 100',
    ]);
  });

  test('either, cut anywhere, is refused', () => {
    for (const file of [gzipSync(raw), zstd_frame])
      for (let length = 4; length < file.length; length += 9) refusal(file.subarray(0, length), 'heaptrack');
  });

  test('gzip whose checksum does not match is refused, in a member in between too', () => {
    const changed = gzipSync(raw, { level: 0 });
    changed[changed.indexOf('1388')] ^= 1;
    expect(refusal(changed)).toMatch(/gzip checksum and length do not match/);
    expect(refusal(Buffer.concat([changed, gzipSync('\n')]))).toMatch(/gzip checksum and length do not match/);
  });

  test('a zstd window beyond 128 MiB, and a dictionary, are refused before they are allocated', () => {
    expect(refusal(Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 1, 0, 0]))).toMatch(
      /a zstd window of 1073741824 bytes/,
    );
    expect(refusal(Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 1, 0, 7, 1, 0, 0]))).toMatch(/needs a dictionary/);
  });
});

describe('valgrind', () => {
  const calls = (lines: string): readonly string[] =>
    read(`==7== Memcheck\n--7-- malloc(1) = 0x10\n${lines}`).told.slice(1);

  test('every call becomes its row, and what is no call is skipped', () => {
    const { told, rows, origin } = read(
      [
        '==7== Memcheck, a memory error detector',
        '--7-- REDIR: 0x4 (libc.so.6:strlen) redirected',
        '--7-- malloc(100) = 0x4A41040',
        '--7-- calloc(3,40) = 0x4A410F0',
        '--7-- realloc(0x4A41040,5000) = 0x4A411B0',
        '--7-- memalign(al 64, size 1000) = 0x4A425C0',
        '--7-- _Znwm(4) = 0x4DE5C80',
        '--7-- _ZnamSt11align_val_t(size 7, al 32) = 0x4DE5D00',
        '--7-- malloc_usable_size(0x4DE5C80) = 4',
        '--7-- _ZdlPvm(0x4DE5C80, 4)',
        '--7-- _ZdaPvSt11align_val_t(0x4DE5D00)',
        '--7-- free(0x4A410F0)',
        '--7-- free(0x0)',
        '==7== HEAP SUMMARY:',
      ].join('\n'),
    );
    expect(told).toEqual([
      'malloc 0 100',
      'calloc 1 120',
      'realloc 0 5000',
      'aligned 2 1000',
      'malloc 3 4',
      'aligned 4 7',
      'free 3 0',
      'free 4 0',
      'free 1 0',
    ]);
    expect([rows[3].align, rows[5].align]).toEqual([64, 32]);
    expect(origin).toMatchObject({ format: 'valgrind', has_time: false, has_sites: false });
    expect(origin.notes).toHaveLength(1);
  });

  test('a realloc of nothing is the malloc that serves it, one to nothing the free, a failed call none', () => {
    expect(calls('--7-- realloc(0x0,33)malloc(33) = 0x20')).toEqual(['malloc 1 33']);
    expect(calls('--7-- realloc(0x10,0)free(0x10)\n--7--  = 0')).toEqual(['free 0 0']);
    expect(calls('--7-- realloc(0x10,99) = 0x0\n--7-- malloc(99) = 0x0')).toEqual([]);
  });

  test('calls of other processes and lines of the program are left out, with a note', () => {
    const { told, origin } = read('--7-- malloc(1) = 0x10\nhello\n--8-- free(0x10)\n');
    expect(told).toEqual(['malloc 0 1']);
    expect(origin.notes.join()).toMatch(/1 calls of processes other than 7 .*1 lines are not valgrind's/);
  });

  test.each(['--7-- malloc(5', '--7-- malloc(x) = 0x20', '--7-- malloc(5) = 7', '--7-- free(0x20) 5'])(
    'a call "%s" is refused with its line',
    (line) => {
      expect(refusal(`--7-- malloc(1) = 0x10\n${line}\n`)).toBe(
        `line 2: found "${line}"; wanted "--PID-- malloc(SIZE) = 0xPTR" or calloc, realloc, memalign, free, _Znwm ... in its place`,
      );
    },
  );
});

describe('malloc-bench', () => {
  test('every call becomes its row; a free of nothing and a failed call are none', () => {
    const wanted = ['malloc 0 300', 'calloc 1 120', 'realloc 0 1000', 'free 0 0', 'aligned 2 8', 'malloc 3 1'];
    const { told, rows, origin } = read(bench_trace);
    expect(told).toEqual(wanted);
    expect(rows[4].align).toBe(64);
    expect(origin.format).toBe('malloc-bench');
    expect(read(gzipSync(bench_trace)).told).toEqual(wanted);
  });

  test('a message of any length is read a line at a time, whatever pieces it comes in', () => {
    const pair = [...line(1, [8, 5, 16, 8]), ...line(2, [8, 5])];
    const bytes = Uint8Array.from(Array.from({ length: 5000 }, () => pair).flat());
    for (const piece of [1000, 256 * 1024]) {
      const stream = {
        path: 'file',
        *pieces() {
          for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
        },
      };
      expect(rowsOf(malloc_bench.import(stream).chunks())).toHaveLength(10_000);
    }
  });

  test('what is cut, or has other fields, is refused with its place', () => {
    expect(refusal(bench_trace.subarray(0, 20))).toMatch(/^byte 20: a number that does not end/);
    expect(refusal(Uint8Array.from([...line(1, [8, 5]), 0x7a, 0]))).toMatch(
      /^byte 6: found tag 122; wanted 10, a line/,
    );
    expect(refusal(Uint8Array.from(line(1, [9, 5])))).toMatch(/^byte 4: found tag 9; wanted 8, 16 or 24/);
    expect(refusal(Uint8Array.from(line(1, [8, 5, 24, 3])))).toMatch(/an alignment of 3; wanted a power of two/);
  });
});

describe('mtrace', () => {
  test('every line becomes its row, a realloc one for its two; sites as module and offset', () => {
    const { told, sites, origin } = read(mtrace_text);
    expect(told).toEqual(['malloc 0 100', 'malloc 1 0', 'realloc 0 5000', 'malloc 2 8', 'free 1 0']);
    expect(sites).toEqual(['calls+0x11dc', 'a b.so+0x22ee', 'calls+0x11fe', null]);
    expect(origin).toMatchObject({ format: 'mtrace', has_sites: true, has_time: false, dropped: 1 });
  });

  test.each(['@ x:[0x1] > 0x20 0x5', '@ x:[0x1] + 20 5', '@ x:[0x1] * 0x20', '= Middle'])(
    'a line "%s" is refused with its number',
    (line) => {
      expect(refusal(`= Start\n${line}\n`)).toBe(
        `line 2: found "${line}"; wanted "@ FILE:[0xCALLER] + 0xPTR 0xSIZE" or -, <, >, ! in place of +`,
      );
    },
  );

  test('the two lines of a realloc stand together', () => {
    expect(refusal('= Start\n< 0x10\n- 0x20\n')).toMatch(/^line 3: found "- 0x20"/);
  });
});

describe('.rep', () => {
  test('every line after the four numbers becomes its row', () => {
    const { told, origin } = read(rep_text);
    expect(told).toEqual(['malloc 0 2040', 'malloc 1 8', 'realloc 0 5000', 'free 1 0', 'free 0 0', 'malloc 2 64']);
    expect(origin).toMatchObject({ format: 'rep', has_time: false, dropped: 0 });
  });

  test('other lines, and more operations than the third line says, are refused; fewer are noted', () => {
    expect(refusal('1\n1\n1\n1\na 0 5\nx 1\n')).toMatch(/^line 6: found "x 1"; wanted "a ID SIZE"/);
    expect(refusal('1\n1\n1\n1\na 0 5\nf 0\n')).toBe('line 6: the file has 2 operations; its third line says 1');
    expect(read('1\n1\n9\n1\na 0 5\n').origin.notes).toContain(
      '8 of the 9 operations that the third line names are missing.',
    );
  });
});

describe('damage', () => {
  test.each([
    ['heaptrack', 'v 10400 3\n+ 64 0 10\n', '+ 64 '],
    ['valgrind', '--7-- malloc(9) = 0x10\n', '--7-- malloc(5'],
    ['mtrace', '= Start\n@ ./a:[0x1] + 0x10 0x9\n', '@ ./a:[0x1] + 0x'],
    ['rep', '1\n1\n1\n1\na 0 5\n', 'a 1'],
    ['wee_alloc', 'Alloc(552),\n', 'Fre'],
    ['text', '1: malloc 0x10 100\n', '1: malloc 0x'],
  ])(
    '%s: a last line that is cut is left out, with a note; the same line in the middle is refused',
    (name, start, cut) => {
      const { rows, origin } = read(start + cut);
      expect(rows).toHaveLength(1);
      expect(origin.format).toBe(name);
      const number = start.split('\n').length;
      expect(origin.notes.join()).toContain(
        `The file ends in the middle of line ${number}: its ${cut.length} bytes are left out`,
      );
      expect(refusal(`${start}${cut}\n`)).toMatch(new RegExp(`^line ${number}: found`));
    },
  );
});

/** A tool without which a test says that it was skipped. */
function missing(tool: string): boolean {
  return spawnSync(tool, ['--version']).error !== undefined;
}

const programs = join(import.meta.dirname, 'programs');
const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-formats-'));
afterAll(() => rmSync(folder, { recursive: true }));

const sql = `create table t(a integer primary key, b text);
  with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) insert into t select i, hex(zeroblob(i % 50)) from n;
  create index x on t(b);
  select b, count(*) from t group by b order by 2 desc limit 5;`;

/** Programs that do the same every time. */
const recorded = {
  'every way to allocate': [join(folder, 'calls')],
  'sqlite3 (skipped where there is none)': ['sqlite3', '-batch', '-init', '/dev/null', ':memory:', sql],
};

describe.each(Object.entries(recorded))(
  'what tools write of %s, beside what our recorder writes of it',
  (_, program) => {
    let ours: Read;

    function run(command: string, args: readonly string[], environment: Record<string, string> = {}): void {
      const { status, stderr } = spawnSync(command, args, {
        cwd: folder,
        encoding: 'utf8',
        env: { ...process.env, ...environment },
      });
      if (status !== 0) throw new Error(`${command}: ${stderr}`);
    }
    const opened = (name: string): Read => {
      const trace = open(join(folder, name));
      return readingOf(rowsOf(trace.chunks()), trace.origin);
    };
    /** A realloc as a free and an allocation, and every allocation as malloc: all that a format keeps which tells no more. */
    const folded = ({ rows }: Read): string[] => {
      const live = new Map<number, number>();
      return rows.flatMap((row) => {
        const size = live.get(row.block);
        live.set(row.block, row.size_bytes);
        const free = size === undefined ? [] : [`free ${size}`];
        return op_names[row.op] === 'free' ? free : [...free, `malloc ${row.size_bytes}`];
      });
    };
    /** Other tools name a library as the program asks for it, we name its file. */
    const asAsked = (sites: readonly (string | null)[]): (string | undefined)[] =>
      sites.map((site) => site?.replace(/(\.so\.\d+)[.\d]+\+/, '$1+'));
    const is_there = program[0] !== 'sqlite3' || !missing('sqlite3');

    beforeAll(() => {
      if (!is_there) return;
      run('cc', ['-O1', '-w', '-fno-builtin', '-o', 'calls', join(programs, 'calls.c')]);
      run('cc', ['-O1', '-shared', '-fPIC', '-o', 'starts-mtrace.so', join(programs, 'starts-mtrace.c')]);
      run(process.execPath, [bin, 'record', '-o', 'ours.hak', '--', ...program]);
      ours = opened('ours.hak');
    });

    test.skipIf(!is_there || missing('heaptrack')).each([['--raw'], []])(
      'heaptrack %s (skipped where there is none): the same sizes in the same order, but for what its own library asks for',
      (...options) => {
        run('heaptrack', [...options, '-o', join(folder, `heaptrack${options}`), ...program]);
        const theirs = opened(options.length > 0 ? 'heaptrack--raw.raw.zst' : 'heaptrack.zst');
        // libstdc++, which heaptrack brings along, keeps 71 KiB for exceptions.
        const mine = folded(theirs).filter((line) => !line.endsWith(' 72704'));
        expect(mine).toEqual(folded(ours));
        if (options.length > 0) expect(new Set(theirs.sites.slice(1))).toEqual(new Set(asAsked(ours.sites)));
      },
    );

    test.skipIf(!is_there || missing('valgrind'))(
      'valgrind (skipped where there is none): the same calls, sizes and alignments in the same order',
      () => {
        run('valgrind', ['--trace-malloc=yes', '--run-libc-freeres=no', '--log-file=valgrind', ...program]);
        const theirs = opened('valgrind');
        expect(theirs.told).toEqual(ours.told);
        expect(theirs.rows.map(({ align }) => align)).toEqual(ours.rows.map(({ align }) => align));
      },
    );

    test.skipIf(!is_there)('mtrace: the same sizes and sites in the same order, calloc and aligned as malloc', () => {
      const library = `libc_malloc_debug.so.0 ${join(folder, 'starts-mtrace.so')}`;
      run(program[0], program.slice(1), { LD_PRELOAD: library, MALLOC_TRACE: join(folder, 'mtrace') });
      const theirs = opened('mtrace');
      const { length } = ours.told;
      expect(theirs.told.slice(0, length)).toEqual(
        ours.told.map((line) => line.replace(/^(?:calloc|aligned)/, 'malloc')),
      );
      expect(theirs.sites).toEqual(asAsked(ours.sites));
      // At the end of the program mtrace lets libc give back what it keeps to itself.
      expect(theirs.told.slice(length).filter((line) => !line.startsWith('free'))).toEqual([]);
    });

    const profiles = { LD_PRELOAD: 'libjemalloc.so.2', MALLOC_CONF: 'prof:true' };
    const { stderr: complaint } = spawnSync('true', { encoding: 'utf8', env: { ...process.env, ...profiles } });

    test.skipIf(!is_there || complaint !== '')(
      "jemalloc's log (skipped without one that was built to profile): the freed blocks in the same order, in its classes",
      () => {
        const settings = 'prof_log:true,lg_prof_sample:0,prof_time_resolution:high,prof_prefix:jemalloc';
        run(program[0], program.slice(1), { ...profiles, MALLOC_CONF: `${profiles.MALLOC_CONF},${settings}` });
        const name = readdirSync(folder).find((file) => file.startsWith('jemalloc')) ?? 'no log';
        const theirs = opened(name);
        rmSync(join(folder, name));
        expect(theirs.rows.map(({ op, size_bytes }) => `${op_names[op]} ${size_bytes}`)).toEqual(freedInClasses(ours));
      },
    );
  },
);

/** The blocks that are freed, with the sizes that jemalloc gives them; a realloc is an allocation and then a free. */
function freedInClasses({ rows }: Read): string[] {
  const told: string[] = [];
  const made_at = new Map<number, number>();
  for (const { op, block, size_bytes } of rows) {
    const before = made_at.get(block);
    if (op_names[op] !== 'free') {
      made_at.set(block, told.length);
      told.push(`malloc ${classBytes(classOf(Math.max(1, size_bytes)))}`);
    } else made_at.delete(block);
    if (before !== undefined) told.push('free 0');
  }
  const never_freed = new Set(made_at.values());
  return told.filter((_, at) => !never_freed.has(at));
}
