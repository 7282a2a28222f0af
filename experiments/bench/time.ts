/**
 * `npm run bench`, its third part: events a second of the model of glibc by itself, with flat prices, and with the time layer on;
 * and of the layer alone, fed with what a thread's cache would serve. Interleaved in one process, making the models apart; CPU
 * time, not wall time: the machine is shared.
 */
import { parseArgs } from 'node:util';
import { boundaries_bytes, curveFrom, nominal_machine, prices, type TimeSetup } from '../../sim/index.ts';
import { touchIndex } from '../../sim/kernel/touch.ts';
import { Glibc, glibc_machine } from '../../sim/peers/glibc.ts';
import { Meter } from '../../sim/peers/meter.ts';
import { PeerReplay } from '../../sim/peers/replay.ts';
import { TimeLayer } from '../../sim/time/clock.ts';
import { Costs } from '../../sim/time/costs.ts';
import { TimedRun } from '../../sim/time/timed.ts';
import { PeerWork } from '../../sim/time/work.ts';
import { type Chunk, copyChunk, open, SyntheticTrace, type Trace } from '../../traces/index.ts';
import { type Interval, intervalOf, ratioOf } from '../statistics.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    events: { type: 'string', default: '1000000' },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
/** A round of a short trace goes over it so often that it has about as many events as this. */
const round_events = 200_000;
const time: TimeSetup = {
  prices: { flat: prices, curves: curveFrom(prices) },
  machine: nominal_machine,
  memory_limit_bytes: Number.POSITIVE_INFINITY,
};

const mixed = { events: Number(values.events), large_permille: 10, seed: 1, boundaries_bytes };
const rows = [
  measure(open('traces/samples/sqlite.hak')),
  measure(open('traces/samples/redis.hak')),
  measure(new SyntheticTrace('mixed', mixed)),
];
if (values.json) process.stdout.write(`${JSON.stringify({ rounds, rows }, null, 2)}\n`);
else print();

type Way = 'model' | 'priced' | 'timed' | 'layer';

function measure(trace: Trace) {
  const chunks = [...trace.chunks()].map(copyChunk);
  const { events, threads } = trace.statistics;
  const times = Math.max(1, Math.round(round_events / events));
  const spent: Record<Way, number[]> = { model: [], priced: [], timed: [], layer: [] };
  for (let round = -1; round < rounds; round += 1)
    for (const way of Object.keys(spent) as Way[]) {
      let us = 0;
      for (let time = 0; time < times; time += 1) us += cpuOf(prepared(way, chunks));
      if (round >= 0) spent[way].push(us);
    }
  const rate = (way: Way): Interval =>
    intervalOf(
      spent[way].map((us) => (events * times) / us),
      1,
    );
  return {
    name: trace.origin.program,
    events,
    threads,
    million_events_a_second: {
      model: rate('model'),
      priced: rate('priced'),
      timed: rate('timed'),
      layer: rate('layer'),
    },
    timed_to_model: ratioOf(spent.timed, spent.model, 1),
  };
}

/** Everything is there; what is returned goes over the trace. */
function prepared(way: Way, chunks: readonly Chunk[]): () => void {
  const glibc = new Glibc({}, glibc_machine, touchIndex('page'));
  const over = (feed: (chunk: Chunk) => void) => () => {
    for (const chunk of chunks) feed(chunk);
  };
  if (way === 'model') return over((chunk) => runAll(glibc, chunk));
  if (way === 'priced') {
    const run = new PeerReplay(glibc, { prices, checkpoint_events: 4096 });
    return over((chunk) => run.feed(chunk));
  }
  if (way === 'timed') {
    const run = new TimedRun(new PeerWork(glibc, new Costs(time.prices)), time);
    return over((chunk) => run.feed(chunk));
  }
  const footprint = { resident_pages: 1000, lazy_pages: 0, huge_pages: 0 };
  const longest = Math.max(...chunks.map(({ length }) => length));
  const library_ns = new Float64Array(longest).fill(20);
  const arena = new Int32Array(longest).fill(-1);
  const layer = new TimeLayer(time.prices, time.machine, new Meter(), footprint);
  return over((chunk) => layer.feedQuiet(chunk, 0, chunk.length, library_ns, arena));
}

function runAll(glibc: Glibc, { op, thread, object, size_bytes, align, touched_pages, length }: Chunk): void {
  for (let row = 0; row < length; row += 1)
    glibc.run(op[row], thread[row], object[row], size_bytes[row], align[row], touched_pages[row]);
}

function cpuOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function print(): void {
  const cell = ({ median, low, high }: Interval): string =>
    `${median.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`.padStart(22);
  const titles = ['model', 'with flat prices', 'with time layer', 'layer alone', 'timed / model, time'];
  process.stdout.write(`million events a CPU second, ${rounds} rounds\n`);
  process.stdout.write(`  ${'glibc over'.padEnd(16)}${titles.map((title) => title.padStart(22)).join('')}\n`);
  for (const { name, million_events_a_second: rates, timed_to_model } of rows) {
    const cells = [rates.model, rates.priced, rates.timed, rates.layer, timed_to_model];
    process.stdout.write(`  ${name.padEnd(16)}${cells.map(cell).join('')}\n`);
  }
}
