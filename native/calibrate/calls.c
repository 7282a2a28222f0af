/** Prices of system calls on memory, by the pages that one call is about. */
#include "calibrate.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

/*
 * Regions side by side, so that one reading of the clock is shared by many calls: of touched ones as many as are 2 MiB
 * together, of untouched ones at least a few, for they take no memory.
 */
enum { REGIONS_MAX = 64, UNTOUCHED_LEAST = 8, REFERENCE_PAGES = 512 };

static char *regions[REGIONS_MAX];
static int touched_count, untouched_count;
static long region_pages;

/* Each nanoseconds a call. */
static double map_all(int count) {
  const hak_watch watch = hak_watch_start();
  for (int at = 0; at < count; at += 1) regions[at] = hak_map(region_pages);
  return hak_watch_ns(watch) / count;
}

static double unmap_all(int count) {
  const hak_watch watch = hak_watch_start();
  for (int at = 0; at < count; at += 1) hak_unmap(regions[at], region_pages);
  return hak_watch_ns(watch) / count;
}

static double advise_all(int count, int advice) {
  const hak_watch watch = hak_watch_start();
  for (int at = 0; at < count; at += 1) hak_advise(regions[at], region_pages, advice);
  return hak_watch_ns(watch) / count;
}

static void write_all(void) {
  for (int at = 0; at < touched_count; at += 1) hak_write(regions[at], region_pages);
}

static void measure_regions(hak_rounds rounds) {
  hak_samples map = {.count = 0}, unmap = map, advise = map, release = map, lazy = map, unmap_page = map;
  const double pages = (double)region_pages;
  while (hak_next_round(&rounds)) {
    hak_samples_add(&map, map_all(untouched_count));
    const double release_call_ns = advise_all(untouched_count, MADV_DONTNEED);
    const double free_call_ns = advise_all(untouched_count, MADV_FREE);
    const double unmap_call_ns = unmap_all(untouched_count);
    hak_samples_add(&advise, release_call_ns);
    hak_samples_add(&unmap, unmap_call_ns);
    map_all(touched_count);
    write_all();
    hak_samples_add(&release, (advise_all(touched_count, MADV_DONTNEED) - release_call_ns) / pages);
    write_all();
    hak_samples_add(&lazy, (advise_all(touched_count, MADV_FREE) - free_call_ns) / pages);
    write_all();
    hak_samples_add(&unmap_page, (unmap_all(touched_count) - unmap_call_ns) / pages);
  }
  hak_report_mean("curve", "mmap_ns", "", region_pages, &map);
  hak_report_mean("curve", "munmap_ns", "", region_pages, &unmap);
  hak_report_mean("curve", "madvise_ns", "", region_pages, &advise);
  hak_report_mean("curve", "release_page_ns", "", region_pages, &release);
  hak_report_mean("curve", "lazy_free_page_ns", "", region_pages, &lazy);
  hak_report_mean("curve", "munmap_page_ns", "", region_pages, &unmap_page);
}

/* realloc of a large block, all of it touched: it moves where something lies behind it, and grows where nothing does. */
static void measure_mremap(hak_rounds rounds) {
  hak_samples moves = {.count = 0}, grows = moves;
  const size_t bytes = (size_t)region_pages * HAK_PAGE_BYTES;
  while (hak_next_round(&rounds)) {
    char *guards[REGIONS_MAX];
    for (int at = 0; at < touched_count; at += 1) {
      regions[at] = hak_map(region_pages);
      guards[at] = mmap(regions[at] + bytes, HAK_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    }
    write_all();
    hak_watch watch = hak_watch_start();
    for (int at = 0; at < touched_count; at += 1)
      regions[at] = mremap(regions[at], bytes, bytes + HAK_PAGE_BYTES, MREMAP_MAYMOVE);
    const double move_ns = hak_watch_ns(watch) / touched_count;
    for (int at = 0; at < touched_count; at += 1) mremap(regions[at], bytes + HAK_PAGE_BYTES, bytes, 0);
    watch = hak_watch_start();
    for (int at = 0; at < touched_count; at += 1) mremap(regions[at], bytes, bytes + HAK_PAGE_BYTES, MREMAP_MAYMOVE);
    const double grow_ns = hak_watch_ns(watch) / touched_count;
    for (int at = 0; at < touched_count; at += 1) {
      hak_unmap(regions[at], region_pages + 1);
      if (guards[at] != MAP_FAILED) hak_unmap(guards[at], 1);
    }
    hak_samples_add(&moves, move_ns);
    hak_samples_add(&grows, grow_ns);
  }
  hak_report_mean("curve", "mremap_move_ns", "", region_pages, &moves);
  hak_report_mean("curve", "mremap_grow_ns", "", region_pages, &grows);
}

/* Nanoseconds a call. */
static double move_break(int count, intptr_t bytes) {
  const hak_watch watch = hak_watch_start();
  for (int at = 0; at < count; at += 1) sbrk(bytes);
  return hak_watch_ns(watch) / count;
}

/* As a heap grows: glibc's first by moving the break, its others by opening what they reserved. */
static void measure_heap_growth(hak_rounds rounds) {
  hak_samples brk_grow = {.count = 0}, brk_shrink = brk_grow, brk_page = brk_grow, open = brk_grow;
  const intptr_t bytes = region_pages * HAK_PAGE_BYTES;
  while (hak_next_round(&rounds)) {
    hak_samples_add(&brk_grow, move_break(untouched_count, bytes));
    const double shrink_ns = move_break(untouched_count, -bytes);
    hak_samples_add(&brk_shrink, shrink_ns);
    char *from = sbrk(bytes * touched_count);
    if (from == (char *)-1) return;
    hak_write(from, region_pages * touched_count);
    hak_samples_add(&brk_page, (move_break(touched_count, -bytes) - shrink_ns) / (double)region_pages);
    const size_t reserved_bytes = (size_t)(bytes * untouched_count);
    char *reserved = mmap(NULL, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const hak_watch watch = hak_watch_start();
    for (int at = 0; at < untouched_count; at += 1)
      mprotect(reserved + at * bytes, (size_t)bytes, PROT_READ | PROT_WRITE);
    hak_samples_add(&open, hak_watch_ns(watch) / untouched_count);
    hak_unmap(reserved, region_pages * untouched_count);
  }
  hak_report_mean("curve", "brk_grow_ns", "", region_pages, &brk_grow);
  hak_report_mean("curve", "brk_shrink_ns", "", region_pages, &brk_shrink);
  hak_report_mean("curve", "brk_page_ns", "", region_pages, &brk_page);
  hak_report_mean("curve", "mprotect_grow_ns", "", region_pages, &open);
}

/* One call about many ranges, none of them touched: what the call takes before any page is released. */
static void measure_vectored(void) {
  static const int counts[] = {1, 4, 16, 64};
  enum { CALLS = 8 };
  const int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
  region_pages = 8;
  map_all(REGIONS_MAX);
  struct iovec ranges[REGIONS_MAX];
  for (int at = 0; at < REGIONS_MAX; at += 1) ranges[at] = (struct iovec){regions[at], 8 * HAK_PAGE_BYTES};
  for (int which = 0; which < 4; which += 1) {
    hak_samples samples = {.count = 0};
    bool works = true;
    hak_rounds rounds = hak_rounds_of(25, 0.05);
    while (works && hak_next_round(&rounds)) {
      const hak_watch watch = hak_watch_start();
      for (int call = 0; call < CALLS; call += 1)
        works = works && syscall(SYS_process_madvise, self, ranges, counts[which], MADV_DONTNEED, 0) > 0;
      if (works) hak_samples_add(&samples, hak_watch_ns(watch) / CALLS);
    }
    hak_report_mean("curve", "process_madvise_ns", "", counts[which], &samples);
  }
  unmap_all(REGIONS_MAX);
  close(self);
}

void hak_measure_calls(void) {
  static const long all[] = {1, 4, 16, 32, 33, 34, 64, 128, 512, 2048, 8192};
  static const long some[] = {1, 16, 33, 34, 64, 512, 8192};
  const long *const sizes = hak_quick ? some : all;
  const int count = hak_quick ? sizeof some / sizeof some[0] : sizeof all / sizeof all[0];
  for (int at = 0; at < count; at += 1) {
    region_pages = sizes[at];
    if (region_pages > hak_pages_to_spare()) continue;
    const long regions_wanted = REFERENCE_PAGES / region_pages;
    touched_count = regions_wanted < 1 ? 1 : regions_wanted > REGIONS_MAX ? REGIONS_MAX : (int)regions_wanted;
    untouched_count = touched_count > UNTOUCHED_LEAST ? touched_count : UNTOUCHED_LEAST;
    const double seconds = hak_quick ? 0.05 : 0.07;
    measure_regions(hak_rounds_of(15, seconds));
    measure_mremap(hak_rounds_of(15, seconds));
    measure_heap_growth(hak_rounds_of(15, seconds));
  }
  measure_vectored();
}
