/** One pass of hak-calibrate: a process that measures every price once. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { native_root } from '../../native/index.ts';
import { CheckFailed } from '../command.ts';
import type { Pass } from './combine.ts';

const program = join(native_root, 'build', 'hak-calibrate');

/** Why nothing can be measured, in one line; null where it can. */
export function calibrationTrouble(): string | null {
  return existsSync(program) ? null : `${program} is missing: calibrating needs a C compiler and "npm run build"`;
}

/** `quick`: fewer sizes and rounds. The process does not outlive this one; null where it took longer than `most_s`. */
export function calibrationPass(quick: boolean): Promise<Pass>;
export function calibrationPass(quick: boolean, most_s: number): Promise<Pass | null>;
export function calibrationPass(quick: boolean, most_s = Number.POSITIVE_INFINITY): Promise<Pass | null> {
  const args = ['--die-with-parent', ...(quick ? ['--quick'] : [])];
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const stop = (): void => {
      child.kill('SIGKILL');
    };
    process.once('exit', stop);
    let late = false;
    const timer = Number.isFinite(most_s)
      ? setTimeout(() => {
          late = true;
          stop();
        }, most_s * 1000)
      : undefined;
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      process.off('exit', stop);
      clearTimeout(timer);
      if (late) resolve(null);
      else if (code === 0) resolve(JSON.parse(stdout) as Pass);
      else reject(new CheckFailed(`hak-calibrate ended with ${code ?? signal}: ${stderr.trim() || 'it said nothing'}`));
    });
  });
}
