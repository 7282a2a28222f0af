/*
 * The kernels `bare` and `idle`, for time: the difference between a run with one and a run with the other is what calls and
 * touches of the mapped path take. Neither has the heap path, counts faults at a touch, verifies, or looks at residency.
 */
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "real.h"

/* A huge fault takes some 100 us; where the host of a virtual machine has to find the memory first, many times that. */
enum { SLOW_TOUCH_NS = 2000000 };
/* Of fewer pages the clock would be a part of what it measures. */
enum { TIMED_PAGES = HAK_WINDOW_PAGES / 8 };

static char *address(hak_kernel *kernel, int64_t page) { return ((hak_real *)kernel)->base + page * HAK_PAGE_BYTES; }

static int64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A thread that was made to wait meanwhile was not slow. */
static void slow_touch(hak_real *real) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  const int64_t preemptions = usage.ru_nivcsw + usage.ru_nvcsw;
  if (preemptions == real->preemptions) real->slow_touches += 1;
  real->preemptions = preemptions;
}

static void write_pages(hak_kernel *kernel, int64_t from, int64_t to, uint64_t stamp) {
  const bool fills = ((hak_real *)kernel)->fills;
  for (int64_t page = from; page < to; page += 1) {
    uint64_t *word = (uint64_t *)(void *)address(kernel, page);
    __atomic_exchange_n(word, stamp, __ATOMIC_RELAXED);
    if (fills) memset(word + 1, (int)stamp, HAK_PAGE_BYTES - sizeof *word);
  }
}

static int64_t bare_touch(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp, bool was_zero) {
  (void)was_zero;
  if (kernel->violation != HAK_VIOLATION_NONE) return 0;
  for (int64_t from = start; from < start + pages;) {
    int64_t to = (from / HAK_WINDOW_PAGES + 1) * HAK_WINDOW_PAGES;
    if (to > start + pages) to = start + pages;
    if (to - from >= TIMED_PAGES) {
      const int64_t before_ns = monotonic_ns();
      write_pages(kernel, from, from + 1, stamp);
      if (monotonic_ns() - before_ns > SLOW_TOUCH_NS) slow_touch((hak_real *)kernel);
      from += 1;
    }
    write_pages(kernel, from, to, stamp);
    from = to;
  }
  return 0;
}

static int64_t bare_read(hak_kernel *kernel, int64_t start, int64_t pages) {
  if (kernel->violation != HAK_VIOLATION_NONE) return 0;
  for (int64_t page = start; page < start + pages; page += 1)
    __atomic_load_n((uint64_t *)(void *)address(kernel, page), __ATOMIC_RELAXED);
  return 0;
}

static void no_verify(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp) {
  (void)kernel, (void)start, (void)pages, (void)stamp;
}

static void no_residency(hak_kernel *kernel, hak_residency *residency) {
  (void)kernel;
  *residency = (hak_residency){0};
}

static void no_heap_allocate(hak_kernel *kernel, int64_t object, int kind, int64_t size_bytes, int64_t align, int64_t touched) {
  (void)kernel, (void)object, (void)kind, (void)size_bytes, (void)align, (void)touched;
}

static void no_heap_reallocate(hak_kernel *kernel, int64_t object, int64_t size_bytes, int64_t touched) {
  (void)kernel, (void)object, (void)size_bytes, (void)touched;
}

static void no_heap_free(hak_kernel *kernel, int64_t object) { (void)kernel, (void)object; }

static int64_t no_call(hak_kernel *kernel, int64_t start, int64_t pages) {
  (void)kernel, (void)start, (void)pages;
  return 0;
}

static int64_t no_call_of_ranges(hak_kernel *kernel, const hak_range *ranges, int64_t count) {
  (void)kernel, (void)ranges, (void)count;
  return 0;
}

static int64_t no_touch(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp, bool was_zero) {
  (void)kernel, (void)start, (void)pages, (void)stamp, (void)was_zero;
  return 0;
}

void hak_real_bare(hak_real *real) {
  hak_kernel *kernel = &real->kernel;
  kernel->touch = bare_touch;
  kernel->read = bare_read;
  kernel->verify = no_verify;
  kernel->residency = no_residency;
  kernel->heap_allocate = no_heap_allocate;
  kernel->heap_reallocate = no_heap_reallocate;
  kernel->heap_free = no_heap_free;
}

void hak_real_idle(hak_real *real) {
  hak_real_bare(real);
  hak_kernel *kernel = &real->kernel;
  kernel->map = kernel->unmap = kernel->read = no_call;
  kernel->advise_huge = kernel->advise_no_huge = no_call;
  kernel->dontneed = kernel->free = no_call;
  kernel->dontneed_vector = no_call_of_ranges;
  kernel->touch = no_touch;
}
