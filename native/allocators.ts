/** The allocators that programs can be run under: their library, where it lies, and the package that brings it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const allocator_names = ['glibc', 'jemalloc', 'mimalloc', 'tcmalloc'] as const;
export type AllocatorName = (typeof allocator_names)[number];

export interface Allocator {
  readonly name: AllocatorName;
  /** File names of the library, the preferred first; none: what the C library brings. */
  readonly files: readonly string[];
  /** Debian's package. */
  readonly apt_package: string | null;
}

/** Where distributions and `make install` put libraries. */
const folders = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
  '/usr/local/lib',
] as const;

export const allocators: Readonly<Record<AllocatorName, Allocator>> = {
  glibc: { name: 'glibc', files: [], apt_package: null },
  jemalloc: { name: 'jemalloc', files: ['libjemalloc.so.2'], apt_package: 'libjemalloc2' },
  mimalloc: { name: 'mimalloc', files: ['libmimalloc.so.2.0', 'libmimalloc.so.2'], apt_package: 'libmimalloc2.0' },
  tcmalloc: { name: 'tcmalloc', files: ['libtcmalloc_minimal.so.4'], apt_package: 'libtcmalloc-minimal4' },
};

export function isAllocatorName(name: string): name is AllocatorName {
  return (allocator_names as readonly string[]).includes(name);
}

/** Path of the library to preload; null for the C library's own; undefined where it is not installed. */
export function libraryOf({ files }: Allocator): string | null | undefined {
  if (files.length === 0) return null;
  return folders.flatMap((folder) => files.map((file) => join(folder, file))).find(existsSync);
}

/** The command that installs it. */
export function installLine({ apt_package }: Allocator): string | null {
  return apt_package === null ? null : `apt-get install ${apt_package}`;
}
