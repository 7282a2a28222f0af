/** A profile for speedscope.app: bytes and calls by the stack that asked. */
import { interruptible } from '../interruptible.ts';
import { op } from '../trace.ts';
import type { TraceExporter } from './exporter.ts';
import { stackOf, writeSpeedscope } from './speedscope-file.ts';

export const speedscope: TraceExporter = {
  says: 'a speedscope profile: bytes and calls by stack',
  async write(trace, sink) {
    const { sites, has_sites, program } = trace.origin;
    const rows = Math.max(1, sites.length);
    const [bytes, calls] = [new Float64Array(rows), new Float64Array(rows)];
    for await (const { op: kinds, site, size_bytes, length } of interruptible(trace.chunks()))
      for (let row = 0; row < length; row += 1) {
        if (kinds[row] === op.free) continue;
        bytes[site[row]] += size_bytes[row];
        calls[site[row]] += 1;
      }
    const used = [...calls.keys()].filter((site) => calls[site] > 0);
    const stacks = used.map((site) =>
      stackOf(has_sites ? (sites[site].name ?? sites[site].hash) : 'sites not recorded'),
    );
    writeSpeedscope(sink, { exporter: 'hakmem', name: `hakmem, recorded: ${program}` }, stacks, [
      { name: 'bytes asked for', unit: 'bytes', weights: used.map((site) => bytes[site]) },
      { name: 'calls', unit: 'none', weights: used.map((site) => calls[site]) },
    ]);
  },
};
