/** How often BigCache serves a request: rings by call site, against one ring for all sites, narrow and wide. */
import { type Config, configOf, type Outcome } from '../../sim/index.ts';
import { nameOf } from './batching.ts';
import { CheckedRows } from './checked.ts';
import type { Bench, Finding, Study, StudyVerdict } from './study.ts';

export const claimed_rate = 0.99;

/** Rings, the original's first. */
const rings: readonly { readonly name: string; readonly settings: Partial<Config> }[] = [
  { name: 'by site, 4', settings: {} },
  { name: 'no site, 4', settings: { bigcache_site_keyed: 0, bigcache_ways: 4 } },
  { name: 'no site, 8', settings: { bigcache_site_keyed: 0, bigcache_ways: 8 } },
  { name: 'no site, 16', settings: { bigcache_site_keyed: 0, bigcache_ways: 16 } },
];

export const hit_rate: Study = {
  name: 'hit-rate',
  question: 'How often does BigCache serve a request, and does keeping rings by call site help?',
  claim: 'BigCache, keyed by call site, has a hit rate of 99 %.',
  claimed_by: "the original's documents",
  method:
    'Hits / (hits + misses) of BALANCED on every recorded sample, with rings of 4 for each (site slot, class), and with one ring ' +
    'of 4, 8 or 16 a class for all sites.',
  limits: [
    'Nine recorded programs; two of them have no large block and say nothing.',
    'A wider ring also keeps more memory; the mean resident bytes of the large blocks stand beside the rates.',
    'The claim came from loops that free and ask for one size again and again; there it is true (scenario vm).',
  ],
  run,
};

export interface RateRow {
  readonly name: string;
  /** By ring; null where nothing was asked. */
  readonly rates: readonly (number | null)[];
  readonly requests: number;
}

async function run(bench: Bench): Promise<Finding> {
  const checked = new CheckedRows(bench);
  const rows: (RateRow & { outcomes: readonly Outcome[] })[] = [];
  for (const [at, trace] of bench.samples.entries()) {
    const configs = rings.map(({ settings }) => configOf('BALANCED', settings));
    const outcomes = await checked.outcomes(trace, configs);
    const { hits, misses } = outcomes[0].bigcache;
    rows.push({ name: nameOf(trace), rates: outcomes.map(rateOf), requests: hits + misses, outcomes });
    bench.progress('samples', at + 1, bench.samples.length);
  }
  return {
    ...judge(rows),
    tables: [
      {
        title: 'Hit rate',
        head: ['sample', 'requests', ...rings.map(({ name }) => name)],
        rows: rows.map(({ name, requests, rates }) => [name, String(requests), ...rates.map(percent)]),
      },
      {
        title: 'Mean resident MiB of the large blocks',
        head: ['sample', ...rings.map(({ name }) => name)],
        rows: rows.map(({ name, outcomes }) => [
          name,
          ...outcomes.map(({ resident_bytes }) => (resident_bytes.mean / 2 ** 20).toFixed(1)),
        ]),
      },
    ],
    checked: checked.counts(),
  };
}

/** The claim is about the first ring, on programs that ask it anything. */
export function judge(rows: readonly RateRow[]): { verdict: StudyVerdict; because: string } {
  const asked = rows.filter(({ rates }) => rates[0] !== null);
  if (asked.length === 0) return { verdict: 'cannot be told', because: 'no sample asked BigCache for a block.' };
  const keyed = asked.map(({ rates }) => rates[0]!);
  const reach = keyed.filter((rate) => rate >= claimed_rate).length;
  const better = asked.filter(({ rates }) => rates[1] !== null && rates[1] > rates[0]!).length;
  const worse = asked.filter(({ rates }) => rates[1] !== null && rates[1] < rates[0]!).length;
  return {
    verdict: reach === asked.length ? 'holds' : 'does not hold',
    because:
      `${reach} of ${asked.length} samples that use BigCache reach 99 %; rates run from ${percent(Math.min(...keyed))} to ` +
      `${percent(Math.max(...keyed))}. One ring of 4 for all sites hits more often on ${better} of them and less often on ${worse}.`,
  };
}

export function rateOf({ bigcache: { hits, misses } }: Outcome): number | null {
  return hits + misses > 0 ? hits / (hits + misses) : null;
}

function percent(rate: number | null): string {
  return rate === null ? '-' : `${(100 * rate).toFixed(1)} %`;
}
