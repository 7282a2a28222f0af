/**
 * A profile for speedscope.app: simulated nanoseconds by call site, and below it by what the call was. A free is charged
 * to the site that allocated the block; what no event was charged with has a frame of its own.
 */
import { stackOf, writeSpeedscope } from '../../traces/exporters/speedscope-file.ts';
import { op, op_names } from '../../traces/index.ts';
import type { Exporter } from './exporter.ts';
import { watch } from './run.ts';
import { siteNames } from './sites.ts';

export const speedscope: Exporter = {
  says: 'a speedscope profile: simulated time by call site',
  async write(run, sink) {
    const ns_of = new Map<number, number[]>();
    let site_of = new Uint32Array(1024);
    const result = await watch(run, {
      event: ({ op: kinds, object, site }, row, price_ns) => {
        const slot = object[row];
        if (slot >= site_of.length) {
          const wider = new Uint32Array(Math.max(slot + 1, 2 * site_of.length));
          wider.set(site_of);
          site_of = wider;
        }
        const kind = kinds[row];
        if (kind !== op.free) site_of[slot] = site[row];
        const by_kind = ns_of.get(site_of[slot]) ?? op_names.map(() => 0);
        ns_of.set(site_of[slot], by_kind);
        by_kind[kind] += price_ns;
      },
    });
    const name_of = siteNames(run.trace);
    const sites = [...ns_of.keys()].sort((a, b) => a - b);
    const charged = sites.flatMap((site) =>
      op_names.flatMap((kind, at) => {
        const ns = ns_of.get(site)![at];
        return ns === 0 ? [] : [{ stack: [...stackOf(name_of(site)), kind], ns }];
      }),
    );
    const rest = result.time_ns.total - charged.reduce((sum, { ns }) => sum + ns, 0);
    if (rest > 0) charged.push({ stack: ['heap growth and the last flush'], ns: rest });
    const about = {
      exporter: `hakmem ${run.about.revision}`,
      name: `hakmem, simulated: ${run.trace.path} (${run.about.setting}; ${run.about.check})`,
      hakmem: run.about,
    };
    const weights = charged.map(({ ns }) => ns);
    writeSpeedscope(
      sink,
      about,
      charged.map(({ stack }) => stack),
      [{ name: 'simulated time by call site', unit: 'nanoseconds', weights }],
    );
  },
};
