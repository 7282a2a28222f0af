#!/usr/bin/env node
// What the tests run beside Node and a C compiler. Without a needed one it says so in one line before anything runs, not
// minutes later; without the others the tests that use them are skipped, and say so.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const needed = ['chromium'];
const used = ['strace', 'valgrind', 'sqlite3'];

const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin'];
const missing = (tools) => tools.filter((tool) => !folders.some((folder) => existsSync(join(folder, tool))));

const lacking = missing(needed);
if (lacking.length > 0) {
  const packages = [...lacking, ...missing(used)].join(' ');
  process.stderr.write(`hakmem: the tests need ${lacking.join(' ')}: apt-get install ${packages}\n`);
  process.exitCode = 1;
}
