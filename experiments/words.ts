/** Numbers, names and columns as the reports of traces print them. */

/** Text from a file, safe to show: a name may hold anything, escape sequences too. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not reach the terminal
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
}

/** In groups of three digits. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ' ');
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** "+5.0 %"; from nothing there is no share. */
export function changed(base: number, head: number): string {
  if (base === head) return '=';
  if (base === 0) return 'new';
  const share = head / base - 1;
  return `${share > 0 ? '+' : '-'}${percent(Math.abs(share))}`;
}

/** Right-aligned columns, but the last `left` of them. */
export function rightAligned(rows: readonly (readonly string[])[], left = 0): string[] {
  const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => row[at].length)));
  return rows.map((row) =>
    `  ${row
      .map((cell, at) => (at < row.length - left ? cell.padStart(widths[at]) : printable(cell).padEnd(widths[at])))
      .join('  ')}`.trimEnd(),
  );
}
