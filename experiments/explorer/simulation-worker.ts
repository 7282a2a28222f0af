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
    } else reply({ kind: 'explained', entry: explain(new BlobSource(data.blob, data.path), data.setup, data.event) });
  } catch (error) {
    const { name, message } = error as Error;
    // A mistake of ours says what it is; the world's is one line that says all.
    const words = name === 'TraceError' ? message : `${name}: ${message}`;
    reply({ kind: 'failed', id: data.kind === 'simulate' ? data.id : null, message: words });
  }
};

function open(blob: Blob, path: string): void {
  const started = performance.now();
  let told = started;
  const source = new BlobSource(blob, path, (share) => {
    const now = performance.now();
    if (now - told < 50) return;
    told = now;
    reply({ kind: 'progress', share });
  });
  trace = new LoadedTrace(source);
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

function reply(message: Reply, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}
