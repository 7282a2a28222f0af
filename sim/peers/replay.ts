/** A trace over a peer's model: what the allocator would do, counted and priced. */
import type { Chunk } from '../../traces/trace.ts';
import { Digest } from '../decide/digest.ts';
import { Histogram } from '../kernel/histogram.ts';
import { Baseline, type Score } from '../score.ts';
import { type Prices, shape } from '../spec.ts';
import { call, call_names, Meter, path } from './meter.ts';
import type { Peer } from './peer.ts';
import { type Priced, price } from './pricing.ts';

const paths = Object.keys(path).length;

/** What a peer calls; `madvise_*` as in hakmem's own results. */
export interface PeerSyscalls {
  readonly mmap: number;
  readonly munmap: number;
  readonly mremap: number;
  readonly brk: number;
  readonly mprotect: number;
  readonly madvise_dontneed: number;
  readonly madvise_free: number;
}

export interface PeerResult {
  readonly events: number;
  /** Over (event, place) of every allocation: 16 hex digits. */
  readonly decision_digest: string;
  readonly syscalls: PeerSyscalls;
  /** First touches and reads of pages never written; of everything, as a process counts them. */
  readonly faults: number;
  readonly resident_bytes: { readonly mean: number; readonly peak: number; readonly end: number };
  readonly mapped_bytes: { readonly peak: number; readonly end: number };
  readonly time_ns: {
    readonly total: number;
    readonly library: number;
    readonly calls: number;
    readonly fault: number;
  };
  readonly latency_ns: {
    readonly p50: number;
    readonly p95: number;
    readonly p99: number;
    readonly p999: number;
    readonly max: number;
  };
  readonly score: Score;
}

export interface PeerSetup {
  readonly prices: Prices;
  /** Residency is averaged over moments so many events apart. */
  readonly checkpoint_events: number;
}

/** Throws ModelLimit where the trace goes beyond the model. */
export function replayPeer(chunks: Iterable<Chunk>, peer: Peer, setup: PeerSetup): PeerResult {
  const run = new PeerReplay(peer, setup);
  for (const chunk of chunks) run.feed(chunk);
  return run.finish();
}

/** In steps: feed chunks in order, then finish. */
export class PeerReplay {
  events = 0;
  /** Told after every event, while the peer still is as it left it. */
  watch: ((chunk: Chunk, row: number) => void) | undefined;
  private readonly peer: Peer;
  private readonly setup: PeerSetup;
  private readonly digest = new Digest();
  private readonly latency = new Histogram();
  private readonly baseline = new Baseline();
  private readonly priced: Priced = { library_ns: 0, calls_ns: 0, fault_ns: 0 };
  private readonly calls = new Float64Array(call_names.length);
  /** Events that were nothing but the library's own way, by path: most are, and each of a path costs the same. */
  private readonly quiet = new Float64Array(paths);
  private faults = 0;
  private resident_peak = 0;
  private resident_sum = 0;
  private moments = 0;
  private mapped_peak = 0;
  private until_moment: number;

  constructor(peer: Peer, setup: PeerSetup) {
    this.peer = peer;
    this.setup = setup;
    this.until_moment = setup.checkpoint_events;
  }

  feed(chunk: Chunk): void {
    const { peer, digest, quiet } = this;
    const { meter } = peer;
    const { op: kinds, thread, object, size_bytes, align, touched_pages, time_ns, length } = chunk;
    const { watch } = this;
    this.baseline.add(chunk);
    for (let row = 0; row < length; row += 1) {
      peer.run(kinds[row], thread[row], object[row], size_bytes[row], align[row], touched_pages[row], time_ns[row]);
      digest.mix(peer.placed);
      if (meter.quiet) quiet[meter.path] += 1;
      else this.count();
      watch?.(chunk, row);
      const resident = peer.resident_pages;
      if (resident > this.resident_peak) this.resident_peak = resident;
      this.until_moment -= 1;
      if (this.until_moment === 0) this.pause();
    }
    this.events += length;
  }

  finish(): PeerResult {
    const { peer, calls, priced, latency, faults } = this;
    this.pause();
    this.addQuiet();
    const bytes = (pages: number): number => pages * shape.page_bytes;
    const total_ns = priced.library_ns + priced.calls_ns + priced.fault_ns;
    return {
      events: this.events,
      decision_digest: this.digest.hex(),
      syscalls: {
        mmap: calls[call.mmap],
        munmap: calls[call.munmap],
        mremap: calls[call.mremap] + calls[call.mremap_grow] + calls[call.mremap_shrink],
        brk: calls[call.brk_grow] + calls[call.brk_shrink],
        mprotect: calls[call.mprotect],
        madvise_dontneed: calls[call.dontneed],
        madvise_free: calls[call.free],
      },
      faults,
      resident_bytes: {
        mean: bytes(this.resident_sum / this.moments),
        peak: bytes(this.resident_peak),
        end: bytes(peer.resident_pages),
      },
      mapped_bytes: { peak: bytes(this.mapped_peak), end: bytes(peer.mapped_pages) },
      time_ns: {
        total: total_ns,
        library: priced.library_ns,
        calls: priced.calls_ns,
        fault: priced.fault_ns,
      },
      latency_ns: {
        p50: latency.quantile(5000),
        p95: latency.quantile(9500),
        p99: latency.quantile(9900),
        p999: latency.quantile(9990),
        max: latency.max,
      },
      score: this.baseline.score(this.setup.prices, total_ns, faults, bytes(this.resident_peak)),
    };
  }

  private addQuiet(): void {
    const meter = new Meter();
    for (const [way, events] of this.quiet.entries()) {
      meter.path = way;
      const ns = price(meter, this.setup.prices, { library_ns: 0, calls_ns: 0, fault_ns: 0 });
      this.priced.library_ns += events * ns;
      this.latency.addMany(ns, events);
    }
  }

  private count(): void {
    const { meter } = this.peer;
    this.latency.add(price(meter, this.setup.prices, this.priced));
    this.faults += meter.faults + meter.zero_faults + meter.huge_faults;
    if (meter.calls === 0) return;
    for (let at = 0; at < meter.calls; at += 1) this.calls[meter.call[at]] += 1;
    const mapped = this.peer.mapped_pages;
    if (mapped > this.mapped_peak) this.mapped_peak = mapped;
  }

  private pause(): void {
    this.until_moment = this.setup.checkpoint_events;
    this.resident_sum += this.peer.resident_pages;
    this.moments += 1;
  }
}
