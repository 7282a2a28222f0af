/* Growing arrays out of one reserved stretch of address space: what the core itself uses never lies in the region. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "hak.h"

static const size_t reserve_bytes = (size_t)64 << 30;
static const size_t commit_step_bytes = (size_t)1 << 20;

void hak_assert_failed(const char *claim, const char *file, int line) {
  char text[512];
  const int length = snprintf(text, sizeof text, "hakmem: assertion failed: %s (%s:%d)\n", claim, file, line);
  if (write(STDERR_FILENO, text, (size_t)length) < 0) abort();
  abort();
}

static int64_t thread_faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

bool hak_memory_open(hak_memory *memory) {
  memset(memory, 0, sizeof *memory);
  void *base = mmap(NULL, reserve_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return false;
  memory->base = base;
  memory->reserved_bytes = reserve_bytes;
  return true;
}

void hak_memory_close(hak_memory *memory) {
  if (memory->base != NULL) munmap(memory->base, memory->reserved_bytes);
  memory->base = NULL;
}

void *hak_memory_grow(hak_memory *memory, const void *old, size_t old_bytes, size_t new_bytes) {
  char *room = memory->base + memory->used_bytes;
  const size_t used_bytes = memory->used_bytes + ((new_bytes + 63) & ~(size_t)63);
  hak_assert(used_bytes <= memory->reserved_bytes);
  const int64_t faults_before = thread_faults();
  if (used_bytes > memory->committed_bytes) {
    const size_t wanted = (used_bytes + commit_step_bytes - 1) & ~(commit_step_bytes - 1);
    const size_t more = wanted - memory->committed_bytes;
    hak_assert(mprotect(memory->base + memory->committed_bytes, more, PROT_READ | PROT_WRITE) == 0);
    memory->committed_bytes = wanted;
  }
  memory->used_bytes = used_bytes;
  /* Written at once, so that its faults fall here and not between two events. */
  memset(room, 0, new_bytes);
  if (old_bytes > 0) memcpy(room, old, old_bytes);
  memory->faults += thread_faults() - faults_before;
  return room;
}
