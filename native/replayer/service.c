/*
 * Who serves malloc and its kin, and what it says of itself. A peer's own functions are weak references: a failed dlsym
 * would allocate its message, and with that change what the replay starts from.
 */
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "replayer.h"

typedef struct {
  void *blocks;
  size_t reserved, committed, used, block_size, full_block_size;
} mi_heap_area;
typedef bool mi_visitor(const void *heap, const mi_heap_area *area, void *block, size_t block_size, void *argument);

extern int mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length) __attribute__((weak));
extern int mi_version(void) __attribute__((weak));
extern void *mi_heap_get_default(void) __attribute__((weak));
extern bool mi_heap_visit_blocks(const void *heap, bool blocks, mi_visitor *visitor, void *argument) __attribute__((weak));
extern const char *tc_version(int *major, int *minor, const char **patch) __attribute__((weak));
extern int MallocExtension_GetNumericProperty(const char *name, size_t *value) __attribute__((weak));

enum { BOOKS_NONE, BOOKS_GLIBC, BOOKS_JEMALLOC, BOOKS_MIMALLOC, BOOKS_TCMALLOC };
static int books;
static const char *const books_names[] = {NULL, "mallinfo2", "thread.allocated", "mi_heap_visit_blocks",
                                          "generic.current_allocated_bytes"};

static const char *const served[] = {"malloc", "calloc",         "realloc",           "free",
                                     "posix_memalign", "malloc_usable_size"};

static const char *library_of(const char *name) {
  Dl_info found;
  const void *function = dlsym(RTLD_DEFAULT, name);
  if (function == NULL || dladdr(function, &found) == 0 || found.dli_fname == NULL)
    fail(EXIT_FAILED, "%s: found in no library; wanted it where malloc is", name);
  return found.dli_fname;
}

/* Its books and its version are asked for only where they lie in the library that serves. */
static bool serves(const hak_service *service, const void *function) {
  Dl_info found;
  return function != NULL && dladdr(function, &found) != 0 && strcmp(found.dli_fname, service->path) == 0;
}

void service_resolve(hak_service *service) {
  memset(service, 0, sizeof *service);
  service->path = library_of("malloc");
  for (size_t at = 1; at < sizeof served / sizeof served[0]; at += 1) {
    const char *path = library_of(served[at]);
    if (strcmp(path, service->path) != 0)
      fail(EXIT_FAILED, "malloc lies in %s, %s in %s; wanted both in one library", service->path, served[at], path);
  }
  service->is_glibc = serves(service, (const void *)gnu_get_libc_version);
  const char *text = NULL;
  size_t length = sizeof text;
  if (service->is_glibc) {
    books = BOOKS_GLIBC;
    text = gnu_get_libc_version();
  } else if (serves(service, (const void *)mallctl)) {
    books = BOOKS_JEMALLOC;
    if (mallctl("version", &text, &length, NULL, 0) != 0) text = NULL;
  } else if (serves(service, (const void *)mi_version)) {
    books = serves(service, (const void *)mi_heap_visit_blocks) ? BOOKS_MIMALLOC : BOOKS_NONE;
    const int version = mi_version();
    snprintf(service->version, sizeof service->version, "%d.%d.%d", version / 100, version / 10 % 10, version % 10);
  } else if (serves(service, (const void *)tc_version)) {
    books = BOOKS_TCMALLOC;
    text = tc_version(NULL, NULL, NULL);
  }
  /* jemalloc adds the revision that it was built from. */
  if (text != NULL) snprintf(service->version, sizeof service->version, "%.*s", (int)strcspn(text, "-"), text);
  service->books = books_names[books];
}

/* These two keep an account a thread, and every thread has to be asked for its own. */
bool service_books_per_thread(void) { return books == BOOKS_JEMALLOC || books == BOOKS_MIMALLOC; }

static bool add_area(const void *heap, const mi_heap_area *area, void *block, size_t block_size, void *sum) {
  (void)heap;
  (void)block;
  (void)block_size;
  *(int64_t *)sum += (int64_t)(area->used * area->block_size);
  return true;
}

static int64_t jemalloc_account(const char *name) {
  uint64_t bytes = 0;
  size_t length = sizeof bytes;
  return mallctl(name, &bytes, &length, NULL, 0) == 0 ? (int64_t)bytes : 0;
}

int64_t service_live_bytes(void) {
  if (books == BOOKS_GLIBC) {
    const struct mallinfo2 all = mallinfo2();
    return (int64_t)(all.uordblks + all.hblkhd);
  }
  if (books == BOOKS_JEMALLOC) return jemalloc_account("thread.allocated") - jemalloc_account("thread.deallocated");
  if (books == BOOKS_MIMALLOC) {
    int64_t sum = 0;
    mi_heap_visit_blocks(mi_heap_get_default(), false, add_area, &sum);
    return sum;
  }
  size_t bytes = 0;
  if (books == BOOKS_TCMALLOC) MallocExtension_GetNumericProperty("generic.current_allocated_bytes", &bytes);
  return (int64_t)bytes;
}
