/** A rule of the contract that a policy broke while it ran. Exit code 1. */
import { CheckFailed } from '../command.ts';

/** What was found in the place of what was wanted, and the event where it showed; null where there is no single one. */
export interface Broken {
  readonly event: number | null;
  readonly found: string;
  readonly wanted: string;
}

export class PolicyError extends CheckFailed implements Broken {
  override name = 'PolicyError';
  readonly rule: string;
  readonly event: number;
  readonly found: string;
  readonly wanted: string;

  /** `file` is the module as it was named. */
  constructor(file: string, rule: string, event: number, found: string, wanted: string) {
    super(`${file}: event ${event}: rule ${rule}: found ${found}, wanted ${wanted}`);
    this.rule = rule;
    this.event = event;
    this.found = found;
    this.wanted = wanted;
  }
}
