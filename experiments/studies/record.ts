/** A study's record to keep: dated, with machine, revision and command. A record is never written over. */
import type { Finding, Study, Table } from './study.ts';

export interface Circumstances {
  /** YYYY-MM-DD. */
  readonly date: string;
  readonly machine: string;
  readonly revision: string;
  readonly command: string;
  readonly seconds: number;
}

export function recordOf(study: Study, finding: Finding, circumstances: Circumstances): string {
  const { date, machine, revision, command, seconds } = circumstances;
  return [
    `# ${study.name}: ${finding.verdict}`,
    '',
    `**Question.** ${study.question}`,
    '',
    `**Claim** (${study.claimed_by}). ${study.claim}`,
    '',
    `**Verdict: ${finding.verdict}.** ${capital(finding.because)}`,
    '',
    `**Method.** ${study.method}`,
    '',
    ...finding.tables.flatMap((table) => [`## ${table.title}`, '', ...markdown(table), '']),
    '## Limits',
    '',
    ...study.limits.map((limit) => `- ${limit}`),
    '',
    '## Record',
    '',
    `${date}, \`${command}\`, ${seconds.toFixed(0)} s. Machine: ${machine}. Revision: ${revision}. ${checksOf(finding)}`,
    '',
  ].join('\n');
}

/** Whether the rows were checked, in words. */
export function checksOf({ checked }: Finding): string {
  const { rows, equal_in_core, real_runs, equal_for_real } = checked;
  const core =
    equal_in_core > 0
      ? `${equal_in_core} of ${rows} simulated rows equal in the C core`
      : `${rows} simulated rows, unchecked`;
  return real_runs > 0
    ? `${core}; ${equal_for_real} of ${real_runs} runs on the real kernel counted the same.`
    : `${core}.`;
}

/** Aligned columns, the first to the left. */
export function textOf({ title, head, rows }: Table): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, at) => Math.max(...all.map((cells) => cells[at].length)));
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at]))).join('  ')}`.trimEnd();
  return [title, ...all.map(line)];
}

function markdown({ head, rows }: Table): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)];
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
