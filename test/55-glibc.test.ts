/**
 * The model of glibc's malloc: what the library is known to do, on the model alone; and model and library side by side,
 * event by event, where this process runs on glibc.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { besideGlibc, type GlibcBeside } from '../experiments/peers/glibc-beside.ts';
import { probeProfile } from '../native/index.ts';
import type { GlibcSettings } from '../sim/peers/glibc/settings.ts';
import type { TouchModel } from '../sim/spec.ts';
import { FileSource, writeHak } from '../traces/file.ts';
import { HakTrace } from '../traces/hak.ts';
import { type Chunk, originOf } from '../traces/trace.ts';
import { anyCase, chunksOf } from './glibc-arbitrary.ts';

const folder = mkdtempSync(join(tmpdir(), 'hakmem-test-glibc-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const profile = probeProfile();
const runs = Number(process.env.HAKMEM_RUNS ?? 40);

/** Model and library over the same events. */
async function beside(
  chunks: readonly Chunk[],
  settings: GlibcSettings = {},
  touch: TouchModel = 'recorded',
): Promise<GlibcBeside> {
  const path = join(folder, 'trace.hak');
  writeHak(path, chunks, { time: false, sites: false, touch: true }, () => originOf('generated', {}));
  const source = new FileSource(path);
  try {
    return await besideGlibc(new HakTrace(source), settings, profile!, touch);
  } finally {
    source.close();
  }
}

/** Every event alike, and in the whole run every fault and every call by kind. */
function expectAlike({ real, model, first_difference }: GlibcBeside): void {
  expect(first_difference).toBeNull();
  const [round] = real.rounds;
  const { mmap, munmap, mremap, brk, mprotect, madvise } = round.syscalls!;
  const { madvise_dontneed, madvise_free: _, ...calls } = model.syscalls;
  expect({ faults: model.faults, ...calls, madvise: madvise_dontneed }).toEqual(
    // A thread that ends frees its cache, and that may trim its arena: the model does not know that it ends.
    real.trace.threads === 1
      ? { faults: round.faults, mmap, munmap, mremap, brk, mprotect, madvise }
      : {
          ...{ faults: round.faults, mmap, mremap, mprotect },
          munmap: atMost(munmap),
          brk: atMost(brk),
          madvise: atMost(madvise),
        },
  );
}

const atMost = (most: number) => expect.toSatisfy((count: number) => count <= most);

describe('beside the library', () => {
  test('random traces under random settings come out alike in every event', async () => {
    await fc.assert(
      fc.asyncProperty(anyCase(400), async (drawn) => {
        expectAlike(await beside(chunksOf(drawn), drawn.settings, drawn.touch));
      }),
      { numRuns: runs },
    );
  });
});
