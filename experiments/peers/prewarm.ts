/** The memory of a virtual machine is slow the first time that it is used: some of it is used before anything is timed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runReplayer } from '../../native/replayer.ts';
import { op, originOf, TraceBuilder, writeHak } from '../../traces/index.ts';

const block_bytes = 32 * 2 ** 20;
const most_bytes = 2 * 2 ** 30;
const most_ms = 20_000;

/** Touches and frees up to 2 GiB, half of what is available at most, for 20 seconds at most; returns how many bytes. */
export async function prewarm(folder: string, signal: AbortSignal): Promise<number> {
  const blocks = Math.floor(Math.min(most_bytes, availableBytes() / 2) / block_bytes);
  if (blocks === 0) return 0;
  const builder = new TraceBuilder(blocks);
  for (let block = 0; block < blocks; block += 1) builder.allocate(op.malloc, block, block_bytes);
  const path = join(folder, 'prewarm.hak');
  writeHak(path, builder.finish(), { time: false, sites: false, touch: false }, () => originOf('generated', {}));
  const enough = AbortSignal.any([signal, AbortSignal.timeout(most_ms)]);
  try {
    await runReplayer(path, { allocator: 'glibc', touch: 'page', bare: true, signal: enough });
  } catch (error) {
    if (signal.aborted || !enough.aborted) throw error;
  }
  return blocks * block_bytes;
}

function availableBytes(): number {
  const [, kib] = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? [];
  return Number(kib ?? 0) * 1024;
}
