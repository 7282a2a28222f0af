/** `faults=+5%,peak=+3%,allocations=+100`: how much more of a figure a recording may come to than the one before. */

import { UsageError } from '../command.ts';
import { readBytes } from '../sizes.ts';
import { type FigureUnit, figures } from './figures.ts';

export interface Budget {
  readonly figure: string;
  readonly text: string;
  /** More, as a share or as a number; less where negative. */
  readonly by: { readonly percent: number } | { readonly more: number };
}

/** Throws UsageError. */
export function parseBudgets(text: string): Budget[] {
  const budgets = text.split(',').map(parseBudget);
  const twice = budgets.find(({ figure }, at) => budgets.findIndex((each) => each.figure === figure) < at);
  if (twice !== undefined) throw new UsageError(`--budget: ${twice.figure} has two; wanted one`);
  return budgets;
}

function parseBudget(text: string): Budget {
  const [, figure, sign, number, percent] = /^\s*(\w+)=([+-]?)([\d.]+\w*)(%?)\s*$/.exec(text) ?? [];
  if (figure === undefined)
    throw new UsageError(`--budget: found "${text}"; wanted such as faults=+5%, peak=+2MiB or mmap=+10`);
  if (!Object.hasOwn(figures, figure))
    throw new UsageError(`--budget: no figure "${figure}"; there are ${Object.keys(figures).join(' ')}`);
  const amount = percent === '%' ? Number(number) : amountOf(number, figures[figure].unit);
  if (amount === undefined || !Number.isFinite(amount))
    throw new UsageError(
      `--budget: found "${text}"; wanted ${figure}=+5% or ${figure}=+${figures[figure].unit === 'bytes' ? '2MiB' : '10'}`,
    );
  const signed = sign === '-' ? -amount : amount;
  return { figure, text: text.trim(), by: percent === '%' ? { percent: signed } : { more: signed } };
}

function amountOf(number: string, unit: FigureUnit): number | undefined {
  if (unit === 'bytes') return readBytes(number);
  return /^\d+$/.test(number) ? Number(number) : undefined;
}

/** What runs of the same program differ by, for a share of little is less than that: docs/TRACES.md has the measurement. */
export const slack: Readonly<Record<FigureUnit, number>> = { count: 16, bytes: 64 * 1024 };

/** The most that is still within the budget. A budget in a share that grants more grants at least the slack. */
export function allowed({ figure, by }: Budget, base: number): number {
  if ('more' in by) return base + by.more;
  const share = base * (1 + by.percent / 100);
  return by.percent >= 0 ? Math.max(share, base + slack[figures[figure].unit]) : share;
}
