/*
 * The kernel `real`. Every action is a system call on a region of our own; faults are what getrusage counts around each
 * touch, residency is what /proc/self/smaps says of the region. Nothing here knows the page model.
 */
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

/* linux/fs.h of 6.7 and later; older headers lack it. */
struct pagemap_region {
  uint64_t start, end, categories;
};
struct pagemap_scan {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, struct pagemap_scan)
static const uint64_t page_is_huge = 1u << 6;

static char smaps_buffer[1 << 16];

static hak_real *real_of(hak_kernel *kernel) { return (hak_real *)kernel; }

static char *address(const hak_real *real, int64_t page) { return real->base + page * HAK_PAGE_BYTES; }

static int64_t thread_faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

static int64_t thread_cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void refused(hak_kernel *kernel, const char *call, int64_t start, int64_t pages) {
  if (kernel->violation != HAK_VIOLATION_NONE) return;
  kernel->violation = HAK_VIOLATION_KERNEL;
  snprintf(kernel->trouble, sizeof kernel->trouble, "%s of %lld pages at page %lld of the region: %s", call, (long long)pages,
           (long long)start, strerror(errno));
}

static void contents_differ(hak_kernel *kernel, int64_t page, uint64_t found, uint64_t wanted) {
  if (kernel->violation != HAK_VIOLATION_NONE) return;
  kernel->violation = HAK_VIOLATION_CONTENTS;
  snprintf(kernel->trouble, sizeof kernel->trouble, "page %lld of the region holds %llu where %llu was written",
           (long long)page, (unsigned long long)found, (unsigned long long)wanted);
}

static bool is_huge(const hak_real *real, int64_t page) {
  struct pagemap_region region;
  struct pagemap_scan scan = {
      .size = sizeof scan,
      .start = (uintptr_t)address(real, page),
      .end = (uintptr_t)address(real, page + 1),
      .vec = (uintptr_t)&region,
      .vec_len = 1,
      .category_mask = page_is_huge,
      .return_mask = page_is_huge,
  };
  return ioctl(real->pagemap, PAGEMAP_SCAN_IOCTL, &scan) == 1;
}

static int64_t real_map(hak_kernel *kernel, int64_t start, int64_t pages) {
  char *wanted = address(real_of(kernel), start);
  const size_t bytes = (size_t)pages * HAK_PAGE_BYTES;
  void *got = mmap(wanted, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
  if (got != wanted) refused(kernel, "mmap", start, pages);
  kernel->syscalls.mmap += 1;
  kernel->mapped_pages += pages;
  if (kernel->mapped_pages > kernel->mapped_pages_peak) kernel->mapped_pages_peak = kernel->mapped_pages;
  return 0;
}

static int64_t real_unmap(hak_kernel *kernel, int64_t start, int64_t pages) {
  if (munmap(address(real_of(kernel), start), (size_t)pages * HAK_PAGE_BYTES) != 0) refused(kernel, "munmap", start, pages);
  kernel->syscalls.munmap += 1;
  kernel->mapped_pages -= pages;
  return 0;
}

static int64_t advise(hak_kernel *kernel, int64_t start, int64_t pages, int advice, const char *call, int64_t *count) {
  if (madvise(address(real_of(kernel), start), (size_t)pages * HAK_PAGE_BYTES, advice) != 0) refused(kernel, call, start, pages);
  *count += 1;
  return 0;
}

static int64_t real_advise_huge(hak_kernel *kernel, int64_t start, int64_t pages) {
  return advise(kernel, start, pages, MADV_HUGEPAGE, "MADV_HUGEPAGE", &kernel->syscalls.madvise_hugepage);
}

static int64_t real_advise_no_huge(hak_kernel *kernel, int64_t start, int64_t pages) {
  return advise(kernel, start, pages, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE", &kernel->syscalls.madvise_nohugepage);
}

static int64_t real_dontneed(hak_kernel *kernel, int64_t start, int64_t pages) {
  return advise(kernel, start, pages, MADV_DONTNEED, "MADV_DONTNEED", &kernel->syscalls.madvise_dontneed);
}

static int64_t real_free(hak_kernel *kernel, int64_t start, int64_t pages) {
  return advise(kernel, start, pages, MADV_FREE, "MADV_FREE", &kernel->syscalls.madvise_free);
}

static int64_t real_dontneed_vector(hak_kernel *kernel, const hak_range *ranges, int64_t count) {
  struct iovec vector[HAK_VECTORED_RANGES_MAX];
  ssize_t bytes = 0;
  for (int64_t at = 0; at < count; at += 1) {
    vector[at].iov_base = address(real_of(kernel), ranges[at].start);
    vector[at].iov_len = (size_t)ranges[at].pages * HAK_PAGE_BYTES;
    bytes += (ssize_t)vector[at].iov_len;
  }
  const ssize_t done = syscall(SYS_process_madvise, real_of(kernel)->pidfd, vector, (size_t)count, MADV_DONTNEED, 0);
  if (done != bytes) refused(kernel, "process_madvise", ranges[0].start, ranges[0].pages);
  kernel->syscalls.process_madvise += 1;
  return 0;
}

/* Counts the faults of one window; a lone fault may have been a huge one. */
static void count_faults(hak_kernel *kernel, int64_t faults, int64_t page) {
  kernel->faults += faults;
  if (faults == 1 && real_of(kernel)->pagemap >= 0 && is_huge(real_of(kernel), page)) kernel->huge_faults += 1;
}

static int64_t real_touch(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp, bool was_zero) {
  hak_real *real = real_of(kernel);
  if (kernel->violation != HAK_VIOLATION_NONE) return 0;
  for (int64_t from = start; from < start + pages;) {
    int64_t to = (from / HAK_WINDOW_PAGES + 1) * HAK_WINDOW_PAGES;
    if (to > start + pages) to = start + pages;
    const int64_t faults_before = thread_faults();
    for (int64_t page = from; page < to; page += 1) {
      uint64_t *word = (uint64_t *)(void *)address(real, page);
      /* An exchange is one write fault; a read before the write would be two. */
      const uint64_t before = __atomic_exchange_n(word, stamp, __ATOMIC_RELAXED);
      if (was_zero && before != 0) contents_differ(kernel, page, before, 0);
      if (real->fills) memset(word + 1, (int)stamp, HAK_PAGE_BYTES - sizeof *word);
    }
    count_faults(kernel, thread_faults() - faults_before, from);
    from = to;
  }
  return 0;
}

static int64_t real_read(hak_kernel *kernel, int64_t start, int64_t pages) {
  hak_real *real = real_of(kernel);
  if (kernel->violation != HAK_VIOLATION_NONE) return 0;
  for (int64_t from = start; from < start + pages;) {
    int64_t to = (from / HAK_WINDOW_PAGES + 1) * HAK_WINDOW_PAGES;
    if (to > start + pages) to = start + pages;
    const int64_t faults_before = thread_faults();
    for (int64_t page = from; page < to; page += 1) __atomic_load_n((uint64_t *)(void *)address(real, page), __ATOMIC_RELAXED);
    count_faults(kernel, thread_faults() - faults_before, from);
    from = to;
  }
  return 0;
}

static void real_verify(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp) {
  for (int64_t page = start; page < start + pages; page += 1) {
    const uint64_t found = __atomic_load_n((uint64_t *)(void *)address(real_of(kernel), page), __ATOMIC_RELAXED);
    if (found != stamp) contents_differ(kernel, page, found, stamp);
  }
}

/* Adds up what /proc/self/smaps says of the areas inside the region, and of the C library's heap. */
static void real_residency(hak_kernel *kernel, hak_residency *residency) {
  hak_real *real = real_of(kernel);
  const int64_t faults_before = thread_faults();
  *residency = (hak_residency){0};
  const int descriptor = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
  const uintptr_t low = (uintptr_t)real->base;
  const uintptr_t high = low + (uintptr_t)real->region_bytes;
  bool inside = false;
  bool heap = false;
  size_t kept = 0;
  for (;;) {
    const ssize_t count = read(descriptor, smaps_buffer + kept, sizeof smaps_buffer - 1 - kept);
    if (count <= 0) break;
    const size_t length = kept + (size_t)count;
    smaps_buffer[length] = '\0';
    char *line = smaps_buffer;
    for (char *end = strchr(line, '\n'); end != NULL; line = end + 1, end = strchr(line, '\n')) {
      *end = '\0';
      char *rest = NULL;
      const uintptr_t start = strtoul(line, &rest, 16);
      if (rest != line && *rest == '-') {
        const char *permissions = strchr(rest, ' ');
        inside = start >= low && start < high && permissions != NULL && permissions[1] == 'r';
        heap = strstr(line, "[heap]") != NULL;
        if (inside) residency->areas += 1;
      } else if (inside && strncmp(line, "Rss:", 4) == 0) {
        residency->resident_bytes += strtol(line + 4, NULL, 10) * 1024;
      } else if (inside && strncmp(line, "AnonHugePages:", 14) == 0) {
        residency->huge_bytes += strtol(line + 14, NULL, 10) * 1024;
      } else if (heap && strncmp(line, "Rss:", 4) == 0) {
        residency->heap_resident_bytes += strtol(line + 4, NULL, 10) * 1024;
      }
    }
    kept = length - (size_t)(line - smaps_buffer);
    memmove(smaps_buffer, line, kept);
  }
  close(descriptor);
  if (residency->heap_resident_bytes > real->heap_resident_peak_bytes)
    real->heap_resident_peak_bytes = residency->heap_resident_bytes;
  if (residency->areas > real->areas_peak) real->areas_peak = residency->areas;
  real->own_faults += thread_faults() - faults_before;
}

static void touch_heap(hak_real *real, int64_t object, int64_t touched) {
  char *block = real->heap_block[object];
  for (int64_t page = 0; page < touched; page += 1) {
    const int64_t at = page * HAK_PAGE_BYTES;
    if (at < real->heap_bytes[object]) ((volatile char *)block)[at] = 1;
    if (real->fills) {
      const int64_t left = real->heap_bytes[object] - at;
      memset(block + at, 1, (size_t)(left < HAK_PAGE_BYTES ? left : HAK_PAGE_BYTES));
    }
  }
}

static void heap_holds(hak_real *real, int64_t object, void *block, int64_t size_bytes, int64_t touched) {
  if (block == NULL) {
    refused(&real->kernel, "malloc", 0, hak_pages_of(size_bytes));
    return;
  }
  real->heap_block[object] = block;
  real->heap_bytes[object] = size_bytes;
  touch_heap(real, object, touched);
}

static void grow_heap(hak_real *real, int64_t objects) {
  int64_t after = real->heap_objects * 2;
  if (after < objects) after = objects;
  const size_t before_bytes = sizeof(void *) * (size_t)real->heap_objects;
  real->heap_block = hak_memory_grow(real->memory, real->heap_block, before_bytes, sizeof(void *) * (size_t)after);
  real->heap_bytes = hak_memory_grow(real->memory, real->heap_bytes, before_bytes, sizeof(int64_t) * (size_t)after);
  real->heap_objects = after;
}

static void real_heap_allocate(hak_kernel *kernel, int64_t object, int kind, int64_t size_bytes, int64_t align, int64_t touched) {
  hak_real *real = real_of(kernel);
  if (object >= real->heap_objects) grow_heap(real, object + 1);
  void *block = NULL;
  if (kind == HAK_OP_CALLOC)
    block = calloc(1, (size_t)size_bytes);
  else if (kind == HAK_OP_ALIGNED && align > HAK_HEAP_ALIGN_BYTES) {
    if (posix_memalign(&block, (size_t)align, (size_t)size_bytes) != 0) block = NULL;
  } else
    block = malloc((size_t)size_bytes);
  heap_holds(real, object, block, size_bytes, touched);
}

static void real_heap_reallocate(hak_kernel *kernel, int64_t object, int64_t size_bytes, int64_t touched) {
  hak_real *real = real_of(kernel);
  /* realloc to nothing would free: one byte keeps the object. */
  void *block = realloc(real->heap_block[object], size_bytes > 0 ? (size_t)size_bytes : 1);
  heap_holds(real, object, block, size_bytes, touched);
}

static void real_heap_free(hak_kernel *kernel, int64_t object) { free(real_of(kernel)->heap_block[object]); }

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)context;
  char text[128];
  const int length = snprintf(text, sizeof text, "hak-replay: signal %d: a touch outside any block, at %p\n", signal, info->si_addr);
  if (write(STDERR_FILENO, text, (size_t)length) < 0) _exit(71);
  _exit(70);
}

bool hak_real_open(hak_real *real, hak_memory *memory, int64_t region_bytes, bool fills, int watching) {
  memset(real, 0, sizeof *real);
  real->memory = memory;
  real->fills = fills;
  real->region_bytes = region_bytes;
  real->kernel = (hak_kernel){
      .map = real_map,
      .unmap = real_unmap,
      .advise_huge = real_advise_huge,
      .advise_no_huge = real_advise_no_huge,
      .dontneed = real_dontneed,
      .dontneed_vector = real_dontneed_vector,
      .free = real_free,
      .touch = real_touch,
      .read = real_read,
      .verify = real_verify,
      .residency = real_residency,
      .heap_allocate = real_heap_allocate,
      .heap_reallocate = real_heap_reallocate,
      .heap_free = real_heap_free,
  };
  if (watching == HAK_REAL_BARE) hak_real_bare(real);
  if (watching == HAK_REAL_IDLE) hak_real_idle(real);
  /* The C library grows by brk alone: whatever it mapped by itself could land in the region. */
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TOP_PAD, HAK_HEAP_TOP_PAD_BYTES);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_ARENA_MAX, 1);
  free(malloc(1));
  real->heap_objects = 1024;
  real->heap_block = hak_memory_grow(memory, NULL, 0, sizeof(void *) * (size_t)real->heap_objects);
  real->heap_bytes = hak_memory_grow(memory, NULL, 0, sizeof(int64_t) * (size_t)real->heap_objects);
  real->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  real->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  const size_t window_bytes = HAK_WINDOW_PAGES * HAK_PAGE_BYTES;
  const size_t reserved_bytes = (size_t)region_bytes + 2 * HAK_GUARD_BYTES + window_bytes;
  char *reserved = mmap(NULL, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) {
    snprintf(real->kernel.trouble, sizeof real->kernel.trouble, "cannot reserve a region of %lld bytes: %s",
             (long long)region_bytes, strerror(errno));
    return false;
  }
  const uintptr_t first = ((uintptr_t)reserved + HAK_GUARD_BYTES + window_bytes - 1) / window_bytes * window_bytes;
  real->base = (char *)first;
  if (munmap(real->base, (size_t)region_bytes) != 0) {
    snprintf(real->kernel.trouble, sizeof real->kernel.trouble, "cannot open the region: %s", strerror(errno));
    return false;
  }
  if (real->pagemap >= 0) {
    is_huge(real, 0);
    if (errno == ENOTTY || errno == EINVAL) {
      close(real->pagemap);
      real->pagemap = -1;
    }
  }
  real->kernel.huge_faults_unknown = real->pagemap < 0;
  return true;
}

void hak_real_begin(hak_real *real) {
  hak_residency warm;
  real_residency(&real->kernel, &warm);
  real_residency(&real->kernel, &warm);
  real->heap_resident_peak_bytes = 0;
  real->areas_peak = 0;
  real->own_faults = -real->memory->faults;
  real->faults_before = thread_faults();
  real->cpu_before_ns = thread_cpu_ns();
}

void hak_real_end(hak_real *real, hak_measured *measured) {
  measured->real = true;
  measured->cpu_ns = thread_cpu_ns() - real->cpu_before_ns;
  const int64_t own_faults = real->own_faults + real->memory->faults;
  measured->slow_touches = real->slow_touches;
  measured->heap_faults = thread_faults() - real->faults_before - real->kernel.faults - own_faults;
  measured->heap_resident_peak_bytes = real->heap_resident_peak_bytes;
}
