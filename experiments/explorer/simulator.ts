/** The page's side of the worker: opens a trace, asks for answers, and drops those that are no longer wanted. */
import type { LogEntry, Setup } from '../../sim/index.ts';
import type { Origin, Statistics } from '../../traces/trace.ts';
import type { Answer, LargeEvents } from './loaded.ts';
import type { Reply, Request } from './messages.ts';
import SimulationWorker from './simulation-worker.ts?worker&inline';

export interface Answered extends Answer {
  /** Milliseconds that the worker simulated. */
  readonly ms: number;
}

/** A trace in a worker of its own. */
export class Simulator {
  readonly blob: Blob;
  readonly path: string;
  readonly origin: Origin;
  readonly statistics: Statistics;
  readonly large: LargeEvents;
  readonly load_ms: number;
  /** Told how much of the trace was read again, where a question makes that necessary. */
  onReading: (share: number) => void = () => {};
  private readonly worker: Worker;
  private readonly waiting = new Map<string, { setup: Setup; done: Done }>();
  private running: { slot: string; id: number; done: Done } | null = null;
  private next_id = 1;

  constructor(worker: Worker, blob: Blob, path: string, opened: Reply & { kind: 'opened' }) {
    this.worker = worker;
    this.blob = blob;
    this.path = path;
    this.origin = opened.origin;
    this.statistics = opened.statistics;
    this.large = opened.large;
    this.load_ms = opened.load_ms;
    worker.onmessage = ({ data }: MessageEvent<Reply>) => this.hear(data);
    worker.onerror = ({ message }) => {
      this.running?.done(null, message || 'the worker ended, perhaps for want of memory: open the trace again');
      this.running = null;
    };
  }

  /**
   * Asks what `setup` comes to. One question is with the worker at a time; of those that wait, the latest of each slot
   * counts, slots in the order in which they came.
   */
  ask(slot: string, setup: Setup, done: Done): void {
    this.waiting.set(slot, { setup, done });
    this.next();
  }

  /** Nobody wants the answers of `slot` any more. */
  forget(slot: string): void {
    this.waiting.delete(slot);
    if (this.running?.slot === slot) this.running = { ...this.running, done: () => {} };
  }

  close(): void {
    this.worker.terminate();
  }

  private next(): void {
    if (this.running !== null) return;
    const [first] = this.waiting;
    if (first === undefined) return;
    const [slot, { setup, done }] = first;
    this.waiting.delete(slot);
    this.running = { slot, id: this.next_id, done };
    this.next_id += 1;
    post(this.worker, { kind: 'simulate', id: this.running.id, setup });
  }

  private hear(reply: Reply): void {
    const { running } = this;
    if (reply.kind === 'progress') this.onReading(reply.share);
    if (running === null || !('id' in reply) || reply.id !== running.id) return;
    this.running = null;
    this.onReading(0);
    // An answer that a newer question overtook is old news, but on a slider each is a step of the way.
    if (reply.kind === 'simulated') running.done({ ...reply.answer, ms: reply.ms }, null);
    else if (reply.kind === 'failed') running.done(null, reply.message);
    this.next();
  }
}

export type Done = (answer: Answered | null, trouble: string | null) => void;

/** Reads a trace in a new worker. Rejects with one line for people; `signal` ends it. */
export function openTrace(
  blob: Blob,
  path: string,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<Simulator> {
  return new Promise((resolve, reject) => {
    const worker = startWorker(signal, reject);
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      if (data.kind === 'progress') onProgress(data.share);
      else if (data.kind === 'opened') resolve(new Simulator(worker, blob, path, data));
      else if (data.kind === 'failed') {
        worker.terminate();
        reject(new Error(data.message));
      }
    };
    post(worker, { kind: 'open', blob, path });
  });
}

/** The decision chain of one event, in a worker of its own: a long trace takes a second, and sliders go on meanwhile. */
export function explainEvent(
  { blob, path }: Simulator,
  setup: Setup,
  event: number,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<LogEntry | null> {
  return new Promise((resolve, reject) => {
    const worker = startWorker(signal, reject);
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      if (data.kind === 'progress') {
        onProgress(data.share);
        return;
      }
      worker.terminate();
      if (data.kind === 'explained') resolve(data.entry);
      else if (data.kind === 'failed') reject(new Error(data.message));
    };
    post(worker, { kind: 'explain', blob, path, setup, event });
  });
}

function startWorker(signal: AbortSignal, reject: (error: Error) => void): Worker {
  const worker = new SimulationWorker();
  worker.onerror = (event) => {
    worker.terminate();
    reject(new Error(event.message || 'the worker did not start, or ran out of memory'));
  };
  signal.addEventListener('abort', () => {
    worker.terminate();
    reject(new DOMException('ended by a newer request', 'AbortError'));
  });
  return worker;
}

function post(worker: Worker, request: Request): void {
  worker.postMessage(request);
}
