/** The worker: the simulator itself, beside the page, so that the page never waits for it. */
import { BlobSource } from './blob-source.ts';
import { explain, LoadedTrace } from './loaded.ts';
import type { Reply, Request } from './messages.ts';

let trace: LoadedTrace | undefined;

self.onmessage = ({ data }: MessageEvent<Request>) => {
  try {
    if (data.kind === 'open') open(data.blob, data.path);
    else if (data.kind === 'simulate') {
      const started = performance.now();
      const answer = trace!.answer(data.setup);
      reply({ kind: 'simulated', id: data.id, answer, ms: performance.now() - started });
    } else {
      const source = new BlobSource(data.blob, data.path, progress());
      reply({ kind: 'explained', entry: explain(source, data.setup, data.event) });
    }
  } catch (error) {
    reply({ kind: 'failed', id: data.kind === 'simulate' ? data.id : null, message: wordsOf(error as Error) });
  }
};

function open(blob: Blob, path: string): void {
  const started = performance.now();
  trace = new LoadedTrace(new BlobSource(blob, path, progress()));
  const large = trace.largeEvents();
  reply(
    {
      kind: 'opened',
      origin: trace.origin,
      statistics: trace.statistics,
      large,
      load_ms: performance.now() - started,
    },
    [large.event.buffer, large.op.buffer, large.object.buffer, large.size_bytes.buffer],
  );
}

/** Tells the page how much was read, now and then. */
function progress(): (share: number) => void {
  let told = performance.now();
  return (share) => {
    const now = performance.now();
    if (now - told < 50) return;
    told = now;
    reply({ kind: 'progress', share });
  };
}

/** A mistake of ours says what it is; the world's is one line that says all. */
function wordsOf({ name, message }: Error): string {
  if (name === 'TraceError') return message;
  if (name === 'RangeError' && /allocation|length/.test(message))
    return `the browser has no memory for the events that this leaves (${message}); wanted a higher threshold`;
  return `${name}: ${message}`;
}

function reply(message: Reply, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}
