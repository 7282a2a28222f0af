/** How what a scenario did is written beside its events. */
import { type LogEntry, type Result, silentFeatures } from '../sim/result.ts';
import type { ScenarioLine } from '../traces/scenario.ts';

/** Actions that the route says already. */
const implied = ['map', 'touch', 'withdraw'];

/** The text of the scenario with the decisions and counters of `result` in the place of those it has. */
export function annotate(lines: readonly ScenarioLine[], result: Result): string {
  const show = lines.find(({ kind, name }) => kind === 'setting' && name === 'show')?.value.split(' ') ?? [];
  let event = 0;
  return lines
    .map((line) => {
      if (line.kind === 'counter') return `${line.name} ${counter(result, line.name)}`;
      if (line.kind !== 'event') return line.text;
      const decisions: string[] = [];
      for (let at = 0; at < line.events; at += 1, event += 1) decisions.push(decision(result, event, show));
      return `${line.text.padEnd(26)} -> ${collapsed(decisions, ' x').join(', ')}`;
    })
    .join('\n');
}

function decision(result: Result, event: number, show: readonly string[]): string {
  const entry = result.log[event] as LogEntry | undefined;
  if (entry === undefined) return 'not reached';
  const actions = entry.actions.map((action) => action.name).filter((name) => !implied.includes(name));
  const before = event === 0 ? 0 : result.log[event - 1].state.faults;
  const words = [
    ...[entry.route, entry.released].filter((route) => route !== 'none'),
    ...collapsed(actions, ' '),
    ...(show.includes('place') && !['none', 'heap'].includes(entry.route)
      ? [`at ${sizeWords(entry.offset_bytes)}`]
      : []),
    ...(show.includes('usable') && !['none', 'heap'].includes(entry.route)
      ? [`of ${sizeWords(entry.usable_bytes)}`]
      : []),
    ...(show.includes('faults') && entry.state.faults > before ? [`faults ${entry.state.faults - before}`] : []),
    ...(show.includes('areas') ? [`areas ${entry.state.areas}`] : []),
    ...(show.includes('resident') ? [`resident ${sizeWords(entry.state.resident_bytes)}`] : []),
    ...(result.violation?.event === event ? [`violation ${result.violation.rule}`] : []),
  ];
  return words.join(' ');
}

/** Runs of one word, with their length where it is not 1: ["a", "a"] -> ["a 2"]. */
function collapsed(words: readonly string[], times: string): string[] {
  const runs: { word: string; count: number }[] = [];
  for (const word of words) {
    const last = runs.at(-1);
    if (last?.word === word) last.count += 1;
    else runs.push({ word, count: 1 });
  }
  return runs.map(({ word, count }) => (count === 1 ? word : `${word}${times}${count}`));
}

function counter(result: Result, name: string): unknown {
  if (name === 'violation') return result.violation?.rule ?? 'none';
  if (name === 'silent')
    return (
      silentFeatures(result.liveness)
        .map(({ feature }) => feature)
        .join(' ') || 'none'
    );
  if (name in result.syscalls) return result.syscalls[name as keyof Result['syscalls']];
  let value: unknown = result;
  for (const part of name.split('.')) value = (value as Record<string, unknown> | undefined)?.[part];
  if (typeof value !== 'number') throw new Error(`"${name}" is not a counter of a result`);
  return value;
}

function sizeWords(bytes: number): string {
  if (bytes >= 2 ** 20 && bytes % 2 ** 20 === 0) return `${bytes / 2 ** 20}MiB`;
  return bytes % 2 ** 10 === 0 && bytes > 0 ? `${bytes / 2 ** 10}KiB` : `${bytes}`;
}
