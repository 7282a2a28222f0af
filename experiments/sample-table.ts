/** What a sample says of all blocks beside what was counted of them. */
import type { SampleEstimate } from '../traces/sample-estimate.ts';
import { formatBytes } from './sizes.ts';
import { count } from './words.ts';

export const sample_head = [
  'size',
  'in the sample',
  'allocations, estimated',
  'counted',
  'bytes, estimated',
  'counted',
  'ended',
];

/** Cells of `sample_head`, a row for each size class. */
export function sampleRows(sample: SampleEstimate): string[][] {
  const withError = (value: number, error: number, show: (value: number) => string) =>
    error === 0 ? show(value) : `${show(value)} ± ${show(error)}`;
  return sample
    .classesBesideCounts()
    .map(({ below_bytes, sampled, allocations, allocations_error, bytes, bytes_error, exact }) => [
      `below ${formatBytes(below_bytes)}`,
      count(sampled),
      withError(allocations, allocations_error, (value) => count(Math.round(value))),
      exact === null ? '-' : count(exact.allocations),
      withError(bytes, bytes_error, (value) => formatBytes(Math.round(value))),
      exact === null ? '-' : formatBytes(exact.allocated_bytes),
      exact === null ? '-' : count(exact.ends),
    ]);
}
