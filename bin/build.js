#!/usr/bin/env node
// Compiles the TypeScript to dist/ and the native part to native/build/, and with --page the explorer's page to
// dist/page/, each only when its sources changed, one process at a time. Idempotent. Without a C compiler the native part is left out: the simulator runs, unchecked.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const lock = join(root, '.hakmem-build.lock');
const typescript = {
  name: 'TypeScript',
  stamp: join(root, 'dist', '.stamp'),
  folders: ['traces', 'sim', 'native', 'experiments'],
  extensions: ['.ts'],
  extra: ['tsconfig.json', 'tsconfig.build.json', 'package.json'],
};
const native = {
  name: 'native part',
  stamp: join(root, 'native', 'build', '.stamp'),
  folders: ['native'],
  extensions: ['.c', '.h', '.cc', 'Makefile'],
  extra: [],
};
const page = {
  name: 'explorer page',
  stamp: join(root, 'dist', 'page', '.stamp'),
  folders: ['traces', 'sim', 'experiments/explorer'],
  extensions: ['.ts', '.tsx', '.css', '.html', '.json'],
  extra: ['experiments/sizes.ts', 'experiments/chain.ts', 'tsconfig.json', 'package.json', 'bin/build.js'],
};

/** Builds what is stale, or of it the TypeScript alone. Throws where something does not compile. */
export function build(typescript_only = false) {
  const native_too = !typescript_only && hasCompiler();
  if (fresh(typescript) && (fresh(native) || !native_too)) return;
  const release = takeLock();
  try {
    if (!fresh(typescript)) buildTypescript();
    if (native_too && !fresh(native)) buildNative();
  } finally {
    release();
  }
}

/** Builds the explorer's page where it is stale: only who asks for it waits for it. */
export async function buildPage() {
  if (fresh(page)) return;
  const release = takeLock();
  try {
    if (!fresh(page)) await bundlePage();
  } finally {
    release();
  }
}

/** What the sources are: names and contents, in one digest. Times would differ in a copy and miss a quick edit. */
function digest(part) {
  const hash = createHash('sha256');
  const add = (path) => hash.update(`${relative(root, path)}\n`).update(readFileSync(path));
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (entry.name !== 'build') walk(path);
      } else if (part.extensions.some((extension) => entry.name.endsWith(extension))) add(path);
    }
  };
  for (const folder of part.folders) if (existsSync(join(root, folder))) walk(join(root, folder));
  for (const file of part.extra) if (existsSync(join(root, file))) add(join(root, file));
  return hash.digest('hex');
}

function fresh(part) {
  if (!existsSync(part.stamp)) return false;
  // An installed package carries dist/ without the sources it came from: then dist/ is what there is.
  if (part !== native && !existsSync(join(root, 'tsconfig.json'))) return true;
  return readFileSync(part.stamp, 'utf8') === digest(part);
}

function buildTypescript() {
  const tsc = join(root, 'node_modules', '.bin', 'tsc');
  if (!existsSync(tsc)) throw new Error('hakmem: the TypeScript compiler is missing: run "npm ci" first');
  process.stderr.write('hakmem: compiling TypeScript\n');
  const before = digest(typescript);
  const dist = join(root, 'dist');
  const old = existsSync(dist) ? readdirSync(dist) : [];
  for (const name of old.filter((each) => each !== 'page')) rmSync(join(dist, name), { recursive: true, force: true });
  run(tsc, ['-p', join(root, 'tsconfig.build.json')], 'TypeScript did not compile');
  writeFileSync(typescript.stamp, before);
}

function buildNative() {
  if (!existsSync(join(root, 'native', 'Makefile'))) return;
  process.stderr.write('hakmem: compiling the native part\n');
  const before = digest(native);
  const { resolve } = createRequire(import.meta.url);
  const headers = [
    `NODE_API=${join(dirname(resolve('node-api-headers/package.json')), 'include')}`,
    `NODE_ADDON_API=${dirname(resolve('node-addon-api/package.json'))}`,
  ];
  run('make', ['-s', '-j2', '-C', join(root, 'native'), ...headers], 'the native part did not compile');
  mkdirSync(dirname(native.stamp), { recursive: true });
  writeFileSync(native.stamp, before);
}

/** One HTML file with its worker inside, so that it can be kept, sent and opened from a disk. */
async function bundlePage() {
  process.stderr.write('hakmem: building the explorer page\n');
  const before = digest(page);
  const source = join(root, 'experiments', 'explorer');
  run(join(root, 'node_modules', '.bin', 'tsc'), ['--noEmit', '-p', source], 'the explorer page did not compile');
  const { build: bundle } = await import('vite');
  const { viteSingleFile } = await import('vite-plugin-singlefile');
  await bundle({
    configFile: false,
    root: source,
    base: './',
    logLevel: 'error',
    plugins: [noNode(), viteSingleFile()],
    worker: { format: 'iife', plugins: () => [noNode()] },
    build: { outDir: dirname(page.stamp), emptyOutDir: true, target: 'es2023', reportCompressedSize: false },
  });
  writeFileSync(page.stamp, before);
}

/** A page has no disk and no process: whatever would bring them in is a mistake. */
function noNode() {
  return {
    name: 'no-node',
    enforce: 'pre',
    resolveId(id, importer) {
      if (id.startsWith('node:')) throw new Error(`hakmem: the explorer page imports ${id} (${importer})`);
    },
  };
}

function run(command, args, message) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  throw new Error(`hakmem: ${message}`);
}

function hasCompiler() {
  const folders = (process.env.PATH ?? '').split(':');
  return ['cc', 'c++', 'make'].every((tool) => folders.some((folder) => existsSync(join(folder, tool))));
}

/** Waits for its turn. A lock whose process is gone is taken over. */
function takeLock() {
  for (;;) {
    try {
      const descriptor = openSync(lock, 'wx');
      writeSync(descriptor, String(process.pid));
      closeSync(descriptor);
      return () => rmSync(lock, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    let holder = 0;
    try {
      holder = Number(readFileSync(lock, 'utf8'));
    } catch {
      continue;
    }
    if (holder > 0 && !alive(holder)) rmSync(lock, { force: true });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    if (process.argv.includes('--page')) await buildPage();
    else build(process.argv.includes('--typescript'));
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
