/** Prices of the C library's own small path: blocks from its caches and bins, where no system call is made. */
#include "calibrate.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 256, LARGE_BLOCKS = 32 };
static void *blocks[BLOCKS], *between[BLOCKS];

static void *kept(void *block) {
  __asm__ volatile("" : "+r"(block) : : "memory");
  return block;
}

/* One block, taken and given back at once: the thread's cache serves every call. */
static void measure_cached(size_t bytes, hak_rounds rounds) {
  enum { PAIRS = 2000 };
  hak_samples samples = {.count = 0};
  while (hak_next_round(&rounds)) {
    const hak_watch watch = hak_watch_start();
    for (int pair = 0; pair < PAIRS; pair += 1) free(kept(malloc(bytes)));
    hak_samples_add(&samples, hak_watch_ns(watch) / PAIRS);
  }
  hak_report_mean("library", "cached_pair_ns", "", (long)bytes, &samples);
}

/* More blocks than the cache holds, each with a neighbour that stays: from bins, without joining. */
static void measure_bins(size_t bytes, hak_rounds rounds) {
  hak_samples samples = {.count = 0};
  for (int at = 0; at < BLOCKS; at += 1) {
    blocks[at] = malloc(bytes);
    between[at] = malloc(bytes + 512);
  }
  while (hak_next_round(&rounds)) {
    const hak_watch watch = hak_watch_start();
    for (int at = 0; at < BLOCKS; at += 1) free(kept(blocks[at]));
    for (int at = 0; at < BLOCKS; at += 1) blocks[at] = kept(malloc(bytes));
    hak_samples_add(&samples, hak_watch_ns(watch) / BLOCKS);
  }
  for (int at = 0; at < BLOCKS; at += 1) {
    free(blocks[at]);
    free(between[at]);
  }
  hak_report_mean("library", "bin_pair_ns", "", (long)bytes, &samples);
}

/* Blocks of 60 to 68 KiB, freed every other one first: neighbours join, and are split again. */
static void measure_joining(hak_rounds rounds) {
  hak_samples takes = {.count = 0}, gives = takes;
  void *last = NULL;
  while (hak_next_round(&rounds)) {
    hak_watch watch = hak_watch_start();
    for (int at = 0; at < LARGE_BLOCKS; at += 1) blocks[at] = kept(malloc((size_t)(60 << 10) + (size_t)(at * 7 % LARGE_BLOCKS) * 256));
    const double take_ns = hak_watch_ns(watch) / LARGE_BLOCKS;
    if (last == NULL) last = malloc(64);
    watch = hak_watch_start();
    for (int first = 0; first < 2; first += 1)
      for (int at = first; at < LARGE_BLOCKS; at += 2) free(kept(blocks[at]));
    const double give_ns = hak_watch_ns(watch) / LARGE_BLOCKS;
    hak_samples_add(&takes, take_ns);
    hak_samples_add(&gives, give_ns);
  }
  free(last);
  hak_report_mean("library", "joined_malloc_ns", "", 64 << 10, &takes);
  hak_report_mean("library", "joined_free_ns", "", 64 << 10, &gives);
}

/* What calloc does beyond malloc: a page of zeroes written into memory that is there. */
static void measure_calloc(size_t bytes, hak_rounds rounds) {
  enum { PAIRS = 32 };
  hak_samples samples = {.count = 0};
  const double pages = (double)bytes / HAK_PAGE_BYTES;
  while (hak_next_round(&rounds)) {
    hak_watch watch = hak_watch_start();
    for (int pair = 0; pair < PAIRS; pair += 1) free(kept(malloc(bytes)));
    const double plain_ns = hak_watch_ns(watch);
    watch = hak_watch_start();
    for (int pair = 0; pair < PAIRS; pair += 1) free(kept(calloc(1, bytes)));
    hak_samples_add(&samples, (hak_watch_ns(watch) - plain_ns) / PAIRS / pages);
  }
  hak_report_mean("library", "calloc_page_ns", "", (long)bytes, &samples);
}

void hak_measure_library(void) {
  static const size_t small[] = {24, 100, 400, 1000};
  const hak_rounds rounds = {.most = 31, .until_ns = INT64_MAX};
  /* Nothing is to be mapped or given back meanwhile. */
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 16 << 20);
  /* Zeroes that the kernel gave need not be written: the heap is used before. */
  void *whole = malloc(8 << 20);
  if (whole == NULL) return;
  memset(whole, 1, 8 << 20);
  free(kept(whole));
  for (int at = 0; at < 4; at += 1) {
    measure_cached(small[at], rounds);
    measure_bins(small[at], rounds);
  }
  measure_joining(rounds);
  void *top = NULL;
  const size_t large[] = {64 << 10, 1 << 20};
  for (int at = 0; at < 2; at += 1) {
    /* calloc knows the heap's fresh end: a block that stays keeps what is freed away from it. */
    void *used = malloc(large[at]);
    top = malloc(64);
    memset(used, 1, large[at]);
    free(kept(used));
    measure_calloc(large[at], rounds);
    free(top);
  }
}
