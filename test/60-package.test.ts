/** What the package promises to other programs: its exports, and the example of the README. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { withParameterTable } from '../experiments/verify/parameters.ts';
import { survivorsPage } from '../experiments/verify/survivors.ts';

test('the example of the README runs as it stands, and both halves agree', () => {
  const [, example] = /```js\n([\s\S]*?)```/.exec(readFileSync('README.md', 'utf8'))!;
  // Inside the package, so that its own name resolves.
  const path = join('dist', 'readme-example.mjs');
  writeFileSync(path, example);
  try {
    const { status, stdout, stderr } = spawnSync('node', [path], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^\d+ faults; both halves agree\n$/);
  } finally {
    rmSync(path, { force: true });
  }
});

test('every documented export exists, with types', () => {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    exports: Record<string, { types: string; default: string }>;
  };
  expect(Object.keys(exports)).toEqual(['./traces', './sim', './native', './policy']);
  for (const { types, default: file } of Object.values(exports)) {
    expect(readFileSync(types, 'utf8')).not.toBe('');
    expect(readFileSync(file, 'utf8')).not.toBe('');
  }
});

test('the simulator imports nothing of Node, directly or through others', () => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    expect(text, file).not.toMatch(/from ['"]node:|require\(|\bprocess\.[a-z]/);
    for (const [, path] of text.matchAll(/from ['"](\.[^'"]+)['"]/g)) visit(join(file, '..', path));
  };
  visit('dist/sim/index.js');
  expect(seen.size).toBeGreaterThan(10);
});

test('the parameter table of the docs is that of the spec', () => {
  const page = readFileSync('docs/POLICY.md', 'utf8');
  expect(withParameterTable(page)).toBe(page);
});

test('the page of surviving mutants is that of the list they are checked against', () => {
  expect(readFileSync('docs/SURVIVORS.md', 'utf8')).toBe(survivorsPage());
});
