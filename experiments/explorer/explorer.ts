/** The state of the page and what changes it: the view in the address, the trace at hand, the latest answers. */
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { thresholds } from '../../sim/decide/strategy.ts';
import { ConfigError, defaults, type LogEntry, type Setup } from '../../sim/index.ts';
import type { Boot, BootTrace } from './boot.ts';
import { blobOf } from './embedded.ts';
import { type Answered, explainEvent, openTrace, type Simulator } from './simulator.ts';
import { readView, type Setting, setupOf, type View, withParam, writeView } from './view.ts';

export interface Loading {
  readonly name: string;
  readonly share: number;
}

/** A setting, made into what the simulator takes, or the reason why it cannot be. */
export interface Made {
  readonly setup: Setup | null;
  readonly trouble: string | null;
}

export interface Explained {
  readonly event: number;
  readonly entry: LogEntry | null;
  readonly trouble: string | null;
  readonly busy: boolean;
  /** How much of the trace was replayed. */
  readonly share: number;
}

export interface Explorer {
  readonly view: View;
  change(change: Partial<View>): void;
  readonly simulator: Simulator | null;
  /** Name of the trace that the simulator holds. */
  readonly opened: string | null;
  readonly loading: Loading | null;
  readonly trouble: string | null;
  dismiss(): void;
  openFile(file: File): void;
  openBoot(trace: BootTrace): void;
  cancel(): void;
  readonly made: { readonly a: Made; readonly b: Made | null };
  readonly answers: { readonly a: Answered | null; readonly b: Answered | null };
  readonly busy: boolean;
  /** How much of the trace was read again for a low threshold. */
  readonly reading: number;
  /** What each threshold of the strategy set comes to under setting A, as far as it is known. */
  readonly thresholds: readonly (Answered | null)[];
  readonly explained: { readonly a: Explained | null; readonly b: Explained | null };
}

export function useExplorer(boot: Boot): Explorer {
  const [view, setView] = useState<View>(() => readView(location.hash).view);
  const [simulator, setSimulator] = useState<Simulator | null>(null);
  const [loading, setLoading] = useState<Loading | null>(null);
  const [reading, setReading] = useState(0);
  const [trouble, setTrouble] = useState<string | null>(() => problemsOf(location.hash));
  const load = useRef<AbortController | null>(null);
  const held = useRef<{ readonly name: string; readonly simulator: Simulator } | null>(null);

  const change = useCallback((change: Partial<View>) => setView((old) => ({ ...old, ...change })), []);
  useAddress(view, setView, setTrouble);

  const open = useCallback(async (name: string, path: string, blob: (signal: AbortSignal) => Promise<Blob>) => {
    load.current?.abort();
    const controller = new AbortController();
    load.current = controller;
    setLoading({ name, share: 0 });
    try {
      const bytes = await blob(controller.signal);
      const opened = await openTrace(bytes, path, (share) => setLoading({ name, share }), controller.signal);
      held.current?.simulator.close();
      held.current = { name, simulator: opened };
      opened.onReading = setReading;
      setSimulator(opened);
      setTrouble(null);
      setView((old) => ({ ...old, trace: name, event: old.trace === name ? old.event : null }));
    } catch (error) {
      if (controller.signal.aborted) return;
      setTrouble((error as Error).message);
    }
    if (load.current === controller) {
      load.current = null;
      setLoading(null);
    }
  }, []);

  const openFile = useCallback((file: File) => void open(file.name, file.name, async () => file), [open]);
  const openBoot = useCallback(
    (trace: BootTrace) => void open(trace.name, trace.path, (signal) => blobOf(trace, signal)),
    [open],
  );
  const cancel = useCallback(() => {
    load.current?.abort();
    load.current = null;
    setLoading(null);
  }, []);

  useEffect(() => {
    if (view.trace !== null && view.trace === held.current?.name) return;
    const known = [...(boot.trace === null ? [] : [boot.trace]), ...boot.samples];
    const wanted = view.trace === null ? (boot.trace ?? undefined) : known.find(({ name }) => name === view.trace);
    if (wanted !== undefined) openBoot(wanted);
    else if (view.trace !== null)
      setTrouble(`this link was made with ${view.trace}: open that file to see it again, or pick a sample`);
  }, [view.trace]);

  const has_touch = (simulator?.statistics.large_blocks_touched ?? 0) > 0;
  const made = useMemo(
    () => ({
      a: make(view.a, has_touch, boot),
      b: view.b === null ? null : make(view.b, has_touch, boot),
    }),
    [view.a, view.b, has_touch, boot],
  );
  const a = useAnswer(simulator, 'a', made.a.setup);
  const b = useAnswer(simulator, 'b', made.b?.setup ?? null);
  return {
    view,
    change,
    simulator,
    opened: simulator === null ? null : (held.current?.name ?? null),
    loading,
    trouble,
    dismiss: useCallback(() => setTrouble(null), []),
    openFile,
    openBoot,
    cancel,
    made: {
      a: a.trouble === null ? made.a : { ...made.a, trouble: a.trouble },
      b: made.b === null || b.trouble === null ? made.b : { ...made.b, trouble: b.trouble },
    },
    answers: { a: a.answer, b: view.b === null ? null : b.answer },
    busy: a.busy || b.busy,
    reading: a.busy || b.busy ? reading : 0,
    thresholds: useThresholds(simulator, view.a, has_touch, boot),
    explained: {
      a: useExplained(simulator, made.a.setup, view.event),
      b: useExplained(simulator, made.b?.setup ?? null, view.event),
    },
  };
}

/** The thresholds that the strategies of a setting stand for. */
export function thresholdsOf(setup: Setup | null): readonly number[] {
  return thresholds(setup?.config ?? defaults);
}

function make(setting: Setting, has_touch: boolean, boot: Boot): Made {
  try {
    return { setup: setupOf(setting, has_touch, boot.profile), trouble: null };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { setup: null, trouble: error.message };
  }
}

/** View and address follow one another: a link opens its view, and the way back is the browser's. */
function useAddress(view: View, setView: (view: View) => void, setTrouble: (trouble: string | null) => void): void {
  const written = useRef('');
  useEffect(() => {
    const hash = writeView(view);
    if (hash === written.current) return;
    // Browsers allow so many changes of the address a second; a slider makes more.
    const timer = setTimeout(() => {
      written.current = hash;
      history.replaceState(null, '', `#${hash}`);
    }, 150);
    return () => clearTimeout(timer);
  }, [view]);
  useEffect(() => {
    const follow = (): void => {
      if (location.hash.slice(1) === written.current) return;
      const { view: found } = readView(location.hash);
      written.current = location.hash.slice(1);
      setTrouble(problemsOf(location.hash));
      setView(found);
    };
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
}

function problemsOf(hash: string): string | null {
  const { problems } = readView(hash);
  return problems.length === 0 ? null : `left out of this link: ${problems.join('; ')}`;
}

interface Asked {
  readonly answer: Answered | null;
  readonly trouble: string | null;
  readonly busy: boolean;
}

/** The latest answer to the latest question; until the next one comes, the one before stays. */
function useAnswer(simulator: Simulator | null, slot: string, setup: Setup | null): Asked {
  const [asked, setAsked] = useState<Asked>({ answer: null, trouble: null, busy: false });
  const key = keyOf(setup);
  const last = useRef<Simulator | null>(null);
  const latest = useRef(key);
  latest.current = key;
  useEffect(() => {
    if (simulator === null || setup === null) {
      setAsked((old) => ({ ...old, busy: false }));
      return;
    }
    const fresh = last.current !== simulator;
    last.current = simulator;
    setAsked((old) => ({ answer: fresh ? null : old.answer, trouble: null, busy: true }));
    const asked_key = key;
    simulator.ask(slot, setup, (answer, trouble) => {
      if (last.current !== simulator) return;
      setAsked((old) => ({ answer: answer ?? old.answer, trouble, busy: latest.current !== asked_key }));
    });
  }, [simulator, key]);
  return asked;
}

/** Every threshold of the set, one after another, when nothing more urgent is asked. */
function useThresholds(
  simulator: Simulator | null,
  setting: Setting,
  has_touch: boolean,
  boot: Boot,
): readonly (Answered | null)[] {
  const [answers, setAnswers] = useState<readonly (Answered | null)[]>([]);
  const others = withParam(setting, 'mmap_threshold_bytes', undefined);
  const { setup } = make(others, has_touch, boot);
  const key = keyOf(setup);
  useEffect(() => {
    setAnswers([]);
    if (simulator === null || setup === null) return;
    const every = thresholdsOf(setup);
    // A pause first: on a slider's way nobody reads them.
    const timer = setTimeout(() => {
      for (const [at, mmap_threshold_bytes] of every.entries()) {
        const config = { ...setup.config, mmap_threshold_bytes };
        simulator.ask(`threshold ${at}`, { ...setup, config }, (answer) =>
          setAnswers((old) => every.map((_, each) => (each === at ? answer : (old[each] ?? null)))),
        );
      }
    }, 300);
    return () => {
      clearTimeout(timer);
      for (const at of every.keys()) simulator.forget(`threshold ${at}`);
    };
  }, [simulator, key]);
  return answers;
}

function useExplained(simulator: Simulator | null, setup: Setup | null, event: number | null): Explained | null {
  const [explained, setExplained] = useState<Explained | null>(null);
  const key = keyOf(setup);
  useEffect(() => {
    if (simulator === null || setup === null || event === null) {
      setExplained(null);
      return;
    }
    const { events } = simulator.statistics;
    if (event >= events) {
      const trouble = `event ${event}: the trace has ${events} events, 0 to ${events - 1}`;
      setExplained({ event, entry: null, trouble, busy: false, share: 0 });
      return;
    }
    setExplained((old) => ({
      event,
      entry: old?.event === event ? old.entry : null,
      trouble: null,
      busy: true,
      share: 0,
    }));
    const controller = new AbortController();
    const timer = setTimeout(() => {
      const progress = (read: number): void => {
        const share = Math.min(1, (read * events) / Math.max(1, event));
        setExplained((old) => (old === null ? null : { ...old, share }));
      };
      explainEvent(simulator, setup, event, progress, controller.signal).then(
        (entry) => setExplained({ event, entry, trouble: null, busy: false, share: 1 }),
        ({ message: trouble }: Error) => {
          if (!controller.signal.aborted) setExplained({ event, entry: null, trouble, busy: false, share: 0 });
        },
      );
    }, 120);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [simulator, key, event]);
  return explained;
}

function keyOf(setup: Setup | null): string {
  return setup === null ? '' : JSON.stringify([setup.config, setup.touch]);
}
