/** From the raw figures of several passes to one price document: medians over passes, and 95 % intervals of them. */
import { median } from 'd3-array';
import {
  type CurveName,
  curves as curve_infos,
  curve_names,
  type KernelProfile,
  prices as nominal_prices,
  type PriceName,
  type Prices,
  referenceOf,
} from '../../sim/index.ts';
import { intervalOf } from '../statistics.ts';
import { type Machine, nameOf } from './machine.ts';
import {
  type Contended,
  contended_ways,
  type PointRow,
  type PriceDocument,
  type Priced,
  price_format,
} from './price-file.ts';

interface Figure {
  readonly group: 'clock' | 'curve' | 'contention' | 'shootdown' | 'library';
  readonly name: string;
  /** How contended; of the others empty. */
  readonly variant: string;
  /** Pages, ranges or bytes; of clocks 0. */
  readonly at: number;
  readonly ns: number;
}

/** What one hak-calibrate prints. */
export interface Pass {
  readonly huge: boolean;
  readonly contention: boolean;
  readonly cold_huge_faults: number;
  readonly fallen_back_huge_faults: number;
  /** All its threads and its own processes. */
  readonly cpu_s: number;
  readonly figures: readonly Figure[];
}

export interface Circumstances {
  readonly machine: Machine;
  readonly profile: KernelProfile;
  readonly measured_at: string;
  readonly others_busy: number | null;
}

const seed = 1;

/** `passes` not empty. Figures that a pass lacks are those of the others. */
export function combine(
  passes: readonly Pass[],
  { machine, profile, measured_at, others_busy }: Circumstances,
): PriceDocument {
  const figures = passes.map(
    (pass) =>
      new Map(pass.figures.map(({ group, name, variant, at, ns }) => [`${group} ${name} ${variant} ${at}`, ns])),
  );
  const samples = (group: Figure['group'], name: string, variant: string, at: number): number[] =>
    figures.map((each) => each.get(`${group} ${name} ${variant} ${at}`)).filter((ns) => ns !== undefined);
  const places = (group: Figure['group'], name: string): number[] => {
    const all = passes.flatMap((pass) => pass.figures.filter((each) => each.group === group && each.name === name));
    return [...new Set(all.map(({ at }) => at))].sort((a, b) => a - b);
  };
  const names = (group: Figure['group']): string[] => [
    ...new Set(passes.flatMap((pass) => pass.figures.filter((each) => each.group === group).map(({ name }) => name))),
  ];
  const rows = (group: Figure['group'], name: string): PointRow[] =>
    places(group, name).map((at) => {
      const { ns, low, high } = priced(samples(group, name, '', at));
      return [at, ns, low, high];
    });
  const curves = Object.fromEntries(
    curve_names.map((name) => [name, rows('curve', name)] as const).filter(([, points]) => points.length > 0),
  ) as { [name in CurveName]?: readonly PointRow[] };
  const heap_call = halvedPairs(
    places('library', 'cached_pair_ns').map((at) => samples('library', 'cached_pair_ns', '', at)),
  );
  const known: { readonly [name in PriceName]?: Priced } = {
    ...referencePrices(curves),
    heap_call_ns: priced(heap_call),
  };
  const contended = (call: string): Contended[] =>
    places('contention', call).map((pages) => {
      const of = (way: string): number[] => samples('contention', call, way, pages);
      const adds = of('beside').map((ns, at) => ns - of('unrelated')[at]);
      const ways = contended_ways.map((way) => [
        way,
        way === 'beside_adds' ? rounded(adds, -Infinity) : priced(of(way)),
      ]);
      return { pages, ...Object.fromEntries(ways) };
    });
  return {
    format: price_format,
    name: `measured on ${nameOf(machine)}`,
    measured_at,
    machine,
    kernel_profile: profile,
    prices: Object.fromEntries(
      Object.entries(nominal_prices).map(([name, nominal]) => [name, known[name as PriceName]?.ns ?? nominal]),
    ) as Prices,
    intervals: Object.fromEntries(Object.entries(known).map(([name, { low, high }]) => [name, { low, high }])),
    curves,
    contention: passes.every(({ contention }) => contention)
      ? Object.fromEntries(names('contention').map((call) => [`${call}_ns`, contended(call)]))
      : null,
    shootdown: shootdown(passes),
    library: Object.fromEntries(names('library').map((call) => [call, rows('library', call)])),
    clock: Object.fromEntries(names('clock').map((name) => [name, priced(samples('clock', name, '', 0))])),
    left_out: {
      cold_huge_faults: passes.reduce((sum, each) => sum + each.cold_huge_faults, 0),
      fallen_back_huge_faults: passes.reduce((sum, each) => sum + each.fallen_back_huge_faults, 0),
    },
    others_busy,
    not_measured: {
      lookup_ns: 'nominal: of the policy, not of the machine',
      probe_ns: 'nominal: of the policy, not of the machine',
      ...missingReasons(passes, curves),
    },
    runs: passes.length,
  };
}

/** Of every flat price that is read off a curve of its own. */
function referencePrices(curves: PriceDocument['curves']): { [name in PriceName]?: Priced } {
  const own = curve_names.filter((name) => curve_infos[name].flat === name);
  return Object.fromEntries(
    own.flatMap((name) => {
      const point = curves[name]?.find(([at]) => at === referenceOf(name));
      return point === undefined ? [] : [[name, { ns: point[1], low: point[2], high: point[3] }]];
    }),
  );
}

/** One call of malloc or free, pass by pass: half a pair, the median over sizes. */
function halvedPairs(by_size: readonly (readonly number[])[]): number[] {
  return by_size[0].map((_, pass) => median(by_size, (samples) => samples[pass])! / 2);
}

/** A difference, which may come out below nothing. */
function shootdown(passes: readonly Pass[]): Priced | null {
  const adds = passes.flatMap((pass) => pass.figures.filter(({ group }) => group === 'shootdown').map(({ ns }) => ns));
  return adds.length === 0 ? null : rounded(adds, -Infinity);
}

function missingReasons(passes: readonly Pass[], curves: PriceDocument['curves']): Record<string, string> {
  const reasons: Record<string, string> = {};
  const huge = passes.every((pass) => pass.huge);
  for (const name of curve_names)
    if (curves[name] === undefined)
      reasons[name] = /huge|small/.test(name) && !huge ? 'this kernel makes no huge pages here' : 'not possible here';
  if (passes.some(({ contention }) => !contention)) reasons.contention = 'this process may run on one CPU only';
  return reasons;
}

/** No price is nothing: what is lost in noise costs a nanosecond. */
function priced(samples: readonly number[]): Priced {
  return rounded(samples, 1);
}

function rounded(samples: readonly number[], least: number): Priced {
  const { median: ns, low, high } = intervalOf(samples, seed);
  const whole = (value: number): number => Math.max(least, Math.round(value));
  return { ns: whole(ns), low: whole(low), high: whole(high) };
}
