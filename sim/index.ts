/** The simulator: pure functions, runs in a browser as it is. What `import ... from 'hakmem/sim'` gives. */
export { ConfigError, configOf, describeConfig, parseMode, parseSetting } from './config.ts';
export type { LearnedWindow, Learner, LearnerFigures } from './decide/learner.ts';
export type { MakeLearner, OwnPolicy, WindowRecord } from './decide/learning.ts';
export { first_step_arm, fixed_arm, floorOf, learns, learnsSites, thresholds } from './decide/strategy.ts';
export { equivalenceClasses } from './equivalence.ts';
export { type Folded, foldTrace, refold, rowsIn } from './fold.ts';
export { floorOfSetup, lowestFloor, simulate, simulateAll, simulateOver } from './planned.ts';
export { type Hindsight, hindsight, type Regret, regretOf } from './regret.ts';
export { type Moment, type Observer, Replay, replay, type Setup } from './replay.ts';
export {
  type Checkpoint,
  type ComparedLevel,
  type Difference,
  firstDifference,
  type Liveness,
  type LogEntry,
  type Outcome,
  type Result,
  silentFeatures,
} from './result.ts';
export * from './spec.ts';
export type { TimeResult } from './time/clock.ts';
export { Costs, type TimePrices } from './time/costs.ts';
export { type MachineSetup, nominal_machine } from './time/machine.ts';
export { type Perturbation, type PerturbedResult, perturb } from './time/perturb.ts';
export {
  type CurveName,
  curve_names,
  curveFrom,
  curves,
  type LibraryPrices,
  type PriceCurve,
  type PriceCurves,
  type PricePoint,
  point_limits,
  priceAt,
  referenceOf,
  scaled,
} from './time/prices.ts';
export { type Timed, type TimeSetup, timed, timedHakmem, timedPeer } from './time/timed.ts';
export { HakmemWork, PeerWork, type TimedPeer, type Work } from './time/work.ts';
