/**
 * Prices of a first touch of small pages, and of filling and copying resident ones, by the pages that are cycled: the
 * kernel gives out first what came back last, so a small working set is zeroed in the caches and a large one is not.
 */
#include "calibrate.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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
  hak_report_mean("curve", "fault_ns", "", pages, &first);
  hak_report_mean("curve", "refault_ns", "", pages, &again);
  hak_report_mean("curve", "lazy_touch_ns", "", pages, &lazy);
  hak_report_mean("curve", "zero_fault_ns", "", pages, &zero);
  hak_report_mean("curve", "zero_write_ns", "", pages, &copied);
}

/* As a heap grows that gives nothing back, page tables and all, in a process that has just begun. */
static const long fresh_ends[] = {16, 64, 256, 512, 2048, 8192};
enum { FRESH_ENDS = sizeof fresh_ends / sizeof fresh_ends[0], FRESH_ENDS_QUICK = FRESH_ENDS - 1 };

void hak_touch_fresh(int sizes) {
  if (sizes < 1 || sizes > FRESH_ENDS) return;
  char *heap = sbrk(fresh_ends[sizes - 1] * HAK_PAGE_BYTES);
  if (heap == (char *)-1) return;
  double ns[FRESH_ENDS];
  for (int at = 0; at < sizes; at += 1) {
    const long from = at == 0 ? 0 : fresh_ends[at - 1];
    ns[at] = write_ns(heap + from * HAK_PAGE_BYTES, fresh_ends[at] - from);
  }
  for (int at = 0; at < sizes; at += 1) printf("%.3f\n", ns[at]);
}

/* What this program prints when it is run anew; false where it cannot be. */
static bool fresh_process(int sizes, double ns[FRESH_ENDS]) {
  int ends[2];
  if (pipe(ends) != 0) return false;
  const pid_t child = fork();
  if (child == 0) {
    const char name[] = {(char)('0' + sizes), '\0'};
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execl("/proc/self/exe", "hak-calibrate", "--die-with-parent", "--touch-fresh", name, (char *)NULL);
    _exit(1);
  }
  close(ends[1]);
  FILE *said = fdopen(ends[0], "r");
  int got = 0;
  while (said != NULL && got < sizes && fscanf(said, "%lf", &ns[got]) == 1) got += 1;
  if (said != NULL) fclose(said);
  if (child > 0) waitpid(child, NULL, 0);
  return got == sizes;
}

static void measure_fresh(hak_rounds rounds) {
  hak_samples fresh[FRESH_ENDS];
  for (int at = 0; at < FRESH_ENDS; at += 1) fresh[at].count = 0;
  const int sizes = hak_quick ? FRESH_ENDS_QUICK : FRESH_ENDS;
  double ns[FRESH_ENDS];
  while (hak_next_round(&rounds) && fresh_process(sizes, ns))
    for (int at = 0; at < sizes; at += 1) hak_samples_add(&fresh[at], ns[at]);
  for (int at = 0; at < sizes; at += 1) hak_report_mean("curve", "fresh_fault_ns", "", fresh_ends[at], &fresh[at]);
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
  hak_report_mean("curve", "resident_touch_ns", "", pages, &touches);
  hak_report_mean("curve", "fill_page_ns", "", pages, &fills);
  hak_report_mean("curve", "copy_page_ns", "", pages, &copies);
}

void hak_measure_faults(void) {
  if (fresh_ends[FRESH_ENDS - 1] <= hak_pages_to_spare()) measure_fresh(hak_rounds_of(15, hak_quick ? 0.3 : 0.8));
  static const long all[] = {16, 64, 256, 512, 2048, 8192, 16384, 65536};
  static const long some[] = {16, 512, 8192};
  const long *const sizes = hak_quick ? some : all;
  const int count = hak_quick ? sizeof some / sizeof some[0] : sizeof all / sizeof all[0];
  for (int at = 0; at < count; at += 1) {
    const long pages = sizes[at];
    if (pages > hak_pages_to_spare() || (pages > UNZEROED_PAGES_MAX && hak_is_late())) continue;
    measure_faults(pages, hak_rounds_of(64, hak_quick ? 0.15 : 0.25));
    if (pages <= RESIDENT_PAGES_MAX) measure_resident(pages, hak_rounds_of(9, 0.05));
  }
}
