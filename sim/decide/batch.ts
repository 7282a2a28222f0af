/** Cold blocks that wait for one flush. Mirrors native/core/batch.c. A block waits mapped, and can be withdrawn. */
import { assert } from '../assert.ts';
import type { Config } from '../spec.ts';
import { type Blocks, home } from './blocks.ts';

/** Pages [start, start + pages) that one advice covers. */
export type Range = readonly [start: number, pages: number];

export class Batch {
  added = 0;
  withdrawn = 0;
  flushes = 0;
  bytes_flushed = 0;
  waiting_bytes = 0;
  /** Blocks in order of arrival. */
  readonly waiting: number[] = [];
  private readonly config: Config;
  private readonly blocks: Blocks;

  constructor(config: Config, blocks: Blocks) {
    this.config = config;
    this.blocks = blocks;
  }

  add(block: number, bytes: number): void {
    this.blocks.home[block] = home.batch;
    this.waiting.push(block);
    this.waiting_bytes += bytes;
    this.added += 1;
  }

  withdraw(block: number, bytes: number): void {
    const at = this.waiting.indexOf(block);
    assert(at >= 0, 'what is withdrawn was waiting');
    this.waiting.splice(at, 1);
    this.waiting_bytes -= bytes;
    this.withdrawn += 1;
  }

  isFull(): boolean {
    return this.waiting.length >= this.config.batch_blocks_max || this.waiting_bytes >= this.config.batch_flush_bytes;
  }

  /** The ranges that wait, by address, neighbours merged. */
  ranges(): Range[] {
    const { blocks } = this;
    const sorted = [...this.waiting].sort((a, b) => blocks.start[a] - blocks.start[b]);
    const merged: [number, number][] = [];
    for (const block of sorted) {
      const last = merged.at(-1);
      if (last !== undefined && last[0] + last[1] === blocks.start[block]) last[1] += blocks.pages[block];
      else merged.push([blocks.start[block], blocks.pages[block]]);
    }
    return merged;
  }

  /** Everything that waited is on its way; returns the blocks in order of arrival. */
  clear(): number[] {
    const flushed = this.waiting.splice(0);
    this.flushes += 1;
    this.bytes_flushed += this.waiting_bytes;
    this.waiting_bytes = 0;
    return flushed;
  }
}
