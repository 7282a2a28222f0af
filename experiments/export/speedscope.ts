/**
 * A profile for speedscope.app: simulated nanoseconds by call site, and below it by what the call was. A free is charged
 * to the site that allocated the block; what no event was charged with has a frame of its own. Format: https://www.speedscope.app/file-format-schema.json.
 */
import { op, op_names } from '../../traces/index.ts';
import { TextSink } from '../../traces/text-sink.ts';
import type { Exporter } from './exporter.ts';
import { watch } from './run.ts';
import { siteNames } from './sites.ts';

export const speedscope: Exporter = {
  says: 'a speedscope profile: simulated time by call site',
  write(run, sink) {
    const ns_of = new Map<number, number[]>();
    let site_of = new Uint32Array(1024);
    const result = watch(run, {
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
    const stacks = sites.flatMap((site, frame) =>
      op_names.flatMap((_, kind) => {
        const ns = ns_of.get(site)![kind];
        return ns === 0 ? [] : [{ stack: [op_names.length + frame, kind], ns }];
      }),
    );
    const frames = [...op_names, ...sites.map(name_of), 'heap growth and the last flush'];
    const rest = result.time_ns.total - stacks.reduce((sum, { ns }) => sum + ns, 0);
    if (rest > 0) stacks.push({ stack: [frames.length - 1], ns: rest });
    const document = {
      $schema: 'https://www.speedscope.app/file-format-schema.json',
      exporter: `hakmem ${run.about.revision}`,
      name: `hakmem, simulated: ${run.trace.path} (${run.about.setting}; ${run.about.check})`,
      hakmem: run.about,
      activeProfileIndex: 0,
      shared: { frames: frames.map((name) => ({ name })) },
      profiles: [
        {
          type: 'sampled',
          name: 'simulated time by call site',
          unit: 'nanoseconds',
          startValue: 0,
          endValue: result.time_ns.total,
          samples: stacks.map(({ stack }) => stack),
          weights: stacks.map(({ ns }) => ns),
        },
      ],
    };
    const out = new TextSink(sink);
    out.add(`${JSON.stringify(document)}\n`);
    out.flush();
  },
};
