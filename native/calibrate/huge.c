/**
 * Prices of huge pages in warm guest memory. A block of 2 MiB that the host has not backed yet takes tens of times as long,
 * and depends on what ran before, not on any policy: such faults are counted and left out.
 */
#include "calibrate.h"

#include <sys/mman.h>

enum { WINDOWS_MAX = 64, COLD_NS = 2000000, COLD_TIMES_MEDIAN = 4 };

/* The first whole window in one more than are wanted. */
static char *aligned(char *memory) {
  const uintptr_t window_bytes = HAK_WINDOW_PAGES * HAK_PAGE_BYTES;
  return (char *)(((uintptr_t)memory + window_bytes - 1) / window_bytes * window_bytes);
}

typedef struct {
  hak_samples faults, releases, lazy, unmaps;
  long cold, fallen_back;
} measured;

static void measure_round(measured *to, long windows) {
  const long pages = windows * HAK_WINDOW_PAGES;
  char *whole = hak_map(pages + HAK_WINDOW_PAGES), *memory = aligned(whole);
  hak_advise(memory, pages, MADV_HUGEPAGE);
  hak_watch watch = hak_watch_start();
  hak_advise(memory, pages, MADV_DONTNEED);
  const double call_ns = hak_watch_ns(watch);
  for (int time = 0; time < 3; time += 1) {
    long huge = 0;
    for (long window = 0; window < windows; window += 1) {
      char *at = memory + window * HAK_WINDOW_PAGES * HAK_PAGE_BYTES;
      const int64_t before = hak_faults();
      watch = hak_watch_start();
      hak_write(at, 1);
      const double fault_ns = hak_watch_ns(watch);
      hak_write(at, HAK_WINDOW_PAGES);
      const bool is_huge = hak_faults() - before == 1;
      huge += is_huge;
      to->fallen_back += !is_huge;
      to->cold += is_huge && fault_ns > COLD_NS;
      if (is_huge && fault_ns <= COLD_NS) hak_samples_add(&to->faults, fault_ns);
    }
    watch = hak_watch_start();
    if (time == 0)
      hak_advise(memory, pages, MADV_DONTNEED);
    else if (time == 1)
      hak_advise(memory, pages, MADV_FREE);
    else
      hak_unmap(whole, pages + HAK_WINDOW_PAGES);
    const double per_window_ns = (hak_watch_ns(watch) - call_ns) / (double)windows;
    if (huge == windows) hak_samples_add(time == 0 ? &to->releases : time == 1 ? &to->lazy : &to->unmaps, per_window_ns);
    if (time == 1) hak_advise(memory, pages, MADV_DONTNEED);
  }
}

/* Samples beyond a multiple of the median are cold memory too, where the host is fast. */
static void leave_out_cold(measured *of) {
  const double most_ns = COLD_TIMES_MEDIAN * hak_samples_median(&of->faults);
  while (of->faults.count > 0 && of->faults.ns[of->faults.count - 1] > most_ns) {
    of->faults.count -= 1;
    of->cold += 1;
  }
}

static void measure_advice(long pages, hak_rounds rounds) {
  enum { CALLS = 8 };
  hak_samples to_huge = {.count = 0}, to_small = to_huge;
  char *memory[CALLS];
  for (int at = 0; at < CALLS; at += 1) memory[at] = hak_map(pages);
  while (hak_next_round(&rounds)) {
    hak_watch watch = hak_watch_start();
    for (int at = 0; at < CALLS; at += 1) hak_advise(memory[at], pages, MADV_HUGEPAGE);
    const double huge_ns = hak_watch_ns(watch) / CALLS;
    watch = hak_watch_start();
    for (int at = 0; at < CALLS; at += 1) hak_advise(memory[at], pages, MADV_NOHUGEPAGE);
    const double small_ns = hak_watch_ns(watch) / CALLS;
    hak_samples_add(&to_huge, huge_ns);
    hak_samples_add(&to_small, small_ns);
  }
  for (int at = 0; at < CALLS; at += 1) hak_unmap(memory[at], pages);
  hak_report_mean("curve", "advise_huge_ns", "", pages, &to_huge);
  hak_report_mean("curve", "advise_small_ns", "", pages, &to_small);
}

static bool makes_huge_pages(void) {
  const long pages = 2 * HAK_WINDOW_PAGES;
  char *whole = hak_map(pages), *memory = aligned(whole);
  bool huge = madvise(memory, HAK_WINDOW_PAGES * HAK_PAGE_BYTES, MADV_HUGEPAGE) == 0;
  const int64_t before = hak_faults();
  hak_write(memory, HAK_WINDOW_PAGES);
  huge = huge && hak_faults() - before < HAK_WINDOW_PAGES;
  hak_unmap(whole, pages);
  return huge;
}

bool hak_measure_huge(long *cold, long *fallen_back) {
  static const long all[] = {1, 4, 16, WINDOWS_MAX};
  static const long some[] = {1, 16};
  if (!makes_huge_pages()) return false;
  hak_warm_guest((hak_quick ? 32 : 2 * WINDOWS_MAX) * HAK_WINDOW_PAGES, hak_quick ? 0.2 : 0.6, true);
  const long *const counts = hak_quick ? some : all;
  const int many = hak_quick ? sizeof some / sizeof some[0] : sizeof all / sizeof all[0];
  for (int which = 0; which < many; which += 1) {
    const long windows = counts[which], pages = windows * HAK_WINDOW_PAGES;
    if (pages + HAK_WINDOW_PAGES > hak_pages_to_spare()) continue;
    static measured of;
    of = (measured){.cold = 0};
    hak_rounds rounds = hak_rounds_of(16, hak_quick ? 0.05 : 0.1);
    while (hak_next_round(&rounds)) measure_round(&of, windows);
    leave_out_cold(&of);
    *cold += of.cold;
    *fallen_back += of.fallen_back;
    hak_report_mean("curve", "huge_fault_ns", "", pages, &of.faults);
    hak_report_mean("curve", "release_huge_ns", "", pages, &of.releases);
    hak_report_mean("curve", "lazy_free_huge_ns", "", pages, &of.lazy);
    hak_report_mean("curve", "munmap_huge_ns", "", pages, &of.unmaps);
    measure_advice(pages, hak_rounds_of(9, 0.02));
  }
  return true;
}
