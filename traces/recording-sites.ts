/** Names for call sites: which module an address lay in, and how far from its start, so that runs can be compared. */
import { statSync } from 'node:fs';
import { readElf } from './elf.ts';
import { Sites } from './sites.ts';
import type { Module, Site } from './trace.ts';

interface Segment {
  readonly start: number;
  readonly end: number;
  readonly base: number;
  readonly name: string;
  readonly path: string;
  readonly inode: number;
}

/** What /proc/PID/maps said, one time after another; the latest that knows an address is believed. */
export class Modules {
  /** Of the program itself: the file mapped lowest, for the kernel maps it before its libraries. */
  readonly program: string | null;
  private readonly snapshots: Segment[][] = [];
  /** By path. */
  private readonly named = new Map<string, Segment>();

  constructor(maps: string) {
    let program: string | null = null;
    let last_start = Number.POSITIVE_INFINITY;
    let base = 0;
    let path = '';
    for (const line of maps.split('\n')) {
      const [, first, end, executable, offset, inode, file] =
        /^([0-9a-f]+)-([0-9a-f]+) ..(.). ([0-9a-f]+) \S+ (\d+) +(\S.*)$/.exec(line) ?? [];
      if (first === undefined) continue;
      const start = Number.parseInt(first, 16);
      if (start < last_start) {
        this.snapshots.push([]);
        path = '';
      }
      last_start = start;
      if (file !== path || Number.parseInt(offset, 16) === 0) base = start;
      path = file;
      const name = file.replace(/ \(deleted\)$/, '').replace(/^.*\//, '');
      if (program === null && file.startsWith('/')) program = name;
      if (executable === 'x')
        this.snapshots
          .at(-1)!
          .push({ start, end: Number.parseInt(end, 16), base, name, path: file, inode: Number(inode) });
    }
    this.program = program;
  }

  /** "module+0xoffset", or null where no snapshot has the address. */
  name(address: number): string | null {
    for (let at = this.snapshots.length - 1; at >= 0; at -= 1) {
      const segment = this.snapshots[at].find(({ start, end }) => address >= start && address < end);
      if (segment === undefined) continue;
      this.named.set(segment.path, segment);
      return `${segment.name}+0x${(address - segment.base).toString(16)}`;
    }
    return null;
  }

  /** The files that addresses were named by. Of one that was replaced since, the id would be another build's. */
  get used(): Module[] {
    return [...this.named.values()]
      .filter(({ path }) => path.startsWith('/'))
      .map(({ name, path, inode }) => {
        const same = statSync(path, { throwIfNoEntry: false })?.ino === inode;
        return { name, path, build_id: same ? (readElf(path)?.build_id ?? null) : null };
      });
  }
}

/** The sites of a recording, by their return addresses. */
export class SiteTable {
  private readonly by_text = new Sites();
  private readonly modules: Modules;
  private readonly by_key = new Map<number, number>();

  constructor(modules: Modules) {
    this.modules = modules;
  }

  get sites(): readonly Site[] {
    return this.by_text.all;
  }

  /** Index of the site `key`: one return address, or a name for the `frames`, innermost first. */
  index(key: number, frames: readonly number[] | undefined): number {
    const known = this.by_key.get(key);
    if (known !== undefined) return known;
    const names = (frames ?? [key]).map((address) => this.modules.name(address));
    const text = names.map((name, at) => name ?? `0x${(frames ?? [key])[at].toString(16)}`).join(' < ');
    const index = this.by_text.index(text, names[0] !== null);
    this.by_key.set(key, index);
    return index;
  }
}
