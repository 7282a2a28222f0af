/** Exports of a simulated run: well-formed for the tools they are for, and true to the run. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, extname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { probeProfile } from '../native/index.ts';
import { configOf, default_profile, prices, type Result, replay } from '../sim/index.ts';
import { large_bytes, limits, newChunk, op, open, originOf, SyntheticTrace, writeHak } from '../traces/index.ts';
import { launch } from './browser.ts';

const sample = 'traces/samples/numpy-arrays.hak';
const folder = mkdtempSync(join(tmpdir(), 'hakmem-export-'));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function hakmem(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('node', ['bin/hakmem.js', ...args], { encoding: 'utf8' });
}

interface Event {
  readonly op: number;
  readonly object: number;
  readonly size_bytes: number;
  readonly site: number;
}

/** A trace of a microsecond an event, with sites of these names. */
function writeEvents(path: string, names: readonly string[], events: readonly Event[]): void {
  const chunk = newChunk(events.length);
  events.forEach((event, row) => {
    chunk.op[row] = event.op;
    chunk.object[row] = event.object;
    chunk.size_bytes[row] = event.size_bytes;
    chunk.site[row] = event.site;
    chunk.time_ns[row] = row * 1000;
    chunk.touched_pages[row] = limits.unknown;
  });
  chunk.length = events.length;
  const sites = names.map((name, index) => ({ hash: String(index), name }));
  writeHak(path, [chunk], { time: false, sites: true, touch: false }, () =>
    originOf('generated', { has_sites: true, sites }),
  );
}

/** One block of each site, freed from a place that names another site. */
function writeSites(path: string, names: readonly string[], sizes: readonly number[]): void {
  const made = sizes.map((size_bytes, index) => ({ op: op.malloc, object: index, size_bytes, site: index }));
  const freed = sizes.map((_, index) => ({ op: op.free, object: index, size_bytes: 0, site: 0 }));
  writeEvents(path, names, [...made, ...freed]);
}

function exported(trace: string, to: string, ...options: string[]): string {
  const path = at(`out.${to}`);
  const { status, stderr } = hakmem('export', trace, '--to', to, '-o', path, ...options);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return readFileSync(path, 'utf8');
}

let run: Result;
beforeAll(() => {
  const profile = probeProfile() ?? default_profile;
  const setup = { config: configOf('BALANCED'), prices, profile, touch: 'recorded', seed: 1 } as const;
  run = replay(open(sample).chunks(), setup);
});

const about = z.object({
  what: z.literal('a simulated run: nothing here was measured'),
  trace: z.string(),
  trace_sha256: z.string().length(64),
  check: z.literal(['checked, decisions: agree', 'unchecked']),
  mmap_threshold_bytes: z.number(),
  prices: z.string(),
  setting: z.string(),
});

const number = z.number().min(0);
const base = { ts: number, pid: z.number().int(), tid: z.number().int(), name: z.string() };
const block = { ...base, cat: z.literal('block'), id: z.number().int().min(0) };
const chrome_schema = z.strictObject({
  displayTimeUnit: z.literal('ms'),
  otherData: about,
  traceEvents: z.array(
    z.discriminatedUnion('ph', [
      z.strictObject({ ph: z.literal('M'), ...base, args: z.strictObject({ name: z.string() }) }),
      z.strictObject({ ph: z.literal('C'), ...base, args: z.strictObject({ bytes: number }) }),
      z.strictObject({ ph: z.literal('b'), ...block, args: z.strictObject({ bytes: number, event: number }) }),
      z.strictObject({ ph: z.literal('e'), ...block, args: z.strictObject({}) }),
    ]),
  ),
});
const readChrome = (text: string) => chrome_schema.parse(JSON.parse(text));

describe('chrome', () => {
  test('is well formed, its times never go back, and every block that begins ends once', () => {
    const { traceEvents } = readChrome(exported(sample, 'chrome'));
    const timed = traceEvents.filter(({ ph }) => ph !== 'M');
    expect(timed.findIndex(({ ts }, row) => row > 0 && ts < timed[row - 1].ts)).toBe(-1);
    const open_blocks = new Map<number, string>();
    let begun = 0;
    for (const event of timed) {
      if (event.ph === 'b') {
        expect(open_blocks.has(event.id)).toBe(false);
        open_blocks.set(event.id, `${event.name} ${event.tid}`);
        begun += 1;
      } else if (event.ph === 'e') {
        expect(open_blocks.get(event.id)).toBe(`${event.name} ${event.tid}`);
        open_blocks.delete(event.id);
      }
    }
    expect(open_blocks.size).toBe(0);
    let large = 0;
    for (const chunk of open(sample).chunks())
      for (let row = 0; row < chunk.length; row += 1)
        if (chunk.op[row] !== op.free && chunk.size_bytes[row] >= large_bytes) large += 1;
    expect(begun).toBe(large);
  });

  test('counters are those of the run at every checkpoint', () => {
    const { traceEvents } = readChrome(exported(sample, 'chrome'));
    const counter = (name: string): number[] =>
      traceEvents.flatMap((event) => (event.ph === 'C' && event.name === name ? [event.args.bytes] : []));
    expect(counter('mapped_bytes')).toEqual(run.checkpoints.map((each) => each.mapped_bytes));
    expect(counter('resident_bytes').at(-1)).toBe(run.resident_bytes.end + run.heap.resident_peak_bytes);
    expect(counter('kept_bytes').at(-1)).toBe(run.kept.bytes);
    expect(Math.max(...counter('live_bytes'))).toBeGreaterThan(0);
    expect(Math.max(...counter('live_bytes'))).toBeLessThanOrEqual(open(sample).statistics.peak_live_bytes);
  });

  test('each site with a large block has a track with its name, whatever the name is', () => {
    const hostile = at('hostile.hak');
    writeSites(hostile, ['<img onerror>"\\', 'small'], [2 ** 20, 64]);
    const { traceEvents } = readChrome(exported(hostile, 'chrome'));
    const names = traceEvents.filter((event) => event.ph === 'M' && event.name === 'thread_name');
    expect(names.map(({ args }) => args)).toEqual([{ name: '<img onerror>"\\' }]);
  });
});

const speedscope_schema = z.object({
  $schema: z.literal('https://www.speedscope.app/file-format-schema.json'),
  exporter: z.string(),
  name: z.string(),
  hakmem: about,
  activeProfileIndex: z.number().int().min(0),
  shared: z.strictObject({ frames: z.array(z.strictObject({ name: z.string() })) }),
  profiles: z.array(
    z.strictObject({
      type: z.literal('sampled'),
      name: z.string(),
      unit: z.literal('nanoseconds'),
      startValue: number,
      endValue: number,
      samples: z.array(z.array(z.number().int().min(0))),
      weights: z.array(number),
    }),
  ),
});

/** speedscope's own page, and `files` beside it. */
async function served(files: { readonly [name: string]: string }): Promise<Server> {
  const release = join(dirname(createRequire(import.meta.url).resolve('speedscope/package.json')), 'dist', 'release');
  const types: { readonly [extension: string]: string } = {
    '.html': 'text/html',
    '.js': 'text/javascript',
    '.css': 'text/css',
  };
  const server = createServer(({ url }, response) => {
    const name = (url ?? '/').slice(1);
    response.setHeader('content-type', types[extname(name)] ?? 'application/octet-stream');
    if (name in files) response.end(files[name]);
    else if (existsSync(join(release, name))) response.end(readFileSync(join(release, name)));
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

describe('speedscope', () => {
  test('fits the file format, and its weights add up to the time of the run', () => {
    const { profiles, shared, activeProfileIndex } = speedscope_schema.parse(
      JSON.parse(exported(sample, 'speedscope')),
    );
    const { samples, weights, endValue } = profiles[activeProfileIndex];
    expect(samples.length).toBe(weights.length);
    expect(samples.flat().every((frame) => frame < shared.frames.length)).toBe(true);
    expect(weights.reduce((sum, each) => sum + each, 0)).toBe(run.time_ns.total);
    expect(endValue).toBe(run.time_ns.total);
  });

  test('a free is charged to the site that allocated', () => {
    const path = at('sites.hak');
    writeSites(path, ['first', 'second'], [4 * 2 ** 20, 64]);
    const text = exported(path, 'speedscope', '--mode', 'MINIMAL');
    const { profiles, shared } = speedscope_schema.parse(JSON.parse(text));
    const ns = new Map<string, number>();
    profiles[0].samples.forEach((stack, row) => {
      ns.set(stack.map((frame) => shared.frames[frame].name).join(' > '), profiles[0].weights[row]);
    });
    expect([...ns.keys()]).toEqual([
      'first > malloc',
      'first > free',
      'second > malloc',
      'second > free',
      'heap growth and the last flush',
    ]);
    expect(ns.get('second > free')).toBe(prices.heap_call_ns);
    expect(ns.get('first > free')).toBeGreaterThan(prices.munmap_ns);
  });

  test('speedscope itself opens both kinds and lists their frames', async () => {
    const stacks = 'traces/samples/r-stacks.hak';
    const files = {
      'trace.json': exported(stacks, 'speedscope', '--of', 'trace'),
      'run.json': exported(stacks, 'speedscope', '--mode', 'MINIMAL'),
    };
    const server = await served(files);
    const browser = await launch();
    try {
      const { port } = server.address() as AddressInfo;
      const wanted = { 'trace.json': 'bytes asked for (1/2)', 'run.json': 'simulated time by call site' };
      for (const [file, says] of Object.entries(wanted)) {
        const page = await browser.newPage();
        const errors: Error[] = [];
        page.on('pageerror', (error) => errors.push(error));
        const profile = encodeURIComponent(`http://127.0.0.1:${port}/${file}`);
        await page.goto(`http://127.0.0.1:${port}/index.html#profileURL=${profile}`);
        await page.getByText(says).first().waitFor();
        await page.keyboard.press('3');
        await page.getByText('libR.so+0x').first().waitFor();
        expect(errors).toEqual([]);
        await page.close();
      }
    } finally {
      await browser.close();
      server.close();
    }
  });
});

test('csv has a row for every checkpoint, with the faults and the memory of the run', () => {
  const lines = exported(sample, 'csv').trimEnd().split('\n');
  const said = lines.filter((line) => line.startsWith('# '));
  expect(said).toContain('# what: a simulated run: nothing here was measured');
  expect(said).toContain('# check: checked, decisions: agree');
  const [names, ...cells] = lines.slice(said.length).map((line) => line.split(','));
  const column = (name: string): number[] => cells.map((row) => Number(row[names.indexOf(name)]));
  for (const name of ['events', 'faults', 'resident_bytes', 'mapped_bytes'] as const)
    expect(column(name)).toEqual(run.checkpoints.map((each) => each[name]));
  expect(column('time_ns').at(-1)).toBe(run.time_ns.total);
  expect(Math.max(...column('live_bytes'))).toBeGreaterThan(2 ** 20);
});

test('--check none is said in the file', () => {
  expect(readChrome(exported(sample, 'chrome', '--check', 'none')).otherData.check).toBe('unchecked');
});

test('a large block that is reallocated ends, and begins with its new size', () => {
  const path = at('grown.hak');
  writeEvents(
    path,
    ['main'],
    [
      { op: op.malloc, object: 0, size_bytes: 2 ** 20, site: 0 },
      { op: op.realloc, object: 0, size_bytes: 2 ** 21, site: 0 },
      { op: op.realloc, object: 0, size_bytes: 100, site: 0 },
      { op: op.malloc, object: 1, size_bytes: large_bytes, site: 0 },
      { op: op.malloc, object: 2, size_bytes: large_bytes - 1, site: 0 },
    ],
  );
  const { traceEvents } = readChrome(exported(path, 'chrome'));
  const blocks = traceEvents.filter(({ ph }) => ph === 'b' || ph === 'e');
  expect(blocks.map(({ ph, name, ts }) => `${ph} ${name} ${ts}`)).toEqual([
    'b 1 MiB 0',
    'e 1 MiB 1',
    'b 2 MiB 1',
    'e 2 MiB 2',
    'b 512 KiB 3',
    'e 512 KiB 4',
  ]);
});

describe('one line and exit code 2, and nothing is written', () => {
  const refused = (...args: string[]): string => {
    const { status, stdout, stderr } = hakmem('export', ...args);
    expect({ status, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 2, stdout: '', lines: 1 });
    return stderr;
  };

  test.each([
    ['no trace', ['nowhere.hak', '--to', 'csv', '-o', at('no.csv')], 'nowhere.hak'],
    ['unknown format', [sample, '--to', 'xls', '-o', at('no.csv')], 'text, csv, wl, alk, speedscope, parquet, chrome'],
    ['no format', [sample, '-o', at('no.csv')], '--to'],
    ['no output', [sample, '--to', 'csv'], '--output'],
    ['a folder that is not there', [sample, '--to', 'csv', '-o', at('none/no.csv')], 'none/no.csv'],
    [
      'a setting out of range',
      [sample, '--to', 'csv', '-o', at('no.csv'), '--set', 'bigcache_ways=0'],
      'bigcache_ways',
    ],
  ])('%s', (_, args, named) => {
    const before = readdirSync(folder);
    expect(refused(...args)).toContain(named);
    expect(readdirSync(folder)).toEqual(before);
  });

  test('a torn trace', () => {
    writeFileSync(at('torn.hak'), readFileSync(sample).subarray(0, 5000));
    expect(refused(at('torn.hak'), '--to', 'csv', '-o', at('no.csv'))).toContain('torn.hak');
    expect(existsSync(at('no.csv'))).toBe(false);
  });
});

test('a trace of two million events streams in little memory', () => {
  const path = at('mixed.hak');
  const mixed = new SyntheticTrace('mixed', { events: 2_000_000, seed: 3, boundaries_bytes: [] });
  writeHak(path, mixed.chunks(), { time: false, sites: true, touch: false }, () => mixed.origin);
  const limited = spawnSync(
    'node',
    [
      '--max-old-space-size=96',
      'bin/hakmem.js',
      'export',
      path,
      '--to',
      'chrome',
      '-o',
      at('mixed.json'),
      '--check',
      'none',
    ],
    { encoding: 'utf8' },
  );
  expect({ status: limited.status, stderr: limited.stderr }).toEqual({ status: 0, stderr: '' });
  readChrome(readFileSync(at('mixed.json'), 'utf8'));
});
