/** Memory to measure on: mapping and touching it, and making sure that the host has given it before it is timed. */
#include "calibrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

char *hak_map(long pages) {
  /* Areas that lie beside each other merge where their flags are alike, and then none is made or ended any more. */
  static int odd;
  odd = !odd;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (odd ? MAP_NORESERVE : 0);
  char *memory = mmap(NULL, (size_t)pages * HAK_PAGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) fail("hak-calibrate: mmap");
  return memory;
}

void hak_unmap(char *memory, long pages) {
  if (munmap(memory, (size_t)pages * HAK_PAGE_BYTES) != 0) fail("hak-calibrate: munmap");
}

void hak_advise(char *memory, long pages, int advice) {
  if (madvise(memory, (size_t)pages * HAK_PAGE_BYTES, advice) != 0) fail("hak-calibrate: madvise");
}

void hak_write(char *memory, long pages) {
  for (long page = 0; page < pages; page += 1) *(volatile char *)(memory + page * HAK_PAGE_BYTES) = 1;
}

void hak_read(const char *memory, long pages) {
  for (long page = 0; page < pages; page += 1) (void)*(const volatile char *)(memory + page * HAK_PAGE_BYTES);
}

int64_t hak_faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

long hak_pages_to_spare(void) {
  /* A quarter of what is free: neither reclaim nor another process is to come into it. */
  return sysconf(_SC_AVPHYS_PAGES) / 4;
}

void hak_warm_guest(long pages, double seconds, bool huge) {
  const int64_t until_ns = hak_wall_ns() + (int64_t)(seconds * 1e9);
  const long spare = hak_pages_to_spare();
  if (pages > spare) pages = spare;
  pages -= pages % HAK_WINDOW_PAGES;
  if (pages == 0) return;
  char *memory = hak_map(pages);
  if (huge) hak_advise(memory, pages, MADV_HUGEPAGE);
  for (long page = 0; page < pages && hak_wall_ns() < until_ns; page += HAK_WINDOW_PAGES)
    hak_write(memory + page * HAK_PAGE_BYTES, HAK_WINDOW_PAGES);
  hak_unmap(memory, pages);
}
