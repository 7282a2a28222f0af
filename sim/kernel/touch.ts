/** Which pages of a block the program touches: the first n, in ascending order. Mirrors native/core/touch.c. */
import { limits } from '../../traces/trace.ts';
import { enums, shape, type TouchModel } from '../spec.ts';

const none = enums.touch.indexOf('none');
const first = enums.touch.indexOf('first');
const recorded = enums.touch.indexOf('recorded');
const { unknown } = limits;

const { page_bytes } = shape;
const page_shift = Math.log2(page_bytes);
const small_bytes = 2 ** 31;

export const touchIndex = (model: TouchModel): number => enums.touch.indexOf(model);

export function pagesOf(size_bytes: number): number {
  // Most sizes fit 32 bits, where rounding up takes no floating point.
  return size_bytes < small_bytes ? (size_bytes + page_bytes - 1) >>> page_shift : Math.ceil(size_bytes / page_bytes);
}

/** Pages touched of a block of `size_bytes`, whose trace says `touched_pages` (or that it does not know). */
export function touchedPages(model: number, size_bytes: number, touched_pages: number): number {
  const pages = pagesOf(size_bytes);
  if (model === none) return 0;
  if (model === first) return Math.min(1, pages);
  if (model === recorded && touched_pages !== unknown) return Math.min(touched_pages, pages);
  return pages;
}
