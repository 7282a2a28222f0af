/**
 * Preloaded into a program, proves by what malloc does which settings of glibc are live in it: before main and at the end.
 *
 * Nothing is believed: each value is found by allocating at it and right below. That disturbs a heap, so each is tried in a
 * forked child, whose other settings are put out of the way with mallopt; the program's own heap is left alone. Calls of
 * mallopt and exec are noted with who made them. Lines of JSON go into a file that is mapped, not open, so that a
 * program may close whatever it likes; native/verify-setting.ts reads them. docs/SETTINGS.md tells what proves what.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
  LINE_BYTES = 8192,
  PATH_BYTES = 1024,
  EVIDENCE_BYTES = 200,
  SETTINGS_MAX = 16,
  PROBE_SECONDS = 20,
  LEAVE_SECONDS = 60,
  KIB = 1024,
  MIB = 1024 * KIB,
  PAGE_BYTES = 4096,
  HUGE_BYTES = 2 * MIB,
  /* Of glibc's chunks, on 64 bits. */
  HEADER_BYTES = 8,
  CHUNK_STEP_BYTES = 16,
  CHUNK_LEAST_BYTES = 32,
  /* free looks at the trim threshold only where it made a free stretch of this size. */
  TRIM_LEAST_BYTES = 64 * KIB,
  TCACHE_COUNT_MAX = 65535,
  MMAP_BLOCKS_MAX = 70000,
  /* Four times what glibc's own adjustment ever comes to. */
  UNUSUAL_BYTES = 256 * MIB,
  THREADS_MAX = 512,
  SPLIT_ATTEMPTS_MAX = 50 * 1000 * 1000,
};
#define PROBED_MOST_BYTES ((size_t)1 << 36)

/* ---- the report ---- */

/** Mirrors native/verify-setting.ts. Lines follow the head; each is written whole before the next is begun by its thread. */
struct report {
  char magic[8];
  uint32_t file_bytes, used_bytes, lost_lines, images;
  char text[];
};

static struct report *report;
static uint32_t image;
/** Of the process that runs the program; a child made by vfork shares this memory and must not end in its name. */
static pid_t owner;
static char wanted_environment[4096], asked_text[1024], report_path[PATH_BYTES];
static bool ended, glibc_serves;

static int (*real_mallopt)(int, int);
static int (*real_execve)(const char *, char *const[], char *const[]);
static int (*real_execvpe)(const char *, char *const[], char *const[]);
static int (*real_posix_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                               char *const[], char *const[]);
static int (*real_posix_spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                                char *const[], char *const[]);

static void write_line(const char *line, size_t length) {
  if (report == NULL) return;
  const uint32_t at = __atomic_fetch_add(&report->used_bytes, (uint32_t)length, __ATOMIC_RELAXED);
  if (sizeof *report + at + length > report->file_bytes) {
    __atomic_fetch_add(&report->lost_lines, 1, __ATOMIC_RELAXED);
    return;
  }
  memcpy(report->text + at, line, length);
}

/** Text being built; what does not fit makes it unreadable, which the reader counts as lost. */
struct line {
  char text[LINE_BYTES];
  size_t length;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...) {
  va_list values;
  va_start(values, format);
  const int length = vsnprintf(line->text + line->length, LINE_BYTES - line->length, format, values);
  va_end(values);
  if (length > 0) line->length += (size_t)length;
  if (line->length >= LINE_BYTES) line->length = LINE_BYTES - 1;
}

static void add_string(struct line *line, const char *name, const char *value) {
  add(line, ", \"%s\": \"", name);
  for (const char *at = value; *at != '\0' && line->length < LINE_BYTES - 8; at += 1) {
    const unsigned char byte = (unsigned char)*at;
    if (byte < 0x20 || byte == '"' || byte == '\\')
      add(line, "\\u%04x", byte);
    else
      line->text[line->length++] = (char)byte;
  }
  add(line, "\"");
}

static void begin_line(struct line *line, const char *kind) {
  line->length = 0;
  add(line, "{\"kind\": \"%s\", \"pid\": %d, \"image\": %u", kind, (int)getpid(), image);
}

static void end_line(struct line *line) {
  add(line, "}\n");
  write_line(line->text, line->length);
}

static void copy_variable(const char *name, char *to, size_t bytes) {
  const char *value = getenv(name);
  snprintf(to, bytes, "%s", value == NULL ? "" : value);
}

/** Where `address` comes from: the file it was loaded from and the offset in it. */
static void module_of(const void *address, char *text, size_t bytes, bool with_offset) {
  Dl_info info;
  if (dladdr(address, &info) == 0 || info.dli_fname == NULL)
    snprintf(text, bytes, "%s", "unknown");
  else if (with_offset)
    snprintf(text, bytes, "%s+0x%zx", info.dli_fname, (size_t)((const char *)address - (const char *)info.dli_fbase));
  else
    snprintf(text, bytes, "%s", info.dli_fname);
}

/** The malloc that the program calls. A main program that takes its address without PIE gives it an address of its own. */
static void *serving_malloc(void) {
  void *found = dlsym(RTLD_DEFAULT, "malloc");
  Dl_info info;
  ElfW(Sym) *symbol = NULL;
  if (found != NULL && dladdr1(found, &info, (void **)&symbol, RTLD_DL_SYMENT) != 0 && symbol != NULL &&
      symbol->st_shndx == SHN_UNDEF)
    return dlsym(RTLD_NEXT, "malloc");
  return found;
}

static bool same_module(const void *a, const void *b) {
  Dl_info of_a, of_b;
  return dladdr(a, &of_a) != 0 && dladdr(b, &of_b) != 0 && of_a.dli_fbase == of_b.dli_fbase;
}

static void attach(void) {
  if (report != NULL) return;
  copy_variable("HAKMEM_VERIFY", report_path, sizeof report_path);
  if (report_path[0] == '\0') return;
  const int file = open(report_path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  struct stat found;
  if (fstat(file, &found) == 0 && found.st_size > (off_t)sizeof(struct report)) {
    void *mapped = mmap(NULL, (size_t)found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) report = mapped;
  }
  close(file);
  if (report == NULL) return;
  owner = getpid();
  image = __atomic_fetch_add(&report->images, 1, __ATOMIC_RELAXED);
  copy_variable("HAKMEM_VERIFY_ENVIRONMENT", wanted_environment, sizeof wanted_environment);
  copy_variable("HAKMEM_VERIFY_ASKED", asked_text, sizeof asked_text);
}

/* ---- probes: each runs in a child of its own ---- */

struct setting {
  char name[24];
  size_t value;
};

/** What a probe found, in memory that the child shares with the program. */
struct reading {
  bool done;
  int holds;   /* 1 the value asked for, 0 another, -1 cannot be told */
  bool known;  /* whether `found` is a value */
  size_t found;
  char evidence[EVIDENCE_BYTES];
};

__attribute__((format(printf, 3, 4))) static void conclude(struct reading *reading, int holds, const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(reading->evidence, sizeof reading->evidence, format, values);
  va_end(values);
  reading->holds = holds;
}

static void conclude_found(struct reading *reading, bool holds, size_t found) {
  reading->holds = holds;
  reading->known = true;
  reading->found = found;
}

/** The compiler knows what malloc promises, and that nothing lies before a block; here it does. */
static void *allocate(size_t bytes) {
  void *block = malloc(bytes);
  __asm__ volatile("" : "+r"(block) : : "memory");
  return block;
}

static size_t head_of(const void *block) { return ((const size_t *)block)[-1]; }
static char *chunk_of(void *block) { return (char *)block - 2 * HEADER_BYTES; }
static size_t chunk_bytes(const void *block) { return head_of(block) & ~(size_t)7; }
static bool is_mapped(const void *block) { return (head_of(block) & 2) != 0; }
static bool is_of_other_arena(const void *block) { return (head_of(block) & 4) != 0; }
static size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }
static size_t request_of(size_t chunk) { return chunk - HEADER_BYTES; }
/** glibc's own: what a request takes. */
static size_t chunk_for(size_t request) {
  const size_t chunk = round_up(request + HEADER_BYTES, CHUNK_STEP_BYTES);
  return chunk < CHUNK_LEAST_BYTES ? CHUNK_LEAST_BYTES : chunk;
}

static const char foreign_heap[] = "the heap does not end where malloc's does, or cannot grow";

enum way { WAY_HEAP, WAY_MAPPED, WAY_UNKNOWN };

/** How a block of `chunk` bytes is served when nothing free can serve it: free memory is used up first. */
static enum way way_of(size_t chunk) {
  for (int attempt = 0; attempt < SPLIT_ATTEMPTS_MAX; attempt += 1) {
    const char *before = sbrk(0);
    char *block = allocate(request_of(chunk));
    if (block == NULL) return WAY_UNKNOWN;
    if (is_mapped(block)) return WAY_MAPPED;
    if (is_of_other_arena(block)) return WAY_UNKNOWN;
    if ((const char *)sbrk(0) != before || block > before) return WAY_HEAP;
  }
  return WAY_UNKNOWN;
}

/** Makes the heap grow, so that its last free stretch is known: from the returned place to sbrk(0). NULL where it is not so. */
static char *find_top(void) {
  for (int attempt = 0; attempt < SPLIT_ATTEMPTS_MAX; attempt += 1) {
    const char *before = sbrk(0);
    char *block = allocate(MIB);
    if (block == NULL || is_mapped(block) || is_of_other_arena(block) || block > (const char *)sbrk(0)) return NULL;
    if ((const char *)sbrk(0) == before) continue;
    char *top = chunk_of(block) + chunk_bytes(block);
    return top + (((size_t *)top)[1] & ~(size_t)7) == (char *)sbrk(0) ? top : NULL;
  }
  return NULL;
}

/** A block from the top itself, not from what is free below it. */
static void *take_top(char **top, size_t chunk) {
  for (int attempt = 0; attempt < SPLIT_ATTEMPTS_MAX; attempt += 1) {
    char *block = allocate(request_of(chunk));
    if (block == NULL || is_mapped(block)) return NULL;
    if (chunk_of(block) != *top) continue;
    *top += chunk_bytes(block);
    return block;
  }
  return NULL;
}

static void probe_mmap_threshold(size_t asked, struct reading *reading) {
  real_mallopt(M_TOP_PAD, 0);
  real_mallopt(M_MMAP_MAX, INT32_MAX);
  if (asked > PROBED_MOST_BYTES) {
    const enum way way = way_of(UNUSUAL_BYTES);
    return conclude(reading, way == WAY_UNKNOWN ? -1 : way == WAY_HEAP, "a chunk of 256 MiB is %s; larger ones were not tried",
                    way == WAY_MAPPED ? "mapped" : way == WAY_HEAP ? "not mapped" : "not to be had");
  }
  const size_t at = round_up(asked < CHUNK_LEAST_BYTES ? CHUNK_LEAST_BYTES : asked, CHUNK_STEP_BYTES);
  const size_t below = asked > CHUNK_LEAST_BYTES ? round_up(asked, CHUNK_STEP_BYTES) - CHUNK_STEP_BYTES : 0;
  const enum way way_below = below < CHUNK_LEAST_BYTES ? WAY_HEAP : way_of(below);
  const enum way way_at = way_of(at);
  if (way_at == WAY_MAPPED && way_below == WAY_HEAP) {
    conclude(reading, 1, "a chunk of %zu bytes is mapped, one of %zu is not", at, below);
    conclude_found(reading, true, asked);
    return;
  }
  if (way_at == WAY_UNKNOWN || way_below == WAY_UNKNOWN)
    return conclude(reading, -1, "chunks of %zu bytes cannot be had", at);
  size_t low = 0, high = 0;
  if (way_at == WAY_MAPPED && way_below == WAY_MAPPED) high = below;
  for (size_t tried = high != 0 ? high : at < MIB ? MIB : at; high == 0 && tried <= PROBED_MOST_BYTES; tried *= 2) {
    const enum way way = way_of(round_up(tried, CHUNK_STEP_BYTES));
    if (way == WAY_UNKNOWN) break;
    if (way == WAY_MAPPED) high = round_up(tried, CHUNK_STEP_BYTES);
    else low = tried;
  }
  if (high == 0) {
    conclude(reading, low >= at ? 0 : -1, "chunks of up to %zu bytes are not mapped; larger ones cannot be had", low);
    return;
  }
  while (high - low > CHUNK_STEP_BYTES) {
    const size_t middle = round_up(low + (high - low) / 2, CHUNK_STEP_BYTES);
    if (middle == high || middle < CHUNK_LEAST_BYTES) break;
    if (way_of(middle) == WAY_MAPPED) high = middle;
    else low = middle;
  }
  conclude(reading, 0, "a chunk of %zu bytes is mapped, one of %zu is not", high, low);
  conclude_found(reading, false, high);
}

/** Frees a block so that the free top has exactly `bytes`: does the heap shrink? -1 where it cannot be tried. */
static int trims_at(char **top, size_t bytes) {
  const size_t filler = TRIM_LEAST_BYTES + (size_t)(-(uintptr_t)(*top + bytes)) % PAGE_BYTES;
  if (take_top(top, filler) == NULL) return -1;
  char *start = *top;
  void *block = take_top(top, bytes - CHUNK_LEAST_BYTES);
  if (block == NULL || (char *)sbrk(0) != start + bytes) return -1;
  free(block);
  *top = start;
  if ((char *)sbrk(0) < start + bytes) return 1;
  malloc_trim(0);
  return 0;
}

static void probe_trim_threshold(size_t asked, struct reading *reading) {
  real_mallopt(M_MMAP_MAX, 0);
  real_mallopt(M_TOP_PAD, 0);
  char *top = find_top();
  if (top == NULL) return conclude(reading, -1, "%s", foreign_heap);
  if (asked > PROBED_MOST_BYTES) {
    const int given = trims_at(&top, UNUSUAL_BYTES);
    return conclude(reading, given < 0 ? -1 : given == 0, "a free top of 256 MiB is %s; larger ones were not tried",
                    given == 1 ? "given back" : given == 0 ? "kept" : "not to be had");
  }
  const size_t at = round_up(asked < TRIM_LEAST_BYTES ? TRIM_LEAST_BYTES : asked, CHUNK_STEP_BYTES);
  const size_t below = at - CHUNK_STEP_BYTES;
  const int kept = asked <= TRIM_LEAST_BYTES ? 0 : trims_at(&top, below);
  const int given = kept < 0 ? -1 : trims_at(&top, at);
  if (kept < 0 || given < 0) return conclude(reading, -1, "%s", foreign_heap);
  if (kept == 0 && given == 1) {
    conclude(reading, 1, "a free top of %zu bytes is given back, one of %zu is kept", at, below);
    conclude_found(reading, true, asked);
    return;
  }
  size_t low = kept == 0 ? at : TRIM_LEAST_BYTES - CHUNK_STEP_BYTES, high = kept == 1 ? below : 0;
  for (size_t tried = low * 2; high == 0 && tried <= PROBED_MOST_BYTES; tried *= 2) {
    const int gives = trims_at(&top, tried);
    if (gives < 0) break;
    if (gives == 1) high = tried;
    else low = tried;
  }
  if (high == 0) return conclude(reading, 0, "a free top of %zu bytes is kept", low);
  while (high - low > CHUNK_STEP_BYTES) {
    const size_t middle = round_up(low + (high - low) / 2, CHUNK_STEP_BYTES);
    if (middle == high) break;
    const int gives = trims_at(&top, middle);
    if (gives < 0) return conclude(reading, 0, "a free top of %zu bytes is given back, one of %zu is kept", high, low);
    if (gives == 1) high = middle;
    else low = middle;
  }
  conclude(reading, 0, "a free top of %zu bytes is given back, one of %zu is kept", high, low);
  conclude_found(reading, false, high);
}

/** Makes the heap grow for a block that its top cannot serve, with `slack` more; returns what was added beyond the need. */
static size_t grown_beyond_need(char **top, size_t slack, bool *ok) {
  const size_t rest = (size_t)((char *)sbrk(0) - *top);
  const size_t chunk = round_up(rest + PAGE_BYTES, CHUNK_STEP_BYTES) + slack;
  const char *before = sbrk(0);
  *ok = take_top(top, chunk) != NULL && (const char *)sbrk(0) > before;
  return (size_t)((const char *)sbrk(0) - before) - (chunk + CHUNK_LEAST_BYTES - rest);
}

static void probe_top_pad(size_t asked, struct reading *reading) {
  real_mallopt(M_MMAP_MAX, 0);
  char *top = find_top();
  if (top == NULL) return conclude(reading, -1, "%s", foreign_heap);
  bool ok;
  const size_t first = grown_beyond_need(&top, 0, &ok);
  if (!ok) return conclude(reading, -1, "%s", foreign_heap);
  /* Growth is rounded to pages: the pad is at most `high` and more than `low`, until the slack tells them apart. */
  size_t high = first, low = first >= PAGE_BYTES ? first - PAGE_BYTES : 0;
  const bool may_be_zero = first < PAGE_BYTES;
  while (high - low > CHUNK_STEP_BYTES || (may_be_zero && high > 0 && low == 0)) {
    const size_t middle = low + (high - low) / 2 / CHUNK_STEP_BYTES * CHUNK_STEP_BYTES;
    /* Need plus `middle` is a whole number of pages: a pad of no more than that adds nothing to it. */
    const size_t rest = (size_t)((char *)sbrk(0) - top);
    const size_t need = round_up(rest + PAGE_BYTES, CHUNK_STEP_BYTES) + CHUNK_LEAST_BYTES - rest + middle;
    const size_t beyond = grown_beyond_need(&top, (PAGE_BYTES - need % PAGE_BYTES) % PAGE_BYTES, &ok);
    if (!ok) return conclude(reading, -1, "%s", foreign_heap);
    if (beyond <= middle) high = middle;
    else if (low == middle) break;
    else low = middle;
  }
  const bool holds = asked <= high && high < asked + CHUNK_STEP_BYTES;
  if (!holds && (uintptr_t)sbrk(0) % HUGE_BYTES == 0) return conclude(reading, -1, "the heap grows by whole huge pages");
  conclude(reading, holds, "the heap grew by %zu bytes more than was needed, as far as pages tell", high);
  conclude_found(reading, holds, holds ? asked : high);
}

static int mapped_blocks(void) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  return mallinfo().hblks;
#pragma GCC diagnostic pop
}

static void probe_mmap_max(size_t asked, struct reading *reading) {
  const size_t block_bytes = 64 * KIB;
  real_mallopt(M_TOP_PAD, 0);
  real_mallopt(M_MMAP_THRESHOLD, (int)block_bytes);
  const size_t held = (size_t)mapped_blocks();
  size_t mapped = 0, waiting = 0;
  char *low = NULL;
  enum way way = WAY_MAPPED;
  while (way == WAY_MAPPED && held + mapped <= asked && mapped < MMAP_BLOCKS_MAX) {
    const char *before = sbrk(0);
    char *block = allocate(block_bytes);
    if (block == NULL || (!is_mapped(block) && is_of_other_arena(block))) {
      way = WAY_UNKNOWN;
    } else if (is_mapped(block)) {
      mapped += 1;
      /* Each has one page resident, its first: given back by the thousand where they lie side by side. */
      char *chunk = chunk_of(block);
      const bool adjoins = chunk + chunk_bytes(block) == low;
      if (!adjoins || waiting == 1000) {
        if (adjoins) madvise(low, waiting * chunk_bytes(block), MADV_DONTNEED);
        waiting = 0;
      }
      waiting += 1;
      low = chunk;
    } else if ((const char *)sbrk(0) != before) {
      way = WAY_HEAP;
    }
  }
  const size_t found = held + mapped;
  if (way == WAY_UNKNOWN) return conclude(reading, -1, "%s", foreign_heap);
  if (way == WAY_MAPPED)
    return conclude(reading, found > asked ? 0 : -1, "%zu blocks are mapped at once, and there may be more", found);
  conclude(reading, found == asked, "of large blocks %zu are mapped at once (%zu by the program), the next is not", found, held);
  conclude_found(reading, found == asked, found);
}

static pthread_barrier_t all_allocated;

static void *allocate_beside_others(void *unused) {
  (void)unused;
  void *volatile block = allocate(100);
  (void)block;
  pthread_barrier_wait(&all_allocated);
  pthread_barrier_wait(&all_allocated);
  return NULL;
}

/** How many arenas there are when so many threads allocate at once; 0 where it cannot be told. */
static size_t arenas_with(unsigned threads) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * KIB);
  pthread_barrier_init(&all_allocated, NULL, threads + 1);
  for (unsigned at = 0; at < threads; at += 1) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, allocate_beside_others, NULL) != 0) return 0;
  }
  pthread_barrier_wait(&all_allocated);
  char *text = NULL;
  size_t bytes = 0, arenas = 0;
  FILE *stream = open_memstream(&text, &bytes);
  if (stream == NULL || malloc_info(0, stream) != 0 || fclose(stream) != 0) return 0;
  for (const char *at = text; (at = strstr(at, "<heap nr=")) != NULL; at += 1) arenas += 1;
  return arenas;
}

static void probe_arena_max(size_t asked, struct reading *reading) {
  if (asked + 2 > THREADS_MAX) return conclude(reading, -1, "no more than %d threads are tried", THREADS_MAX);
  const unsigned threads = (unsigned)asked + 2;
  const size_t found = arenas_with(threads);
  if (found == 0) return conclude(reading, -1, "threads cannot be started here");
  conclude(reading, found == asked, "of %u threads that allocate at once, arenas: %zu%s", threads, found,
           found > threads ? ", one each" : "");
  if (found <= threads) conclude_found(reading, found == asked, found);
}

static void probe_arena_test(size_t asked, struct reading *reading) {
  cpu_set_t processors;
  const size_t usual = sched_getaffinity(0, sizeof processors, &processors) == 0 ? 8 * (size_t)CPU_COUNT(&processors) : 16;
  const size_t expected = asked + 1 > usual ? asked + 1 : usual;
  if (expected + 2 > THREADS_MAX) return conclude(reading, -1, "no more than %d threads are tried", THREADS_MAX);
  const size_t found = arenas_with((unsigned)expected + 2);
  if (found == 0) return conclude(reading, -1, "threads cannot be started here");
  if (found != expected)
    return conclude(reading, 0, "%zu threads have %zu arenas, where %zu were expected", expected + 2, found, expected);
  if (asked + 1 <= usual)
    return conclude(reading, -1, "%zu arenas, as with any value below %zu: eight arenas a processor are made anyway", found,
                    usual);
  conclude(reading, 1, "%zu threads that allocate at once have %zu arenas", expected + 2, found);
  conclude_found(reading, true, asked);
}

/** A top from which small blocks can be taken one behind the other. */
static char *top_for_small(void) {
  real_mallopt(M_MMAP_MAX, 0);
  return find_top();
}

static void probe_tcache_count(size_t asked, struct reading *reading) {
  real_mallopt(M_MXFAST, 0);
  char *top = top_for_small();
  if (top == NULL) return conclude(reading, -1, "%s", foreign_heap);
  const size_t many = TCACHE_COUNT_MAX + 5;
  char *first = take_top(&top, CHUNK_LEAST_BYTES);
  if (first == NULL) return conclude(reading, -1, "%s", foreign_heap);
  for (size_t at = 1; at < many; at += 1)
    if (allocate(request_of(CHUNK_LEAST_BYTES)) != first + at * CHUNK_LEAST_BYTES)
      return conclude(reading, -1, "%s", foreign_heap);
  char *last = first + (many - 1) * CHUNK_LEAST_BYTES;
  for (size_t at = 0; at < many; at += 1) free(last - at * CHUNK_LEAST_BYTES);
  /* The cache gives back last what it took last; where it took nothing, all became one free stretch and its start is next. */
  char *next = allocate(request_of(CHUNK_LEAST_BYTES));
  const size_t index = (size_t)(last - next) / CHUNK_LEAST_BYTES;
  const size_t found = next == first ? 0 : index + 1;
  conclude(reading, found == asked, "of %zu blocks of a size freed one after the other the thread's cache keeps %zu", many, found);
  conclude_found(reading, found == asked, found);
}

/** Whether the chunk before `block` counts as in use: free chunks that wait in caches or fast bins do. */
static bool is_kept_apart(const void *block) { return (head_of(block) & 1) != 0; }

static void probe_tcache_max(size_t asked, struct reading *reading) {
  real_mallopt(M_MXFAST, 0);
  char *top = top_for_small();
  if (top == NULL) return conclude(reading, -1, "%s", foreign_heap);
  size_t largest = 0;
  for (size_t chunk = CHUNK_LEAST_BYTES; chunk <= 2 * KIB; chunk += CHUNK_STEP_BYTES) {
    void *block = take_top(&top, chunk), *guard = take_top(&top, 4 * KIB);
    if (block == NULL || guard == NULL) return conclude(reading, -1, "%s", foreign_heap);
    free(block);
    if (is_kept_apart(guard)) largest = chunk;
  }
  if (largest == 0) return conclude(reading, -1, "the thread's cache keeps nothing: its count is 0");
  const bool holds = largest == chunk_for(asked);
  conclude(reading, holds, "blocks of up to %zu bytes stay in the thread's cache, larger ones do not", request_of(largest));
  conclude_found(reading, holds, holds ? asked : request_of(largest));
}

/**
 * Frees up to `many` blocks of a size one after the other: how many were kept apart before one was not. -1 where they
 * cannot be had side by side.
 */
static long kept_in_a_row(char **top, size_t chunk, long many) {
  char *first = take_top(top, chunk);
  for (long at = 1; at <= many && first != NULL; at += 1)
    if (take_top(top, chunk) != first + at * (long)chunk) return -1;
  if (first == NULL) return -1;
  for (long at = 0; at < many; at += 1) {
    free(first + at * (long)chunk);
    if (!is_kept_apart(first + (at + 1) * (long)chunk)) return at;
  }
  return many;
}

static void probe_mxfast(size_t asked, struct reading *reading) {
  char *top = top_for_small();
  if (top == NULL) return conclude(reading, -1, "%s", foreign_heap);
  const size_t never_fast = 160 + CHUNK_STEP_BYTES, expected = asked == 0 ? 0 : (asked + HEADER_BYTES) & ~(size_t)15;
  /* What the thread's cache takes is kept apart too: more must be freed than that. */
  const long cached = kept_in_a_row(&top, never_fast, TCACHE_COUNT_MAX + 1);
  const long many = cached > 0 ? cached + 1 : TCACHE_COUNT_MAX + 1;
  size_t largest = 0;
  for (size_t chunk = CHUNK_LEAST_BYTES; chunk < never_fast; chunk += CHUNK_STEP_BYTES) {
    const long kept = cached < 0 ? -1 : kept_in_a_row(&top, chunk, many);
    if (kept < 0) return conclude(reading, -1, "%s", foreign_heap);
    if (kept == many) largest = chunk;
  }
  const bool holds = expected < CHUNK_LEAST_BYTES ? largest == 0 : largest == expected;
  conclude(reading, holds, "freed chunks of up to %zu bytes go to fast bins, larger ones do not", largest);
  conclude_found(reading, holds, holds ? asked : largest == 0 ? 0 : largest - HEADER_BYTES);
}

static void probe_perturb(size_t asked, struct reading *reading) {
  const unsigned char own = 0x5a;
  char *top = top_for_small();
  if (top == NULL) return conclude(reading, -1, "%s", foreign_heap);
  const size_t bytes = 5000, skipped = 64;
  unsigned char *block = take_top(&top, chunk_for(bytes));
  if (block == NULL || take_top(&top, chunk_for(bytes)) == NULL) return conclude(reading, -1, "%s", foreign_heap);
  memset(block, own, bytes);
  free(block);
  unsigned char *again = allocate(bytes);
  if (again != block) return conclude(reading, -1, "a freed block was not used again");
  bool filled = true;
  for (size_t at = skipped; at < bytes; at += 1) filled = filled && again[at] == again[skipped];
  const size_t found = !filled || again[skipped] == own ? 0 : (size_t)(again[skipped] ^ 0xff);
  conclude(reading, found == asked, found == 0 ? "a new block holds what was in it before" : "a new block is filled with 0x%02x",
           (unsigned)again[skipped]);
  conclude_found(reading, found == asked, found);
}

/** Whether the kernel's flags of the area at `address` have `flag` among them. */
static bool area_has_flag(const void *address, const char *flag) {
  FILE *areas = fopen("/proc/self/smaps", "r");
  char line[512];
  bool inside = false, has = false;
  while (areas != NULL && fgets(line, sizeof line, areas) != NULL) {
    size_t low, high;
    if (sscanf(line, "%zx-%zx ", &low, &high) == 2) inside = low <= (size_t)address && (size_t)address < high;
    else if (inside && strncmp(line, "VmFlags:", 8) == 0) has = strstr(line, flag) != NULL;
  }
  if (areas != NULL) fclose(areas);
  return has;
}

static void probe_hugetlb(size_t asked, struct reading *reading) {
  real_mallopt(M_MMAP_MAX, INT32_MAX);
  real_mallopt(M_MMAP_THRESHOLD, 4 * MIB);
  char *block = allocate(64 * (size_t)MIB);
  if (block == NULL) return conclude(reading, -1, "64 MiB cannot be had");
  const bool reserved = area_has_flag(block, " ht"), advised = area_has_flag(block, " hg");
  const size_t found = reserved ? 2 : advised ? 1 : 0;
  const bool holds = asked >= 2 ? reserved : asked == found;
  conclude(reading, holds, "a block of 64 MiB is %s",
           reserved ? "of reserved huge pages" : advised ? "advised to have huge pages" : "of usual pages");
  conclude_found(reading, holds, holds ? asked : found);
}

static const struct probe {
  const char *name;
  void (*run)(size_t asked, struct reading *reading);
} probes[] = {
    {"mmap_threshold", probe_mmap_threshold},
    {"trim_threshold", probe_trim_threshold},
    {"top_pad", probe_top_pad},
    {"mmap_max", probe_mmap_max},
    {"arena_max", probe_arena_max},
    {"arena_test", probe_arena_test},
    {"tcache_count", probe_tcache_count},
    {"tcache_max", probe_tcache_max},
    {"mxfast", probe_mxfast},
    {"perturb", probe_perturb},
    {"hugetlb", probe_hugetlb},
};

/** A probe that waits for a thread whose arena is the first, the one with the heap. */
struct job {
  const struct probe *probe;
  size_t asked;
  struct reading *reading;
  bool ran;
  sem_t tried;
};

static bool has_first_arena(void) {
  const void *block = allocate(5000);
  return block != NULL && !is_of_other_arena(block);
}

static void *run_if_first(void *given) {
  struct job *job = given;
  if (has_first_arena()) {
    job->probe->run(job->asked, job->reading);
    job->ran = true;
  }
  sem_post(&job->tried);
  /* An arena that is held is not given to the next thread. */
  pause();
  return NULL;
}

/**
 * A process may end in any of its threads. In the forked child all arenas but that thread's are free, and new threads
 * take them one after the other.
 */
static void run_on_heap(const struct probe *probe, size_t asked, struct reading *reading) {
  if (has_first_arena()) return probe->run(asked, reading);
  struct job job = {.probe = probe, .asked = asked, .reading = reading};
  sem_init(&job.tried, 0, 0);
  for (int count = 0; count < THREADS_MAX && !job.ran; count += 1) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_if_first, &job) != 0) break;
    while (sem_wait(&job.tried) != 0) continue;
  }
  if (!job.ran) conclude(reading, -1, "no thread has the arena of the heap");
}

static void run_in_child(const struct probe *probe, size_t asked, struct reading *reading) {
  const pid_t child = fork();
  if (child == 0) {
    for (int number = 1; number < NSIG; number += 1) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    alarm(PROBE_SECONDS);
    run_on_heap(probe, asked, reading);
    reading->done = true;
    for (;;) syscall(SYS_exit_group, 0);
  }
  if (child < 0) return conclude(reading, -1, "the process cannot be forked: %s", strerror(errno));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!reading->done)
    conclude(reading, -1, "the forked child that tried it %s", WIFSIGNALED(status) ? "died or took too long" : "ended early");
}

static void run_probe(const struct setting *setting, struct reading *reading) {
  for (size_t at = 0; at < sizeof probes / sizeof probes[0]; at += 1)
    if (strcmp(probes[at].name, setting->name) == 0) return run_in_child(&probes[at], setting->value, reading);
  conclude(reading, -1, "nothing that malloc does shows it");
}

static size_t parse_asked(struct setting *settings) {
  size_t count = 0;
  for (const char *at = asked_text; *at != '\0' && count < SETTINGS_MAX; count += 1) {
    struct setting *setting = &settings[count];
    int length = 0;
    if (sscanf(at, "%23[a-z_]=%zu%n", setting->name, &setting->value, &length) < 2) break;
    at += length;
    if (*at == ',') at += 1;
  }
  return count;
}

static void read_settings(const char *when) {
  if (!glibc_serves) return;
  struct setting settings[SETTINGS_MAX];
  const size_t count = parse_asked(settings);
  struct reading *reading =
      mmap(NULL, sizeof *reading, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (reading == MAP_FAILED) return;
  /* A program that handles or ignores the end of its children must not notice these. */
  struct sigaction usual = {.sa_handler = SIG_DFL}, theirs;
  sigaction(SIGCHLD, &usual, &theirs);
  struct line line;
  begin_line(&line, "reading");
  add(&line, ", \"when\": \"%s\", \"readings\": [", when);
  for (size_t at = 0; at < count; at += 1) {
    memset(reading, 0, sizeof *reading);
    run_probe(&settings[at], reading);
    add(&line, "%s{\"name\": \"%s\", \"holds\": %s", at == 0 ? "" : ", ", settings[at].name,
        reading->holds < 0 ? "null" : reading->holds ? "true" : "false");
    if (reading->known) add(&line, ", \"found\": %zu", reading->found);
    else add(&line, ", \"found\": null");
    add_string(&line, "evidence", reading->evidence);
    add(&line, "}");
  }
  add(&line, "]");
  end_line(&line);
  sigaction(SIGCHLD, &theirs, NULL);
  munmap(reading, sizeof *reading);
}

/* ---- what the program does ---- */

static const char *variable_in(char *const *environment, const char *name) {
  const size_t length = strlen(name);
  for (; environment != NULL && *environment != NULL; environment += 1)
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
  return NULL;
}

/** Whether every line of what is wanted (NAME=value) stands in the environment. */
static bool keeps_setting(char *const *environment) {
  for (const char *at = wanted_environment; *at != '\0';) {
    const size_t length = strcspn(at, "\n");
    bool found = false;
    for (char *const *each = environment; each != NULL && *each != NULL && !found; each += 1)
      found = strncmp(*each, at, length) == 0 && (*each)[length] == '\0';
    if (!found) return false;
    at += length + (at[length] == '\n');
  }
  return true;
}

static void note_program(const char *kind, const char *path, char *const *environment, pid_t child) {
  if (report == NULL) return;
  const char *preload = variable_in(environment, "LD_PRELOAD");
  const bool preloads = preload != NULL && strstr(preload, "libhakmem-verify") != NULL;
  struct line line;
  begin_line(&line, kind);
  add_string(&line, "path", path);
  add(&line, ", \"child\": %d, \"keeps_setting\": %s, \"keeps_preload\": %s, \"has_capabilities\": %s",
      (int)child, keeps_setting(environment) ? "true" : "false",
      preloads && variable_in(environment, "HAKMEM_VERIFY") != NULL ? "true" : "false",
      getxattr(path, "security.capability", NULL, 0) > 0 ? "true" : "false");
  end_line(&line);
}

static void note_failure(void) {
  if (report == NULL) return;
  const int reason = errno;
  struct line line;
  begin_line(&line, "exec_failed");
  end_line(&line);
  errno = reason;
}

/** Looks up what is wrapped, early: a child made by vfork may not. */
static void find_real(void) {
  *(void **)&real_mallopt = dlsym(RTLD_NEXT, "mallopt");
  *(void **)&real_execve = dlsym(RTLD_NEXT, "execve");
  *(void **)&real_execvpe = dlsym(RTLD_NEXT, "execvpe");
  *(void **)&real_posix_spawn = dlsym(RTLD_NEXT, "posix_spawn");
  *(void **)&real_posix_spawnp = dlsym(RTLD_NEXT, "posix_spawnp");
}

EXPORT int mallopt(int parameter, int value) {
  if (real_mallopt == NULL) find_real();
  attach();
  const int result = real_mallopt(parameter, value);
  if (report != NULL) {
    char caller[PATH_BYTES];
    module_of(__builtin_return_address(0), caller, sizeof caller, true);
    struct line line;
    begin_line(&line, "mallopt");
    add(&line, ", \"parameter\": %d, \"value\": %d, \"result\": %d", parameter, value, result);
    add_string(&line, "caller", caller);
    end_line(&line);
  }
  return result;
}

static int become(const char *path, char *const arguments[], char *const environment[], bool searches) {
  if (real_execve == NULL) find_real();
  note_program("exec", path, environment, getpid());
  const int result = (searches ? real_execvpe : real_execve)(path, arguments, environment);
  note_failure();
  return result;
}

EXPORT int execve(const char *path, char *const arguments[], char *const environment[]) {
  return become(path, arguments, environment, false);
}
EXPORT int execv(const char *path, char *const arguments[]) { return become(path, arguments, environ, false); }
EXPORT int execvp(const char *path, char *const arguments[]) { return become(path, arguments, environ, true); }
EXPORT int execvpe(const char *path, char *const arguments[], char *const environment[]) {
  return become(path, arguments, environment, true);
}

/** For the three that take their arguments one by one, and execle its environment behind them. */
static int become_listed(const char *path, const char *first, va_list *rest, bool searches, bool with_environment) {
  va_list counted;
  va_copy(counted, *rest);
  size_t count = 1;
  if (first != NULL)
    while (va_arg(counted, char *) != NULL) count += 1;
  va_end(counted);
  char *arguments[count + 1];
  arguments[0] = (char *)first;
  for (size_t at = 1; at <= count && first != NULL; at += 1) arguments[at] = va_arg(*rest, char *);
  arguments[count] = NULL;
  return become(path, arguments, with_environment ? va_arg(*rest, char *const *) : environ, searches);
}

EXPORT int execl(const char *path, const char *first, ...) {
  va_list rest;
  va_start(rest, first);
  const int result = become_listed(path, first, &rest, false, false);
  va_end(rest);
  return result;
}
EXPORT int execlp(const char *path, const char *first, ...) {
  va_list rest;
  va_start(rest, first);
  const int result = become_listed(path, first, &rest, true, false);
  va_end(rest);
  return result;
}
EXPORT int execle(const char *path, const char *first, ...) {
  va_list rest;
  va_start(rest, first);
  const int result = become_listed(path, first, &rest, false, true);
  va_end(rest);
  return result;
}

EXPORT int posix_spawn(pid_t *child, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]) {
  if (real_posix_spawn == NULL) find_real();
  pid_t started = 0;
  const int failure = real_posix_spawn(&started, path, actions, attributes, arguments, environment);
  if (failure == 0) note_program("spawn", path, environment, started);
  if (child != NULL) *child = started;
  return failure;
}
EXPORT int posix_spawnp(pid_t *child, const char *path, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]) {
  if (real_posix_spawnp == NULL) find_real();
  pid_t started = 0;
  const int failure = real_posix_spawnp(&started, path, actions, attributes, arguments, environment);
  if (failure == 0) note_program("spawn", path, environment, started);
  if (child != NULL) *child = started;
  return failure;
}

/* ---- start and end ---- */

static void forked_child(void) {
  owner = getpid();
  ended = false;
}

static void at_end(void) {
  if (report == NULL || getpid() != owner || __atomic_exchange_n(&ended, true, __ATOMIC_RELAXED)) return;
  read_settings("end");
}

static volatile int exit_status;

static void leave(int number) {
  (void)number;
  for (;;) syscall(SYS_exit_group, exit_status);
}

EXPORT __attribute__((noreturn)) void _exit(int status) {
  if (report != NULL && getpid() == owner && !ended) {
    /* Called by a signal's handler, malloc's lock may be this thread's own: then nothing can be forked, ever. */
    exit_status = status;
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = leave}, NULL);
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(LEAVE_SECONDS);
  }
  at_end();
  for (;;) syscall(SYS_exit_group, status);
}
EXPORT __attribute__((noreturn)) void _Exit(int status) { _exit(status); }

__attribute__((constructor)) static void at_start(void) {
  find_real();
  attach();
  if (report == NULL) return;
  pthread_atfork(NULL, NULL, forked_child);
  at_quick_exit(at_end);
  void *serving = serving_malloc();
  glibc_serves = serving != NULL && same_module(serving, (const void *)gnu_get_libc_version);
  char path[PATH_BYTES] = "", serving_path[PATH_BYTES];
  if (readlink("/proc/self/exe", path, sizeof path - 1) < 0) path[0] = '\0';
  module_of(serving, serving_path, sizeof serving_path, false);
  struct line line;
  begin_line(&line, "image");
  add_string(&line, "path", path);
  add_string(&line, "libc_version", gnu_get_libc_version());
  add_string(&line, "malloc_path", serving_path);
  add(&line, ", \"glibc_serves\": %s, \"keeps_setting\": %s", glibc_serves ? "true" : "false",
      keeps_setting(environ) ? "true" : "false");
  end_line(&line);
  read_settings("start");
}

__attribute__((destructor)) static void at_exit(void) { at_end(); }
