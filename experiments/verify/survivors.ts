/** Writes docs/SURVIVORS.md from equivalent.json: every mutant that no input shows, and why. Part of `npm run gen`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const path = 'docs/SURVIVORS.md';

interface Survivor {
  readonly kind: string;
  readonly file: string;
  readonly function: string;
  readonly text: string;
  readonly mutation: string;
  readonly why: string;
}

/** The page, from the list that `npm run verify:mutate` reads. */
export function survivorsPage(): string {
  const survivors = JSON.parse(readFileSync('experiments/verify/equivalent.json', 'utf8')) as Survivor[];
  const kinds = [...new Set(survivors.map(({ kind }) => kind))];
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  return [
    '# Mutants that survive',
    '',
    'One change at a time to the C core that the cross-check does not see, each read and given its reason. Written by `npm run gen`',
    'from experiments/verify/equivalent.json; METHOD.md says how mutants are made and which inputs they run on. *Equivalent*: no',
    'input can show it. *Weaker check*: an assertion of ours that would catch less. *Known gap*: an input could, ours does not.',
    '',
    kinds.map((kind) => `${survivors.filter((each) => each.kind === kind).length} ${kind}`).join(', '),
    '',
    '| kind | where | mutation | line | why |',
    '|---|---|---|---|---|',
    ...survivors.map(
      (each) =>
        `| ${each.kind} | ${each.file}${each.function === '' ? '' : ` ${each.function}`} | \`${cell(each.mutation)}\` | \`${cell(each.text)}\` | ${cell(each.why)} |`,
    ),
    '',
  ].join('\n');
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(path, survivorsPage());
