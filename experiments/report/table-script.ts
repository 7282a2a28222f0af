/** What the page does in a browser: sort, filter, page through and download the rows, copy a setting, choose a heat map. */
/// <reference lib="dom" />
import type { Column, Columns } from './columns.ts';

type Value = string | number | boolean | null;

const page_rows = 100;
const units: readonly (readonly [string, number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
];

function byId(id: string): HTMLElement {
  return document.getElementById(id)!;
}

const data = JSON.parse(byId('rows-data').textContent!) as Columns;
const shown = new Set(data.columns.filter((column) => column.shown).map(({ name }) => name));
const best = new Set(data.best);
let order = Array.from({ length: data.rows }, (_, at) => at);
let sorted: { name: string; down: boolean } | null = null;
let page = 0;

function cellOf(column: Column, row: number): Value {
  return 'cells' in column ? column.cells[row] : column.words[column.at[row]];
}

function worded(name: string, value: Value): string {
  if (value === null) return '';
  if (typeof value !== 'number') return String(value);
  if (name.endsWith('_bytes') || name.endsWith('_bytes_max')) {
    const [unit, size] = units.find(([, each]) => Math.abs(value) >= each) ?? ['B', 1];
    return `${Number((value / size).toPrecision(5))} ${unit}`;
  }
  if (name.endsWith('_ns')) return value >= 1e5 ? `${(value / 1e6).toFixed(3)} ms` : `${value} ns`;
  return Number.isInteger(value) ? value.toLocaleString('en-US') : value.toPrecision(5);
}

function compare(a: Value, b: Value): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
}

/** Every word must be somewhere in the row: "4 MiB agree" is three; `name=value`, `name<value`, `name>value` ask a column. */
function matches(row: number, words: readonly string[]): boolean {
  return words.every((word) => {
    const [, name, sign, wanted] = /^(\w+)([=<>])(.+)$/.exec(word) ?? [];
    const column = data.columns.find((each) => each.name === name);
    if (column === undefined)
      return data.columns.some(
        (each) =>
          shown.has(each.name) && worded(each.name, cellOf(each, row)).toLowerCase().includes(word.toLowerCase()),
      );
    const value = cellOf(column, row);
    if (sign === '=') return String(value) === wanted || worded(name, value).replace(' ', '') === wanted;
    return sign === '<' ? Number(value) < Number(wanted) : Number(value) > Number(wanted);
  });
}

function arrange(): void {
  const words = (byId('filter') as HTMLInputElement).value.split(/\s+/).filter((word) => word !== '');
  order = Array.from({ length: data.rows }, (_, at) => at).filter((row) => matches(row, words));
  const column = data.columns.find(({ name }) => name === sorted?.name);
  if (column !== undefined) {
    const sign = sorted!.down ? -1 : 1;
    order.sort((a, b) => sign * compare(cellOf(column, a), cellOf(column, b)) || a - b);
  }
  page = 0;
  draw();
}

function draw(): void {
  const columns = data.columns.filter(({ name }) => shown.has(name));
  const pages = Math.max(1, Math.ceil(order.length / page_rows));
  const head = byId('rows-head');
  const focused = (document.activeElement as HTMLElement | null)?.dataset.sort;
  head.replaceChildren(...columns.map(heading));
  byId('rows-body').replaceChildren(
    ...order.slice(page * page_rows, (page + 1) * page_rows).map((row) => line(columns, row)),
  );
  byId('rows-count').textContent =
    `${order.length.toLocaleString('en-US')} of ${data.rows.toLocaleString('en-US')} rows, page ${page + 1} of ${pages}`;
  (byId('previous') as HTMLButtonElement).disabled = page === 0;
  (byId('next') as HTMLButtonElement).disabled = page + 1 >= pages;
  if (focused !== undefined) head.querySelector<HTMLButtonElement>(`[data-sort="${focused}"]`)?.focus();
}

function heading({ name }: Column): HTMLElement {
  const cell = document.createElement('th');
  cell.scope = 'col';
  const button = document.createElement('button');
  button.type = 'button';
  button.dataset.sort = name;
  const down = sorted?.name === name ? sorted.down : null;
  button.textContent = down === null ? name : `${name} ${down ? '↓' : '↑'}`;
  if (down !== null) cell.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  button.addEventListener('click', () => {
    sorted = { name, down: down === false };
    arrange();
  });
  cell.append(button);
  return cell;
}

function line(columns: readonly Column[], row: number): HTMLElement {
  const element = document.createElement('tr');
  if (best.has(row)) element.className = 'best';
  for (const column of columns) {
    const cell = document.createElement('td');
    cell.textContent = worded(column.name, cellOf(column, row));
    element.append(cell);
  }
  return element;
}

/** All columns of the rows that are shown, those that are the same in every row too, exact. */
function csv(): string {
  const quoted = (value: Value): string => {
    const text = value === null ? '' : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const constant = Object.entries(data.constant);
  const lines = order.map((row) => [
    ...data.columns.map((column) => cellOf(column, row)),
    ...constant.map(([, value]) => value),
  ]);
  const names = [...data.columns.map(({ name }) => name), ...constant.map(([name]) => name)];
  return [names, ...lines].map((cells) => `${cells.map(quoted).join(',')}\r\n`).join('');
}

function download(): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([csv()], { type: 'text/csv' }));
  link.download = 'rows.csv';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function copy(button: HTMLElement): Promise<void> {
  const source = byId(button.dataset.copies!);
  try {
    await navigator.clipboard.writeText(source.textContent!);
    button.textContent = 'Copied';
  } catch {
    // No clipboard for this page: select the text, so that a key copies it.
    getSelection()!.selectAllChildren(source);
    button.textContent = 'Selected: press Ctrl+C';
  }
}

function choose(select: HTMLSelectElement): void {
  for (const option of select.options) byId(option.value).hidden = option.value !== select.value;
  reach();
}

byId('filter').addEventListener('input', arrange);
byId('previous').addEventListener('click', () => {
  page -= 1;
  draw();
});
byId('next').addEventListener('click', () => {
  page += 1;
  draw();
});
byId('download').addEventListener('click', download);
byId('columns').addEventListener('change', (event) => {
  const { checked, value } = event.target as HTMLInputElement;
  if (checked) shown.add(value);
  else shown.delete(value);
  draw();
});
for (const button of document.querySelectorAll<HTMLElement>('button.copy'))
  button.addEventListener('click', () => void copy(button));
for (const select of document.querySelectorAll<HTMLSelectElement>('select.maps')) {
  select.addEventListener('change', () => choose(select));
  choose(select);
}
/** What has to be scrolled can be reached by keyboard; what fits is no stop on the way. */
function reach(): void {
  for (const each of document.querySelectorAll<HTMLElement>('figure'))
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
    else each.removeAttribute('tabindex');
}

addEventListener('resize', reach);
// On paper nothing can be opened.
addEventListener('beforeprint', () => {
  for (const each of document.querySelectorAll('details:not(#columns)')) (each as HTMLDetailsElement).open = true;
});
for (const tools of document.querySelectorAll<HTMLElement>('.tools')) tools.hidden = false;
draw();
reach();
