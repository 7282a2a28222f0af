/** Memory to measure on: mapping and touching it, and making sure that the host has given it before it is timed. */
#include "calibrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

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

/* The first number behind `name` in the file; `otherwise` where there is none. */
static long long number_in(const char *path, const char *name, long long otherwise) {
  char text[4096];
  FILE *file = fopen(path, "re");
  if (file == NULL) return otherwise;
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  const char *at = strstr(text, name);
  char *end;
  if (at == NULL) return otherwise;
  at += strlen(name);
  const long long number = strtoll(at, &end, 10);
  return end == at ? otherwise : number;
}

long hak_pages_to_spare(void) {
  const long long limit_bytes = number_in("/sys/fs/cgroup/memory.max", "", INT64_MAX);
  const long long used_bytes = number_in("/sys/fs/cgroup/memory.current", "", 0);
  long long pages = number_in("/proc/meminfo", "MemAvailable:", 0) * 1024 / HAK_PAGE_BYTES;
  if ((limit_bytes - used_bytes) / HAK_PAGE_BYTES < pages) pages = (limit_bytes - used_bytes) / HAK_PAGE_BYTES;
  /* A quarter of it: neither reclaim nor another process is to come into what is measured. */
  return (long)(pages / 4);
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
