/**
 * Size classes of jemalloc 5.3.0 with pages of 4 KiB: four to a doubling (src/sc.c, include/jemalloc/internal/sz.h). Page
 * classes are those that are whole pages; extents are sorted by them.
 */
const page_bytes = 4096;

/** The largest of the small classes, which lie in slabs, and the smallest of the others, which have an extent each. */
export const small_max_bytes = 14 * 1024;
export const large_min_bytes = 16 * 1024;
export const large_min_pages = large_min_bytes / page_bytes;
export const small_classes = 36;

/** Index of the smallest class that holds so many bytes. */
export function classOf(size_bytes: number): number {
  if (size_bytes <= 8) return 0;
  if (size_bytes <= 128) return Math.ceil(size_bytes / 16);
  const doubling = ceilLog2(size_bytes);
  return 8 + (doubling - 8) * 4 + Math.ceil(size_bytes / 2 ** (doubling - 3)) - 4;
}

/** Bytes of a class. */
export function classBytes(index: number): number {
  if (index === 0) return 8;
  if (index <= 8) return index * 16;
  const doubling = 8 + Math.floor((index - 9) / 4);
  return (((index - 9) % 4) + 5) * 2 ** (doubling - 3);
}

/** Bytes that a request gets. */
export const usableBytes = (size_bytes: number): number => classBytes(classOf(size_bytes));

/** The same for pages: index of the smallest page class that holds so many. */
export function pageClassOf(pages: number): number {
  if (pages <= 4) return Math.max(pages, 1) - 1;
  const doubling = ceilLog2(pages);
  return 4 + (doubling - 3) * 4 + Math.ceil(pages / 2 ** (doubling - 3)) - 5;
}

export function pageClassPages(index: number): number {
  if (index < 4) return index + 1;
  const doubling = 3 + Math.floor((index - 4) / 4);
  return (((index - 4) % 4) + 5) * 2 ** (doubling - 3);
}

/** Bytes of an aligned request (sz_sa2u): small ones are rounded to a class that is aligned by itself. */
export function alignedBytes(size_bytes: number, align: number): number {
  if (size_bytes <= small_max_bytes && align <= page_bytes) {
    const usable = usableBytes(Math.ceil(Math.max(size_bytes, 1) / align) * align);
    if (usable < large_min_bytes) return usable;
  }
  return size_bytes <= large_min_bytes ? large_min_bytes : usableBytes(size_bytes);
}

export interface SlabClass {
  readonly bytes: number;
  readonly pages: number;
  readonly regions: number;
  /** Blocks that a thread keeps at most. */
  readonly cache_slots: number;
}

const cache_slots_min = 20;
const cache_slots_max = 200;

/** A slab is as many pages as it takes for its regions to end where it ends. */
export const slab_classes: readonly SlabClass[] = Array.from({ length: small_classes }, (_, index) => {
  const bytes = classBytes(index);
  let pages = 1;
  while ((pages * page_bytes) % bytes !== 0) pages += 1;
  const regions = (pages * page_bytes) / bytes;
  const wanted = 2 * regions;
  return { bytes, pages, regions, cache_slots: Math.min(cache_slots_max, Math.max(cache_slots_min, wanted)) };
});

function ceilLog2(value: number): number {
  let doubling = 0;
  let left = value;
  while (left > 2 ** 30) {
    left = Math.ceil(left / 2);
    doubling += 1;
  }
  return left <= 1 ? doubling : doubling + 32 - Math.clz32(left - 1);
}
