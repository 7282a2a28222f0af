/** What is checked: a learner of hakmem's own, or a module of yours. */
import { learner_names } from '../../sim/decide/learners.ts';
import { type Config, default_profile, type OwnPolicy, params, prices, type Setup, shape } from '../../sim/index.ts';
import { UsageError } from '../command.ts';
import type { Case } from './cases.ts';
import { loadPolicy, namesModule, policyId } from './module.ts';
import { OwnLearner } from './own-learner.ts';

export interface Subject {
  /** As it was named. */
  readonly path: string;
  /** As results name it. */
  readonly id: string;
  /** Null for a built-in learner. */
  readonly own: OwnPolicy | null;
  /** Thresholds that cases are drawn around. */
  readonly arms_bytes: readonly number[];
  /** What of a configuration makes it this policy. */
  readonly fixed: Partial<Config>;
}

/** `elo`, `elo-classic`, or a module's path. Throws UsageError. */
export async function subjectOf(text: string): Promise<Subject> {
  if (namesModule(text)) {
    const source = await loadPolicy(text);
    const { name, arms_bytes } = source.own;
    const own: OwnPolicy = {
      name,
      arms_bytes,
      make: (arms, seed) => new OwnLearner(source, arms, seed, { notice_chance: true }),
    };
    const drawn_around = arms_bytes ?? shape.strategy_geometric_bytes;
    return { path: text, id: policyId(source), own, arms_bytes: drawn_around, fixed: {} };
  }
  const [, name, rating] = /^([a-z0-9]+)(?:-(paired|classic))?$/.exec(text) ?? [];
  const learner = name === undefined ? -1 : learner_names.indexOf(name);
  if (learner < 0)
    throw new UsageError(
      `unknown policy "${text}"; wanted one of ${learner_names.join(' ')}, with -paired or -classic after it for one of its ratings, or a module of yours such as ./mine.mjs`,
    );
  return {
    path: text,
    id: text,
    own: null,
    arms_bytes: name === 'ucb1' ? shape.ucb1_step_bytes : shape.strategy_geometric_bytes,
    fixed: { learner, ...(rating === undefined ? {} : { rating: params.rating.words!.indexOf(rating) }) },
  };
}

export function setupOf({ own, fixed }: Subject, { config, touch, seed }: Case): Setup {
  return {
    config: { ...config, ...fixed },
    prices,
    profile: default_profile,
    touch,
    seed,
    ...(own === null ? {} : { policy: own }),
  };
}
