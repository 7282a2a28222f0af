#!/usr/bin/env node
// Starts the command line; builds first what is missing or stale, with words on stderr only.
import { readFileSync } from 'node:fs';
import { build } from './build.js';

build();
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const { main } = await import('../dist/experiments/cli.js');
process.exitCode = await main(process.argv.slice(2), version);
