/** Writes native/core/spec.gen.h from sim/spec.ts and the layout of traces: `npm run gen`. A test compares the two. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { enums, modes, type Param, params, prices, shape } from '../sim/spec.ts';
import { layout } from '../traces/hak-chunk.ts';
import { limits, op } from '../traces/trace.ts';

/** Names everything the two halves must agree on; compared when the native part is loaded or started. */
export function fingerprint(): string {
  const agreed = JSON.stringify({ params, modes, shape, enums, prices, layout, limits, op });
  return createHash('sha256').update(agreed).digest('hex').slice(0, 16);
}

/** The text of spec.gen.h. */
export function specHeader(): string {
  return [
    '/* Generated from sim/spec.ts by `npm run gen`. Do not edit. */',
    '#pragma once',
    '#include <stdint.h>',
    `#define HAK_SPEC_FINGERPRINT "${fingerprint()}"`,
    '',
    '/* X(name, default, min, max, words): units and reasons are in sim/spec.ts. */',
    '#define HAK_PARAMS(X) \\',
    Object.entries(params as Record<string, Param>)
      .map(([name, p]) => `  X(${name}, ${p.value}, ${p.min}, ${p.max}, "${wordsOf(p)}")`)
      .join(' \\\n'),
    '',
    '/* X(mode, name, value): what a mode sets; the rest keeps its default. */',
    '#define HAK_MODES(X) \\',
    Object.entries(modes)
      .flatMap(([mode, row]) => Object.entries(row).map(([name, value]) => `  X(${mode}, ${name}, ${value})`))
      .join(' \\\n'),
    '',
    '/* X(name, nominal): nanoseconds. */',
    '#define HAK_PRICES(X) \\',
    Object.entries(prices)
      .map(([name, value]) => `  X(${name}, ${value})`)
      .join(' \\\n'),
    '',
    ...Object.entries(shape).map(([name, value]) =>
      Array.isArray(value) ? table(name, value as number[]) : constant(name, value as number),
    ),
    '',
    ...Object.entries(limits).map(([name, value]) => constant(`limit_${name}`, value)),
    ...Object.entries(layout).map(([name, value]) => constant(`layout_${name}`, value)),
    ...Object.entries(op).map(([name, value]) => constant(`op_${name}`, value)),
    '',
    ...Object.entries(enums).map(([name, members]) => enumeration(name, members)),
    '',
  ].join('\n');
}

function wordsOf(param: Param): string {
  if (param.unit === 'word') return param.words!.join(' ');
  return param.unit === 'flag' ? 'false true' : '';
}

const upper = (name: string): string => `HAK_${name.toUpperCase()}`;

const literal = (value: number): string => (Number.isInteger(value) ? `INT64_C(${value})` : String(value));

const constant = (name: string, value: number): string => `#define ${upper(name)} ${literal(value)}`;

const table = (name: string, values: readonly number[]): string =>
  `#define ${upper(name)} { ${values.map(literal).join(', ')} }`;

const enumeration = (name: string, members: readonly string[]): string =>
  `enum { ${members.map((member) => upper(`${name}_${member}`)).join(', ')} };\n` +
  `#define ${upper(`${name}_names`)} { ${members.map((member) => `"${member}"`).join(', ')} }`;

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const root = dirname(dirname(dirname(process.argv[1])));
  const path = join(root, 'native', 'core', 'spec.gen.h');
  let before = '';
  try {
    before = readFileSync(path, 'utf8');
  } catch {
    // The first time there is none.
  }
  if (before !== specHeader()) writeFileSync(path, specHeader());
}
