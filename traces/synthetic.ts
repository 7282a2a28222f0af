/** Synthetic traces: named shapes of allocation, the same bytes for the same seed on every machine. */
import { TraceBuilder } from './builder.ts';
import { crc32 } from './crc32.ts';
import type { Columns } from './importer.ts';
import { churnSize, type GenerateOptions, Stage } from './stage.ts';
import { edges } from './synthetic-edges.ts';
import { Tally } from './tally.ts';
import { type Chunk, large_bytes, type Origin, originOf, type Statistics, type Trace } from './trace.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

interface Scenario {
  readonly says: string;
  readonly events: number;
  readonly sites: readonly string[];
  /** Puts events on the stage until it is full; yields now and then, so that they stream away. */
  run(stage: Stage): Generator<void>;
}

/** Blocks that come and go while `live` of them are in use. */
interface Window {
  readonly live: number;
  readonly threads: number;
  /** The block that makes room: the oldest one, or any. */
  readonly replaces: 'oldest' | 'any';
  size(stage: Stage): number;
  /** Index of the call site of a block. */
  site(stage: Stage, size_bytes: number): number;
}

const oldest_of = { threads: 1, replaces: 'oldest', site: () => 0 } as const;

export const scenarios: Readonly<Record<string, Scenario>> = {
  'vm-cold': {
    says: 'ten 2 MiB blocks, one at a time: nothing has time to learn',
    events: 20,
    sites: ['vm_run'],
    run: window({ ...oldest_of, live: 1, size: () => 2 * MiB }),
  },
  vm: {
    says: '2 MiB blocks, one at a time',
    events: 20_000,
    sites: ['vm_run'],
    run: window({ ...oldest_of, live: 1, size: () => 2 * MiB }),
  },
  vm4: {
    says: '2 MiB blocks on four threads, one each',
    events: 20_000,
    sites: ['vm_run'],
    run: window({ ...oldest_of, live: 4, threads: 4, size: () => 2 * MiB }),
  },
  json: {
    says: '48 to 80 KiB, 16 live',
    events: 100_000,
    sites: ['json_parse'],
    run: window({ ...oldest_of, live: 16, size: jsonSize }),
  },
  mir: {
    says: '192 to 320 KiB, 8 live',
    events: 100_000,
    sites: ['mir_lower'],
    run: window({ ...oldest_of, live: 8, size: mirSize }),
  },
  mixed: {
    says: '16 B to 2 MiB on four threads, 16 live, 7 of 100 blocks large',
    events: 100_000,
    sites: ['node_new', 'buffer_read', 'table_grow', 'image_decode', 'vm_run'],
    run: window({ live: 16, threads: 4, replaces: 'any', size: mixedSize, site: mixedSite }),
  },
  churn: {
    says: '512 KiB to 8 MiB evenly over the octaves, 12 live',
    events: 50_000,
    sites: ['image_load', 'image_scale', 'sort_runs', 'net_batch'],
    run: window({ live: 12, threads: 1, replaces: 'any', size: churnSize, site: (stage) => stage.choose(4) }),
  },
  edges: {
    says: 'sizes one byte around every threshold, by every operation, in bursts, after a silent beginning',
    events: 50_000,
    sites: ['silent', 'sweep', 'resize', 'burst_a', 'burst_b', 'keep'],
    run: edges,
  },
  drift: {
    says: 'sizes like json, then like vm, mir and churn, each passing gradually into the next',
    events: 200_000,
    sites: ['json_parse', 'vm_run', 'mir_lower', 'image_load'],
    run: window({ live: 12, threads: 1, replaces: 'any', size: driftSize, site: driftSite }),
  },
};

export const scenario_names = Object.keys(scenarios);

/** A scenario as a trace: nothing is kept, every reading makes it anew. Throws RangeError for an unknown name. */
export class SyntheticTrace implements Trace {
  readonly path: string;
  readonly origin: Origin;
  readonly columns: Columns = { time: false, sites: true, touch: false };
  readonly events: number;
  private readonly scenario: Scenario;
  private readonly options: GenerateOptions;
  private counted: Statistics | undefined;

  constructor(name: string, options: GenerateOptions) {
    const scenario = Object.hasOwn(scenarios, name) ? scenarios[name] : undefined;
    if (scenario === undefined) throw new RangeError(`no scenario "${name}"; there are ${scenario_names.join(', ')}`);
    this.path = name;
    this.scenario = scenario;
    this.options = options;
    this.events = options.events ?? scenario.events;
    const share = options.large_permille === undefined ? '' : ` --large-permille ${options.large_permille}`;
    this.origin = originOf('generated', {
      program: name,
      command: `hakmem generate ${name} --events ${this.events}${share} --seed ${options.seed}`,
      has_sites: true,
      sites: scenario.sites.map((site) => ({ hash: hashOf(`${name}/${site}`), name: site })),
      notes: [`Synthetic: ${scenario.says}.`],
    });
  }

  get statistics(): Statistics {
    if (this.counted === undefined) {
      const tally = new Tally();
      for (const chunk of this.chunks()) tally.add(chunk);
      this.counted = tally.statistics();
    }
    return this.counted;
  }

  *chunks(): Generator<Chunk> {
    const builder = new TraceBuilder();
    const stage = new Stage(this.path, this.events, this.options, builder);
    for (const _ of this.scenario.run(stage)) {
      yield* builder.full();
      if (stage.left === 0) break;
    }
    yield* builder.finish();
  }
}

function hashOf(text: string): string {
  return crc32(new TextEncoder().encode(text)).toString(16).padStart(8, '0');
}

/** Steps between two yields: few enough that chunks stream, many enough that yielding costs nothing. */
const steps_per_yield = 4096;

function window({ live, threads, replaces, size, site }: Window): (stage: Stage) => Generator<void> {
  return function* run(stage) {
    const used = new Uint8Array(live);
    const owner = new Uint8Array(live);
    let in_use = 0;
    let next = 0;
    let cursor = 0;
    const release = (block: number): void => {
      // One free of eight comes from another thread than the allocation, as queues between threads do.
      const elsewhere = replaces === 'any' && threads > 1 && stage.choose(8) === 0;
      stage.free(block, elsewhere ? (owner[block] + 1) % threads : owner[block]);
      used[block] = 0;
      in_use -= 1;
    };
    for (let step = 1; stage.left > 0; step += 1) {
      if (in_use > 0 && stage.left < in_use + 2) {
        // The last events free what is live, so that the trace closes.
        while (used[cursor % live] === 0) cursor += 1;
        release(cursor % live);
      } else if (used[next] === 1) {
        release(next);
      } else {
        const size_bytes = stage.sizeFrom(size);
        owner[next] = replaces === 'any' ? stage.choose(threads) : next % threads;
        stage.allocate(next, size_bytes, owner[next], site(stage, size_bytes));
        used[next] = 1;
        in_use += 1;
        next = replaces === 'any' ? stage.choose(live) : (next + 1) % live;
        cursor = next;
      }
      if (step % steps_per_yield === 0) yield;
    }
    yield;
  };
}

function jsonSize(stage: Stage): number {
  return stage.uniform(48 * KiB, 80 * KiB);
}

function mirSize(stage: Stage): number {
  return stage.uniform(192 * KiB, 320 * KiB);
}

function mixedSize(stage: Stage): number {
  const share = stage.uniform(0, 99);
  if (share < 50) return stage.uniform(16, 4 * KiB);
  if (share < 80) return 64 * KiB;
  if (share < 93) return 256 * KiB;
  return share < 97 ? stage.uniform(MiB, 2 * MiB - 1) : 2 * MiB;
}

function mixedSite(_stage: Stage, size_bytes: number): number {
  if (size_bytes <= 4 * KiB) return 0;
  if (size_bytes <= 64 * KiB) return 1;
  if (size_bytes <= 256 * KiB) return 2;
  return size_bytes < 2 * MiB ? 3 : 4;
}

const drift_sizes = [jsonSize, () => 2 * MiB, mirSize, churnSize];

/** Four phases; the last quarter of each passes into the next. */
function driftSize(stage: Stage): number {
  const position = stage.progress * drift_sizes.length;
  const phase = Math.min(Math.floor(position), drift_sizes.length - 1);
  const passed = (position - phase - 0.75) / 0.25;
  const ahead = passed > 0 && stage.choose(1000) < passed * 1000 ? 1 : 0;
  return drift_sizes[Math.min(phase + ahead, drift_sizes.length - 1)](stage);
}

function driftSite(_stage: Stage, size_bytes: number): number {
  if (size_bytes === 2 * MiB) return 1;
  if (size_bytes >= large_bytes) return 3;
  return size_bytes >= 192 * KiB ? 2 : 0;
}
