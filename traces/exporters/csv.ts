/** The events as a table. A block has a number of its own, which slots have not. */
import { interruptible } from '../interruptible.ts';
import { TextSink } from '../text-sink.ts';
import { limits, op, op_names } from '../trace.ts';
import type { TraceExporter } from './exporter.ts';

/** In order; docs/TRACES.md says what each is. */
export const csv_columns = [
  'event',
  'time_ns',
  'thread',
  'op',
  'block',
  'size_bytes',
  'align',
  'site',
  'touched_pages',
] as const;

export const csv: TraceExporter = {
  says: 'the events as a table',
  async write(trace, sink) {
    const { has_sites, sites } = trace.origin;
    const names = sites.map(({ name, hash }) => quoted(name ?? hash));
    const out = new TextSink(sink);
    let block_of = new Float64Array(1024);
    let blocks = 0;
    out.add(`${csv_columns.join(',')}\n`);
    for await (const chunk of interruptible(trace.chunks()))
      for (let row = 0; row < chunk.length; row += 1) {
        const slot = chunk.object[row];
        const kind = chunk.op[row];
        if (slot >= block_of.length) {
          const wider = new Float64Array(Math.max(slot + 1, 2 * block_of.length));
          wider.set(block_of);
          block_of = wider;
        }
        if (kind !== op.free && kind !== op.realloc) {
          block_of[slot] = blocks;
          blocks += 1;
        }
        const size = kind === op.free ? '' : chunk.size_bytes[row];
        const align = kind === op.aligned ? chunk.align[row] : '';
        const site = has_sites && kind !== op.free ? names[chunk.site[row]] : '';
        const touched = chunk.touched_pages[row] === limits.unknown ? '' : chunk.touched_pages[row];
        out.add(
          `${chunk.first_event + row},${chunk.time_ns[row]},${chunk.thread[row]},${op_names[kind]},${block_of[slot]},${size},${align},${site},${touched}\n`,
        );
      }
    out.flush();
  },
};

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}
