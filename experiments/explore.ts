/** `hakmem explore [TRACE]`: the page in which the simulator itself runs, served here or written to a file. */
import { spawn, spawnSync } from 'node:child_process';
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { probeProfile } from '../native/index.ts';
import { default_profile } from '../sim/index.ts';
import { FileSource, open, type Trace, writeAtomically } from '../traces/index.ts';
import { formatBytes, print, printJson, UsageError, wholeNumber } from './command.ts';
import { type Boot, type BootTrace, boot_id, served_path, traceId } from './explorer/boot.ts';

interface Options {
  readonly output?: string;
  readonly port?: number;
  readonly open: boolean;
  readonly json?: boolean;
}

/** A page holds its trace as text, and browsers hold texts of half a gigabyte at most. */
const embedded_bytes_max = 128 * 2 ** 20;
const data_mark = '<!-- hakmem data -->';
const base64_piece_bytes = 3 * 2 ** 18;

export function addExplore(program: Command): void {
  program
    .command('explore')
    .description('a page in which you move thresholds and see cost, faults and memory change')
    .argument('[trace]', 'a .hak file, or any format that import reads; samples are in the page')
    .option('-o, --output <file>', 'write the page, trace included, to one HTML file instead of serving it')
    .option('--port <n>', 'serve on this port; any free one unless given', wholeNumber(1, 65535))
    .option('--no-open', 'do not open a browser')
    .option('--json', 'print one JSON document')
    .action(explore);
}

async function explore(path: string | undefined, options: Options): Promise<void> {
  const trace = path === undefined ? null : describe(open(path));
  const [before, after] = page();
  const known = { boot: bootOf(trace, options.output === undefined ? 'server' : 'page'), path };
  if (options.output === undefined) await serve(known, before, after, options);
  else writePage(options.output, known, before, after, options);
}

/** What there is to show: the boot document, and the file of the trace that was named. */
interface Known {
  readonly boot: Boot;
  readonly path: string | undefined;
}

function bootOf(trace: BootTrace | null, from: BootTrace['from']): Boot {
  const probed = probeProfile();
  return {
    version: (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version,
    samples: sampleNames().map((name) => ({
      ...describe(open(samplePath(name))),
      name,
      path: `traces/samples/${name}.hak`,
    })),
    trace: trace === null ? null : { ...trace, from },
    profile: probed ?? default_profile,
    profile_source: probed === null ? 'default' : 'probed',
  };
}

function describe({ path, origin, statistics }: Trace): BootTrace {
  return {
    name: basename(path),
    path,
    says: `${statistics.events.toLocaleString('en-US')} events, ${origin.program}`,
    bytes: withSource(path, ({ length }) => length),
    from: 'page',
  };
}

async function serve(known: Known, before: string, after: string, options: Options): Promise<void> {
  const html = Buffer.concat([
    Buffer.from(before + bootElement(known.boot)),
    ...known.boot.samples.map(({ name }) => Buffer.from([...embedded(name, samplePath(name))].join(''))),
    Buffer.from(after),
  ]);
  const server = createServer((request, response) => {
    respond(request, response, html, known.path).catch(() => response.destroy());
  });
  const port = await listen(server, options.port ?? 0);
  const url = `http://127.0.0.1:${port}/`;
  if (options.json) printJson({ url, trace: known.path ?? null });
  else print(`${url}  (Ctrl-C ends it)`);
  if (options.open && hasDisplay()) openBrowser(url);
  await new Promise((resolve) => server.once('close', resolve));
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  html: Buffer,
  path: string | undefined,
): Promise<void> {
  const refuse = (status: number): void => void response.writeHead(status).end();
  // Another site may point its name at this machine: only the address that was printed is served.
  if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(request.headers.host ?? '')) return refuse(403);
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405);
  const headers = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };
  const [asked] = (request.url ?? '').split('?');
  if (asked === '/') {
    response.writeHead(200, { ...headers, 'content-type': 'text/html; charset=utf-8', 'content-length': html.length });
    response.end(request.method === 'HEAD' ? undefined : html);
  } else if (asked === `/${served_path}` && path !== undefined) {
    response.writeHead(200, { ...headers, 'content-type': 'application/octet-stream' });
    await pipeline(createReadStream(path), response);
  } else refuse(404);
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new UsageError(
          `--port ${port}: ${error.code === 'EADDRINUSE' ? 'already in use' : error.message}; wanted a free port`,
        ),
      ),
    );
    server.listen(port, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
}

function writePage(file: string, { boot, path }: Known, before: string, after: string, options: Options): void {
  if (boot.trace !== null && boot.trace.bytes > embedded_bytes_max)
    throw new UsageError(
      `${path}: ${formatBytes(boot.trace.bytes)}; a page holds a trace of at most ${formatBytes(embedded_bytes_max)}; wanted a shorter one, or hakmem explore without -o`,
    );
  let bytes = 0;
  writeAtomically(file, (sink) => {
    const append = (text: string): void => {
      const encoded = Buffer.from(text);
      bytes += encoded.length;
      sink.append(encoded);
    };
    append(before + bootElement(boot));
    for (const { name } of boot.samples) for (const piece of embedded(name, samplePath(name))) append(piece);
    if (path !== undefined) for (const piece of embedded(boot.trace!.name, path)) append(piece);
    append(after);
  });
  if (options.json) printJson({ path: file, bytes, trace: path ?? null });
  else print(`${file}: ${formatBytes(bytes)}; open it in a browser`);
}

function bootElement(boot: Boot): string {
  return `<script type="application/json" id="${boot_id}">${JSON.stringify(boot).replaceAll('<', '\\u003c')}</script>\n`;
}

/** An element with a file as base64, in pieces. */
function* embedded(name: string, path: string): Generator<string> {
  const id = traceId(name).replace(/[&"<>]/g, (character) => `&#${character.charCodeAt(0)};`);
  yield `<script type="text/plain" id="${id}">`;
  const source = new FileSource(path);
  try {
    for (let at = 0; at < source.length; at += base64_piece_bytes)
      yield Buffer.from(source.read(at, Math.min(base64_piece_bytes, source.length - at))).toString('base64');
  } finally {
    source.close();
  }
  yield '</script>\n';
}

/** What stands before and after the data in the page that was built; builds it where it is stale. */
function page(): [string, string] {
  const { status } = spawnSync(process.execPath, [join(root, 'bin', 'build.js'), '--page'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) throw new UsageError('the explorer page could not be built; npm ci brings what it needs');
  const html = readFileSync(join(root, 'dist', 'page', 'index.html'), 'utf8');
  const at = html.indexOf(data_mark);
  return [html.slice(0, at), html.slice(at + data_mark.length)];
}

function withSource<T>(path: string, use: (source: FileSource) => T): T {
  const source = new FileSource(path);
  try {
    return use(source);
  } finally {
    source.close();
  }
}

function hasDisplay(): boolean {
  return Boolean(process.env.DISPLAY || process.env.WAYLAND_DISPLAY);
}

/** Whoever has no browser to open has the address. */
function openBrowser(url: string): void {
  const child = spawn('xdg-open', [url], { stdio: 'ignore', detached: true });
  child.on('error', () => {});
  child.unref();
}

/** The package, from dist/experiments/ as from experiments/. */
const root = [new URL('..', import.meta.url), new URL('../..', import.meta.url)]
  .map((url) => fileURLToPath(url))
  .find((folder) => existsSync(join(folder, 'package.json')))!;

function samplePath(name: string): string {
  return join(root, 'traces', 'samples', `${name}.hak`);
}

function sampleNames(): string[] {
  return readdirSync(join(root, 'traces', 'samples'))
    .filter((file) => file.endsWith('.hak'))
    .map((file) => file.slice(0, -'.hak'.length))
    .sort();
}
