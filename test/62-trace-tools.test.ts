/** Tools on recordings: what they say is what the events are, and what they write is legal and whole. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDuckdb } from '../experiments/sweep/duckdb.ts';
import { allowed, parseBudgets, slack } from '../experiments/trace-diff/budget.ts';
import { matchUses } from '../experiments/trace-diff/match.ts';
import type { Use } from '../experiments/trace-diff/uses.ts';
import { type Chunk, op, open, type Trace } from '../traces/index.ts';
import { type Ran, refusedIn, run } from './command-line.ts';
import { type Row, rowsOf } from './memory-file.ts';

const database = await openDuckdb();
const duckdb = database !== null;
database?.close();

const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'hakmem-tools-'));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hakmem = (...args: string[]): Ran => run(folder, args);

/** Runs what must hold, or fail with `status`: not a word on stderr. */
function ran(status: number, ...args: string[]): string {
  const result = hakmem(...args);
  expect({ status: result.status, stderr: result.stderr }).toEqual({ status, stderr: '' });
  return result.stdout;
}

const refused = (...args: string[]): string => refusedIn(folder, args);

const sample = (name: string): string => join(root, 'traces', 'samples', `${name}.hak`);

describe('gate', () => {
  const runs = 8;

  function compile(name: string, ...flags: string[]): void {
    const source = join(root, 'test', 'programs', 'grows.c');
    const { stderr } = spawnSync('cc', ['-O1', '-w', '-fno-builtin', ...flags, '-o', at(name), source], {
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
  }

  function record(trace: string, program: string, ...args: string[]): string {
    ran(0, 'record', '-o', at(trace), '--', at(program), ...args);
    return at(trace);
  }

  beforeAll(() => {
    compile('grows');
    for (let run = 0; run < runs; run += 1) record(`run${run}.hak`, 'grows');
    record('grown.hak', 'grows', '5');
  }, 60_000);

  const budget = 'faults=+3%,peak=+3%,mapped=+3%,syscalls=+3%,allocations=+3%,bytes=+3%';

  test('finds nothing in runs of one program, whose addresses differ', () => {
    for (let run = 1; run < runs; run += 1)
      expect(ran(0, 'gate', at(`run${run - 1}.hak`), at(`run${run}.hak`), '--budget', budget)).toMatch(
        /within the budget/,
      );
  });

  test('finds 5 % more of one call site, and names it', () => {
    const { verdict, guilty_by, budgets } = JSON.parse(
      ran(1, 'gate', at('run0.hak'), at('grown.hak'), '--budget', budget, '--json'),
    );
    const over = budgets.filter((each: { verdict: string }) => each.verdict === 'over');
    expect({ verdict, guilty_by, over: over.map((each: { figure: string }) => each.figure) }).toEqual({
      verdict: 'over',
      guilty_by: 'site',
      over: ['faults', 'peak', 'mapped', 'bytes'],
    });
    const { top_sites } = JSON.parse(ran(0, 'info', at('grown.hak'), '--json'));
    for (const each of over) expect(each.guilty[0].name).toBe(top_sites[0].name);
  });

  test('names it by its new name where another build has moved the code', () => {
    mkdirSync(at('later'));
    compile('later/grows', '-falign-functions=256');
    const { budgets } = JSON.parse(
      ran(1, 'gate', at('run0.hak'), record('moved.hak', 'later/grows', '5'), '--budget', 'faults=+3%', '--json'),
    );
    const { top_sites } = JSON.parse(ran(0, 'info', at('moved.hak'), '--json'));
    const [first] = budgets[0].guilty;
    expect(first.name).toBe(top_sites[0].name);
    expect(first.base).toBeGreaterThan(0);
  });

  test('names a size class where a recording has no call sites', () => {
    const lines = (bytes: number): string =>
      Array.from({ length: 40 }, (_, line) => `1: malloc 0x${(line + 1) * 16} ${line === 39 ? bytes : 100}`).join('\n');
    for (const [name, bytes] of [
      ['few.txt', 70_000],
      ['more.txt', 600_000],
    ] as const)
      write(name, `${lines(bytes)}\n`);
    expect(ran(1, 'gate', 'few.txt', 'more.txt', '--budget', 'bytes=+5%')).toMatch(
      /first size class sizes below 1 MiB, 0 before, 600 000 now/,
    );
  });

  test('holds under every policy that there is a model of', () => {
    for (const policy of ['jemalloc', 'mimalloc', 'hakmem'])
      ran(
        0,
        'gate',
        sample('ffmpeg'),
        sample('ffmpeg'),
        '--policy',
        policy,
        '--budget',
        'faults=+0,peak=+0,syscalls=+0',
      );
  });

  test('a share grants at least what runs differ by, a number and less than before grant what they say', () => {
    const of = (text: string, base: number): number => allowed(parseBudgets(text)[0], base);
    expect(of('faults=+5%', 10_000)).toBe(10_500);
    expect(of('faults=+5%', 100)).toBe(100 + slack.count);
    expect(of('peak=3%', 0)).toBe(slack.bytes);
    expect(of('peak=+2MiB', 5)).toBe(5 + 2 ** 21);
    expect(of('mmap=+0', 7)).toBe(7);
    expect(of('faults=-10%', 100)).toBe(90);
  });

  test('refuses what is no budget, no policy and no trace, in a line', () => {
    const a = sample('ffmpeg');
    expect(refused('gate', a, a, '--budget', 'fault=+5%')).toMatch(/no figure "fault"; there are faults peak/);
    expect(refused('gate', a, a, '--budget', 'faults>5')).toMatch(/wanted such as faults=\+5%/);
    expect(refused('gate', a, a, '--budget', 'faults=+2MiB')).toMatch(/wanted faults=\+5% or faults=\+10/);
    expect(refused('gate', a, a, '--budget', 'faults=1,faults=2')).toMatch(/has two/);
    expect(refused('gate', a, a)).toMatch(/--budget/);
    expect(refused('gate', a, a, '--budget', 'faults=1', '--policy', 'tcmalloc')).toMatch(/unknown policy/);
    expect(refused('gate', a, a, '--budget', 'faults=1', '--mode', 'FAST')).toMatch(/--mode/);
    expect(refused('gate', a, 'none.hak', '--budget', 'faults=1')).toMatch(/none\.hak: no such file/);
  });
});

describe('diff', () => {
  test('of a recording and itself says that nothing differs', () => {
    expect(ran(0, 'diff', sample('sqlite'), sample('sqlite'))).toMatch(/call sites that differ, 0 of 0/);
  });

  test('counts by group add up to the counts of the recordings', () => {
    const { a, b, figures, groups } = JSON.parse(ran(0, 'diff', sample('redis'), sample('r-frames'), '--json'));
    expect([a.events, b.events]).toEqual([150_049, 43_834]);
    for (const side of ['a', 'b'] as const) {
      const sum = (of: keyof Use): number =>
        groups.reduce((all: number, each: Record<'a' | 'b', Use | null>) => all + Number(each[side]?.[of] ?? 0), 0);
      for (const name of [
        'allocations',
        'reallocs',
        'frees',
        'bytes',
        'live',
        'unfreed',
        'unfreed_bytes',
        'faults',
        'syscalls',
      ])
        expect([side, name, sum(name as keyof Use)]).toEqual([
          side,
          name,
          figures.find(({ figure }: { figure: string }) => figure === name)[side],
        ]);
    }
  });

  test('by size where one has no call sites', () => {
    write('plain.txt', '1: malloc 0x10 100\n1: free 0x10\n');
    const { by, sizes } = JSON.parse(ran(0, 'diff', 'plain.txt', sample('sqlite'), '--json'));
    expect(by).toBe('size');
    expect(sizes).toContainEqual({ below_bytes: 128, a: 1, b: expect.any(Number) });
  });

  test('sites of a module that moved are matched in their order, like with like', () => {
    const base = [use('a+0x10', 5, 100), use('a+0x20', 50, 9000), use('a+0x30', 700, 40), use('b+0x8', 1, 1)];
    const head = [
      use('a+0x14', 5, 100),
      use('a+0x1a', 3000, 8),
      use('a+0x24', 52, 9300),
      use('a+0x34', 690, 41),
      use('b+0x8', 2, 1),
    ];
    const pairs = matchUses(base, head).map((pair) => [pair.base?.name, pair.head?.name]);
    expect(pairs.sort()).toEqual(
      [
        ['a+0x10', 'a+0x14'],
        ['a+0x20', 'a+0x24'],
        ['a+0x30', 'a+0x34'],
        ['b+0x8', 'b+0x8'],
        [undefined, 'a+0x1a'],
      ].sort(),
    );
  });

  function use(name: string, allocations: number, bytes: number): Use {
    const none = { reallocs: 0, frees: 0, unfreed: 0, unfreed_bytes: 0, live: 0, lifetime_events: null };
    return { name, allocations, bytes: bytes * allocations, ...none, faults: 0, syscalls: 0 };
  }
});

describe('export of a recording', () => {
  /** As the file numbers them: two formats keep slots. */
  const eventsOf = (chunks: Iterable<Chunk>) =>
    [...chunks].flatMap((chunk) =>
      Array.from({ length: chunk.length }, (_, row) => ({
        kind: chunk.op[row],
        thread: chunk.thread[row],
        object: chunk.object[row],
        size_bytes: chunk.size_bytes[row],
        align: chunk.align[row],
      })),
    );
  const threads = sample('threads');
  const exported = (to: string, trace = threads): Buffer => {
    ran(0, 'export', trace, '--of', 'trace', '--to', to, '-o', at(`x.${to}`));
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    return readFileSync(at(`x.${to}`));
  };

  test('alk: read back by the format, the events are those of the trace', () => {
    const bytes = exported('alk');
    const read: ReturnType<typeof eventsOf> = [];
    let thread = -1;
    for (let offset = 0; offset < bytes.length; offset += 24) {
      const head = bytes.readBigUInt64LE(offset);
      const [type, object] = [Number(head & 0xffn), Number(head >> 8n)];
      const [a, b] = [Number(bytes.readBigUInt64LE(offset + 8)), Number(bytes.readBigUInt64LE(offset + 16))];
      if (type === 5) thread = a;
      else if (type === 0) read.push({ kind: op.malloc, thread, object, size_bytes: a, align: b });
      else if (type === 1) read.push({ kind: op.free, thread, object, size_bytes: 0, align: 0 });
      else if (type === 3) read.push({ kind: op.aligned, thread, object, size_bytes: a, align: b });
      else if (type === 4) {
        expect(a).toBe(object);
        read.push({ kind: op.realloc, thread, object, size_bytes: b, align: 0 });
      } else expect(type).toBe(7);
    }
    // alk has no calloc.
    const wanted = eventsOf(open(threads).chunks()).map((row) =>
      row.kind === op.calloc ? { ...row, kind: op.malloc } : row,
    );
    expect(read).toEqual(wanted);
  });

  test('wl: every thread has its own events in order, and no block is used before another thread let go of it', () => {
    const bytes = exported('wl');
    let position = 0;
    const number = (): number => {
      let value = 0;
      for (;;) {
        const byte = bytes[position++];
        value = value * 128 + (byte & 127);
        if (byte < 128) return value;
      }
    };
    const starts: number[] = [];
    let [pointers, syncs, announced] = [0, 0, 0];
    for (let code = bytes[position++]; code !== 1; code = bytes[position++]) {
      const value = number();
      if (code === 8) pointers = value;
      else if (code === 9) syncs = value;
      else if (code === 10) announced = value;
      else if (code === 11) starts.push(value);
      else throw new Error(`code ${code}`);
    }
    expect(starts).toHaveLength(announced);
    expect(starts[0]).toBe(position);
    type Call = { code: number; values: number[] };
    const arity: Record<number, number> = { 2: 2, 3: 2, 4: 3, 5: 1, 6: 1, 7: 1, 12: 3 };
    const scripts = starts.map((start) => {
      const calls: Call[] = [];
      position = start;
      for (let code = bytes[position++]; code !== 1; code = bytes[position++])
        calls.push({ code, values: Array.from({ length: arity[code] }, number) });
      return calls;
    });
    expect(position).toBe(bytes.length);
    const codes: Record<number, number> = { 2: op.malloc, 3: op.calloc, 4: op.realloc, 5: op.free, 12: op.aligned };
    const of = (kind: number, object: number, size_bytes: number, align: number): number[] => [
      kind,
      object,
      size_bytes,
      align,
    ];
    const events = eventsOf(open(threads).chunks());
    const numbers = [...new Set(events.map(({ thread }) => thread))];
    scripts.forEach((calls, at_thread) => {
      const read = calls
        .filter(({ code }) => codes[code] !== undefined)
        .map(({ code, values }) =>
          of(codes[code], values[0] - 1, code === 5 ? 0 : values.at(-1)!, code === 12 ? values[1] : 0),
        );
      const wanted = events.filter(({ thread }) => thread === numbers[at_thread]);
      expect(read).toEqual(wanted.map((row) => of(row.kind, row.object, row.size_bytes, row.align)));
    });
    // Runs the threads in the worst order that the signals allow: the last one that can go, goes.
    const at_call = scripts.map(() => 0);
    const signalled = new Set<number>();
    const live = new Set<number>();
    for (;;) {
      const ready = scripts.findLastIndex((calls, thread) => {
        const next = calls[at_call[thread]];
        return next !== undefined && (next.code !== 7 || signalled.has(next.values[0]));
      });
      if (ready < 0) break;
      const { code, values } = scripts[ready][at_call[ready]++];
      if (code === 6) signalled.add(values[0]);
      else if (code === 5) expect(live.delete(values[0])).toBe(true);
      else if (code === 4) expect(live.has(values[0])).toBe(true);
      else if (code !== 7) {
        expect(live.has(values[0]) || values[0] >= pointers).toBe(false);
        live.add(values[0]);
      }
    }
    expect(at_call).toEqual(scripts.map((calls) => calls.length));
    expect(signalled.size).toBe(syncs - 1);
  });

  test('csv has a line an event, and blocks have numbers of their own', () => {
    write('few.txt', '3: malloc 0x10 100\n3: free 0x10\n3: memalign 0x10 64 5\n3: realloc 0x20 0x10 9\n');
    expect(exported('csv', at('few.txt')).toString()).toBe(
      [
        'event,time_ns,thread,op,block,size_bytes,align,site,touched_pages',
        '0,0,0,malloc,0,100,,,',
        '1,1000,0,free,0,,,,',
        '2,2000,0,aligned,1,5,64,,',
        '3,3000,0,realloc,1,9,,,',
        '',
      ].join('\n'),
    );
  });

  test('chrome counts what is live, and its blocks end', () => {
    const { traceEvents } = JSON.parse(exported('chrome', sample('ffmpeg')).toString());
    const of = (ph: string): { name: string; args: { bytes?: number } }[] =>
      traceEvents.filter((event: { ph: string }) => event.ph === ph);
    expect(of('b').length).toBeGreaterThan(100);
    expect(of('e')).toHaveLength(of('b').length);
    const most = Math.max(...of('C').map(({ name, args }) => (name === 'live_bytes' ? args.bytes! : 0)));
    const { peak_live_bytes } = open(sample('ffmpeg')).statistics;
    expect(most / peak_live_bytes).toBeGreaterThan(0.9);
    expect(most).toBeLessThanOrEqual(peak_live_bytes);
  });

  test('speedscope weighs stacks by bytes, outermost frame first', () => {
    const { shared, profiles } = JSON.parse(exported('speedscope', sample('r-stacks')).toString());
    const { total_bytes, allocations, reallocs } = open(sample('r-stacks')).statistics;
    expect(profiles.map(({ endValue }: { endValue: number }) => endValue)).toEqual([
      total_bytes,
      allocations + reallocs,
    ]);
    const stacks = profiles[0].samples.map((stack: number[]) =>
      stack
        .map((frame) => shared.frames[frame].name)
        .reverse()
        .join(' < '),
    );
    const names = new Set(open(sample('r-stacks')).origin.sites.map(({ name, hash }) => name ?? hash));
    expect(stacks.filter((stack: string) => !names.has(stack))).toEqual([]);
  });

  test.runIf(duckdb)('parquet, and the queries of docs/TRACES.md run as they stand on it', async () => {
    exported('parquet', sample('ffmpeg'));
    const page = readFileSync(join(root, 'docs', 'TRACES.md'), 'utf8');
    const queries = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql);
    expect(queries).toHaveLength(3);
    for (const sql of queries) {
      const { rows } = JSON.parse(ran(0, 'query', sql.replaceAll('my.parquet', 'x.parquet'), '--json'));
      expect(rows.length).toBeGreaterThan(0);
    }
    const [{ events, bytes }] = JSON.parse(
      ran(0, 'query', "SELECT count(*) AS events, sum(size_bytes) AS bytes FROM read_parquet('x.parquet')", '--json'),
    ).rows;
    const { statistics } = open(sample('ffmpeg'));
    expect([events, Number(bytes)]).toEqual([statistics.events, statistics.total_bytes]);
  });

  test('refuses a format that a run has not, and a folder that is not there', () => {
    expect(refused('export', threads, '--of', 'run', '--to', 'wl', '-o', 'x')).toMatch(/of a run there are chrome/);
    expect(refused('export', threads, '--to', 'wl', '-o', 'none/x')).toMatch(/none\/x: cannot be written/);
    expect(refused('export', threads, '--to', 'pdf', '-o', 'x')).toMatch(/Allowed choices/);
  });
});

describe('filter', () => {
  const all = (trace: string) => rowsOf(open(trace).chunks());
  const kept = (trace: string, ...options: string[]) => {
    ran(0, 'filter', trace, '-o', at('part.hak'), ...options);
    // info reads all of it and compares with what the file claims.
    ran(0, 'info', at('part.hak'));
    return all(at('part.hak'));
  };
  /** The rows whose block was allocated by a row that `wanted` holds of, blocks numbered anew; what lies outside a window is no row. */
  const expected = (
    rows: readonly Row[],
    wanted: (row: Row) => boolean,
    inside: (row: Row) => boolean = () => true,
  ) => {
    const numbers = new Map<number, number>();
    return rows.filter(inside).flatMap((row) => {
      if (row.op < op.realloc && wanted(row)) numbers.set(row.block, numbers.size);
      const block = numbers.get(row.block);
      return block === undefined ? [] : [{ ...row, block }];
    });
  };

  test('keeps what was asked for, and everything that becomes of it', () => {
    const trace = sample('ffmpeg');
    const rows = all(trace);
    const { sites } = open(trace).origin;
    const of = (text: string) => (row: Row) => sites[row.site].name!.includes(text);
    expect(kept(trace, '--size', '1000:64K')).toEqual(
      expected(rows, ({ size_bytes }) => size_bytes >= 1000 && size_bytes <= 65_536),
    );
    expect(kept(trace, '--thread', '0', '--site', 'avutil', '--site', 'x264')).toEqual(
      expected(rows, (row) => row.thread === 0 && (of('avutil')(row) || of('x264')(row))),
    );
    const [from, to] = [rows[2000].time_ns, rows[9000].time_ns];
    expect(kept(trace, '--from', `${from}ns`, '--to', `${to}ns`)).toEqual(
      expected(
        rows,
        () => true,
        ({ time_ns }) => time_ns >= from && time_ns < to,
      ),
    );
  });

  test('samples whole call sites, the same ones for a seed, and says so in the trace', () => {
    const rows = kept(sample('ffmpeg'), '--sample', '0.5', '--seed', '3');
    const sites = new Set(rows.filter((row) => row.op < op.realloc).map(({ site }) => site));
    expect(rows).toEqual(expected(all(sample('ffmpeg')), ({ site }) => sites.has(site)));
    expect(kept(sample('ffmpeg'), '--sample', '0.5', '--seed', '3')).toEqual(rows);
    expect(open(at('part.hak')).origin).toMatchObject({
      process: null,
      notes: expect.arrayContaining(['Filtered: a sample of 0.5, seed 3.']),
    });
  });

  test('without recorded time the window counts a microsecond an event', () => {
    write('plain.txt', '1: malloc 0x10 1\n1: malloc 0x20 2\n1: free 0x10\n1: malloc 0x30 3\n1: free 0x20\n');
    expect(kept(at('plain.txt'), '--from', '1us', '--to', '4us').map(({ size_bytes }) => size_bytes)).toEqual([2, 3]);
  });

  test('refuses what keeps nothing, and options that are none', () => {
    const trace = sample('sqlite');
    const no = (...options: string[]) => refused('filter', trace, '-o', 'none.hak', ...options);
    expect(no('--thread', '77')).toMatch(/no event that is wanted/);
    expect(no('--site', 'nobody')).toMatch(/no call site of .* has nobody in its name/);
    expect(no('--size', '5')).toMatch(/not a range/);
    expect(no('--size', '5:4')).toMatch(/ends before it begins/);
    expect(no('--from', '5')).toMatch(/not a time/);
    expect(no('--from', '2s', '--to', '1s')).toMatch(/not after --from/);
    expect(no('--sample', '0')).toMatch(/not a share/);
    expect(refused('filter', write('p.txt', '1: malloc 0x1 1\n'), '-o', 'none.hak', '--site', 'x')).toMatch(
      /no call sites/,
    );
  });
});

describe('anonymize', () => {
  const trace = sample('r-stacks');
  const made = (name: string, ...options: string[]): Trace => {
    ran(0, 'anonymize', trace, '-o', at(name), ...options);
    ran(0, 'info', at(name));
    return open(at(name));
  };

  test('no word of the original is left in the file, and the events are the same', () => {
    const { origin } = open(trace);
    const anonymous = made('anonymous.hak');
    const file = readFileSync(at('anonymous.hak'), 'latin1');
    const words = [
      origin.program,
      origin.command,
      origin.machine ?? '',
      ...origin.sites.flatMap(({ hash, name }) => [hash, ...(name ?? '').split(' < ')]),
    ].flatMap((text) => [text, ...text.split(/[^\w.]+/)]);
    const telling = [...new Set(words)].filter((word) => /[A-Za-z]/.test(word) && word.length > 4);
    expect(telling.length).toBeGreaterThan(1000);
    expect([...telling, ...origin.notes].filter((word) => file.includes(word))).toEqual([]);
    expect(rowsOf(anonymous.chunks())).toEqual(rowsOf(open(trace).chunks()));
    // What two sites share in frames they still share.
    const shapes = ({ sites }: Trace['origin']): number[][] => {
      const numbers = new Map<string, number>();
      return sites.map(({ name }) =>
        (name ?? '').split(' < ').map((frame) => {
          const number = numbers.get(frame) ?? numbers.size;
          numbers.set(frame, number);
          return number;
        }),
      );
    };
    expect(shapes(anonymous.origin)).toEqual(shapes(origin));
  });

  test('under one key names are alike, under two or none they are not', () => {
    write('key', 'sixteen bytes, and more');
    write('other', 'sixteen bytes, and none');
    const names = (name: string, ...options: string[]): unknown => made(name, ...options).origin.sites;
    const first = names('a.hak', '--key-file', 'key');
    expect(names('b.hak', '--key-file', 'key')).toEqual(first);
    expect(names('c.hak', '--key-file', 'other')).not.toEqual(first);
    expect(names('d.hak')).not.toEqual(names('e.hak'));
  });

  test('rounds sizes up and leaves out times where that is asked for', () => {
    const rounded = made('rounded.hak', '--round-sizes', '4K', '--without-times');
    expect(rounded.origin).toMatchObject({ has_time: false, process: null });
    const before = rowsOf(open(trace).chunks());
    expect(rowsOf(rounded.chunks()).map(({ size_bytes, time_ns }) => [size_bytes, time_ns])).toEqual(
      before.map(({ size_bytes }, event) => [Math.ceil(size_bytes / 4096) * 4096, event * 1000]),
    );
  });

  test('refuses a key that can be guessed', () => {
    expect(refused('anonymize', trace, '-o', 'x.hak', '--key-file', write('short', 'secret'))).toMatch(
      /found 6 bytes, wanted 16/,
    );
    expect(refused('anonymize', trace, '-o', 'x.hak', '--key-file', 'nowhere')).toMatch(/--key-file: nowhere/);
    expect(refused('anonymize', trace, '-o', 'x.hak', '--round-sizes', '0')).toMatch(/found 0/);
  });
});

describe('info', () => {
  test('what is live over time reaches the peak, and the largest blocks are the largest', () => {
    const { statistics } = open(sample('ffmpeg'));
    const { live_over_time, largest_blocks } = JSON.parse(ran(0, 'info', sample('ffmpeg'), '--json', '--top', '5'));
    expect(Math.max(...live_over_time.map(({ live_bytes }: { live_bytes: number }) => live_bytes))).toBe(
      statistics.peak_live_bytes,
    );
    const sizes = rowsOf(open(sample('ffmpeg')).chunks()).map(({ size_bytes }) => size_bytes);
    expect(largest_blocks.map(({ size_bytes }: { size_bytes: number }) => size_bytes)).toEqual(
      sizes.sort((a, b) => b - a).slice(0, 5),
    );
  });

  test('the classes of large blocks are those of the rows', () => {
    const rows = rowsOf(open(sample('ffmpeg')).chunks());
    const { large_classes } = JSON.parse(ran(0, 'info', sample('ffmpeg'), '--json'));
    const sizes = rows.map(({ size_bytes }) => size_bytes).filter((size) => size >= 65536);
    const bounds = [...new Set(sizes.map((size) => 2 ** Math.floor(Math.log2(size))))].sort((a, b) => a - b);
    expect(large_classes.map(({ from_bytes }: { from_bytes: number }) => from_bytes)).toEqual(bounds);
    for (const { from_bytes, blocks, bytes } of large_classes) {
      const here = sizes.filter((size) => size >= from_bytes && size < 2 * from_bytes);
      expect([blocks, bytes]).toEqual([here.length, here.reduce((sum, size) => sum + size, 0)]);
    }
  });

  test('lifetimes, the most at once and what is left of large blocks, by hand', () => {
    const kib = 1024;
    const path = write(
      'large.txt',
      [
        `1: malloc 0x1000 ${64 * kib}`, // event 0, lives 3
        `1: malloc 0x2000 ${100 * kib}`, // lives 1
        '1: free 0x2000',
        '1: free 0x1000',
        `1: malloc 0x3000 ${128 * kib}`, // never freed
        '1: malloc 0x4000 5',
      ].join('\n'),
    );
    const { large_classes, live_over_time } = JSON.parse(ran(0, 'info', path, '--json'));
    expect(large_classes).toEqual([
      {
        from_bytes: 64 * kib,
        blocks: 2,
        bytes: 164 * kib,
        most_live_blocks: 2,
        most_live_bytes: 164 * kib,
        median_lifetime_events: 2,
        unfreed_blocks: 0,
      },
      {
        from_bytes: 128 * kib,
        blocks: 1,
        bytes: 128 * kib,
        most_live_blocks: 1,
        most_live_bytes: 128 * kib,
        median_lifetime_events: null,
        unfreed_blocks: 1,
      },
    ]);
    expect(live_over_time.map(({ live_blocks }: { live_blocks: number }) => live_blocks)).toEqual([1, 2, 2, 1, 1, 2]);
  });

  test('--html is one page that fetches nothing and runs nothing', () => {
    ran(0, 'info', sample('ffmpeg'), '--html', 'page.html');
    const page = readFileSync(at('page.html'), 'utf8');
    expect(page).toContain('default-src &#39;none&#39;');
    expect(page).not.toMatch(/<script|src=|href=|url\(/);
    for (const id of ['live', 'sizes', 'lifetimes']) expect(page).toContain(`id="${id}-title"`);
  });
});

function write(name: string, content: string): string {
  writeFileSync(at(name), content);
  return name;
}
