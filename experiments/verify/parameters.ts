/** Writes the parameter table of docs/POLICY.md from the spec: part of `npm run gen`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { type Param, params } from '../../sim/index.ts';
import { formatBytes } from '../command.ts';

const path = 'docs/POLICY.md';

/** The page with its table brought up to date. */
export function withParameterTable(page: string): string {
  const rows = Object.entries(params as Record<string, Param>).map(
    ([name, param]) => `| \`${name}\` | ${shown(param, param.value)} | ${range(param)} | ${param.why} |`,
  );
  const table = ['| parameter | default | range | what |', '|---|---|---|---|', ...rows].join('\n');
  return page.replace(
    /<!-- parameters -->[\s\S]*<!-- \/parameters -->/,
    `<!-- parameters -->\n${table}\n<!-- /parameters -->`,
  );
}

function range(param: Param): string {
  if (param.unit === 'word') return param.words!.join(', ');
  if (param.unit === 'flag') return 'true, false';
  return `${shown(param, param.min)} to ${shown(param, param.max)}`;
}

function shown({ unit, words }: Param, value: number): string {
  if (unit === 'word') return words![value];
  if (unit === 'flag') return value === 1 ? 'true' : 'false';
  return unit === 'bytes' ? formatBytes(value) : `${value}`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(path, withParameterTable(readFileSync(path, 'utf8')));
