/*
 * Touches what the replay would otherwise fault in by itself: code, data and thread-local storage of every library, and
 * the stack. Memory that an allocator mapped for itself is left alone: its faults are the allocator's.
 */
#include <link.h>
#include <string.h>

#include "replayer.h"

enum { STACK_BYTES = 256 << 10 };

typedef struct {
  uintptr_t from, to;
} span;

static uintptr_t page_start(uintptr_t at) { return at & ~(uintptr_t)(HAK_PAGE_BYTES - 1); }

/* Red zones between the variables of a sanitized build are read and rewritten too. */
__attribute__((no_sanitize("address"), noinline)) static void touch_span(span pages, span read_only, bool writes) {
  for (uintptr_t page = page_start(pages.from); page < pages.to; page += HAK_PAGE_BYTES) {
    volatile char *byte = (volatile char *)(page < pages.from ? pages.from : page);
    const char value = *byte;
    if (writes && !(page >= read_only.from && page < read_only.to)) *byte = value;
  }
}

static int touch_library(struct dl_phdr_info *library, size_t size, void *unused) {
  (void)size;
  (void)unused;
  span read_only = {0, 0};
  for (int at = 0; at < library->dlpi_phnum; at += 1) {
    const ElfW(Phdr) *part = &library->dlpi_phdr[at];
    const uintptr_t from = library->dlpi_addr + part->p_vaddr;
    /* ld.so protects whole pages: the last one only where the span ends with it. */
    if (part->p_type == PT_GNU_RELRO) read_only = (span){page_start(from), page_start(from + part->p_memsz)};
  }
  for (int at = 0; at < library->dlpi_phnum; at += 1) {
    const ElfW(Phdr) *part = &library->dlpi_phdr[at];
    const uintptr_t from = library->dlpi_addr + part->p_vaddr;
    if (part->p_type == PT_LOAD && (part->p_flags & PF_R))
      touch_span((span){from, from + part->p_memsz}, read_only, (part->p_flags & PF_W) != 0);
    if (part->p_type == PT_TLS && library->dlpi_tls_data != NULL) {
      const uintptr_t own = (uintptr_t)library->dlpi_tls_data;
      touch_span((span){own, own + part->p_memsz}, (span){0, 0}, true);
    }
  }
  return 0;
}

void prefault_libraries(void) { dl_iterate_phdr(touch_library, NULL); }

__attribute__((noinline)) void prefault_stack(void) {
  volatile char room[STACK_BYTES];
  for (size_t at = 0; at < sizeof room; at += HAK_PAGE_BYTES) room[at] = 1;
}
