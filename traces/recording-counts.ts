/** The exact counts that a sampled recording keeps at the start of each stream: mirror of native/recorder/sample.h. */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { type RecordedProcess, streamFiles } from './recording-streams.ts';
import type { Sampling } from './trace.ts';

const counts_offset = 24;
const classes = 48;
const columns = 4;

/** Undefined where everything was recorded. */
export function readSampling(recorded: RecordedProcess): Sampling | undefined {
  if (recorded.sample_mean_bytes === 0) return undefined;
  const sums = new Array<number>(1 + columns * classes).fill(0);
  for (const name of streamFiles(recorded)) {
    const words = readWords(join(recorded.folder, name), sums.length);
    for (const [at, word] of words.entries()) sums[at] += word;
  }
  const column = (index: number, power: number) => sums[1 + index * classes + power];
  const counts = Array.from({ length: classes }, (_, power) => ({
    below_bytes: 2 ** (power + 1),
    allocations: column(0, power),
    allocated_bytes: column(1, power),
    ends: column(2, power),
    ended_bytes: column(3, power),
  }));
  return {
    mean_bytes: recorded.sample_mean_bytes,
    seed: recorded.sample_seed,
    whole_bytes: recorded.sample_whole_bytes,
    reallocs: sums[0],
    counts: counts.filter(({ allocations, ends }) => allocations > 0 || ends > 0),
  };
}

/** None of a file that is cut off. */
function readWords(path: string, count: number): number[] {
  const bytes = Buffer.alloc(count * 8);
  const descriptor = openSync(path, 'r');
  const length = readSync(descriptor, bytes, 0, bytes.length, counts_offset);
  closeSync(descriptor);
  return length < bytes.length ? [] : Array.from({ length: count }, (_, at) => Number(bytes.readBigUInt64LE(at * 8)));
}
