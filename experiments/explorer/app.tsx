/** The page: trace above, settings at the side, answers in the middle. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { floorOf } from '../../sim/index.ts';
import { formatBytes } from '../sizes.ts';
import type { Boot } from './boot.ts';
import { Course } from './course.tsx';
import { Events } from './events.tsx';
import { Explanation } from './explanation.tsx';
import { type Explorer, thresholdsOf, useExplorer } from './explorer.ts';
import { writeCount } from './figures.ts';
import { MainControls, Parameters } from './setting-panel.tsx';
import type { Simulator } from './simulator.ts';
import { Figures, Headline, Section, Speed, Thresholds, TimeByCause } from './tables.tsx';
import { commandOf, type Setting, withParam } from './view.ts';

export function App({ boot }: { readonly boot: Boot }) {
  const explorer = useExplorer(boot);
  const { simulator, loading, trouble } = explorer;
  const dropping = useDrop(explorer.openFile);
  return (
    <>
      <header>
        <h1>
          hakmem <span>explorer {boot.version}</span>
        </h1>
        <TracePicker boot={boot} explorer={explorer} />
      </header>
      {trouble !== null && (
        <p class="trouble banner" role="alert">
          <span>{trouble}</span>
          <button type="button" class="quiet" onClick={explorer.dismiss}>
            Dismiss
          </button>
        </p>
      )}
      {loading !== null && (
        <p class="loading banner" role="status">
          <span>Reading {loading.name}</span>
          <progress max="1" value={loading.share} aria-label={`Reading ${loading.name}`} />
          <span class="share">{Math.floor(100 * loading.share)} %</span>
          <button type="button" class="quiet" onClick={explorer.cancel}>
            Cancel
          </button>
        </p>
      )}
      {simulator === null ? (
        <Welcome boot={boot} explorer={explorer} />
      ) : (
        <Workbench boot={boot} explorer={explorer} simulator={simulator} />
      )}
      {dropping && <div class="drop">Drop the trace to open it</div>}
    </>
  );
}

function TracePicker({ boot, explorer }: { readonly boot: Boot; readonly explorer: Explorer }) {
  const opened = explorer.loading?.name ?? explorer.opened;
  const file = useRef<HTMLInputElement>(null);
  const known = [...(boot.trace === null ? [] : [boot.trace]), ...boot.samples];
  const chosen = known.some(({ name }) => name === opened) ? opened! : '';
  return (
    <div class="picker">
      <label for="trace">Trace</label>
      <select
        id="trace"
        value={chosen}
        onChange={(event) => {
          const found = known.find(({ name }) => name === event.currentTarget.value);
          if (found !== undefined) explorer.openBoot(found);
        }}
      >
        <option value="" disabled>
          {chosen === '' && opened !== null ? opened : 'pick a sample'}
        </option>
        {known.map(({ name, says }) => (
          <option key={name} value={name}>
            {name}: {says}
          </option>
        ))}
      </select>
      <button type="button" onClick={() => file.current!.click()}>
        Open a trace…
      </button>
      <input
        ref={file}
        type="file"
        hidden
        aria-label="Trace file"
        onChange={(event) => {
          const [found] = event.currentTarget.files ?? [];
          if (found !== undefined) explorer.openFile(found);
          event.currentTarget.value = '';
        }}
      />
    </div>
  );
}

function Welcome({ boot, explorer }: { readonly boot: Boot; readonly explorer: Explorer }) {
  if (explorer.loading !== null) return <main class="welcome" />;
  return (
    <main class="welcome">
      <h2>Pick a trace</h2>
      <p>
        Drop a <code>.hak</code> file here, or any trace that <code>hakmem import</code> reads: memory_replay text,
        wee_alloc and more, packed or not. It stays on this machine. Or begin with a recorded sample:
      </p>
      <ul class="samples">
        {boot.samples.map((sample) => (
          <li key={sample.name}>
            <button type="button" onClick={() => explorer.openBoot(sample)}>
              <b>{sample.name}</b>
              <span>{sample.says}</span>
            </button>
          </li>
        ))}
      </ul>
    </main>
  );
}

interface WorkbenchProps {
  readonly boot: Boot;
  readonly explorer: Explorer;
  readonly simulator: Simulator;
}

function Workbench({ boot, explorer, simulator }: WorkbenchProps) {
  const { view, change, made, answers, busy } = explorer;
  const [side, setSide] = useState<'a' | 'b'>('a');
  const edited = view.b === null ? 'a' : side;
  const setting = edited === 'b' ? view.b! : view.a;
  const panel = {
    setting,
    made: edited === 'b' ? made.b! : made.a,
    has_touch: simulator.statistics.large_blocks_touched > 0,
    onChange: (changed: Setting) => change(edited === 'b' ? { b: changed } : { a: changed }),
  };
  const { a, b } = answers;
  const waiting = useLasting(busy);
  const pair = a === null ? null : { a: a.outcome, b: b?.outcome ?? null };
  return (
    <>
      <TraceFacts simulator={simulator} />
      <main class="workbench">
        <div class="settings">
          <section class="main-controls" aria-label="Setting">
            <div class="sides">
              {view.b === null ? (
                <h2>Setting</h2>
              ) : (
                <fieldset class="choices">
                  <legend class="visually-hidden">Setting to change</legend>
                  {(['a', 'b'] as const).map((each) => (
                    <label key={each}>
                      <input type="radio" name="side" checked={edited === each} onChange={() => setSide(each)} />
                      Setting {each.toUpperCase()}
                    </label>
                  ))}
                </fieldset>
              )}
              <button
                type="button"
                aria-pressed={view.b !== null}
                onClick={() => {
                  change({ b: view.b === null ? view.a : null });
                  setSide('b');
                }}
              >
                Compare
              </button>
            </div>
            <MainControls key={edited} {...panel} />
          </section>
          <section class="parameters" aria-label="Parameters">
            <Parameters {...panel} />
          </section>
        </div>
        <div class="answers" aria-busy={busy}>
          <div class="answers-head">
            <p class="status" role="status">
              {a !== null && <Speed answered={a} events={simulator.statistics.events} />}
              {b !== null && <>; B in {b.ms < 10 ? b.ms.toFixed(1) : Math.round(b.ms)} ms</>}
              {waiting && a !== null && (
                <b class="waiting">
                  {' '}
                  simulating anew{explorer.reading > 0 && `, read ${Math.floor(100 * explorer.reading)} %`}…
                </b>
              )}
            </p>
            <p class="unchecked">
              Simulated in this browser, <b>not cross-checked</b>.{' '}
              <button type="button" class="link" onClick={() => document.getElementById('check')?.scrollIntoView()}>
                Check it
              </button>
            </p>
          </div>
          {pair === null ? (
            <p class="empty">{made.a.trouble === null ? 'Simulating…' : 'Setting A cannot run as it is.'}</p>
          ) : (
            <>
              <Violation side={pair.b === null ? '' : 'A: '} outcome={pair.a} />
              {pair.b !== null && <Violation side="B: " outcome={pair.b} />}
              <Headline {...pair} />
              <TimeByCause {...pair} />
              <Section id="course" title="Over the trace">
                <Course
                  chart={view.chart}
                  a={a!}
                  b={b}
                  marked={view.event}
                  onChart={(chart) => change({ chart })}
                  onPick={(event) => change({ event: Math.max(0, Math.min(event, simulator.statistics.events - 1)) })}
                />
              </Section>
              <Section
                id="thresholds"
                title={view.b === null ? 'Every threshold of the set' : 'Every threshold of the set, setting A'}
              >
                <Thresholds
                  thresholds={thresholdsOf(made.a.setup)}
                  answers={explorer.thresholds}
                  effective={made.a.setup === null ? 0 : floorOf(made.a.setup.config)}
                  onChoose={(bytes) => change({ a: withParam(view.a, 'mmap_threshold_bytes', bytes) })}
                />
                <p class="note">
                  Resident memory is that of mapped blocks; what stays below the threshold is on the heap path, whose
                  peak stands beside it. The least of a column is green.
                </p>
              </Section>
              <Section id="figures" title="Every figure">
                <Figures {...pair} />
              </Section>
              <Section id="events" title="Why: one event explained">
                <Explanation {...explorer.explained} />
                <Events
                  large={simulator.large}
                  events={simulator.statistics.events}
                  event={view.event}
                  onPick={(event) => change({ event })}
                />
              </Section>
              <Section id="check" title="Is it true?">
                <Check boot={boot} explorer={explorer} simulator={simulator} />
              </Section>
            </>
          )}
        </div>
      </main>
    </>
  );
}

function TraceFacts({ simulator }: { readonly simulator: Simulator }) {
  const { statistics, origin, path, load_ms } = simulator;
  const facts = [
    ['events', writeCount(statistics.events)],
    ['blocks of 512 KiB and more', writeCount(statistics.large_blocks)],
    ['largest', formatBytes(statistics.largest_bytes)],
    ['most live', formatBytes(statistics.peak_live_bytes)],
    ['threads', writeCount(statistics.threads)],
    ['sites', writeCount(origin.sites.length)],
    ['read in', `${Math.round(load_ms)} ms`],
  ];
  return (
    <section class="facts" aria-label="The trace">
      <p>
        <b>{path}</b> {origin.program} <span class="muted">({origin.source})</span>
      </p>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {origin.notes.length > 0 && (
        <details>
          <summary>
            {origin.notes.length} {origin.notes.length === 1 ? 'note' : 'notes'} on how it was made
          </summary>
          <ul>
            {origin.notes.map((note) => (
              <li key={note}>{note}</li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

function Violation({
  side,
  outcome,
}: {
  side: string;
  outcome: { violation: { event: number; rule: string } | null };
}) {
  if (outcome.violation === null) return null;
  const { event, rule } = outcome.violation;
  return (
    <p class="trouble" role="alert">
      {side}event {event}: the policy broke the rule {rule}; the replay stopped there, and the figures end there.
    </p>
  );
}

function Check({ boot, explorer, simulator }: WorkbenchProps) {
  const { view, answers } = explorer;
  const sides = [
    { name: 'A', setting: view.a, answered: answers.a },
    ...(view.b === null ? [] : [{ name: 'B', setting: view.b, answered: answers.b }]),
  ];
  return (
    <>
      <p>
        These figures were <b>simulated in this browser and not cross-checked</b>. The command below simulates the same,
        replays the trace in the C core on your kernel, and says whether both agree; its decision digest must be the one
        shown here. Prices are nominal, the kernel profile is{' '}
        {boot.profile_source === 'probed' ? 'that of the machine that made this page' : 'a recent kernel’s'}: on another
        kernel decisions stay, faults may differ.
      </p>
      {sides.map(({ name, setting, answered }) => (
        <div class="check" key={name}>
          <p>
            {view.b === null ? '' : `${name}: `}decision digest{' '}
            <code data-digest={name}>{answered?.outcome.decision_digest ?? '…'}</code>
          </p>
          <Command text={commandOf(simulator.path, setting)} />
        </div>
      ))}
    </>
  );
}

function Command({ text }: { readonly text: string }) {
  const code = useRef<HTMLElement>(null);
  const [said, setSaid] = useState('');
  useEffect(() => setSaid(''), [text]);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid('copied');
    } catch {
      getSelection()!.selectAllChildren(code.current!);
      setSaid('selected: press Ctrl+C');
    }
  };
  return (
    <div class="command">
      <code ref={code}>{text}</code>
      <button type="button" onClick={() => void copy()}>
        Copy command
      </button>
      <span role="status">{said}</span>
    </div>
  );
}

/** True once `on` has lasted long enough to be worth a word. */
function useLasting(on: boolean): boolean {
  const [lasting, setLasting] = useState(false);
  useEffect(() => {
    setLasting(false);
    if (!on) return;
    const timer = setTimeout(() => setLasting(true), 250);
    return () => clearTimeout(timer);
  }, [on]);
  return lasting;
}

/** True while a file is held over the page. */
function useDrop(openFile: (file: File) => void): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const drag = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent): void => {
      event.preventDefault();
      setOver(false);
      const [file] = event.dataTransfer?.files ?? [];
      if (file !== undefined) openFile(file);
    };
    addEventListener('dragover', drag);
    addEventListener('dragleave', leave);
    addEventListener('drop', drop);
    return () => {
      removeEventListener('dragover', drag);
      removeEventListener('dragleave', leave);
      removeEventListener('drop', drop);
    };
  }, [openFile]);
  return over;
}
