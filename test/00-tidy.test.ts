/** The rules of the house that a machine can check. A broken rule names the file. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
/** A folder imports from itself and from folders to its left. */
const order = ['traces', 'sim', 'native', 'experiments', 'test'];
/** sim/ is a function of trace, configuration, prices and profile: no clock, no chance, no disk, nothing of Node. */
const banned_in_sim =
  /\b(Math\.random|Date\b|performance\b|process\.|require\(|globalThis|setTimeout)|'node:|\bimport\(/;

const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
const below = (folder: string): string[] =>
  existsSync(join(root, folder))
    ? (readdirSync(join(root, folder), { recursive: true }) as string[]).map((name) => join(folder, name)).sort()
    : [];
const files = order.flatMap((folder) => below(folder).filter((name) => /(?<!\.d)\.tsx?$/.test(name)));
const folderOf = (file: string): string => file.slice(0, file.indexOf('/'));
const imports = new Map(
  files.map((file) => {
    const text = withoutComments(read(file));
    const found = [...text.matchAll(/\b(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, path]) =>
      normalize(join(dirname(file), path.replace(/\?.*$/, ''))),
    );
    return [file, found];
  }),
);
/** Other modules: packages and parts of Node. */
const packagesOf = (file: string): string[] =>
  [...withoutComments(read(file)).matchAll(/^(?:import|export|\}) [^;]*?from '([^.'][^']*)'/gm)].map(
    ([, name]) => name,
  );

test('imports point left', () => {
  const wrong = files.flatMap((file) =>
    imports
      .get(file)!
      .filter((other) => order.indexOf(folderOf(other)) > order.indexOf(folderOf(file)))
      .map((other) => `${file} imports ${other}`),
  );
  expect(wrong).toEqual([]);
});

test('what is imported exists', () => {
  const wrong = files.flatMap((file) =>
    imports
      .get(file)!
      .filter((other) => !existsSync(join(root, other)))
      .map((other) => `${file} imports ${other}`),
  );
  expect(wrong).toEqual([]);
});

test('there is no circle of imports', () => {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (done.has(file) || path.includes(file)) return;
    for (const next of typeless(file)) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  expect(circles).toEqual([]);
});

/** Imports that exist at run time: types alone make no circle. */
function typeless(file: string): string[] {
  const text = withoutComments(read(file));
  const types = new Set(
    [...text.matchAll(/^(?:import|export) type [^;]*?from '(\.[^']+)'/gms)].map(([, path]) =>
      normalize(join(dirname(file), path)),
    ),
  );
  return imports.get(file)!.filter((other) => imports.has(other) && !types.has(other));
}

test('every file is reached from a command, a package export, a script or a test', () => {
  const manifest = JSON.parse(read('package.json')) as {
    exports: Record<string, { default: string }>;
    scripts: Record<string, string>;
  };
  const source = (path: string): string => path.replace(/^(\.\/)?dist\//, '').replace(/\.js$/, '.ts');
  // Scripts, the CI, and the commands that pages and workloads tell people to run.
  const told = ['.ci', 'docs', 'traces/samples'].flatMap(below).filter((name) => /\.md$|run$|\.sh$/.test(name));
  const scripts = [...Object.values(manifest.scripts), ...told.map(read)];
  const roots = [
    'experiments/cli.ts',
    ...Object.values(manifest.exports).map((each) => source(each.default)),
    ...scripts.flatMap((text) =>
      [...text.matchAll(/(?:dist\/)?(?:experiments|native)\/[\w/-]+\.(?:js|ts)/g)].map(([path]) => source(path)),
    ),
    ...[...read('vitest.config.ts').matchAll(/'\.\/(test\/[\w-]+\.ts)'/g)].map(([, path]) => path),
    ...files.filter(
      (file) => folderOf(file) === 'test' && (file.endsWith('.test.ts') || file.startsWith('test/programs/')),
    ),
    ...files.filter((file) => /^experiments\/.*-(child|worker)\.ts$/.test(file)),
    // A page begins at the scripts that it names.
    ...below('experiments')
      .filter((name) => name.endsWith('.html'))
      .flatMap((page) =>
        [...read(page).matchAll(/<script[^>]* src="([^"]+)"/g)].map(([, path]) => normalize(join(dirname(page), path))),
      ),
  ];
  const reached = new Set<string>();
  const visit = (file: string): void => {
    if (reached.has(file)) return;
    reached.add(file);
    for (const next of imports.get(file) ?? []) visit(next);
  };
  roots.forEach(visit);
  // A path in a string counts: workers and children are started by name. That of an import is no name: it is one file's.
  const named = new Set(
    [...reached]
      .filter((file) => imports.has(file))
      .flatMap((file) =>
        [...read(file).matchAll(/(?<!from |import\()'([\w./-]+)\.(?:js|ts)'/g)].map(([, path]) => basename(path)),
      ),
  );
  for (const file of files) if (named.has(basename(file, '.ts'))) visit(file);
  expect(files.filter((file) => !reached.has(file))).toEqual([]);
});

test('sim/ is pure', () => {
  const wrong = files
    .filter((file) => folderOf(file) === 'sim')
    .flatMap((file) => {
      const found = banned_in_sim.exec(withoutComments(read(file)));
      const others = packagesOf(file);
      return [...(found === null ? [] : [`${file}: ${found[0]}`]), ...others.map((name) => `${file} imports ${name}`)];
    });
  expect(wrong).toEqual([]);
});

test('every mirror names a file that is there, and every decision and kernel file has its mirror', () => {
  const cores = below('native/core').filter((name) => name.endsWith('.c'));
  const claims = (file: string): string[] => {
    const start = read(file).slice(0, 1200);
    return [...start.matchAll(/Mirrors ((?:sim|native)\/[\w/.-]+\w)/g)].map(([, path]) => path);
  };
  const wrong = [...cores, ...files.filter((file) => folderOf(file) === 'sim')].flatMap((file) =>
    claims(file)
      .filter((path) => !existsSync(join(root, path)))
      .map((path) => `${file} mirrors ${path}`),
  );
  expect(wrong).toEqual([]);
  const mirrored = new Set(cores.flatMap(claims));
  expect(files.filter((file) => /^sim\/(decide|kernel)\//.test(file) && !mirrored.has(file))).toEqual([]);
});

test('dependencies are pinned exactly, and everything imported is one of them', () => {
  const manifest = JSON.parse(read('package.json')) as Record<
    'dependencies' | 'devDependencies' | 'optionalDependencies',
    Record<string, string>
  >;
  const installed = { ...manifest.dependencies, ...manifest.optionalDependencies };
  const all = { ...installed, ...manifest.devDependencies };
  expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))).toEqual([]);
  const named = (name: string): string =>
    name
      .split('/')
      .slice(0, name.startsWith('@') ? 2 : 1)
      .join('/');
  const strangers = files.flatMap((file) =>
    packagesOf(file)
      .filter((name) => !name.startsWith('node:'))
      .map(named)
      .filter((name) => !(name in (folderOf(file) === 'test' ? all : installed)))
      .map((name) => `${file} imports ${name}`),
  );
  expect(strangers).toEqual([]);
});

test('nothing that is installed runs a script of its own', () => {
  const lock = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { hasInstallScript?: boolean; optional?: boolean }>;
  };
  const scripted = Object.entries(lock.packages).filter(([, each]) => each.hasInstallScript && !each.optional);
  expect(scripted.map(([name]) => name)).toEqual([]);
});

test('samples are small', () => {
  const large = below('traces/samples').filter((name) => statSync(join(root, name)).size > 1.5 * 2 ** 20);
  expect(large).toEqual([]);
});

test('scenarios say what they show, end with counters, and are named by what they show', () => {
  const wrong = below('test/scenarios').flatMap((name) => {
    const text = read(name);
    return [
      ...(text.startsWith('# ') ? [] : [`${name} begins without words`]),
      ...(/ -> /.test(text) ? [] : [`${name} expects nothing`]),
      ...(text.endsWith('\n') ? [] : [`${name} ends without a newline`]),
      ...(/^test\/scenarios\/[a-z0-9A-Z-]+\.txt$/.test(name) ? [] : [`${name} is not a name`]),
    ];
  });
  expect(wrong).toEqual([]);
});

test('tests are numbered chapters, and none is left behind as .only', () => {
  const tests = files.filter((file) => file.endsWith('.test.ts'));
  expect(tests.filter((file) => !/^test\/(?:[\w-]+\/)?\d\d-[a-z-]+\.test\.ts$/.test(file))).toEqual([]);
  expect(
    tests.filter(
      (file) => /\b(?:test|describe|it)\.only\b/.test(withoutComments(read(file))) && file !== 'test/00-tidy.test.ts',
    ),
  ).toEqual([]);
});
