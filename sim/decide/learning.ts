/**
 * Learning, as the allocator sees it: it is asked for a strategy at every allocation that some strategy maps, and told what
 * became of it. Windows close here, and only here: the ledger prices them, the learner learns, the lifecycle moves. Mirrors
 * native/core/learning.c.
 *
 * A window closes at the first sample (an allocation that some strategy maps) with which it is `window_events` long and has
 * `window_samples` of them: between two samples no strategy makes a difference, so a folded trace closes the same windows.
 */
import { touchedPages } from '../kernel/touch.ts';
import { type Config, type KernelProfile, type Prices, params, shape } from '../spec.ts';
import type { BigCache } from './bigcache.ts';
import { type Digest, mix32, pack } from './digest.ts';
import type { Heap } from './heap.ts';
import type { LearnedWindow, Learner } from './learner.ts';
import { newLearner } from './learners.ts';
import { Ledger, Mould } from './ledger.ts';
import { type Change, Lifecycle, lifecycle } from './lifecycle.ts';
import { learns, learnsSites, thresholds } from './strategy.ts';
import { Tournament } from './tournament.ts';
import { Ucb1 } from './ucb1.ts';

const { ucb1_sites, ucb1_step_bytes } = shape;
const classic = params.rating.words!.indexOf('classic');

/** What an observer is told of a window that closed. */
export interface WindowRecord {
  readonly index: number;
  readonly event: number;
  readonly samples: number;
  readonly acted: number;
  /** By strategy, -1 where not known. */
  readonly costs: readonly number[];
  /** In points; null of a learner that has none. */
  readonly ratings: readonly number[] | null;
  readonly p99_ns: number;
  /** How far sizes have moved since the strategy was frozen, in permille of L1; -1 in LEARN and where too few were seen. */
  readonly moved_permille: number;
  readonly change: Change;
  /** After the change. */
  readonly state: number;
  readonly arm: number;
  readonly candidate: number;
}

/** Makes the learner of a policy of your own; the built-in ones are named by the configuration. */
export type MakeLearner = (arms_bytes: readonly number[], seed: number) => Learner;

/** A policy from outside: what it chooses among, and how. */
export interface OwnPolicy {
  readonly name: string;
  /** 1 to 12 rising thresholds in bytes; null for those of `strategy_set`. */
  readonly arms_bytes: readonly number[] | null;
  readonly make: MakeLearner;
}

/** What an allocator decides by, besides its kernel. */
export interface Rules {
  readonly config: Config;
  readonly prices: Prices;
  readonly profile: KernelProfile;
  readonly seed: number;
  readonly policy?: OwnPolicy | undefined;
}

/** Parts of the allocator that learning asks, settles or tells. */
export interface Watched {
  readonly cache: BigCache;
  readonly heap: Heap;
  readonly digest: Digest;
}

export class Learning {
  readonly floor_bytes: number;
  readonly thresholds_bytes: readonly number[];
  readonly learner: Learner;
  readonly lifecycle: Lifecycle;
  windows = 0;
  samples = 0;
  /** The strategy in force; of ucb1, of the site that was asked last. */
  arm: number;
  /** Told of every window. */
  observer: ((record: WindowRecord) => void) | null = null;
  private readonly config: Config;
  private readonly ledger: Ledger;
  private readonly digest: Digest;
  private readonly touch: number;
  private readonly canary_seed: number;
  private readonly canary_below: number;
  private readonly ucb1: Ucb1 | null;
  private readonly costs: Float64Array;
  private readonly now = new Mould();
  private readonly before = new Mould();
  private by_candidate = false;
  private window_from = 0;
  private baseline_from_ns = 0;
  /** By object slot, of the blocks that some strategy maps: 0 bytes for the others. */
  private size_of = new Float64Array(1024);
  private site_of = new Uint32Array(1024);
  private touched_of = new Float64Array(1024);
  private align_of = new Uint32Array(1024);
  private on_heap_of = new Uint8Array(1024);

  constructor(rules: Rules, touch: number, { cache, heap, digest }: Watched) {
    const { config, prices, profile, seed } = rules;
    const own = rules.policy ?? null;
    this.config = config;
    this.touch = touch;
    this.digest = digest;
    const by_site = own === null && learnsSites(config);
    this.thresholds_bytes = own?.arms_bytes ?? (by_site ? ucb1_step_bytes : thresholds(config));
    const arms = this.thresholds_bytes.length;
    this.floor_bytes = this.thresholds_bytes[0];
    this.ledger = new Ledger(
      config,
      prices,
      cache,
      heap,
      this.thresholds_bytes,
      profile.thp_kernel !== 'never',
      by_site ? ucb1_sites : 0,
    );
    this.learner = own === null ? newLearner(config, arms, seed) : own.make(this.thresholds_bytes, seed);
    this.ucb1 = this.learner instanceof Ucb1 ? this.learner : null;
    this.ucb1?.watch(this.ledger.site_ns, this.ledger.site_baseline_ns);
    this.lifecycle = new Lifecycle(config, arms);
    this.canary_seed = mix32(seed);
    this.canary_below = Math.floor((config.canary_permille * 2 ** 32) / 1000);
    this.costs = new Float64Array(arms);
    this.ledger.begin(0, 0, arms);
    this.arm = this.learner.choose(0);
  }

  /** The strategy for an allocation of `floor_bytes` or more. */
  decide(event: number, site: number): number {
    this.ledger.advance(event);
    const due = event - this.window_from >= this.config.window_events && this.samples >= this.config.window_samples;
    if (due) this.close(event);
    this.samples += 1;
    const { candidate, state } = this.lifecycle;
    this.by_candidate = state === lifecycle.canary && candidate >= 0 && this.isCanary(event);
    if (this.by_candidate) return candidate;
    if (this.ucb1 !== null) this.arm = this.ucb1.step[siteSlot(site)];
    return this.arm;
  }

  /** Whether the candidate decides this event while it is on trial: a hash, so that no other choice shifts it. */
  isCanary(event: number): boolean {
    return mix32(event ^ this.canary_seed) < this.canary_below;
  }

  /** An allocation that was asked for came to be. */
  allocated(object: number, size_bytes: number, align: number, site: number, touched: number, on_heap: boolean): void {
    const { ledger, now } = this;
    this.keep(object, size_bytes, align, site, touched, on_heap);
    this.castOf(now, object);
    const arm = this.by_candidate ? this.lifecycle.candidate : this.arm;
    const before_ns = ledger.cpu_ns[arm];
    ledger.allocate(now, siteSlot(site));
    this.lifecycle.add(size_bytes, ledger.cpu_ns[arm] - before_ns, this.by_candidate);
    if (on_heap) ledger.heapTook(size_bytes);
  }

  /** Before a block is freed, or reallocated to less than `floor_bytes`, for which no strategy is asked. */
  freed(event: number, object: number): void {
    if (!this.follows(object)) return;
    this.ledger.advance(event);
    this.castOf(this.before, object);
    this.ledger.free(this.before, siteSlot(this.site_of[object]));
    if (this.on_heap_of[object] === 1) this.ledger.heapGave(this.size_of[object]);
    this.size_of[object] = 0;
  }

  /** A block was reallocated, to a size that was asked for. */
  reallocated(object: number, size_bytes: number, site: number, touched: number, on_heap: boolean): void {
    if (!this.follows(object)) {
      this.allocated(object, size_bytes, 0, site, touched, on_heap);
      return;
    }
    const { ledger, now, before } = this;
    this.castOf(before, object);
    if (this.on_heap_of[object] === 1) ledger.heapGave(this.size_of[object]);
    this.keep(object, size_bytes, 0, site, touched, on_heap);
    this.castOf(now, object);
    const arm = this.by_candidate ? this.lifecycle.candidate : this.arm;
    const before_ns = ledger.cpu_ns[arm];
    ledger.reallocate(before, now, siteSlot(site));
    this.lifecycle.add(size_bytes, ledger.cpu_ns[arm] - before_ns, this.by_candidate);
    if (on_heap) ledger.heapTook(size_bytes);
  }

  private follows(object: number): boolean {
    return object < this.size_of.length && this.size_of[object] > 0;
  }

  private close(event: number): void {
    const { ledger, learner, lifecycle: cycle, costs } = this;
    const acted = this.arm;
    const cost = this.price();
    const window: LearnedWindow = { index: this.windows, event, acted, costs };
    if (cycle.state === lifecycle.learn && this.config.legacy_unrated === 0) learner.learn(window);
    const change = cycle.close(window, learner, cost);
    this.follow(change, event);
    this.tell(event, change);
    this.observer?.({
      index: this.windows,
      event,
      samples: this.samples,
      acted,
      costs: Array.from(costs),
      ratings: this.ratings(),
      p99_ns: cycle.p99_ns,
      moved_permille: cycle.moved_permille,
      change,
      state: cycle.state,
      arm: this.arm,
      candidate: cycle.candidate,
    });
    ledger.clearWindow();
    this.window_from = event;
    this.baseline_from_ns = ledger.baseline_ns;
    this.windows += 1;
    this.samples = 0;
  }

  /** In points; null of a learner that has none. */
  ratings(): number[] | null {
    return this.learner instanceof Tournament
      ? Array.from(this.learner.ratings, (each) => each / shape.elo_unit)
      : null;
  }

  /** Fills in the costs, and returns what those in force came to. */
  private price(): number {
    const { ledger, costs, ucb1, config } = this;
    const arms = costs.length;
    if (ucb1 !== null) {
      let cost = 0;
      costs.set(ledger.cpu_ns);
      for (let site = 0; site < ucb1_sites; site += 1) cost += ledger.site_ns[site * arms + ucb1.step[site]];
      return cost;
    }
    const learning = this.lifecycle.state === lifecycle.learn;
    if (config.rating === classic && learning) {
      costs.fill(-1);
      const baseline = Math.max(1, ledger.baseline_ns - this.baseline_from_ns);
      costs[this.arm] = Math.floor((ledger.cost(this.arm) * 65536) / baseline);
    } else {
      for (let arm = 0; arm < arms; arm += 1) costs[arm] = ledger.cost(arm);
    }
    return costs[this.arm];
  }

  private follow(change: Change, event: number): void {
    const { learner, lifecycle: cycle, ucb1 } = this;
    if (change === 'relearn') learner.reset(event);
    if (cycle.state === lifecycle.learn) {
      this.arm = learner.choose(event);
      return;
    }
    if (change === 'none') return;
    if (change === 'promote') ucb1?.step.fill(cycle.confirmed);
    this.arm = cycle.confirmed;
    const all = cycle.state === lifecycle.canary || ucb1 !== null;
    this.ledger.begin(event, all ? 0 : this.arm, all ? this.thresholds_bytes.length : this.arm + 1);
    for (let object = 0; object < this.size_of.length; object += 1) {
      if (this.size_of[object] === 0) continue;
      this.castOf(this.now, object);
      this.ledger.add(this.now, this.on_heap_of[object] === 1);
    }
  }

  /** The digest covers what was learned. */
  private tell(event: number, change: Change): void {
    const { digest, costs, learner, lifecycle: cycle } = this;
    digest.mix(pack(event, (cycle.state << 16) | (this.arm << 8) | changeIndex[change]));
    for (const cost of costs) digest.mix(cost | 0);
    if (learner instanceof Tournament) for (const rating of learner.ratings) digest.mix(rating);
    if (this.ucb1 !== null) for (const step of this.ucb1.step) digest.mix(step);
    digest.mix(cycle.p99_ns | 0);
  }

  private castOf(mould: Mould, object: number): void {
    this.ledger.cast(
      mould,
      this.size_of[object],
      this.align_of[object],
      this.ringSlot(this.site_of[object]),
      this.touched_of[object],
    );
  }

  private ringSlot(site: number): number {
    return this.config.bigcache_site_keyed === 1 ? mix32(site) & (this.config.bigcache_slots - 1) : 0;
  }

  private keep(
    object: number,
    size_bytes: number,
    align: number,
    site: number,
    touched: number,
    on_heap: boolean,
  ): void {
    if (object >= this.size_of.length) this.grow(object + 1);
    this.size_of[object] = size_bytes;
    this.site_of[object] = site;
    this.align_of[object] = align;
    this.touched_of[object] = touchedPages(this.touch, size_bytes, touched);
    this.on_heap_of[object] = on_heap ? 1 : 0;
  }

  private grow(objects: number): void {
    const length = Math.max(objects, this.size_of.length * 2);
    this.size_of = widened(this.size_of, new Float64Array(length));
    this.site_of = widened(this.site_of, new Uint32Array(length));
    this.align_of = widened(this.align_of, new Uint32Array(length));
    this.touched_of = widened(this.touched_of, new Float64Array(length));
    this.on_heap_of = widened(this.on_heap_of, new Uint8Array(length));
  }
}

/** Null where the configuration learns nothing. */
export function learningFor(rules: Rules, touch: number, watched: Watched): Learning | null {
  return learns(rules.config) ? new Learning(rules, touch, watched) : null;
}

const changeIndex: Readonly<Record<Change, number>> = {
  none: 0,
  freeze: 1,
  canary: 2,
  promote: 3,
  rollback: 4,
  relearn: 5,
};

function siteSlot(site: number): number {
  return mix32(site) & (ucb1_sites - 1);
}

function widened<Column extends Float64Array | Uint32Array | Uint8Array>(from: Column, to: Column): Column {
  to.set(from);
  return to;
}
