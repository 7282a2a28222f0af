/* Which pages of a block the program touches: the first n, in ascending order. Mirrors sim/kernel/touch.ts. */
#include "hak.h"

int64_t hak_pages_of(int64_t size_bytes) { return (size_bytes + HAK_PAGE_BYTES - 1) / HAK_PAGE_BYTES; }

int64_t hak_touched_pages(int model, int64_t size_bytes, uint32_t touched_pages) {
  const int64_t pages = hak_pages_of(size_bytes);
  if (model == HAK_TOUCH_NONE) return 0;
  if (model == HAK_TOUCH_FIRST) return pages > 0 ? 1 : 0;
  if (model == HAK_TOUCH_RECORDED && touched_pages != HAK_LIMIT_UNKNOWN)
    return touched_pages < pages ? touched_pages : pages;
  return pages;
}
