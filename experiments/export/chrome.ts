/**
 * Chrome trace events, for Perfetto and chrome://tracing: counters of memory over trace time, and every large block from
 * its allocation to its free, on a track for its call site. Format: "Trace Event Format", JSON object form.
 */
import { type Chunk, op } from '../../traces/index.ts';
import { TextSink } from '../../traces/text-sink.ts';
import { formatBytes } from '../sizes.ts';
import type { Exporter } from './exporter.ts';
import { block_bytes, watch } from './run.ts';
import { siteNames } from './sites.ts';

export const process_id = 1;

export const chrome: Exporter = {
  says: 'Chrome trace events for Perfetto: memory counters and large blocks',
  async write(run, sink) {
    const out = new TextSink(sink);
    const name_of = siteNames(run.trace);
    const tracks = new Set<number>();
    const blocks = new Blocks(out, (site) => {
      if (tracks.has(site)) return;
      tracks.add(site);
      emit(out, { ph: 'M', name: 'thread_name', ts: 0, pid: process_id, tid: site + 1, args: { name: name_of(site) } });
    });
    out.add(`{"displayTimeUnit":"ms","otherData":${JSON.stringify(run.about)},"traceEvents":[\n`);
    const title = `hakmem, simulated: ${run.trace.path}`;
    out.add(JSON.stringify({ ph: 'M', name: 'process_name', ts: 0, pid: process_id, tid: 0, args: { name: title } }));
    let end_us = 0;
    await watch(run, {
      event: (chunk, row, _, bytes) => {
        end_us = chunk.time_ns[row] / 1000;
        blocks.add(chunk, row, bytes);
      },
      moment: ({ resident_bytes, mapped_bytes, kept_bytes, heap_bytes }, live_bytes, time_ns) => {
        const values = { live_bytes, resident_bytes: resident_bytes + heap_bytes, mapped_bytes, kept_bytes };
        for (const [name, value] of Object.entries(values))
          emit(out, { ph: 'C', name, ts: time_ns / 1000, pid: process_id, tid: 0, args: { bytes: value } });
      },
    });
    blocks.endAll(end_us);
    out.add('\n]}\n');
    out.flush();
  },
};

/** One event, after a comma: the process name came before it. */
export function emit(out: TextSink, event: object): void {
  out.add(`,\n${JSON.stringify(event)}`);
}

interface Open {
  readonly id: number;
  readonly site: number;
  readonly name: string;
}

/** Begin and end of blocks, as nestable asynchronous events: blocks of one site overlap as they like. */
export class Blocks {
  private readonly out: TextSink;
  private readonly announce: (site: number) => void;
  private readonly open = new Map<number, Open>();
  private begun = 0;

  constructor(out: TextSink, announce: (site: number) => void) {
    this.out = out;
    this.announce = announce;
  }

  add({ op: kinds, object, site, time_ns, first_event }: Chunk, row: number, bytes: number): void {
    const slot = object[row];
    const ts = time_ns[row] / 1000;
    const before = this.open.get(slot);
    if (before !== undefined) this.end(slot, before, ts);
    if (kinds[row] === op.free || bytes < block_bytes) return;
    this.announce(site[row]);
    const block = { id: this.begun, site: site[row], name: formatBytes(bytes) };
    this.begun += 1;
    this.open.set(slot, block);
    this.emit('b', block, ts, { bytes, event: first_event + row });
  }

  /** What is never freed lives to the end of the trace. */
  endAll(ts: number): void {
    for (const [slot, block] of this.open) this.end(slot, block, ts);
  }

  private end(slot: number, block: Open, ts: number): void {
    this.open.delete(slot);
    this.emit('e', block, ts, {});
  }

  private emit(ph: 'b' | 'e', { id, site, name }: Open, ts: number, args: object): void {
    emit(this.out, { ph, cat: 'block', name, id, ts, pid: process_id, tid: site + 1, args });
  }
}
