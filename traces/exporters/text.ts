/** The text that `traces/text.ts` reads, so that importing what was exported gives the same events. */
import { interruptible } from '../interruptible.ts';
import { TextSink } from '../text-sink.ts';
import { op, op_names } from '../trace.ts';
import type { TraceExporter } from './exporter.ts';

export const text: TraceExporter = {
  says: 'lines "TID: malloc PTR SIZE", with times where there are any',
  async write(trace, sink) {
    const out = new TextSink(sink);
    for await (const { op: kinds, thread, object, size_bytes, align, time_ns, length } of interruptible(trace.chunks()))
      for (let row = 0; row < length; row += 1) {
        const kind = kinds[row];
        const name = `0x${((object[row] + 1) * 16).toString(16)}`;
        const word = kind === op.aligned ? 'memalign' : op_names[kind];
        const size = kind === op.free ? '' : ` ${size_bytes[row]}`;
        const between =
          kind === op.calloc ? ' 1' : kind === op.aligned ? ` ${align[row]}` : kind === op.realloc ? ` ${name}` : '';
        const times = trace.origin.has_time ? ` ${time_ns[row]} ${time_ns[row]}` : '';
        out.add(`${thread[row]}: ${word} ${name}${between}${size}${times}\n`);
      }
    out.flush();
  },
};
