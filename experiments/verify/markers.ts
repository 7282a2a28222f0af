/** Tables that a script writes into a page of the documentation, between two markers. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Puts `text` between `<!-- name -->` and `<!-- /name -->`; false where the page or the markers are not there. */
export function writeBetween(path: string, name: string, text: string): boolean {
  if (!existsSync(path)) return false;
  const page = readFileSync(path, 'utf8');
  const opening = `<!-- ${name} -->`;
  const from = page.indexOf(opening);
  const to = page.indexOf(`<!-- /${name} -->`);
  if (from < 0 || to < from) return false;
  writeFileSync(path, `${page.slice(0, from + opening.length)}\n${text}\n${page.slice(to)}`);
  return true;
}

/** A table in Markdown; numbers stand to the right. */
export function markdownTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const numeric = head.map((_, at) => rows.length > 0 && rows.every((row) => typeof row[at] === 'number'));
  const cells = (row: readonly (string | number)[]): string =>
    `| ${row.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [cells(head), `|${numeric.map((right) => (right ? ' ---: ' : ' --- ')).join('|')}|`, ...rows.map(cells)].join(
    '\n',
  );
}
