/** One event's whole decision chain under setting A, and under B beside it. */
import { chainOf, titleOf } from '../chain.ts';
import type { Explained } from './explorer.ts';

interface ExplanationProps {
  readonly a: Explained | null;
  readonly b: Explained | null;
}

export function Explanation({ a, b }: ExplanationProps) {
  if (a === null && b === null) return <p class="empty">Pick an event to see why it was decided as it was.</p>;
  return (
    <div class="chains">
      {a !== null && <Chain side={b === null ? null : 'A'} explained={a} />}
      {b !== null && <Chain side="B" explained={b} />}
    </div>
  );
}

function Chain({ side, explained }: { readonly side: 'A' | 'B' | null; readonly explained: Explained }) {
  const { event, entry, trouble, busy, share } = explained;
  return (
    <article class="chain" aria-busy={busy} data-chain={side ?? 'A'}>
      {trouble !== null ? (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      ) : entry === null ? (
        <p class="empty">
          {busy
            ? `Replaying up to event ${event}: ${Math.floor(100 * share)} %`
            : `Event ${event} was not reached: the replay stopped before.`}
        </p>
      ) : (
        <>
          <h3>
            {side !== null && <span class="side">{side}</span>} {titleOf(entry)}
          </h3>
          <table>
            <tbody>
              {chainOf(entry).map(({ link, says }, at) => (
                <tr key={`${at} ${link}`}>
                  <th scope="row">{link}</th>
                  <td>{says}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </article>
  );
}
