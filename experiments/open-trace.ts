/** Opens a trace of which a result will be computed, and says on stderr where its events are only a sample of a program's. */
import { open, type Trace } from '../traces/index.ts';
import { sampleNote } from '../traces/sample-estimate.ts';
import { say } from './command.ts';

export function openTrace(path: string): Trace {
  const trace = open(path);
  const note = sampleNote(trace.origin);
  if (note !== null) say(`${path}: ${note}`);
  return trace;
}
