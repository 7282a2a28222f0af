/**
 * The contract between a sweep and whatever runs it. A task names a shard: a list of configuration hashes of one trace,
 * in the plan of a state folder. Running it appends the shard's missing rows to its result shard; running it again adds
 * nothing. A driver may run tasks anywhere that sees the state folder and the traces: docs/SWEEPS.md.
 */
export interface Task {
  readonly state: string;
  readonly shard: number;
}

/** What running a task came to. Rows themselves are in the result shard. */
export interface ShardReport {
  readonly shard: number;
  /** Made now. */
  readonly rows: number;
  /** Events of the trace times rows made now. */
  readonly events: number;
  readonly load_s: number;
  readonly simulate_s: number;
  readonly check_s: number;
  /** Who made them, and the most memory it has had so far. */
  readonly worker: string;
  readonly memory_bytes: number;
  /** The first row on which the two halves differ: the shard ends before it. */
  readonly disagreement: Disagreement | null;
}

export interface Disagreement {
  readonly shard: number;
  readonly config_hash: string;
  readonly field: string;
  readonly sim: unknown;
  readonly native: unknown;
}

export interface Watch {
  /** Rows that were just appended. */
  rows(count: number): void;
  /** A task has ended; false: begin no other. */
  done(report: ShardReport): boolean;
}

/** A task that never ended well, however often it was begun. */
export interface Lost {
  readonly task: Task;
  readonly reason: string;
}

export interface Driver {
  /** Runs every task to its end. What crashes is begun again, and given up after some tries, alone. */
  run(tasks: readonly Task[], watch: Watch): Promise<readonly Lost[]>;
  /** Ends all work at once, without a wait: for signal handlers. */
  stop(): void;
}
