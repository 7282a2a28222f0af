/** Which pages of a block the program touches: the first n, in ascending order. Mirrors native/core/touch.c. */
import { limits } from '../../traces/trace.ts';
import { enums, shape, type TouchModel } from '../spec.ts';

const none = enums.touch.indexOf('none');
const first = enums.touch.indexOf('first');
const recorded = enums.touch.indexOf('recorded');

export const touchIndex = (model: TouchModel): number => enums.touch.indexOf(model);

export function pagesOf(size_bytes: number): number {
  return Math.ceil(size_bytes / shape.page_bytes);
}

/** Pages touched of a block of `size_bytes`, whose trace says `touched_pages` (or that it does not know). */
export function touchedPages(model: number, size_bytes: number, touched_pages: number): number {
  const pages = pagesOf(size_bytes);
  if (model === none) return 0;
  if (model === first) return Math.min(1, pages);
  if (model === recorded && touched_pages !== limits.unknown) return Math.min(touched_pages, pages);
  return pages;
}
