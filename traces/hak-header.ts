/** The JSON at the end of a `.hak` file, checked field by field: a checksum says that it is whole, not that it is sane. */
import type { Origin, Statistics } from './trace.ts';

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === 'string';
const truth: Check = (value) => typeof value === 'boolean';
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const record =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    isRecord(value) && Object.entries(fields).every(([name, check]) => check(value[name]));

const positive: Check = (value) => count(value) && value !== 0;

const origin_fields: Readonly<Record<keyof Required<Origin>, Check>> = {
  source: (value) => value === 'recorded' || value === 'generated' || value === 'imported',
  format: orNull(text),
  program: text,
  command: text,
  machine: orNull(text),
  page_bytes: (value) => count(value) && Number.isInteger(Math.log2(value as number)),
  has_time: truth,
  has_sites: truth,
  process: orNull(
    record({
      wall_ns: count,
      user_ns: count,
      sys_ns: count,
      faults: count,
      resident_peak_bytes: count,
      exit: (value) => text(value) || Number.isSafeInteger(value),
    }),
  ),
  sites: listOf(record({ hash: text, name: orNull(text) })),
  notes: listOf(text),
  dropped: count,
  sampling: (value) => value === undefined || sampling(value),
  modules: (value) => value === undefined || modules(value),
};

const sampling = record({
  mean_bytes: positive,
  seed: count,
  whole_bytes: positive,
  reallocs: count,
  counts: listOf(
    record({ below_bytes: positive, allocations: count, allocated_bytes: count, ends: count, ended_bytes: count }),
  ),
});

const modules = listOf(record({ name: text, path: text, build_id: orNull(text) }));

const statistics_fields: Readonly<Record<keyof Statistics, Check>> = {
  events: count,
  allocations: count,
  frees: count,
  reallocs: count,
  threads: count,
  objects: count,
  largest_bytes: count,
  peak_live_bytes: count,
  total_bytes: (value) => typeof value === 'number' && value >= 0,
  unfreed: count,
  large_blocks: count,
  large_blocks_touched: count,
  size_histogram: (value) =>
    Array.isArray(value) && value.length <= 64 && value.every((entry) => listOf(count)(entry) && entry.length === 2),
};

/** Throws Error that names the field which is missing or is not what it should be. */
export function checkHeader(json: unknown): { origin: Origin; statistics: Statistics } {
  const { origin, statistics } = isRecord(json) ? json : {};
  checkFields('origin', origin, origin_fields);
  checkFields('statistics', statistics, statistics_fields);
  return { origin: origin as Origin, statistics: statistics as Statistics };
}

function checkFields(name: string, value: unknown, fields: Readonly<Record<string, Check>>): void {
  if (!isRecord(value)) throw new Error(`"${name}" is missing`);
  for (const [field, check] of Object.entries(fields))
    if (!check(value[field])) throw new Error(`"${name}.${field}" is missing or not of its kind`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
