/**
 * What the samples hold and how small they are, as rows of a Markdown table:
 *
 *     node dist/experiments/bench/samples.js
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HakWriter, open } from '../../traces/index.ts';
import { packageRoot } from '../record.ts';

const folder = join(packageRoot(), 'traces', 'samples');
const count = (value: number) => value.toLocaleString('en');

process.stdout.write(
  '| sample | events | threads | sites | blocks >= 512 KiB | of known touch | peak live MiB | bytes | bytes an event | without time and site |\n|---|---|---|---|---|---|---|---|---|---|\n',
);
for (const file of readdirSync(folder)
  .filter((name) => name.endsWith('.hak'))
  .sort()) {
  const path = join(folder, file);
  const trace = open(path);
  const { events, threads, large_blocks, large_blocks_touched, peak_live_bytes } = trace.statistics;
  let bare_bytes = 0;
  const sink = { append: (bytes: Uint8Array) => (bare_bytes += bytes.length), rewriteStart: () => {} };
  const bare = new HakWriter(file, sink, { time: false, sites: false, touch: true });
  for (const chunk of trace.chunks()) bare.add(chunk);
  bare.finish({ ...trace.origin, sites: [] });
  const bytes = statSync(path).size;
  const cells = [
    file,
    count(events),
    threads,
    count(trace.origin.sites.length),
    count(large_blocks),
    count(large_blocks_touched),
    (peak_live_bytes / 2 ** 20).toFixed(1),
    count(bytes),
    (bytes / events).toFixed(2),
    (bare_bytes / events).toFixed(2),
  ];
  process.stdout.write(`| ${cells.join(' | ')} |\n`);
}
