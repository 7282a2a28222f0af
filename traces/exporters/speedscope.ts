/** A profile for speedscope.app: bytes and calls by the stack that asked. Format: https://www.speedscope.app/file-format-schema.json. */
import { TextSink } from '../text-sink.ts';
import { op } from '../trace.ts';
import type { TraceExporter } from './exporter.ts';

export const speedscope: TraceExporter = {
  says: 'a speedscope profile: bytes and calls by stack',
  write(trace, sink) {
    const { sites, has_sites, program } = trace.origin;
    const rows = Math.max(1, sites.length);
    const [bytes, calls] = [new Float64Array(rows), new Float64Array(rows)];
    for (const { op: kinds, site, size_bytes, length } of trace.chunks())
      for (let row = 0; row < length; row += 1) {
        if (kinds[row] === op.free) continue;
        bytes[site[row]] += size_bytes[row];
        calls[site[row]] += 1;
      }
    const frames = new Map<string, number>();
    const frameOf = (name: string): number => {
      const frame = frames.get(name) ?? frames.size;
      frames.set(name, frame);
      return frame;
    };
    const used = [...calls.keys()].filter((site) => calls[site] > 0);
    const samples = used.map((site) =>
      // Innermost first in a name, outermost first in a sample.
      (has_sites ? (sites[site].name ?? sites[site].hash) : 'sites not recorded').split(' < ').reverse().map(frameOf),
    );
    const profile = (name: string, unit: 'bytes' | 'none', column: Float64Array) => {
      const weights = used.map((site) => column[site]);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return { type: 'sampled', name, unit, startValue: 0, endValue: total, samples, weights };
    };
    const document = {
      $schema: 'https://www.speedscope.app/file-format-schema.json',
      exporter: 'hakmem',
      name: `hakmem, recorded: ${program}`,
      activeProfileIndex: 0,
      profiles: [profile('bytes asked for', 'bytes', bytes), profile('calls', 'none', calls)],
      shared: { frames: [...frames.keys()].map((name) => ({ name })) },
    };
    const out = new TextSink(sink);
    out.add(`${JSON.stringify(document)}\n`);
    out.flush();
  },
};
