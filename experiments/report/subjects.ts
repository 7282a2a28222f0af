/** Rows by what they may be compared over: the same trace, touches, prices and kernel. */
import { configOf, default_profile, parseMode, prices } from '../../sim/index.ts';
import { UsageError } from '../command.ts';
import { compareCost } from '../sweep/ranking.ts';
import { hashOfConfig, type Measured, type Row } from '../sweep/row.ts';
import { configOfRow } from './setting.ts';

export interface Subject {
  /** Distinct, and short: the trace's path, with what else tells it from the others. */
  readonly name: string;
  /** A configuration is in it once. */
  readonly rows: readonly Row[];
  readonly best: Row;
  /** Mode BALANCED as it is, where it was among the rows. */
  readonly base: Row | null;
  readonly measured: readonly Measured[];
}

/** Where a row came from. */
export interface ResultFile {
  readonly path: string;
  readonly rows: readonly Row[];
  readonly measured: readonly Measured[];
}

const context = ['trace_sha256', 'touch', 'seed', 'prices', 'kernel_profile', 'spec_fingerprint'] as const;
const figures = [
  'score_total',
  'time_total_ns',
  'time_allocate_ns',
  'time_free_ns',
  'time_fault_ns',
  'trace_events',
  'faults',
  'huge_faults',
  'heap_faults',
  'resident_peak_bytes',
  'resident_mean_bytes',
  'heap_resident_peak_bytes',
] as const;
const texts = ['trace', 'config_hash', 'mode', 'checked', 'verdict', ...context.filter((name) => name !== 'seed')];

export const base_hash = hashOfConfig(configOf('BALANCED'));

/** Throws UsageError where a file has no rows, or something that is no row. */
export function subjectsOf(files: readonly ResultFile[]): Subject[] {
  for (const file of files) refuseOthers(file);
  const groups = new Map<string, Map<string, Row>>();
  for (const row of files.flatMap(({ rows }) => rows)) {
    const key = JSON.stringify(['trace', ...context].map((name) => row[name]));
    const group = groups.get(key) ?? new Map<string, Row>();
    groups.set(key, group);
    const before = group.get(String(row.config_hash));
    if (before === undefined || trust(row) > trust(before)) group.set(String(row.config_hash), row);
  }
  const measured = files.flatMap((file) => file.measured);
  const all = [...groups.values()].map((group) => [...group.values()].sort(compareCost));
  return all.map((rows) => ({
    name: nameOf(rows[0], all),
    rows,
    best: rows[0],
    base: rows.find(({ config_hash }) => config_hash === base_hash) ?? null,
    measured: measured.filter(
      ({ trace, trace_sha256 }) => trace === rows[0].trace && trace_sha256 === rows[0].trace_sha256,
    ),
  }));
}

/** Resident at the most, heap included: both parts at their own peak. */
export function memoryOf(row: Row): number {
  return Number(row.resident_peak_bytes) + Number(row.heap_resident_peak_bytes);
}

/** A row that was checked says more than the same row unchecked; one that differs must not hide. */
function trust({ verdict }: Row): number {
  return verdict === 'differ' ? 2 : verdict === 'agree' ? 1 : 0;
}

function refuseOthers({ path, rows }: ResultFile): void {
  if (rows.length === 0) throw new UsageError(`${path}: no rows; wanted the rows of hakmem sweep`);
  rows.forEach((row, at) => {
    const place = `${path}: row ${at + 1}`;
    if (typeof row !== 'object' || row === null || Array.isArray(row))
      throw new UsageError(`${place}: found ${JSON.stringify(row)}, wanted a row of hakmem sweep`);
    for (const name of figures)
      if (typeof row[name] !== 'number')
        throw new UsageError(`${place}: ${name}: found ${said(row[name])}, wanted a number`);
    for (const name of texts)
      if (typeof row[name] !== 'string')
        throw new UsageError(`${place}: ${name}: found ${said(row[name])}, wanted text`);
    refuseList(place, 'prices', String(row.prices), Object.keys(prices));
    refuseList(place, 'kernel_profile', String(row.kernel_profile), Object.keys(default_profile));
    try {
      parseMode(String(row.mode));
      configOfRow(row);
    } catch (error) {
      throw new UsageError(`${place}: ${(error as Error).message}`);
    }
  });
}

/** A JSON object in a text, with at least these names. */
function refuseList(place: string, column: string, text: string, names: readonly string[]): void {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    list = null;
  }
  if (typeof list !== 'object' || list === null || names.some((name) => !(name in list)))
    throw new UsageError(
      `${place}: ${column}: found ${text.slice(0, 40)}, wanted a JSON object with ${names.join(' ')}`,
    );
}

const said = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

function nameOf(row: Row, all: readonly (readonly Row[])[]): string {
  const others = all.map(([other]) => other).filter((other) => other !== row && other.trace === row.trace);
  const telling = [
    ...(others.some((other) => other.touch !== row.touch) ? [`touch ${row.touch}`] : []),
    ...(others.some((other) => other.prices !== row.prices) ? [`prices ${row.prices_name}`] : []),
    ...(others.some((other) => other.kernel_profile !== row.kernel_profile) ? ['another kernel profile'] : []),
    ...(others.some((other) => other.seed !== row.seed) ? [`seed ${row.seed}`] : []),
    ...(others.some((other) => other.trace_sha256 !== row.trace_sha256) ? [String(row.trace_sha256).slice(0, 8)] : []),
    ...(others.some((other) => other.spec_fingerprint !== row.spec_fingerprint)
      ? [`spec ${row.spec_fingerprint}`]
      : []),
  ];
  return [row.trace, ...telling].join(', ');
}
