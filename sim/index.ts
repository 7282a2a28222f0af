/** The simulator: pure functions, runs in a browser as it is. What `import ... from 'hakmem/sim'` gives. */
export { ConfigError, configOf, describeConfig, parseMode, parseSetting } from './config.ts';
export { fixed_arm } from './decide/strategy.ts';
export { type Folded, floorOf, foldTrace, refold, rowsIn } from './fold.ts';
export { lowestFloor, simulate, simulateAll, simulateOver } from './planned.ts';
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
