/** Figures as inline SVG: Observable Plot without a browser. The one module that knows Plot and its document. */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { escapeHtml, Html } from './html.ts';

export { Plot };

export interface FigureOptions {
  /** Distinct in the page: what assistive technology is pointed to. */
  readonly id: string;
  readonly title: string;
  /** What the figure shows, in words. */
  readonly says: string;
  readonly plot: Plot.PlotOptions;
}

/**
 * One <svg> that scales with its column, with title and description. Colours are the page's variables, so that dark mode
 * and paper are the page's business.
 */
export function figure({ id, title, says, plot }: FigureOptions): Html {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({ document: document as unknown as Document, ...plot });
  svg.querySelector('style')?.remove();
  for (const name of ['class', 'width', 'height', 'fill']) svg.removeAttribute(name);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-labelledby', `${id}-title ${id}-says`);
  // Tooltips name what is pointed at; parts need no label of their own beside the description.
  for (const part of svg.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label');
  const text = svg.outerHTML.replace(
    /^<svg([^>]*)>/,
    (_, attributes: string) =>
      `<svg class="figure" style="max-width:${plot.width}px"${attributes}>` +
      `<title id="${id}-title">${escapeHtml(title)}</title><desc id="${id}-says">${escapeHtml(says)}</desc>`,
  );
  return new Html(text);
}

/** Colours by meaning, defined in style.ts. */
export const ink = {
  best: 'var(--series-1)',
  rest: 'var(--series-2)',
  bound: 'var(--series-3)',
  other: 'var(--series-4)',
  grid: 'var(--grid)',
  ground: 'var(--panel)',
  muted: 'var(--muted)',
} as const;

export const font = { fontSize: '12px', fontFamily: 'system-ui, "DejaVu Sans", sans-serif' } as const;

/** Labels of horizontal lines, `gap` apart at least and none above `top`: values in, places out. */
export function spread(values: readonly number[], gap: number, top: number): number[] {
  const order = values.map((_, at) => at).sort((a, b) => values[a] - values[b]);
  const placed = [...values];
  for (const [rank, at] of order.entries())
    if (rank > 0) placed[at] = Math.max(placed[at], placed[order[rank - 1]] + gap);
  let limit = top;
  for (const at of order.reverse()) {
    placed[at] = Math.min(placed[at], limit);
    limit = placed[at] - gap;
  }
  return placed;
}
