/** The answers in numbers: headline, time by cause, every figure side by side, and all thresholds of the set. */
import type { ComponentChildren } from 'preact';
import type { Outcome } from '../../sim/index.ts';
import { formatBytes } from '../sizes.ts';
import { type Figure, figure_groups, figureNamed, write, writeChange, writeCount, writePercent } from './figures.ts';
import type { Answered } from './simulator.ts';

interface Pair {
  readonly a: Outcome;
  readonly b: Outcome | null;
}

const headline = [
  'time_ns.total',
  'faults',
  'syscalls',
  'resident_bytes.peak',
  'heap.resident_peak_bytes',
  'mapped_bytes.peak',
  'score.total',
];
const headline_labels: Readonly<Record<string, string>> = {
  faults: 'page faults',
  syscalls: 'system calls',
  'resident_bytes.peak': 'resident peak',
  'heap.resident_peak_bytes': 'heap peak',
  'mapped_bytes.peak': 'mapped peak',
};

export function Headline({ a, b }: Pair) {
  return (
    <dl class="headline">
      {headline.map((name) => {
        const figure = figureNamed(name);
        const value = figure.of(a);
        const other = b === null ? null : figure.of(b);
        return (
          <div key={name}>
            <dt>{headline_labels[name] ?? figure.label}</dt>
            <dd class="value" data-figure={name} data-value={value ?? ''}>
              {write(value, figure.unit)}
            </dd>
            {value !== null && other !== null && (
              <dd class="versus">
                B {write(other, figure.unit)} <Change figure={figure} a={value} b={other} percent />
              </dd>
            )}
          </div>
        );
      })}
    </dl>
  );
}

const causes = ['allocate', 'free', 'fault'] as const;
const cause_labels = { allocate: 'allocating', free: 'freeing', fault: 'page faults' } as const;

/** Bars of one scale, so that A and B can be compared by eye. */
export function TimeByCause({ a, b }: Pair) {
  const longest = Math.max(a.time_ns.total, b?.time_ns.total ?? 0, 1);
  const rows = [{ name: 'A', time: a.time_ns }, ...(b === null ? [] : [{ name: 'B', time: b.time_ns }])];
  return (
    <figure class="causes">
      <figcaption>Time by cause, nominal prices</figcaption>
      {rows.map(({ name, time }) => (
        <div class="cause-row" key={name}>
          <span class="side">{b === null ? '' : name}</span>
          <span class="bar" aria-hidden="true">
            {causes.map((cause) => (
              <span
                key={cause}
                class={`cause-${cause}`}
                style={{ width: `${(100 * (time[cause] ?? 0)) / longest}%` }}
              />
            ))}
          </span>
          <ul>
            {causes.map((cause) => (
              <li key={cause}>
                <span class={`swatch cause-${cause}`} aria-hidden="true" />
                {cause_labels[cause]} {write(time[cause], 'ns')}
              </li>
            ))}
          </ul>
        </div>
      ))}
    </figure>
  );
}

export function Figures({ a, b }: Pair) {
  return (
    <div class="figures">
      {figure_groups.map(({ title, figures }) => (
        <table key={title}>
          <thead>
            <tr>
              <th scope="col">{title}</th>
              <th scope="col">{b === null ? 'value' : 'A'}</th>
              {b !== null && (
                <>
                  <th scope="col">B</th>
                  <th scope="col">B − A</th>
                  <th scope="col" class="percent">
                    %
                  </th>
                </>
              )}
            </tr>
          </thead>
          <tbody>
            {figures
              .filter((figure) => figure.less_is_better || figure.of(a) !== 0 || (b !== null && figure.of(b) !== 0))
              .map((figure) => (
                <FigureRow key={figure.name} figure={figure} a={a} b={b} />
              ))}
          </tbody>
        </table>
      ))}
    </div>
  );
}

function FigureRow({ figure, a, b }: Pair & { readonly figure: Figure }) {
  const value = figure.of(a);
  const other = b === null ? null : figure.of(b);
  const compared = value !== null && other !== null;
  return (
    <tr>
      <th scope="row">{figure.label}</th>
      <td data-a={figure.name} data-value={value ?? ''}>
        {write(value, figure.unit)}
      </td>
      {b !== null && (
        <>
          <td data-b={figure.name} data-value={other ?? ''}>
            {write(other, figure.unit)}
          </td>
          <td>{compared && <Change figure={figure} a={value} b={other} />}</td>
          <td class="percent">{compared && <Change figure={figure} a={value} b={other} percent />}</td>
        </>
      )}
    </tr>
  );
}

function Change({ figure, a, b, percent = false }: { figure: Figure; a: number; b: number; percent?: boolean }) {
  const judged = !figure.less_is_better || a === b ? 'same' : b < a ? 'better' : 'worse';
  return <span class={judged}>{percent ? writePercent(a, b) : writeChange(b - a, figure.unit)}</span>;
}

interface ThresholdsProps {
  readonly thresholds: readonly number[];
  readonly answers: readonly (Answered | null)[];
  readonly effective: number;
  onChoose(bytes: number): void;
}

// Memory that is not mapped is on the heap: one column without the other would praise the highest threshold.
const swept = ['score.total', 'time_ns.total', 'faults', 'syscalls', 'resident_bytes.peak', 'heap.resident_peak_bytes'];

/** One row a threshold: what each would cost, the least of each column marked. */
export function Thresholds({ thresholds, answers, effective, onChoose }: ThresholdsProps) {
  const done = answers.filter((each) => each !== null);
  const columns = swept.map((name) => {
    const figure = figureNamed(name);
    const values = done.map(({ outcome }) => figure.of(outcome)!);
    return { name, figure, least: Math.min(...values), most: Math.max(...values) };
  });
  return (
    <table class="thresholds" aria-busy={done.length < thresholds.length}>
      <thead>
        <tr>
          <th scope="col">threshold</th>
          {columns.map(({ name, figure }) => (
            <th key={name} scope="col">
              {headline_labels[name] ?? figure.label}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {thresholds.map((bytes, at) => (
          <tr key={bytes} aria-current={bytes === effective ? 'true' : undefined}>
            <th scope="row">
              <button type="button" class="link" onClick={() => onChoose(bytes)}>
                {formatBytes(bytes)}
              </button>
            </th>
            {columns.map(({ name, figure, least, most }) => (
              <SweptCell key={name} figure={figure} outcome={answers[at]?.outcome} least={least} most={most} />
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface SweptProps {
  readonly figure: Figure;
  readonly outcome: Outcome | undefined;
  readonly least: number;
  readonly most: number;
}

function SweptCell({ figure, outcome, least, most }: SweptProps) {
  if (outcome === undefined) return <td class="waiting">…</td>;
  const value = figure.of(outcome)!;
  const best = value === least && most > least;
  return (
    <td class={best ? 'best' : ''} data-value={value}>
      <span class="inline-bar" style={{ width: `${most > 0 ? (100 * value) / most : 0}%` }} aria-hidden="true" />
      <span class="number">
        {best && <span class="visually-hidden">least: </span>}
        {write(value, figure.unit)}
      </span>
    </td>
  );
}

export function Section({ id, title, children }: { id: string; title: string; children: ComponentChildren }) {
  return (
    <section aria-labelledby={`${id}-title`} id={id}>
      <h2 id={`${id}-title`}>{title}</h2>
      {children}
    </section>
  );
}

/** "14,776 events simulated in 3.1 ms". */
export function Speed({ answered, events }: { readonly answered: Answered; readonly events: number }) {
  return (
    <>
      simulated in <b data-ms={answered.ms}>{answered.ms < 10 ? answered.ms.toFixed(1) : Math.round(answered.ms)} ms</b>
      {': '}
      {answered.rows === events
        ? `all ${writeCount(events)} events one by one`
        : `${writeCount(answered.rows)} of ${writeCount(events)} events one by one, the rest folded`}
      {answered.read_again && '; the trace was read again for so low a threshold'}
    </>
  );
}
