/** JSON files that a user hands over: read and checked, with one line that names the file and the field where it is wrong. */
import { readFileSync } from 'node:fs';
import { UsageError } from './command.ts';

export function readJson(path: string): { text: string; json: unknown } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${path}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message}`,
    );
  }
  try {
    return { text, json: JSON.parse(text) };
  } catch (error) {
    throw new UsageError(`${path}: not JSON: ${(error as Error).message}`);
  }
}

type Parsed<T> =
  | { success: true; data: T }
  | { success: false; error: { issues: readonly { path: readonly PropertyKey[]; message: string }[] } };

export function check<T>(path: string, parsed: Parsed<T>): T {
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UsageError(`${path}: ${issue.path.join('.') || 'document'}: ${issue.message}`);
}
