/** Price files: what `hakmem calibrate` writes, the flat lists of earlier versions, and whose prices they are. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { median } from 'd3-array';
import {
  type CurveName,
  curve_names,
  curveFrom,
  type KernelProfile,
  type LibraryPrices,
  prices as nominal_prices,
  type PriceCurve,
  type PriceCurves,
  type PriceName,
  type Prices,
  point_limits,
} from '../../sim/index.ts';
import { UsageError } from '../command.ts';
import { check, readJson } from '../json-file.ts';
import { isThisMachine, type Machine, nameOf, thisMachine } from './machine.ts';

export const price_format = 'hakmem-prices 1';

/** What a price was between its runs: medians of runs, and a 95 % interval of their median. */
export interface Priced {
  readonly ns: number;
  readonly low: number;
  readonly high: number;
}

/** [pages, ns, low, high]; of the C library's calls, bytes for pages. */
export type PointRow = readonly [number, number, number, number];

export const contended_ways = ['alone', 'unrelated', 'beside', 'beside_adds', 'both', 'both_wall'] as const;
export type Contended = { readonly pages: number } & { readonly [way in (typeof contended_ways)[number]]: Priced };

export interface PriceDocument {
  readonly format: typeof price_format;
  readonly name: string;
  readonly measured_at: string;
  readonly machine: Machine;
  readonly kernel_profile: KernelProfile;
  readonly prices: Prices;
  readonly intervals: { readonly [name in PriceName]?: { readonly low: number; readonly high: number } };
  readonly curves: { readonly [name in CurveName]?: readonly PointRow[] };
  /** Null on one CPU. */
  readonly contention: { readonly [call: string]: readonly Contended[] } | null;
  /** What a release takes longer beside another thread of the process; null on one CPU. */
  readonly shootdown: Priced | null;
  readonly library: { readonly [call: string]: readonly PointRow[] };
  readonly clock: { readonly [clock: string]: Priced };
  readonly left_out: { readonly cold_huge_faults: number; readonly fallen_back_huge_faults: number };
  /** Of the CPUs that were not measuring: the share of time that other work had them, from 0 to 1; null on one CPU. */
  readonly others_busy: number | null;
  /** Why, by what is nominal or missing. */
  readonly not_measured: { readonly [name: string]: string };
  readonly runs: number;
}

export interface PriceList {
  readonly name: string;
  readonly sha256: string;
  readonly source: 'nominal' | 'measured';
  /** Whose they are: nominal ones, and lists that do not say, are of an unknown one. */
  readonly machine: 'this' | 'other' | 'unknown';
  readonly machine_name: string | null;
  readonly prices: Prices;
  readonly curves: PriceCurves;
  /** Of the C library's own work; null where nobody measured it. */
  readonly library: LibraryPrices | null;
  /** What a call that takes pages away takes longer while another thread of the process runs; null as above. */
  readonly shootdown_ns: number | null;
}

export function nominalPrices(): PriceList {
  return {
    name: 'nominal',
    sha256: sha256(JSON.stringify(nominal_prices)),
    source: 'nominal',
    machine: 'unknown',
    machine_name: null,
    prices: nominal_prices,
    curves: curveFrom(nominal_prices),
    library: null,
    shootdown_ns: null,
  };
}

/** As results print it. */
export function describePrices({ name, sha256, source, machine, machine_name }: PriceList) {
  return { name, sha256, source, machine, machine_name };
}

/** "nominal prices", "prices measured on this machine"; other machines are named loudly. */
export function pricesInWords({
  source,
  machine,
  machine_name,
}: Pick<PriceList, 'source' | 'machine' | 'machine_name'>): string {
  if (source === 'nominal') return 'nominal prices';
  if (machine === 'this') return 'prices measured on this machine';
  return machine === 'other' ? `prices of ANOTHER machine (${machine_name})` : 'prices of a file that names no machine';
}

/** Where `hakmem calibrate` keeps the prices of this machine and kernel. */
export function cachedPath(): string {
  const { XDG_CACHE_HOME: cache = '' } = process.env;
  return join(cache === '' ? join(homedir(), '.cache') : cache, 'hakmem', `prices-${thisMachine().id}.json`);
}

/** Of a file, or with "measured" of what was kept for this machine. Throws UsageError. */
export async function readPrices(given: string): Promise<PriceList> {
  const path = given === 'measured' ? cachedPath() : given;
  if (given === 'measured' && !existsSync(path))
    throw new UsageError(
      `--prices measured: no prices of this machine and kernel at ${path}; hakmem calibrate makes them`,
    );
  const { text, json } = readJson(path);
  const { flat, whole } = await priceSchemas(path);
  const measured = { sha256: sha256(text), source: 'measured' } as const;
  if (typeof json !== 'object' || json === null || !('format' in json)) {
    const { name, prices } = check(path, flat.safeParse(json));
    const unknown = { machine: 'unknown', machine_name: null, library: null, shootdown_ns: null } as const;
    return { name, ...measured, ...unknown, prices, curves: curveFrom(prices) };
  }
  return priceList(check(path, whole.safeParse(json)), text);
}

/** What is taken of a document: more than the flat lists of earlier versions, and less than is kept. */
type Taken = Pick<PriceDocument, 'name' | 'prices' | 'machine'> & {
  readonly curves: { readonly [name in CurveName]?: readonly PointRow[] | undefined };
  readonly library?: PriceDocument['library'] | undefined;
  readonly contention?: Contentions | null | undefined;
  readonly shootdown?: Pick<Priced, 'ns'> | null | undefined;
};
interface Contentions {
  readonly [call: string]: readonly Pick<Contended, 'pages' | 'beside_adds'>[];
}

/** `text` is what the document was read from, or would be written as: what its hash is over. */
export function priceList(document: Taken, text: string): PriceList {
  const { name, prices, machine, curves, library } = document;
  const points = (curve: CurveName): PriceCurve | undefined =>
    curves[curve]?.map(([x, ns, low, high]) => ({ x, ns, low, high })) ??
    // Files are older than this curve.
    (curve === 'fresh_fault_ns' ? points('fault_ns') : undefined);
  const flat_curves = curveFrom(prices);
  return {
    name,
    sha256: sha256(text),
    source: 'measured',
    machine: isThisMachine(machine) ? 'this' : 'other',
    machine_name: nameOf(machine),
    prices,
    curves: Object.fromEntries(
      curve_names.map((curve) => [curve, points(curve) ?? flat_curves[curve]]),
    ) as unknown as PriceCurves,
    library: library === undefined ? null : libraryPrices(library),
    shootdown_ns: shootdownOf(document),
  };
}

/** Middle of what was measured at several sizes; pairs are a call to allocate and one to free, and each is half of it. */
function libraryPrices(library: PriceDocument['library']): LibraryPrices | null {
  const { cached_pair_ns, bin_pair_ns, joined_malloc_ns, joined_free_ns } = library;
  const rows = [cached_pair_ns, bin_pair_ns, joined_malloc_ns, joined_free_ns];
  if (rows.some((points) => points === undefined || points.length === 0)) return null;
  const middle = (points: readonly PointRow[], divisor: number): number =>
    Math.round(median(points, ([, ns]) => ns)! / divisor);
  return {
    cached_ns: middle(cached_pair_ns, 2),
    listed_ns: middle(bin_pair_ns, 2),
    searched_allocate_ns: middle(joined_malloc_ns, 1),
    searched_free_ns: middle(joined_free_ns, 1),
  };
}

/** Of larger regions the difference is lost in their pages. */
const shootdown_pages_max = 16;

function shootdownOf({ shootdown, contention }: Pick<Taken, 'shootdown' | 'contention'>): number | null {
  if (shootdown !== undefined && shootdown !== null) return Math.max(0, shootdown.ns);
  // Files are older than the figure.
  if (contention === undefined || contention === null) return null;
  const calls = ['dontneed_ns', 'munmap_ns'].flatMap((call) => contention[call] ?? []);
  const adds = calls.filter(({ pages }) => pages <= shootdown_pages_max).map(({ beside_adds }) => beside_adds.ns);
  return adds.length === 0 ? null : Math.max(0, Math.round(median(adds)!));
}

async function priceSchemas(path: string) {
  const { z } = await import('zod');
  const price = z.int().min(0).max(1e12);
  const prices = z.object(
    Object.fromEntries(
      Object.entries(nominal_prices).map(([name, nominal]) => [
        name,
        // Price files are older than this one, and it matters only where slots are searched.
        name === 'probe_ns' ? price.default(nominal) : price,
      ]),
    ) as Record<PriceName, typeof price>,
  );
  const ns = z.int().min(0).max(point_limits.ns);
  const point = z
    .tuple([z.int().min(1).max(point_limits.x), ns, ns, ns])
    .refine(([, middle, low, high]) => low <= middle && middle <= high, {
      message: 'found [pages, ns, low, high] with ns outside its interval',
    });
  const points = z
    .array(point)
    .min(1)
    .refine((points) => points.every(([x], at) => at === 0 || points[at - 1][0] < x), {
      message: 'found pages that do not ascend',
    });
  const curve = points.optional();
  const difference = z.object({ ns: z.number(), low: z.number(), high: z.number() });
  const contended = z.array(z.looseObject({ pages: z.int(), beside_adds: difference }));
  const machine = z.object({
    id: z.string(),
    cpu: z.string(),
    cpus: z.int(),
    memory_bytes: z.int(),
    kernel: z.string(),
    thp: z.object({ enabled: z.string(), defrag: z.string() }),
    virtualised: z.boolean().nullable(),
    glibc: z.string(),
  });
  const flat = z.object({ name: z.string().default(path), prices });
  const whole = flat.extend({
    format: z.literal(price_format),
    machine,
    curves: z.object(Object.fromEntries(curve_names.map((name) => [name, curve])) as Record<CurveName, typeof curve>),
    library: z.record(z.string(), points).optional(),
    contention: z.record(z.string(), contended).nullish(),
    shootdown: difference.nullish(),
  });
  return { flat, whole };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
