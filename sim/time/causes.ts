/** What time goes to. Every nanosecond of every thread, from its first event to its last, has one of these causes. */
import { call } from '../peers/meter.ts';

/** In this order; system calls stand by the numbers that a meter gives them, from `first_call` on. */
export const cause_names = [
  'think',
  'library',
  'mmap',
  'munmap',
  'mremap',
  'brk_grow',
  'brk_shrink',
  'mprotect',
  'madvise_dontneed',
  'madvise_free',
  'madvise_hugepage',
  'madvise_nohugepage',
  'process_madvise',
  'mremap_grow',
  'mremap_shrink',
  'fault',
  'zero_fault',
  'huge_fault',
  'copy',
  'clear',
  'shootdown',
  'reclaim',
  'lock_wait',
  'dependency_wait',
  'processor_wait',
] as const;
export type Cause = (typeof cause_names)[number];

export const cause = Object.fromEntries(cause_names.map((name, at) => [name, at])) as {
  readonly [name in Cause]: number;
};
export const first_call: number = cause.mmap - call.mmap;

/** What a processor works on for the allocator's sake: neither the program's own work nor waiting. */
export const is_cpu = (at: number): boolean => at >= cause.library && at <= cause.reclaim;

export type ByCause = { readonly [name in Cause]: number };

export function byCause(spent: Float64Array): ByCause {
  return Object.fromEntries(cause_names.map((name, at) => [name, spent[at]])) as unknown as ByCause;
}
