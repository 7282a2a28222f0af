/** Chrome trace events of a recording: bytes and blocks live over its time, and every large block on the track of its call site. */
import type { TraceExporter } from '../../traces/exporters/exporter.ts';
import { interruptible, op, type Trace } from '../../traces/index.ts';
import { TextSink } from '../../traces/text-sink.ts';
import { Blocks, emit, process_id } from './chrome.ts';
import { Live } from './run.ts';
import { siteNames } from './sites.ts';

/** More points than this are more than a screen has. */
const points_max = 4096;

export const recordedChrome: TraceExporter = {
  says: 'Chrome trace events for Perfetto: live bytes and large blocks',
  async write(trace, sink) {
    const out = new TextSink(sink);
    out.add(`{"displayTimeUnit":"ms","otherData":${JSON.stringify(aboutOf(trace))},"traceEvents":[\n`);
    const args = { name: `hakmem, recorded: ${trace.path}` };
    out.add(JSON.stringify({ ph: 'M', name: 'process_name', ts: 0, pid: process_id, tid: 0, args }));
    const name_of = siteNames(trace);
    const tracks = new Set<number>();
    const blocks = new Blocks(out, (site) => {
      if (tracks.has(site)) return;
      tracks.add(site);
      emit(out, { ph: 'M', name: 'thread_name', ts: 0, pid: process_id, tid: site + 1, args: { name: name_of(site) } });
    });
    const live = new Live();
    let live_blocks = 0;
    let end_us = 0;
    const every = Math.max(1, Math.ceil(trace.statistics.events / points_max));
    for await (const chunk of interruptible(trace.chunks()))
      for (let row = 0; row < chunk.length; row += 1) {
        end_us = chunk.time_ns[row] / 1000;
        const kind = chunk.op[row];
        if (kind === op.free) live_blocks -= 1;
        else if (kind !== op.realloc) live_blocks += 1;
        blocks.add(chunk, row, live.add(chunk, row));
        if ((chunk.first_event + row + 1) % every !== 0) continue;
        const counter = { ph: 'C', ts: end_us, pid: process_id, tid: 0 };
        emit(out, { ...counter, name: 'live_bytes', args: { bytes: live.bytes } });
        emit(out, { ...counter, name: 'live_blocks', args: { blocks: live_blocks } });
      }
    blocks.endAll(end_us);
    out.add('\n]}\n');
    out.flush();
  },
};

function aboutOf({ path, origin, statistics }: Trace): object {
  return {
    what: 'a recording: nothing here is simulated',
    trace: path,
    program: origin.program,
    events: statistics.events,
    clock: origin.has_time ? 'recorded' : 'one event is one microsecond: no time was recorded',
  };
}
