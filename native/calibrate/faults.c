/**
 * Prices of a first touch of small pages, and of filling and copying resident ones, by the pages that are cycled: the
 * kernel gives out first what came back last, so a small working set is zeroed in the caches and a large one is not.
 */
#include "calibrate.h"

#include <string.h>
#include <sys/mman.h>

/* Nothing is zeroed where a page comes back or is the zero page: more memory says nothing new and takes long. */
enum { UNZEROED_PAGES_MAX = 8192, RESIDENT_PAGES_MAX = 16384 };

/* Nanoseconds a page. */
static double write_ns(char *memory, long pages) {
  const hak_watch watch = hak_watch_start();
  hak_write(memory, pages);
  return hak_watch_ns(watch) / (double)pages;
}

static void measure_faults(long pages, hak_rounds rounds) {
  hak_samples first = {.count = 0}, again = first, zero = first, copied = first, lazy = first;
  while (hak_next_round(&rounds)) {
    char *memory = hak_map(pages);
    const double first_ns = write_ns(memory, pages);
    hak_advise(memory, pages, MADV_DONTNEED);
    const double again_ns = write_ns(memory, pages);
    if (pages <= UNZEROED_PAGES_MAX) {
      hak_advise(memory, pages, MADV_FREE);
      hak_samples_add(&lazy, write_ns(memory, pages));
      hak_advise(memory, pages, MADV_DONTNEED);
      const hak_watch watch = hak_watch_start();
      hak_read(memory, pages);
      hak_samples_add(&zero, hak_watch_ns(watch) / (double)pages);
      hak_samples_add(&copied, write_ns(memory, pages));
    }
    hak_unmap(memory, pages);
    hak_samples_add(&first, first_ns);
    hak_samples_add(&again, again_ns);
  }
  hak_report_median("curve", "fault_ns", "", pages, &first);
  hak_report_median("curve", "refault_ns", "", pages, &again);
  hak_report_median("curve", "lazy_touch_ns", "", pages, &lazy);
  hak_report_median("curve", "zero_fault_ns", "", pages, &zero);
  hak_report_median("curve", "zero_write_ns", "", pages, &copied);
}

static void measure_resident(long pages, hak_rounds rounds) {
  hak_samples touches = {.count = 0}, fills = touches, copies = touches;
  const size_t bytes = (size_t)pages * HAK_PAGE_BYTES;
  const long times = pages < 2048 ? 2048 / pages : 1;
  char *memory = hak_map(pages), *other = hak_map(pages);
  hak_write(memory, pages);
  hak_write(other, pages);
  while (hak_next_round(&rounds)) {
    hak_watch watch = hak_watch_start();
    for (long time = 0; time < times; time += 1) hak_write(memory, pages);
    const double touch_ns = hak_watch_ns(watch) / (double)(times * pages);
    watch = hak_watch_start();
    for (long time = 0; time < times; time += 1) {
      memset(memory, (int)time, bytes);
      __asm__ volatile("" : : "r"(memory) : "memory");
    }
    const double fill_ns = hak_watch_ns(watch) / (double)(times * pages);
    watch = hak_watch_start();
    for (long time = 0; time < times; time += 1) {
      memcpy(other, memory, bytes);
      __asm__ volatile("" : : "r"(other) : "memory");
    }
    const double copy_ns = hak_watch_ns(watch) / (double)(times * pages);
    hak_samples_add(&touches, touch_ns);
    hak_samples_add(&fills, fill_ns);
    hak_samples_add(&copies, copy_ns);
  }
  hak_unmap(memory, pages);
  hak_unmap(other, pages);
  hak_report_median("curve", "resident_touch_ns", "", pages, &touches);
  hak_report_median("curve", "fill_page_ns", "", pages, &fills);
  hak_report_median("curve", "copy_page_ns", "", pages, &copies);
}

void hak_measure_faults(void) {
  static const long all[] = {16, 64, 256, 512, 2048, 8192, 16384, 65536};
  static const long some[] = {16, 512, 8192};
  const long *const sizes = hak_quick ? some : all;
  const int count = hak_quick ? sizeof some / sizeof some[0] : sizeof all / sizeof all[0];
  for (int at = 0; at < count; at += 1) {
    const long pages = sizes[at];
    if (pages > hak_pages_to_spare()) continue;
    measure_faults(pages, hak_rounds_of(64, hak_quick ? 0.15 : 0.25));
    if (pages <= RESIDENT_PAGES_MAX) measure_resident(pages, hak_rounds_of(9, 0.05));
  }
}
