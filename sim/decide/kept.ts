/**
 * Freed blocks that stay mapped. Mirrors native/core/kept.c.
 *
 * Free blocks of one page count form a list, newest first: an allocation of exactly as many pages takes the newest,
 * whether it waits in the batch or is kept. Kept blocks also stand in order of arrival, so the oldest can go.
 */
import { assert } from '../assert.ts';
import { type Blocks, home, no_block } from './blocks.ts';

export class Kept {
  bytes = 0;
  count = 0;
  private oldest = no_block;
  private newest = no_block;
  private readonly newest_of = new Map<number, number>();
  private readonly blocks: Blocks;

  constructor(blocks: Blocks) {
    this.blocks = blocks;
  }

  /** A freed block becomes findable by its page count. */
  offer(block: number): void {
    const { blocks } = this;
    const pages = blocks.pages[block];
    const older = this.newest_of.get(pages) ?? no_block;
    blocks.older[block] = older;
    blocks.newer[block] = no_block;
    if (older !== no_block) blocks.newer[older] = block;
    this.newest_of.set(pages, block);
  }

  /** The newest free block of exactly `pages`, or no_block. */
  find(pages: number): number {
    return this.newest_of.get(pages) ?? no_block;
  }

  /** A block is no longer free: it was reused or unmapped. */
  withdrawOffer(block: number): void {
    const { blocks } = this;
    const older = blocks.older[block];
    const newer = blocks.newer[block];
    if (older !== no_block) blocks.newer[older] = newer;
    if (newer !== no_block) blocks.older[newer] = older;
    else if (older !== no_block) this.newest_of.set(blocks.pages[block], older);
    else this.newest_of.delete(blocks.pages[block]);
  }

  /** Takes a block that was already offered into its keep. */
  add(block: number, mapped_bytes: number): void {
    const { blocks } = this;
    blocks.home[block] = home.kept;
    blocks.kept_before[block] = this.newest;
    blocks.kept_after[block] = no_block;
    if (this.newest !== no_block) blocks.kept_after[this.newest] = block;
    else this.oldest = block;
    this.newest = block;
    this.bytes += mapped_bytes;
    this.count += 1;
  }

  remove(block: number, mapped_bytes: number): void {
    const { blocks } = this;
    assert(blocks.home[block] === home.kept, 'what leaves the keep was in it');
    const before = blocks.kept_before[block];
    const after = blocks.kept_after[block];
    if (before !== no_block) blocks.kept_after[before] = after;
    else this.oldest = after;
    if (after !== no_block) blocks.kept_before[after] = before;
    else this.newest = before;
    this.bytes -= mapped_bytes;
    this.count -= 1;
  }

  get oldestBlock(): number {
    return this.oldest;
  }
}
