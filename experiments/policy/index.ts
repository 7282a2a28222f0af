/** What `import ... from 'hakmem/policy'` gives: the contract of a policy module, and its check without the command line. */
export { type CheckOptions, checkPolicy, type PolicyReport, type Reached, type RuleReport } from './check.ts';
export type { Policy, PolicyGiven, PolicyLearner, PolicyWindow } from './contract.ts';
export { type LoadedPolicy, loadPolicy } from './module.ts';
export { PolicyError } from './policy-error.ts';
export { type Subject, subjectOf } from './subject.ts';
