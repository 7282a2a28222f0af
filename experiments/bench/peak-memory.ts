/** What a command takes: time, and resident memory of it and all the processes that it starts. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

export interface Taken {
  readonly seconds: number;
  /** The sum of what each process had resident at its own peak: at least what they had together at once. */
  readonly peak_bytes: number;
}

const poll_ms = 25;

/** Throws where the command fails, with the end of what it said. Linux only: it reads /proc. */
export async function taken(command: string, args: readonly string[]): Promise<Taken> {
  const started = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-1000);
  });
  let ended = false;
  const end = once(child, 'close').finally(() => {
    ended = true;
  });
  const peaks = new Map<number, number>();
  while (!ended) {
    if (child.pid !== undefined) notePeaks(child.pid, peaks);
    await Promise.race([end, setTimeout(poll_ms)]);
  }
  const [code] = await end;
  if (code !== 0) throw new Error(`${[command, ...args].join(' ')}: exit ${code}: ${said}`);
  const peak_bytes = [...peaks.values()].reduce((sum, each) => sum + each, 0);
  return { seconds: (performance.now() - started) / 1000, peak_bytes };
}

/** Of the process and its descendants. The kernel keeps the peak, so that looking now and then misses none. */
function notePeaks(pid: number, peaks: Map<number, number>): void {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readOf(pid, 'status'))?.[1];
  if (kib === undefined) return;
  peaks.set(pid, Number(kib) * 1024);
  for (const child of readOf(pid, `task/${pid}/children`).split(' ')) if (child !== '') notePeaks(Number(child), peaks);
}

/** Empty where the process has ended meanwhile. */
function readOf(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return '';
  }
}
