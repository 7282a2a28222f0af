/*
 * An allocator that gives and never takes back, and tells at the end which thread asked for what, in order: what a replay
 * is compared with. TELLER_FILE names the file: thread, kind, bytes, a line each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROOM_BYTES = 16 << 20, CALLS_MAX = 1 << 16, HEAD_BYTES = 16 };

static char room[ROOM_BYTES] __attribute__((aligned(4096)));
static atomic_size_t used;
static struct {
  int thread;
  char kind;
  size_t bytes;
} call[CALLS_MAX];
static atomic_size_t calls;

static void tell(char kind, size_t bytes) {
  const size_t at = atomic_fetch_add(&calls, 1);
  if (at >= CALLS_MAX) return;
  call[at].thread = (int)syscall(SYS_gettid);
  call[at].kind = kind;
  call[at].bytes = bytes;
}

static void *give(size_t align, size_t bytes) {
  const size_t start = atomic_fetch_add(&used, bytes + align + 2 * HEAD_BYTES);
  if (start + bytes + align + 2 * HEAD_BYTES > ROOM_BYTES) abort();
  char *block = room + (start + HEAD_BYTES + align - 1) / align * align;
  ((size_t *)block)[-1] = bytes;
  return block;
}

void *malloc(size_t bytes) {
  tell('m', bytes);
  return give(16, bytes);
}

void *calloc(size_t count, size_t bytes) {
  tell('c', count * bytes);
  return give(16, count * bytes);
}

int posix_memalign(void **block, size_t align, size_t bytes) {
  tell('a', bytes);
  *block = give(align < 16 ? 16 : align, bytes);
  return 0;
}

size_t malloc_usable_size(void *block) { return block == NULL ? 0 : ((size_t *)block)[-1]; }

void *realloc(void *block, size_t bytes) {
  tell('r', bytes);
  void *moved = give(16, bytes);
  const size_t before = malloc_usable_size(block);
  if (block != NULL) memcpy(moved, block, before < bytes ? before : bytes);
  return moved;
}

void free(void *block) {
  if (block != NULL) tell('f', malloc_usable_size(block));
}

__attribute__((destructor)) static void write_down(void) {
  FILE *file = fopen(getenv("TELLER_FILE"), "w");
  const size_t told = calls < CALLS_MAX ? calls : CALLS_MAX;
  for (size_t at = 0; at < told; at += 1) fprintf(file, "%d %c %zu\n", call[at].thread, call[at].kind, call[at].bytes);
  fclose(file);
}
