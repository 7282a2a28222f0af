/**
 * UCB1 (Auer, Cesa-Bianchi and Fischer, 2002) for each call site, as the original had it in its phases 1 to 5: six steps,
 * sqrt(2 ln N / n), a move only where another step is better by 8 % in three windows on end, then a long rest. Mirrors
 * native/core/ucb1.c.
 *
 * The reward of a step is b / (b + c): c what the site's events of the window cost under it, b their baseline.
 */
import { type Config, params, shape } from '../spec.ts';
import { type LearnedWindow, type Learner, newFigures } from './learner.ts';

const { ucb1_sites: sites, ucb1_steps: steps } = shape;
const classic = params.rating.words!.indexOf('classic');
/** Sites begin where the smallest strategy is. */
const first_step = shape.ucb1_step_bytes.indexOf(shape.strategy_geometric_bytes[0]);

export class Ucb1 implements Learner {
  readonly figures = newFigures();
  /** By site slot: the step in force. */
  readonly step = new Uint8Array(sites);
  private readonly config: Config;
  private readonly plays = new Float64Array(sites * steps);
  private readonly rewards = new Float64Array(sites * steps);
  private readonly wanted = new Uint8Array(sites);
  private readonly streak = new Float64Array(sites);
  private readonly rest = new Float64Array(sites);
  /** Of the window, told before `learn`: by site and step nanoseconds, and by site the baseline. */
  private site_ns: Float64Array = new Float64Array(0);
  private site_baseline_ns: Float64Array = new Float64Array(0);

  constructor(config: Config) {
    this.config = config;
    this.reset();
  }

  /** Where the window's costs by site are. */
  watch(site_ns: Float64Array, site_baseline_ns: Float64Array): void {
    this.site_ns = site_ns;
    this.site_baseline_ns = site_baseline_ns;
  }

  learn(_: LearnedWindow): void {
    for (let site = 0; site < sites; site += 1) {
      if (this.rest[site] > 0) this.rest[site] -= 1;
      if (this.site_baseline_ns[site] === 0) continue;
      this.reward(site);
      this.move(site);
    }
  }

  /** The site's own step is asked for by `stepOf`; this is the step of the first site. */
  choose(): number {
    return this.step[0];
  }

  best(): number {
    return this.step[0];
  }

  reset(): void {
    this.step.fill(first_step);
    this.plays.fill(0);
    this.rewards.fill(0);
    this.wanted.fill(first_step);
    this.streak.fill(0);
    this.rest.fill(0);
  }

  private reward(site: number): void {
    const baseline = this.site_baseline_ns[site];
    for (let step = 0; step < steps; step += 1) {
      if (this.config.rating === classic && step !== this.step[site]) continue;
      const at = site * steps + step;
      this.plays[at] += 1;
      this.rewards[at] += baseline / (baseline + this.site_ns[at]);
      this.figures.rating_writes += 1;
    }
  }

  private move(site: number): void {
    const { config } = this;
    const now = this.step[site];
    const wanted = this.highest(site);
    const bound = this.bound(site, now);
    const better = this.bound(site, wanted) > bound + (bound * config.ucb1_hysteresis_permille) / 1000;
    if (wanted === now || !better) {
      this.streak[site] = 0;
      return;
    }
    this.streak[site] = wanted === this.wanted[site] ? this.streak[site] + 1 : 1;
    this.wanted[site] = wanted;
    if (this.streak[site] < config.ucb1_hysteresis_windows || this.rest[site] > 0) return;
    this.step[site] = wanted;
    this.streak[site] = 0;
    this.rest[site] = config.ucb1_cooldown_windows;
    this.figures.explorations += 1;
  }

  private highest(site: number): number {
    let highest = 0;
    for (let step = 1; step < steps; step += 1) if (this.bound(site, step) > this.bound(site, highest)) highest = step;
    return highest;
  }

  /** Upper confidence bound of the reward; of a step never played, above all others. */
  private bound(site: number, step: number): number {
    const at = site * steps + step;
    if (this.plays[at] === 0) return 1000;
    let total = 0;
    for (let each = 0; each < steps; each += 1) total += this.plays[site * steps + each];
    return this.rewards[at] / this.plays[at] + Math.sqrt((2 * naturalLog(total)) / this.plays[at]);
  }
}

/** ln of a count from 1 on, by + - * / alone: 2^e times m, then the series of atanh. Within 3e-9 of the true one. */
export function naturalLog(count: number): number {
  let exponent = 0;
  let mantissa = count;
  while (mantissa >= 2) {
    mantissa /= 2;
    exponent += 1;
  }
  const s = (mantissa - 1) / (mantissa + 1);
  const q = s * s;
  const series = 1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13 + q * (1 / 15)))))));
  return exponent * Math.LN2 + 2 * s * series;
}
