/** `hakmem gate BASE HEAD --budget faults=+5%,peak=+3%`: whether a program asks for more than it did, and who in it. */
import type { Command } from 'commander';
import { sha256OfFile, type Trace } from '../traces/index.ts';
import { exit_codes, formatBytes, print, printJson } from './command.ts';
import { allowed, type Budget, parseBudgets } from './trace-diff/budget.ts';
import { type Figures, type FigureUnit, figures, measure } from './trace-diff/figures.ts';
import { groupsOf, kindFor } from './trace-diff/groups.ts';
import { matchUses, type Pair } from './trace-diff/match.ts';
import { addUnderOptions, chooseUnder, openSome, type UnderOptions, withinModel } from './trace-diff/under.ts';
import { changed, count, printable, rightAligned } from './words.ts';

export function addGate(program: Command): void {
  addUnderOptions(
    program
      .command('gate')
      .description('for CI: exit 1 where a recording costs more than another by more than a budget')
      .argument('<base>', 'the recording to hold to: a .hak file, or any format that import reads')
      .argument('<head>', 'the recording that may have grown'),
  )
    .requiredOption('--budget <list>', `such as faults=+5%,peak=+3%; figures: ${Object.keys(figures).join(' ')}`)
    .option('--json', 'print one JSON document')
    .action(gate);
}

interface Options extends UnderOptions {
  readonly budget: string;
  readonly json?: boolean;
}

/** A group that a figure grew by. */
interface Guilty {
  readonly name: string;
  readonly base: number;
  readonly head: number;
}

interface Held {
  readonly figure: string;
  readonly unit: FigureUnit;
  readonly budget: string;
  readonly base: number;
  readonly head: number;
  readonly allowed: number;
  readonly verdict: 'within' | 'over';
  readonly guilty: readonly Guilty[];
}

const guilty_max = 3;

async function gate(base_path: string, head_path: string, options: Options): Promise<void> {
  const budgets = parseBudgets(options.budget);
  const base = openSome(base_path);
  const head = openSome(head_path);
  const { under, policy, touch } = await chooseUnder(base, head, options);
  const kind = kindFor(base, head);
  const measured = (trace: Trace) =>
    withinModel(trace.path, policy, () => measure(trace, groupsOf(trace, kind), under));
  const [before, after] = [await measured(base), await measured(head)];
  const pairs = matchUses(before.uses, after.uses);
  const held = budgets.map((budget) => holds(budget, before.figures, after.figures, pairs));
  const over = held.filter(({ verdict }) => verdict === 'over');
  const verdict = over.length > 0 ? 'over' : 'within';
  if (options.json)
    printJson({
      verdict,
      base: { path: base.path, sha256: sha256OfFile(base.path), figures: before.figures },
      head: { path: head.path, sha256: sha256OfFile(head.path), figures: after.figures },
      policy,
      touch,
      guilty_by: kind,
      budgets: held,
    });
  else
    print(
      `${head.path} against ${base.path}, replayed under ${policy}: ${verdict === 'over' ? 'over the budget' : 'within the budget'}`,
      ...table(held),
      ...over.flatMap((each) => blame(each, kind === 'site' ? 'call site' : 'size class')),
    );
  if (over.length > 0) process.exitCode = exit_codes.failed;
}

function holds(budget: Budget, before: Figures, after: Figures, pairs: readonly Pair[]): Held {
  const { figure, text } = budget;
  const { unit, of } = figures[figure];
  const [base, head] = [before[figure], after[figure]];
  const most = allowed(budget, base);
  const verdict = head > most ? 'over' : 'within';
  const grown = pairs
    .map(({ base, head }) => ({
      name: (head ?? base)!.name,
      base: Number(base?.[of] ?? 0),
      head: Number(head?.[of] ?? 0),
    }))
    .filter((each) => each.head > each.base)
    .sort((a, b) => b.head - b.base - (a.head - a.base));
  return {
    figure,
    unit,
    budget: text,
    base,
    head,
    allowed: most,
    verdict,
    guilty: verdict === 'over' ? grown.slice(0, guilty_max) : [],
  };
}

const inUnit = (unit: FigureUnit, value: number): string =>
  unit === 'bytes' ? formatBytes(Math.floor(value)) : count(Math.floor(value));

function table(held: readonly Held[]): string[] {
  const rows = held.map(({ figure, unit, budget, base, head, allowed, verdict }) => [
    verdict,
    inUnit(unit, base),
    inUnit(unit, head),
    changed(base, head),
    inUnit(unit, allowed),
    budget,
    figures[figure].says,
  ]);
  return rightAligned([['', 'base', 'head', 'change', 'allowed', 'budget', ''], ...rows], 2);
}

function blame({ figure, guilty }: Held, what: string): string[] {
  if (guilty.length === 0) return [`${figure}: no ${what} of its own grew`];
  return guilty.map(
    ({ name, base, head }, at) =>
      `${figure}: ${at === 0 ? 'first' : 'then'} ${what} ${printable(name)}, ${count(base)} before, ${count(head)} now`,
  );
}
