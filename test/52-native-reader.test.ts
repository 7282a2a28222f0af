/** The .hak reader in C against the one in TypeScript: they accept and refuse the same files, and neither crashes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { replay_path } from '../native/index.ts';
import { all_columns, fileOf, legal_rows, readAll, seal, smallRows } from './memory-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** A build with sanitizers may stand in: make -C native SANITIZE=address,undefined build-sanitize/hak-replay. */
const program = process.env.HAKMEM_REPLAY ?? replay_path;
const runs = Number(process.env.HAKMEM_RUNS ?? 150);

/** "accepted", or "refused" with one line; anything else is a crash. */
function inC(file: Uint8Array): string {
  const path = join(folder, 'damaged.hak');
  writeFileSync(path, file);
  const { status, signal, stderr } = spawnSync(program, [path, '--json', '--kernel', 'counted', '--touch', 'none'], {
    encoding: 'utf8',
  });
  // A legal trace may still ask for more than the region holds: exit code 1.
  if ((status === 0 || status === 1) && stderr === '') return 'accepted';
  if (status === 2 && stderr.trim().split('\n').length === 1) return 'refused';
  return `status ${status}, signal ${signal}: ${stderr}`;
}

function inTypescript(file: Uint8Array): string {
  try {
    readAll(file);
    return 'accepted';
  } catch {
    return 'refused';
  }
}

test('every legal file is accepted by both', () => {
  fc.assert(
    fc.property(legal_rows, fc.integer({ min: 1, max: 50 }), (rows, chunk_events) => {
      expect(inC(fileOf(rows, chunk_events, all_columns))).toBe('accepted');
    }),
    { numRuns: runs / 5 },
  );
});

test('a damaged file whose checksums were made to match is refused by both or read alike, and crashes neither', () => {
  const whole = fileOf(smallRows(), 12, all_columns);
  const damage = fc.array(
    fc.record({
      at: fc.nat({ max: whole.length - 1 }),
      byte: fc.oneof(fc.constantFrom(0, 127, 128, 255), fc.nat({ max: 255 })),
    }),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(
    fc.property(damage, (changes) => {
      const file = whole.slice();
      for (const { at, byte } of changes) file[at] = byte;
      let sealed: Uint8Array;
      try {
        sealed = seal(file);
      } catch {
        sealed = file;
      }
      const c = inC(sealed);
      expect(['accepted', 'refused']).toContain(c);
      // The C reader does not read the JSON of the header, nor times.
      if (c === 'refused') expect(inTypescript(sealed)).toBe('refused');
    }),
    { numRuns: runs },
  );
});
