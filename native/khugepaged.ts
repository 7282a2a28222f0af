/**
 * khugepaged collapses partly used windows in the background, at times of its own: a long run on the real kernel will
 * meet it. With the right to, it can be asked to sleep meanwhile. The setting is machine-wide and put back at exit.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const path = '/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs';
const hour_ms = '3600000';

/** Puts khugepaged to sleep; returns what wakes it, or null where this is not allowed. */
export function holdKhugepaged(): (() => void) | null {
  let before: string;
  try {
    before = readFileSync(path, 'utf8').trim();
    if (before === hour_ms) return () => undefined;
    writeFileSync(path, hour_ms);
  } catch {
    return null;
  }
  let held = true;
  const release = (): void => {
    if (held) writeFileSync(path, before);
    held = false;
  };
  process.once('exit', release);
  return release;
}
