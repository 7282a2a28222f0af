/** The checkpoints as a table: what a spreadsheet or a plot of one's own starts from. Comment lines say what it is. */

import { TextSink } from '../../traces/text-sink.ts';
import type { Exporter } from './exporter.ts';
import { watch } from './run.ts';

export const csv: Exporter = {
  says: 'the checkpoints as a table',
  async write(run, sink) {
    const out = new TextSink(sink);
    for (const [name, value] of Object.entries(run.about))
      out.add(`# ${name}: ${String(value).replace(/[\r\n]/g, ' ')}\n`);
    const columns = ['events', 'trace_time_ns', 'time_ns', 'faults', 'live_bytes', 'resident_bytes', 'heap_bytes'];
    out.add(`${[...columns, 'mapped_bytes', 'kept_bytes'].join(',')}\n`);
    await watch(run, {
      moment: (moment, live_bytes, trace_time_ns) => {
        const { events, time_ns, faults, resident_bytes, heap_bytes, mapped_bytes, kept_bytes } = moment;
        const cells = [events, trace_time_ns, time_ns, faults, live_bytes, resident_bytes, heap_bytes];
        out.add(`${[...cells, mapped_bytes, kept_bytes].join(',')}\n`);
      },
    });
    out.flush();
  },
};
