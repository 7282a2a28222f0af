/**
 * Elo: strategies play each other, a window a round, and the highest rating acts. Mirrors native/core/tournament.c.
 *
 * The original's constants: K 32, start 1500, epsilon 10 %, the top 6 survive. Its record shows all ratings at 1500 and
 * strategy 0 on all 986 samples: no match was ever played, and a plain maximum of equals is the first. Here every pair plays
 * in every window (`paired`), and among equals the one that acted least comes first.
 */
import { type Config, params, shape } from '../spec.ts';
import { Means } from './arms.ts';
import { matchElo } from './elo.ts';
import { type LearnedWindow, type Learner, newFigures } from './learner.ts';
import { Prng } from './prng.ts';

const classic = params.rating.words!.indexOf('classic');

export class Tournament implements Learner {
  readonly figures = newFigures();
  /** In 2^-16 points. */
  readonly ratings: Int32Array;
  private readonly config: Config;
  private readonly arms: number;
  private readonly explore: Prng;
  private readonly opponent: Prng;
  private readonly acted: Int32Array;
  private readonly games: Int32Array;
  private readonly active: Uint8Array;
  /** Costs above the window's best: whose mean is close to the leader's stays. */
  private readonly excess: Means;
  /** Classic: what each cost when it acted last; -1 before. */
  private readonly last: Float64Array;
  private readonly order: number[] = [];
  private readonly over: Float64Array;

  constructor(config: Config, arms: number, seed: number) {
    this.config = config;
    this.arms = arms;
    this.explore = new Prng(`${seed}/explore`);
    this.opponent = new Prng(`${seed}/opponent`);
    this.ratings = new Int32Array(arms);
    this.acted = new Int32Array(arms);
    this.games = new Int32Array(arms);
    this.active = new Uint8Array(arms);
    this.excess = new Means(arms);
    this.last = new Float64Array(arms);
    this.over = new Float64Array(arms);
    this.reset();
  }

  learn({ costs, acted }: LearnedWindow): void {
    this.acted[acted] += 1;
    if (this.config.rating === classic) this.playLast(acted, costs[acted]);
    else this.playAll(costs);
    this.survive();
    this.countDraws();
  }

  choose(): number {
    if (this.explore.next() * 1000 >= this.config.explore_permille) {
      this.countDraws();
      return this.best();
    }
    this.figures.explorations += 1;
    let nth = this.explore.below(this.active.reduce((sum, each) => sum + each, 0));
    this.countDraws();
    let arm = 0;
    for (; this.active[arm] === 0 || nth > 0; arm += 1) nth -= this.active[arm];
    return arm;
  }

  best(): number {
    let best = -1;
    for (let arm = 0; arm < this.arms; arm += 1) {
      if (this.active[arm] === 0) continue;
      const ahead =
        best < 0 ||
        this.ratings[arm] > this.ratings[best] ||
        (this.ratings[arm] === this.ratings[best] && this.acted[arm] < this.acted[best]);
      if (ahead) best = arm;
    }
    return best;
  }

  reset(): void {
    this.ratings.fill(shape.elo_start * shape.elo_unit);
    this.acted.fill(0);
    this.games.fill(0);
    this.active.fill(1);
    this.last.fill(-1);
    this.excess.clear();
  }

  isActive(arm: number): boolean {
    return this.active[arm] === 1;
  }

  /** Every pair of those that are left, in an order drawn anew. */
  private playAll(costs: Float64Array): void {
    const { order, over } = this;
    order.length = 0;
    let least = -1;
    for (let arm = 0; arm < this.arms; arm += 1) {
      if (this.active[arm] === 1) order.push(arm);
      if (least < 0 || costs[arm] < least) least = costs[arm];
    }
    for (let arm = 0; arm < this.arms; arm += 1) over[arm] = costs[arm] - least;
    this.excess.add(over);
    for (let at = order.length - 1; at > 0; at -= 1) {
      const other = this.opponent.below(at + 1);
      const swapped = order[at];
      order[at] = order[other];
      order[other] = swapped;
    }
    for (let a = 0; a < order.length; a += 1)
      for (let b = a + 1; b < order.length; b += 1) this.play(order[a], order[b], costs[order[a]], costs[order[b]]);
  }

  /** As the original: the one that acted against what another cost when it acted last. */
  private playLast(acted: number, cost: number): void {
    const { order } = this;
    order.length = 0;
    for (let arm = 0; arm < this.arms; arm += 1)
      if (arm !== acted && this.active[arm] === 1 && this.last[arm] >= 0) order.push(arm);
    this.last[acted] = cost;
    this.figures.rating_writes += 1;
    if (order.length === 0) return;
    const other = order[this.opponent.below(order.length)];
    this.play(acted, other, cost, this.last[other]);
  }

  private play(a: number, b: number, cost_a: number, cost_b: number): void {
    const draw = Math.abs(cost_a - cost_b) * shape.elo_draw_divisor <= Math.max(cost_a, cost_b);
    const score16 = draw ? 32768 : cost_a < cost_b ? 65536 : 0;
    matchElo(this.ratings, a, b, score16, this.config.elo_k);
    this.games[a] += 1;
    this.games[b] += 1;
    this.figures.matches += 1;
    this.figures.rating_writes += 2;
  }

  /** Keeps the top few, and paired also whoever may still be as good as the leader. */
  private survive(): void {
    let left = 0;
    for (let arm = 0; arm < this.arms; arm += 1) {
      if (this.active[arm] === 0) continue;
      left += 1;
      if (this.games[arm] < this.config.elo_survive_games) return;
    }
    if (left <= this.config.elo_survivors) return;
    const { of } = this.excess;
    const leader = this.best();
    const reach = of[leader].mean + of[leader].half();
    const ratings = this.ratings;
    for (let arm = 0; arm < this.arms; arm += 1) {
      if (this.active[arm] === 0 || this.rankOf(arm) < this.config.elo_survivors) continue;
      if (this.config.rating !== classic && of[arm].mean - of[arm].half() <= reach) continue;
      this.active[arm] = ratings[arm] === ratings[leader] ? 1 : 2;
    }
    for (let arm = 0; arm < this.arms; arm += 1) if (this.active[arm] === 2) this.active[arm] = 0;
  }

  /** How many of those that are left are rated above, or as high with a lower number. */
  private rankOf(arm: number): number {
    let above = 0;
    for (let other = 0; other < this.arms; other += 1) {
      if (this.active[other] === 0 || other === arm) continue;
      if (this.ratings[other] > this.ratings[arm] || (this.ratings[other] === this.ratings[arm] && other < arm))
        above += 1;
    }
    return above;
  }

  private countDraws(): void {
    this.figures.draws = this.explore.draws + this.opponent.draws;
  }
}
