/** A worker process of the local driver: tinypool calls the default export with a task. */
import type { ShardReport, Task } from './driver.ts';
import { Workbench } from './workbench.ts';

// Whoever started this process is gone: nobody waits for the rows, and another sweep may go on with the shard.
process.on('disconnect', () => process.exit(1));
// Ctrl-C reaches every process of the terminal; the parent decides what becomes of its workers.
process.on('SIGINT', () => {});

const bench = new Workbench();

export default function run(task: Task): Promise<ShardReport> {
  return bench.run(task, (rows) => process.send?.({ rows }));
}
