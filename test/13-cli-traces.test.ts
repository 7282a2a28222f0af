/** generate, import and info from a shell's side: exit codes, one line on stderr, and nothing half-written. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { strToU8, zipSync } from 'fflate';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bin, type Ran, refusedIn, run } from './command-line.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hakmem-cli-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const hakmem = (...args: string[]): Ran => run(folder, args);

/** Runs what must hold: exit 0 and not a word on stderr. */
function holds(...args: string[]): string {
  const { status, stdout, stderr } = hakmem(...args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

const refused = (...args: string[]): string => refusedIn(folder, args);

function write(name: string, content: string | Uint8Array): string {
  writeFileSync(join(folder, name), content);
  return name;
}

const text = '1: malloc 0x10 100\n2: calloc 0x20 5 7\n1: realloc 0x30 0x10 600000\n2: free 0x20\n9: free 0x99\n';

describe('generate', () => {
  test('writes the same file twice for one seed, another for another, and leaves nothing beside it', () => {
    for (const [file, seed] of [
      ['a', '3'],
      ['b', '3'],
      ['c', '4'],
    ])
      holds('generate', 'churn', '--events', '1000', '--seed', seed, '-o', `${file}.hak`);
    expect(readdirSync(folder).sort()).toEqual(['a.hak', 'b.hak', 'c.hak']);
    const bytes = (file: string): Buffer => readFileSync(join(folder, `${file}.hak`));
    expect(bytes('a').equals(bytes('b'))).toBe(true);
    expect(bytes('a').equals(bytes('c'))).toBe(false);
  });

  test('--json is one document with the counts', () => {
    const document = JSON.parse(holds('generate', 'vm-cold', '--json', '-o', 'x.hak'));
    expect(document).toMatchObject({
      scenario: 'vm-cold',
      events: 20,
      allocations: 10,
      frees: 10,
      largest_bytes: 2 ** 21,
    });
  });

  test('refuses an unknown scenario and lists the known ones', () => {
    expect(refused('generate', 'vmm', '-o', 'x.hak')).toBe(
      'hakmem: no scenario "vmm"; there are vm-cold, vm, vm4, json, mir, mixed, churn, edges, drift\n',
    );
  });

  test('refuses to run without -o, with odd numbers, or into what it cannot write', () => {
    expect(refused('generate', 'vm')).toMatch(/-o, --output <file>/);
    refused('generate', 'vm', '--events', '0', '-o', 'x.hak');
    refused('generate', 'vm', '--events', '1e3', '-o', 'x.hak');
    refused('generate', 'vm', '--large-permille', '1001', '-o', 'x.hak');
    refused('generate', 'edges', '--large-permille', '5', '-o', 'x.hak');
    expect(refused('generate', 'vm', '-o', 'none/x.hak')).toMatch(/none\/x\.hak: cannot be written: no such file/);
    expect(refused('generate', 'vm', '-o', '.')).toMatch(/not a regular file/);
  });

  test('that is interrupted ends with 130 and leaves nothing', async () => {
    const child = spawn(process.execPath, [bin, 'generate', 'churn', '--events', '300000000', '-o', 'x.hak'], {
      cwd: folder,
    });
    while (readdirSync(folder).length === 0) await setTimeout(20);
    child.kill('SIGINT');
    const [code] = await once(child, 'exit');
    expect(code).toBe(130);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('--progress speaks on stderr alone', () => {
    const { status, stdout, stderr } = hakmem('generate', 'vm', '--progress', '--json', '-o', 'x.hak');
    expect(status).toBe(0);
    expect(JSON.parse(stdout).events).toBe(20_000);
    expect(stderr).toMatch(/^hakmem: generating vm: 100 % of 20000/);
  });
});

describe('import', () => {
  test('of a text, plain or zipped, gives one and the same trace', () => {
    write('t.txt', text);
    write('t.zip', zipSync({ 't.txt': strToU8(text) }));
    const plain = JSON.parse(holds('import', 't.txt', '-o', 'plain.hak', '--json'));
    const zipped = JSON.parse(holds('import', 't.zip', '-o', 'zipped.hak', '--json'));
    expect(plain).toMatchObject({ format: 'text', events: 4, allocations: 2, frees: 1, reallocs: 1, dropped: 1 });
    expect({ ...zipped, path: 0, output: 0 }).toEqual({ ...plain, path: 0, output: 0 });
  });

  test('says what it wrote, what it dropped and what the format lost', () => {
    write('w.trace', 'Alloc(5),\nFree(0),\nFree(0),\n');
    const said = holds('import', 'w.trace', '--from', 'wee_alloc', '-o', 'w.hak');
    expect(said).toMatch(/^w\.hak: 2 events from w\.trace \(wee_alloc\), 1 frees of unknown blocks dropped\n/);
    expect(said).toMatch(/call sites are not recorded/);
  });

  test('of a .hak writes the same events again', () => {
    holds('generate', 'edges', '--events', '5000', '-o', 'a.hak');
    holds('import', 'a.hak', '-o', 'b.hak');
    expect(readFileSync(join(folder, 'a.hak')).equals(readFileSync(join(folder, 'b.hak')))).toBe(true);
  });

  test('refuses an unknown format, a broken line, a wrong format, nothing, and no -o', () => {
    write('t.txt', text);
    write('broken.txt', `${text}nonsense\n`);
    write('empty', '');
    expect(refused('import', 't.txt', '--from', 'txt', '-o', 'x.hak')).toMatch(
      /no format "txt"; there are hak, .*text/,
    );
    expect(refused('import', 'broken.txt', '-o', 'x.hak')).toMatch(
      /^hakmem: broken\.txt: line 6: found "nonsense"; wanted/,
    );
    expect(refused('import', 't.txt', '--from', 'wee_alloc', '-o', 'x.hak')).toMatch(/t\.txt: line 1: found/);
    expect(refused('import', 't.txt', '--from', 'hak', '-o', 'x.hak')).toMatch(/t\.txt: byte 0: not a \.hak file/);
    expect(refused('import', 'empty', '-o', 'x.hak')).toMatch(/empty: an empty file/);
    expect(refused('import', 'none', '-o', 'x.hak')).toMatch(/none: no such file/);
    expect(refused('import', '.', '-o', 'x.hak')).toMatch(/a directory/);
    refused('import', 't.txt');
  });

  test('that fails leaves the file that was there as it was', () => {
    write('broken.txt', `${text}nonsense\n`);
    write('x.hak', 'before');
    refused('import', 'broken.txt', '-o', 'x.hak');
    expect(readFileSync(join(folder, 'x.hak'), 'utf8')).toBe('before');
  });
});

describe('info', () => {
  test('--json has every field by its fixed name', () => {
    holds('generate', 'vm4', '--events', '100', '-o', 'x.hak');
    const document = JSON.parse(holds('info', 'x.hak', '--json'));
    const sha256 = createHash('sha256')
      .update(readFileSync(join(folder, 'x.hak')))
      .digest('hex');
    expect(document).toMatchObject({
      ...{ path: 'x.hak', sha256, program: 'vm4', events: 100, allocations: 50, frees: 50, reallocs: 0, dropped: 0 },
      ...{
        threads: 4,
        sites: 1,
        largest_bytes: 2 ** 21,
        peak_live_bytes: 2 ** 23,
        total_bytes: 50 * 2 ** 21,
        unfreed: 0,
      },
      ...{ has_time: false, has_touch: 0, size_histogram: [[2 ** 22, 50]], process: null },
    });
  });

  test('of a foreign file is info of what import makes of it', () => {
    write('t.txt', text);
    holds('import', 't.txt', '-o', 't.hak');
    const foreign = JSON.parse(holds('info', 't.txt', '--json'));
    const ours = JSON.parse(holds('info', 't.hak', '--json'));
    expect({ ...foreign, path: 0, sha256: 0 }).toEqual({ ...ours, path: 0, sha256: 0 });
    expect(ours).toMatchObject({ dropped: 1, unfreed: 1, threads: 2, sites: 0, peak_live_bytes: 600_035 });
  });

  test('in words shows counts, sizes, lifetimes, threads and sites', () => {
    holds('generate', 'mixed', '--events', '2000', '-o', 'x.hak');
    const said = holds('info', 'x.hak');
    for (const part of ['events         2 000', 'peak live', 'sizes of', 'lifetimes', 'threads, busiest 4', 'node_new'])
      expect(said).toContain(part);
    expect(said.split('\n').every((line) => line.length < 140 && line === line.trimEnd())).toBe(true);
  });

  test('lets no control character of a file reach the terminal', () => {
    const name = write('\u001b[31mred.txt', text);
    holds('import', name, '-o', 'x.hak');
    expect(holds('info', 'x.hak')).not.toContain('\u001b');
  });

  test('refuses a file that is damaged in its last chunk', () => {
    holds('generate', 'mixed', '--events', '2000', '-o', 'x.hak');
    const bytes = readFileSync(join(folder, 'x.hak'));
    bytes[4000] ^= 1;
    write('x.hak', bytes);
    for (const json of [[], ['--json']])
      expect(refused('info', 'x.hak', ...json)).toBe(
        'hakmem: x.hak: chunk 0 at byte 64: its content does not match its checksum\n',
      );
  });

  test('refuses a file that is cut, that is none, and one it does not know', () => {
    holds('generate', 'vm', '-o', 'x.hak');
    write('cut.hak', readFileSync(join(folder, 'x.hak')).subarray(0, 1000));
    write('other', 'something else');
    expect(refused('info', 'cut.hak')).toMatch(/cut\.hak: byte 1000: the file ends here, but/);
    expect(refused('info', 'other')).toMatch(
      /other: byte 0: found "something else"; wanted a \.hak file, or a trace as docs\/FORMATS\.md has it: wee_alloc, /,
    );
    refused('info', 'none');
    refused('info', '.');
    refused('info');
  });
});
