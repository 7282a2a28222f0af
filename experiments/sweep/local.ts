/** The driver of this machine: child processes, so that a crash in one costs its task only. */
import { join } from 'node:path';
import { Tinypool } from 'tinypool';
import { CheckFailed, UsageError } from '../command.ts';
import { packageRoot } from '../record.ts';
import type { Driver, Lost, ShardReport, Task, Watch } from './driver.ts';
import { readPlan } from './state.ts';

const tries_max = 3;
/** What tinypool says of a child process that ended by itself. */
const worker_died = 'Worker exited unexpectedly';

export class LocalDriver implements Driver {
  private readonly jobs: number;
  private readonly workers = new Set<Worker>();

  constructor(jobs: number) {
    this.jobs = jobs;
  }

  async run(tasks: readonly Task[], watch: Watch): Promise<readonly Lost[]> {
    const queue = new Queue(tasks);
    const lost: Lost[] = [];
    const lanes = Array.from({ length: Math.min(this.jobs, tasks.length) }, () => this.lane(queue, watch, lost));
    try {
      await Promise.all(lanes);
    } finally {
      queue.ended = true;
      await Promise.all([...this.workers].map((worker) => this.close(worker)));
    }
    return lost;
  }

  stop(): void {
    for (const worker of this.workers) worker.kill();
  }

  /** One worker after another: a new one where the last one crashed. */
  private async lane(queue: Queue, watch: Watch, lost: Lost[]): Promise<void> {
    let worker = this.open();
    let file: string | null = null;
    for (let task = queue.next(file); task !== null; task = queue.next(file)) {
      file = queue.fileOf(task);
      for (let tries = 1; tries <= tries_max; tries += 1) {
        try {
          if (!watch.done(await worker.run(task, watch))) {
            queue.ended = true;
            this.stop();
          }
          break;
        } catch (error) {
          if (!(error instanceof Crash)) throw error;
          await this.close(worker);
          if (queue.ended) return;
          worker = this.open();
          if (tries === tries_max) lost.push({ task, reason: error.message });
        }
      }
    }
    await this.close(worker);
  }

  private open(): Worker {
    const worker = new Worker();
    this.workers.add(worker);
    return worker;
  }

  private async close(worker: Worker): Promise<void> {
    await worker.close();
    this.workers.delete(worker);
  }
}

/** The worker died; the task can be begun again. */
class Crash extends Error {
  override name = 'Crash';
}

/** One child process that runs a task at a time: a pool of one, so that a crash is known to be its. */
class Worker {
  private readonly pool: Tinypool;
  private crashed: (error: Error) => void = () => {};

  constructor() {
    this.pool = new Tinypool({
      runtime: 'child_process',
      filename: join(packageRoot(), 'dist', 'experiments', 'sweep', 'sweep-worker.js'),
      minThreads: 1,
      maxThreads: 1,
      env: process.env as Record<string, string>,
      execArgv: [],
    });
    // The death of a worker that has no task yet, or no longer, is told of here and nowhere else.
    this.pool.on('error', (error: Error) => this.crashed(new Crash(error.message)));
  }

  run(task: Task, watch: Watch): Promise<ShardReport> {
    return new Promise((resolve, reject) => {
      this.crashed = reject;
      const channel = { onMessage: () => {}, postMessage: ({ rows }: { rows: number }) => watch.rows(rows) };
      this.pool.run(task, { channel }).then(resolve, (error: Error) => reject(asOurs(error)));
    });
  }

  close(): Promise<void> {
    return this.pool.destroy();
  }

  kill(): void {
    for (const { threadId: pid } of this.pool.threads)
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It is gone already.
      }
  }
}

/** Errors come out of another process as plain objects. */
function asOurs(error: Error): Error {
  switch (error.name) {
    case 'TraceError':
    case 'UsageError':
      return new UsageError(error.message);
    case 'NativeUnavailableError':
    case 'PolicyError':
      return new CheckFailed(error.message);
  }
  if (error.message === worker_died) return new Crash('its worker died');
  return Object.assign(new Error(error.message), { stack: error.stack });
}

/** Tasks in order, except that a worker is given a shard of the trace it has loaded where there is one. */
class Queue {
  ended = false;
  private readonly waiting: Task[];
  private readonly files: ReadonlyMap<Task, string>;

  constructor(tasks: readonly Task[]) {
    this.waiting = [...tasks];
    const plans = new Map([...new Set(tasks.map(({ state }) => state))].map((state) => [state, readPlan(state)]));
    this.files = new Map(
      tasks.map((task) => {
        const { shards, traces } = plans.get(task.state)!;
        return [task, traces[shards[task.shard].trace].file];
      }),
    );
  }

  next(file: string | null): Task | null {
    if (this.ended || this.waiting.length === 0) return null;
    const at = this.waiting.findIndex((task) => this.files.get(task) === file);
    return this.waiting.splice(Math.max(0, at), 1)[0];
  }

  fileOf(task: Task): string {
    return this.files.get(task)!;
  }
}
