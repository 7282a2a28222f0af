/** The events of large blocks, as a timeline and as a list, and a field for the number of any event. */
import { useMemo, useState } from 'preact/hooks';
import { op_names } from '../../traces/trace.ts';
import { formatBytes } from '../sizes.ts';
import { writeCount } from './figures.ts';
import type { LargeEvents } from './loaded.ts';
import { axes, Plot } from './plot.tsx';

const rows_a_page = 12;
const points_max = 1500;

interface EventsProps {
  readonly large: LargeEvents;
  readonly events: number;
  readonly event: number | null;
  onPick(event: number | null): void;
}

export function Events({ large, events, event, onPick }: EventsProps) {
  const [typed, setTyped] = useState('');
  const [wrong, setWrong] = useState(false);
  const [first, setFirst] = useState(0);
  const [shown_for, setShownFor] = useState<{ event: number | null; large: LargeEvents }>({ event: null, large });
  if (shown_for.event !== event || shown_for.large !== large) {
    // The list follows the event that was picked elsewhere.
    setShownFor({ event, large });
    setFirst(event === null ? 0 : pageOf(large, event));
  }
  const count = large.event.length;
  const data = useMemo(() => timelineOf(large, events), [large, events]);
  const go = (): void => {
    const number = /^[\d,]+$/.test(typed.trim()) ? Number(typed.replaceAll(',', '')) : Number.NaN;
    setWrong(!(number < events));
    if (number < events) onPick(number);
  };
  const pick = (at: number): void => onPick(nearest(large, at) ?? Math.min(Math.max(at, 0), events - 1));
  return (
    <>
      <form
        class="go"
        onSubmit={(submitted) => {
          submitted.preventDefault();
          go();
        }}
      >
        <label for="event-number">Event</label>
        <input
          id="event-number"
          type="text"
          inputMode="numeric"
          autocomplete="off"
          value={typed}
          placeholder={event === null ? `0 to ${writeCount(events - 1)}` : String(event)}
          aria-invalid={wrong}
          aria-describedby="event-trouble"
          onInput={(changed) => setTyped(changed.currentTarget.value)}
        />
        <button type="submit">Explain</button>
        {event !== null && (
          <button type="button" class="quiet" onClick={() => onPick(null)}>
            Close
          </button>
        )}
        <span id="event-trouble" class="field-trouble" role="alert">
          {wrong ? `wanted a whole number from 0 to ${events - 1}` : ''}
        </span>
      </form>
      {count === 0 ? (
        <p class="empty">No block of 512 KiB or more in this trace: any event can be typed above.</p>
      ) : (
        <>
          <figure>
            <Plot
              label={`${writeCount(large.total)} events of large blocks over the trace; the list below has each of them`}
              kind="timeline"
              height={150}
              data={data}
              marked={event}
              make={(colours) => ({
                legend: { show: false },
                cursor: { drag: { x: true, y: false }, y: false },
                scales: { x: { time: false }, y: { distr: 3, log: 2 } },
                axes: axes(colours, formatBytes, false),
                series: [
                  {},
                  {
                    stroke: colours.series[0],
                    paths: () => null,
                    points: { show: true, size: 4, fill: colours.series[0], width: 0 },
                  },
                ],
              })}
              onPick={pick}
            />
            <figcaption>
              Allocations of 512 KiB and more by size
              {large.event.length > 2 * points_max ? ', the largest of each stretch' : ''}; click one to explain it.
              {large.total > count
                ? ` Of ${writeCount(large.total)} events the first ${writeCount(count)} are listed; any other can be typed.`
                : ''}
            </figcaption>
          </figure>
          <List large={large} first={first} event={event} onPick={onPick} />
          <p class="pager">
            <button type="button" disabled={first === 0} onClick={() => setFirst(Math.max(0, first - rows_a_page))}>
              Earlier
            </button>
            <span>
              {writeCount(first + 1)} to {writeCount(Math.min(first + rows_a_page, count))} of {writeCount(count)}
            </span>
            <button type="button" disabled={first + rows_a_page >= count} onClick={() => setFirst(first + rows_a_page)}>
              Later
            </button>
          </p>
        </>
      )}
    </>
  );
}

function List({ large, first, event, onPick }: Omit<EventsProps, 'events'> & { readonly first: number }) {
  const rows = Array.from({ length: Math.min(rows_a_page, large.event.length - first) }, (_, at) => first + at);
  return (
    <table class="events">
      <thead>
        <tr>
          <th scope="col">event</th>
          <th scope="col">what</th>
          <th scope="col">size</th>
          <th scope="col">object</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row} aria-current={large.event[row] === event ? 'true' : undefined}>
            <th scope="row">
              <button
                type="button"
                class="link"
                aria-label={`Explain event ${writeCount(large.event[row])}`}
                onClick={() => onPick(large.event[row])}
              >
                {writeCount(large.event[row])}
              </button>
            </th>
            <td>{op_names[large.op[row]]}</td>
            <td>{formatBytes(large.size_bytes[row])}</td>
            <td>{writeCount(large.object[row])}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Row of the first listed event at or after `event`. */
function rowAt({ event: events }: LargeEvents, event: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle] < event) low = middle + 1;
    else high = middle;
  }
  return low;
}

function pageOf(large: LargeEvents, event: number): number {
  return Math.floor(Math.min(rowAt(large, event), Math.max(0, large.event.length - 1)) / rows_a_page) * rows_a_page;
}

function nearest(large: LargeEvents, event: number): number | undefined {
  const after = rowAt(large, event);
  const [a, b] = [large.event.at(after - 1), large.event.at(after)];
  if (after === 0 || a === undefined) return b;
  return b === undefined || event - a < b - event ? a : b;
}

/** [events, sizes] of allocations: of each stretch the largest, for no screen shows a million points. */
function timelineOf({ event, op, size_bytes }: LargeEvents, count: number): [number[], (number | null)[]] {
  const free = op_names.indexOf('free');
  const stretch = Math.max(1, Math.ceil(event.length / points_max));
  // Ends without a point: the timeline is as long as the trace, as the curve above it is.
  const events = [0];
  const sizes: (number | null)[] = [null];
  for (let from = 0; from < event.length; from += stretch) {
    let best = -1;
    for (let row = from; row < Math.min(from + stretch, event.length); row += 1)
      if (op[row] !== free && size_bytes[row] > 0 && (best < 0 || size_bytes[row] > size_bytes[best])) best = row;
    if (best < 0) continue;
    events.push(event[best]);
    sizes.push(size_bytes[best]);
  }
  return [
    [...events, count],
    [...sizes, null],
  ];
}
