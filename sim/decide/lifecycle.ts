/**
 * LEARN, FROZEN, CANARY: when learning ends, what wakes it, and whether a change is kept. Mirrors native/core/lifecycle.c.
 *
 * Two sets of rules. `classic` are the original's: freeze when three windows' p99 moved less than 1 % and 90 windows (180 s of
 * 2 s windows) have passed; leave FROZEN on a drift of sizes or a p99 worse by 20 % in three windows; keep the candidate if
 * its p99 is not above the other's. They wait out the clock and mistake noise for change (docs/studies: freeze). `paired`
 * are the default: freeze when the leader has led for three windows and each other strategy is surely worse or surely
 * as good; leave FROZEN on a drift or on surely more slow samples; keep the candidate if it is surely cheaper on the same
 * windows and not surely slow more often.
 */
import { bucketOf, Histogram } from '../kernel/histogram.ts';
import { type Config, enums, params, shape } from '../spec.ts';
import type { LearnedWindow, Learner } from './learner.ts';
import { P2 } from './p2.ts';
import { isMore, Paired } from './paired.ts';
import { driftPermille, no_test, Signature } from './signature.ts';

const [off, learn, frozen, canary] = enums.lifecycle_state.map((_, at) => at);
export const lifecycle = { off, learn, frozen, canary } as const;
const auto = params.lifecycle.words!.indexOf('auto');
const classic_rules = params.rules.words!.indexOf('classic');
const classic_rating = params.rating.words!.indexOf('classic');
const p2 = params.quantile.words!.indexOf('p2');

/** What happened at the end of a window. */
export const changes = ['none', 'freeze', 'canary', 'promote', 'rollback', 'relearn'] as const;
export type Change = (typeof changes)[number];

export class Lifecycle {
  state = learn;
  /** The strategy that acts while frozen, and the one on trial; -1 where there is none yet. */
  confirmed = 0;
  candidate = -1;
  /** Of the last window that had samples. */
  p99_ns = 0;
  /** Of the last window out of LEARN: how far sizes are from the reference, or no_test where too few were seen. */
  moved_permille: number = no_test;
  freezes = 0;
  canaries = 0;
  promotions = 0;
  rollbacks = 0;
  relearns = 0;
  private readonly config: Config;
  private readonly arms: number;
  /** rating=classic tells of one strategy a window: there are no pairs to go by. */
  private readonly by_classic_rules: boolean;
  private readonly prices: Quantiles;
  /** Of candidates' samples, classic rules. */
  private readonly canary_prices: Quantiles;
  /** Of the windows since the leader changed, or since FROZEN began: where slow begins, and how often it was. */
  private readonly calm = new Histogram();
  private readonly reference = new Signature();
  private readonly now = new Signature();
  private readonly window = new Signature();
  private readonly others: readonly Paired[];
  private readonly trial = new Paired();
  /** Of the windows before a candidate is named: what each strategy would have cost, and those in force. */
  private readonly observed: Float64Array;
  private observed_cost = 0;
  private leader = -1;
  private windows = 0;
  private stable = 0;
  private streak = 0;
  private leader_cost = 0;
  private p99_before = 0;
  private p99_frozen = 0;
  /** Prices in buckets above this one are slow. */
  private slow_bucket: number = shape.histogram_buckets;
  private slow_reference = 0;
  private calm_samples = 0;
  /** Windows that still tell what slow is, of a strategy that was frozen after a trial. */
  private calming = 0;
  private slow = 0;
  private samples = 0;
  private canary_slow = 0;
  private canary_samples = 0;
  private control_slow = 0;
  private control_samples = 0;

  constructor(config: Config, arms: number) {
    this.config = config;
    this.arms = arms;
    this.by_classic_rules = config.rules === classic_rules || config.rating === classic_rating;
    this.prices = new Quantiles(config);
    this.canary_prices = new Quantiles(config);
    this.observed = new Float64Array(arms);
    this.others = Array.from({ length: arms }, () => new Paired());
  }

  /** A sample's size and what it cost under the strategy that decided it. */
  add(size_bytes: number, price_ns: number, by_candidate: boolean): void {
    const slow = bucketOf(price_ns) > this.slow_bucket ? 1 : 0;
    this.window.add(size_bytes);
    this.samples += 1;
    this.slow += slow;
    if (this.state === learn || this.calming > 0) this.calm.add(price_ns);
    if (!by_candidate) {
      this.prices.add(price_ns);
      this.control_samples += 1;
      this.control_slow += slow;
      return;
    }
    this.canary_prices.add(price_ns);
    this.canary_samples += 1;
    this.canary_slow += slow;
  }

  /**
   * A window closed. `best` is what the learner holds best and `cost` what the strategies in force cost: of ucb1 the sites'
   * own steps, of the others that of one strategy.
   */
  close(window: LearnedWindow, learner: Learner, cost: number): Change {
    this.p99_before = this.p99_ns;
    if (this.prices.count > 0) this.p99_ns = this.prices.p99();
    this.prices.clear();
    this.windows += 1;
    const change = this.next(window, learner, cost);
    this.window.clear();
    this.samples = 0;
    this.slow = 0;
    return change;
  }

  private next(window: LearnedWindow, learner: Learner, cost: number): Change {
    if (this.state === learn) return this.whileLearning(window, learner);
    return this.state === frozen ? this.whileFrozen(learner) : this.onTrial(window, cost);
  }

  private whileLearning({ costs }: LearnedWindow, learner: Learner): Change {
    const { config } = this;
    const leader = learner.best();
    if (leader !== this.leader) {
      this.leader = leader;
      this.stable = 0;
      this.leader_cost = 0;
      for (const each of this.others) each.clear();
      this.calm.clear();
      this.now.clear();
    }
    this.now.addAll(this.window);
    this.stable += 1;
    this.leader_cost += costs[leader];
    for (let arm = 0; arm < this.arms; arm += 1) this.others[arm].add(costs[arm] - costs[leader]);
    if (config.lifecycle !== auto) return 'none';
    const ready = this.by_classic_rules ? this.isCalm() : this.isSettled(learner);
    if (!ready) return 'none';
    this.freeze(leader);
    this.freezes += 1;
    return 'freeze';
  }

  /** As documented: elapsed, and the p99 has moved little in each of the last windows. */
  private isCalm(): boolean {
    const { config } = this;
    const moved = Math.abs(this.p99_ns - this.p99_before) * 1000 > config.freeze_p99_permille * this.p99_before;
    this.streak = moved || this.windows < 2 ? 0 : this.streak + 1;
    return this.streak >= config.freeze_stable_windows && this.windows >= config.freeze_after_windows;
  }

  /** The leader has led, and every other that is left is surely worse, or surely as good. */
  private isSettled(learner: Learner): boolean {
    const { config } = this;
    if (this.stable < config.freeze_stable_windows) return false;
    const band = ((this.leader_cost / this.stable) * config.equivalence_permille) / 1000;
    for (let arm = 0; arm < this.arms; arm += 1) {
      if (arm === this.leader || learner.isActive?.(arm) === false) continue;
      if (!this.others[arm].isPositive() && !this.others[arm].isWithin(band)) return false;
    }
    return true;
  }

  private freeze(arm: number): void {
    this.state = frozen;
    this.confirmed = arm;
    this.candidate = -1;
    this.windows = 0;
    this.streak = 0;
    this.p99_frozen = this.p99_ns;
    this.reference.copyFrom(this.now);
    this.now.clear();
    this.calming = this.calm.total > 0 ? 0 : this.config.freeze_stable_windows;
    if (this.calming === 0) this.knowSlow();
  }

  private knowSlow(): void {
    const slow_from_ns = this.calm.quantile(shape.slow_permyriad);
    this.slow_bucket = bucketOf(slow_from_ns);
    this.slow_reference = this.calm.above(slow_from_ns);
    this.calm_samples = this.calm.total;
    this.calm.clear();
  }

  /** Samples that were slow, where it is known what slow is. */
  private hasSlowed(): boolean {
    if (this.calming === 0)
      return isMore(this.slow, this.samples, this.slow_reference, this.calm_samples, shape.z999_squared);
    this.calming -= 1;
    if (this.calming === 0) this.knowSlow();
    return false;
  }

  private whileFrozen(learner: Learner): Change {
    const { config } = this;
    const worse = this.by_classic_rules
      ? this.p99_ns * 1000 > this.p99_frozen * (1000 + config.relearn_p99_permille)
      : this.hasSlowed();
    this.streak = worse ? this.streak + 1 : 0;
    if (!this.hasDrifted() && this.streak < config.relearn_windows) return 'none';
    this.state = canary;
    this.canaries += 1;
    this.windows = 0;
    this.streak = 0;
    this.calming = 0;
    this.calm.clear();
    this.observed.fill(0);
    this.observed_cost = 0;
    this.candidate = config.rating === classic_rating ? runnerUp(learner, this.confirmed, this.arms) : -1;
    this.trial.clear();
    this.clearTrial();
    // What woke it is what the trial is held against.
    if (this.now.samples > 0) this.reference.copyFrom(this.now);
    this.now.clear();
    return 'canary';
  }

  /** Until the reference has samples enough to be compared, windows join it. */
  private hasDrifted(): boolean {
    this.now.addAll(this.window);
    const moved = driftPermille(this.reference, this.now);
    this.moved_permille = moved;
    if (moved >= this.config.drift_permille) return true;
    if (moved >= 0) this.now.clear();
    else if (this.state === frozen && driftPermille(this.reference, this.reference) < 0) {
      this.reference.addAll(this.now);
      this.now.clear();
    }
    return false;
  }

  private onTrial({ costs }: LearnedWindow, cost: number): Change {
    const { config } = this;
    if (this.hasDrifted()) {
      this.relearn();
      return 'relearn';
    }
    this.reference.addAll(this.window);
    if (this.candidate < 0) return this.nominate(costs, cost);
    this.trial.add(cost - costs[this.candidate]);
    const verdict = this.by_classic_rules ? this.classicVerdict() : this.pairedVerdict(cost);
    if (verdict === 'promote') {
      this.promotions += 1;
      this.settle(this.candidate);
      return 'promote';
    }
    if (verdict === 'none' && this.windows < config.canary_windows_max) return 'none';
    this.rollbacks += 1;
    this.settle(this.confirmed);
    return 'rollback';
  }

  /**
   * The candidate is what would have been cheapest over the first windows of the trial; where that is what acts, nothing is
   * tried.
   */
  private nominate(costs: Float64Array, cost: number): Change {
    const { observed } = this;
    this.observed_cost += cost;
    let cheapest = 0;
    for (let arm = 0; arm < this.arms; arm += 1) {
      observed[arm] += costs[arm];
      if (observed[arm] < observed[cheapest]) cheapest = arm;
    }
    if (this.windows < this.config.relearn_windows) return 'none';
    if (observed[cheapest] < this.observed_cost) {
      this.candidate = cheapest;
      this.clearTrial();
      return 'none';
    }
    this.rollbacks += 1;
    this.settle(this.confirmed);
    return 'rollback';
  }

  private classicVerdict(): Change {
    if (this.canary_samples < this.config.canary_samples) return 'none';
    return this.canary_prices.p99() <= this.p99_ns ? 'promote' : 'rollback';
  }

  private pairedVerdict(cost: number): Change {
    const { config } = this;
    const { canary_slow, canary_samples, control_slow, control_samples } = this;
    if (canary_samples < config.canary_samples) return 'none';
    if (isMore(canary_slow, canary_samples, control_slow, control_samples, shape.z99_squared)) return 'rollback';
    if (this.trial.isPositive()) return 'promote';
    return this.trial.isWithin((cost * config.equivalence_permille) / 1000) ? 'rollback' : 'none';
  }

  /** Frozen again, on the sizes of today. */
  private settle(arm: number): void {
    this.now.copyFrom(this.reference);
    this.freeze(arm);
  }

  private relearn(): void {
    this.relearns += 1;
    this.state = learn;
    this.candidate = -1;
    this.leader = -1;
    this.windows = 0;
    this.streak = 0;
    this.now.clear();
    this.calm.clear();
  }

  private clearTrial(): void {
    this.canary_prices.clear();
    this.canary_slow = 0;
    this.canary_samples = 0;
    this.control_slow = 0;
    this.control_samples = 0;
  }
}

/** The best of the others. */
function runnerUp(learner: Learner, confirmed: number, arms: number): number {
  const best = learner.best();
  if (best !== confirmed) return best;
  for (let step = 1; step < arms; step += 1) {
    const arm = (confirmed + step) % arms;
    if (learner.isActive?.(arm) !== false) return arm;
  }
  return confirmed;
}

/** The p99 of a window, by the estimator that the configuration names. */
class Quantiles {
  count = 0;
  private readonly histogram: Histogram | null;
  private readonly p2: P2 | null;

  constructor(config: Config) {
    this.histogram = config.quantile === p2 ? null : new Histogram();
    this.p2 = config.quantile === p2 ? new P2(0.99) : null;
  }

  add(price_ns: number): void {
    this.count += 1;
    this.histogram?.add(price_ns);
    this.p2?.add(price_ns);
  }

  clear(): void {
    this.count = 0;
    this.histogram?.clear();
    this.p2?.clear();
  }

  /** In whole nanoseconds; 0 without samples. */
  p99(): number {
    return this.count === 0 ? 0 : (this.histogram?.quantile(9900) ?? Math.floor(this.p2!.estimate()));
  }
}
