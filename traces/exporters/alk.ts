/**
 * The processed records of alk, 24 bytes each, little-endian: u64 with the type in its low 8 bits and a register above,
 * then two u64. A register is a slot. Times and processors are a record of their own; the processor is not known, so 0.
 */
import { interruptible } from '../interruptible.ts';
import { op } from '../trace.ts';
import type { TraceExporter } from './exporter.ts';

export const alk_type = { malloc: 0, free: 1, memalign: 3, realloc: 4, switch_thread: 5, set_ts_cpu: 7 } as const;
export const alk_record_bytes = 24;
const piece_records = 4096;

export const alk: TraceExporter = {
  says: 'processed records of alk',
  async write(trace, sink) {
    const bytes = new Uint8Array(piece_records * alk_record_bytes);
    const view = new DataView(bytes.buffer);
    let records = 0;
    const flush = (): void => {
      sink.append(bytes.slice(0, records * alk_record_bytes));
      records = 0;
    };
    const record = (type: number, register: number, a: number, b: number): void => {
      const at = records * alk_record_bytes;
      view.setUint32(at, (register * 256 + type) >>> 0, true);
      view.setUint32(at + 4, Math.floor(register / 2 ** 24), true);
      setUint64(view, at + 8, a);
      setUint64(view, at + 16, b);
      records += 1;
      if (records === piece_records) flush();
    };
    let last_thread = -1;
    let last_time_ns = -1;
    for await (const { op: kinds, thread, object, size_bytes, align, time_ns, length } of interruptible(trace.chunks()))
      for (let row = 0; row < length; row += 1) {
        if (thread[row] !== last_thread) record(alk_type.switch_thread, 0, thread[row], 0);
        if (trace.origin.has_time && time_ns[row] !== last_time_ns) record(alk_type.set_ts_cpu, 0, time_ns[row], 0);
        last_thread = thread[row];
        last_time_ns = time_ns[row];
        const slot = object[row];
        const size = size_bytes[row];
        if (kinds[row] === op.free) record(alk_type.free, slot, 0, 0);
        else if (kinds[row] === op.realloc) record(alk_type.realloc, slot, slot, size);
        else if (kinds[row] === op.aligned) record(alk_type.memalign, slot, size, align[row]);
        else record(alk_type.malloc, slot, size, 0);
      }
    flush();
  },
};

function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
